//! `wilco work`: a command for each stored message, at least once, with the same id each time; in order where one runs at once, and with its dead letters known.
//!
//! Apart from programs that a server runs: here nobody waits for an answer, and what is checked is what the commands have seen.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{DEADLINE, Finished, Launch, Program, expect_error, expect_signal, expect_status, expect_success};

/// A directory with a store in it.
struct Stage {
    directory: TempDir,
    server: Program,
    port: String,
}

impl Stage {
    /// A store of these lines, which were sent assured.
    fn new(lines: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let server = Launch::server(["127.0.0.1:0", "--store", "s.db"]).directory(directory.path()).start();
        let port = server.port();
        let stage = Self { directory, server, port };
        stage.store(lines);
        stage
    }

    /// Starts the server anew, and does something to the files between.
    fn restart(&mut self, between: impl FnOnce(&Path)) {
        self.server.signal(Signal::SIGTERM);
        self.server.wait_for_exit();
        between(self.path());
        self.server = Launch::server(["127.0.0.1:0", "--store", "s.db"]).directory(self.path()).start();
        self.port = self.server.port();
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn store(&self, lines: &str) {
        if !lines.is_empty() {
            let mut client = Launch::client(["--assured", "127.0.0.1", &self.port]).start();
            client.send(lines);
            expect_success(&client.finish());
        }
    }

    fn launch(&self, arguments: &[&str]) -> Launch {
        Launch::wilco(["work", "s.db"].iter().chain(arguments).copied()).directory(self.path()).no_input()
    }

    /// Runs a line of the shell for each message.
    fn work(&self, line: &str, more: &[&str]) -> Launch {
        self.launch(&[&["--allow-root", "--sh", "--run", line], more].concat())
    }

    fn drained(&self, line: &str, more: &[&str]) -> Finished {
        self.work(line, &[&["--drain"], more].concat()).start().wait()
    }

    fn status(&self) -> Value {
        let done = self.launch(&["--status", "--json"]).start().wait();
        expect_success(&done);
        serde_json::from_str(&done.stdout).expect("JSON")
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn numbers(count: usize) -> String {
    (1..=count).map(|number| format!("{number}\n")).collect()
}

#[test]
fn one_worker_does_all_in_order_and_goes_on_where_it_was() {
    let stage = Stage::new(&numbers(30));
    let done = stage.drained("cat", &[]);
    expect_success(&done);
    assert_eq!(done.stdout, numbers(30));
    assert!(done.stderr.contains("30 done, 0 dead letters"), "{}", done.report());
    stage.store("next\n");
    let done = stage.drained("cat", &[]);
    assert_eq!(done.stdout, "next\n");
    let status = stage.status();
    assert_eq!((&status["done"], &status["waiting"], &status["dead"]), (&31.into(), &0.into(), &0.into()));
    // Other work has its own progress, and messages are chosen as they are shown.
    let done = stage.drained("cat; echo", &["--name", "other", "--search", "1", "--exact", "--state", "elsewhere"]);
    assert_eq!(done.stdout.lines().collect::<Vec<_>>().join(" "), "1 10 11 12 13 14 15 16 17 18 19 21");
    let done = stage.drained("cat", &["--name", "other", "--state", "elsewhere"]);
    expect_error(&done, 2, &["elsewhere is of work over", "--search \"1\"", "--name"]);
}

#[test]
fn several_workers_do_all_once() {
    let stage = Stage::new(&numbers(60));
    let line = "read n; echo $n >> begun; [ -e both ] || { [ $(wc -l < begun) -lt 4 ] || touch both; \
                until [ -e both ]; do sleep 0.01; done; }; echo $n $n";
    // The first four wait for each other.
    let done = stage.drained(line, &["--workers", "4"]);
    expect_success(&done);
    let mut lines: Vec<_> = done.stdout.lines().map(str::to_owned).collect();
    lines.sort_by_key(|line| line.split_once(' ').and_then(|(number, _)| number.parse::<usize>().ok()));
    assert_eq!(lines, (1..=60).map(|number| format!("{number} {number}")).collect::<Vec<_>>());
}

#[test]
fn a_command_knows_its_message() {
    let stage = Stage::new("assured\n");
    expect_success(&Launch::client(["127.0.0.1", &stage.port, "-m", "plain"]).no_input().start().wait());
    let done =
        stage.drained("read text; echo $text $MSG_ID $MSG_SEQ $MSG_LEN $MSG_TRY $MSG_PLACE $NCAT_REMOTE_ADDR", &[]);
    let listing = Launch::wilco(["messages", "s.db", "--json"]).directory(stage.path()).no_input().start().wait();
    let first: Value = serde_json::from_str(listing.stdout.lines().next().expect("a line")).expect("JSON");
    let session = first["session"].as_str().expect("a session");
    let expected = format!("assured {session}:1 1 7 1 1 127.0.0.1\nplain place:2 1 5 1 2 127.0.0.1\n");
    assert_eq!(done.stdout, expected, "{}", done.report());
}

#[test]
fn what_is_refused_is_a_dead_letter_until_it_is_tried_again() {
    let stage = Stage::new(&numbers(3));
    let line = "read n; [ $n != 2 ] || { echo no such article >&2; exit 65; }; echo $n";
    let done = stage.drained(line, &[]);
    expect_status(&done, 5);
    assert_eq!(done.stdout, "1\n3\n");
    assert!(done.stderr.contains(":2 is a dead letter: no such article"), "{}", done.report());
    let dead = stage.launch(&["--dead", "--json"]).start().wait();
    let letter: Value = serde_json::from_str(&dead.stdout).expect("JSON");
    assert_eq!(
        (&letter["id"], &letter["text"], &letter["reason"]),
        (&2.into(), &"2".into(), &"no such article".into())
    );
    let shown = stage.launch(&["--status"]).start().wait();
    assert!(shown.stdout.contains("2 done, 0 begun, 0 wait\n1 dead letter: --dead"), "{}", shown.report());
    // With several workers so, too; and what fails long enough.
    let done = stage.drained("read n; [ $n != 1 ] || exit 3", &["--name", "n", "--workers", "2", "--max-tries", "1"]);
    expect_status(&done, 5);
    assert!(done.stderr.contains(":1 is a dead letter: exit status 3"), "{}", done.report());
    let retried = stage.launch(&["--retry-dead"]).start().wait();
    assert_eq!(retried.stdout, "1 dead letter is tried again by the next that works\n");
    let done = stage.drained("read n; echo $n $MSG_TRY", &[]);
    expect_success(&done);
    assert_eq!(done.stdout, "2 1\n");
}

#[test]
fn what_is_put_off_is_tried_again_in_its_turn() {
    let stage = Stage::new(&numbers(3));
    let line = "read n; echo $n $MSG_TRY; [ $n$MSG_TRY != 21 ] || { echo full >&2; exit 75; }";
    let done = stage.drained(line, &["-v"]);
    expect_success(&done);
    // What a command has written that is not done is not shown.
    assert_eq!(done.stdout, "1 1\n2 2\n3 1\n");
    assert!(done.stderr.contains(":2 is put off for") && done.stderr.contains("full"), "{}", done.report());
}

#[test]
fn what_ran_when_it_was_killed_is_run_again_with_the_same_id() {
    let stage = Stage::new(&numbers(3));
    let line = "read n; echo $n $MSG_ID $MSG_TRY >> runs; [ $n != 2 ] || [ -e go ] || sleep 30";
    for round in 1..=3 {
        let working = stage.work(line, &[]).start();
        working.wait_for_stderr("working on");
        until("the command for 2 was begun", || stage.lines("runs").len() == 1 + round);
        if round == 1 {
            let status = stage.status();
            assert_eq!(status["pid"], working.pid());
            until("that is kept", || stage.status()["running"] == 1);
            let second = stage.drained("cat", &[]);
            expect_error(&second, 2, &[&format!("in use by process {}", working.pid()), "--workers"]);
        }
        until("that is kept", || stage.status()["running"] == 1);
        working.signal(Signal::SIGKILL);
        working.wait_for_exit();
    }
    fs::write(stage.path().join("go"), "").expect("written");
    expect_success(&stage.drained(line, &[]));
    let runs = stage.lines("runs");
    let id = runs[0].split(' ').nth(1).expect("an id").trim_end_matches('1').to_owned();
    let expected: Vec<_> =
        ["1 ID1 1", "2 ID2 1", "2 ID2 2", "2 ID2 3", "2 ID2 4", "3 ID3 1"].map(|run| run.replace("ID", &id)).into();
    assert_eq!(runs, expected);
}

#[test]
fn a_signal_lets_the_command_in_hand_finish() {
    let stage = Stage::new(&numbers(3));
    let line = "read n; echo $n >> begun; until [ -e go ]; do sleep 0.01; done; echo $n";
    let working = stage.work(line, &[]).start();
    until("a command was begun", || !stage.lines("begun").is_empty());
    working.signal(Signal::SIGTERM);
    fs::write(stage.path().join("go"), "").expect("written");
    let done = working.wait();
    expect_signal(&done, Signal::SIGTERM);
    assert_eq!((done.stdout.as_str(), stage.lines("begun").len()), ("1\n", 1));
    assert_eq!(stage.status()["waiting"], 2);
    // A second one ends the command.
    fs::remove_file(stage.path().join("go")).expect("removed");
    let working = stage.work(line, &[]).start();
    until("a command was begun", || stage.lines("begun").len() == 2);
    working.signal(Signal::SIGINT);
    working.signal(Signal::SIGTERM);
    let done = working.wait();
    assert!(!done.status.success() && done.stdout.is_empty(), "{}", done.report());
    fs::write(stage.path().join("go"), "").expect("written");
    assert_eq!(stage.drained("read n; echo $n $MSG_TRY", &[]).stdout, "2 2\n3 1\n");
}

#[test]
fn it_goes_on_with_what_comes_and_skips_what_was_deleted() {
    let stage = Stage::new("");
    let line = "read n; [ $n$MSG_TRY != 11 ] || exit 75; echo $n";
    let working = stage.work(line, &["--workers", "2", "-v"]).start();
    working.wait_for_stderr("working on");
    stage.store("1\n2\n");
    working.wait_for_stdout("2");
    working.wait_for_stdout("1");
    let prune = |more: &[&str]| {
        let arguments = [&["messages", "prune", "s.db", "--before", "2126-01-01"], more].concat();
        let done = Launch::wilco(arguments).directory(stage.path()).no_input().start().wait();
        expect_success(&done);
        done
    };
    working.signal(Signal::SIGTERM);
    expect_signal(&working.wait(), Signal::SIGTERM);
    assert!(prune(&[]).stdout.starts_with("2 messages deleted"));
    // What waits is not deleted, unless that is wanted.
    stage.store("3\n4\n5\n");
    let tries = "read n; echo $n >> seen; [ $n != 3 ] || exit 75";
    let working = stage.work(tries, &["-v"]).start();
    working.wait_for_stderr("put off");
    working.signal(Signal::SIGTERM);
    expect_signal(&working.wait(), Signal::SIGTERM);
    let done = prune(&[]);
    assert!(done.stdout.starts_with("0 messages deleted"), "{}", done.report());
    assert!(done.stderr.contains("3 messages stay: s.db-work-work.db is through up to 2"), "{}", done.report());
    assert!(prune(&["--force"]).stdout.starts_with("3 messages deleted"));
    stage.store("6\n");
    let done = stage.drained("cat", &[]);
    expect_success(&done);
    assert_eq!(done.stdout, "6\n");
    assert_eq!(done.stderr.matches("were deleted from the store").count(), 1, "{}", done.report());
    assert_eq!(stage.status()["deleted"], 1);
}

#[test]
fn mistakes_are_told_before_anything_is_run() {
    let stage = Stage::new("one\n");
    let work = |arguments: &[&str]| stage.launch(arguments).start().wait();
    expect_error(&work(&["--allow-root", "--run", "no-such-program"]), 2, &["no-such-program", "--sh"]);
    expect_error(&work(&["--status"]), 2, &["there is no", "s.db-work-work.db"]);
    expect_error(&work(&["--allow-root", "--run", "cat", "--name", "a/b"]), 2, &["a name has"]);
    expect_error(&work(&["--allow-root", "--run", "cat", "--state", "s.db"]), 2, &["a database of something else"]);
    expect_status(&work(&[]), 2);
    expect_status(&work(&["--run", "cat", "--dead"]), 2);
    let nowhere = Launch::wilco(["work", "nowhere.db", "--allow-root", "--run", "cat"]).directory(stage.path());
    expect_error(&nowhere.no_input().start().wait(), 2, &["nowhere.db"]);
    // Nothing was made beside the store.
    assert!(!stage.path().join("s.db-work-work.db").exists());
    drop(stage.server);
}

#[test]
fn a_store_that_was_set_back_is_not_taken_for_the_one_that_was_worked_over() {
    let mut stage = Stage::new(&numbers(3));
    stage.restart(|path| {
        fs::copy(path.join("s.db"), path.join("copy.db")).expect("a copy");
    });
    stage.store("4\n5\n6\n");
    expect_success(&stage.drained("cat", &[]));
    stage.restart(|path| {
        ["s.db-wal", "s.db-shm"].iter().for_each(|file| drop(fs::remove_file(path.join(file))));
        fs::copy(path.join("copy.db"), path.join("s.db")).expect("restored");
    });
    expect_error(&stage.drained("cat", &[]), 2, &["does not belong to the store", "ends at 3", "--name"]);
    // Nor once it has as many again.
    stage.store("other 4\nother 5\nother 6\nother 7\n");
    expect_error(&stage.drained("cat", &[]), 2, &["does not belong to the store", "the message at 6", "--name"]);
    let done = stage.drained("cat", &["--name", "anew"]);
    assert_eq!(done.stdout, "1\n2\n3\nother 4\nother 5\nother 6\nother 7\n");
}

#[test]
fn a_store_that_was_moved_or_has_another_name_is_the_same() {
    let mut stage = Stage::new(&numbers(3));
    expect_success(&stage.drained("cat", &[]));
    stage.store("4\n5\n");
    std::os::unix::fs::symlink("s.db", stage.path().join("link.db")).expect("a link");
    let wilco = |path: &Path, arguments: &[&str]| {
        let done = Launch::wilco(arguments.iter().copied()).directory(path).no_input().start().wait();
        expect_success(&done);
        done
    };
    let done = wilco(stage.path(), &["messages", "prune", "link.db", "--before", "2126-01-01"]);
    assert!(
        done.stdout.starts_with("3 messages deleted") && done.stderr.contains("2 messages stay"),
        "{}",
        done.report()
    );
    let work = |store| ["work", store, "--allow-root", "--run", "cat", "--drain"];
    assert_eq!(wilco(stage.path(), &work("link.db")).stdout, "4\n5\n");
    stage.store("6\n");
    stage.restart(|path| {
        fs::create_dir(path.join("moved")).expect("a directory");
        for file in ["s.db", "s.db-work-work.db"] {
            fs::rename(path.join(file), path.join("moved").join(file)).expect("moved");
        }
    });
    assert_eq!(wilco(&stage.path().join("moved"), &work("s.db")).stdout, "6\n");
}

#[test]
fn what_is_done_is_done_though_its_output_cannot_be_shown() {
    let stage = Stage::new(&numbers(3));
    for _ in 0..4 {
        let line = "read n; echo $n >> runs; echo $n";
        let arguments = [
            "-c",
            "exec \"$0\" work s.db --allow-root --sh --drain --run \"$1\" > /dev/full",
            env!("CARGO_BIN_EXE_wilco"),
            line,
        ];
        Launch::command("sh", arguments).directory(stage.path()).no_input().start().wait();
    }
    assert_eq!(stage.lines("runs"), ["1", "2", "3"]);
    assert_eq!(stage.status()["done"], 3);
}

#[test]
fn what_was_deleted_before_it_was_begun_is_told() {
    let stage = Stage::new("1\n");
    expect_success(&stage.drained("cat", &[]));
    stage.store("2\n");
    let prune = ["messages", "prune", "s.db", "--before", "2126-01-01", "--force"];
    expect_success(&Launch::wilco(prune).directory(stage.path()).no_input().start().wait());
    stage.store("3\n");
    let done = stage.drained("cat", &[]);
    assert_eq!(done.stdout, "3\n");
    assert!(
        done.stderr.contains("were deleted from the store before they were done, the first at 2"),
        "{}",
        done.report()
    );
}
