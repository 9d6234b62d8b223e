//! Assured sessions as a server has them: the bytes of the protocol, written by hand over every kind of socket, and what is then in the store.
//!
//! Apart from plain messages. Nothing here uses our own client: another program that speaks the protocol must find all of this.

mod handlers;
mod library;
mod lifetime;
mod packets;
mod refusals;
mod talk;
pub(crate) mod transcripts;

use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::harness::{Launch, Program, expect_signal};
use talk::{connect, hex_crc, open};

/// A server that stores into a file of a new directory.
fn storing(options: &[&str]) -> (Program, String, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let (server, port) = start(&directory, options);
    (server, port, directory)
}

/// A server that stores into the file of a directory.
fn start(directory: &TempDir, options: &[&str]) -> (Program, String) {
    let file = directory.path().join("messages.db");
    let file = file.to_str().expect("a path");
    let server = Launch::server(["127.0.0.1:0", "--name", "alpha", "--store", file].iter().chain(options)).start();
    let port = server.port();
    (server, port)
}

/// What is in a store, in its order: session, number, body.
fn stored(directory: &Path) -> Vec<(String, u64, String)> {
    let store = rusqlite::Connection::open(directory.join("messages.db")).expect("open the store");
    let mut rows = store.prepare("SELECT ifnull(sid, ''), number, body FROM received ORDER BY id").expect("a view");
    let row = |row: &rusqlite::Row<'_>| {
        let body = match row.get_ref(2)? {
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            rusqlite::types::ValueRef::Blob(bytes) => format!("{bytes:?}"),
            other => format!("{other:?}"),
        };
        Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned(), body))
    };
    let rows = rows.query_map([], row).expect("rows");
    rows.collect::<Result<_, _>>().expect("messages")
}

fn bodies(directory: &TempDir, session: &str) -> Vec<String> {
    stored(directory.path()).into_iter().filter(|(sid, ..)| sid == session).map(|(.., body)| body).collect()
}

/// All the messages of a session are there once and in order.
#[track_caller]
fn expect_numbers(directory: &TempDir, session: &str, last: u64) {
    let numbers: Vec<_> = stored(directory.path()).into_iter().filter(|(sid, ..)| sid == session).collect();
    let numbers: Vec<_> = numbers.into_iter().map(|(_, number, _)| number).collect();
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
}

