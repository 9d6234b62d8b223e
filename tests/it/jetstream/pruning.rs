//! `wilco messages prune nats://...`: old messages go, and how far each session is stays.
//!
//! Apart from reading: this alone deletes something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_nats::jetstream::stream;
use wilco::service::store::jetstream::{ConnectionConfig, Pruned, prune};

use super::stage::{OTHER, SID, Stage};
use crate::harness::{Finished, expect_error, expect_success};

fn pruned(stage: &Stage, before: &str) -> Finished {
    stage.launch(&["prune", "--before", before], &[]).start().wait()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_each_session_stays() {
    let stage = Stage::new().await;
    stage.count(SID, 1, 30, 10).await;
    stage.count("plain", 1, 20, 10).await;
    stage.later();
    stage.store(OTHER, 1, &[b"lone"]).await;
    let time = stage.listing(&["-n", "1"])[0]["time"].as_str().expect("text").to_owned();
    // What is as old as that is not older.
    let lines = pruned(&stage, &time);
    expect_success(&lines);
    assert!(lines.stdout.starts_with("4 records deleted, "), "{}", lines.report());
    let numbers: Vec<_> = (21..=30).map(|number: usize| number.to_string()).collect();
    let mut left: Vec<_> = numbers.iter().map(String::as_str).collect();
    left.push("lone");
    stage.expect_lines(&["--raw"], &left);

    // A session that has gone on needs its older ones no more.
    stage.count(SID, 31, 32, 1).await;
    let all = pruned(&stage, "0s");
    expect_success(&all);
    assert!(all.stdout.starts_with("2 records deleted, "), "{}", all.report());
    stage.expect_lines(&["--raw"], &["lone", "32"]);
    assert_eq!(pruned(&stage, "0s").stdout, "0 records deleted, 0 bytes freed\n");
    // The next number follows that one, as a server would have it.
    let last = stage.context.get_stream("LOG").await.expect("the stream");
    let last = last.get_last_raw_message_by_subject(&format!("LOG.{SID}")).await.expect("the last of the session");
    let headers = [("Nats-Expected-Last-Subject-Sequence", last.sequence.to_string())];
    stage.publish(&format!("LOG.{SID}"), &[(headers[0].0, &headers[0].1)], b"33").await;
    assert_eq!(pruned(&stage, "1d").stdout, "0 records deleted, 0 bytes freed\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_may_be_done_while_servers_write() {
    const SESSIONS: usize = 20;
    let stage = Arc::new(Stage::new().await);
    let sid = |number: usize| format!("{number:032x}");
    let done = Arc::new(AtomicBool::new(false));
    let pruner = std::thread::spawn({
        let (done, address) = (Arc::clone(&done), stage.address().parse().expect("an address"));
        move || {
            let mut records = 0;
            while !done.load(Ordering::Relaxed) {
                let Pruned { records: more, .. } =
                    prune(&address, ConnectionConfig::default(), SystemTime::now()).expect("prune");
                records += more;
            }
            records
        }
    });
    // Each record follows the one before it, which must still be there.
    let mut last = [0; SESSIONS];
    for number in 1..=30 {
        for (session, last) in last.iter_mut().enumerate() {
            let (numbers, expected) = (format!("{number}-{number}"), last.to_string());
            let fields = [
                ("Wilco", "1"),
                ("Wilco-By", "test"),
                ("Wilco-Numbers", numbers.as_str()),
                ("Nats-Expected-Last-Subject-Sequence", expected.as_str()),
            ];
            *last = stage.publish(&format!("LOG.{}", sid(session)), &fields, b"x").await;
        }
    }
    done.store(true, Ordering::Relaxed);
    let records = pruner.join().expect("the pruner");
    assert!(records > 0, "nothing was pruned meanwhile");
    expect_success(&pruned(&stage, "0s"));
    let left = stage.listing(&[]);
    assert_eq!(left.len(), SESSIONS);
    assert!(left.iter().all(|message| message["number"] == 30), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_forbid_it() {
    let stage = Stage::new().await;
    let config = stream::Config {
        name: "KEPT".to_owned(),
        subjects: vec!["KEPT.>".to_owned()],
        deny_purge: true,
        ..stream::Config::default()
    };
    stage.context.create_stream(config).await.expect("make a stream");
    stage.publish("KEPT.plain", &[], b"x").await;
    let address = stage.nats.address("KEPT");
    let done =
        crate::harness::Launch::wilco(["messages", "prune", &address, "--before", "0s"]).no_input().start().wait();
    expect_error(&done, 3, &[&address, "deny_purge"]);
}
