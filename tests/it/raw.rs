//! `client --raw`: what other netcats lose or hang at, case by case, and bytes through every kind of socket.
//!
//! Apart from the peers of messages: nothing is acknowledged here, and what counts is what the exit status says of the bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::Socket;

use crate::harness::{Finished, Launch, Program, Terminal, expect_error, expect_signal, expect_status, expect_success};

const LITTLE: usize = 50_000;
const MUCH: usize = 10_000_000;
/// What a peer reads that does not read everything.
const PART: usize = 150_000;

/// Where a peer of the test's own listens: each case has to hold for both.
#[derive(Clone, Copy, Debug)]
enum Domain {
    Tcp,
    Unix,
}

const BOTH: [Domain; 2] = [Domain::Tcp, Domain::Unix];

/// A server of the test's own for one connection; gives its address.
fn peer(domain: Domain, behaviour: impl FnOnce(Socket) + Send + 'static) -> (String, JoinHandle<()>) {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let (listener, address): (Socket, String) = match domain {
        Domain::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("listen on a free port");
            let address = format!("tcp:{}", listener.local_addr().expect("the address of a listener"));
            (listener.into(), address)
        }
        Domain::Unix => {
            use std::os::linux::net::SocketAddrExt;
            let name = format!("wilco-raw-{}-{count}", std::process::id());
            let addr = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("an abstract name");
            (UnixListener::bind_addr(&addr).expect("listen").into(), format!("unix:@{name}"))
        }
    };
    let serving = std::thread::spawn(move || behaviour(listener.accept().expect("accept the client").0));
    (address, serving)
}

fn raw(address: &str, options: &[&str]) -> Program {
    Launch::client(["--raw", address].iter().chain(options)).start()
}

/// A client that sends `length` bytes and the end. They come from a file: the client decides how much of it is read.
fn sends(length: usize, address: &str, options: &[&str]) -> Finished {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    std::fs::write(directory.path().join("input"), vec![b'x'; length]).expect("write the input");
    let words = ["-c", "exec \"$0\" --raw \"$@\" < input", env!("CARGO_BIN_EXE_client"), address];
    Launch::command("bash", words.iter().chain(options)).directory(directory.path()).no_input().start().wait()
}

fn read_part(socket: &mut Socket) {
    socket.read_exact(&mut vec![0; PART]).expect("read a part");
}

fn reset(socket: &Socket) {
    socket.set_linger(Some(Duration::ZERO)).expect("set linger");
}

#[test]
fn a_receiver_that_reads_nothing_and_closes_is_no_success() {
    for domain in BOTH {
        let (address, _serving) = peer(domain, |socket| {
            // Once something is there: what is unread when a connection is closed makes a reset.
            socket.peek(&mut [std::mem::MaybeUninit::uninit()]).expect("wait for the first byte");
        });
        let done = sends(LITTLE, &address, &[]);
        expect_error(&done, 4, &["50000 bytes"]);
        let (address, _serving) = peer(domain, drop);
        expect_error(&sends(LITTLE, &address, &[]), 4, &["50000 bytes"]);
    }
}

#[test]
fn a_receiver_that_reads_a_part_and_closes_is_no_success() {
    for domain in BOTH {
        for with_reset in [false, true] {
            let (address, _serving) = peer(domain, move |mut socket| {
                read_part(&mut socket);
                if with_reset {
                    reset(&socket);
                }
            });
            expect_error(&sends(MUCH, &address, &[]), 4, &["were not taken"]);
        }
    }
}

#[test]
fn a_receiver_that_reads_a_part_and_ends_its_half_is_no_success() {
    for domain in BOTH {
        // It goes away a while later, when the client has noticed that nothing is taken; or it never does.
        for goes in [true, false] {
            let (done, wait) = mpsc::channel::<()>();
            let (address, _serving) = peer(domain, move |mut socket| {
                read_part(&mut socket);
                socket.shutdown(Shutdown::Write).expect("end the half");
                if !goes {
                    let _ = wait.recv();
                }
            });
            expect_error(&sends(MUCH, &address, &["--idle-timeout", "300ms"]), 4, &["were not taken"]);
            drop(done);
        }
    }
}

