//! The simple services, RFC 862 to 868: each over streams, datagrams and packets, with clients that leave, that never read, and
//! that are not where they say.
//!
//! Apart from the exchange of messages, of which these services know nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{DEADLINE, Families, Hosts, Launch, Program, expect_error, expect_signal, expect_success};

fn server(service: &str, address: &str) -> (Program, String) {
    let server = Launch::server(["-k", "--service", service, address]).start();
    let port = server.port();
    (server, port)
}

fn connect(port: &str) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a time-out");
    stream
}

fn udp(server: &str) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket.set_read_timeout(Some(DEADLINE)).expect("set a time-out");
    socket.connect(("127.0.0.1", server.parse().expect("a port"))).expect("connect");
    socket
}

fn ask(socket: &UdpSocket, request: &[u8]) -> Vec<u8> {
    socket.send(request).expect("send a datagram");
    let mut answer = vec![0; 65536];
    let length = socket.recv(&mut answer).expect("receive the answer");
    answer.truncate(length);
    answer
}

fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("read to the end");
    all
}

/// Fails unless the answer is one of the service's.
#[track_caller]
fn expect_answer(service: &str, answer: &[u8]) {
    let text = String::from_utf8_lossy(answer);
    match service {
        "time" => {
            assert_eq!(answer.len(), 4, "{answer:?}");
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
            let told = u32::from_be_bytes(answer.try_into().expect("four bytes"));
            let since_1900 = now.wrapping_add(2_208_988_800) as u32;
            assert!(since_1900.wrapping_sub(told) < 60, "{told} is not {since_1900}");
        }
        "daytime" => {
            assert!(text.len() == 26 && text.ends_with("\r\n"), "{text:?}");
            assert!(text.as_bytes()[3] == b' ' && text.as_bytes()[13] == b':', "{text:?}");
        }
        "qotd" => assert!(text.len() < 512 && text.ends_with("\r\n") && text.len() > 2, "{text:?}"),
        "chargen" => assert!(text.starts_with(" !\"#$%") && text.len() == 74 && text.ends_with("efg\r\n"), "{text:?}"),
        _ => panic!("no answer of {service} is known"),
    }
}

