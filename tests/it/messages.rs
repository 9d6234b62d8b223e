//! `wilco messages`: what it shows of a store, beside whoever writes to it, and what it deletes.
//!
//! Apart from the store's own tests: stores are made through the library here, and looked at with the program.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use wilco::net::Addr;
use wilco::service::store::sqlite::{Clock, files};
use wilco::service::store::{Append, Chain, Opening, Owner, Plain, Source, SqliteConfig, SqliteStore, Store};
use wilco::service::{Batch, Peer};
use wilco::wire::assured::{Run, SessionId};

use crate::harness::{Finished, Launch, Terminal, expect_error, expect_signal, expect_status, expect_success, is_root};

/// 2026-11-21T12:34:56Z, in seconds since 1970.
const NOON: u64 = 1_795_264_496;

const SID: &str = "0123456789abcdef0123456789abcdef";

/// A store, who writes to it, and a clock for both.
struct Writer {
    directory: TempDir,
    now: Arc<AtomicU64>,
    store: SqliteStore,
}

impl Writer {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let now = Arc::new(AtomicU64::new(NOON));
        let store = Self::open(&directory, &now);
        Self { directory, now, store }
    }

    fn open(directory: &TempDir, now: &Arc<AtomicU64>) -> SqliteStore {
        let time = Arc::clone(now);
        let clock = Clock::new(move || UNIX_EPOCH + Duration::from_secs(time.load(Ordering::Relaxed)));
        let config = SqliteConfig { clock, ..SqliteConfig::default() };
        SqliteStore::open(directory.path().join("store.db"), config).expect("open a store")
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }

    fn later(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn plain(&self, peer: &str, bodies: &[&[u8]]) {
        let mut run = Run::new(1);
        bodies.iter().for_each(|body| run.push(body));
        let messages = Batch { bytes: run.bytes, spans: run.spans, ..Batch::default() };
        self.store
            .keep(Plain { source: source(peer, None), first: 1, messages, chain: Chain::default() })
            .await
            .expect("keep");
    }

    async fn open_session(&self) -> (Owner, u64) {
        let session: SessionId = SID.parse().expect("a session");
        let opening = Opening {
            session,
            first: 1,
            principal: None,
            replies: false,
            source: source("10.0.0.8:1", Some("pump 7")),
        };
        let opened = Store::open(&self.store, opening).await.expect("open a session");
        (opened.owner, opened.progress.acknowledged)
    }

    async fn append(&self, owner: Owner, first: u64, bodies: &[&[u8]]) {
        let session: SessionId = SID.parse().expect("a session");
        let mut run = Run::new(first);
        bodies.iter().for_each(|body| run.push(body));
        let append = Append { session, owner, source: source("10.0.0.8:40000", Some("pump 7")), run };
        assert_eq!(self.store.append(append).await.expect("append").put_off, None);
    }

    fn launch(&self, before: &[&str], after: &[&str]) -> Launch {
        let path = self.path();
        let arguments = [&["messages"], before, &[path.to_str().expect("text")], after].concat();
        Launch::wilco(arguments).env("TZ", "UTC").no_input()
    }

    fn show(&self, arguments: &[&str]) -> Finished {
        self.launch(&[], arguments).start().wait()
    }

    #[track_caller]
    fn expect_lines(&self, arguments: &[&str], lines: &[&str]) {
        let done = self.show(arguments);
        expect_success(&done);
        assert_eq!(done.stdout.lines().collect::<Vec<_>>(), lines, "{arguments:?}");
    }
}

fn source(peer: &str, name: Option<&str>) -> Arc<Source> {
    let addr = Addr::Inet(peer.parse().expect("an address"));
    Arc::new(Source { peer: Peer { addr, local: None, credentials: None }, name: name.map(str::to_owned) })
}

/// Two plain messages, and an hour later two of a session.
async fn four() -> Writer {
    let writer = Writer::new();
    writer.plain("10.0.0.7:5000", &[b"hello", b"\xff\x1b[2J"]).await;
    writer.later(3600);
    let (owner, _) = writer.open_session().await;
    writer.append(owner, 1, &[b"two\nlines", b"{\"level\": 7}"]).await;
    writer
}

