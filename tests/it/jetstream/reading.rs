//! `wilco messages nats://...`: what it shows of a stream, beside whoever publishes to it, and what a replay sends on.
//!
//! Apart from stores in files, whose listing looks the same: here records have several messages, and places have holes.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use wilco::service::store::jetstream::{ConnectionConfig, JetStreamArchive};
use wilco::service::store::{Archive, Selection, Stored};

use super::stage::{OTHER, SID, Stage};
use crate::harness::{Launch, expect_error, expect_signal, expect_status, expect_success};

/// The place of a message: that of its record, and its own there.
const fn id(sequence: i64, index: i64) -> i64 {
    sequence << 13 | index
}

async fn five() -> Stage {
    let stage = Stage::new().await;
    stage.store("plain", 1, &[b"hello"]).await;
    stage.store(SID, 1, &[b"two\nlines", b"", b"\xff\x1b[2J"]).await;
    stage.later();
    stage.store(OTHER, 1, &[b"an error"]).await;
    stage
}

fn archive(stage: &Stage) -> JetStreamArchive {
    let address = stage.address().parse().expect("an address");
    JetStreamArchive::open(&address, ConnectionConfig::default()).expect("open an archive")
}

fn all(archive: &JetStreamArchive, after: i64, through: i64, selection: &Selection) -> Vec<Stored> {
    let (mut all, mut after) = (Vec::new(), after);
    loop {
        let page = archive.next(after, through, selection).expect("read");
        let Some(last) = page.last() else { return all };
        after = last.id;
        all.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_shown() {
    let stage = five().await;
    let listing = stage.listing(&[]);
    let mut first = listing[1].clone();
    assert!(first["time"].as_str().is_some_and(|time| time.starts_with("20")), "{first}");
    first.as_object_mut().expect("an object").remove("time");
    assert_eq!(
        first,
        json!({ "id": id(2, 0), "peer": "10.0.0.7:5000", "name": "pump 7", "session": SID, "number": 1, "text": "two\nlines" })
    );
    let places: Vec<_> = listing.iter().map(|message| message["id"].as_i64().expect("a number")).collect();
    assert_eq!(places, [id(1, 0), id(2, 0), id(2, 1), id(2, 2), id(3, 0)]);
    assert_eq!(listing[0].get("session"), None);
    stage.expect_lines(&["--raw", "-n", "2", "--search", "e"], &["two", "lines", "an error"]);
    stage.expect_lines(&["--raw", "--from", "0123"], &["two", "lines", "", "\u{fffd}\u{1b}[2J"]);
    stage.expect_lines(&["--raw", "--from", "10.0.0.7:", "-n", "1"], &["an error"]);
    stage.expect_lines(&["--raw", "--from", "nobody"], &[]);
    // In the middle of a record.
    stage.expect_lines(&["--raw", "-n", "3"], &["", "\u{fffd}\u{1b}[2J", "an error"]);
    let time = listing[4]["time"].as_str().expect("text");
    stage.expect_lines(&["--raw", "--since", time], &["an error"]);
    stage.expect_lines(&["--raw", "--since", "1h", "-n", "1"], &["an error"]);
    let table = stage.show(&[]);
    expect_success(&table);
    let line = table.stdout.lines().nth(2).expect("a line");
    assert!(line.contains("pump 7 (10.0.0.7:5000)  01234567/1  two\\nlines"), "{}", table.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_published_is_shown_as_it_is() {
    let stage = Stage::new().await;
    stage.publish("LOG.orders.new", &[("Any", "thing")], b"{\"order\": 7}").await;
    stage.publish(&format!("LOG.{SID}"), &[("Wilco", "1"), ("Wilco-Numbers", "2-1")], b"broken").await;
    let done = stage.show(&["--json"]);
    expect_success(&done);
    assert!(done.stderr.contains("the message 2 of the stream is shown as it is: Wilco-Numbers"), "{}", done.report());
    let lines: Vec<serde_json::Value> =
        done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["peer"], &lines[0]["text"]), (&json!("LOG.orders.new"), &json!("{\"order\": 7}")));
    assert_eq!(lines[1]["text"], "broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_stream_has_no_messages() {
    let stage = Stage::new().await;
    stage.expect_lines(&["--raw"], &[]);
    stage.expect_lines(&["--raw", "-n", "3", "--since", "1h"], &[]);
    assert_eq!(archive(&stage).last().ok(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_whole_whatever_was_deleted() {
    let stage = Stage::new().await;
    stage.count(SID, 1, 2500, 7).await;
    stage.count(OTHER, 1, 400, 1).await;
    stage.count("plain", 1, 10, 10).await;
    let archive = archive(&stage);
    let last = archive.last().expect("the last");
    let every = all(&archive, 0, last, &Selection::default());
    let numbers = |messages: &[Stored]| messages.iter().map(|message| message.number).collect::<Vec<_>>();
    let counted: Vec<u64> = (1..=2500).chain(1..=400).chain(1..=10).collect();
    assert_eq!(numbers(&every), counted);
    assert_eq!(every.last().map(|message| message.id), Some(last));
    assert!(every.windows(2).all(|pair| pair[0].id < pair[1].id));
    // From anywhere to anywhere.
    for (after, through) in [(0, 3), (3, 4), (1234, 1300), (2498, 2503), (2909, 2910)] {
        let some = all(&archive, every[after].id, every[through - 1].id, &Selection::default());
        assert_eq!(some, every[after + 1..through], "{after} {through}");
    }
    for count in [0, 1, 9, 10, 11, 411, 2909, 2910, 5000] {
        let after = archive.before_last(count, &Selection::default()).expect("where they begin");
        let kept = all(&archive, after, last, &Selection::default());
        assert_eq!(kept, every[2910 - count.min(2910)..], "the last {count}");
    }
    let other = Selection { from: Some(OTHER.to_owned()), ..Selection::default() };
    let after = archive.before_last(5, &other).expect("where they begin");
    assert_eq!(numbers(&all(&archive, after, last, &other)), [396, 397, 398, 399, 400]);
    let error = Selection { search: Some("2499".to_owned()), ..Selection::default() };
    assert_eq!(numbers(&all(&archive, 0, last, &error)), [2499]);

    // A hole of several hundred places, and a last place that is empty.
    let stream = stage.context.get_stream("LOG").await.expect("the stream");
    stream.purge().filter(format!("LOG.{OTHER}")).await.expect("purge");
    let left: Vec<_> = every.iter().filter(|message| message.session.as_deref() != Some(OTHER)).cloned().collect();
    let anew = self::archive(&stage);
    assert_eq!(all(&anew, 0, last, &Selection::default()), left);
    let after = anew.before_last(13, &Selection::default()).expect("where they begin");
    assert_eq!(all(&anew, after, last, &Selection::default()), left[2510 - 13..]);
    let since = Selection {
        since: Some(std::time::UNIX_EPOCH + Duration::from_millis(every[2600].at.unsigned_abs())),
        ..Selection::default()
    };
    let since = all(&anew, 0, last, &since);
    let expected: Vec<_> = left.iter().filter(|message| message.at >= every[2600].at).cloned().collect();
    assert_eq!(since, expected);
    stream.purge().filter("LOG.plain").await.expect("purge");
    let anew = self::archive(&stage);
    let through = anew.last().expect("the last");
    assert_eq!(all(&anew, 0, through, &Selection::default()).last().map(|message| message.number), Some(2500));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_are_read() {
    let stage = Stage::new().await;
    let large = vec![b'x'; 1_000_000];
    for number in 1..=5 {
        stage.store(SID, number, &[&large]).await;
    }
    let archive = archive(&stage);
    let last = archive.last().expect("the last");
    assert_eq!(
        all(&archive, 0, last, &Selection::default()).iter().map(|message| message.body.len()).sum::<usize>(),
        5_000_000
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_later_is_followed() {
    let mut stage = five().await;
    let following = stage.launch(&[], &["--raw", "--follow"]).start();
    following.wait_for_stdout("an error");
    stage.store(SID, 4, &[b"later", b"and more"]).await;
    following.wait_for_stdout("and more");
    stage.nats.kill();
    stage.nats.restart();
    let again = async_nats::jetstream::new(stage.nats.client().await);
    stage.context = again;
    stage.store(SID, 6, &[b"after the restart"]).await;
    following.wait_for_stdout("after the restart");
    following.wait_for_stderr("the connection is lost; it is tried again");
    following.wait_for_stderr("connected again after ");
    stage.context.delete_stream("LOG").await.expect("delete the stream");
    let done = following.wait();
    expect_status(&done, 1);
    assert!(done.stderr.contains("follow the store nats://127.0.0.1:"), "{}", done.report());
    assert!(done.stderr.contains("the stream was deleted"), "{}", done.report());
    assert_eq!(done.stdout.matches("an error").count(), 1, "{}", done.report());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_sent_on_once() {
    let stage = Stage::new().await;
    stage.count(SID, 1, 1200, 100).await;
    stage.store("plain", 1, &[b"plain"]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let server = Launch::server(["-k", "127.0.0.1:0", "--store", "to.db"]).directory(directory.path()).start();
    let address = format!("127.0.0.1:{}", server.port());
    let replay =
        || stage.launch(&["replay"], &["--spool", "spool", &address]).directory(directory.path()).start().wait();
    expect_success(&replay());
    stage.count(SID, 1201, 1300, 30).await;
    expect_success(&replay());
    expect_success(&replay());
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    let show = Launch::wilco(["messages", "to.db", "--json"]).directory(directory.path()).no_input().start().wait();
    expect_success(&show);
    let stored: Vec<serde_json::Value> =
        show.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut origins: Vec<_> = (1..=1300).map(|number| json!(format!("{SID}:{number}"))).collect();
    assert_eq!(stored.len(), 1301);
    assert_eq!(stored[1200]["text"], "plain");
    let sent: Vec<_> =
        stored.iter().filter(|message| message["text"] != "plain").map(|message| message["origin"].clone()).collect();
    origins.truncate(sent.len());
    assert_eq!(sent, origins);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_is_named() {
    let stage = Stage::new().await;
    for arguments in [vec!["messages"], vec!["messages", "prune", "--before", "1d"]] {
        let address = stage.nats.address("NONE");
        let done = Launch::wilco([&*arguments, &[&address]].concat()).no_input().start().wait();
        expect_error(&done, 2, &[&address, "there is no such stream", "a server with --store"]);
    }
}
