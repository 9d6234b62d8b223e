//! What a server must withstand: clients that are many, slow, silent, endless, or send what no terminal should see.
//!
//! Apart from serving those who behave: here each test ends with a good client, which is served all the same.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Launch, Program, Terminal, expect_signal, expect_success, skip};

/// A server of many clients on a free port, and its port.
fn server(options: &[&str]) -> (Program, String) {
    let server = Launch::server(["127.0.0.1:0", "-k"].iter().chain(options)).start();
    let port = server.port();
    (server, port)
}

fn connect(port: &str) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("connect")
}

/// A client that behaves has its message acknowledged.
fn serves(port: &str) {
    let client = Launch::client(["127.0.0.1", port, "-m", "I am good"]).start().wait();
    expect_success(&client);
    assert_eq!(client.stdout, "I got your message\n");
}

/// The memory of a process that is in use, in bytes.
fn memory(program: &Program) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Lets this process open so many files, or says why it cannot.
fn may_open(test: &str, files: u64) -> bool {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    if hard < files {
        skip(test, "the limit of open files is too low");
        return false;
    }
    if soft < files {
        setrlimit(Resource::RLIMIT_NOFILE, files, hard).expect("below the hard limit");
    }
    true
}

#[test]
fn ten_thousand_idle_clients() {
    const CLIENTS: usize = 10_000;
    if !may_open("ten_thousand_idle_clients", 12_000) {
        return;
    }
    let (server, port) = server(&["--max-per-peer", "0"]);
    serves(&port);
    let before = memory(&server);
    let mut idle: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(&port)).collect();
    // The last one is answered: the others were accepted before it.
    for client in [CLIENTS - 1, 0, CLIENTS / 2] {
        idle[client].write_all(b"hello\n").expect("sent");
        idle[client].read_exact(&mut [0; 19]).expect("an acknowledgement");
    }
    serves(&port);
    // What an optimised build takes is measured by the benchmarks; this one, with its checks, must be of that order.
    let each = (memory(&server) - before) / CLIENTS;
    assert!(each < 6 * 1024, "{each} bytes for each idle connection");
    drop(idle);
    serves(&port);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn a_thousand_clients_that_send_a_byte_now_and_then() {
    if !may_open("a_thousand_clients_that_send_a_byte_now_and_then", 4_000) {
        return;
    }
    let (server, port) = server(&[]);
    let mut slow: Vec<TcpStream> = (0..1000).map(|_| connect(&port)).collect();
    let before = memory(&server);
    for byte in b"hello" {
        for client in &mut slow {
            client.write_all(&[*byte]).expect("sent");
        }
        serves(&port);
    }
    let each = memory(&server).saturating_sub(before) / slow.len();
    assert!(each < 8 * 1024, "{each} bytes for the beginning of each message");
    for client in &mut slow {
        client.write_all(b"\n").expect("sent");
    }
    for client in &mut slow {
        client.read_exact(&mut [0; 19]).expect("an acknowledgement");
    }
}

#[test]
fn bytes_that_trickle_in_do_not_keep_a_connection() {
    let (server, port) = server(&["--idle-timeout", "300ms"]);
    let mut client = connect(&port);
    let mut trickling = client.try_clone().expect("a clone");
    let trickle = std::thread::spawn(move || while trickling.write_all(b"x").is_ok() {});
    let mut told = String::new();
    // Its connection may be reset when it is over, since it goes on sending.
    let _ = client.read_to_string(&mut told);
    assert!(told.starts_with("wilco: "), "{told:?}");
    drop(client);
    trickle.join().expect("no panic");
    let mut silent = connect(&port);
    let mut told = String::new();
    silent.read_to_string(&mut told).expect("the end");
    assert_eq!(told, "wilco: not now: no whole message came for 300ms\n");
    serves(&port);
    drop(server);
}

#[test]
fn who_says_nothing_makes_room_when_there_is_none_and_whoever_has_spoken_stays() {
    const WORDS: &str = "wilco: not now: others wait for a place, and no whole message came\n";
    for begun in ["", "the beginning of a mess"] {
        let (server, port) = server(&["--max-connections", "2", "--handshake-timeout", "1ms"]);
        let mut spoken = connect(&port);
        spoken.write_all(b"hello\n").expect("sent");
        spoken.read_exact(&mut [0; 19]).expect("an acknowledgement");
        let mut silent = connect(&port);
        silent.write_all(begun.as_bytes()).expect("sent");
        let client = Launch::client(["127.0.0.1", &port, "-m", "I am good", "--retry", "20"]).start().wait();
        expect_success(&client);
        let mut told = String::new();
        silent.read_to_string(&mut told).expect("the end");
        assert_eq!(told, WORDS);
        spoken.write_all(b"again\n").expect("sent");
        spoken.read_exact(&mut [0; 19]).expect("an acknowledgement");
        drop(server);
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("packets");
    let address = format!("unix-seqpacket:{}", path.display());
    let server = Launch::server([&address, "-k", "--max-connections", "1", "--handshake-timeout", "1ms"]).start();
    server.wait_for_stderr("listening on");
    let silent = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None).expect("a socket");
    silent.connect(&socket2::SockAddr::unix(&path).expect("an address")).expect("connect");
    let client = Launch::client([&address, "-m", "I am good", "--retry", "20"]).start().wait();
    expect_success(&client);
    let mut told = [0; 200];
    let length = (&silent).read(&mut told).expect("a packet");
    assert_eq!(String::from_utf8_lossy(&told[..length]), WORDS);
    drop(server);
}

