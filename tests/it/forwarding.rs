//! `server --forward` and `replay --follow`: what one server stores is in the store of the next, and of the one behind it, once and in order, whatever happens to any of them.
//!
//! Apart from the replay that ends: here servers run all the time, go and come again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{DEADLINE, Launch, Program, expect_error, expect_signal, expect_status, expect_success};

/// A directory in which servers have their stores.
struct Stage(TempDir);

/// A server that can be started anew, at the same port.
struct Hop {
    arguments: Vec<String>,
    port: String,
    server: Option<Program>,
}

impl Stage {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A server with the store `NAME.db` that forwards to these.
    fn hop(&self, name: &str, more: &[&str], next: &[&Hop]) -> Hop {
        let mut arguments = ["--store", &format!("{name}.db"), "--name", name].map(str::to_owned).to_vec();
        arguments.extend(more.iter().map(ToString::to_string));
        for hop in next {
            arguments.extend(["--forward".to_owned(), format!("127.0.0.1:{}", hop.port)]);
        }
        let mut hop = Hop { arguments, port: "0".to_owned(), server: None };
        hop.start(self);
        hop
    }

    fn wilco(&self, arguments: &[&str]) -> Launch {
        Launch::wilco(arguments.iter().copied()).directory(self.path()).no_input()
    }

    fn listing(&self, store: &str) -> Vec<Value> {
        let done = self.wilco(&["messages", store, "--json"]).start().wait();
        expect_success(&done);
        done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn texts(&self, store: &str) -> Vec<String> {
        self.listing(store).iter().map(|message| message["text"].as_str().expect("text").to_owned()).collect()
    }

    /// Waits until so many are in a store.
    #[track_caller]
    fn wait_for(&self, store: &str, count: usize) {
        until(store, || self.listing(store).len() >= count);
    }

    /// Waits until so many are in a spool.
    #[track_caller]
    fn wait_for_spool(&self, spool: &str, count: u64) {
        until(spool, || {
            let done = self.wilco(&["spool", spool, "--json"]).start().wait();
            let first: Value =
                done.stdout.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
            first["waiting"] == count
        });
    }

    fn send(&self, to: &Hop, text: &str) {
        let mut client = Launch::client(["--assured", "127.0.0.1", &to.port]).start();
        client.send(text);
        expect_success(&client.finish());
    }
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: that never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Hop {
    fn start(&mut self, stage: &Stage) {
        let address = format!("127.0.0.1:{}", self.port);
        let arguments = self.arguments.iter().cloned().chain([address]);
        let server = Launch::server(arguments).directory(stage.path()).start();
        self.port = server.port();
        self.server = Some(server);
    }

    fn running(&self) -> &Program {
        self.server.as_ref().expect("it runs")
    }

    fn end(&mut self, signal: Signal) {
        let server = self.server.take().expect("it runs");
        server.signal(signal);
        expect_signal(&server.wait(), signal);
    }
}

#[test]
fn a_chain_has_each_message_once_and_in_order() {
    const ROUNDS: usize = 7;
    const MESSAGES: usize = 400;
    let stage = Stage::new();
    let c = stage.hop("c", &[], &[]);
    let b = stage.hop("b", &[], &[&c]);
    let a = stage.hop("a", &[], &[&b]);
    let mut hops = [a, b, c];
    let client = |spool: &str| {
        let port = hops[0].port.clone();
        Launch::client(["--spool", spool, "--timeout", "0", "127.0.0.1", &port]).directory(stage.path()).start()
    };
    let mut clients = [client("one"), client("two")];
    // Each is killed, neighbours together, all of them; and the way is down while more comes.
    for (round, killed) in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 1, 2], &[2]].into_iter().enumerate() {
        for (name, client) in ["x", "y"].into_iter().zip(&mut clients) {
            client.send((1..=MESSAGES).map(|n| format!("{name}{}\n", round * MESSAGES + n)).collect::<String>());
        }
        for hop in killed {
            hops[*hop].end(Signal::SIGKILL);
        }
        if round == ROUNDS - 1 {
            stage.wait_for("b.db", 2 * ROUNDS * MESSAGES);
        }
        for hop in killed {
            hops[*hop].start(&stage);
        }
        // Some of the round came through.
        stage.wait_for("c.db", 2 * round * MESSAGES + 1);
    }
    for client in clients {
        expect_success(&client.finish());
    }
    stage.wait_for("c.db", 2 * ROUNDS * MESSAGES);
    let mut sessions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in stage.listing("c.db") {
        let origin = message["origin"].as_str().expect("an origin");
        let (session, number) = origin.split_once(':').expect("a number");
        let texts = sessions.entry(session.to_owned()).or_default();
        texts.push(message["text"].as_str().expect("text").to_owned());
        assert_eq!(number, texts.len().to_string(), "once and in order");
    }
    let first: Vec<_> = stage.listing("a.db").iter().map(|message| message["session"].clone()).collect();
    assert!(sessions.keys().all(|session| first.contains(&session.as_str().into())), "the first sessions");
    let mut texts: Vec<_> = sessions.into_values().collect();
    texts.sort();
    let expected = ["x", "y"].map(|name| (1..=ROUNDS * MESSAGES).map(|n| format!("{name}{n}")).collect::<Vec<_>>());
    assert!(texts == expected, "each text of both clients");
}

