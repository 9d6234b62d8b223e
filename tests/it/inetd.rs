//! Sockets that another program has made or accepted: inetd's `wait` and `nowait`, systemd's `Accept=`.
//!
//! Apart from the sockets that the server makes itself: here a connection may be all there is, and the streams of the program
//! may be that same connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::harness::{DEADLINE, Finished, Launch, Program, expect_error, expect_status, expect_success};

/// A connection: what is passed on, and the client's end.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on a free port");
    let client = TcpStream::connect(listener.local_addr().expect("the address of a listener")).expect("connect");
    client.set_read_timeout(Some(DEADLINE)).expect("set a deadline");
    (listener.accept().expect("accept the client").0, client)
}

/// Started as inetd does it: the socket is every standard stream.
fn by_inetd(socket: impl Into<OwnedFd>, options: &[&str]) -> Program {
    let words = ["-c", "exec \"$0\" \"$@\" >&0 2>&0", env!("CARGO_BIN_EXE_server"), "fd:0"];
    Launch::command("bash", words.iter().chain(options)).input(socket).start()
}

/// Started with the socket as standard input only.
fn with_input(socket: impl Into<OwnedFd>, options: &[&str]) -> Program {
    Launch::server(["fd:0"].iter().chain(options)).input(socket).start()
}

fn read_all(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read to the end");
    text
}

fn expect_silent_success(done: &Finished) {
    expect_success(done);
    assert_eq!(done.stderr, "", "{}", done.report());
}

#[test]
fn a_connection_is_served_and_carries_nothing_but_answers() {
    for options in [&["--reply", "welcome"][..], &["--reply", "welcome", "-k", "-v"]] {
        let (passed, mut client) = connection();
        let server = by_inetd(passed, options);
        client.write_all(b"one\ntwo\n").expect("send messages");
        client.shutdown(Shutdown::Write).expect("end the messages");
        assert_eq!(read_all(client), "welcome\nwelcome\n");
        // Such a connection is served once, whatever was said of others.
        expect_silent_success(&server.wait());
    }
}

/// The server has displayed the message where its standard output goes, and ends without a word.
fn expect_displayed(server: Program) {
    let done = server.wait();
    expect_silent_success(&done);
    assert_eq!(done.stdout, "hello\n");
}

#[test]
fn a_connection_of_the_unix_domain_is_displayed_elsewhere() {
    let (passed, mut client) = UnixStream::pair().expect("a pair of sockets");
    let server = with_input(passed, &[]);
    client.write_all(b"hello\n").expect("send a message");
    client.shutdown(Shutdown::Write).expect("end the messages");
    assert_eq!(read_all(client), "I got your message\n");
    expect_displayed(server);
}

#[test]
fn a_client_that_says_nothing_does_not_keep_it() {
    let (passed, client) = connection();
    let server = with_input(passed, &[]);
    drop(client);
    expect_silent_success(&server.wait());
}

#[test]
fn messages_are_not_displayed_to_the_client() {
    let (passed, client) = connection();
    let server = by_inetd(passed, &[]);
    let said = read_all(client);
    assert!(said.contains("standard output is the socket itself") && said.contains(">>FILE"), "{said:?}");
    expect_status(&server.wait(), 2);
}

#[test]
fn wait_passes_a_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on a free port");
    let port = listener.local_addr().expect("the address of a listener").port().to_string();
    let server = by_inetd(listener, &["--reply", "welcome"]);
    let client = Launch::client(["127.0.0.1", &port, "-m", "hello"]).no_input().start().wait();
    expect_success(&client);
    assert_eq!(client.stdout, "welcome\n");
    expect_success(&server.wait());
}

#[test]
fn wait_passes_a_socket_for_datagrams() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind a free port");
    let address = format!("udp:{}", socket.local_addr().expect("the address of a socket"));
    // The datagram that inetd has seen is there before the server.
    let client = Launch::client([address.as_str(), "-m", "hello"]).no_input().start();
    socket.peek(&mut [0; 8]).expect("wait for the message");
    let server = by_inetd(socket, &["--reply", "welcome"]);
    let client = client.wait();
    expect_success(&client);
    assert_eq!(client.stdout, "welcome\n");
    expect_success(&server.wait());
}

#[test]
fn systemd_passes_a_connection_too() {
    let (passed, mut client) = connection();
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=connection exec \"$0\" systemd";
    let server = Launch::command("bash", ["-c", script, env!("CARGO_BIN_EXE_server")]).input(passed).start();
    client.write_all(b"hello\n").expect("send a message");
    client.shutdown(Shutdown::Write).expect("end the messages");
    assert_eq!(read_all(client), "I got your message\n");
    expect_displayed(server);
}

#[test]
fn what_is_neither_is_refused() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    expect_error(&with_input(socket, &[]).wait(), 2, &["neither listens nor is connected", "pass"]);
}
