//! Exit statuses one by one, each with what the user reads: one clear line on standard error, nothing on standard output.
//!
//! Apart, because scripts depend on these numbers and people on these words; a change of either shows here first.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use crate::harness::{Finished, Launch, expect_error, expect_status, expect_success};

fn client(arguments: &[&str]) -> Finished {
    Launch::client(arguments).no_input().start().wait()
}

fn server(arguments: &[&str]) -> Finished {
    Launch::server(arguments).no_input().start().wait()
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on a free port");
    let port = listener.local_addr().expect("the port of a listener").port();
    (listener, port.to_string())
}

/// Fails unless it is a complaint about usage: status 2, nothing on standard output, `words` on standard error. How
/// usage is shown belongs to the parser of arguments, so the number of lines is free.
#[track_caller]
fn expect_usage_error(done: &Finished, words: &[&str]) {
    expect_status(done, 2);
    assert_eq!(done.stdout, "", "{}", done.report());
    let said = done.stderr.to_lowercase();
    for word in words {
        assert!(said.contains(word), "{word:?} is not mentioned by {}", done.report());
    }
    assert!(!said.contains("panicked"), "{}", done.report());
}

#[test]
fn help_and_version_are_no_errors() {
    for program in [Launch::wilco(["--version"]), Launch::server(["--version"]), Launch::client(["--version"])] {
        let done = program.no_input().start().wait();
        expect_success(&done);
        assert!(done.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", done.report());
    }
    for program in [Launch::wilco(["--help"]), Launch::server(["--help"]), Launch::client(["--help"])] {
        let done = program.no_input().start().wait();
        expect_success(&done);
        assert!(done.stdout.to_lowercase().contains("usage"), "{}", done.report());
    }
}

#[test]
fn a_missing_argument_is_2() {
    expect_usage_error(&server(&[]), &["address"]);
    expect_usage_error(&client(&[]), &["address"]);
    expect_usage_error(&Launch::wilco(["relay", "-"]).no_input().start().wait(), &["usage"]);
}

#[test]
fn a_wrong_port_is_2() {
    expect_usage_error(&server(&["99999"]), &["99999", "65535"]);
    expect_usage_error(&client(&["localhost", "99999"]), &["99999", "65535"]);
    expect_usage_error(&client(&["tcp:localhost:99999"]), &["99999", "65535"]);
    expect_usage_error(&client(&["localhost", "-1"]), &["-1"]);
}

#[test]
fn an_unknown_scheme_is_2_with_the_possible_ones() {
    expect_usage_error(&server(&["carrier-pigeon:coop:51717"]), &["carrier-pigeon", "tcp", "udp", "unix"]);
    expect_usage_error(&client(&["carrier-pigeon://coop:1"]), &["carrier-pigeon", "tcp", "udp", "unix"]);
}

#[test]
fn an_impossible_combination_is_2() {
    expect_usage_error(&client(&["tls+udp:localhost:1"]), &["tls"]);
    expect_usage_error(&server(&["tls+udp:0"]), &["tls"]);
}

#[test]
fn an_unknown_option_is_2() {
    expect_usage_error(&server(&["0", "--no-such-option"]), &["--no-such-option"]);
    expect_usage_error(&client(&["localhost", "1", "--no-such-option"]), &["--no-such-option"]);
    expect_usage_error(&server(&["tcp:0?no-such-option"]), &["no-such-option"]);
    expect_usage_error(&server(&["0", "--framing", "no-such-framing"]), &["no-such-framing", "line", "nul", "length"]);
}

#[test]
fn a_beginners_mistake_is_told_what_to_type() {
    expect_usage_error(&client(&["localhost", "51717", "hello"]), &["-m 'hello'"]);
    expect_usage_error(&client(&["51717", "localhost"]), &["the host comes first", "localhost 51717"]);
    expect_usage_error(&server(&["localhost", "51717"]), &["localhost:51717"]);
    expect_usage_error(&server(&["-p", "51717"]), &["the port stands alone"]);
    expect_usage_error(&client(&["cheerios"]), &["cheerios 51717"]);
    expect_usage_error(&client(&["/run/x"]), &["unix:/run/x"]);
    expect_usage_error(&client(&["tpc:localhost:1"]), &["did you mean tcp:"]);
    expect_usage_error(&client(&["tcp:localhost:1?nodlay"]), &["did you mean `nodelay`"]);
}

#[test]
fn an_unknown_service_is_an_error_that_names_it() {
    let done = client(&["localhost", "no-such-service"]);
    assert!(matches!(done.status.code(), Some(2 | 3)), "{}", done.report());
    assert!(done.stdout.is_empty() && done.stderr.contains("no-such-service"), "{}", done.report());
}

#[test]
fn refused_is_3() {
    let (listener, port) = listener();
    drop(listener);
    expect_error(&client(&["127.0.0.1", &port, "-m", "hello"]), 3, &["127.0.0.1", &port, "refused"]);
}

#[test]
fn an_unknown_host_is_3() {
    expect_error(&client(&["no-such-host.invalid", "51717", "-m", "hello"]), 3, &["no-such-host.invalid"]);
    expect_error(&server(&["no-such-host.invalid:51717"]), 3, &["no-such-host.invalid"]);
}

#[test]
fn a_port_in_use_is_3() {
    let first = Launch::server(["127.0.0.1:0"]).start();
    let port = first.port();
    expect_error(&server(&[&format!("127.0.0.1:{port}")]), 3, &[&port, "in use"]);
}

#[test]
fn no_such_unix_socket_is_3() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("nobody");
    let address = format!("unix:{}", path.display());
    expect_error(&client(&[&address, "-m", "hello"]), 3, &[&address, "no such file"]);
    let done = server(&[&format!("unix:{}/missing/socket", directory.path().display())]);
    expect_error(&done, 3, &["missing/socket", "no such file"]);
}

