//! Peers that end early, say nothing, say too much or too little: what the client concludes from them.
//!
//! Apart from the exchange, in which both sides behave: here each peer is a few lines of the test, and the exit status is what
//! matters.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::{Finished, Launch, Program, expect_error, expect_success};

const MUCH: usize = 10_000_000;
/// What a peer reads that does not read everything.
const PART: usize = 150_000;

/// A server of the test's own for one connection; gives its port.
fn peer(behaviour: impl FnOnce(TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on a free port");
    let port = listener.local_addr().expect("the address of a listener").port().to_string();
    let serving = std::thread::spawn(move || behaviour(listener.accept().expect("accept the client").0));
    (port, serving)
}

fn client(port: &str, options: &[&str]) -> Program {
    Launch::client(["127.0.0.1", port].iter().chain(options)).start()
}

fn read_line(stream: &mut TcpStream) {
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).expect("read a line");
    }
}

/// Closes with a reset instead of an end.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set linger");
}

#[test]
fn one_that_ends_before_the_input_does_is_4() {
    let (port, serving) = peer(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"ok\n").expect("answer");
    });
    let mut client = client(&port, &[]);
    client.send("one\n");
    client.wait_for_stdout("ok");
    serving.join().expect("served");
    // There is more, and nobody takes it.
    client.send("two\n");
    let done = client.finish();
    assert_eq!(done.status.code(), Some(4), "{}", done.report());
    assert!(done.stderr.contains("closed the connection"), "{}", done.report());
}

#[test]
fn one_that_ends_while_the_input_stays_open_is_4_and_does_not_hang() {
    let (port, _serving) = peer(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"ok\n").expect("answer");
    });
    let mut client = client(&port, &[]);
    client.send("one\n");
    client.wait_for_exit();
    let done = client.wait();
    assert_eq!((done.status.code(), done.stdout.as_str()), (Some(4), "ok\n"), "{}", done.report());
}

#[test]
fn one_that_reads_nothing_and_ends_is_4() {
    for with_reset in [false, true] {
        let (port, _serving) = peer(move |stream| {
            // Once the message is there; what is unread when a connection is closed makes a reset of its own.
            stream.peek(&mut [0]).expect("wait for the message");
            if with_reset {
                reset(stream);
            }
        });
        let done = client(&port, &["-m", "hello"]).finish();
        expect_error(&done, 4, &["not acknowledged"]);
    }
}

/// A client whose input is this many bytes, in lines of 100, from a file: the client decides how much of it is read.
fn sends(bytes: usize, port: &str, options: &[&str]) -> Finished {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let line = format!("{}\n", "x".repeat(99));
    std::fs::write(directory.path().join("input"), line.repeat(bytes / line.len())).expect("write the input");
    let words = ["-c", "exec \"$0\" 127.0.0.1 \"$@\" < input", env!("CARGO_BIN_EXE_client"), port];
    Launch::command("bash", words.iter().chain(options)).directory(directory.path()).no_input().start().wait()
}

/// How many messages an error says were acknowledged, and of how many.
fn counts(done: &Finished) -> (u64, u64) {
    let numbers = |text: &str| text.split(|letter: char| !letter.is_ascii_digit()).find_map(|word| word.parse().ok());
    let (before, after) = done.stderr.split_once(" of ").unwrap_or_else(|| panic!("no counts: {}", done.report()));
    (numbers(before).unwrap_or(0), numbers(after).unwrap_or_else(|| panic!("no count: {}", done.report())))
}