#[test]
fn a_client_that_never_reads_is_left() {
    let (server, port) = server(&["--write-timeout", "300ms"]);
    let before = memory(&server);
    let mut deaf = connect(&port);
    let newlines = [b'\n'; 64 * 1024];
    // Until the server has closed the connection, because its answers are not read.
    let gone = loop {
        if let Err(error) = deaf.write_all(&newlines) {
            break error.kind();
        }
    };
    assert!(matches!(gone, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{gone:?}");
    server.wait_for_stderr("reads nothing");
    serves(&port);
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

#[test]
fn a_line_of_a_gigabyte_is_refused() {
    let (server, port) = server(&[]);
    let before = memory(&server);
    let mut client = connect(&port);
    let part = vec![b'x'; 1 << 20];
    let sent = (0..1024).take_while(|_| client.write_all(&part).is_ok()).count();
    assert!(sent < 1024, "all of it was read");
    let mut told = String::new();
    let _ = client.read_to_string(&mut told);
    server.wait_for_stderr("refused: ");
    serves(&port);
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

#[test]
fn without_descriptors_clients_are_told_so_and_later_ones_served() {
    let script = r#"ulimit -n 40; exec "$0" 127.0.0.1:0 -k --max-connections 0"#;
    let server = Launch::command("sh", ["-c", script, env!("CARGO_BIN_EXE_server")]).start();
    let port = server.port();
    let mut clients: Vec<TcpStream> = (0..60).map(|_| connect(&port)).collect();
    let mut refused = clients.pop().expect("the last");
    let mut told = String::new();
    refused.read_to_string(&mut told).expect("a word");
    assert_eq!(told, "wilco: not now: the server has as many clients as it can have\n");
    // Those who were let in are served, as ever.
    clients[0].write_all(b"hello\n").expect("sent");
    clients[0].read_exact(&mut [0; 19]).expect("an acknowledgement");
    drop(clients);
    let client = Launch::client(["127.0.0.1", &port, "-m", "I am good", "--retry", "20"]).start().wait();
    expect_success(&client);
    server.signal(Signal::SIGTERM);
    let done = server.wait();
    assert_eq!(done.stderr.matches("accept: ").count(), 1, "{}", done.stderr);
}

#[test]
fn nobody_need_read_what_is_said_of_clients() {
    let stuck = nix::unistd::pipe().expect("a pipe");
    // What the log says of one client is more than the pipe takes.
    fcntl(&stuck.1, FcntlArg::F_SETPIPE_SZ(4096)).expect("a small pipe");
    let mut server = Command::new(env!("CARGO_BIN_EXE_server"))
        .args(["127.0.0.1:0", "-k", "--json", "-v"])
        .stdout(Stdio::piped())
        .stderr(stuck.1)
        .spawn()
        .expect("start");
    let mut events = BufReader::new(server.stdout.take().expect("its output"));
    let mut listening = String::new();
    events.read_line(&mut listening).expect("an event");
    let port: String = listening.rsplit(':').next().expect("a port").chars().filter(char::is_ascii_digit).collect();
    // Somebody takes the events.
    let reading = std::thread::spawn(move || std::io::copy(&mut events, &mut std::io::sink()));
    for _ in 0..200 {
        connect(&port).write_all(b"without an end").expect("sent");
    }
    serves(&port);
    let pid = Pid::from_raw(server.id().cast_signed());
    kill(pid, Signal::SIGTERM).expect("it runs");
    assert_eq!(server.wait().expect("its end").signal(), Some(Signal::SIGTERM as i32));
    reading.join().expect("no panic").expect("all was read");
}

#[test]
fn what_no_terminal_should_see_is_shown_escaped_and_passed_on_as_it_came() {
    let evil = b"\x1b]0;owned\x07 \xff\xfe \xe2\x80\xaegpj.exe\n";
    for (terminal, shown) in
        [(Terminal::ALL, &b"\\x1b]0;owned\\x07 \\xff\\xfe \\u{202e}gpj.exe"[..]), (Terminal::NONE, &evil[..])]
    {
        let server = Launch::server(["127.0.0.1:0", "-k"]).terminal(terminal).start();
        let port = server.port();
        let mut client = connect(&port);
        client.write_all(evil).expect("sent");
        client.read_exact(&mut [0; 19]).expect("an acknowledgement");
        serves(&port);
        server.signal(Signal::SIGTERM);
        let done = server.wait();
        assert!(done.stdout.contains(&*String::from_utf8_lossy(shown)), "{}", done.stdout);
    }
}