#[tokio::test]
async fn each_message_has_its_line() {
    let writer = four().await;
    let head = "id  time                 from                     number      message";
    let all = [
        head,
        " 1  2026-11-21 12:34:56  10.0.0.7:5000            1           hello",
        " 2  2026-11-21 12:34:56  10.0.0.7:5000            2           \\xff\\x1b[2J",
        " 3  2026-11-21 13:34:56  pump 7 (10.0.0.8:40000)  01234567/1  two\\nlines",
        " 4  2026-11-21 13:34:56  pump 7 (10.0.0.8:40000)  01234567/2  {\"level\": 7}",
    ];
    writer.expect_lines(&[], &all);
    drop(writer.store);
    let done = Launch::wilco(["messages", "store.db", "-n", "3"]).directory(writer.directory.path()).env("TZ", "EST5");
    let done = done.no_input().start().wait();
    assert!(done.stdout.contains(" 2  2026-11-21 07:34:56  10.0.0.7:5000 "), "{}", done.report());
    assert_eq!(done.stdout.lines().count(), 4, "{}", done.report());
}

#[tokio::test]
async fn messages_are_chosen() {
    let writer = four().await;
    let raw = |arguments: &[&str]| {
        let done = writer.show(&[arguments, &["--json"]].concat());
        expect_success(&done);
        let ids = done.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].to_string());
        ids.collect::<Vec<_>>().join(" ")
    };
    for (arguments, ids) in [
        (&[][..], "1 2 3 4"),
        (&["-n", "1"], "4"),
        (&["-n", "0"], ""),
        (&["--last", "100"], "1 2 3 4"),
        (&["--since", "2026-11-21T13:00"], "3 4"),
        (&["--since", "2026-11-21T13:34:56Z"], "3 4"),
        (&["--since", "2026-11-21T13:34:57Z"], ""),
        (&["--since", "2026-11-21"], "1 2 3 4"),
        (&["--since", "2100-01-01"], ""),
        (&["--from", "10.0.0"], "1 2 3 4"),
        (&["--from", "10.0.0.7:5000"], "1 2"),
        (&["--from", "pump"], "3 4"),
        (&["--from", "01234567"], "3 4"),
        (&["--from", "ump"], ""),
        (&["--search", "l"], "1 3 4"),
        (&["--search", "l", "-n", "2"], "3 4"),
        (&["--search", "l", "-n", "1", "--from", "10.0.0.7"], "1"),
        (&["--search", "[2J"], "2"),
        (&["--search", "%"], ""),
    ] {
        assert_eq!(raw(arguments), ids, "{arguments:?}");
    }
}

#[tokio::test]
async fn programs_get_json_or_the_messages_alone() {
    let writer = four().await;
    let done = writer.show(&["--json"]);
    let lines: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let plain = json!({"id": 1, "time": "2026-11-21T12:34:56Z", "peer": "10.0.0.7:5000", "number": 1, "text": "hello"});
    let session = json!({
        "id": 3, "time": "2026-11-21T13:34:56Z", "peer": "10.0.0.8:40000", "name": "pump 7", "session": SID, "number": 1,
        "text": "two\nlines"
    });
    assert_eq!((&lines[0], &lines[2]), (&plain, &session));
    assert_eq!(lines[1]["base64"], "/xtbMko=");
    writer.expect_lines(&["--raw", "--from", "pump"], &["two", "lines", "{\"level\": 7}"]);
}

#[tokio::test]
async fn a_terminal_gets_what_it_may_show_and_has_room_for() {
    let writer = Writer::new();
    writer.plain("10.0.0.7:5000", &["x".repeat(100_000).as_bytes(), b"\x1b[2J"]).await;
    for arguments in [&[][..], &["--raw", "-n", "1"], &["--json"]] {
        let program = writer.launch(&[], arguments).terminal(Terminal::STDOUT).start();
        let shown = program.wait().stdout;
        assert!(!shown.contains('\x1b') && shown.contains("[2J"), "{shown}");
        if arguments.is_empty() {
            assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
            assert!(shown.contains("xxx\u{2026}"), "{shown}");
        }
    }
}

