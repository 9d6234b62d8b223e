//! What only a store in a file does, and that it does what every store does.
//!
//! Apart from the store, for their length.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::contract::{self, Fixture, append, opening, plain};
use super::super::{Kept, Source};
use super::*;
use crate::net::Addr;
use crate::service::Peer;

const SID: &str = "0123456789abcdef0123456789abcdef";

struct InFile {
    directory: TempDir,
}

impl InFile {
    fn path(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }

    fn open(&self, config: SqliteConfig) -> Arc<SqliteStore> {
        Arc::new(SqliteStore::open(self.path(), config).expect("open a store"))
    }

    fn reader(&self) -> Connection {
        Connection::open(self.path()).expect("open the file")
    }

    fn ask<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.reader().query_row(sql, [], |row| row.get(0)).expect(sql)
    }
}

impl Fixture for InFile {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn store(&mut self) -> Arc<dyn Store> {
        self.open(SqliteConfig { lock_timeout: Duration::from_millis(50), ..SqliteConfig::default() })
    }

    fn kept(&self) -> Vec<Kept> {
        let connection = self.reader();
        let mut select = connection
            .prepare("SELECT peer, name, sid, number, origin, CAST(body AS BLOB) FROM received ORDER BY id")
            .expect("a view");
        let rows = select.query_map([], |row| {
            let addr: String = row.get(0)?;
            let addr = Addr::Inet(addr.parse().expect("an address"));
            let origin: Option<String> = row.get(4)?;
            Ok(Kept {
                source: Arc::new(Source { peer: Peer { addr, local: None, credentials: None }, name: row.get(1)? }),
                session: row.get::<_, Option<String>>(2)?.map(|sid| sid.parse().expect("a session")),
                number: row.get::<_, i64>(3)?.unsigned_abs(),
                origin: origin.map(|origin| {
                    let (session, number) = origin.split_once(':').expect("an origin");
                    (session.parse().expect("a session"), number.parse().expect("a number"))
                }),
                body: row.get(5)?,
            })
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("messages")
    }

    fn full(&mut self, _full: bool) -> bool {
        // A disk that is full takes a process of its own: tests/it/storing.rs.
        false
    }
}

contract::tests!(InFile);

fn text(path: &Path) -> String {
    SqliteStore::open(path, SqliteConfig { lock_timeout: Duration::from_millis(20), ..SqliteConfig::default() })
        .expect_err("no store")
        .to_string()
}

#[tokio::test]
async fn the_files_are_the_owners_and_stay() {
    let fixture = InFile::new();
    let store = fixture.open(SqliteConfig::default());
    store.keep(plain(&["hello"])).await.expect("keep");
    let modes = || files(&fixture.path()).map(|path| fs::metadata(path).expect("a file").permissions().mode() & 0o777);
    assert_eq!(modes(), [0o600; 3]);
    drop(store);
    assert_eq!(modes(), [0o600; 3], "a server in a sandbox could not make them again");
    let log = fs::metadata(&files(&fixture.path())[1]).expect("the log").len();
    assert_eq!(log, 0, "what was closed in order is all in the file itself");
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let fixture = InFile::new();
    let directory = fixture.directory.path();
    let said = |path: &Path, why: &str| assert_eq!(text(path), format!("open the store {}: {why}", path.display()));
    let missing = directory.join("missing/store.db");
    said(&missing, &format!("there is no directory {}", directory.join("missing").display()));
    said(directory, "it is a directory, and no store");
    let words = directory.join("words.txt");
    fs::write(&words, "to whom it may concern: this is no database\n".repeat(100)).expect("a file");
    said(&words, "it is no database of SQLite's, and no store");
    let foreign = directory.join("foreign.db");
    Connection::open(&foreign).and_then(|foreign| foreign.execute_batch("CREATE TABLE t (a)")).expect("a database");
    said(&foreign, "it is a database of something else, and no store");
    for path in [words, foreign] {
        assert!(!files(&path)[1].exists(), "nothing is written to it");
    }
    drop(fixture.open(SqliteConfig::default()));
    fixture.reader().execute_batch("PRAGMA user_version = 99").expect("a version");
    said(&fixture.path(), "it was made by a later version (its tables are of version 99, this knows 1)");
}

#[test]
fn a_file_that_is_locked_is_no_mistake() {
    let fixture = InFile::new();
    drop(fixture.open(SqliteConfig::default()));
    let blocker = fixture.reader();
    blocker.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; SELECT * FROM pruned").expect("a lock");
    let error = SqliteStore::open(
        fixture.path(),
        SqliteConfig { lock_timeout: Duration::from_millis(20), ..SqliteConfig::default() },
    );
    let error = error.expect_err("locked");
    assert!(matches!(error, OpenError::Locked(_)) && !error.is_usage(), "{error}");
}

#[test]
fn what_was_made_and_comes_to_nothing_is_taken_away() {
    let fixture = InFile::new();
    // In the place of a file that SQLite has beside it for a moment.
    fs::create_dir(fixture.directory.path().join("store.db-journal")).expect("a directory");
    let why = text(&fixture.path());
    let says = format!("cannot be opened or made in the directory {}", fixture.directory.path().display());
    assert!(why.ends_with(&says), "{why}");
    assert!(!fixture.path().exists());
    fs::write(fixture.path(), "").expect("a file");
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o644)).expect("permissions");
    text(&fixture.path());
    let mode = fs::metadata(fixture.path()).expect("it is somebody else's").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn a_log_whose_store_is_not_there_stays() {
    let fixture = InFile::new();
    drop(fixture.open(SqliteConfig::default()));
    let [path, log, _] = files(&fixture.path());
    fs::rename(&path, fixture.directory.path().join("moved.db")).expect("another place");
    fs::write(&log, "messages that were acknowledged").expect("a log");
    let error = SqliteStore::open(&path, SqliteConfig::default()).expect_err("half a store");
    let says = format!(
        "it is not there, but its log {0} is: put the store back beside it, or move the log away",
        log.display()
    );
    assert!(error.is_usage() && error.to_string().ends_with(&says), "{error}");
    assert!(!path.exists());
    assert_eq!(fs::read(&log).expect("a log"), b"messages that were acknowledged");
    // There is nothing to be lost in an empty one.
    fs::write(&log, "").expect("a log");
    drop(fixture.open(SqliteConfig::default()));
}

#[test]
fn an_empty_file_becomes_the_owners() {
    let fixture = InFile::new();
    for path in files(&fixture.path()) {
        fs::write(&path, "").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("permissions");
    }
    let store = fixture.open(SqliteConfig::default());
    let modes = files(&fixture.path()).map(|path| fs::metadata(path).expect("a file").permissions().mode() & 0o777);
    assert_eq!(modes, [0o600; 3]);
    drop(store);
}

#[test]
fn what_everybody_may_write_to_is_no_store() {
    let fixture = InFile::new();
    drop(fixture.open(SqliteConfig::default()));
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o602)).expect("permissions");
    assert!(text(&fixture.path()).ends_with(&format!("everybody may write to {}", fixture.path().display())));
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o664)).expect("permissions");
    drop(fixture.open(SqliteConfig::default()));
}