#[test]
fn no_answer_in_time_is_4() {
    // The kernel accepts for a program that never does.
    let (_listener, port) = listener();
    let done = client(&["127.0.0.1", &port, "--timeout", "300ms", "-m", "hello"]);
    expect_error(&done, 4, &["acknowledge"]);
}

#[test]
fn the_end_before_the_last_acknowledgement_is_4() {
    let (listener, port) = listener();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept the client");
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle on the connection")).lines();
        for _ in 0..2 {
            lines.next().expect("a line before the end").expect("read a line");
            stream.write_all(b"I got your message\n").expect("acknowledge");
        }
        // The third is read, so that no reset is sent, and not acknowledged.
        lines.next().expect("a line before the end").expect("read a line");
    });
    let done = client(&["127.0.0.1", &port, "-m", "one", "-m", "two", "-m", "three"]);
    peer.join().expect("the peer did its part");
    expect_status(&done, 4);
    assert_eq!(done.stdout, "I got your message\n".repeat(2), "answers that came are shown: {}", done.report());
    for word in ["acknowledge", "2"] {
        assert!(done.stderr.contains(word), "{word:?} is not mentioned by {}", done.report());
    }
}

#[test]
fn an_answer_without_a_newline_ends_with_silence() {
    // A plain server that answers at once, without newline, and keeps the connection.
    let (listener, port) = listener();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept the client");
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle on the connection")).lines();
        lines.next().expect("a line before the end").expect("read a line");
        stream.write_all(b"no newline").expect("answer");
        // Until the client is done.
        while lines.next().is_some_and(|line| line.is_ok()) {}
    });
    let done = client(&["127.0.0.1", &port, "-m", "hello"]);
    peer.join().expect("the peer did its part");
    expect_success(&done);
    assert_eq!(done.stdout, "no newline\n");
}

#[test]
fn a_refusal_is_5() {
    let server = Launch::server(["0", "-k", "--max-message", "4"]).start();
    let done = client(&["localhost", &server.port(), "-m", "hello"]);
    expect_error(&done, 5, &["refuse", "4 bytes"]);
}

#[test]
fn a_lost_session_is_6() {
    let (listener, port) = listener();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept the client");
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle on the connection")).lines();
        lines.next().expect("an opening").expect("read a line");
        stream.write_all(b"E 410 never who are you\n").expect("answer");
        while lines.next().is_some_and(|line| line.is_ok()) {}
    });
    let done = client(&["--assured", "127.0.0.1", &port, "-m", "hello"]);
    peer.join().expect("the peer did its part");
    expect_error(&done, 6, &["session", "who are you"]);
}

#[test]
fn a_broken_pipe_is_quiet() {
    let server = Launch::server(["0", "-k"]).start();
    let script = r#"for i in {1..50000}; do echo "$i"; done | "$0" localhost "$1" | head -n 1"#;
    let reader = Launch::command("bash", ["-c", script, env!("CARGO_BIN_EXE_client"), &server.port()]);
    let done = reader.no_input().start().wait();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("I got your message\n", ""));
}