#[test]
fn what_waits_is_told_once_and_delivered_when_the_next_is_back() {
    let stage = Stage::new();
    let mut c = stage.hop("c", &[], &[]);
    c.end(Signal::SIGTERM);
    let b = stage.hop("b", &[], &[&c]);
    b.running().wait_for_stderr("refused");
    stage.send(&b, "one\n");
    stage.wait_for_spool("b.db-forward", 1);
    stage.send(&b, "two\nthree\n");
    // What is not in the spool yet is not pruned.
    let prune = |more: &[&str]| {
        let arguments = [&["messages", "prune", "b.db", "--before", "2126-01-01"], more].concat();
        let done = stage.wilco(&arguments).start().wait();
        expect_success(&done);
        done
    };
    let done = prune(&[]);
    assert!(done.stdout.starts_with("1 message deleted"), "{}", done.report());
    assert!(done.stderr.contains("2 messages stay: b.db-forward"), "{}", done.report());
    c.start(&stage);
    let line = b.running().wait_for_stderr("forwarding to c at");
    assert!(line.contains("3 messages wait"), "{line}");
    stage.wait_for("c.db", 3);
    assert_eq!(b.running().stderr().matches("tried again").count(), 1, "{}", b.running().stderr());
    stage.wait_for_spool("b.db-forward", 0);
    assert!(prune(&[]).stdout.starts_with("2 messages deleted"));
    // And lost again; what is given up is deleted, and was read before or never comes.
    c.end(Signal::SIGKILL);
    stage.send(&b, "four\n");
    stage.wait_for_spool("b.db-forward", 1);
    stage.send(&b, "five\n");
    assert!(prune(&["--force"]).stdout.starts_with("2 messages deleted"));
    c.start(&stage);
    stage.send(&b, "six\n");
    until("six", || stage.texts("c.db").contains(&"six".to_owned()));
    let texts = stage.texts("c.db").into_iter().filter(|text| text != "five");
    assert_eq!(texts.collect::<Vec<_>>(), ["one", "two", "three", "four", "six"]);
}

#[test]
fn a_server_that_ends_delivers_what_it_has() {
    let stage = Stage::new();
    let c = stage.hop("c", &[], &[]);
    let mut b = stage.hop("b", &["--forward-spool", "box"], &[&c]);
    b.running().wait_for_stderr("forwarding to c");
    stage.send(&b, &"text\n".repeat(3000));
    b.end(Signal::SIGTERM);
    assert_eq!(stage.listing("c.db").len(), 3000);
    assert!(stage.path().join("box/session").exists() && !stage.path().join("b.db-forward").exists());
}

#[test]
fn each_of_several_servers_has_all() {
    let stage = Stage::new();
    let (c, mut d) = (stage.hop("c", &[], &[]), stage.hop("d", &[], &[]));
    let e = stage.hop("e", &[], &[]);
    // The second is d, or e in its place.
    let or = format!("127.0.0.1:{},127.0.0.1:{}", d.port, e.port);
    d.end(Signal::SIGTERM);
    let b = stage.hop("b", &["--forward", &or], &[&c]);
    stage.send(&b, "one\ntwo\n");
    for store in ["c.db", "e.db"] {
        stage.wait_for(store, 2);
        assert_eq!(stage.texts(store), ["one", "two"]);
    }
    assert!(stage.path().join("b.db-forward-2").exists());
}

#[test]
fn what_the_next_server_will_not_have_is_a_dead_letter() {
    let stage = Stage::new();
    let c = stage.hop("c", &["--max-message", "4"], &[]);
    let b = stage.hop("b", &[], &[&c]);
    stage.send(&b, "one\nlonger\ntwo\n");
    let line = b.running().wait_for_stderr("refused for good");
    assert!(line.contains("message 2") && line.contains("413") && line.contains("b.db-forward --dead"), "{line}");
    stage.wait_for("c.db", 2);
    assert_eq!(stage.texts("c.db"), ["one", "two"]);
    let dead = stage.wilco(&["spool", "b.db-forward", "--dead"]).start().wait();
    assert!(dead.stdout.contains("longer"), "{}", dead.report());
}