#[test]
fn a_receiver_that_ends_its_half_first_and_reads_on_gets_everything() {
    for domain in BOTH {
        let (address, serving) = peer(domain, |mut socket| {
            socket.shutdown(Shutdown::Write).expect("end the half");
            let mut all = Vec::new();
            socket.read_to_end(&mut all).expect("read all");
            assert_eq!(all.len(), MUCH);
        });
        expect_success(&sends(MUCH, &address, &[]));
        serving.join().expect("the peer has read everything");
    }
}

#[test]
fn a_reply_arrives_however_long_after_the_end_of_the_input() {
    for domain in BOTH {
        let (tell, told) = mpsc::channel::<()>();
        let (heard, hears) = mpsc::channel();
        let (address, _serving) = peer(domain, move |mut socket| {
            let mut request = String::new();
            socket.read_to_string(&mut request).expect("read to the end");
            heard.send(request).expect("tell the test");
            told.recv().expect("wait for the test");
            socket.write_all(b"reply\n").expect("reply");
        });
        let mut client = raw(&address, &[]);
        client.send("hello\n");
        client.close_stdin();
        // The end of the input has come through while the client waits.
        assert_eq!(hears.recv().expect("the request"), "hello\n");
        tell.send(()).expect("tell the peer");
        let done = client.wait();
        expect_success(&done);
        assert_eq!(done.stdout, "reply\n");
    }
}

#[test]
fn the_end_of_the_other_side_is_the_end_while_the_input_stays_open() {
    for domain in BOTH {
        let (address, _serving) = peer(domain, |mut socket| {
            socket.write_all(b"Sat Nov 21\r\n").expect("write");
        });
        let client = raw(&address, &[]);
        client.wait_for_exit();
        let done = client.wait();
        // It ends, but what the input would still have brought was not sent.
        assert_eq!(done.status.code(), Some(4), "{}", done.report());
        assert!(done.stderr.contains("before the end of the input"), "{}", done.report());
        assert_eq!(done.stdout, "Sat Nov 21\n");
    }
}

#[test]
fn what_could_not_be_delivered_is_told_while_the_input_stays_open() {
    for domain in BOTH {
        let (address, serving) = peer(domain, |mut socket| {
            socket.read_exact(&mut [0; 6]).expect("read");
            socket.write_all(b"ok\n").expect("write");
        });
        let mut client = raw(&address, &[]);
        client.send("hello\n");
        client.wait_for_stdout("ok");
        serving.join().expect("served");
        client.send("more\n");
        client.wait_for_exit();
        let done = client.wait();
        // It has gone when this is sent, or has been left before it was read.
        assert_eq!(done.status.code(), Some(4), "{}", done.report());
    }
}

#[test]
fn one_that_never_closes_is_waited_for_so_long_and_no_longer() {
    for domain in BOTH {
        let (done, wait) = mpsc::channel::<()>();
        let (address, _serving) = peer(domain, move |mut socket| {
            socket.read_to_end(&mut Vec::new()).expect("read to the end");
            let _ = wait.recv();
        });
        let mut client = raw(&address, &["--idle-timeout", "300ms"]);
        client.send("hello\n");
        expect_error(&client.finish(), 4, &["6 bytes were sent", "has not ended", "300ms"]);
        drop(done);
    }
}

#[test]
fn what_came_before_a_reset_is_shown() {
    let (address, _serving) = peer(Domain::Tcp, |mut socket| {
        // As the tutorial's server with a long message: one read, an answer, and a close that makes a reset of the rest.
        socket.read_exact(&mut [0; 255]).expect("read");
        socket.write_all(b"I got your message").expect("answer");
    });
    let done = sends(1000, &address, &[]);
    expect_status(&done, 4);
    assert_eq!(done.stdout, "I got your message", "{}", done.report());
}

