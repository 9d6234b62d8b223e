//! The store in a file, in a process of its own: disks that are full or fail, and processes that are killed.
//!
//! Apart from the store's own tests, which cannot do that to the process they run in.

use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use wilco::net::{Addr, UnixName};
use wilco::service::store::{
    Append, Chain, Opened, Opening, Owner, Plain, Source, SqliteConfig, SqliteStore, Store, StoreError,
};
use wilco::service::{Batch, Peer};
use wilco::wire::assured::{Applied, Code, Run, SessionId};

use crate::harness::{is_root, skip};

/// Says what the process is to do.
const TASK: &str = "WILCO_TEST_STORING";

/// How many messages are stored one by one.
const LONE: u64 = 30;

fn session() -> SessionId {
    SessionId::of_bits(7)
}

fn source() -> Arc<Source> {
    let peer = Peer { addr: Addr::Unix(UnixName::Unnamed), local: None, credentials: None };
    Arc::new(Source { peer, name: None })
}

async fn open(store: &SqliteStore) -> Result<Opened, StoreError> {
    Store::open(store, Opening { session: session(), first: 1, principal: None, replies: false, source: source() })
        .await
}

async fn append(store: &SqliteStore, owner: Owner, first: u64, bodies: &[Vec<u8>]) -> Result<Applied, StoreError> {
    let mut run = Run::new(first);
    bodies.iter().for_each(|body| run.push(body));
    store.append(Append { session: session(), owner, source: source(), run }).await
}

/// What is done in a process of its own: nothing unless it was started for that.
#[tokio::test]
async fn a_process_that_stores() {
    let Ok(task) = env::var(TASK) else { return };
    let (what, path) = task.split_once(' ').expect("a task");
    let store = SqliteStore::open(path, SqliteConfig::default()).expect("open the store");
    match what {
        "one-by-one" => one_by_one(&store).await,
        "no-room" => no_room(&store, Path::new(path)).await,
        "failing-sync" => failing_sync(&store).await,
        _ => panic!("{what}"),
    }
}

/// Says each number once it is acknowledged.
async fn one_by_one(store: &SqliteStore) {
    let opened = open(store).await.expect("open the session");
    let mut through = opened.progress.acknowledged;
    for _ in 0..LONE {
        let applied = append(store, opened.owner, through + 1, &[format!("message {}", through + 1).into()]).await;
        through = applied.expect("applied").through;
        say(through);
    }
}

/// Stores until there is no room, makes room, and stores again.
async fn no_room(store: &SqliteStore, path: &Path) {
    let unlimited = getrlimit(Resource::RLIMIT_FSIZE).expect("the limit");
    let filler = path.with_file_name("filler");
    match filler.exists() {
        true => {}
        false => setrlimit(Resource::RLIMIT_FSIZE, 700_000, unlimited.1).expect("a limit"),
    }
    let opened = open(store).await.expect("open the session");
    let body = vec![b'x'; 10_000];
    let mut through = 0;
    let put_off = loop {
        let applied = append(store, opened.owner, through + 1, &[body.clone(), body.clone()]).await.expect("an answer");
        assert!(applied.through == through || applied.put_off.is_none());
        through = applied.through;
        if let Some(put_off) = applied.put_off {
            break put_off;
        }
        assert!(through < 10_000, "there is room for ever");
    };
    assert_eq!(put_off.code, Code::DISK_FULL);
    // All of a batch, and what is behind it.
    let one = [body.clone()];
    let (first, second) =
        tokio::join!(append(store, opened.owner, through + 1, &one), append(store, opened.owner, through + 2, &one));
    for applied in [first, second] {
        let applied = applied.expect("an answer");
        assert_eq!((applied.through, applied.put_off.is_some()), (through, true));
    }
    let messages = Batch::of(vec![b'y'; 100_000]);
    let plain = Plain { source: source(), first: 1, messages, chain: Chain::default() };
    assert!(matches!(store.keep(plain).await, Err(StoreError::Full(_))));

    if filler.exists() {
        fs::remove_file(&filler).expect("make room");
    } else {
        setrlimit(Resource::RLIMIT_FSIZE, unlimited.0, unlimited.1).expect("no limit");
    }
    let applied = append(store, opened.owner, through + 1, &[body.clone(), body]).await;
    assert_eq!(applied, Ok(Applied { through: through + 2, ..Applied::default() }));
    check(path, through + 2);
}

async fn failing_sync(store: &SqliteStore) {
    let opened = open(store).await.expect("open the session");
    let mut through = 0;
    let error = loop {
        match append(store, opened.owner, through + 1, &[b"message".to_vec()]).await {
            Ok(applied) => through = applied.through,
            Err(error) => break error,
        }
        assert!(through < LONE, "no sync failed");
    };
    let StoreError::Failed(why) = error else { panic!("{error}") };
    assert!(why.contains("could not be brought to the disk"), "{why}");
    assert_eq!(store.failed().await, why);
    assert_eq!(open(store).await.map(drop), Err(StoreError::Failed(why)));
    say(through);
}

/// Tells the test that has started this process; at once, since it may be killed at any time.
fn say(through: u64) {
    writeln!(std::io::stderr(), "acknowledged {through}").expect("write to standard error");
}