#[test]
fn what_is_exposed_is_left_as_it_is() {
    let fixture = InFile::new();
    // As it is after a server was killed: what was acknowledged last is in the log.
    let store = fixture.open(SqliteConfig::default());
    fixture.reader().execute_batch("CREATE TABLE late (a)").expect("something in the log");
    let killed = files(&fixture.path()).map(|path| fs::read(path).expect("a file"));
    drop(store);
    assert!(!killed[1].is_empty());
    for exposed in files(&fixture.path()) {
        for (path, bytes) in files(&fixture.path()).iter().zip(&killed) {
            fs::write(path, bytes).expect("a file");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
        }
        fs::set_permissions(&exposed, fs::Permissions::from_mode(0o602)).expect("permissions");
        assert!(text(&fixture.path()).ends_with(&format!("everybody may write to {}", exposed.display())));
        let left = files(&fixture.path()).map(|path| fs::read(path).expect("a file"));
        assert!(left == killed, "{}", exposed.display());
    }
}

#[tokio::test]
async fn people_read_it() {
    let fixture = InFile::new();
    let store = fixture.open(SqliteConfig {
        clock: Clock::new(|| UNIX_EPOCH + Duration::from_millis(1_795_264_496_789)),
        ..SqliteConfig::default()
    });
    let opened = Store::open(&*store, opening(SID, 1)).await.expect("open");
    store.append(append(SID, opened.owner, 1, &["caf\u{e9}", "a\0b"])).await.expect("append");
    store.keep(plain(&["{\"level\": 7}"])).await.expect("keep");
    let row = |id: u64, column: &str| format!("SELECT {column} FROM received WHERE id = {id}");
    assert_eq!(fixture.ask::<String>(&row(1, "time")), "2026-11-21 12:34:56.789");
    assert_eq!(
        fixture.ask::<String>(&row(1, "peer || ' ' || sid || ' ' || number")),
        format!("127.0.0.1:5000 {SID} 1")
    );
    assert_eq!(fixture.ask::<String>(&row(1, "typeof(body)")), "text");
    assert_eq!(fixture.ask::<String>(&row(2, "typeof(body)")), "blob");
    assert_eq!(fixture.ask::<i64>("SELECT body ->> 'level' FROM received WHERE sid IS NULL"), 7);
    assert_eq!(fixture.ask::<i64>("SELECT count(*) FROM sources"), 1, "a row a source, not a row a connection");
}

