//! Very many sessions: connections that are idle, and sessions that a store knows.
//!
//! Apart from load: hardly anything happens here, but there is much that it might happen to. The large numbers are those of `tests/soak`.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpStream;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use super::Pipeline;
use super::load::{connect, hear, open};
use super::points::{Choice, tell};
use crate::harness::{Launch, Program, expect_signal, expect_success};

/// The memory that a process has now, in bytes.
fn memory(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// A server with a store, for any number of clients of this machine, and its port.
fn start(pipeline: &Pipeline) -> (Program, String) {
    let store = pipeline.store().to_str().expect("a path");
    let server = Launch::server(["127.0.0.1:0", "--max-per-peer", "0", "--store", store]).start();
    let port = server.port();
    (server, port)
}

#[test]
fn idle_sessions_take_little_and_each_is_served() {
    const TEST: &str = "idle_sessions_take_little_and_each_is_served";
    let count = Choice::of(TEST).count(1_000, 10_000);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    // Both sides of a connection are not of one process; other tests need some, too.
    setrlimit(Resource::RLIMIT_NOFILE, soft.max((count + 5_000).min(hard)), hard).expect("below the hard limit");
    let pipeline = Pipeline::new();
    let (server, port) = start(&pipeline);
    drop(open(&port, 0, ""));
    let before = memory(&server);
    let mut idle: Vec<BufReader<TcpStream>> = Vec::new();
    for session in 1..=count {
        let mut writer = connect(&port);
        writer.write_all(format!("WILCO/1 OPEN sid={session:020} first=1 next=1\n").as_bytes()).expect("open");
        idle.push(BufReader::with_capacity(256, writer));
    }
    for reader in &mut idle {
        assert!(hear(reader).starts_with("WILCO/1 OK acked=0 "));
    }
    let each = memory(&server).saturating_sub(before) / count;
    for reader in &mut idle {
        reader.get_mut().write_all(b"M 1 5\nhello\n").expect("sent");
    }
    for reader in &mut idle {
        assert_eq!(hear(reader), "A 1\n");
    }
    let then = memory(&server).saturating_sub(before) / count;
    tell(&format!("{TEST}: {count} sessions, {each} bytes for each, {then} once each has sent a message"));
    assert!(then < 24 * 1024, "{then} bytes for each idle session");
    drop(idle);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    let store = rusqlite::Connection::open(pipeline.store()).expect("open the store");
    let found: i64 = store
        .query_row("SELECT count(*) FROM sessions WHERE acked = 1", [], |row| row.get(0))
        .expect("a count of sessions");
    assert_eq!(found.cast_unsigned(), count);
}

#[test]
fn a_store_knows_very_many_sessions_and_refuses_only_new_ones_beyond() {
    const TEST: &str = "a_store_knows_very_many_sessions_and_refuses_only_new_ones_beyond";
    /// As many as a store keeps.
    const MOST: u64 = 1_000_000;
    let count = Choice::of(TEST).count(20_000, MOST);
    let pipeline = Pipeline::new();
    let (server, port) = start(&pipeline);
    let spool = pipeline.spool().to_str().expect("a path").to_owned();
    let address = format!("tcp:127.0.0.1:{port}");
    expect_success(&Launch::client(["--spool", &spool, &address, "-m", "one"]).no_input().start().wait());
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    // As they are after so many clients, of which each has sent a message.
    let mut store = rusqlite::Connection::open(pipeline.store()).expect("open the store");
    let filling = store.transaction().expect("a transaction");
    let known: i64 = filling.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).expect("a count");
    filling
        .execute(
            "INSERT INTO sessions (sid, owner, acked, checksum, created, used, source)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             SELECT printf('%020d', i), 1, 1, 0, s.created, s.used, s.source FROM n, (SELECT * FROM sessions LIMIT 1) s",
            [count.cast_signed() - known],
        )
        .expect("sessions");
    filling.commit().expect("committed");
    drop(store);
    let (server, port) = start(&pipeline);
    // One that is known goes on: the first of them, the last, and that of the client.
    for session in [1, count - known.cast_unsigned()] {
        let mut writer = connect(&port);
        let mut reader = BufReader::new(writer.try_clone().expect("a second handle"));
        writer
            .write_all(format!("WILCO/1 OPEN sid={session:020} first=2 next=3\nM 2 1\na\n").as_bytes())
            .expect("sent");
        assert!(hear(&mut reader).starts_with("WILCO/1 OK acked=1 "), "{session}");
        assert_eq!(hear(&mut reader), "A 2\n");
    }
    let address = format!("tcp:127.0.0.1:{port}");
    expect_success(&Launch::client(["--spool", &spool, &address, "-m", "two"]).no_input().start().wait());
    if count == MOST {
        let mut writer = connect(&port);
        let mut reader = BufReader::new(writer.try_clone().expect("a second handle"));
        writer.write_all(b"WILCO/1 OPEN sid=anotherxxxxxxxxxxxxx first=1 next=1\n").expect("sent");
        let refused = hear(&mut reader);
        assert!(refused.starts_with("E 503 "), "{refused}");
    }
    tell(&format!("{TEST}: {count} sessions, {} bytes of memory", memory(&server)));
    assert!(memory(&server) < 64 << 20, "{}", memory(&server));
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}