#[test]
fn a_server_that_keeps_nothing_is_told_from_one_that_does() {
    let stage = Stage::new();
    let shows = Launch::server(["-k", "127.0.0.1:0", "--name", "c"]).start();
    let to = format!("127.0.0.1:{}", shows.port());
    let b = stage.hop("b", &["--forward", &to], &[]);
    let line = b.running().wait_for_stderr("does not keep messages");
    assert!(line.contains("--forward-require") && line.contains("every minute"), "{line}");
    stage.send(&b, "one\n");
    let d = stage.hop("d", &["--forward", &to, "--forward-require", "show"], &[]);
    stage.send(&d, "two\n");
    shows.wait_for_stdout("two");
    assert!(!shows.screen().contains("one"));
    // One that has lost what it had.
    let mut e = stage.hop("e", &[], &[]);
    let mut f = stage.hop("f", &[], &[&e]);
    stage.send(&f, "one\n");
    stage.wait_for("e.db", 1);
    e.end(Signal::SIGTERM);
    f.end(Signal::SIGTERM);
    for file in ["e.db", "e.db-wal", "e.db-shm"] {
        std::fs::remove_file(stage.path().join(file)).expect("removed");
    }
    e.start(&stage);
    f.start(&stage);
    let line = f.running().wait_for_stderr("does not know the session");
    assert!(line.contains("has ended") && line.contains("--forward-spool"), "{line}");
    stage.send(&f, "two\n");
    assert_eq!(stage.texts("f.db"), ["one", "two"]);
}

#[test]
fn mistakes_are_told_at_the_start() {
    let stage = Stage::new();
    let server = |arguments: &[&str]| Launch::server(arguments.iter().copied()).directory(stage.path()).start().wait();
    expect_status(&server(&["-k", "127.0.0.1:0", "--forward", "b:1"]), 2);
    expect_status(&server(&["127.0.0.1:0", "--store", "x.db", "--forward-spool", "b"]), 2);
    let store = ["127.0.0.1:0", "--store", "x.db", "--forward"];
    for (more, words) in [
        (&["b:1x"][..], "1x"),
        (&["b:1", "--forward", "c:1", "--forward-spool", "d"], "as often as"),
        (&["b:1", "--forward-spool", "no/where"], "mkdir -p"),
    ] {
        expect_error(&server(&[&store, more].concat()), 2, &[words]);
    }
    let error = server(&["127.0.0.1:0", "--store", "nats://127.0.0.1:1/A", "--forward", "b:1"]);
    expect_error(&error, 2, &["--forward-spool"]);
}

#[test]
fn a_replay_that_follows_goes_on_until_it_is_interrupted() {
    let stage = Stage::new();
    let (b, c) = (stage.hop("b", &[], &[]), stage.hop("c", &[], &[]));
    stage.send(&b, "one\n");
    let replay = |more: &[&str]| {
        stage.wilco(&[&["messages", "replay", "--follow", "b.db", "127.0.0.1", &c.port], more].concat()).start()
    };
    let following = replay(&["--spool", "box", "--search", "o"]);
    stage.wait_for("c.db", 1);
    stage.send(&b, "two\nthree\nfour\n");
    stage.wait_for("c.db", 3);
    following.signal(Signal::SIGTERM);
    expect_signal(&following.wait(), Signal::SIGTERM);
    stage.send(&b, "seven\nforty\n");
    let following = replay(&["--spool", "box", "--search", "o"]);
    stage.wait_for("c.db", 4);
    following.signal(Signal::SIGKILL);
    expect_signal(&following.wait(), Signal::SIGKILL);
    assert_eq!(stage.texts("c.db"), ["one", "two", "four", "forty"]);
    // Without a spool that is said.
    let following = replay(&["-n", "1"]);
    following.wait_for_stderr("without --spool");
    stage.wait_for("c.db", 5);
    following.signal(Signal::SIGINT);
    expect_signal(&following.wait(), Signal::SIGINT);
}

#[test]
fn a_store_that_was_set_back_is_told_and_one_that_was_moved_goes_on() {
    let stage = Stage::new();
    let c = stage.hop("c", &[], &[]);
    let mut b = stage.hop("b", &[], &[&c]);
    stage.send(&b, "one\n");
    stage.wait_for("c.db", 1);
    b.end(Signal::SIGTERM);
    let path = |name: &str| stage.path().join(name);
    std::fs::copy(path("b.db"), path("copy.db")).expect("a copy");
    // Moved with all that belongs to it.
    for (from, to) in [("b.db", "d.db"), ("b.db-forward", "d.db-forward")] {
        std::fs::rename(path(from), path(to)).expect("moved");
    }
    let mut d = stage.hop("d", &[], &[&c]);
    stage.send(&d, "two\nthree\n");
    stage.wait_for("c.db", 3);
    assert_eq!(stage.texts("c.db"), ["one", "two", "three"]);
    d.end(Signal::SIGTERM);
    // Set back, alone.
    std::fs::copy(path("copy.db"), path("d.db")).expect("restored");
    d.start(&stage);
    let line = d.running().wait_for_stderr("does not belong to the store");
    assert!(line.contains("has ended") && line.contains("ends at 1") && line.contains("--forward-spool"), "{line}");
    stage.send(&d, "2\n3\n4\n");
    d.end(Signal::SIGTERM);
    d.start(&stage);
    let line = d.running().wait_for_stderr("does not belong to the store");
    assert!(line.contains("the message at 3 is another"), "{line}");
    assert_eq!(stage.texts("c.db"), ["one", "two", "three"]);
}
