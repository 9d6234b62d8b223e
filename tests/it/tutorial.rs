//! Ours with the C programs of the sockets tutorial, at either end, streams and datagrams.
//!
//! Apart, because those programs know nothing of messages and acknowledgements: they show what ours must put up with.

use crate::harness::{Launch, Program, expect_success};

/// A C server that has said its port, started as the tutorial says.
fn c_server(name: &str) -> (Program, String) {
    let server = Launch::fixture(name, ["0"]).start();
    let port = server.port();
    (server, port)
}

#[test]
fn our_server_with_the_c_client() {
    let server = Launch::server(["0"]).start();
    let mut client = Launch::fixture("client", ["127.0.0.1", &server.port()]).start();
    client.send("hello\n");
    let done = client.wait();
    expect_success(&done);
    // What our server sends ends with a newline, and the C client adds its own.
    assert_eq!(done.stdout, "Please enter the message: I got your message\n\n");
    let done = server.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "hello\n");
}

#[test]
fn our_server_reads_as_the_c_server_does() {
    // A client that sends no newline at all and does not end its side: one read is one message.
    let server = Launch::server(["0", "--framing", "read"]).start();
    let mut client = Launch::command("nc", ["127.0.0.1", &server.port()]).start();
    client.send("hello");
    client.wait_for_stdout("I got your message");
    let done = server.wait();
    expect_success(&done);
    assert!(matches!(done.stdout.as_str(), "hello" | "hello\n"), "{}", done.report());
    drop(client);
}

#[test]
fn our_client_with_the_c_server() {
    let (server, port) = c_server("server");
    let client = Launch::client(["127.0.0.1", &port, "-m", "hello"]).no_input().start();
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n");
    assert_eq!(server.wait().stdout, "Here is the message: hello\n\n");
}

#[test]
fn our_client_with_a_piped_line_and_the_c_server() {
    let (server, port) = c_server("server");
    let mut client = Launch::client(["localhost", &port]).start();
    client.send("hello\n");
    let done = client.finish();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n");
    assert_eq!(server.wait().stdout, "Here is the message: hello\n\n");
}

#[test]
fn the_acknowledgement_survives_the_reset() {
    // The C server reads 255 bytes, answers and closes; the unread rest makes its kernel reset the connection.
    let message = "x".repeat(4000);
    for _ in 0..5 {
        let (server, port) = c_server("server");
        let done = Launch::client(["127.0.0.1", &port, "-m", &message]).no_input().start().wait();
        expect_success(&done);
        assert_eq!(done.stdout, "I got your message\n");
        assert_eq!(server.wait().stdout, format!("Here is the message: {}\n", "x".repeat(255)));
    }
}

#[test]
fn twenty_of_our_clients_at_once_with_the_forking_c_server() {
    let (server, port) = c_server("server2");
    let clients: Vec<Program> = (0..20)
        .map(|number| Launch::client(["127.0.0.1", &port, "-m", &format!("message {number}")]).no_input().start())
        .collect();
    for client in clients {
        let done = client.wait();
        expect_success(&done);
        assert_eq!(done.stdout, "I got your message\n");
    }
    for number in 0..20 {
        server.wait_for_screen(&format!("Here is the message: message {number}\n\n"));
    }
}

#[test]
fn our_client_with_the_c_datagram_server() {
    let (server, port) = c_server("udp_server");
    let client = Launch::client([format!("udp:127.0.0.1:{port}"), "-m".into(), "hello".into()]).no_input().start();
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "Got your message\n");
    // A newline is sent on streams only: a datagram is a message as it is.
    server.wait_for_screen("Received a datagram: hello");
    assert!(!server.screen().contains("hello\n"), "{:?}", server.screen());
}

#[test]
fn our_datagram_server_with_the_c_client() {
    let server = Launch::server(["udp:0"]).start();
    let mut client = Launch::fixture("udp_client", ["127.0.0.1", &server.port()]).start();
    client.send("hello\n");
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "Please enter the message: Got an ack: I got your message\n");
    let done = server.wait();
    expect_success(&done);
    // The C client's datagram has a newline of its own, and the display adds the delimiter.
    assert!(done.stdout.starts_with("hello\n") && done.stdout.trim_end() == "hello", "{}", done.report());
}