#[tokio::test]
async fn what_comes_is_followed() {
    let writer = Writer::new();
    let many: Vec<String> = (1..=2500).map(|number| format!("message {number}")).collect();
    let bodies: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
    writer.plain("10.0.0.7:5000", &bodies).await;
    let program = writer.launch(&[], &["--follow", "--raw"]).start();
    program.wait_for_stdout("message 2500\n");
    // More than are read at once, and by two.
    writer.plain("10.0.0.7:5000", &bodies).await;
    let (owner, _) = writer.open_session().await;
    writer.append(owner, 1, &[b"the last"]).await;
    program.wait_for_stdout("the last\n");
    program.signal(Signal::SIGINT);
    let done = program.wait();
    expect_signal(&done, Signal::SIGINT);
    let expected = many[2490..].iter().chain(&many).map(String::as_str).chain(["the last"]);
    assert!(done.stdout.lines().eq(expected), "{}", done.report());
}

#[tokio::test]
async fn a_store_that_is_gone_is_followed_no_more() {
    for replaced in [false, true] {
        let writer = Writer::new();
        writer.plain("10.0.0.7:5000", &[b"the last"]).await;
        let program = writer.launch(&[], &["--follow", "--raw"]).start();
        program.wait_for_stdout("the last\n");
        match replaced {
            true => {
                let other = writer.directory.path().join("other.db");
                fs::copy(writer.path(), &other).and_then(|_| fs::rename(&other, writer.path())).expect("another file");
            }
            false => fs::remove_file(writer.path()).expect("a file"),
        }
        let done = program.wait();
        expect_status(&done, 1);
        assert!(done.stderr.contains("it was deleted or replaced"), "{}", done.report());
    }
}

#[tokio::test]
async fn who_reads_does_not_need_to_write() {
    let Writer { directory, store, .. } = four().await;
    let path = directory.path().join("store.db");
    let close = |mode| fs::set_permissions(directory.path(), Permissions::from_mode(mode)).expect("permissions");
    let expect_four = || {
        // Root may write everywhere.
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_wilco")];
        let arguments = ["messages", path.to_str().expect("text"), "--json"];
        let launch = match is_root() {
            true => Launch::command("setpriv", nobody.iter().chain(&arguments)),
            false => Launch::wilco(arguments),
        };
        let done = launch.no_input().start().wait();
        expect_success(&done);
        assert_eq!(done.stdout.lines().count(), 4);
    };
    for file in files(&path) {
        fs::set_permissions(file, Permissions::from_mode(0o444)).expect("permissions");
    }
    close(0o555);
    expect_four();
    drop(store);
    expect_four();
    // As a copy of the file alone is.
    close(0o755);
    files(&path)[1..].iter().for_each(|file| fs::remove_file(file).expect("remove"));
    close(0o555);
    expect_four();
    close(0o755);
}

/// Runs a command as a user who is nobody in particular: root may do everything.
fn as_nobody(arguments: &[&str]) -> Launch {
    let program = if arguments[0] == "messages" { env!("CARGO_BIN_EXE_wilco") } else { env!("CARGO_BIN_EXE_server") };
    match is_root() {
        true => {
            let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", program];
            Launch::command("setpriv", nobody.iter().chain(arguments))
        }
        false => Launch::command(program, arguments),
    }
}

#[tokio::test]
async fn what_may_not_be_read_or_made_is_said_in_the_same_words() {
    let Writer { directory, store, .. } = four().await;
    drop(store);
    let (file, new) = (directory.path().join("store.db"), directory.path().join("new.db"));
    let (file, new) = (file.to_str().expect("text"), new.to_str().expect("text"));
    let permit = |path: &str, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
    permit(file, 0o000);
    let place = directory.path().to_str().expect("text");
    permit(place, 0o555);
    let denied = format!("open the store {file}: permission denied");
    let closed = format!("open the store {new}: no file may be made in the directory {place}: permission denied");
    for (arguments, says) in [
        (&["messages", file][..], &denied),
        (&["127.0.0.1:0", "--store", file], &denied),
        (&["127.0.0.1:0", "--store", new], &closed),
    ] {
        let done = as_nobody(arguments).no_input().start().wait();
        expect_error(&done, 2, &[says]);
        assert!(!done.stderr.contains("database file"), "{}", done.report());
    }
    permit(place, 0o755);
}

#[test]
fn a_store_takes_no_message_that_is_longer_than_a_row() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("store.db");
    let file = file.to_str().expect("text");
    let done = Launch::server(["127.0.0.1:0", "--store", file, "--max-message", "1G"]).start().wait();
    expect_error(&done, 2, &["--max-message 1073741824", "999998976 bytes"]);
    assert!(!fs::exists(file).expect("a look"));
}

