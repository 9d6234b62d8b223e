//! `client --assured`: delivered exactly once whatever happens on the way, and said in so many words when it is not.
//!
//! Apart from the plain client: here the server is one that speaks the bytes by itself (`fake.rs`), and at the end this project's own.

mod fake;
mod servers;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Finished, Launch, Terminal, expect_error, expect_signal, expect_status, expect_success};
use fake::{Talk, start};

fn client(arguments: &[&str]) -> Finished {
    Launch::client(arguments).no_input().start().wait()
}

/// A client that is given these lines.
fn fed(arguments: &[&str], lines: &str) -> Finished {
    let mut client = Launch::client(arguments).start();
    client.send(lines);
    client.finish()
}

fn numbers(count: usize) -> (String, Vec<String>) {
    let numbers: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    (numbers.join("\n") + "\n", numbers)
}

fn open_and_serve(talk: &mut Talk) {
    if talk.open().is_some() {
        talk.serve();
    }
}

fn open_and_cut(talk: &mut Talk) {
    if talk.open().is_some() {
        talk.serve_some(40);
    }
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

#[test]
fn every_message_is_there_once_and_in_order_though_connections_are_cut() {
    let (port, stored) = start(vec![open_and_cut, open_and_cut, |_| {}, open_and_cut, open_and_serve]);
    let (lines, expected) = numbers(1000);
    let done = fed(&["--assured", "127.0.0.1", &port], &lines);
    expect_success(&done);
    assert_eq!(stored.all(), expected);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("connecting again in"), "{}", done.report());
}

#[test]
fn a_message_may_have_any_bytes_and_replies_are_shown() {
    let (port, stored) = start(vec![|talk| {
        talk.open();
        while let Some(number) = talk.store() {
            talk.say(&format!("D {number} 8\nre\nply {number}\nA {number}\n"));
        }
    }]);
    let done = client(&["--assured", "127.0.0.1", &port, "-m", "two\nlines", "-m", ""]);
    expect_success(&done);
    assert_eq!(stored.all(), ["two\nlines", ""]);
    assert_eq!(done.stdout, "re\nply 1\nre\nply 2\n");
}

#[test]
fn what_is_refused_is_told_and_kept() {
    fn refuses(talk: &mut Talk) {
        talk.open();
        while let Some(number) = talk.store() {
            match number {
                2 => talk.say("N 2 422 it is \u{202e}bad\nA 2\n"),
                number => talk.say(&format!("D {number} 3\nyes\nA {number}\n")),
            }
        }
    }
    let (port, _) = start(vec![refuses]);
    let done = fed(&["--assured", "127.0.0.1", &port], "one\ntwo\nthree\n");
    expect_status(&done, 5);
    assert_eq!(done.stdout, "yes\nyes\n");
    assert!(done.stderr.contains("message 2 was refused: it is \\u{202e}bad (422)"), "{}", done.report());
    let directory = tempfile::tempdir().expect("a directory");
    let (port, _) = start(vec![|talk| {
        talk.open();
        while let Some(number) = talk.store() {
            talk.say(&format!("N {number} 422 it is bad\nA {number}\n"));
        }
    }]);
    let spool = path(directory.path(), "box");
    let done = client(&["--spool", &spool, "127.0.0.1", &port, "-m", "one"]);
    expect_status(&done, 5);
    for word in ["message 1 was refused: it is bad (422)", "dead-letters"] {
        assert!(done.stderr.contains(word), "{word:?}: {}", done.report());
    }
    let letters = std::fs::read_to_string(format!("{spool}/dead-letters")).expect("dead letters");
    assert!(letters.contains("\"text\":\"one\""), "{letters}");
}

