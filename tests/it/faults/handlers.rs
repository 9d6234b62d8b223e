//! Programs of `--run` that crash, hang, read nothing or print without end, for an assured client: each message is done at least once, always under the same id.
//!
//! Apart from the handlers' own tests: here the client is the real one, which sends again by itself.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;

use super::pipeline::LONG;
use crate::harness::{Launch, expect_signal, expect_status};

/// What each message asks for: at the first try it goes wrong, at the second it does not.
const SCRIPT: &str = r#"
case "$MSG_SEQ" in
  4) ;;
  *) read -r message;;
esac
echo "$MSG_ID $MSG_TRY" >>"LOG"
[ "$MSG_TRY" = 1 ] || { echo "done $MSG_SEQ"; exit 0; }
case "$MSG_SEQ" in
  2) kill -9 $$;;
  3) sleep 1000;;
  5) head -c 1073741824 /dev/zero;;
  6) echo "never" >&2; exit 65;;
  7) exit 3;;
  *) echo "done $MSG_SEQ";;
esac
"#;

#[test]
fn programs_that_go_wrong_are_tried_again_and_each_message_is_done() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let script = SCRIPT.replace("LOG", log.to_str().expect("a path"));
    let words = ["-k", "127.0.0.1:0", "--allow-root", "--process-timeout", "500ms", "--sh", "--run", &script];
    let server = Launch::server(words).start();
    let port = server.port();
    // More than a pipe holds, for the one that reads nothing.
    let large = "x".repeat(500_000);
    let messages = ["good", "crash", "hang", &large, "endless", "bad", "fails", "last"];
    let mut client = Launch::client(["--assured", "127.0.0.1", &port]).start();
    client.send(messages.join("\n") + "\n");
    client.close_stdin();
    let done = client.wait_within(LONG);
    // One was refused for good.
    expect_status(&done, 5);
    let answers: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(answers, ["done 1", "done 2", "done 3", "done 4", "done 5", "done 7", "done 8"], "{}", done.report());
    assert!(done.stderr.contains("message 6 was refused: never"), "{}", done.report());
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a running process");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory").trim();
    let most: u64 = most.trim_end_matches(" kB").parse().expect("a number");
    assert!(most < 100 * 1024, "{most} KiB");
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    let mut tries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in fs::read_to_string(log).expect("what was run").lines() {
        let (id, attempt) = line.split_once(' ').expect("two words");
        let (_, number) = id.split_once(':').expect("SID:NUMBER");
        tries.entry(number.to_owned()).or_default().push(attempt.to_owned());
    }
    let tries: Vec<_> = tries.iter().map(|(number, tries)| (number.as_str(), tries.join(" "))).collect();
    let expected =
        [("1", "1"), ("2", "1 2"), ("3", "1 2"), ("4", "1"), ("5", "1 2"), ("6", "1"), ("7", "1 2"), ("8", "1")];
    assert_eq!(tries, expected.map(|(number, tries)| (number, tries.to_owned())));
}
