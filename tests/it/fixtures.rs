//! The harness itself, tried on programs that are not ours: the C fixtures with each other, the shell, the terminal.
//!
//! Apart, because when one of these fails, no other result of the integration tests means anything.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::harness::{
    DEADLINE, Families, Finished, Hosts, Launch, Terminal, compile_fixture, expect_error, expect_signal, expect_status,
    expect_success,
};

fn shell(script: &str) -> Launch {
    Launch::command("bash", ["-c", script])
}

#[test]
fn output_and_status_are_collected() {
    let mut cat = shell("cat; echo mistake >&2; exit 7").start();
    cat.send("some\n");
    cat.wait_for_stdout("some");
    cat.send("text");
    let done = cat.finish();
    expect_status(&done, 7);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("some\ntext", "mistake\n"));
}

#[test]
fn a_program_is_gone_when_it_is_dropped() {
    let sleeper = shell("exec sleep 1000").start();
    let process = format!("/proc/{}", sleeper.pid());
    assert!(std::fs::exists(&process).expect("look at the process"));
    drop(sleeper);
    assert!(!std::fs::exists(&process).expect("look at the process"));
}

#[test]
fn a_wait_for_what_cannot_come_fails_at_once_and_tells_what_came() {
    let start = Instant::now();
    let failure = std::thread::spawn(|| {
        let program = shell("echo something else; echo and an error >&2").start();
        program.wait_for_stdout("the words");
    });
    let failure = failure.join().expect_err("words that never come are a failure");
    let told = failure.downcast_ref::<String>().expect("a failure has a text");
    assert!(told.contains("the words") && told.contains("something else") && told.contains("and an error"), "{told}");
    assert!(start.elapsed() < DEADLINE, "waited although the program had ended");
}

#[test]
fn a_signal_is_seen_as_the_shell_sees_it() {
    let sleeper = shell("echo ready; exec sleep 1000").start();
    sleeper.wait_for_stdout("ready");
    sleeper.signal(Signal::SIGTERM);
    expect_signal(&sleeper.wait(), Signal::SIGTERM);
}

#[test]
fn a_terminal_is_one() {
    let mut program = shell("test -t 0 -a -t 1 -a -t 2 && read -p 'Say: ' word && echo \"<$word>\"; tty >/dev/tty")
        .terminal(Terminal::ALL)
        .start();
    program.wait_for_screen("Say: ");
    program.type_line("hello");
    let done = program.wait();
    expect_success(&done);
    assert!(done.stdout.starts_with("Say: hello\n<hello>\n/dev/pts/"), "{}", done.report());
}

#[test]
fn keys_of_a_terminal_are_signals() {
    let mut program = shell("echo ready; exec sleep 1000").terminal(Terminal::ALL).start();
    program.wait_for_screen("ready");
    program.send("\x03");
    expect_signal(&program.wait(), Signal::SIGINT);
}

#[test]
fn some_streams_can_be_a_terminal() {
    let script = "test -t 0 && echo stdin >&2; test -t 1 && echo stdout >&2; test -t 2 && echo stderr >&2; true";
    for (terminal, told) in [(Terminal::NONE, ""), (Terminal::STDIN, "stdin\n"), (Terminal::STDOUT, "stdout\n")] {
        let done = shell(script).terminal(terminal).start().finish();
        expect_success(&done);
        assert_eq!(done.stderr, told, "{terminal:?}");
    }
}

#[test]
fn the_judgement_of_errors_has_teeth() {
    let judge = |script: &'static str| {
        let done: Finished = shell(script).start().finish();
        std::thread::spawn(move || expect_error(&done, 3, &["refused"])).join()
    };
    assert!(judge("echo 'connect tcp:localhost:1: connection refused' >&2; exit 3").is_ok());
    for wrong in [
        "echo 'connection refused' >&2; exit 1",
        "echo 'connection refused'; exit 3",
        "echo 'it did not work' >&2; exit 3",
        "echo 'Error { kind: ConnectionRefused }' >&2; exit 3",
        "for i in 1 2 3; do echo 'connection refused' >&2; done; exit 3",
        "exit 3",
    ] {
        assert!(judge(wrong).is_err(), "accepted: {wrong}");
    }
}

#[test]
fn fixtures_are_compiled_once_for_all() {
    let paths: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| compile_fixture("client"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("compile the client")).collect()
    });
    assert!(paths.iter().all(|path| path == &paths[0] && path.exists()), "{paths:?}");
}

#[test]
fn the_tutorial_s_stream_pair() {
    let server = Launch::fixture("server", ["0"]).start();
    let mut client = Launch::fixture("client", ["127.0.0.1", &server.port()]).terminal(Terminal::ALL).start();
    client.wait_for_screen("Please enter the message: ");
    client.type_line("hello");
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "Please enter the message: hello\nI got your message\n");
    assert_eq!(server.wait().stdout, "Here is the message: hello\n\n");
}

#[test]
fn the_tutorial_s_datagram_pair() {
    let server = Launch::fixture("udp_server", ["0"]).start();
    let mut client = Launch::fixture("udp_client", ["127.0.0.1", &server.port()]).start();
    client.send("hello\n");
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "Please enter the message: Got an ack: Got your message\n");
    server.wait_for_stdout("Received a datagram: hello");
}

#[test]
fn the_tutorial_s_server_resets_after_a_message_it_did_not_read() {
    let server = Launch::fixture("server", ["0"]).start();
    let address = format!("TCP:127.0.0.1:{}", server.port());
    let mut client = Launch::command("ncat", ["127.0.0.1", address.rsplit(':').next().expect("a port")]).start();
    client.send([b'x'; 4000]);
    assert_eq!(server.wait().stdout, format!("Here is the message: {}\n", "x".repeat(255)));
    let done = client.finish();
    assert!(done.stderr.contains("reset"), "{}", done.report());
}

#[test]
fn two_hosts_reach_each_other_by_name() {
    let Some(hosts) = Hosts::new("two_hosts_reach_each_other_by_name", Families::Both) else { return };
    for family in ["-4", "-6"] {
        let server = Launch::command("nc", [family, "-v", "-l", "51717"]).on(&hosts.cheerios).start();
        server.wait_for_stderr("Listening on");
        let mut client = Launch::command("nc", [family, "-N", "cheerios", "51717"]).on(&hosts.desk).start();
        client.send("hello\n");
        expect_success(&client.finish());
        assert_eq!(server.wait().stdout, "hello\n");
    }
}
