//! Spools that were copied or set back, stores that were set back or deleted: client and server do not agree, and say so.
//!
//! Apart from faults that nobody can help: here a person has done something, and what must not happen is that messages are lost or doubled in silence.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::Pipeline;
use crate::harness::{Finished, Launch, Program, expect_error, expect_signal, expect_status, expect_success};

/// The server of a pipeline.
fn listen(pipeline: &Pipeline) -> Program {
    let server = pipeline.server().start();
    server.listening();
    server
}

fn stop(server: Program) {
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

fn client(pipeline: &Pipeline, spool: &Path, options: &[&str]) -> Launch {
    let words = ["--spool", spool.to_str().expect("a path"), &pipeline.address()].map(ToOwned::to_owned);
    Launch::client(words.into_iter().chain(options.iter().map(|option| (*option).to_owned()))).no_input()
}

/// Sends these messages from a spool.
fn send(pipeline: &Pipeline, spool: &Path, messages: &[&str]) -> Finished {
    let options: Vec<&str> = messages.iter().flat_map(|message| ["-m", message]).collect();
    client(pipeline, spool, &options).start().wait()
}

/// Has a spool accept messages while no server is there.
fn accept(pipeline: &Pipeline, spool: &Path, messages: &[&str]) {
    let options: Vec<&str> =
        messages.iter().flat_map(|message| ["-m", message]).chain(["--timeout", "200ms"]).collect();
    let done = client(pipeline, spool, &options).start().wait();
    assert_eq!(done.status.code(), Some(3), "{}", done.report());
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).expect("copied")),
        }
    }
}

/// The files of a store, of which a server has none open.
fn files(pipeline: &Pipeline) -> Vec<std::path::PathBuf> {
    let file = pipeline.store().to_str().expect("a path");
    ["", "-wal", "-shm"].iter().map(|end| format!("{file}{end}").into()).collect()
}

/// All texts that are stored, in their order, and of how many sessions.
fn stored(pipeline: &Pipeline) -> (Vec<String>, i64) {
    let store = rusqlite::Connection::open(pipeline.store()).expect("open the store");
    let mut rows = store.prepare("SELECT body FROM received ORDER BY id").expect("a view");
    let texts = rows.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("texts");
    (texts, store.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).expect("a count"))
}

/// Waits until one of these processes has ended, and leaves its status to whoever has started it.
fn first_to_end(pids: &[u32]) -> u32 {
    loop {
        for pid in pids {
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let id = Id::Pid(Pid::from_raw(pid.cast_signed()));
            if waitid(id, flags).is_ok_and(|status| status != WaitStatus::StillAlive) {
                return *pid;
            }
        }
        std::thread::yield_now();
    }
}

fn letters(spool: &Path) -> String {
    fs::read_to_string(spool.join("dead-letters")).unwrap_or_default()
}

#[test]
fn a_copy_of_a_spool_is_noticed_whether_it_is_behind_or_ahead() {
    let pipeline = Pipeline::new();
    let (spool, behind, ahead) = (pipeline.path("spool"), pipeline.path("behind"), pipeline.path("ahead"));
    let server = listen(&pipeline);
    expect_success(&send(&pipeline, &spool, &["a", "b"]));
    copy(&spool, &behind);
    copy(&spool, &ahead);
    expect_success(&send(&pipeline, &spool, &["c", "d"]));
    // Behind: the server has more than it has ever had.
    expect_error(&send(&pipeline, &behind, &["x"]), 6, &["409", "copied or set back", "1 waits in the spool"]);
    // Ahead: it has as many, and others. Its own message 4 is not the server's.
    stop(server);
    accept(&pipeline, &ahead, &["x", "y", "z"]);
    let server = listen(&pipeline);
    let done = client(&pipeline, &ahead, &[]).start().wait();
    expect_error(&done, 6, &["copied or set back", "3 wait in the spool", "--lost-session=resend"]);
    assert_eq!(stored(&pipeline), (["a", "b", "c", "d"].map(ToOwned::to_owned).to_vec(), 1));
    // Both go on where that is said: what waits is sent in a session of its own, or kept.
    expect_success(&client(&pipeline, &ahead, &["--lost-session", "resend"]).start().wait());
    expect_status(&client(&pipeline, &behind, &["--lost-session", "skip"]).start().wait(), 5);
    expect_success(&send(&pipeline, &behind, &["w"]));
    let kept = letters(&behind);
    assert!(kept.contains("\"x\"") && kept.contains("\"code\":409"), "{kept}");
    // The one that was not copied has noticed nothing.
    expect_success(&send(&pipeline, &spool, &["e"]));
    stop(server);
    assert_eq!(stored(&pipeline), (["a", "b", "c", "d", "x", "y", "z", "w", "e"].map(ToOwned::to_owned).to_vec(), 3));
}

