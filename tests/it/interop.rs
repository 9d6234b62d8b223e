//! nc, ncat and socat at the other end, over every kind of socket that each of them has.
//!
//! Apart from the peers that misbehave: these do nothing wrong. They acknowledge what somebody types into them and nothing
//! else, and so a message has to be a success with the one and none without.

use std::process::Command;

use crate::harness::{Finished, Launch, Program, expect_error, expect_success};

/// One that listens: its command, what it says when it is ready, and the address by which we reach it. `PORT` is the port that
/// it got, `PATH` a path and `NAME` an abstract name of the test's own.
const LISTENING: [(&str, &str, &str); 18] = [
    ("nc -v -N -l 127.0.0.1 0", "Listening on", "tcp:127.0.0.1:PORT"),
    ("ncat -v -l 127.0.0.1 0", "Listening on", "tcp:127.0.0.1:PORT"),
    ("socat -dd TCP-LISTEN:0,bind=127.0.0.1 -", "listening on", "tcp:127.0.0.1:PORT"),
    ("nc -v -l -u 127.0.0.1 0", "Bound on", "udp:127.0.0.1:PORT"),
    ("ncat -v -l -u 127.0.0.1 0", "Listening on", "udp:127.0.0.1:PORT"),
    ("socat -dd UDP-LISTEN:0,bind=127.0.0.1 -", "listening on", "udp:127.0.0.1:PORT"),
    ("nc -v -N -l -U PATH", "Listening on", "unix:PATH"),
    ("ncat -v -l -U PATH", "Listening on", "unix:PATH"),
    ("socat -dd UNIX-LISTEN:PATH -", "listening on", "unix:PATH"),
    ("nc -v -N -l -U @NAME", "Listening on", "unix:@NAME"),
    ("socat -dd ABSTRACT-LISTEN:NAME -", "listening on", "unix:@NAME"),
    ("nc -v -l -u -U PATH", "Bound on", "unix-dgram:PATH"),
    ("ncat -v -l -u -U PATH", "Listening on", "unix-dgram:PATH"),
    ("socat -ddd UNIX-RECVFROM:PATH -", "receiving on", "unix-dgram:PATH"),
    ("nc -v -l -u -U @NAME", "Bound on", "unix-dgram:@NAME"),
    ("socat -ddd ABSTRACT-RECVFROM:NAME -", "receiving on", "unix-dgram:@NAME"),
    ("socat -dd UNIX-LISTEN:PATH,type=5 -", "listening on", "unix-seqpacket:PATH"),
    ("socat -dd ABSTRACT-LISTEN:NAME,type=5 -", "listening on", "unix-seqpacket:@NAME"),
];

/// One that connects: its command and the address on which we listen.
const CONNECTING: [(&str, &str); 20] = [
    ("nc -N 127.0.0.1 PORT", "tcp:127.0.0.1:0"),
    ("ncat 127.0.0.1 PORT", "tcp:127.0.0.1:0"),
    ("socat -t20 - TCP:127.0.0.1:PORT", "tcp:127.0.0.1:0"),
    ("nc -N ::1 PORT", "tcp:[::1]:0"),
    ("nc -u 127.0.0.1 PORT", "udp:127.0.0.1:0"),
    ("ncat -u 127.0.0.1 PORT", "udp:127.0.0.1:0"),
    ("socat -t20 - UDP:127.0.0.1:PORT", "udp:127.0.0.1:0"),
    ("nc -N -U PATH", "unix:PATH"),
    ("ncat -U PATH", "unix:PATH"),
    ("socat -t20 - UNIX-CONNECT:PATH", "unix:PATH"),
    ("nc -N -U @NAME", "unix:@NAME"),
    ("socat -t20 - ABSTRACT-CONNECT:NAME", "unix:@NAME"),
    ("nc -u -U PATH", "unix-dgram:PATH"),
    ("ncat -u -U PATH", "unix-dgram:PATH"),
    ("socat -t20 - UNIX-SENDTO:PATH,bind=PATH.client", "unix-dgram:PATH"),
    ("nc -u -U @NAME", "unix-dgram:@NAME"),
    ("socat -t20 - ABSTRACT-SENDTO:NAME,bind=NAME-client", "unix-dgram:@NAME"),
    ("socat -t20 - UNIX-CONNECT:PATH,type=5", "unix-seqpacket:PATH"),
    ("socat -t20 - ABSTRACT-CONNECT:NAME,type=5", "unix-seqpacket:@NAME"),
    ("ncat --send-only 127.0.0.1 PORT", "tcp:127.0.0.1:0"),
];