/// All messages up to a number are there, once each and in order; gives the number after the last.
fn check(path: &Path, at_least: u64) -> u64 {
    let connection = rusqlite::Connection::open(path).expect("open the file");
    let numbers: Vec<u64> = connection
        .prepare("SELECT number FROM received ORDER BY id")
        .expect("a view")
        .query_map([], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("numbers");
    let count = numbers.len() as u64;
    assert!(numbers.iter().copied().eq(1..=count), "{numbers:?}");
    assert!(count >= at_least, "{at_least} were acknowledged, {count} are there");
    let acked: i64 =
        connection.query_row("SELECT ifnull(max(acked), 0) FROM sessions", [], |row| row.get(0)).expect("a row");
    assert_eq!(acked.unsigned_abs(), count);
    count
}

/// Runs this test program for a task, by way of another program.
fn process(through: &[&str], task: &str, path: &Path) -> Output {
    let me = env::current_exe().expect("this program");
    let mut command = Command::new(through[0]);
    command.args(&through[1..]).arg(me).args(["--exact", "storing::a_process_that_stores", "--nocapture"]);
    command.env(TASK, format!("{task} {}", path.display())).output().expect("start a process")
}

#[track_caller]
fn succeeded(output: &Output) {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The last number that a process has said to be acknowledged.
fn acknowledged(output: &Output) -> u64 {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find_map(|line| line.strip_prefix("acknowledged "));
    last.map_or(0, |number| number.parse().expect("a number"))
}

fn has_strace(test: &str) -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let works = works.is_ok_and(|output| output.status.success());
    if !works {
        skip(test, "there is no strace here");
    }
    works
}

#[test]
fn a_file_that_may_not_grow_puts_off_and_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    // The signal's being ignored is passed on.
    let limited = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    succeeded(&process(&limited, "no-room", &directory.path().join("store.db")));
}

#[test]
fn a_full_disk_puts_off_and_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let mount = format!(
        "mount -t tmpfs -o size=3m tmpfs {0} && head -c 1000000 /dev/zero >{0}/filler && exec \"$@\"",
        directory.path().display()
    );
    let alone = if is_root() { "-m" } else { "-rm" };
    if !Command::new("unshare").args([alone, "true"]).output().is_ok_and(|output| output.status.success()) {
        return skip("a_full_disk_puts_off_and_goes_on", "network namespaces need root");
    }
    succeeded(&process(&["unshare", alone, "sh", "-c", &mount, "sh"], "no-room", &directory.path().join("store.db")));
}

#[test]
fn a_lone_message_is_synced_once() {
    if !has_strace("a_lone_message_is_synced_once") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let calls = directory.path().join("calls");
    let strace = ["strace", "-f", "-o", calls.to_str().expect("text"), "-e", "trace=fsync,fdatasync"];
    let output = process(&strace, "one-by-one", &directory.path().join("store.db"));
    succeeded(&output);
    assert_eq!(acknowledged(&output), LONE);
    let calls = fs::read_to_string(calls).expect("calls");
    let syncs = calls.lines().filter(|line| line.contains("sync(")).count() as u64;
    assert!((LONE..LONE + 20).contains(&syncs), "{syncs} syncs for {LONE} messages and the making of a file");
}

#[test]
fn after_a_sync_that_failed_nothing_is_acknowledged_and_nothing_is_synced() {
    if !has_strace("after_a_sync_that_failed_nothing_is_acknowledged_and_nothing_is_synced") {
        return;
    }
    for when in ["5", "9"] {
        let directory = tempfile::tempdir().expect("a directory");
        let (calls, path) = (directory.path().join("calls"), directory.path().join("store.db"));
        // What a thread does is counted by itself, and the one that makes the file is not meant.
        drop(SqliteStore::open(&path, SqliteConfig::default()).expect("make the store"));
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={when}");
        let strace =
            ["strace", "-f", "-o", calls.to_str().expect("text"), "-e", "trace=fsync,fdatasync", "-e", &inject];
        let output = process(&strace, "failing-sync", &path);
        succeeded(&output);
        let calls = fs::read_to_string(calls).expect("calls");
        let last = calls.lines().rfind(|line| line.contains("sync(")).expect("a sync");
        assert!(last.contains("EIO"), "another sync after the one that failed:\n{calls}");
        check(&path, acknowledged(&output));
    }
}

#[test]
fn whenever_a_process_is_killed_what_it_has_acknowledged_is_there_once() {
    if !has_strace("whenever_a_process_is_killed_what_it_has_acknowledged_is_there_once") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.db");
    let calls = "fsync,fdatasync,pwrite64,ftruncate";
    let (mut through, mut killed) = (0, 0);
    // Again and again the same store, with what the last process has left.
    for when in (1..24).chain((24..120).step_by(12)) {
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:signal=SIGKILL:when={when}"));
        let strace = ["strace", "-f", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let output = process(&strace, "one-by-one", &path);
        killed += u32::from(!output.status.success());
        let said = acknowledged(&output);
        assert!(said == 0 || said > through, "what was acknowledged goes on: {said} after {through}");
        let opened = SqliteStore::open(&path, SqliteConfig::default()).expect("open the store");
        let log = fs::metadata(&wilco::service::store::sqlite::files(&path)[1]).expect("the log").len();
        assert_eq!(log, 0, "what nobody may have synced is brought to the disk before the first answer");
        drop(opened);
        through = check(&path, said.max(through));
    }
    assert!(killed >= 20, "only {killed} were killed");
    assert!(through > LONE);
}