/// The seconds that a store's clock shows, and the clock.
fn clock() -> (Arc<AtomicU64>, Clock) {
    let now = Arc::new(AtomicU64::new(1_000_000));
    let shown = Arc::clone(&now);
    (now, Clock::new(move || UNIX_EPOCH + Duration::from_secs(shown.load(Ordering::Relaxed))))
}

#[tokio::test]
async fn sessions_are_kept_for_their_time_and_no_more_of_them() {
    let fixture = InFile::new();
    let (now, clock) = clock();
    let session_lifetime = Duration::from_secs(1000);
    let store = fixture.open(SqliteConfig { max_sessions: 3, session_lifetime, clock, ..SqliteConfig::default() });
    let open = |number: u32| Store::open(&*store, opening(&format!("{number:016}"), 1));
    let mut owners = Vec::new();
    for number in 0..3 {
        owners.push(open(number).await.expect("there is room").owner);
    }
    assert_eq!(open(3).await.map(drop), Err(StoreError::TooManySessions));
    assert!(open(1).await.is_ok(), "one that is known needs no room");
    now.fetch_add(900, Ordering::Relaxed);
    store.append(append(&format!("{:016}", 2), owners[2], 1, &["used"])).await.expect("append");
    now.fetch_add(99, Ordering::Relaxed);
    assert_eq!(open(3).await.map(drop), Err(StoreError::TooManySessions), "not yet");
    now.fetch_add(62, Ordering::Relaxed);
    assert!(open(3).await.is_ok(), "two were kept long enough");
    assert!(open(2).await.expect("one that was used").progress.known);
    assert!(!open(0).await.expect("a new one").progress.known);
    assert_eq!(open(4).await.map(drop), Err(StoreError::TooManySessions));
    drop(store);
    assert_eq!(fixture.ask::<i64>("SELECT count(*) FROM sessions"), 3);
    assert_eq!(fixture.ask::<i64>("SELECT count(*) FROM received WHERE sid = '0000000000000002'"), 1);
}

#[tokio::test]
async fn sessions_without_messages_make_room_for_others_after_an_hour() {
    let fixture = InFile::new();
    let (now, clock) = clock();
    let store = fixture.open(SqliteConfig { max_sessions: 2, clock, ..SqliteConfig::default() });
    let open = |number: u32| Store::open(&*store, opening(&format!("{number:016}"), 1));
    let owner = open(0).await.expect("there is room").owner;
    store.append(append(&format!("{:016}", 0), owner, 1, &["one"])).await.expect("append");
    open(1).await.expect("there is room");
    now.fetch_add(3600, Ordering::Relaxed);
    assert_eq!(open(2).await.map(drop), Err(StoreError::TooManySessions), "not yet");
    now.fetch_add(61, Ordering::Relaxed);
    assert!(open(2).await.is_ok(), "one had no messages");
    assert_eq!(open(0).await.expect("one with a message").progress.acknowledged, 1);
    assert_eq!(open(1).await.map(drop), Err(StoreError::TooManySessions));
}