/// Names that nothing else has.
struct Names {
    directory: tempfile::TempDir,
    name: String,
}

impl Names {
    fn new(test: &str, row: usize) -> Names {
        let directory = tempfile::tempdir().expect("make a temporary directory");
        Names { directory, name: format!("wilco-{}-{test}-{row}", std::process::id()) }
    }

    /// Puts them, and the port, where a row of a table has the words for them.
    fn put(&self, text: &str, port: &str) -> String {
        let path = self.directory.path().join("socket");
        text.replace("PATH", &path.display().to_string()).replace("NAME", &self.name).replace("PORT", port)
    }

    /// Starts one of the others; nc makes its socket for datagrams in the directory that TMPDIR names.
    fn start(&self, command: &str, port: &str) -> Program {
        let command = self.put(command, port);
        let mut words = command.split(' ');
        let program = words.next().expect("a program");
        Launch::command(program, words).directory(self.directory.path()).start()
    }
}

/// The port that a process is bound to, as the kernel has it: ncat says which was asked for.
fn bound_port(pid: u32) -> String {
    let shown = Command::new("ss").args(["-Hltunp"]).output().expect("run ss");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = shown.lines().find(|line| line.contains(&format!("pid={pid},"))).expect("a listening socket");
    let address = line.split_whitespace().nth(4).expect("a local address");
    address.rsplit(':').next().expect("a port").to_owned()
}

/// Sends `hello` to each that listens, and has `answer` done once it is there.
fn send_to_each(test: &str, options: &[&str], answer: impl Fn(&mut Program), judge: impl Fn(&Finished)) {
    for (row, (command, ready, address)) in LISTENING.into_iter().enumerate() {
        let names = Names::new(test, row);
        let mut server = names.start(command, "");
        server.wait_for_stderr(ready);
        let port = if address.contains("PORT") { bound_port(server.pid()) } else { String::new() };
        let address = names.put(address, &port);
        let client = Launch::client([&*address, "-m", "hello"].iter().chain(options)).no_input().start();
        server.wait_for_screen("hello");
        answer(&mut server);
        judge(&client.wait());
    }
}

#[test]
fn one_that_listens_and_answers_has_acknowledged() {
    send_to_each(
        "answers",
        &[],
        |server| server.send("ok\n"),
        |done| {
            expect_success(done);
            assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("ok\n", ""), "{}", done.report());
        },
    );
}

#[test]
fn one_that_listens_and_only_shows_has_not() {
    send_to_each(
        "shows",
        &["--timeout", "300ms"],
        |_| (),
        |done| {
            expect_error(done, 4, &["not acknowledged"]);
        },
    );
}

#[test]
fn one_that_connects_is_acknowledged() {
    for (row, (command, address)) in CONNECTING.into_iter().enumerate() {
        let names = Names::new("connects", row);
        let server = Launch::server([names.put(address, "")]).start();
        let port = server.listening().rsplit(':').next().expect("a port").to_owned();
        let mut client = names.start(command, &port);
        client.send("hello\n");
        // What it shows has come over the socket; that one shows nothing is its --send-only.
        if !command.contains("--send-only") {
            client.wait_for_screen("I got your message");
        }
        client.close_stdin();
        let done = server.wait();
        expect_success(&done);
        // Where a newline ends no message it is part of it.
        let shown = if address.starts_with("tcp") || address.starts_with("unix:") { "hello\n" } else { "hello\n\n" };
        assert_eq!(done.stdout, shown, "{command}: {}", done.report());
    }
}
