//! Assured clients of this project's own server: while it is away, where it may not be reached, and what its packets cannot carry.
//!
//! Apart from the words of a server that is written for a test: here what counts is what is in the store in the end.

use nix::sys::signal::Signal;

use super::{client, fed, in_store, numbers, path, wait_for_messages};
use crate::harness::{Launch, Terminal, expect_error, expect_signal, expect_status, expect_success};

#[test]
fn a_person_may_go_on_while_the_server_is_away_if_there_is_a_spool() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = path(directory.path(), "box");
    let address = format!("unix:{}", path(directory.path(), "socket"));
    let mut client = Launch::client(["-i", "--spool", &spool, &address]).terminal(Terminal::ALL).start();
    for (count, line) in ["one", "two"].into_iter().enumerate() {
        client.wait_for_count("Please enter the message: ", count + 1);
        client.type_line(line);
    }
    client.wait_for_count("Please enter the message: ", 3);
    client.send("\x03");
    expect_signal(&client.wait(), Signal::SIGINT);
    let store = path(directory.path(), "store");
    let server = Launch::server(["--store", &store, &address]).start();
    server.listening();
    expect_success(&super::client(&["--spool", &spool, &address]));
    server.signal(Signal::SIGTERM);
    server.wait();
    assert_eq!(in_store(&store), ["one", "two"]);
}

#[test]
fn what_waiting_does_not_cure_ends_it_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (spool, missing) = (path(directory.path(), "box"), path(directory.path(), "missing"));
    let done = client(&["--spool", &format!("{missing}/box"), "unix:@wilco-assured-nobody", "-m", "x"]);
    expect_error(&done, 2, &["no such file or directory", &format!("mkdir -p {missing}")]);
    // As root nothing would be denied; the kernel knows no exception for a broadcast address.
    let done = client(&["--spool", &spool, "udp:255.255.255.255:9", "-m", "x"]);
    expect_error(&done, 3, &["permission denied", "broadcast"]);
    let done = client(&["--assured", "udp:255.255.255.255:9", "udp:127.0.0.1:9", "-m", "x", "--timeout", "300ms"]);
    assert!(!done.stderr.contains("permission denied"), "{}", done.report());
}

#[test]
fn a_client_may_have_a_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = path(directory.path(), "store");
    let server = Launch::server(["--store", &store, "tcp:127.0.0.1:0"]).start();
    let address = server.listening();
    expect_success(&client(&["--assured", "--name", "till 7", &address, "-m", "one"]));
    let named = Launch::client(["--assured", &address, "-m", "two"]).env("WILCO_NAME", "till 8").no_input();
    expect_success(&named.start().wait());
    server.signal(Signal::SIGTERM);
    server.wait();
    let database = rusqlite::Connection::open(&store).expect("a database");
    let mut select = database.prepare("select name from received order by id").expect("messages");
    let names: Vec<String> =
        select.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect();
    assert_eq!(names, ["till 7", "till 8"]);
}

#[test]
fn a_message_that_is_too_long_for_a_packet_is_a_dead_letter_and_the_others_arrive() {
    // The first is longer than the server's packets, the others than those that a system sends by default.
    for (scheme, length) in [("unix-dgram", 70_000), ("unix-dgram", 900_000), ("unix-seqpacket", 900_000)] {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, spool) = (path(directory.path(), "store"), path(directory.path(), "box"));
        let address = format!("{scheme}:{}", path(directory.path(), "socket"));
        let server = Launch::server(["--store", &store, &address]).start();
        server.listening();
        let long = "x".repeat(length);
        let done = fed(&["--spool", &spool, &address, "--timeout", "20s"], &format!("one\n{long}\nthree\n"));
        expect_status(&done, 5);
        for word in ["message 2 was refused", "(413)", "dead-letters"] {
            assert!(done.stderr.contains(word), "{scheme} {length} {word}: {}", done.report());
        }
        let letters = std::fs::read_to_string(format!("{spool}/dead-letters")).expect("dead letters");
        assert!(letters.contains(&long), "{scheme} {length}: {} bytes", letters.len());
        server.signal(Signal::SIGTERM);
        server.wait();
        let database = rusqlite::Connection::open(&store).expect("a database");
        let mut select = database.prepare("select cast(body as text) from messages order by id").expect("messages");
        let stored: Vec<String> =
            select.query_map([], |row| row.get(0)).expect("rows").map(|row| row.expect("a row")).collect();
        assert_eq!(stored, ["one", "three"], "{scheme} {length}");
    }
}

#[test]
fn a_server_of_datagrams_is_killed_again_and_again_and_no_client_is_stuck() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, spool) = (path(directory.path(), "store"), path(directory.path(), "box"));
    let serve = |address: &str| Launch::server(["--store", &store, address]).start();
    // Nobody else takes a port of this address meanwhile.
    let mut server = serve("udp:127.0.0.77:0");
    let address = server.listening();
    // Less than the minute after which a connection without progress is given up.
    let mut client = Launch::client(["--spool", &spool, "-v", "--timeout", "15", &address]).start();
    let (lines, expected) = numbers(30_000);
    client.send(&lines);
    for through in [2_000, 4_000, 6_000, 8_000, 10_000] {
        wait_for_messages(&store, through);
        server.signal(Signal::SIGKILL);
        expect_signal(&server.wait(), Signal::SIGKILL);
        server = serve(&address);
        server.listening();
    }
    expect_success(&client.finish());
    server.signal(Signal::SIGTERM);
    server.wait();
    assert_eq!(in_store(&store), expected);
}

#[test]
fn a_server_that_keeps_no_messages_may_be_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let addresses = ["127.0.0.1:0", "udp:127.0.0.1:0"];
    for address in addresses {
        let shows = Launch::server(["-k", address]).start();
        let at = shows.listening();
        for (required, status) in [("store", 5), ("run", 5), ("show", 0)] {
            let done = client(&["--assured", "--require", required, &at, "-m", required]);
            match status {
                0 => expect_success(&done),
                _ => expect_error(&done, status, &["406", "the server"]),
            }
        }
        shows.wait_for_stdout("show");
        assert_eq!(shows.screen(), "show\n");
        let store = path(directory.path(), "store.db");
        let keeps = Launch::server(["-k", address, "--store", &store]).start();
        expect_success(&client(&["--assured", "--require", "store", &keeps.listening(), "-m", "kept"]));
    }
}