#[tokio::test]
async fn a_session_that_made_room_begins_anew_and_whoever_had_it_is_not_its_owner() {
    let fixture = InFile::new();
    let (now, clock) = clock();
    let store = fixture.open(SqliteConfig { max_sessions: 2, clock, ..SqliteConfig::default() });
    let open = |number: u32| Store::open(&*store, opening(&format!("{number:016}"), 1));
    let append = |number: u32, owner, first| store.append(append(&format!("{number:016}"), owner, first, &["one"]));
    let mut before = open(0).await.expect("there is room").owner;
    for _ in 0..5 {
        before = open(0).await.expect("the same").owner;
    }
    open(1).await.expect("there is room");
    now.fetch_add(3700, Ordering::Relaxed);
    let other = open(2).await.expect("the others had no messages").owner;
    // It is put off, and comes again.
    assert_eq!(append(0, before, 1).await, Err(StoreError::TooManySessions));
    let after = open(0).await.expect("there is room").owner;
    assert!(after > before, "the connection that had it must not be taken for the newer one");
    assert_eq!(append(0, before, 1).await, Err(StoreError::TakenOver));
    assert_eq!(append(0, after, 1).await.map(|applied| applied.through), Ok(1));
    // Of one that had any the client has to be told that it was forgotten.
    append(2, other, 1).await.expect("stored");
    now.fetch_add(100 * 24 * 3600, Ordering::Relaxed);
    open(3).await.expect("there is room");
    assert_eq!(append(2, other, 2).await, Err(StoreError::TakenOver));
}

#[tokio::test]
async fn two_processes_may_have_it() {
    let fixture = InFile::new();
    let (here, there) = (fixture.open(SqliteConfig::default()), fixture.open(SqliteConfig::default()));
    let first = Store::open(&*here, opening(SID, 1)).await.expect("open");
    here.append(append(SID, first.owner, 1, &["one"])).await.expect("append");
    let second = Store::open(&*there, opening(SID, 1)).await.expect("open");
    assert_eq!((second.progress.acknowledged, second.owner > first.owner), (1, true));
    assert_eq!(here.append(append(SID, first.owner, 2, &["stale"])).await, Err(StoreError::TakenOver));
    assert_eq!(there.append(append(SID, second.owner, 2, &["two"])).await.map(|applied| applied.through), Ok(2));
    assert_eq!(here.append(append(SID, first.owner, 3, &["stale"])).await, Err(StoreError::TakenOver));
    here.keep(plain(&["plain"])).await.expect("keep");
    assert_eq!(fixture.kept().len(), 3);
}

#[tokio::test]
async fn while_another_has_locked_it_messages_are_put_off() {
    let mut fixture = InFile::new();
    let store = fixture.store();
    let owner = store.open(opening(SID, 1)).await.expect("open").owner;
    store.append(append(SID, owner, 1, &["one"])).await.expect("append");
    let blocker = fixture.reader();
    blocker.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let applied = store.append(append(SID, owner, 2, &["two"])).await.expect("an answer");
    assert_eq!((applied.through, applied.put_off.is_some()), (1, true));
    assert!(matches!(store.keep(plain(&["plain"])).await, Err(StoreError::Busy(_))));
    assert!(matches!(store.open(opening(SID, 1)).await, Err(StoreError::Busy(_))));
    blocker.execute_batch("COMMIT").expect("no lock");
    assert_eq!(store.append(append(SID, owner, 2, &["two"])).await.map(|applied| applied.through), Ok(2));
}

#[tokio::test]
async fn after_a_failure_nothing_is_acknowledged() {
    let fixture = InFile::new();
    let store = fixture.open(SqliteConfig::default());
    let owner = Store::open(&*store, opening(SID, 1)).await.expect("open").owner;
    fixture.reader().execute_batch("DROP VIEW received; DROP TABLE messages").expect("a disaster");
    let reason = StoreError::Failed("no such table: messages".to_owned());
    assert_eq!(store.append(append(SID, owner, 1, &["one"])).await, Err(reason.clone()));
    assert_eq!(store.failed().await, "no such table: messages");
    assert_eq!(store.keep(plain(&["plain"])).await, Err(reason.clone()));
    assert_eq!(Store::open(&*store, opening(SID, 1)).await.map(drop), Err(reason));
}

