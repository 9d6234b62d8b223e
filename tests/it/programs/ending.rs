//! How programs end that do not by themselves, or not yet: too long, too much, left behind, and the server's own end.
//!
//! Apart from what they answer, because here processes are looked at.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use super::{children, connect, is_running, send, server};
use crate::harness::{DEADLINE, Launch, Program, expect_error, expect_signal, expect_success};

#[track_caller]
fn wait_for_the_end_of(pid: &str) {
    let start = Instant::now();
    while is_running(pid) {
        assert!(start.elapsed() < DEADLINE, "the process {pid} still runs");
        std::thread::yield_now();
    }
}

#[test]
fn too_much_output_ends_it() {
    let (server, port) = server(&["--run", "yes", "--max-output", "1K"]);
    expect_error(&send(&port, "hello"), 4, &["wrote more than 1024 bytes"]);
    server.wait_for_stderr("wrote more than 1024 bytes");
    assert_eq!(children(server.pid()), Vec::<String>::new());
}

#[test]
fn what_it_has_started_is_ended_with_it() {
    // The second does not heed the first signal.
    for disobey in ["", "trap '' TERM; "] {
        let script = format!("({disobey}exec sleep 1000) & echo pid $! >&2; wait");
        let (server, port) = server(&["--sh", "--run", &script, "--process-timeout", "1s"]);
        let start = Instant::now();
        // On a machine that is busy it may be ended before it has started anything.
        while !server.stderr().contains(": pid ") {
            assert!(start.elapsed() < DEADLINE, "{}", server.stderr());
            expect_error(&send(&port, "hello"), 4, &["took longer"]);
        }
        let line = server.wait_for_stderr(": pid ");
        wait_for_the_end_of(line.rsplit(' ').next().expect("a number"));
    }
}

#[test]
fn something_left_behind_does_not_hold_up_the_answer() {
    let (_server, port) = server(&["--sh", "--run", "sleep 1000 & echo $!"]);
    let done = send(&port, "hello");
    expect_success(&done);
    let left = done.stdout.trim();
    assert!(is_running(left), "it was not ended by itself: {}", done.report());
    kill(Pid::from_raw(left.parse().expect("a process")), Signal::SIGKILL).expect("end what was left behind");
}

/// A server whose program has started another, which waits for a gate to open.
struct AtWork {
    server: Program,
    port: String,
    client: TcpStream,
    /// The number of that other.
    program: String,
    directory: tempfile::TempDir,
}

impl AtWork {
    fn new(option: &str) -> AtWork {
        let directory = tempfile::tempdir().expect("make a temporary directory");
        mkfifo(&directory.path().join("gate"), Mode::S_IRWXU).expect("make a pipe with a name");
        let script = format!(
            "cd {}; read m || exit; cat gate >/dev/null & echo pid $! >&2; wait; echo $m",
            directory.path().display()
        );
        let (server, port) = server(&["--sh", option, &script]);
        let mut client = connect(&port);
        client.write_all(b"hello\n").expect("send the message");
        let line = server.wait_for_stderr(": pid ");
        let program = line.rsplit(' ').next().expect("a number").to_owned();
        AtWork { server, port, client, program, directory }
    }

    /// Asks the server to stop, and returns when it has begun to: it no longer listens.
    fn stop(&self) {
        self.server.signal(Signal::SIGTERM);
        while Launch::command("nc", ["-z", "127.0.0.1", &self.port]).start().wait().status.success() {}
    }
}

fn open(gate: &Path) {
    fs::write(gate, "\n").expect("let the program go on");
}

#[test]
fn a_signal_lets_a_program_finish() {
    for (option, answer) in [("--run", "hello\n"), ("--exec", "hello\n")] {
        let mut work = AtWork::new(option);
        work.stop();
        open(&work.directory.path().join("gate"));
        let mut answers = String::new();
        work.client.read_to_string(&mut answers).expect("read the answer to the end");
        assert_eq!(answers, answer, "{option}");
        expect_signal(&work.server.wait(), Signal::SIGTERM);
        assert!(!is_running(&work.program));
    }
}

#[test]
fn a_second_signal_ends_a_program_too() {
    for option in ["--run", "--exec"] {
        let work = AtWork::new(option);
        work.stop();
        work.server.signal(Signal::SIGTERM);
        expect_signal(&work.server.wait(), Signal::SIGTERM);
        wait_for_the_end_of(&work.program);
    }
}