#[test]
fn a_peer_that_is_killed_is_no_success() {
    let server = Launch::command("socat", ["-u", "-dd", "TCP-LISTEN:0,bind=127.0.0.1", "-"]).start();
    let line = server.wait_for_stderr("listening on");
    let port = line.rsplit(':').next().expect("a port");
    let mut client = raw(&format!("127.0.0.1:{port}"), &[]);
    server.wait_for_stderr("starting data transfer loop");
    // It reads nothing, and its system takes some.
    server.signal(Signal::SIGSTOP);
    client.send(vec![b'x'; 1_000_000]);
    server.signal(Signal::SIGKILL);
    let done = client.finish();
    assert_eq!(done.status.code(), Some(4), "{}", done.report());
}

#[test]
fn a_hundred_megabytes_come_back_as_they_went() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let (input, output) = (directory.path().join("input"), directory.path().join("output"));
    // No byte of it says where it belongs but its place: whatever is lost or doubled shifts the rest.
    let mut seed = 1u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 32).to_ne_bytes()
    })
    .take(100_000_000 / 8)
    .flatten()
    .collect();
    std::fs::write(&input, &bytes).expect("write the input");
    let server = Launch::command("socat", ["-dd", "TCP-LISTEN:0,bind=127.0.0.1", "EXEC:cat"]).start();
    let line = server.wait_for_stderr("listening on");
    let port = line.rsplit(':').next().expect("a port");
    let script = "exec \"$0\" --raw 127.0.0.1 \"$1\" < input > output";
    let words = ["-c", script, env!("CARGO_BIN_EXE_client"), port];
    expect_success(&Launch::command("bash", words).directory(directory.path()).no_input().start().wait());
    assert!(std::fs::read(&output).expect("read the output") == bytes, "what came back is something else");
}

#[test]
fn other_netcats_are_talked_to() {
    let listening: [(&str, &[&str], &str); 3] = [
        ("nc", &["-v", "-N", "-l", "127.0.0.1", "0"], "Listening on"),
        ("ncat", &["-v", "-l", "127.0.0.1", "0"], "Listening on 127.0.0.1:"),
        ("socat", &["-dd", "TCP-LISTEN:0,bind=127.0.0.1", "-"], "listening on"),
    ];
    for (program, arguments, words) in listening {
        let mut server = Launch::command(program, arguments).start();
        let line = server.wait_for_stderr(words);
        let said = line.rsplit([':', ' ']).next().expect("a port").to_owned();
        // ncat says which port was asked for.
        let port = if said == "0" { listening_port(server.pid()) } else { said };
        let mut client = raw(&format!("127.0.0.1:{port}"), &[]);
        client.send("there\n");
        server.wait_for_stdout("there");
        server.send("back\n");
        client.wait_for_stdout("back");
        client.close_stdin();
        server.close_stdin();
        let done = client.wait();
        expect_success(&done);
        assert_eq!((done.stdout.as_str(), server.wait().stdout.as_str()), ("back\n", "there\n"), "{program}");
    }
}

/// The port that a process listens on, as the kernel has it.
fn listening_port(pid: u32) -> String {
    let shown = Command::new("ss").args(["-Hltnp"]).output().expect("run ss");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = shown.lines().find(|line| line.contains(&format!("pid={pid},"))).expect("a listening socket");
    let address = line.split_whitespace().nth(3).expect("a local address");
    address.rsplit(':').next().expect("a port").to_owned()
}

#[test]
fn a_program_is_talked_to() {
    let mut client = Launch::client(["--raw", "exec:cat"]).start();
    client.send("one\ntwo");
    let done = client.finish();
    expect_success(&done);
    assert_eq!(done.stdout, "one\ntwo");
    let done = sends(MUCH, "exec:head -c 3", &[]);
    expect_status(&done, 4);
    assert_eq!(done.stdout, "xxx");
}

#[test]
fn sequenced_packets_are_reads_of_the_input_and_end() {
    let address = format!("unix-seqpacket:@wilco-raw-seqpacket-{}", std::process::id());
    let server = Launch::server([&address]).start();
    server.listening();
    let mut client = raw(&address, &[]);
    client.send("one");
    client.wait_for_stdout("I got your message");
    client.send("two");
    client.wait_for_count("I got your message", 2);
    expect_success(&client.finish());
    assert_eq!(server.wait().stdout, "one\ntwo\n");
}

