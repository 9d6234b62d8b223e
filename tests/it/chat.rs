//! Clients that talk to each other through `server --chat`.
//!
//! Apart from the exchange: what is said has no answer, and what is read was said by others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{DEADLINE, Launch, Program, Terminal, expect_error, expect_signal, expect_success};

fn server() -> (Program, String) {
    let server = Launch::server(["--chat", "127.0.0.1:0"]).start();
    let port = server.port();
    (server, port)
}

/// A client that has read its welcome.
struct Guest {
    reader: BufReader<TcpStream>,
}

impl Guest {
    fn new(port: &str) -> Guest {
        Guest::with_room(port, None)
    }

    /// A client for which the kernel keeps only so many bytes.
    fn with_room(port: &str, bytes: Option<usize>) -> Guest {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        if let Some(bytes) = bytes {
            socket.set_recv_buffer_size(bytes).expect("set the buffer");
        }
        let server: SocketAddr = ([127, 0, 0, 1], port.parse().expect("a port")).into();
        socket.connect(&server.into()).expect("connect");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE)).expect("set a time-out");
        let mut guest = Guest { reader: BufReader::new(stream) };
        guest.expect_start("<announce> 127.0.0.1 is connected as <user");
        guest.expect_start("<announce> already connected: ");
        guest
    }

    fn say(&mut self, text: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(text.as_ref()).expect("send");
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).expect("read a line");
        String::from_utf8(line).expect("text")
    }

    #[track_caller]
    fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), format!("{line}\n"));
    }

    #[track_caller]
    fn expect_start(&mut self, start: &str) {
        let line = self.line();
        assert!(line.starts_with(start), "{line:?} does not begin with {start:?}");
    }
}

#[test]
fn each_line_goes_to_all_others_and_to_no_one_else() {
    let (server, port) = server();
    let mut one = Guest::new(&port);
    let mut two = Guest::new(&port);
    one.expect("<announce> 127.0.0.1 is connected as <user2>.");
    let mut three = Guest::new(&port);
    for guest in [&mut one, &mut two] {
        guest.expect("<announce> 127.0.0.1 is connected as <user3>.");
    }
    // A line is handed on when it is whole, as text, and not to who said it.
    one.say("hel");
    two.say("caf\u{e9}\x1b[2J\r\n");
    one.expect("<user2> caf\u{e9}\\033[2J");
    one.say("lo\n");
    two.expect("<user1> hello");
    three.expect("<user2> caf\u{e9}\\033[2J");
    three.expect("<user1> hello");
    // An abrupt death.
    socket2::SockRef::from(one.reader.get_ref()).set_linger(Some(Duration::ZERO)).expect("set linger");
    drop(one);
    two.expect("<announce> <user1> is disconnected.");
    // An orderly end, with a line that has none of its own.
    three.expect("<announce> <user1> is disconnected.");
    three.say("bye");
    three.reader.get_mut().shutdown(Shutdown::Write).expect("end the sending");
    two.expect("<user3> bye");
    two.expect("<announce> <user3> is disconnected.");
    assert_eq!(three.line(), "", "the end");
    server.signal(Signal::SIGTERM);
    assert_eq!(two.line(), "", "no more is announced");
    drop(two);
    let done = server.wait();
    expect_signal(&done, Signal::SIGTERM);
    assert_eq!(done.stdout, "", "a chat is not shown by its server");
}

#[test]
fn a_client_that_does_not_read_is_put_out_and_holds_nobody_up() {
    let (server, port) = server();
    let mut speaker = Guest::new(&port);
    let mut deaf = Guest::with_room(&port, Some(4096));
    let mut listener = Guest::new(&port);
    let speaking = std::thread::spawn(move || {
        for number in 0..20_000 {
            speaker.say(format!("{number} {}\n", "=".repeat(1000)));
        }
        speaker
    });
    for number in 0..20_000 {
        let line = listener.line();
        if line == "<announce> <user2> is disconnected.\n" {
            listener.expect_start(&format!("<user1> {number} ="));
        } else {
            assert!(line.starts_with(&format!("<user1> {number} =")), "{number}: {line}");
        }
    }
    server.wait_for_stderr("reads too slowly");
    // It is told why, behind what it had been sent: whole lines.
    let mut all = String::new();
    deaf.reader.read_to_string(&mut all).expect("read to the end");
    let lines: Vec<&str> = all.lines().collect();
    assert!(lines.len() < 20_000);
    let said: Vec<&&str> = lines.iter().filter(|line| line.starts_with("<user1>")).collect();
    for (number, line) in said.iter().enumerate() {
        assert!(line.starts_with(&format!("<user1> {number} =")) && line.ends_with("===="), "{number}: {line}");
    }
    drop(speaking.join().expect("all was said"));
}

