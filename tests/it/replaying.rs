//! `wilco messages replay`: what one server has stored is in the store of another, once and in order, whatever ends the replay in between.
//!
//! Apart from the looking at stores: here are two servers, and what is checked is the store of the second.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Finished, Launch, Program, expect_error, expect_signal, expect_status, expect_success};

/// A directory in which `from.db` has been stored by a server, and `to.db` is the store of one that runs.
struct Stage {
    directory: TempDir,
    to: Program,
    address: String,
}

impl Stage {
    /// What `from.db` has first: these lines, plain, or assured where that is said.
    fn new(plain: &str, assured: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        store(directory.path(), &[], plain);
        store(directory.path(), &["--assured"], assured);
        let (to, port) = serve(directory.path(), "to.db", "127.0.0.1:0");
        Self { directory, to, address: format!("127.0.0.1:{port}") }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn launch(&self, arguments: &[&str]) -> Launch {
        let arguments = [&["messages", "replay", "from.db", &self.address], arguments].concat();
        Launch::wilco(arguments).directory(self.path()).no_input()
    }

    fn replay(&self, arguments: &[&str]) -> Finished {
        self.launch(arguments).start().wait()
    }

    /// The messages of a store as its listing has them.
    fn listing(&self, store: &str) -> Vec<Value> {
        let done = Launch::wilco(["messages", store, "--json"]).directory(self.path()).no_input().start().wait();
        expect_success(&done);
        done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn texts(&self, store: &str) -> Vec<String> {
        self.listing(store).iter().map(|message| message["text"].as_str().expect("text").to_owned()).collect()
    }

    /// The second server has these, once and in order.
    #[track_caller]
    fn expect_numbers(&self, numbers: std::ops::RangeInclusive<usize>) {
        let (texts, count) = (self.texts("to.db"), numbers.clone().count());
        let wrong = texts.iter().zip(numbers).position(|(text, number)| *text != number.to_string());
        assert_eq!((texts.len(), wrong), (count, None), "how many, and the place of the first that is wrong");
    }
}

fn serve(directory: &Path, file: &str, address: &str) -> (Program, String) {
    let server = Launch::server(["-k", address, "--store", file, "--name", "alpha"]).directory(directory).start();
    let port = server.port();
    (server, port)
}

/// Has lines stored in `from.db`.
fn store(directory: &Path, how: &[&str], lines: &str) {
    let (server, port) = serve(directory, "from.db", "127.0.0.1:0");
    let mut client = Launch::client(how.iter().copied().chain(["127.0.0.1", &port])).start();
    client.send(lines);
    expect_success(&client.finish());
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

fn lines(numbers: std::ops::RangeInclusive<usize>) -> String {
    numbers.map(|number| format!("{number}\n")).collect()
}

#[test]
fn all_is_sent_in_order_and_with_its_origin() {
    let stage = Stage::new("one\ntwo\n", "three\nfour\n");
    let done = stage.replay(&["--json"]);
    expect_success(&done);
    let last: Value = serde_json::from_str(done.stdout.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["event"], &last["sent"], &last["acknowledged"]), (&"done".into(), &4.into(), &4.into()));
    assert_eq!(stage.texts("to.db"), ["one", "two", "three", "four"]);
    let (from, to) = (stage.listing("from.db"), stage.listing("to.db"));
    for (from, to) in from.iter().zip(&to) {
        let origin = from["session"].as_str().map(|session| format!("{session}:{}", from["number"]));
        assert_eq!(to["origin"].as_str(), origin.as_deref(), "{from} {to}");
    }
    // And from there on to a third, the first session stays.
    let (_third, port) = serve(stage.path(), "third.db", "127.0.0.1:0");
    let done = Launch::wilco(["messages", "replay", "to.db", "127.0.0.1", &port, "-n", "1", "-v"]);
    let done = done.directory(stage.path()).no_input().start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("1 sent, 1 stored by alpha"), "{}", done.report());
    let third = stage.listing("third.db");
    assert_eq!((third.len(), &third[0]["origin"]), (1, &to[3]["origin"]));
}

#[test]
fn messages_are_chosen_as_they_are_shown() {
    let stage = Stage::new(&lines(1..=30), "");
    for (arguments, expected) in [
        (&["--last", "2"][..], vec!["29", "30"]),
        (&["-n", "2", "--search", "1"], vec!["19", "21"]),
        (&["--from", "127.0.0.1:", "--search", "30"], vec!["30"]),
        (&["--from", "10.0.0.1"], vec![]),
        (&["--since", "1h", "--search", "7"], vec!["7", "17", "27"]),
        (&["--since", "2126-01-01"], vec![]),
    ] {
        let before = stage.texts("to.db").len();
        expect_success(&stage.replay(arguments));
        assert_eq!(stage.texts("to.db").split_off(before), expected, "{arguments:?}");
    }
}

#[test]
fn what_was_killed_goes_on_where_it_was() {
    let mut stage = Stage::new("", &lines(1..=20_000));
    for round in 0..6 {
        let replay = stage.launch(&["--spool", "box", "--json"]).start();
        // Something was final in this round.
        replay.wait_for_stdout("\"last\":");
        let signal = if round == 4 { Signal::SIGTERM } else { Signal::SIGKILL };
        replay.signal(signal);
        expect_signal(&replay.wait(), signal);
        if round == 2 {
            stage.to.signal(Signal::SIGKILL);
            let (to, _) = serve(stage.path(), "to.db", &stage.address);
            expect_signal(&std::mem::replace(&mut stage.to, to).wait(), Signal::SIGKILL);
        }
    }
    expect_success(&stage.replay(&["--spool", "box"]));
    stage.expect_numbers(1..=20_000);
    // What was there before may go, and what has come since is sent.
    let prune = Launch::wilco(["messages", "prune", "from.db", "--before", "2126-01-01"]).directory(stage.path());
    expect_success(&prune.no_input().start().wait());
    store(stage.path(), &[], &lines(20_001..=20_010));
    expect_success(&stage.replay(&["--spool", "box"]));
    expect_success(&stage.replay(&["--spool", "box"]));
    stage.expect_numbers(1..=20_010);
}

#[test]
fn the_first_time_decides_where_a_replay_begins() {
    let stage = Stage::new(&lines(1..=9), "");
    let last = ["--spool", "box", "--last", "2"];
    expect_success(&stage.replay(&last));
    store(stage.path(), &[], &lines(10..=15));
    expect_success(&stage.replay(&last));
    stage.expect_numbers(8..=15);
}

#[test]
fn a_server_that_goes_and_comes_again_makes_no_difference() {
    let mut stage = Stage::new("", &lines(1..=3000));
    let replay = stage.launch(&["--json"]).start();
    replay.wait_for_stdout("\"last\":");
    stage.to.signal(Signal::SIGKILL);
    let address = stage.address.clone();
    expect_signal(&std::mem::replace(&mut stage.to, Launch::command("true", [""; 0]).start()).wait(), Signal::SIGKILL);
    stage.to = serve(stage.path(), "to.db", &address).0;
    expect_success(&replay.wait());
    stage.expect_numbers(1..=3000);
}

#[test]
fn each_end_has_its_status() {
    let stage = Stage::new("one\nlonger\n", "");
    let replay = |arguments: &[&str]| {
        let arguments = [&["messages", "replay"], arguments].concat();
        Launch::wilco(arguments).directory(stage.path()).no_input().start().wait()
    };
    expect_error(&replay(&["nowhere.db", "127.0.0.1:1"]), 2, &["nowhere.db"]);
    expect_error(&replay(&["from.db", "127.0.0.1:1x"]), 2, &["1x"]);
    expect_status(&replay(&["from.db"]), 2);
    let nobody = "unix:@wilco-replay-nobody";
    expect_error(&replay(&["from.db", nobody, "--timeout", "300ms"]), 3, &["refused"]);
    let words = ["2 messages wait in the spool", "run it again"];
    expect_error(&replay(&["from.db", nobody, "--timeout", "300ms", "--spool", "box"]), 3, &words[..1]);
    // A server that acknowledges nothing.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let silent = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("another of it"));
            let mut line = String::new();
            let grant = "WILCO/1 OK acked=0 crc=00000000 win=9 winb=9999 max=9999 idle=60 ack=store srv=silent\n";
            if reader.read_line(&mut line).is_ok_and(|read| read > 0) && stream.write_all(grant.as_bytes()).is_ok() {
                while reader.read_line(&mut line).is_ok_and(|read| read > 0) {}
            }
        }
    });
    let done = replay(&["from.db", &silent, "--timeout", "700ms", "--spool", "box"]);
    expect_error(&done, 4, &["none of 2 messages was acknowledged", words[1]]);
    // One that will not have a message, and one that keeps none.
    let small = Launch::server(["-k", "127.0.0.1:0", "--store", "small.db", "--max-message", "4"]);
    let small = small.directory(stage.path()).start();
    let done = replay(&["from.db", "127.0.0.1", &small.port()]);
    expect_status(&done, 5);
    assert!(done.stderr.contains("message 2 was refused") && done.stderr.contains("413"), "{}", done.report());
    assert_eq!(stage.texts("small.db"), ["one"]);
    let shows = Launch::server(["-k", "127.0.0.1:0"]).start();
    expect_error(&replay(&["from.db", "127.0.0.1", &shows.port()]), 5, &["does not keep messages", "406", "--require"]);
    expect_success(&replay(&["from.db", "127.0.0.1", &shows.port(), "--require", "show"]));
    shows.wait_for_stdout("longer");
    // One that has lost what it had.
    expect_success(&stage.replay(&["--spool", "box"]));
    let (_other, port) = serve(stage.path(), "other.db", "127.0.0.1:0");
    store(stage.path(), &[], "more\n");
    let done = replay(&["from.db", "127.0.0.1", &port, "--spool", "box"]);
    expect_error(&done, 6, &["does not know the session", "another --spool"]);
    expect_success(&stage.replay(&["--spool", "box"]));
    assert_eq!(stage.texts("to.db"), ["one", "longer", "more"]);
}

#[test]
fn a_spool_is_of_one_replay_alone() {
    let stage = Stage::new("one\ntwo\n", "");
    expect_success(&stage.replay(&["--spool", "box"]));
    let own = "a directory of its own";
    expect_error(&stage.replay(&["--spool", "box", "--search", "o"]), 2, &["of a replay of", "from.db", own]);
    expect_error(&stage.replay(&["--spool", "from.db"]), 2, &["from.db"]);
    let client = |spool: &str| {
        let client = Launch::client(["--spool", spool, &stage.address, "-m", "mine"]).directory(stage.path());
        expect_success(&client.no_input().start().wait());
    };
    client("clients");
    expect_error(&stage.replay(&["--spool", "clients"]), 2, &["of a client", own]);
    client("box");
    expect_error(&stage.replay(&["--spool", "box"]), 2, &["used by something else", own]);
    assert_eq!(stage.texts("to.db"), ["one", "two", "mine", "mine"]);
}
