//! Sessions whose messages go to a handler: displayed, answered, given to a program.

use super::talk::{open, open_with};
use nix::sys::signal::Signal;

use crate::harness::{Launch, Program, expect_signal};

const SID: &str = "a123456789abcdef";

fn server(options: &[&str]) -> (Program, String) {
    let server = Launch::server(["127.0.0.1:0", "-k", "--allow-root"].iter().chain(options)).start();
    let port = server.port();
    (server, port)
}

/// A server that runs a script for each message.
fn running(script: &str) -> (Program, String) {
    server(&["--sh", "--run", script])
}

#[test]
fn messages_are_displayed_once_while_the_server_lives() {
    let (server, port) = server(&[]);
    let mut talk = open(&port, SID, 1, 4);
    talk.say("M 1 3\none\nM 2 3\ntwo\n");
    talk.expect_acknowledged(2);
    drop(talk);
    let mut talk = open(&port, SID, 1, 4);
    assert!(talk.granted().starts_with("acked=2 "), "{}", talk.granted());
    talk.say("M 1 3\none\nM 2 3\ntwo\nM 3 5\nthree\nBYE\n");
    talk.expect_acknowledged(3);
    talk.expect("BYE 3");
    server.wait_for_screen("three\n");
    assert_eq!(server.screen(), "one\ntwo\nthree\n");
    // A server that has just been started begins where its client is.
    let talk = open(&port, "b123456789abcdef", 70, 75);
    assert_eq!(talk.granted(), "acked=69 crc=-");
}

#[test]
fn a_server_for_one_conversation_ends_with_a_session() {
    let server = Launch::server(["127.0.0.1:0"]).start();
    let port = server.port();
    // Without a message it was none.
    let mut talk = open(&port, SID, 1, 1);
    talk.say("BYE\n");
    talk.expect("BYE 0");
    talk.expect_end();
    let mut talk = open(&port, SID, 1, 2);
    talk.say("M 1 3\none\nBYE\n");
    talk.expect_acknowledged(1);
    talk.expect("BYE 1");
    talk.expect_end();
    drop(talk);
    let done = server.wait();
    crate::harness::expect_success(&done);
    assert_eq!(done.stdout, "one\n");
}

#[test]
fn replies_come_before_what_acknowledges_them_and_again_until_they_are_noted() {
    let (_server, port) = running("tr a-z A-Z");
    let mut talk = open_with(&port, SID, 1, 3, " reply=1");
    talk.say("M 1 3\none\nM 2 3\ntwo\n");
    for (number, body) in [(1, "ONE"), (2, "TWO")] {
        talk.expect(&format!("D {number} 3"));
        assert_eq!(talk.hear_body(3), body.as_bytes());
        talk.expect(&format!("A {number}"));
    }
    talk.say("K 1\n");
    talk.say("PING x\n");
    talk.expect("PONG x");
    drop(talk);
    let mut talk = open_with(&port, SID, 2, 3, " reply=1");
    assert!(talk.granted().starts_with("acked=1 "), "{}", talk.granted());
    talk.expect("D 2 3");
    assert_eq!(talk.hear_body(3), b"TWO");
    talk.expect("A 2");
}

#[test]
fn the_verdict_of_a_program_is_told_and_a_repeat_has_the_same_id() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let once = directory.path().join("once");
    let script = format!(
        "read -r m; echo $m $MSG_ID $MSG_SEQ $MSG_TRY >> {log}
         case $m in
           bad) echo no >&2; exit 65;;
           later) test -e {once} || {{ touch {once}; echo busy >&2; exit 75; }};;
           crash) kill -9 $$;;
         esac",
        log = log.display(),
        once = once.display()
    );
    let (_server, port) = running(&script);
    let mut talk = open(&port, SID, 1, 6);
    talk.say("M 1 4\ngood\nM 2 3\nbad\nM 3 5\nlater\nM 4 4\nlast\n");
    talk.expect("A 1");
    talk.expect("N 2 422 no");
    talk.expect("A 2");
    talk.expect("R 3 1000 503 busy");
    talk.say("M 3 5\nlater\nM 4 4\nlast\n");
    talk.expect("A 3");
    talk.expect("A 4");
    talk.say("M 5 5\ncrash\n");
    talk.expect_start("R 5 1000 503 ended by SIGKILL");
    let sid = SID;
    let said = std::fs::read_to_string(&log).expect("what the programs were told");
    assert_eq!(
        said,
        format!(
            "good {sid}:1 1 1\nbad {sid}:2 2 1\nlater {sid}:3 3 1\nlater {sid}:3 3 2\nlast {sid}:4 4 1\ncrash {sid}:5 5 1\n"
        )
    );
}

#[test]
fn a_program_that_is_running_is_let_finish_when_its_client_goes() {
    for is_reset in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        let [begun, go, done] = ["begun", "go", "done"].map(|name| directory.path().join(name));
        for pipe in [&begun, &go] {
            nix::unistd::mkfifo(pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        }
        let (begins, goes, does) = (begun.display(), go.display(), done.display());
        let (server, port) =
            server(&["-v", "--sh", "--run", &format!("echo > {begins}; read -r x < {goes}; echo x >> {does}")]);
        let mut talk = open(&port, SID, 1, 2);
        talk.say("M 1 3\none\n");
        std::fs::read(&begun).expect("it runs");
        if is_reset {
            talk.reset();
            server.wait_for_stderr("reset");
        } else {
            drop(talk);
        }
        // Another takes the session over, and waits for the program.
        let newer = std::thread::spawn(move || open(&port, SID, 1, 2).granted());
        // Open for both, so that it does not wait for a program that is not there any more.
        let mut pipe = std::fs::OpenOptions::new().read(true).write(true).open(&go).expect("open the pipe");
        std::io::Write::write_all(&mut pipe, b"x\n").expect("let it go on");
        let granted = newer.join().expect("opened");
        assert!(granted.starts_with("acked=1 "), "{granted}");
        assert_eq!(std::fs::read_to_string(&done).expect("what it did"), "x\n");
    }
}

#[test]
fn sigterm_lets_the_program_finish_and_puts_the_rest_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    for name in ["begun", "go"] {
        nix::unistd::mkfifo(&path(name), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    }
    let (server, port) = running(&format!("echo > {}; read -r x < {}", path("begun").display(), path("go").display()));
    let mut idle = open(&port, "c123456789abcdef", 1, 1);
    let mut talk = open(&port, SID, 1, 9);
    talk.say("M 1 1\na\nM 2 1\nb\nM 3 1\nc\n");
    std::fs::read(path("begun")).expect("it runs");
    server.signal(Signal::SIGTERM);
    // Once this one is told, the server knows: before that it might begin the next message, which nobody would let go on.
    idle.expect("BYE 0 drain");
    std::fs::write(path("go"), "x\n").expect("let it go on");
    talk.expect("A 1");
    let mut line = talk.hear();
    if line.starts_with("R 2 ") {
        line = talk.hear();
    }
    assert_eq!(line, "BYE 1 drain");
    talk.expect_end();
    drop(talk);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn the_framing_read_and_whole_connections_have_no_sessions() {
    let opening = format!("WILCO/1 OPEN sid={SID} first=1 next=1\n");
    for (options, answer) in
        [(&["--framing", "read"][..], "I got your message"), (&["--exec", "cat"], opening.trim_end())]
    {
        let (_server, port) = server(options);
        let mut talk = super::talk::connect(&port);
        talk.say(&opening);
        talk.expect(answer);
    }
}
