//! How a client reaches its server: waiting for it, trying again, from which address, over what was passed to it.
//!
//! Apart from the exchange, which begins when they have met.

use std::net::TcpListener;
use std::os::fd::AsRawFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::harness::{Finished, Launch, expect_error, expect_success};

fn client(arguments: &[&str]) -> Finished {
    Launch::client(arguments.iter().copied()).no_input().start().wait()
}

fn own_name(test: &str) -> String {
    format!("@wilco-{test}-{}", std::process::id())
}

#[test]
fn a_client_waits_until_the_server_is_there() {
    for wait in ["--wait", "--wait=20s"] {
        let address = format!("unix:{}", own_name("wait"));
        let client = Launch::client([address.as_str(), "-m", "hello", wait, "--trace"]).no_input().start();
        // It has tried, and nobody was there.
        client.wait_for_stderr("ECONNREFUSED");
        let server = Launch::server([&address]).start();
        let done = client.wait();
        assert_eq!((done.status.code(), done.stdout.as_str()), (Some(0), "I got your message\n"), "{}", done.report());
        expect_success(&server.wait());
    }
}

#[test]
fn waiting_and_trying_again_have_an_end() {
    let address = format!("unix:{}", own_name("nobody"));
    expect_error(&client(&[&address, "-m", "hello", "--wait=200ms"]), 3, &["refused"]);
    let done = client(&[&address, "-m", "hello", "--retry", "1", "-v"]);
    assert_eq!(done.status.code(), Some(3), "{}", done.report());
    assert!(done.stderr.contains("again in 1s"), "{}", done.report());
}

#[test]
fn of_several_addresses_the_first_that_answers_is_used() {
    let nobody = format!("unix:{}", own_name("nobody-either"));
    let server = Launch::server(["127.0.0.1:0"]).start();
    let address = format!("tcp:127.0.0.1:{}", server.port());
    expect_success(&client(&[&nobody, &address, "-m", "hello"]));
    assert_eq!(server.wait().stdout, "hello\n");
}

#[test]
fn a_client_can_say_where_it_sends_from() {
    let server = Launch::server(["-v", "127.0.0.1:0"]).start();
    let port = server.port();
    expect_success(&client(&["127.0.0.1", &port, "--source", "127.0.0.9", "-m", "hello"]));
    let done = server.wait();
    assert!(done.stderr.contains("127.0.0.9:"), "{}", done.report());
    expect_error(&client(&["127.0.0.1", &port, "--source", "192.0.2.1", "-m", "x"]), 3, &["source address"]);
    // A Unix socket that has a name leaves no file behind, even if nobody is there.
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let launch = Launch::client(["unix:nobody", "--source", "own", "-m", "x"]).directory(directory.path()).no_input();
    for _ in 0..2 {
        expect_error(&launch.start().wait(), 3, &["no such socket file"]);
        assert_eq!(std::fs::read_dir(directory.path()).expect("read the directory").count(), 0);
    }
}

#[test]
fn names_are_not_looked_up_where_that_is_not_wanted() {
    expect_error(&client(&["-n", "localhost", "1", "-m", "x"]), 2, &["localhost", "without -n"]);
    expect_error(&client(&["-n", "127.0.0.1", "http", "-m", "x"]), 2, &["http", "number"]);
}

#[test]
fn a_socket_of_another_type_is_explained() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let _bound = std::os::unix::net::UnixDatagram::bind(directory.path().join("x")).expect("bind");
    let done = Launch::client(["unix:x", "-m", "hello"]).directory(directory.path()).no_input().start().wait();
    expect_error(&done, 2, &["unix:x is a datagram socket: use unix-dgram:x"]);
    // A stream is asked for where only datagrams are.
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let port = udp.local_addr().expect("an address").port().to_string();
    expect_error(&client(&["127.0.0.1", &port, "-m", "x"]), 3, &["refused", &format!("use udp:127.0.0.1:{port}")]);
}

#[test]
fn a_program_can_be_at_the_other_end() {
    let done = client(&["exec:cat", "-m", "hello", "-m", "there"]);
    expect_success(&done);
    assert_eq!(done.stdout, "hello\nthere\n");
    expect_error(&client(&["exec:/no/such/program", "-m", "x"]), 3, &["/no/such/program", "no such file"]);
    expect_error(&client(&["exec:'open", "-m", "x"]), 2, &["quotation mark"]);
}

#[test]
fn a_server_can_be_passed_its_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on a free port");
    let port = listener.local_addr().expect("an address").port().to_string();
    // Programs started from here have the descriptor under the same number.
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty())).expect("keep it open for programs");
    let server = Launch::server([format!("fd:{}", listener.as_raw_fd())]).start();
    server.listening();
    expect_success(&client(&["127.0.0.1", &port, "-m", "hello"]));
    assert_eq!(server.wait().stdout, "hello\n");
    expect_error(&Launch::server(["fd:999"]).no_input().start().wait(), 3, &["fd:999", "pass"]);
}

#[test]
fn options_are_set_and_what_is_in_force_is_told() {
    let server = Launch::server(["-k", "127.0.0.1:0?rcvbuf=64K"]).start();
    let address = format!("tcp:127.0.0.1:{}?rcvbuf=32K&nodelay=off&keepalive=30s&6:5=7", server.port());
    let done = Launch::wilco(["lookup", "socket", "--json", &address]).no_input().start().wait();
    expect_success(&done);
    let told: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    let value = |name: &str| told["options"][name]["value"].to_string();
    // The kernel doubles the size of a buffer (socket(7)).
    assert!(value("rcvbuf").contains("65536") || value("rcvbuf").contains("64K"), "{}", value("rcvbuf"));
    assert!(value("nodelay").contains("false") || value("nodelay").contains("off"), "{}", value("nodelay"));
    assert!(value("keepintvl").contains('7'), "by number: {}", value("keepintvl"));
    assert_eq!(told["attributes"]["domain_constant"], "AF_INET");
    assert_eq!(told["attributes"]["peer_port"].to_string(), server.port());
}