#[tokio::test]
async fn nothing_is_acknowledged_that_is_in_no_file() {
    type Disaster = fn(&[PathBuf; 3]) -> std::io::Result<()>;
    let disasters: [(Disaster, usize); 5] = [
        (|files| files.iter().try_for_each(fs::remove_file), 0),
        (|files| fs::remove_file(&files[0]), 0),
        (
            |files| {
                fs::copy(&files[0], files[0].with_extension("old"))
                    .and_then(|_| fs::rename(files[0].with_extension("old"), &files[0]))
            },
            0,
        ),
        (|files| fs::remove_file(&files[1]), 1),
        (|files| fs::remove_file(&files[2]), 2),
    ];
    for (happens, file) in disasters {
        let fixture = InFile::new();
        // Through a link, beside which nothing else is.
        let link = fixture.directory.path().join("link.db");
        std::os::unix::fs::symlink("store.db", &link).expect("a link");
        drop(fixture.open(SqliteConfig::default()));
        let store = SqliteStore::open(&link, SqliteConfig::default()).expect("open a store");
        let owner = Store::open(&store, opening(SID, 1)).await.expect("open").owner;
        store.append(append(SID, owner, 1, &["one"])).await.expect("all is well");
        let mut files = files(&fixture.path());
        happens(&files).expect("a disaster");
        files[0] = link;
        let why = format!("the file {} was deleted or replaced while the server used it", files[file].display());
        let failed = StoreError::Failed(why.clone());
        assert_eq!(store.append(append(SID, owner, 2, &["two"])).await, Err(failed.clone()));
        assert_eq!(store.failed().await, why);
        assert_eq!(store.keep(plain(&["plain"])).await, Err(failed));
    }
}

#[tokio::test]
async fn the_log_does_not_grow_while_somebody_reads() {
    let fixture = InFile::new();
    let store = fixture.open(SqliteConfig { checkpoint_bytes: 256 * 1024, ..SqliteConfig::default() });
    let reader = fixture.reader();
    let body = "x".repeat(10_000);
    let mut longest = 0;
    for _ in 0..200 {
        store.keep(plain(&[&body, &body])).await.expect("keep");
        reader.query_row("SELECT count(*) FROM messages", [], |row| row.get::<_, i64>(0)).expect("a count");
        longest = longest.max(fs::metadata(&files(&fixture.path())[1]).expect("the log").len());
    }
    assert!((256 * 1024..1024 * 1024).contains(&longest), "{longest} bytes");
}

#[tokio::test]
async fn keys_are_never_used_again() {
    let fixture = InFile::new();
    let store = fixture.open(SqliteConfig::default());
    store.keep(plain(&["one", "two", "three"])).await.expect("keep");
    fixture.reader().execute_batch("UPDATE pruned SET through = 3; DELETE FROM messages").expect("delete all");
    store.keep(plain(&["four", "five"])).await.expect("keep");
    store.keep(plain(&["six"])).await.expect("keep");
    let bodies = || fixture.ask::<String>("SELECT group_concat(id || body, ' ') FROM messages");
    assert_eq!(bodies(), "4four 5five 6six");
    fixture.reader().execute_batch("UPDATE pruned SET through = 6; DELETE FROM messages WHERE id > 4").expect("delete");
    store.keep(plain(&["seven"])).await.expect("keep");
    assert_eq!(bodies(), "4four 7seven");
}

#[tokio::test]
async fn whoever_is_turned_away_leaves_nothing() {
    let fixture = InFile::new();
    let store = fixture.open(SqliteConfig { max_sessions: 1, ..SqliteConfig::default() });
    let by = |name: &str, opening: Opening| Opening { source: contract::source(Some(name)), ..opening };
    let owned = Opening { principal: Some("uid:1".to_owned()), ..opening(SID, 1) };
    store.open(by("owner", owned)).await.expect("a session");
    let unknown = store.open(by("unknown", opening("ffffffffffffffff", 2))).await.expect("an answer");
    assert!(!unknown.progress.known);
    assert_eq!(store.open(by("foreign", opening(SID, 1))).await.map(drop), Err(StoreError::Foreign));
    let more = store.open(by("more", opening("ffffffffffffffff", 1))).await.map(drop);
    assert_eq!(more, Err(StoreError::TooManySessions));
    assert_eq!(fixture.ask::<String>("SELECT group_concat(name) FROM sources"), "owner");
}
