//! `wilco spool`: what is in a client's spool, while it is used and after it was damaged.
//!
//! Apart from the client that uses it: here the spool is filled by the library.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wilco::Batch;
use wilco::service::spool::{Spool, SpoolConfig};
use wilco::wire::assured::Code;

use crate::harness::{Finished, Launch, Terminal, expect_error, expect_status, expect_success};

fn wilco_spool(directory: &Path, options: &[&str]) -> Finished {
    let arguments = ["spool".as_ref(), directory.as_os_str()].into_iter().chain(options.iter().map(AsRef::as_ref));
    Launch::wilco(arguments).no_input().start().wait()
}

fn json(directory: &Path, options: &[&str]) -> Vec<serde_json::Value> {
    let done = wilco_spool(directory, &[options, &["--json"]].concat());
    expect_success(&done);
    done.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// A spool with three messages, of which the first was final and the second refused.
fn filled() -> (TempDir, Spool) {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let spool = Spool::open(directory.path(), SpoolConfig::default()).expect("open a spool");
    on_a_runtime(async {
        for message in ["first", "second \u{1b}[31m\n", "third"] {
            spool.accept(Batch::of(message)).await.expect("accepted");
        }
        spool.dead_letter(2, Code::REJECTED, "not \u{7}like this", None).await.expect("kept");
        spool.settle(1, None);
        // What was asked for before is done before this is.
        spool.accept(Batch::of(b"\xff".to_vec())).await.expect("accepted");
    });
    (directory, spool)
}

fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

#[test]
fn what_others_can_change_is_used_by_no_client_and_may_be_looked_at() {
    let (directory, spool) = filled();
    drop(spool);
    let path = directory.path();
    let client = || {
        Launch::client(["--timeout=100ms".as_ref(), "--spool".as_ref(), path.as_os_str(), "127.0.0.1:9".as_ref()])
            .no_input()
            .start()
            .wait()
    };
    fs::set_permissions(path, Permissions::from_mode(0o757)).expect("permissions");
    expect_error(&client(), 2, &["can be written to by everybody", "chmod o-w"]);
    expect_error(&wilco_spool(path, &["--repair"]), 2, &["can be written to by everybody", "chmod o-w"]);
    for options in [&[][..], &["--dead"]] {
        let looked = wilco_spool(path, options);
        expect_success(&looked);
        assert!(looked.stderr.contains("chmod o-w"), "{}", looked.report());
    }
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("permissions");
    expect_status(&client(), 3);
    assert_eq!(wilco_spool(path, &[]).stderr, "");
}

fn segment(directory: &Path) -> PathBuf {
    let entries = fs::read_dir(directory).expect("read the spool").map(|entry| entry.expect("an entry").path());
    let session = entries.into_iter().find(|path| path.is_dir()).expect("a session");
    session.join(format!("{:020}.seg", 1))
}

#[test]
fn what_waits_is_shown_also_while_it_is_used() {
    let (directory, spool) = filled();
    let done = wilco_spool(directory.path(), &[]);
    expect_success(&done);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines[0], format!("session {}, in use by process {}", spool.session(), std::process::id()));
    assert!(lines[1].starts_with("3 messages wait, the oldest for ") && lines[1].ends_with(" bytes on disk"));
    assert_eq!((lines[2], lines[3]), ("1 dead letter: --dead shows it", ""));
    let rows: Vec<Vec<&str>> = lines[5..].iter().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows[0][0] == "2" && rows[0][2..] == ["13", "second", "\\x1b[31m\\n"], "{}", done.report());
    assert!(rows[2][0] == "4" && rows[2][2..] == ["1", "\\xff"], "{}", done.report());
    assert_eq!(rows.len(), 3);

    drop(spool);
    let done = wilco_spool(directory.path(), &[]);
    assert!(!done.stdout.contains("in use"), "{}", done.report());
}

