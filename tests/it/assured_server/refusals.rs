//! What a server does not go along with: what is no frame, numbers that cannot be, sessions that are another's or not as it knows them.

use super::talk::{connect, exchange, open, open_with};
use super::{bodies, expect_numbers, storing};

const SID: &str = "c23456789abcdef0";

/// What a client of a server that stores hears of this, after the session was opened.
#[test]
fn what_is_no_frame_ends_the_connection_and_is_not_stored() {
    let (_server, port, directory) = storing(&[]);
    let long = format!("M 1 {}\n", "1".repeat(1024 * 1024));
    let table = [
        ("HELLO\n", "E 400 never "),
        ("M 0 1\na\n", "E 400 never "),
        ("M 2 1\na\n", "E 400 never "),
        ("M 01 1\na\n", "E 400 never "),
        ("M 9223372036854775808 1\na\n", "E 400 never "),
        ("M 9223372036854775807 1\na\n", "E 400 never "),
        ("M -1 1\na\n", "E 400 never "),
        ("M 1 -1\na\n", "E 400 never "),
        ("M 1 1\nab\n", "E 400 never "),
        ("M  1 1\na\n", "E 400 never "),
        ("m 1 1\na\n", "E 400 never "),
        ("M 1 1 x\na\n", "E 400 never "),
        ("\n", "E 400 never "),
        ("M 1\0 1\na\n", "E 400 never "),
        ("WILCO/1 OPEN sid=c23456789abcdef0 first=1 next=1\n", "E 400 never "),
        (&long, "E 400 never "),
    ];
    for (said, heard) in table {
        let mut talk = open(&port, SID, 1, 1);
        talk.say(said);
        let line = talk.expect_start(heard);
        assert!(line.len() < 200, "{line}");
        talk.expect_end();
    }
    for (said, heard) in [
        ("WILCO/2 OPEN sid=c23456789abcdef0 first=1 next=1\n", "E 505 never "),
        ("WILCO/1 HELLO\n", "E 400 never "),
        ("WILCO/1 OPEN sid=short first=1 next=1\n", "E 400 never "),
        ("WILCO/1 OPEN sid=C23456789ABCDEF0 first=1 next=1\n", "E 400 never "),
        ("WILCO/1 OPEN sid=c23456789abcdef0 first=0 next=1\n", "E 400 never "),
        ("WILCO/1 OPEN sid=c23456789abcdef0 first=2 next=1\n", "E 400 never "),
        ("WILCO/1 OPEN sid=c23456789abcdef0 first=1\n", "E 400 never "),
    ] {
        let mut talk = connect(&port);
        talk.say(said);
        talk.expect_start(heard);
        talk.expect_end();
    }
    let mut talk = connect(&port);
    talk.say(format!("WILCO/1 OPEN {}", "x".repeat(1024 * 1024)));
    talk.expect_start("E 400 never ");
    assert!(bodies(&directory, SID).is_empty());
}

#[test]
fn a_connection_that_is_cut_in_a_frame_stores_what_was_whole() {
    let (_server, port, directory) = storing(&[]);
    let opening = format!("WILCO/1 OPEN sid={SID} first=1 next=9\n");
    for (number, rest) in ["", "M", "M 9 ", "M 9 5\nhel", "M 9 5\nhello", "M 9 -\nhel"].into_iter().enumerate() {
        let number = number as u64 + 1;
        let said = format!("{opening}M {number} 1\na\n{}", rest.replace('9', &(number + 1).to_string()));
        let heard = exchange(&port, said.as_bytes(), 100_000);
        assert!(heard.ends_with(&format!("A {number}\nBYE {number}\n")), "{rest:?}: {heard:?}");
    }
    expect_numbers(&directory, SID, 6);
}

#[test]
fn a_message_that_is_too_large_is_refused_and_the_others_are_stored() {
    let (server, port, directory) = storing(&["--max-message", "10"]);
    let mut talk = open(&port, SID, 1, 4);
    talk.say(format!("M 1 3\none\nM 2 11\n{}\nM 3 10\n0123456789\n", "x".repeat(11)));
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line: &String| line != "A 3") {
        heard.push(talk.hear());
    }
    let refused = heard.iter().position(|line| line.starts_with("N 2 413 ")).expect("a refusal");
    assert!(!heard[..refused].iter().any(|line| line == "A 2" || line == "A 3"), "{heard:?}");
    drop(talk);
    // It is said again until it is noted.
    let mut talk = open(&port, SID, 1, 4);
    assert!(talk.granted().starts_with("acked=1 "), "{}", talk.granted());
    talk.expect_start("N 2 413 ");
    talk.expect("A 3");
    talk.say("K 3\nPING x\n");
    talk.expect("PONG x");
    drop(talk);
    let talk = open(&port, SID, 1, 4);
    assert!(talk.granted().starts_with("acked=3 "), "{}", talk.granted());
    assert_eq!(bodies(&directory, SID), ["one", "0123456789"]);
    server.wait_for_stderr("refused: message 2");
}

