//! The clients of assured delivery in other languages, `examples/other/`: each line of a file is in the server's store once, whatever ends in between.
//!
//! Apart from our own client: these show that the page of the protocol is all that one needs.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::harness::{Finished, Launch, Program, compile_example, expect_signal, expect_status, expect_success};

const SESSION: &str = "linesofafile0001";

/// A server, its store, and a file that is to be there.
struct Stage {
    directory: TempDir,
    server: Program,
    port: String,
}

/// Who delivers the file.
#[derive(Clone, Copy)]
enum Language {
    C,
    Python,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let server = serve(directory.path(), "0");
        let port = server.port();
        Self { directory, server, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Appends lines to the file.
    fn append(&self, text: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.path("lines"));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("append to the file");
    }

    fn deliver(&self, language: Language) -> Program {
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/other/assured_client.py");
        let launch = match language {
            Language::C => Launch::command(compile_example("assured_client"), ["127.0.0.1", &self.port, SESSION])
                .input(File::open(self.path("lines")).expect("open the file")),
            Language::Python => Launch::command("python3", [python, "127.0.0.1", &self.port, "lines"]).no_input(),
        };
        launch.directory(self.directory.path()).start()
    }

    fn deliver_all(&self, language: Language, lines: usize) {
        let done = self.deliver(language).wait();
        expect_success(&done);
        assert_eq!(done.stdout, format!("{lines} lines are stored\n"));
    }

    /// Ends the server at once while messages come, and starts it again.
    fn kill(&mut self, count: usize) {
        let follow = Launch::wilco(["messages", "store.db", "--raw", "--follow", "--since", "1h"]);
        let follow = follow.directory(self.directory.path()).no_input().start();
        follow.wait_for_stdout(&count.to_string());
        self.server.signal(Signal::SIGKILL);
        self.server.wait_for_exit();
        self.server = serve(self.directory.path(), &self.port);
    }

    #[track_caller]
    fn expect(&self, lines: &str) {
        let done = Launch::wilco(["messages", "store.db", "--raw"]).directory(self.directory.path());
        let done: Finished = done.no_input().start().wait();
        expect_success(&done);
        assert!(done.stdout == lines, "{} lines, and {} stored", lines.lines().count(), done.stdout.lines().count());
    }
}

fn serve(directory: &Path, port: &str) -> Program {
    let address = format!("127.0.0.1:{port}");
    let server = Launch::server(["-k", &address, "--store", "store.db"]).directory(directory).start();
    server.listening();
    server
}

fn lines(numbers: std::ops::RangeInclusive<usize>) -> String {
    numbers.map(|number| format!("{number}\n")).collect()
}

/// Delivered, delivered again, and with more lines, of which the last is not complete.
fn delivers_each_line_once(language: Language) {
    let stage = Stage::new();
    stage.append("one\n\nthree\n");
    stage.deliver_all(language, 3);
    stage.deliver_all(language, 3);
    stage.expect("one\n\nthree\n");
    stage.append("fo\rur\nfi");
    stage.deliver_all(language, 4);
    stage.append("ve\n");
    stage.deliver_all(language, 5);
    stage.expect("one\n\nthree\nfo\rur\nfive\n");
}

#[test]
fn c_delivers_each_line_once() {
    delivers_each_line_once(Language::C);
}

#[test]
fn python_delivers_each_line_once() {
    delivers_each_line_once(Language::Python);
}

#[test]
fn python_goes_on_by_itself_when_the_server_comes_again() {
    let mut stage = Stage::new();
    stage.append(&lines(1..=10_000));
    let client = stage.deliver(Language::Python);
    stage.kill(1000);
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "10000 lines are stored\n");
    stage.expect(&lines(1..=10_000));
}

#[test]
fn c_goes_on_when_it_is_run_again() {
    let mut stage = Stage::new();
    stage.append(&lines(1..=2000));
    let client = stage.deliver(Language::C);
    stage.kill(100);
    let done = client.wait();
    // It may have been done by then.
    if !done.status.success() {
        expect_status(&done, 4);
    }
    stage.deliver_all(Language::C, 2000);
    stage.expect(&lines(1..=2000));
}

#[test]
fn what_the_server_refuses_for_good_is_said() {
    for language in [Language::C, Language::Python] {
        let mut stage = Stage::new();
        stage.server.signal(Signal::SIGTERM);
        stage.server.wait_for_exit();
        let address = format!("127.0.0.1:{}", stage.port);
        let arguments = ["-k", &address, "--store", "store.db", "--max-message", "4"];
        let small = Launch::server(arguments).directory(stage.directory.path()).start();
        small.listening();
        expect_signal(&std::mem::replace(&mut stage.server, small).wait(), Signal::SIGTERM);
        stage.append("one\nlonger\ntwo\n");
        let done = stage.deliver(language).wait();
        expect_success(&done);
        assert!(done.stderr.contains("2 413"), "{}", done.report());
        stage.deliver_all(language, 3);
        stage.expect("one\ntwo\n");
        // A server that keeps nothing is none for them.
        stage.server.signal(Signal::SIGTERM);
        stage.server.wait_for_exit();
        stage.server = Launch::server(["-k", &address]).start();
        stage.server.listening();
        let done = stage.deliver(language).wait();
        assert!(!done.status.success() && done.stderr.contains("406"), "{}", done.report());
    }
}