#[test]
fn two_of_three_acknowledged_is_4() {
    let three = ["-m", "one", "-m", "two", "-m", "three"];
    for ends in ["end", "reset", "silence"] {
        let (given_up, wait) = mpsc::channel::<()>();
        let (port, _serving) = peer(move |mut stream| {
            (0..3).for_each(|_| read_line(&mut stream));
            stream.write_all(b"ok\nok\n").expect("answer");
            match ends {
                "end" => {}
                "reset" => reset(stream),
                _ => drop(wait.recv()),
            }
        });
        let options = three.iter().chain(&["--timeout", "300ms"]).copied().collect::<Vec<_>>();
        let done = client(&port, &options).finish();
        drop(given_up);
        assert_eq!((done.status.code(), done.stdout.as_str()), (Some(4), "ok\nok\n"), "{ends}: {}", done.report());
        assert!(done.stderr.contains("2 of 3 messages were acknowledged, up to number 2"), "{ends}: {}", done.report());
    }
}

#[test]
fn one_that_reads_a_part_of_ten_megabytes_is_4() {
    // What it does when it has read 150 kB: goes, goes with a reset, ends its half and goes, ends its half and stays.
    for ends in ["end", "reset", "half", "half and stay"] {
        for framing in ["line", "whole"] {
            let (given_up, wait) = mpsc::channel::<()>();
            let (port, _serving) = peer(move |mut stream| {
                stream.read_exact(&mut vec![0; PART]).expect("read a part");
                match ends {
                    "end" => {}
                    "reset" => reset(stream),
                    _ => {
                        stream.shutdown(Shutdown::Write).expect("end the half");
                        if ends == "half and stay" {
                            let _ = wait.recv();
                        }
                    }
                }
            });
            let done = sends(MUCH, &port, &["--framing", framing, "--timeout", "500ms"]);
            drop(given_up);
            expect_error(&done, 4, &["acknowledged"]);
            if framing == "line" {
                let (acknowledged, sent) = counts(&done);
                // Sent is what was written, of which no more than the buffers hold can be out.
                assert!(acknowledged == 0 && (1..=MUCH / 100).contains(&usize::try_from(sent).unwrap_or(0)));
            }
        }
    }
}

#[test]
fn one_that_answers_a_part_of_ten_megabytes_is_4_and_the_count_is_right() {
    let (port, _serving) = peer(|mut stream| {
        for _ in 0..1000 {
            read_line(&mut stream);
        }
        stream.write_all(&b"ok\n".repeat(1000)).expect("answer");
    });
    let done = sends(MUCH, &port, &[]);
    assert_eq!(done.status.code(), Some(4), "{}", done.report());
    assert_eq!(done.stdout, "ok\n".repeat(1000));
    assert_eq!(counts(&done).0, 1000, "{}", done.report());
}