#[test]
fn each_end_has_its_status_and_says_what_to_do() {
    // A server that never was there.
    let directory = tempfile::tempdir().expect("a directory");
    let nobody = ["unix:@wilco-assured-nobody", "-m", "hello", "--timeout", "300ms"];
    let done = client(&[&["--assured"], &nobody[..]].concat());
    expect_error(&done, 3, &["refused", "nothing was sent"]);
    let spool = path(directory.path(), "box");
    let done = client(&[&["--spool", &spool], &nobody[..]].concat());
    expect_error(&done, 3, &["refused", "a message waits in the spool", &spool]);
    // One that acknowledges three and then nothing.
    let (port, _) = start(vec![
        |talk| {
            talk.open();
            talk.serve_some(3);
            while talk.line().is_some() {}
        },
        |_| {},
    ]);
    let done = fed(&["--spool", &spool, "127.0.0.1", &port, "--timeout", "700ms"], &numbers(9).0);
    let words = ["3 of 10 messages were acknowledged, up to number 3", "7 wait in the spool", "run it again"];
    expect_error(&done, 4, &words);
    // Words of a server that end it.
    type Case = (fn(&mut Talk), i32, &'static [&'static str]);
    let table: [Case; 8] = [
        (|talk| talk.say("wilco: refused: not allowed\n"), 5, &["not allowed"]),
        (|talk| talk.say("I got your message\n"), 5, &["does not speak", "I got your message", "--assured"]),
        (|talk| talk.say("\u{1b}[2J\n"), 5, &["does not speak"]),
        (|talk| talk.say("E 505 never another version\n"), 5, &["another version"]),
        (|talk| talk.say("E 410 never it is gone\n"), 6, &["does not know the session", "it is gone"]),
        (|talk| talk.say("E 409 never ahead\n"), 6, &["copied or set back"]),
        (|talk| talk.say("E 423 never another\n"), 6, &["another client"]),
        (
            |talk| {
                talk.opening();
                talk.grant(7, "00000000");
            },
            6,
            &["copied or set back", "7"],
        ),
    ];
    for (script, status, words) in table {
        let (port, _) = start(vec![script]);
        expect_error(&client(&["--assured", "127.0.0.1", &port, "-m", "hello"]), status, words);
    }
}

#[test]
fn what_makes_no_sense_together_is_a_mistake() {
    for (arguments, words) in [
        (&["--assured", "--raw"][..], &["--raw"][..]),
        (&["--assured", "--no-ack"], &["--no-ack"]),
        (&["--assured", "--wait"], &["--timeout"]),
        (&["--spool", "box", "--retry", "3"], &["--timeout"]),
        (&["--assured", "--lost-session", "skip"], &["--spool"]),
        (&["--require", "store"], &["--assured", "--spool"]),
        (&["--name", "me"], &["--name", "--assured", "--spool"]),
        (&["--assured", "--require", "all"], &["store", "run", "show"]),
        (&["--spool", "box", "--lost-session", "no"], &["resend", "skip"]),
    ] {
        let done = client(&[&["127.0.0.1:9", "-m", "x"], arguments].concat());
        expect_status(&done, 2);
        words.iter().for_each(|word| assert!(done.stderr.contains(word), "{word}: {}", done.report()));
    }
    let done = client(&["--assured", "udp:127.0.0.1:9", "tcp:127.0.0.1:9", "-m", "x"]);
    expect_error(&done, 2, &["udp:127.0.0.1:9", "tcp:127.0.0.1:9", "UDP"]);
    // The environment is that of all clients, whatever they do.
    let done = Launch::client(["127.0.0.1:9", "-m", "x"]).env("WILCO_NAME", "me").start().wait();
    expect_status(&done, 3);
}

#[test]
fn a_client_that_is_killed_leaves_all_to_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = path(directory.path(), "box");
    // A few are acknowledged, then it hangs until the client has gone.
    fn hangs(talk: &mut Talk) {
        if talk.open().is_some() {
            talk.serve_some(7);
            while talk.store().is_some() {}
        }
    }
    let (port, stored) = start(vec![hangs, hangs, hangs, open_and_serve]);
    let (mut expected, mut last) = (Vec::new(), 0);
    for round in 0..3 {
        let mut client = Launch::client(["--spool", &spool, "--json", "127.0.0.1", &port]).start();
        let lines: Vec<String> = (0..20).map(|line| format!("{round} {line}")).collect();
        client.send(lines.join("\n") + "\n");
        expected.extend(lines);
        // Something new is final, so that all of this was read.
        last += 7;
        client.wait_for_stdout(&format!("\"last\":{last}"));
        client.signal(Signal::SIGKILL);
        expect_signal(&client.wait(), Signal::SIGKILL);
        // What was sent may be stored by now and not acknowledged.
        last = stored.all().len().max(last);
    }
    let done = client(&["--spool", &spool, "127.0.0.1", &port]);
    expect_success(&done);
    assert_eq!(stored.sessions(), 1);
    assert_eq!(stored.all(), expected);
}