#[test]
fn of_two_copies_that_are_used_at_once_one_is_told_of_the_other() {
    let pipeline = Pipeline::new();
    let (spool, copied) = (pipeline.path("spool"), pipeline.path("copy"));
    let server = listen(&pipeline);
    expect_success(&send(&pipeline, &spool, &["a"]));
    copy(&spool, &copied);
    // Each takes the session from the other, until one has had enough of it.
    let words = |spool: &Path| ["--json".into(), "--spool".into(), spool.display().to_string(), pipeline.address()];
    let mut both = [spool, copied].map(|spool| Launch::client(words(&spool)).start());
    // They connect once there is something to deliver; that it is the same is what makes it hard to tell them apart.
    both.iter_mut().for_each(|client| client.send("b\n"));
    let pids = both.each_ref().map(Program::pid);
    let first = first_to_end(&pids);
    let [one, two] = &mut both;
    let other = if first == pids[0] { two } else { one };
    other.send("c\n");
    other.wait_for_stdout("\"last\":3");
    for client in both {
        let is_first = client.pid() == first;
        let done = client.finish();
        if is_first {
            assert_eq!(done.status.code(), Some(6), "{}", done.report());
            for word in ["423", "another client", "is there a copy of"] {
                assert!(done.stderr.contains(word), "{word}: {}", done.report());
            }
        } else {
            expect_success(&done);
        }
    }
    stop(server);
    assert_eq!(stored(&pipeline), (["a", "b", "c"].map(ToOwned::to_owned).to_vec(), 1));
}

#[test]
fn a_store_that_was_set_back_is_noticed() {
    for (policy, then) in [("resend", vec!["a", "b", "e", "f"]), ("skip", vec!["a", "b", "f"])] {
        let pipeline = Pipeline::new();
        let spool = pipeline.path("spool");
        let server = listen(&pipeline);
        expect_success(&send(&pipeline, &spool, &["a", "b"]));
        stop(server);
        let kept: Vec<_> = files(&pipeline).iter().map(|file| fs::read(file).expect("read")).collect();
        let server = listen(&pipeline);
        expect_success(&send(&pipeline, &spool, &["c", "d"]));
        stop(server);
        files(&pipeline).iter().zip(&kept).for_each(|(file, bytes)| fs::write(file, bytes).expect("written"));
        let server = listen(&pipeline);
        let done = send(&pipeline, &spool, &["e"]);
        expect_error(&done, 6, &["412", "the server has lost what it had acknowledged", "1 waits in the spool"]);
        // It is the same until somebody decides.
        expect_error(&client(&pipeline, &spool, &[]).start().wait(), 6, &["412"]);
        let done = client(&pipeline, &spool, &["--lost-session", policy]).start().wait();
        // What is skipped is not delivered.
        expect_status(&done, if policy == "skip" { 5 } else { 0 });
        expect_success(&send(&pipeline, &spool, &["f"]));
        stop(server);
        assert_eq!(stored(&pipeline), (then.iter().map(|text| (*text).to_owned()).collect(), 2), "{policy}");
        assert_eq!(letters(&spool).contains("\"e\""), policy == "skip");
    }
}

#[test]
fn a_store_that_is_gone_is_noticed_once_something_was_acknowledged() {
    for (policy, then) in [("resend", vec!["c", "d"]), ("skip", vec!["d"])] {
        let pipeline = Pipeline::new();
        let spool = pipeline.path("spool");
        let remove = || files(&pipeline).iter().for_each(|file| drop(fs::remove_file(file)));
        // With nothing acknowledged the session is a new one to every server.
        accept(&pipeline, &spool, &["a", "b"]);
        stop(listen(&pipeline));
        remove();
        let server = listen(&pipeline);
        expect_success(&client(&pipeline, &spool, &[]).start().wait());
        assert_eq!(stored(&pipeline).0, ["a", "b"]);
        stop(server);
        remove();
        let server = listen(&pipeline);
        let done = send(&pipeline, &spool, &["c"]);
        expect_error(&done, 6, &["410", "the server does not know the session", "--lost-session=resend"]);
        let done = client(&pipeline, &spool, &["--lost-session", policy]).start().wait();
        // What is skipped is not delivered.
        expect_status(&done, if policy == "skip" { 5 } else { 0 });
        expect_success(&send(&pipeline, &spool, &["d"]));
        stop(server);
        assert_eq!(stored(&pipeline), (then.iter().map(|text| (*text).to_owned()).collect(), 1), "{policy}");
    }
}
