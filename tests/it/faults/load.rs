//! Servers that are stopped while much is on its way, and clients that take more than they give: deaf ones, and more than there are descriptors for.
//!
//! Apart from faults of machines: all of this is somebody's doing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use super::pipeline::body;
use super::{Pipeline, Server};
use crate::harness::{DEADLINE, Launch, Program, expect_signal, expect_success};

/// The most memory that a process has had, in bytes.
fn most_memory(program: &Program) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// A connection whose system takes little that is not read.
pub(super) fn connect(port: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port"))).into()).expect("connect");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("set a deadline");
    stream
}

/// Opens a session.
pub(super) fn open(port: &str, session: usize, more: &str) -> (TcpStream, BufReader<TcpStream>) {
    let mut writer = connect(port);
    let mut reader = BufReader::new(writer.try_clone().expect("a second handle"));
    writer.write_all(format!("WILCO/1 OPEN sid={session:020} first=1 next=1{more}\n").as_bytes()).expect("open");
    assert!(hear(&mut reader).starts_with("WILCO/1 OK "));
    (writer, reader)
}

pub(super) fn hear(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    line
}

fn store(path: &Path) -> String {
    path.join("store.db").display().to_string()
}

#[test]
fn servers_are_stopped_under_load_once_and_twice() {
    const MESSAGES: u64 = 30_000;
    let pipeline = Pipeline::new();
    let launch = pipeline.server();
    let server = Server::start(move |_| launch.clone());
    let input = pipeline.path("input");
    let lines: String = (1..=MESSAGES).map(|number| body(number) + "\n").collect();
    fs::write(&input, lines).expect("written");
    let client = pipeline.client().input(fs::File::open(&input).expect("the input")).start();
    // Each time something more was acknowledged.
    for round in 1..=4 {
        client.wait_for_count("\"opened\"", round);
        client.wait_for_count("\"receipt\"", 2 * round);
        server.signal(Signal::SIGTERM);
        if round % 2 == 0 {
            server.signal(Signal::SIGTERM);
        }
    }
    expect_success(&client.wait_within(super::pipeline::LONG));
    let ended = server.stop();
    assert!(ended.len() >= 2, "{ended:?}");
    ended.iter().for_each(|finished| expect_signal(finished, Signal::SIGTERM));
    pipeline.check(MESSAGES);
}

#[test]
fn clients_that_never_read_take_no_more_memory_than_is_theirs() {
    const CLIENTS: usize = 8;
    let directory = tempfile::tempdir().expect("a directory");
    let stored = store(directory.path());
    // A run of messages is answered as a whole: a window of them is 4 MiB of answers.
    let large = "x".repeat(4_000);
    for (options, more) in [(["--store", &stored], ""), (["--reply", &large], " reply=1")] {
        let server =
            Launch::server(["127.0.0.1:0?sndbuf=4k", "-k", "--write-timeout", "1s"].iter().chain(&options)).start();
        let port = server.port();
        drop(open(&port, 0, ""));
        let before = most_memory(&server);
        let deaf: Vec<_> = (1..=CLIENTS)
            .map(|session| {
                let (mut writer, reader) = open(&port, session, more);
                std::thread::spawn(move || {
                    let mut number = 0_u64;
                    // Until the server has closed the connection, which nothing is read from.
                    loop {
                        let some: String =
                            (1..=1000).map(|index| format!("M {} 1\na\nPING {index}\n", number + index)).collect();
                        number += 1000;
                        if writer.write_all(some.as_bytes()).is_err() {
                            drop(reader);
                            return number;
                        }
                    }
                })
            })
            .collect();
        let sent: u64 = deaf.into_iter().map(|client| client.join().expect("no panic")).sum();
        let grown = most_memory(&server) - before;
        assert!(grown < CLIENTS * (16 << 20), "{grown} bytes more for {CLIENTS} clients, which have sent {sent}");
        let (mut writer, mut reader) = open(&port, CLIENTS + 1, "");
        writer.write_all(b"M 1 1\na\n").expect("sent");
        assert_eq!(hear(&mut reader), "A 1\n");
    }
}

#[test]
fn sessions_go_on_while_there_is_no_descriptor_for_another() {
    const SESSIONS: usize = 12;
    let directory = tempfile::tempdir().expect("a directory");
    let script = r#"ulimit -n 48; exec "$0" 127.0.0.1:0 --max-connections 0 --store "$1""#;
    let words = ["-c", script, env!("CARGO_BIN_EXE_server"), &store(directory.path())];
    let server = Launch::command("sh", words).start();
    let port = server.port();
    let mut sessions: Vec<_> = (1..=SESSIONS).map(|session| open(&port, session, "")).collect();
    let mut idle: Vec<_> = (0..60).map(|_| connect(&port)).collect();
    let mut told = String::new();
    idle.pop().expect("the last").read_to_string(&mut told).expect("a word");
    assert_eq!(told, "wilco: not now: the server has as many clients as it can have\n");
    for number in 1..=20 {
        for (writer, reader) in &mut sessions {
            writer.write_all(format!("M {number} 1\na\n").as_bytes()).expect("sent");
            assert_eq!(hear(reader), format!("A {number}\n"));
        }
    }
    // Once there are descriptors again, whoever has waited is served.
    drop(idle);
    let arguments = ["--assured", "--json", "127.0.0.1", &port, "-m", "late"];
    expect_success(&Launch::client(arguments).no_input().start().wait());
    drop(sessions);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    let stored = rusqlite::Connection::open(store(directory.path())).expect("open the store");
    let count: i64 = stored.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).expect("a count");
    assert_eq!(count, 20 * i64::try_from(SESSIONS).expect("few") + 1);
}