#[test]
fn a_spool_has_one_client_and_a_directory_of_something_else_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = path(directory.path(), "box");
    let (port, _) = start(vec![|talk| {
        talk.open();
        while talk.line().is_some() {}
    }]);
    let mut first = Launch::client(["--spool", &spool, "-v", "127.0.0.1", &port]).start();
    first.send("one\n");
    first.wait_for_stderr("opens the session");
    expect_error(
        &client(&["--spool", &spool, "127.0.0.1", &port, "-m", "x"]),
        2,
        &["in use", &first.pid().to_string()],
    );
    std::fs::write(directory.path().join("note"), "mine").expect("written");
    let done = client(&["--spool", &path(directory.path(), ""), "127.0.0.1", &port, "-m", "x"]);
    expect_error(&done, 2, &["no spool", "empty"]);
}

#[test]
fn a_signal_lets_what_was_sent_be_acknowledged_and_a_second_does_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = path(directory.path(), "box");
    let (port, stored) = start(vec![
        |talk| {
            talk.open();
            while let Some(number) = talk.store() {
                if number == 3 {
                    talk.say("A 1\n");
                }
                if number == 4 {
                    talk.say("A 4\n");
                }
            }
        },
        open_and_serve,
    ]);
    let mut client = Launch::client(["--spool", &spool, "--json", "127.0.0.1", &port]).start();
    client.send("1\n2\n3\n");
    client.wait_for_stdout("\"last\":1");
    client.signal(Signal::SIGINT);
    client.wait_for_stderr("waiting for 2 acknowledgements");
    client.signal(Signal::SIGINT);
    let done = client.wait();
    expect_signal(&done, Signal::SIGINT);
    assert!(done.stderr.contains("1 of 3 messages were acknowledged"), "{}", done.report());
    assert!(done.stderr.contains("2 wait in the spool"), "{}", done.report());
    expect_success(&fed(&["--spool", &spool, "127.0.0.1", &port], "4\n"));
    assert_eq!(stored.all(), ["1", "2", "3", "4"]);
}

#[test]
fn a_lost_session_begins_anew_only_if_that_is_said() {
    for (policy, stored_then) in [("resend", vec!["one", "two"]), ("skip", vec!["two"])] {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = path(directory.path(), "box");
        fn unknown(talk: &mut Talk) {
            talk.opening();
            talk.say("E 410 never the database is gone\n");
        }
        let (port, stored) = start(vec![unknown, unknown, open_and_serve]);
        let arguments = ["--spool", &spool, "127.0.0.1", &port];
        let done = client(&[&arguments[..], &["-m", "one"]].concat());
        expect_error(&done, 6, &["410", "1 waits in the spool", "--lost-session=resend"]);
        // What is new goes on in the new session.
        let mut client = Launch::client([&arguments[..], &["--lost-session", policy]].concat()).start();
        client.wait_for_stderr("a new session begins");
        client.send("two\n");
        let done = client.finish();
        // What is skipped is not delivered.
        match policy {
            "skip" => {
                expect_status(&done, 5);
                assert!(done.stderr.contains("1 message was put with the dead letters"), "{}", done.report());
            }
            _ => expect_success(&done),
        }
        assert_eq!(stored.all(), stored_then, "{policy}");
        let letters = std::fs::read_to_string(format!("{spool}/dead-letters")).unwrap_or_default();
        assert_eq!(letters.contains("\"one\""), policy == "skip", "{letters}");
    }
}

#[test]
fn events_of_an_assured_delivery() {
    let (port, _) = start(vec![
        |talk| {
            talk.open();
            talk.serve_some(1);
            talk.line();
            talk.say("R 2 1 503 busy\n");
        },
        |talk| {
            talk.open();
            while let Some(number) = talk.store() {
                talk.say(&format!("D {number} 2\nhi\nA {number}\n"));
            }
        },
    ]);
    let done = fed(&["--assured", "--json", "127.0.0.1", &port], "one\ntwo\n");
    expect_success(&done);
    let events: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    let position =
        |name: &str| names.iter().position(|found| *found == name).unwrap_or_else(|| panic!("{name}: {names:?}"));
    assert!(position("connected") < position("opened") && position("opened") < position("receipt"));
    assert!(position("receipt") < position("lost") && position("lost") < position("reply"));
    let receipt = &events[position("receipt")];
    assert_eq!((&receipt["first"], &receipt["how"], &receipt["by"]), (&1.into(), &"stored".into(), &"alpha".into()));
    let last = events.last().expect("an event");
    assert_eq!(last["event"], "done");
    assert_eq!((&last["sent"], &last["acknowledged"], &last["reconnects"]), (&2.into(), &2.into(), &1.into()));
}