#[test]
fn a_session_that_is_not_as_the_server_knows_it_is_not_gone_on_with() {
    let (_server, port, directory) = storing(&[]);
    let mut talk = open(&port, SID, 1, 4);
    talk.say("M 1 1\na\nM 2 1\nb\nM 3 1\nc\n");
    talk.expect_acknowledged(3);
    drop(talk);
    for (opening, heard) in [
        ("sid=d23456789abcdef0 first=2 next=3", "E 410 never "),
        ("sid=c23456789abcdef0 first=1 next=1", "E 409 never "),
        ("sid=c23456789abcdef0 first=3 next=3", "E 409 never "),
        ("sid=c23456789abcdef0 first=5 next=9", "E 412 never "),
    ] {
        let mut talk = connect(&port);
        talk.say(format!("WILCO/1 OPEN {opening}\n"));
        talk.expect_start(heard);
        talk.expect_end();
    }
    expect_numbers(&directory, SID, 3);
}

#[test]
fn a_session_belongs_to_whoever_began_it() {
    let (_server, port, directory) = storing(&["-v"]);
    let mut talk = open_with(&port, SID, 1, 3, " token=secret");
    talk.say("M 1 1\na\n");
    talk.expect_acknowledged(1);
    for token in ["", " token=other"] {
        let mut thief = connect(&port);
        thief.say(format!("WILCO/1 OPEN sid={SID} first=1 next=9{token}\n"));
        thief.expect_start("E 403 never ");
        thief.expect_end();
    }
    // Who has it is not disturbed.
    talk.say("M 2 1\nb\n");
    talk.expect_acknowledged(2);
    let talk = open_with(&port, SID, 1, 3, " token=secret");
    assert!(talk.granted().starts_with("acked=2 "));
    let files =
        ["messages.db", "messages.db-wal"].map(|name| std::fs::read(directory.path().join(name)).expect("a file"));
    assert!(!files.concat().windows(6).any(|bytes| bytes == b"secret"), "the token itself is not kept");
}

#[test]
fn the_newest_connection_has_the_session_and_what_the_older_brings_is_not_stored() {
    let (_server, port, directory) = storing(&[]);
    let mut older = open(&port, SID, 1, 4);
    older.say("M 1 1\na\n");
    older.expect_acknowledged(1);
    let mut newer = open(&port, SID, 1, 4);
    older.expect_start("E 423 never ");
    older.expect_end();
    // Its direction is still open for what was on its way.
    let _ = std::io::Write::write_all(&mut older.writer(), b"M 2 6\nzombie\n");
    newer.say("M 2 1\nb\n");
    newer.expect_acknowledged(2);
    assert_eq!(bodies(&directory, SID), ["a", "b"]);
}

#[test]
fn many_that_take_a_session_from_each_other_store_each_message_once() {
    let (_server, port, directory) = storing(&[]);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let port = port.clone();
            std::thread::spawn(move || {
                for _ in 0..25 {
                    let mut talk = open(&port, SID, 1, 101);
                    let granted = talk.granted();
                    let acked: u64 =
                        granted["acked=".len()..].split(' ').next().expect("a word").parse().expect("a number");
                    if acked == 100 {
                        return;
                    }
                    let messages: String =
                        (acked + 1..=100).map(|number| format!("M {number} 3\n{number:03}\n")).collect();
                    let _ = std::io::Write::write_all(&mut talk.writer(), messages.as_bytes());
                    loop {
                        let line = talk.hear();
                        if line.is_empty() || line.starts_with("E 423") || line == "A 100" {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
    let mut talk = open(&port, SID, 1, 101);
    let granted = talk.granted();
    let acked: u64 = granted["acked=".len()..].split(' ').next().expect("a word").parse().expect("a number");
    if acked < 100 {
        let rest: String = (acked + 1..=100).map(|number| format!("M {number} 3\n{number:03}\n")).collect();
        talk.say(rest);
        talk.expect_acknowledged(100);
    }
    expect_numbers(&directory, SID, 100);
    assert_eq!(bodies(&directory, SID), (1..=100).map(|number| format!("{number:03}")).collect::<Vec<_>>());
}