#[test]
fn one_port_takes_lines_and_sessions_and_turns_the_others_away_however_the_bytes_are_split() {
    let (server, port, directory) = storing(&["-v"]);
    let session =
        "WILCO/1 OPEN sid=0123456789abcdef first=1 next=1\nM 1 5\nhello\nM 2 -\ntyped\nM 3 4 x=y\na\n\0b\nBYE\n";
    let mut expected = 0;
    for (round, size) in [1, 2, 3, 7, 64, 100_000].into_iter().enumerate() {
        let sid = format!("{round}123456789abcdef");
        let answer = "WILCO/1 OK acked=0 crc=00000000 win=8192 winb=4194304 max=1048576 idle=60 ack=store srv=alpha\n"
            .to_string();
        let said = talk::exchange(&port, session.replace("0123456789abcdef", &sid).as_bytes(), size);
        let last = said.strip_prefix(&answer).unwrap_or_else(|| panic!("{said:?}"));
        // How many are acknowledged at a time is the store's affair.
        assert!(last.ends_with("A 3\nBYE 3\n"), "{last:?}");
        assert_eq!(bodies(&directory, &sid), ["hello", "typed", "a\n\0b".escape_bytes().as_str()]);
        let plain = "GET well soon\nWILCO/1\nWILCO is fine\n\u{16}\n";
        assert_eq!(talk::exchange(&port, plain.as_bytes(), size), "I got your message\n".repeat(4));
        expected += 3 + 4;
        for request in ["GET / HTTP/1.1\r\nHost: x\r\n\r\nhello\n", "POST /x HTTP/1.1\r\n\r\nhello\n"] {
            let said = talk::exchange(&port, request.as_bytes(), size);
            assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n") && said.ends_with("no HTTP\n"), "{said:?}");
        }
        let said = talk::exchange_bytes(&port, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03hello\n", size);
        assert_eq!(said, b"\x15\x03\x01\x00\x02\x02\x28");
        assert_eq!(stored(directory.path()).len(), expected, "nothing of what was turned away is stored");
    }
    server.wait_for_stderr("the client speaks TLS, and this server does not");
}

/// A body as the store's other column shows it.
trait EscapeBytes {
    fn escape_bytes(&self) -> String;
}

impl EscapeBytes for str {
    fn escape_bytes(&self) -> String {
        format!("{:?}", self.as_bytes())
    }
}

#[test]
fn the_dialogue_of_the_protocols_page_is_what_is_said() {
    let (_server, port, directory) = storing(&[]);
    let sid = "5fb0f4d2c9a84e0e9d3c61f2a7b8e915";
    let mut talk = connect(&port);
    talk.say(format!("WILCO/1 OPEN sid={sid} first=1 next=1 ack=store name=sensor%207\n"));
    talk.expect("WILCO/1 OK acked=0 crc=00000000 win=8192 winb=4194304 max=1048576 idle=60 ack=store srv=alpha");
    for (said, heard) in
        [("M 1 5\nhello\n", "A 1"), ("M 2 9\ntwo\nlines\n", "A 2"), ("PING 1\n", "PONG 1"), ("BYE\n", "BYE 2")]
    {
        talk.say(said);
        talk.expect(heard);
    }
    talk.expect_end();
    let mut talk = connect(&port);
    talk.say(format!("WILCO/1 OPEN sid={sid} first=3 next=4 ack=store name=sensor%207\nM 3 8\nthe last\nBYE\n"));
    talk.expect("WILCO/1 OK acked=2 crc=c391d407 win=8192 winb=4194304 max=1048576 idle=60 ack=store srv=alpha");
    talk.expect("A 3");
    talk.expect("BYE 3");
    talk.expect_end();
    assert_eq!(bodies(&directory, sid), ["hello", "two\nlines", "the last"]);
    let store = rusqlite::Connection::open(directory.path().join("messages.db")).expect("open the store");
    let names: i64 = store
        .query_row("SELECT count(*) FROM received WHERE name = 'sensor 7' AND peer LIKE '127.0.0.1:%'", [], |row| {
            row.get(0)
        })
        .expect("a count");
    assert_eq!(names, 3);
}

#[test]
fn a_session_goes_on_where_it_was_after_a_restart_and_duplicates_are_not_stored() {
    let (server, port, directory) = storing(&[]);
    let sid = "a23456789abcdef0";
    let mut talk = open(&port, sid, 1, 4);
    talk.say("M 1 3\none\nM 2 3\ntwo\n");
    talk.expect_acknowledged(2);
    // As one that was never told.
    drop(talk);
    let mut talk = open(&port, sid, 1, 4);
    assert_eq!(talk.granted(), format!("acked=2 crc={}", hex_crc("two")));
    talk.say("M 1 3\none\nM 2 3\ntwo\nM 3 5\nthree\n");
    talk.expect_acknowledged(3);
    server.signal(Signal::SIGTERM);
    talk.expect("BYE 3 drain");
    expect_signal(&server.wait(), Signal::SIGTERM);
    let (_server, port) = start(&directory, &[]);
    let mut talk = open(&port, sid, 3, 5);
    assert_eq!(talk.granted(), format!("acked=3 crc={}", hex_crc("three")));
    talk.say("M 3 5\nthree\nM 4 4\nfour\n");
    talk.expect_acknowledged(4);
    expect_numbers(&directory, sid, 4);
}

#[test]
fn a_sandboxed_server_stores_more_than_its_log_holds() {
    const BODY: usize = 1024 * 1024;
    const COUNT: u64 = 48;
    let (server, port, directory) = storing(&["-v"]);
    let sid = "b23456789abcdef0";
    let mut talk = open(&port, sid, 1, COUNT + 1);
    let mut writer = talk.writer();
    let sending = std::thread::spawn(move || {
        for number in 1..=COUNT {
            let body = vec![b'a' + u8::try_from(number % 26).expect("small"); BODY];
            std::io::Write::write_all(&mut writer, format!("M {number} {BODY}\n").as_bytes()).expect("send");
            std::io::Write::write_all(&mut writer, &body).expect("send");
            std::io::Write::write_all(&mut writer, b"\n").expect("send");
        }
    });
    talk.expect_acknowledged(COUNT);
    sending.join().expect("all is sent");
    server.wait_for_stderr("sandbox: ");
    // The log was copied into the file.
    let size = std::fs::metadata(directory.path().join("messages.db")).expect("the store").len();
    assert!(size > 16 * BODY as u64, "{size}");
    drop(talk);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    let (_server, port) = start(&directory, &[]);
    let mut talk = open(&port, sid, COUNT, COUNT + 2);
    talk.say(format!("M {} 3\nend\n", COUNT + 1));
    talk.expect_acknowledged(COUNT + 1);
    expect_numbers(&directory, sid, COUNT + 1);
}