#[test]
fn one_that_reads_everything_and_never_answers_is_4() {
    let (port, _serving) = peer(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let done = client(&port, &["-m", "one", "-m", "two", "-m", "three", "--timeout", "300ms"]).finish();
    expect_error(&done, 4, &["none of 3 messages was acknowledged"]);
}

#[test]
fn a_whole_stream_is_acknowledged_by_an_answer_and_by_nothing_else() {
    let whole = ["--framing", "whole", "-m", "hello"];
    let (port, _serving) = peer(|mut stream| {
        stream.read_to_end(&mut Vec::new()).expect("read all");
    });
    expect_error(&client(&port, &whole).finish(), 4, &["not acknowledged"]);
    let (port, _serving) = peer(|mut stream| {
        stream.read_to_end(&mut Vec::new()).expect("read all");
        stream.write_all(b"half an ans").expect("answer");
        reset(stream);
    });
    expect_error(&client(&port, &whole).finish(), 4, &["not acknowledged"]);
    let (port, _serving) = peer(|mut stream| {
        stream.read_to_end(&mut Vec::new()).expect("read all");
        stream.write_all(b"a whole answer").expect("answer");
    });
    let done = client(&port, &whole).finish();
    expect_success(&done);
    assert_eq!(done.stdout, "a whole answer");
}

#[test]
fn one_that_never_stops_talking_does_not_keep_the_client() {
    let (port, _serving) = peer(|mut stream| while stream.write_all(&b"y\n".repeat(1000)).is_ok() {});
    let done = client(&port, &["-m", "hello"]).finish();
    expect_success(&done);
}

#[test]
fn an_answer_without_end_is_waited_for_no_longer_than_any() {
    let (given_up, wait) = mpsc::channel::<()>();
    let (port, _serving) = peer(move |mut stream| {
        // A byte now and then, each of which puts off the silence that would end the answer, until the client has given up.
        let pause = Duration::from_millis(50);
        while stream.write_all(b"x").is_ok() && wait.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {}
    });
    let done = client(&port, &["-m", "hello", "--timeout", "500ms"]).finish();
    drop(given_up);
    expect_error(&done, 4, &["no acknowledgement within 500ms"]);
}

#[test]
fn one_that_takes_nothing_is_not_waited_for_for_ever() {
    let (given_up, wait) = mpsc::channel::<()>();
    let (port, _serving) = peer(move |stream| {
        socket2::SockRef::from(&stream).set_recv_buffer_size(4096).expect("a small buffer");
        // The connection is held, and never read, until the client has given up.
        let _ = wait.recv();
    });
    let mut client = client(&port, &["--timeout", "300ms"]);
    client.send("a line that nobody reads\n".repeat(400_000));
    let done = client.wait();
    drop(given_up);
    assert_eq!(done.status.code(), Some(4), "{}", done.report());
}

#[test]
fn without_acknowledgements_an_orderly_end_is_success_and_a_reset_is_not() {
    let (port, _serving) = peer(|mut stream| {
        stream.read_to_end(&mut Vec::new()).expect("read all");
    });
    expect_success(&client(&port, &["--no-ack", "-m", "hello"]).finish());
    let (port, _serving) = peer(|mut stream| {
        read_line(&mut stream);
        reset(stream);
    });
    let done = client(&port, &["--no-ack", "-m", "hello"]).finish();
    assert_ne!(done.status.code(), Some(0), "{}", done.report());
    let (port, serving) = peer(|mut stream| {
        read_line(&mut stream);
        stream.shutdown(Shutdown::Read).expect("shut down");
        stream.read_to_end(&mut Vec::new()).expect("wait for the client's end");
        std::thread::park_timeout(Duration::from_secs(20));
    });
    let done = client(&port, &["--no-ack", "-m", "hello", "--timeout", "300ms"]).finish();
    expect_error(&done, 4, &["has not ended"]);
    serving.thread().unpark();
}

#[test]
fn without_acknowledgements_answers_are_shown_and_change_nothing() {
    let server = Launch::server(["-k", "127.0.0.1:0"]).start();
    let done = client(&server.port(), &["--no-ack", "-m", "one", "-m", "two"]).finish();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n".repeat(2));
    let (port, serving) = peer(|mut stream| {
        read_line(&mut stream);
        stream.write_all(b"ok\n").expect("answer");
        std::thread::park_timeout(Duration::from_secs(20));
    });
    let done = client(&port, &["--no-ack", "-m", "one", "-m", "two", "--timeout", "300ms"]).finish();
    assert_eq!((done.status.code(), done.stdout.as_str()), (Some(4), "ok\n"), "{}", done.report());
    assert!(done.stderr.contains("has not ended"), "{}", done.report());
    serving.thread().unpark();
}

#[test]
fn a_client_whose_output_nobody_reads_can_be_ended() {
    let (port, _serving) =
        peer(|mut stream| while stream.write_all(&[b'y'; 1000]).and_then(|()| stream.write_all(b"\n")).is_ok() {});
    // The reader of its output is there and reads nothing.
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("output");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("make a pipe with a name");
    let _output = std::fs::File::options().read(true).write(true).open(&path).expect("open the pipe with a name");
    let arguments = ["-c", "exec \"$0\" 127.0.0.1 \"$1\" --trace >output", env!("CARGO_BIN_EXE_client"), &port];
    let client = Launch::command("bash", arguments).directory(directory.path()).start();
    client.wait_for_stderr("recv(");
    client.signal(nix::sys::signal::Signal::SIGTERM);
    crate::harness::expect_signal(&client.wait(), nix::sys::signal::Signal::SIGTERM);
}
