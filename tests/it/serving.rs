//! A server that keeps open: many clients at once, and how it stops.
//!
//! Apart from the single exchange, because nothing here may depend on who comes first.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::{Launch, Program, expect_signal, expect_success};

fn server(options: &[&str]) -> (Program, String) {
    let server = Launch::server(["0", "-k"].iter().chain(options)).start();
    let port = server.port();
    (server, port)
}

#[test]
fn fifty_clients_with_a_hundred_lines_each() {
    fifty_clients(&["--workers", "1"]);
}

#[test]
fn fifty_clients_are_served_by_several_threads() {
    fifty_clients(&["--workers", "4"]);
}

fn fifty_clients(options: &[&str]) {
    let (server, port) = server(options);
    // Long lines: two that mixed would show.
    let line = |client: usize, number: usize| format!("client {client} line {number} {}", "=".repeat(200));
    let mut clients: Vec<Program> = (0..50).map(|_| Launch::client(["localhost", &port]).start()).collect();
    for (client, program) in clients.iter_mut().enumerate() {
        program.send((0..100).map(|number| line(client, number) + "\n").collect::<String>());
        program.close_stdin();
    }
    for program in clients {
        let done = program.wait();
        expect_success(&done);
        assert_eq!(done.stdout, "I got your message\n".repeat(100));
    }
    // Everything was acknowledged, so everything has been written.
    server.signal(Signal::SIGTERM);
    let done = server.wait();
    let shown: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(shown.len(), 5000);
    let sent: BTreeSet<String> = (0..50).flat_map(|client| (0..100).map(move |number| line(client, number))).collect();
    for line in &shown {
        assert!(sent.contains(*line), "nobody sent {line:?}");
    }
    assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), 5000, "a line came twice");
    for client in 0..50 {
        let start = format!("client {client} line ");
        let own: Vec<&&str> = shown.iter().filter(|line| line.starts_with(&start)).collect();
        assert!(
            own.iter().enumerate().all(|(number, shown)| ***shown == line(client, number)),
            "out of order: {own:?}"
        );
    }
}

#[test]
fn a_client_that_only_looks_in_does_not_end_it() {
    let (server, port) = server(&[]);
    expect_success(&Launch::command("nc", ["-z", "localhost", &port]).start().wait());
    let done = Launch::client(["localhost", &port, "-m", "hello"]).no_input().start().wait();
    expect_success(&done);
    server.wait_for_stdout("hello");
}

#[test]
fn a_signal_ends_an_idle_server() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (server, _) = server(&[]);
        server.signal(signal);
        expect_signal(&server.wait(), signal);
    }
}

#[test]
fn a_signal_ends_a_server_nobody_came_to() {
    let server = Launch::server(["0"]).start();
    server.listening();
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

/// A server at work on a message that it cannot display yet: its standard output is a pipe that is full.
struct AtWork {
    server: Program,
    client: TcpStream,
    output: File,
    _directory: tempfile::TempDir,
}

impl AtWork {
    fn new() -> AtWork {
        let directory = tempfile::tempdir().expect("make a temporary directory");
        let path = directory.path().join("output");
        mkfifo(&path, Mode::S_IRWXU).expect("make a pipe with a name");
        // Open at both ends, so that neither the test nor the server waits for the other to open it.
        let output = File::options().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
        let mut output = output.expect("open the pipe with a name");
        while output.write(&[b'.'; 4096]).is_ok() {}
        let script = "exec \"$0\" 0 -k >output";
        let server = Launch::command("bash", ["-c", script, env!("CARGO_BIN_EXE_server")]).directory(directory.path());
        let server = server.start();
        let mut client = TcpStream::connect(("localhost", server.port().parse().expect("a port"))).expect("connect");
        // On loopback what was written has arrived.
        client.write_all(b"hello\n").expect("send the message");
        AtWork { server, client, output, _directory: directory }
    }

    /// Asks the server to stop, and returns when it has begun to: it no longer listens.
    fn stop(&self) {
        let port = self.server.port();
        self.server.signal(Signal::SIGTERM);
        while Launch::command("nc", ["-z", "localhost", &port]).start().wait().status.success() {}
    }
}

#[test]
fn a_signal_lets_work_in_hand_be_finished() {
    let mut work = AtWork::new();
    work.stop();
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        let mut piece = [0; 4096];
        while !shown.ends_with(b"hello\n") {
            match work.output.read(&mut piece) {
                Ok(read) => shown.extend_from_slice(&piece[..read]),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
    });
    let mut answer = String::new();
    work.client.read_to_string(&mut answer).expect("read the answer to the end");
    assert_eq!(answer, "I got your message\n");
    reader.join().expect("the message was displayed");
    expect_signal(&work.server.wait(), Signal::SIGTERM);
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut work = AtWork::new();
    work.stop();
    work.server.signal(Signal::SIGTERM);
    expect_signal(&work.server.wait(), Signal::SIGTERM);
    let mut answer = Vec::new();
    // A reset or an end: either way no acknowledgement.
    let _ = work.client.read_to_end(&mut answer);
    assert_eq!(answer, b"");
}

#[test]
fn a_client_stopped_by_a_signal_is_seen_so() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("listen on a free port");
    let port = silent.local_addr().expect("the port of a listener").port().to_string();
    let mut client = Launch::client(["127.0.0.1", &port]).start();
    client.send("hello\n");
    // It has connected and sent, and now waits for an answer.
    let (mut connection, _) = silent.accept().expect("accept the client");
    std::io::Read::read_exact(&mut connection, &mut [0; 6]).expect("read the message");
    client.signal(Signal::SIGINT);
    client.signal(Signal::SIGINT);
    expect_signal(&client.wait(), Signal::SIGINT);
}