#[test]
fn what_waits_is_told_to_programs() {
    let (directory, spool) = filled();
    let lines = json(directory.path(), &[]);
    let summary = &lines[0];
    assert_eq!(summary["event"], "spool");
    assert_eq!(summary["session"], spool.session().as_str());
    for (name, number) in [("first", 2), ("next", 5), ("waiting", 3), ("dead", 1), ("pid", std::process::id())] {
        assert_eq!(summary[name], number, "{name}");
    }
    assert_eq!(lines[1]["text"], "second \u{1b}[31m\n");
    assert_eq!((&lines[2]["number"], &lines[2]["text"]), (&3.into(), &"third".into()));
    assert_eq!(lines[3]["base64"], "/w==");
    assert_eq!(lines.len(), 4);

    let letters = json(directory.path(), &["--dead"]);
    let letter = &letters[0];
    assert!(letters.len() == 1 && letter["event"] == "dead" && letter["number"] == 2 && letter["code"] == 422);
    assert_eq!((&letter["reason"], &letter["text"]), (&"not \u{7}like this".into(), &"second \u{1b}[31m\n".into()));
}

#[test]
fn a_terminal_obeys_nothing_that_is_in_a_spool() {
    let (directory, _spool) = filled();
    for options in [&[][..], &["--dead"], &["--json"], &["--dead", "--json"]] {
        let arguments = ["spool".as_ref(), directory.path().as_os_str()];
        let arguments = arguments.into_iter().chain(options.iter().map(AsRef::as_ref));
        let done = Launch::wilco(arguments).terminal(Terminal::ALL).start().wait();
        expect_success(&done);
        assert!(!done.stdout.contains(['\u{1b}', '\u{7}']), "{}", done.report());
    }
}

#[test]
fn what_is_no_spool_is_left_alone() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let missing = directory.path().join("missing");
    for options in [&[][..], &["--dead"], &["--repair"]] {
        expect_error(&wilco_spool(&missing, options), 2, &["missing", "no such file"]);
    }
    assert!(!missing.exists());
    fs::write(directory.path().join("letter"), "Dear").expect("written");
    for options in [&[][..], &["--dead"], &["--repair"]] {
        expect_error(&wilco_spool(directory.path(), options), 2, &["is no spool", "letter", "client --spool"]);
    }
    assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 1);
    fs::remove_file(directory.path().join("letter")).expect("removed");
    let done = wilco_spool(directory.path(), &[]);
    expect_success(&done);
    assert!(done.stdout.contains("nothing was ever accepted"), "{}", done.report());
}

#[test]
fn a_spool_that_is_damaged_is_repaired_when_that_is_asked_for() {
    let (directory, spool) = filled();
    let pid = std::process::id().to_string();
    expect_error(&wilco_spool(directory.path(), &["--repair"]), 1, &["in use", &pid]);
    drop(spool);
    let done = wilco_spool(directory.path(), &["--repair"]);
    expect_success(&done);
    assert_eq!(done.stdout, "nothing is damaged, and nothing was done\n");

    let path = segment(directory.path());
    let mut bytes = fs::read(&path).expect("read the segment");
    let at = bytes.windows(5).position(|window| window == b"third").expect("the message");
    bytes[at] ^= 0x20;
    fs::write(&path, bytes).expect("written");
    let done = wilco_spool(directory.path(), &[]);
    expect_status(&done, 1);
    assert!(done.stdout.contains("second"), "what can be read is shown: {}", done.report());
    for word in [path.to_string_lossy().as_ref(), "message 3", "byte ", "--repair"] {
        assert!(done.stderr.contains(word), "{word}: {}", done.report());
    }
    let error = Spool::open(directory.path(), SpoolConfig::default()).expect_err("damaged");
    assert!(error.to_string().contains("message 3"), "{error}");

    let done = wilco_spool(directory.path(), &["--repair"]);
    expect_success(&done);
    for words in ["message 3 is lost\n", "what could not be read is in ", "2 kept, in the new session "] {
        assert!(done.stdout.contains(words), "{words}: {}", done.report());
    }
    let lines = json(directory.path(), &[]);
    assert_eq!((&lines[0]["first"], &lines[0]["next"]), (&1.into(), &3.into()));
    assert!(lines[1]["origin"].as_str().is_some_and(|origin| origin.ends_with(":2")));
}
