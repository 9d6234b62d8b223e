//! Where a message begins and ends on a stream, and what the server says to it: framings and acknowledgements.
//!
//! Apart, because here the bytes on the connection matter; the other end is often a program that sends exactly those.

use crate::harness::{Launch, Program, expect_error, expect_success};

fn server(options: &[&str]) -> (Program, String) {
    let server = Launch::server(["0"].iter().chain(options)).start();
    let port = server.port();
    (server, port)
}

/// Our client with a message for each of `messages`, by arguments.
fn client(port: &str, options: &[&str], messages: &[&str]) -> Launch {
    let messages = messages.iter().flat_map(|message| ["-m", message]);
    Launch::client(["localhost", port].into_iter().chain(options.iter().copied()).chain(messages)).no_input()
}

/// Sends these bytes, ends, and returns all that came back.
fn raw(port: &str, bytes: &[u8]) -> String {
    let mut nc = Launch::command("nc", ["-N", "localhost", port]).start();
    nc.send(bytes);
    nc.finish().stdout
}

#[test]
fn nul() {
    let (server, port) = server(&["--framing", "nul"]);
    let done = client(&port, &["--framing", "nul"], &["two\nlines", "one"]).start().wait();
    expect_success(&done);
    assert_eq!(done.stdout.matches("I got your message").count(), 2, "{}", done.report());
    assert_eq!(server.wait().stdout, "two\nlines\0one\0");
}

#[test]
fn nul_from_a_pipe() {
    let (server, port) = server(&["--framing", "nul"]);
    let mut client = Launch::client(["localhost", &port, "--framing", "nul"]).start();
    client.send("a\nb\0c\0last");
    let done = client.finish();
    expect_success(&done);
    assert_eq!(done.stdout.matches("I got your message").count(), 3, "{}", done.report());
    assert_eq!(server.wait().stdout, "a\nb\0c\0last\0");
}

#[test]
fn nul_on_the_wire() {
    let (server, port) = server(&["--framing", "nul"]);
    let answers = raw(&port, b"two\nlines\0one\0");
    assert_eq!(answers.matches("I got your message").count(), 2, "{answers:?}");
    assert_eq!(server.wait().stdout, "two\nlines\0one\0");
}

#[test]
fn length() {
    let (server, port) = server(&["--framing", "length"]);
    let done = client(&port, &["--framing", "length"], &["two\nlines", "", "one"]).start().wait();
    expect_success(&done);
    assert_eq!(done.stdout.matches("I got your message").count(), 3, "{}", done.report());
    let shown = server.wait().stdout;
    assert!(shown.starts_with("two\nlines") && shown.contains("one"), "{shown:?}");
}

#[test]
fn whole() {
    let (server, port) = server(&["--framing", "whole"]);
    let answers = raw(&port, b"all of it\nto the\0end");
    assert_eq!(answers, "I got your message\n");
    assert_eq!(server.wait().stdout, "all of it\nto the\0end");
}

#[test]
fn whole_from_our_client() {
    let (server, port) = server(&["--framing", "whole"]);
    let mut client = Launch::client(["localhost", &port, "--framing", "whole"]).start();
    client.send("all of it\nto the end\n");
    let done = client.finish();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n");
    assert_eq!(server.wait().stdout, "all of it\nto the end\n");
}

#[test]
fn read() {
    let (server, port) = server(&["--framing", "read"]);
    let mut peer = Launch::command("nc", ["localhost", &port]).start();
    peer.send("no newline, no end");
    peer.wait_for_stdout("I got your message");
    let done = server.wait();
    expect_success(&done);
    assert_eq!(done.stdout.trim_end(), "no newline, no end");
}

#[test]
fn a_line_without_its_newline_counts_at_the_end_of_the_stream() {
    let (server, port) = server(&[]);
    let answers = raw(&port, b"one\ntwo");
    assert_eq!(answers, "I got your message\n".repeat(2));
    assert_eq!(server.wait().stdout, "one\ntwo\n");
}

#[test]
fn another_acknowledgement() {
    let (server, port) = server(&["--ack", "roger"]);
    let done = client(&port, &[], &["hello"]).start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "roger\n");
    assert_eq!(server.wait().stdout, "hello\n");
}

#[test]
fn no_acknowledgement() {
    let (server, port) = server(&["--no-ack"]);
    let answers = raw(&port, b"hello\n");
    assert_eq!(answers, "");
    assert_eq!(server.wait().stdout, "hello\n");
}

#[test]
fn a_client_that_does_not_wait_is_content_without_an_acknowledgement() {
    let (server, port) = server(&["--no-ack"]);
    let done = client(&port, &["--no-ack"], &["one", "two"]).start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "");
    assert_eq!(server.wait().stdout, "one\ntwo\n");
}

#[test]
fn a_reply_of_its_own() {
    let (server, port) = server(&["--reply", "it is noon"]);
    let done = client(&port, &[], &["what time is it?"]).start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "it is noon\n");
    expect_success(&server.wait());
}

#[test]
fn a_message_over_the_limit_is_refused_for_good() {
    let (server, port) = server(&["-k", "--max-message", "1K"]);
    let large = "x".repeat(100_000);
    let done = client(&port, &[], &[&large]).start().wait();
    expect_error(&done, 5, &["message"]);
    // The server has said so in a line of its own, and goes on with the next one.
    let done = client(&port, &[], &["small"]).start().wait();
    expect_success(&done);
    server.wait_for_stdout("small");
    assert!(!server.screen().contains("xx"), "a refused message is not shown");
    assert!(server.stderr().lines().count() >= 2, "{}", server.stderr());
}

#[test]
fn a_message_at_the_limit_is_taken() {
    let (server, port) = server(&["--max-message", "1K"]);
    let message = "x".repeat(1024);
    let done = client(&port, &[], &[&message]).start().wait();
    expect_success(&done);
    assert_eq!(server.wait().stdout, format!("{message}\n"));
}