#[tokio::test]
async fn who_keeps_a_server_from_its_store_is_named() {
    let writer = four().await;
    let (path, reader) = (writer.path(), rusqlite::Connection::open(writer.path()).expect("open the store"));
    reader.execute_batch("BEGIN; SELECT count(*) FROM messages").expect("an old transaction");
    writer.plain("10.0.0.7:5000", &[b"one more"]).await;
    drop(writer.store);
    let done = Launch::server(["127.0.0.1:0", "--store", path.to_str().expect("text")]).start().wait();
    let own = format!("(pid {}) has it open", std::process::id());
    expect_error(&done, 1, &["another process has locked it, probably one that reads", &own]);
}

#[tokio::test]
async fn what_is_no_store_is_a_mistake_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let launch = |arguments: &[&str]| Launch::wilco([&["messages"], arguments].concat()).directory(directory.path());
    let expect =
        |arguments: &[&str], words: &[&str]| expect_error(&launch(arguments).no_input().start().wait(), 2, words);
    fs::write(directory.path().join("words"), "to whom it may concern\n".repeat(100)).expect("a file");
    fs::write(directory.path().join("empty"), "").expect("a file");
    expect(&["missing.db"], &["missing.db", "there is no such file"]);
    expect(&["missing/store.db"], &["there is no directory"]);
    expect(&["."], &["a directory"]);
    expect(&["words"], &["no database of SQLite's"]);
    expect(&["empty"], &["it is empty, and no store"]);
    expect(&["/dev/null"], &["no file"]);
    expect(&[], &["<STORE>"]);
    expect(&["words", "--since", "yesterday"], &["yesterday", "10m"]);
    expect(&["prune", "missing.db", "--before", "1d"], &["there is no such file"]);
    expect(&["prune", "words", "--before", "1d"], &["no database of SQLite's"]);
    expect(&["prune", "words"], &["--before"]);
    let mut left: Vec<_> =
        fs::read_dir(directory.path()).expect("read").map(|entry| entry.expect("one").file_name()).collect();
    left.sort();
    assert_eq!(left, ["empty", "words"]);
}

#[tokio::test]
async fn what_is_old_is_deleted_beside_the_server_and_not_stored_again() {
    let writer = Writer::new();
    let (owner, _) = writer.open_session().await;
    let old = vec![b'o'; 1000];
    let bodies: Vec<&[u8]> = std::iter::repeat_n(old.as_slice(), 5000).collect();
    writer.append(owner, 1, &bodies).await;
    writer.later(3600);
    writer.append(owner, 5001, &[b"new"]).await;
    let prune = |before: &str| writer.launch(&["prune"], &["--before", before]).start().wait();
    let done = prune("2026-11-21T13:00:00Z");
    expect_success(&done);
    let freed =
        done.stdout.strip_prefix("5000 messages deleted, ").and_then(|rest| rest.strip_suffix(" bytes freed\n"));
    let freed: u64 = freed.and_then(|freed| freed.parse().ok()).unwrap_or_else(|| panic!("{}", done.report()));
    assert!(freed > 5_000_000, "{freed}");
    writer.expect_lines(&["--raw"], &["new"]);

    // The session goes on where it was, and so do the numbers of the rows once nothing is left.
    writer.append(owner, 5002, &[b"newer"]).await;
    let done = prune("2100-01-01");
    assert!(done.stdout.starts_with("2 messages deleted, "), "{}", done.report());
    assert_eq!(prune("2100-01-01").stdout, "0 messages deleted, 0 bytes freed\n");
    assert_eq!(writer.show(&["--raw"]).stdout, "");
    let (owner, acknowledged) = writer.open_session().await;
    assert_eq!(acknowledged, 5002);
    writer.append(owner, 5003, &[b"newest"]).await;
    let line: Value = serde_json::from_str(&writer.show(&["--json"]).stdout).expect("JSON");
    assert_eq!((&line["id"], &line["number"], &line["name"]), (&json!(5003), &json!(5003), &json!("pump 7")));
    let path = writer.path();
    drop(writer.store);
    let length = fs::metadata(path).expect("the file").len();
    assert!(length < 200_000, "{length} bytes");
}
