//! `wilco messages prune nats://...`: old messages go, and how far each session is stays.
//!
//! Apart from reading: this alone deletes something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_nats::jetstream::stream;
use nix::sys::signal::Signal;
use wilco::service::store::jetstream::{ConnectionConfig, Pruned, prune};

use super::stage::{OTHER, SID, Stage};
use crate::harness::{Finished, Launch, expect_error, expect_signal, expect_success};

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
    let had = stage.bytes("LOG").await;
    let lines = pruned(&stage, &time);
    expect_success(&lines);
    let freed = format!(", {} bytes freed\n", had - stage.bytes("LOG").await);
    assert!(lines.stdout.ends_with(&freed), "{freed}: {}", lines.report());
    assert!(lines.stdout.starts_with("40 messages deleted, "), "{}", lines.report());
    let numbers: Vec<_> = (21..=30).map(|number: usize| number.to_string()).collect();
    let mut left: Vec<_> = numbers.iter().map(String::as_str).collect();
    left.push("lone");
    stage.expect_lines(&["--raw"], &left);

    // A session that has gone on needs its older ones no more.
    stage.count(SID, 31, 32, 1).await;
    let all = pruned(&stage, "0s");
    expect_success(&all);
    assert!(all.stdout.starts_with("11 messages deleted, "), "{}", all.report());
    stage.expect_lines(&["--raw"], &["lone", "32"]);
    assert_eq!(pruned(&stage, "0s").stdout, "0 messages deleted, 0 bytes freed\n");
    // The next number follows that one, as a server would have it.
    let last = stage.context.get_stream("LOG").await.expect("the stream");
    let last = last.get_last_raw_message_by_subject(&format!("LOG.{SID}")).await.expect("the last of the session");
    let headers = [("Nats-Expected-Last-Subject-Sequence", last.sequence.to_string())];
    stage.publish(&format!("LOG.{SID}"), &[(headers[0].0, &headers[0].1)], b"33").await;
    assert_eq!(pruned(&stage, "1d").stdout, "0 messages deleted, 0 bytes freed\n");
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
                let more: Pruned = prune(&address, ConnectionConfig::default(), SystemTime::now()).expect("prune");
                records += more.messages;
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
    let mut stage = Stage::new().await;
    for (deny_delete, deny_purge) in [(false, true), (true, false), (true, true)] {
        stage.stream = format!("KEPT-{deny_delete}-{deny_purge}");
        let config = stream::Config {
            name: stage.stream.clone(),
            subjects: vec![format!("{}.>", stage.stream)],
            deny_delete,
            deny_purge,
            ..stream::Config::default()
        };
        stage.context.create_stream(config).await.expect("make a stream");
        stage.count(SID, 1, 30, 10).await;
        stage.count("plain", 1, 20, 10).await;
        stage.store(OTHER, 1, &[b"lone"]).await;
        stage.later();
        stage.store(OTHER, 2, &[b"another"]).await;
        let time = stage.listing(&["-n", "1"])[0]["time"].as_str().expect("text").to_owned();
        let had = stage.bytes(&stage.stream).await;
        let done = pruned(&stage, &time);
        if deny_delete && deny_purge {
            expect_error(&done, 2, &[&stage.address(), "nothing is deleted", "deny_purge"]);
            continue;
        }
        expect_success(&done);
        let freed = had - stage.bytes(&stage.stream).await;
        assert_eq!(done.stdout, format!("41 messages deleted, {freed} bytes freed\n"));
        let kept: Vec<_> = (21..=30).map(|number| number.to_string()).chain(["another".to_owned()]).collect();
        stage.expect_lines(&["--raw"], &kept.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_published_takes_the_place_of_no_record() {
    let stage = Stage::new().await;
    let subject = format!("LOG.{SID}");
    stage.store(SID, 1, &[b"one"]).await;
    stage.publish(&subject, &[], b"foreign").await;
    let last = stage.store(SID, 2, &[b"two"]).await;
    stage.publish(&subject, &[], b"foreign, too").await;
    stage.later();
    let deleted = |done: Finished| done.stdout.split(" deleted").next().map(str::to_owned);
    assert_eq!(deleted(pruned(&stage, "0s")).as_deref(), Some("1 message"));
    stage.publish(&subject, &[], b"and later").await;
    let time = stage.listing(&["-n", "1"])[0]["time"].as_str().expect("text").to_owned();
    assert_eq!(deleted(pruned(&stage, &time)).as_deref(), Some("0 messages"));
    let stream = stage.context.get_stream("LOG").await.expect("the stream");
    assert_eq!(stream.get_raw_message(last).await.expect("the record").payload.as_ref(), b"two");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_prune_sessions_go_on_and_nothing_is_doubled() {
    let stage = Stage::new().await;
    let directory = tempfile::tempdir().expect("a directory");
    let serve = || Launch::server(["-k", "127.0.0.1:0", "--store", &stage.address()]).start();
    let send = |port: &str, from: usize, to: usize| {
        let mut client =
            Launch::client(["--assured", "--spool", "spool", "127.0.0.1", port]).directory(directory.path()).start();
        client.send((from..=to).map(|number| format!("{number}\n")).collect::<String>());
        expect_success(&client.finish());
    };
    let server = serve();
    let port = server.port();
    send(&port, 1, 300);
    send(&port, 301, 310);
    expect_success(&pruned(&stage, "0s"));
    let left = stage.listing(&[]);
    assert!(left.len() < 310 && left.last().is_some_and(|last| last["number"] == 310), "{left:?}");
    // With the server that has stored it, and with one that knows the stream alone.
    send(&port, 311, 320);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    expect_success(&pruned(&stage, "0s"));
    let server = serve();
    send(&server.port(), 321, 330);
    let kept = stage.listing(&[]);
    let numbers: Vec<_> = kept.iter().map(|message| message["number"].as_u64().expect("a number")).collect();
    let first = numbers[0];
    assert_eq!(numbers, (first..=330).collect::<Vec<_>>());
    let texts: Vec<_> = kept.iter().map(|message| message["text"].as_str().expect("text").to_owned()).collect();
    assert_eq!(texts, (first..=330).map(|number| number.to_string()).collect::<Vec<_>>());
}
