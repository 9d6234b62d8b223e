//! Files that a server saves: the words of the protocol by hand, and what is then in the directory, whatever happens to either side.
//!
//! Apart from messages. Nothing here uses our own client: another program that speaks the protocol must find all of this.

mod disks;
mod talk;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::assured_server::transcripts;
use crate::harness::{Launch, Program, expect_error, expect_signal, expect_success};
use talk::{Talk, connect, sha256};

/// A server that saves files in a new directory.
struct Saving {
    directory: TempDir,
    options: Vec<String>,
    server: Program,
}

impl Saving {
    fn new(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let server = start(&directory, &options);
        Self { directory, options, server }
    }

    /// Ends the server at once, and starts another.
    fn kill(self) -> Self {
        self.server.signal(Signal::SIGKILL);
        expect_signal(&self.server.wait(), Signal::SIGKILL);
        let server = start(&self.directory, &self.options);
        Self { server, ..self }
    }

    fn open(&self, session: &str) -> Talk {
        talk::open(&self.server.port(), session)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("list");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn start(directory: &TempDir, options: &[String]) -> Program {
    let path = directory.path().to_str().expect("a path");
    let own = ["127.0.0.1:0", "--name", "alpha", "-v", "--save", path].map(str::to_owned);
    Launch::server(own.iter().chain(options)).start()
}

#[test]
fn the_server_says_what_the_page_of_the_protocol_has_of_files() {
    let saving = Saving::new(&[]);
    let transcripts = transcripts::transcripts(include_str!("../../docs/protocol.md"), "```wilco-files");
    assert_eq!(transcripts.len(), 2, "the page has other sessions than it had");
    for transcript in transcripts {
        transcripts::expect(transcript, connect(&saving.server.port()));
    }
    assert_eq!(fs::read(saving.path("notes/first one")).expect("it is there"), b"hello there");
}

#[test]
fn names_of_what_was_saved_are_lines_and_events() {
    let saving = Saving::new(&[]);
    let mut talk = saving.open("a0000000000000001");
    talk.send_file("a/b", b"one");
    talk.send_file("b%0Aforged", b"two");
    talk.send_file("a/b", b"another");
    saving.server.wait_for_stdout("b\\x0aforged");
    saving.server.wait_for_stderr("a/b begins, 3 bytes");
    saving.server.signal(Signal::SIGTERM);
    let done = saving.server.wait();
    assert_eq!(done.stdout, "a/b\nb\\x0aforged\n");

    let saving = Saving::new(&["--json"]);
    saving.open("a0000000000000001").send_file("a%20b", b"one");
    let line = saving.server.wait_for_stdout("saved");
    let digest = sha256(b"one");
    assert!(line.contains("\"event\":\"saved\""), "{line}");
    assert!(line.contains(&format!("\"path\":\"a b\",\"size\":3,\"sha256\":\"{digest}\"")), "{line}");
}

#[test]
fn a_server_that_was_killed_goes_on_where_the_file_was() {
    let mut saving = Saving::new(&[]);
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut sent = 0;
    let mut rounds = 0;
    while sent < bytes.len() {
        let mut talk = saving.open(&format!("b{rounds:016}"));
        let at = talk.ask(&format!("put {} file", bytes.len()));
        let at: usize = at.strip_prefix("at ").expect("an offset").parse().expect("a number");
        assert!(at >= sent, "{at} is less than the {sent} that were acknowledged");
        assert_eq!(talk.ask(&format!("hash {at}")), format!("hash {at} {}", sha256(&bytes[..at])));
        talk.say(format!("from {at}"));
        for part in bytes[at..].chunks(100_000).take(3) {
            talk.say([b"data\n", part].concat());
            sent = at.max(sent) + part.len();
        }
        talk.hear_acknowledged();
        // What is not acknowledged may be there or not.
        talk.say([b"data\n", &b"x"[..0]].concat());
        if sent >= bytes.len() {
            talk.say(format!("end {}", sha256(&bytes)));
            assert_eq!(talk.hear_answer(), format!("saved {} {}", bytes.len(), sha256(&bytes)));
        }
        saving = saving.kill();
        sent = sent.min(bytes.len());
        rounds += 1;
    }
    assert!(fs::read(saving.path("file")).expect("it is there") == bytes);
    assert_eq!(saving.names(), ["file"]);
    // Whoever has not heard the last answer asks again.
    let mut talk = saving.open("c0000000000000001");
    assert_eq!(talk.ask(&format!("put {} file", bytes.len())), format!("at {}", bytes.len()));
    talk.ask(&format!("hash {}", bytes.len()));
    talk.say(format!("from {}", bytes.len()));
    assert_eq!(talk.ask(&format!("end {}", sha256(&bytes))), format!("saved {} {}", bytes.len(), sha256(&bytes)));
}

#[test]
fn a_server_that_is_stopped_leaves_what_has_come() {
    let saving = Saving::new(&[]);
    let mut talk = saving.open("d0000000000000001");
    talk.ask("put 10 file");
    talk.say("from 0");
    talk.say("data\nhello");
    talk.hear_acknowledged();
    saving.server.signal(Signal::SIGTERM);
    talk.expect_end("BYE 3 drain");
    expect_signal(&saving.server.wait(), Signal::SIGTERM);
    assert_eq!(fs::read(saving.directory.path().join(".file.part")).expect("it is there"), b"hello");
}

#[test]
fn nothing_is_written_outside_and_nothing_is_replaced() {
    let saving = Saving::new(&[]);
    let outside = tempfile::tempdir().expect("a directory");
    symlink(outside.path(), saving.path("link")).expect("a link");
    symlink(outside.path().join("file"), saving.path("file")).expect("a link");
    fs::write(saving.path("kept"), b"kept").expect("a file");
    let mut talk = saving.open("e0000000000000001");
    for (name, why) in [
        ("../file", "400 the name has a part that is . or .."),
        ("%2Ftmp/file", "400 the name is empty, absolute, or has an empty part"),
        ("link/file", "422 link in link/file is no directory"),
        ("file", "422 file is there already, and is a link"),
        ("kept", "422 kept is there already; the server does not overwrite"),
    ] {
        assert_eq!(talk.ask(&format!("put 5 {name}")), why);
        talk.say("from 0");
        talk.say("data\nhello");
        assert_eq!(talk.ask(&format!("end {}", sha256(b"hello"))), "422 the file was refused");
    }
    assert_eq!(fs::read_dir(outside.path()).expect("list").count(), 0);
    assert_eq!(fs::read(saving.path("kept")).expect("it is there"), b"kept");
    let saving = Saving { options: vec!["--overwrite".to_owned()], ..saving }.kill();
    saving.open("e0000000000000002").send_file("kept", b"replaced");
    assert_eq!(fs::read(saving.path("kept")).expect("it is there"), b"replaced");
}

#[test]
fn of_two_who_send_one_file_one_waits_until_the_other_is_gone() {
    let saving = Saving::new(&[]);
    let mut first = saving.open("f0000000000000001");
    first.ask("put 10 file");
    first.say("from 0");
    first.say("data\nhello");
    first.hear_acknowledged();
    let mut second = saving.open("f0000000000000002");
    assert_eq!(second.ask("put 10 file"), "R 1000 503 file comes from another just now");
    drop(first);
    // It may take the server a moment to see that.
    while second.again("put 10 file") != "at 5" {}
    second.ask("hash 5");
    second.say("from 5");
    second.say("data\nthere");
    assert!(second.ask(&format!("end {}", sha256(b"hellothere"))).starts_with("saved 10 "));
    // Its session is gone with its file.
    let mut first = connect(&saving.server.port());
    first.write_all(b"WILCO/1 OPEN sid=f0000000000000001 first=4 next=5 ack=save reply=1\n").expect("open");
    let mut said = String::new();
    first.read_to_string(&mut said).expect("an answer");
    assert!(said.starts_with("E 410 never "), "{said}");
}

#[test]
fn who_has_no_files_is_told_so() {
    let saving = Saving::new(&[]);
    let address = format!("tcp:127.0.0.1:{}", saving.server.port());
    let done = Launch::client([address.as_str(), "-m", "hello"]).no_input().start().wait();
    assert!(done.stderr.contains("this server takes files"), "{}", done.report());
    assert!(!done.status.success());
    let exchange = |said: &str| {
        let mut stream = connect(&saving.server.port());
        stream.write_all(said.as_bytes()).expect("say it");
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("an answer");
        heard
    };
    let open = "WILCO/1 OPEN sid=0123456789abcdef first=1 next=2";
    assert_eq!(exchange(&format!("{open}\n")), "E 406 never the server takes files, and no messages\n");
    assert_eq!(
        exchange(&format!("{open} ack=save\n")),
        "E 406 never whoever sends files wants the replies (reply=1)\n"
    );
}

#[test]
fn a_directory_that_is_none_is_a_mistake_with_a_way_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("in");
    let run = |arguments: &[&str]| Launch::server(["127.0.0.1:0"].iter().chain(arguments)).start().wait();
    let missing = missing.to_str().expect("a path");
    expect_error(&run(&["--save", missing]), 2, &["there is no directory", "mkdir -p"]);
    fs::write(missing, b"").expect("a file");
    expect_error(&run(&["--save", missing]), 2, &["is no directory"]);
    expect_error(&run(&["--overwrite"]), 2, &["--save"]);
    let help = Launch::server(["--help"]).start().wait();
    expect_success(&help);
    assert!(help.stdout.contains("--keep-parts"));
}