#[test]
fn ten_megabytes_come_back_as_they_were_and_then_the_end() {
    let (_server, port) = server("echo", "127.0.0.1:0");
    let sent: Vec<u8> = (0..10_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let stream = connect(&port);
    let mut writing = stream.try_clone().expect("another handle");
    let all = sent.clone();
    let writer = std::thread::spawn(move || {
        writing.write_all(&all).expect("send");
        writing.shutdown(Shutdown::Write).expect("end the sending");
    });
    assert!(read_all(&stream) == sent, "something else came back");
    writer.join().expect("all was sent");
}

#[test]
fn echo_returns_what_netcats_send() {
    let (_server, port) = server("echo", "0");
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("echo").display().to_string();
    let unix = Launch::server(["-k", "--service", "echo", &format!("unix:{path}"), "unix-seqpacket:@wilco-echo-test"]);
    let unix = unix.start();
    unix.wait_for_stderr("seqpacket");
    for command in [
        vec!["nc", "-N", "127.0.0.1", &port],
        vec!["nc", "-N", "-U", &path],
        vec!["ncat", "127.0.0.1", &port],
        vec!["socat", "-t20", "-", &format!("TCP:127.0.0.1:{port}")],
        vec![env!("CARGO_BIN_EXE_client"), "127.0.0.1", &port],
        vec![env!("CARGO_BIN_EXE_client"), &format!("unix:{path}")],
    ] {
        let mut client = Launch::command(command[0], &command[1..]).start();
        client.send("one\ntwo\n");
        client.close_stdin();
        let done = client.wait();
        expect_success(&done);
        assert_eq!(done.stdout, "one\ntwo\n", "{}", done.report());
    }
    let done = Launch::client(["unix-seqpacket:@wilco-echo-test", "-m", "hello", "-m", "again"]).start().finish();
    expect_success(&done);
    assert_eq!(done.stdout, "hello\nagain\n");
    let framed = ["--framing", "length", "127.0.0.1", &port, "-m", "a\nb"];
    let done = Launch::client(framed).start().finish();
    expect_success(&done);
    assert_eq!(done.stdout, "a\nb\n");
}

#[test]
fn each_datagram_comes_back() {
    let (_server, port) = server("echo", "udp:127.0.0.1:0");
    let socket = udp(&port);
    for request in [&b"hello"[..], b"", &[7; 60_000]] {
        assert_eq!(ask(&socket, request), request);
    }
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("socket");
    let server = Launch::server(["-k", "--service", "echo", &format!("unix-dgram:{}", path.display())]).start();
    server.listening();
    let socket = UnixDatagram::bind(directory.path().join("own")).expect("bind");
    socket.set_read_timeout(Some(DEADLINE)).expect("set a time-out");
    // Longer than any message that is displayed.
    for length in [5, 100_000] {
        socket.send_to(&vec![b'x'; length], &path).expect("send a datagram");
        let mut answer = vec![0; 200_000];
        assert_eq!(socket.recv(&mut answer).expect("receive"), length);
    }
}

#[test]
fn discard_says_nothing_and_ends_with_its_client() {
    let (server, port) = server("discard", "127.0.0.1:0");
    let mut stream = connect(&port);
    stream.write_all(&vec![b'x'; 5_000_000]).expect("send");
    stream.shutdown(Shutdown::Write).expect("end the sending");
    assert_eq!(read_all(&stream), b"");
    server.signal(Signal::SIGTERM);
    let done = server.wait();
    expect_signal(&done, Signal::SIGTERM);
    assert_eq!(done.stdout, "");
    let (server, port) = self::server("discard", "udp:127.0.0.1:0");
    let socket = udp(&port);
    socket.send(b"hello").expect("send a datagram");
    // It ends only when it has handled the datagram: then an answer would be here.
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    socket.set_nonblocking(true).expect("set non-blocking");
    let nothing = socket.recv(&mut [0; 100]).map_err(|error| error.kind());
    assert!(
        matches!(nothing, Err(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::ConnectionRefused)),
        "{nothing:?}"
    );
}

#[test]
fn what_has_one_answer_gives_it_and_ends_whatever_it_is_told() {
    for service in ["daytime", "time", "qotd"] {
        let (_server, port) = server(service, "127.0.0.1:0");
        expect_answer(service, &read_all(connect(&port)));
        let mut talking = connect(&port);
        // Enough to be unread when a server closes that does not care.
        let _ = talking.write_all(&[b'x'; 30_000]);
        expect_answer(service, &read_all(talking));
        let (_server, port) = server(service, "udp:127.0.0.1:0");
        let socket = udp(&port);
        expect_answer(service, &ask(&socket, b""));
        expect_answer(service, &ask(&socket, b"hello"));
    }
}

#[test]
fn a_service_can_be_for_one_client() {
    let server = Launch::server(["--service", "daytime", "127.0.0.1:0"]).start();
    let done = Launch::command("nc", ["127.0.0.1", &server.port()]).no_input().start().wait();
    // What a program has written is read without carriage returns.
    expect_answer("daytime", done.stdout.replace('\n', "\r\n").as_bytes());
    expect_success(&server.wait());
    // One that only looks in has no echo.
    let server = Launch::server(["--service", "echo", "127.0.0.1:0"]).start();
    let port = server.port();
    expect_success(&Launch::command("nc", ["-z", "127.0.0.1", &port]).start().wait());
    let mut client = Launch::command("nc", ["-N", "127.0.0.1", &port]).start();
    client.send("hello\n");
    assert_eq!(client.finish().stdout, "hello\n");
    expect_success(&server.wait());
}

#[test]
fn the_time_zone_is_that_of_the_user() {
    let server = Launch::server(["-k", "--service", "daytime", "127.0.0.1:0"]).env("TZ", "XYZ-14").start();
    let here = String::from_utf8(read_all(connect(&server.port()))).expect("text");
    let (_utc, port) = {
        let utc = Launch::server(["-k", "--service", "daytime", "127.0.0.1:0"]).env("TZ", "UTC").start();
        let port = utc.port();
        (utc, port)
    };
    let utc = String::from_utf8(read_all(connect(&port))).expect("text");
    assert_ne!(here[11..13], utc[11..13], "{here:?} {utc:?}");
}

#[test]
fn chargen_goes_on_for_as_long_as_it_is_read() {
    let (server, port) = server("chargen", "127.0.0.1:0");
    let mut stream = connect(&port);
    // Its own end is not that of the other.
    stream.shutdown(Shutdown::Write).expect("end the sending");
    let mut got = vec![0; 74 * 95 * 20 + 74];
    stream.read_exact(&mut got).expect("read lines");
    let lines: Vec<&[u8]> = got.chunks(74).collect();
    expect_answer("chargen", lines[0]);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(*line, lines[number % 95], "line {number}");
        assert_eq!(usize::from(line[0]), 32 + number % 95, "line {number}");
    }
    drop(stream);
    // Others are served when one has gone like that.
    let mut other = connect(&port);
    other.read_exact(&mut [0; 74]).expect("read a line");
    // A stop ends it between lines.
    server.signal(Signal::SIGTERM);
    assert_eq!(read_all(other).len() % 74, 0);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn chargen_sends_a_line_in_a_datagram_or_packet() {
    let (_server, port) = server("chargen", "udp:127.0.0.1:0");
    let socket = udp(&port);
    expect_answer("chargen", &ask(&socket, b""));
    assert_eq!(ask(&socket, b"more")[..2], *b"!\"");
    let server = Launch::server(["-k", "--service", "chargen", "unix-seqpacket:@wilco-chargen-test"]).start();
    server.listening();
    let socat = ["-u", "UNIX-CONNECT:wilco-chargen-test,type=5", "-"].map(|word| word.replace("UNIX-", "ABSTRACT-"));
    let client = Launch::command("socat", socat).start();
    client.wait_for_stdout(" !\"#$%");
    client.signal(Signal::SIGTERM);
    client.wait_for_exit();
}

#[test]
fn a_client_that_leaves_early_does_no_harm() {
    for service in ["echo", "discard", "daytime", "time", "chargen", "qotd"] {
        let (server, port) = server(service, "127.0.0.1:0");
        for _ in 0..20 {
            let mut stream = connect(&port);
            let _ = stream.write_all(b"hello");
            // A reset.
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set linger");
        }
        connect(&port).write_all(b"hello").expect("it is served");
        server.signal(Signal::SIGTERM);
        expect_signal(&server.wait(), Signal::SIGTERM);
    }
}

#[test]
fn a_client_that_never_reads_is_not_read_for_ever() {
    let (server, port) = server("echo", "127.0.0.1:0");
    let mut deaf = connect(&port);
    deaf.set_nonblocking(true).expect("set non-blocking");
    let mut sent = 0_usize;
    let piece = vec![b'x'; 1 << 20];
    // What it has sent fills the buffers of the kernel at both ends and one of the server's, and then there is no room: seen when
    // an echo to another was answered in between and there still is none.
    let mut full = 0;
    while full < 50 {
        match deaf.write(&piece) {
            Ok(length) => {
                sent += length;
                full = 0;
            }
            Err(_) => {
                let mut other = connect(&port);
                other.write_all(b"x").expect("send");
                other.read_exact(&mut [0]).expect("others are served");
                full += 1;
            }
        }
        assert!(sent < 500 << 20, "everything is taken");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the status of the server");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kilobytes: usize = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 100_000, "{resident}");
}

#[test]
fn a_hundred_idle_clients_and_one_that_talks() {
    let (_server, port) = server("echo", "127.0.0.1:0");
    let idle: Vec<TcpStream> = (0..100).map(|_| connect(&port)).collect();
    let mut talking = connect(&port);
    for number in 0..100_u8 {
        talking.write_all(&[number]).expect("send");
        let mut back = [0];
        talking.read_exact(&mut back).expect("read");
        assert_eq!(back, [number]);
    }
    for mut stream in idle {
        stream.write_all(b"x").expect("send");
        stream.read_exact(&mut [0]).expect("it is served, too");
    }
}

#[test]
fn ports_that_would_answer_the_answer_get_none() {
    let Some(hosts) = Hosts::new("ports_that_would_answer_the_answer_get_none", Families::V4) else { return };
    let server = Launch::server(["-k", "--service", "echo", "udp:5007"]).on(&hosts.cheerios).start();
    server.listening();
    // Ports of the services, that of the server itself, and one that is answered.
    for (port, answered) in [("7", false), ("19", false), ("37", false), ("5007", false), ("5008", true)] {
        let target = format!("UDP:192.0.2.1:5007,sourceport={port}");
        let mut client = Launch::command("socat", ["-t1", "-", &target]).on(&hosts.desk).start();
        client.send("hello");
        let done = client.finish();
        assert_eq!(done.stdout, if answered { "hello" } else { "" }, "from port {port}");
    }
}

#[test]
fn a_sender_from_elsewhere_gets_no_more_than_it_sends() {
    let Some(hosts) = Hosts::new("a_sender_from_elsewhere_gets_no_more_than_it_sends", Families::V4) else { return };
    let ask = |service: &str, request: &str| {
        let server = Launch::server(["-k", "--service", service, "udp:5007"]).on(&hosts.cheerios).start();
        server.listening();
        let mut client = Launch::command("socat", ["-t1", "-", "UDP:192.0.2.1:5007"]).on(&hosts.desk).start();
        client.send(request);
        let answer = client.finish().stdout;
        server.signal(Signal::SIGTERM);
        (answer, server.wait().stderr)
    };
    let (answer, told) = ask("daytime", "x");
    assert_eq!(answer, "");
    assert!(told.contains("26 bytes"), "{told}");
    expect_answer("daytime", ask("daytime", &"x".repeat(26)).0.replace('\n', "\r\n").as_bytes());
    assert_eq!(ask("chargen", &"x".repeat(40)).0.len(), 40);
    assert_eq!(ask("chargen", &"x".repeat(400)).0.len(), 73, "without the carriage return");
    assert_eq!(ask("chargen", "x").0.len(), 18);
}

#[test]
fn echo_over_a_unix_stream_returns_what_came_before_a_stop() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("echo");
    let server = Launch::server(["-k", "--service", "echo", &format!("unix:{}", path.display())]).start();
    server.listening();
    let mut stream = UnixStream::connect(&path).expect("connect");
    stream.write_all(b"hello").expect("send");
    server.signal(Signal::SIGTERM);
    assert_eq!(read_all(stream), b"hello");
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn a_service_that_is_none_is_told() {
    let done = Launch::server(["--service", "ecko", "0"]).start().wait();
    expect_error(&done, 2, &["ecko", "echo, discard, daytime, time, chargen, qotd", "similar", "'echo'"]);
    for other in [["--reply", "x"], ["--framing", "nul"], ["--ack", "x"]] {
        let done = Launch::server(["--service", "echo", other[0], other[1], "0"]).start().wait();
        expect_error(&done, 2, &["--service", other[0]]);
    }
}