#[test]
fn a_person_is_told_the_sum() {
    let (port, _) = start(vec![open_and_serve]);
    let client = Launch::client(["--assured", "127.0.0.1", &port, "-m", "hello"]).terminal(Terminal::ALL).start();
    let done = client.wait();
    expect_success(&done);
    assert!(done.stdout.contains("1 sent, 1 stored by alpha"), "{}", done.report());
    // Nobody else is.
    let done = fed(&["--assured", "127.0.0.1", &port], "hello\n");
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""), "{}", done.report());
}

#[test]
fn a_person_may_ask_on_and_each_message_is_final_before_the_next_prompt() {
    let (port, stored) = start(vec![open_and_serve]);
    let mut client = Launch::client(["--assured", "-i", "127.0.0.1", &port]).terminal(Terminal::ALL).start();
    for (count, line) in ["one", "two"].into_iter().enumerate() {
        client.wait_for_count("Please enter the message: ", count + 1);
        client.type_line(line);
    }
    client.wait_for_count("Please enter the message: ", 3);
    assert_eq!(stored.all(), ["one", "two"]);
    client.close_stdin();
    expect_success(&client.wait());
}

#[test]
fn every_kind_of_socket_has_assured_delivery() {
    let directory = tempfile::tempdir().expect("a directory");
    let (lines, expected) = numbers(300);
    for (at, scheme) in ["tcp", "udp", "unix", "unix-seqpacket", "unix-dgram"].into_iter().enumerate() {
        let address = match scheme {
            "tcp" | "udp" => format!("{scheme}:127.0.0.1:0"),
            _ => format!("{scheme}:{}", path(directory.path(), scheme)),
        };
        let store = path(directory.path(), &format!("store-{at}"));
        let server = Launch::server(["--store", &store, &address]).start();
        let done = fed(&["--assured", "-v", &server.listening()], &lines);
        expect_success(&done);
        assert!(done.stderr.contains("300 sent, 300 stored"), "{scheme}: {}", done.report());
        server.signal(Signal::SIGTERM);
        server.wait();
        assert_eq!(in_store(&store), expected, "{scheme}");
    }
}

#[test]
fn a_server_with_a_store_is_killed_again_and_again_and_has_everything_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, spool) = (path(directory.path(), "store"), path(directory.path(), "box"));
    let address = format!("unix:{}", path(directory.path(), "socket"));
    let launch = Launch::server(["--store", &store, &address]);
    let (lines, expected) = numbers(30_000);
    let mut server = launch.start();
    server.listening();
    let mut client = Launch::client(["--spool", &spool, "--json", &address]).start();
    let mut parts = lines.split_inclusive("000\n").peekable();
    while let Some(part) = parts.next() {
        client.send(part);
        let number = part.trim_end().rsplit('\n').next().expect("a number").to_owned();
        if number.ends_with("0000") && parts.peek().is_some() {
            // Something of this was acknowledged, and something was not.
            client.wait_for_stdout("\"receipt\"");
            server.signal(Signal::SIGKILL);
            expect_signal(&server.wait(), Signal::SIGKILL);
            server = launch.start();
            server.listening();
        }
    }
    let done = client.finish();
    expect_success(&done);
    server.signal(Signal::SIGTERM);
    server.wait();
    assert_eq!(in_store(&store), expected);
}

/// Waits until a store has so many messages.
fn wait_for_messages(store: &str, count: i64) {
    let database = rusqlite::Connection::open(store).expect("a database");
    let deadline = Instant::now() + Duration::from_secs(40);
    while database.query_row("select count(*) from messages", [], |row| row.get::<_, i64>(0)).unwrap_or(0) < count {
        assert!(Instant::now() < deadline, "the store does not come to {count} messages");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All messages of a store, in their order; none twice.
fn in_store(store: &str) -> Vec<String> {
    let database = rusqlite::Connection::open(store).expect("a database");
    let mut select = database.prepare("select number, cast(body as text) from messages order by id").expect("messages");
    let rows = select.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).expect("rows");
    let rows: Vec<_> = rows.map(|row| row.expect("a row")).collect();
    assert!(rows.iter().zip(1..).all(|((number, _), place)| *number == place), "not each number once and in order");
    rows.into_iter().map(|(_, body)| body).collect()
}