#[test]
fn who_reads_slowly_is_sent_the_rest_at_a_stop() {
    let (server, port) = server();
    let mut slow = Guest::with_room(&port, Some(4096));
    let mut speaker = Guest::new(&port);
    slow.expect_start("<announce> ");
    // More than fits on the way, so that the server still has some when it is to stop.
    let line = format!("{}\n", "x".repeat(1000));
    speaker.reader.get_mut().set_write_timeout(Some(Duration::from_millis(200))).expect("set a time-out");
    let said = (0..20_000).take_while(|_| speaker.reader.get_mut().write_all(line.as_bytes()).is_ok()).count();
    assert!((1..20_000).contains(&said), "{said}");
    server.signal(Signal::SIGTERM);
    let mut got = String::new();
    slow.reader.read_to_string(&mut got).expect("read to the end");
    assert!(got.ends_with("xxx\n") && got.lines().all(|line| line.starts_with("<user2> x")), "whole lines");
    drop(speaker);
    let done = server.wait();
    expect_signal(&done, Signal::SIGTERM);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
}

#[test]
fn netcats_chat_with_our_client_over_every_kind_of_connection() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("chat").display().to_string();
    let packets = directory.path().join("packets").display().to_string();
    let addresses = ["127.0.0.1:0".to_owned(), format!("unix:{path}"), format!("unix-seqpacket:{packets}")];
    let server = Launch::server(["--chat".to_owned()].into_iter().chain(addresses)).start();
    let port = server.port();
    server.wait_for_stderr("unix-seqpacket:");
    let seqpacket = format!("UNIX-CONNECT:{packets},type=5");
    let mut clients: Vec<Program> = Vec::new();
    for command in [
        vec!["nc", "127.0.0.1", &port],
        vec!["ncat", "-U", &path],
        vec!["socat", "-", &seqpacket],
        vec![env!("CARGO_BIN_EXE_client"), "--no-ack", "127.0.0.1", &port],
    ] {
        let client = Launch::command(command[0], &command[1..]).start();
        client.wait_for_stdout("already connected");
        clients.push(client);
    }
    for speaker in 0..clients.len() {
        let word = format!("word of {}", speaker + 1);
        clients[speaker].send(format!("{word}\n"));
        for (number, client) in clients.iter().enumerate() {
            if number != speaker {
                assert_eq!(client.wait_for_stdout(&word), format!("<user{}> {word}", speaker + 1));
            }
        }
    }
    let uid = nix::unistd::geteuid();
    assert!(clients[0].screen().contains(&format!("<announce> uid {uid} is connected as <user2>.")));
    expect_success(&clients.pop().expect("our client").finish());
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn what_is_too_long_for_a_packet_puts_nobody_out() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("s").display().to_string();
    let server = Launch::server(["--chat", "127.0.0.1:0", &format!("unix-seqpacket:{path}")]).start();
    let mut speaker = Guest::new(&server.port());
    let mut listener = Launch::client(["--raw", &format!("unix-seqpacket:{path}")]).start();
    listener.wait_for_stdout("already connected");
    // Each of these is shown as four.
    speaker.say([&[1; 60_000][..], b"\nhello\n"].concat());
    listener.wait_for_stdout("<announce> 240009 bytes were said");
    listener.wait_for_stdout("<user1> hello");
    listener.close_stdin();
    expect_success(&listener.wait());
    drop(server);
}

#[test]
fn a_person_chats_at_the_prompt() {
    let (_server, port) = server();
    let mut other = Guest::new(&port);
    let home = tempfile::tempdir().expect("make a temporary directory");
    let client = Launch::client(["-i", "--no-ack", "127.0.0.1", &port]).terminal(Terminal::ALL);
    let mut client = client.env("XDG_STATE_HOME", &home.path().display().to_string()).start();
    other.expect("<announce> 127.0.0.1 is connected as <user2>.");
    client.wait_for_screen("Please enter the message: ");
    client.type_line("hello");
    other.expect("<user2> hello");
    other.say("hi\n");
    client.wait_for_screen("<user1> hi");
    // The next message does not wait for an answer.
    client.type_line("again");
    other.expect("<user2> again");
}

#[test]
fn a_line_that_is_too_long_is_refused() {
    let server = Launch::server(["--chat", "127.0.0.1:0", "--max-message", "100"]).start();
    let port = server.port();
    let (mut one, mut two) = (Guest::new(&port), Guest::new(&port));
    one.expect("<announce> 127.0.0.1 is connected as <user2>.");
    two.say(format!("short\n{}\n", "x".repeat(101)));
    one.expect("<user2> short");
    one.expect("<announce> <user2> is disconnected.");
    two.expect("wilco: refused: the message has more than 100 bytes");
    assert_eq!(two.line(), "");
}

#[test]
fn what_cannot_be_a_chat_is_told() {
    for (arguments, words) in [
        (vec!["--chat", "udp:0"], ["connections", "udp"]),
        (vec!["--chat", "--framing", "read", "0"], ["framing read", "--framing"]),
        (vec!["--chat", "--framing", "whole", "0"], ["framing whole", "--framing"]),
        (vec!["--chat", "--reply", "x", "0"], ["--chat", "--reply"]),
        (vec!["--chat", "--service", "echo", "0"], ["--chat", "--service"]),
    ] {
        expect_error(&Launch::server(arguments).start().wait(), 2, &words);
    }
}
