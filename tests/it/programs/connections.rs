//! `--exec`: a program for each connection, with the socket itself.
//!
//! Apart from programs for messages: here the server neither reads nor writes, and what is looked at is the socket.

use std::io::{Read, Write};
use std::net::Shutdown;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{children, client, connect, send, server};
use crate::harness::{Launch, expect_signal, expect_success};

#[test]
fn a_program_reads_the_end_of_its_input_when_the_server_stops() {
    // It does not heed a signal: only the end of its input ends it in time.
    let (server, port) = server(&["--sh", "--exec", "trap '' TERM; exec cat"]);
    let mut stream = connect(&port);
    stream.write_all(b"a").expect("send a byte");
    stream.read_exact(&mut [0]).expect("get it back");
    server.signal(Signal::SIGTERM);
    assert_eq!(stream.read(&mut [0]).expect("read the end"), 0);
    drop(stream);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn a_program_gets_the_connection_itself() {
    let (server, port) = server(&["--exec", "cat"]);
    let mut stream = connect(&port);
    // No message, no framing: each byte as it comes.
    for byte in *b"hi\0" {
        stream.write_all(&[byte]).expect("send a byte");
        let mut back = [0];
        stream.read_exact(&mut back).expect("get it back");
        assert_eq!(back, [byte]);
    }
    stream.write_all(b"end").expect("send more");
    stream.shutdown(Shutdown::Write).expect("end the sending");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("read to the end");
    assert_eq!(rest, "end");
    let done = client(&port, &["-m", "hello"]).start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "hello\n");
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn a_program_converses_in_lines() {
    let script = "echo in $PROTO >&2; while read -r name; do echo \"hello $name\"; done";
    let (server, port) = server(&["--sh", "--exec", script]);
    let done = client(&port, &["-m", "one", "-m", "two"]).start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "hello one\nhello two\n");
    server.wait_for_stderr(": in TCP");
}

#[test]
fn a_program_converses_over_unix_sockets() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    for scheme in ["unix", "unix-seqpacket"] {
        let address = format!("{scheme}:{}", directory.path().join(scheme).display());
        let server = Launch::server([&address, "-k", "--allow-root", "--exec", "cat"]).start();
        server.listening();
        let done = Launch::client([&address, "-m", "one", "-m", "two"]).no_input().start().wait();
        expect_success(&done);
        assert_eq!(done.stdout, "one\ntwo\n", "{address}");
    }
}

#[test]
fn the_end_of_the_program_is_the_end_of_the_connection() {
    // It does not read what the client has sent, and leaves something behind that holds the socket.
    let (server, port) = server(&["--sh", "--exec", "sleep 1000 & echo $! >&2; echo bye"]);
    let mut stream = connect(&port);
    stream.write_all(&[b'x'; 1000]).expect("send what nobody reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read to the end, and no reset");
    assert_eq!(answer, "bye\n");
    let line = server.wait_for_stderr(": ");
    let left = line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a process");
    kill(Pid::from_raw(left), Signal::SIGKILL).expect("end what was left behind");
}

#[test]
fn a_server_for_one_connection_ends_after_it() {
    let server = Launch::server(["127.0.0.1:0", "--allow-root", "--exec", "cat"]).start();
    let done = send(&server.port(), "hello");
    assert_eq!(done.stdout, "hello\n");
    expect_success(&server.wait());
}

#[test]
fn a_client_that_is_killed_makes_room() {
    let (server, port) = server(&["--exec", "cat", "--max-processes", "1"]);
    let mut first = Launch::command("nc", ["127.0.0.1", &port]).start();
    first.send("one\n");
    first.wait_for_stdout("one");
    let second = client(&port, &["-m", "two"]).start();
    first.signal(Signal::SIGKILL);
    assert_eq!(second.wait().stdout, "two\n");
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn a_program_for_a_connection_may_take_only_so_long() {
    let (server, port) = server(&["--exec", "cat", "--process-timeout", "500ms"]);
    let mut stream = connect(&port);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read to the end");
    assert_eq!(answer, "");
    server.wait_for_stderr("took longer than 500ms");
    assert_eq!(children(server.pid()), Vec::<String>::new());
}