#[test]
fn datagrams_end_with_silence() {
    let server = Launch::server(["-k", "udp:127.0.0.1:0"]).start();
    let mut client = raw(&server.listening(), &["--idle-timeout", "200ms"]);
    client.send("one");
    client.wait_for_stdout("I got your message");
    let done = client.finish();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n");
    // Nobody is there: the kernel of the other side says so.
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let mut client = raw(&format!("udp:127.0.0.1:{port}"), &[]);
    client.send("one");
    expect_error(&client.finish(), 3, &["refused"]);
}

#[test]
fn a_long_input_is_several_datagrams() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind a free port");
    let address = format!("udp:{}", socket.local_addr().expect("the address of a socket"));
    expect_success(&sends(40_000, &address, &["--idle-timeout", "1ms"]));
    let mut buffer = vec![0; 65_536];
    let lengths = [(); 3].map(|()| socket.recv(&mut buffer).expect("receive"));
    assert_eq!(lengths, [16_384, 16_384, 7_232]);
}

#[test]
fn a_person_at_a_terminal() {
    let (address, _serving) = peer(Domain::Tcp, |mut socket| {
        let mut line = [0; 6];
        socket.read_exact(&mut line).expect("read");
        socket.write_all(b"red \x1b[31m \xe2\x80").expect("write");
        socket.write_all(b"\xae\n").expect("write the rest of a letter");
    });
    let mut client = Launch::client(["--raw", &address]).terminal(Terminal::ALL).start();
    client.type_line("hello");
    // The input is still open: the other side has ended.
    let done = client.wait();
    expect_success(&done);
    assert!(done.stdout.ends_with("red \\x1b[31m \\u{202e}\n"), "{}", done.report());
    assert!(!done.stdout.contains("Please enter"), "{}", done.report());
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    for domain in BOTH {
        let (address, _serving) = peer(domain, |mut socket| while socket.write_all(&b"y\n".repeat(1000)).is_ok() {});
        let script = "echo hello | \"$0\" --raw \"$1\" | head -n 1; echo ${PIPESTATUS[1]}";
        let words = ["-c", script, env!("CARGO_BIN_EXE_client"), &address];
        let done = Launch::command("bash", words).no_input().start().wait();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("y\n0\n", ""));
    }
}

#[test]
fn an_output_that_is_full_is_1() {
    let (address, _serving) = peer(Domain::Tcp, |mut socket| socket.write_all(b"hello\n").expect("write"));
    let full = File::options().write(true).open("/dev/full").expect("open the full device");
    let client = Command::new(env!("CARGO_BIN_EXE_client"))
        .args(["--raw", &address])
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("run the client");
    let said = String::from_utf8_lossy(&client.stderr).into_owned();
    assert_eq!(client.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output: no space left"), "{said}");
}

#[test]
fn a_signal_ends_it_in_order() {
    let (heard, hears) = mpsc::channel();
    let (address, serving) = peer(Domain::Tcp, move |mut socket| {
        let mut all = [0; 6];
        socket.read_exact(&mut all).expect("read");
        heard.send(()).expect("tell the test");
        assert_eq!(socket.read(&mut all).expect("an end, and no reset"), 0);
    });
    let mut client = raw(&address, &[]);
    client.send("hello\n");
    hears.recv().expect("the bytes have come");
    client.signal(Signal::SIGTERM);
    expect_signal(&client.wait(), Signal::SIGTERM);
    serving.join().expect("the peer saw the end");
}

#[test]
fn what_makes_no_sense_with_it_is_2() {
    for options in [&["-m", "hello"] as &[&str], &["-i"], &["--framing", "nul"], &["--no-ack"]] {
        let done = Launch::client(["--raw", "51717"].iter().chain(options)).no_input().start().wait();
        expect_status(&done, 2);
        assert!(done.stderr.contains("--raw"), "{}", done.report());
    }
    let done = Launch::client(["51717", "--idle-timeout", "1s"]).no_input().start().wait();
    expect_status(&done, 2);
}
