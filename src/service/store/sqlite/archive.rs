//! `SqliteArchive`: a store in a file as those see it who only read, beside the server that writes to it.
//!
//! Apart from the store: nothing of it may be in the server's way. Every question is a short one, so that no log grows because somebody reads slowly.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, named_params};

use super::LOCK_TIMEOUT;
use super::file::{self, OpenError, has_log};
use super::held::Held;
use super::schema::{self, Identity};
use crate::service::store::archive::{Archive, ArchiveError, Selection, Span, Stored};

/// How many messages are read at once at the most.
const PAGE: usize = 1000;

/// How many bytes of messages are read at once, but for the last of them.
const PAGE_BYTES: usize = 1024 * 1024;

/// How often it is looked whether something was stored, where nothing was for some time.
const POLL: Duration = Duration::from_millis(100);

/// How soon it is looked again after something was stored: what comes in often is seen soon.
const FIRST_POLL: Duration = Duration::from_millis(2);

/// What can be asked of a store. `:after` and what else there is are named.
const SELECT: &str = "
SELECT m.id, m.at, CASE WHEN m.port IS NULL THEN s.address ELSE s.address || ':' || m.port END AS peer, s.name, s.user,
       CASE WHEN m.session IS NULL THEN NULL ELSE ifnull(o.sid, 'forgotten ' || m.session) END AS sid, m.number, m.origin, m.body
  FROM messages m LEFT JOIN sources s ON s.id = m.source LEFT JOIN sessions o ON o.id = m.session
 WHERE m.id > :after AND m.id <= :through
   AND (:since IS NULL OR m.at >= :since)
   AND (:from IS NULL OR substr(peer, 1, length(:from)) = :from OR substr(s.name, 1, length(:from)) = :from
        OR substr(sid, 1, length(:from)) = :from)
   AND (:search IS NULL OR instr(CAST(m.body AS BLOB), CAST(:search AS BLOB)) > 0)";

/// A store in a file that is read.
#[derive(Debug)]
pub struct SqliteArchive {
    path: PathBuf,
    held: Held,
    connection: RefCell<Connection>,
    /// What the file was like when SQLite was told that nobody writes to it, if it was.
    unchanging: Cell<Option<Look>>,
    /// The version of the data that was seen last: it is another once something was stored.
    seen: Cell<i64>,
    /// How long it is waited before it is looked again.
    pause: Cell<Duration>,
}

impl SqliteArchive {
    /// Opens a store to read it; a server may be writing to it. Nothing is made or changed, and where SQLite can do without no permission to write is needed.
    ///
    /// # Errors
    /// There is no such file, it is no store or one of a later version, or must not be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned());
        file::is_file(&path)?;
        file::readable(&path)?;
        let held = Held::of_file(&path).map_err(|error| OpenError::of_io(&path, &error))?;
        let (connection, unchanging) = connect(&path)?;
        let (connection, unchanging) = (RefCell::new(connection), Cell::new(unchanging));
        let archive = Self { path, held, connection, unchanging, seen: Cell::new(0), pause: Cell::new(FIRST_POLL) };
        archive.seen.set(archive.version().map_err(|error| OpenError::of(&archive.path, &error))?);
        Ok(archive)
    }

    /// A number that is another once messages may have been added since the last question.
    fn version(&self) -> rusqlite::Result<i64> {
        self.connection.borrow().query_row("PRAGMA data_version", [], |row| row.get(0))
    }

    /// Opens the file anew if somebody has begun to write to it, of which SQLite was told that nobody does; whether it was.
    fn opened_anew(&self) -> Result<bool, ArchiveError> {
        match self.unchanging.get() {
            Some(look) if has_log(&self.path) || Look::at(&self.path) != look => {}
            _ => return Ok(false),
        }
        let opened = connect(&self.path);
        let (connection, unchanging) =
            opened.map_err(|error| ArchiveError::of_file("read", &self.path, error.to_string()))?;
        self.connection.replace(connection);
        self.unchanging.set(unchanging);
        Ok(true)
    }

    fn page(&self, after: i64, through: i64, selection: &Selection) -> rusqlite::Result<Vec<Stored>> {
        let connection = self.connection.borrow();
        let mut select = connection.prepare_cached(&format!("{SELECT} ORDER BY m.id"))?;
        let mut rows = select.query(named_params! {
            ":after": after, ":through": through, ":since": selection.since(), ":from": selection.from, ":search": selection.search,
        })?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < PAGE && bytes < PAGE_BYTES {
            let Some(row) = rows.next()? else { break };
            let message = stored(row)?;
            bytes += message.body.len();
            page.push(message);
        }
        Ok(page)
    }

    fn failed(&self, error: &rusqlite::Error) -> ArchiveError {
        ArchiveError::of_file("read", &self.path, error.to_string())
    }
}

impl Archive for SqliteArchive {
    fn name(&self) -> String {
        // Through any link it is the same.
        let followed = self.path.is_symlink().then(|| fs::canonicalize(&self.path).ok()).flatten();
        followed.as_ref().unwrap_or(&self.path).to_string_lossy().into_owned()
    }

    fn last(&self) -> Result<i64, ArchiveError> {
        let last = self.connection.borrow().query_row("SELECT ifnull(max(id), 0) FROM messages", [], |row| row.get(0));
        last.map_err(|error| self.failed(&error))
    }

    fn span(&self) -> Result<Span, ArchiveError> {
        let sql = "SELECT through, max(through, ifnull((SELECT max(id) FROM messages), 0)) FROM pruned";
        let span = |row: &Row<'_>| Ok(Span { gone: row.get(0)?, highest: row.get(1)?, has_gaps: false });
        self.connection.borrow().query_row(sql, [], span).map_err(|error| self.failed(&error))
    }

    fn before_last(&self, count: usize, selection: &Selection) -> Result<i64, ArchiveError> {
        let sql = format!("SELECT ifnull(min(id), :through + 1) - 1 FROM ({SELECT} ORDER BY m.id DESC LIMIT :count)");
        let since = selection.since();
        let through = self.last()?;
        let asked = self.connection.borrow().query_row(
            &sql,
            named_params! {
                ":after": 0, ":through": through, ":since": since, ":from": selection.from, ":search": selection.search,
                ":count": i64::try_from(count).unwrap_or(i64::MAX),
            },
            |row| row.get(0),
        );
        asked.map_err(|error| self.failed(&error))
    }

    fn next(&self, after: i64, through: i64, selection: &Selection) -> Result<Vec<Stored>, ArchiveError> {
        self.page(after, through, selection).map_err(|error| self.failed(&error))
    }

    fn wait(&self, most: Duration) -> Result<(), ArchiveError> {
        let until = Instant::now() + most;
        loop {
            if self.opened_anew()? {
                return Ok(());
            }
            let version = self.version().map_err(|error| self.failed(&error))?;
            if self.seen.replace(version) != version {
                self.pause.set(FIRST_POLL);
                return Ok(());
            }
            if self.held.gone().is_some() {
                return Err(ArchiveError::of_gone(&self.path.display(), "it was deleted or replaced"));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let pause = self.pause.get();
            self.pause.set((pause * 2).min(POLL));
            thread::sleep(left.min(pause));
        }
    }
}

/// How long a file is, and when it was written to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Look {
    length: u64,
    modified: Option<SystemTime>,
}

impl Look {
    fn at(path: &Path) -> Self {
        let data = fs::metadata(path).ok();
        let modified = data.as_ref().and_then(|data| data.modified().ok());
        Self { length: data.map_or(0, |data| data.len()), modified }
    }
}

/// A connection, and what the file is like if that must not change for it.
fn connect(path: &Path) -> Result<(Connection, Option<Look>), OpenError> {
    let look = Look::at(path);
    let connected = match reader(path) {
        // The files beside it are missing and must not be made: nobody writes to it then.
        Err(OpenError::Failed(..) | OpenError::Denied(_) | OpenError::DirectoryDenied(..)) if !has_log(path) => {
            (unchanging(path)?, Some(look))
        }
        opened => (opened?, None),
    };
    known(&connected.0, path)?;
    Ok(connected)
}

fn reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connected(Connection::open_with_flags(path, flags), path)?;
    connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .map_err(|error| OpenError::of(path, &error))?;
    Ok(connection)
}

/// A file of which SQLite is told that nobody writes to it.
fn unchanging(path: &Path) -> Result<Connection, OpenError> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    connected(Connection::open_with_flags(uri + "?immutable=1", flags), path)
}

pub(super) fn connected(opened: rusqlite::Result<Connection>, path: &Path) -> Result<Connection, OpenError> {
    let connection = opened.and_then(|connection| {
        connection.busy_timeout(LOCK_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF")?;
        Ok(connection)
    });
    connection.map_err(|error| OpenError::of(path, &error))
}

/// Refuses what is no store, or one of a later version.
pub(super) fn known(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    match schema::identify(connection).map_err(|error| OpenError::of(path, &error))? {
        Identity::Store(version) if version <= schema::VERSION => Ok(()),
        Identity::Store(version) => Err(OpenError::Newer(path.to_owned(), version)),
        Identity::Empty => Err(OpenError::NotAStore(path.to_owned(), "empty")),
        Identity::Foreign => Err(OpenError::NotAStore(path.to_owned(), "a database of something else")),
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        id: row.get(0)?,
        at: row.get(1)?,
        peer: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
        name: row.get(3)?,
        user: row.get(4)?,
        session: row.get(5)?,
        number: row.get::<_, i64>(6)?.unsigned_abs(),
        origin: row.get(7)?,
        body: match row.get_ref(8)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
            ValueRef::Integer(number) => number.to_string().into_bytes(),
            ValueRef::Real(number) => number.to_string().into_bytes(),
            ValueRef::Null => Vec::new(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::store::Continuity;

    fn insert(writer: &Connection, id: i64, body: &str) {
        let insert = "INSERT INTO messages (id, at, source, number, body) VALUES (?1, 7, 1, 1, ?2)";
        writer.execute(insert, (id, body)).expect("stored");
    }

    fn made(path: &Path) -> Connection {
        let writer = Connection::open(path).expect("a file");
        schema::create(&writer).expect("a store");
        writer
    }

    #[test]
    fn who_was_told_that_nobody_writes_sees_who_begins_to() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store.db");
        drop(made(&path));
        let archive = SqliteArchive::open(&path).expect("a store");
        archive.connection.replace(unchanging(&path).expect("a connection"));
        archive.unchanging.set(Some(Look::at(&path)));
        assert_eq!(archive.last().expect("read"), 0);
        let writer = made(&path);
        insert(&writer, 1, "x");
        archive.wait(Duration::from_millis(1)).expect("it is there");
        assert_eq!(archive.last().expect("read"), 1);
    }

    #[test]
    fn another_store_is_told_from_the_one_that_was_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store.db");
        let writer = made(&path);
        (1..=3).for_each(|id| insert(&writer, id, "x"));
        let archive = SqliteArchive::open(&path).expect("a store");
        let mark = archive.next(2, 3, &Selection::default()).expect("read").first().map(Stored::mark);
        let of = |place, mark| Continuity::of(&archive, place, mark).expect("read");
        let is_broken = |place, mark| matches!(of(place, mark), Continuity::Broken(_));
        assert_eq!([of(3, mark), of(3, None), of(0, None)], [Continuity::Same, Continuity::Likely, Continuity::Likely]);
        assert!(is_broken(3, Some(1)) && is_broken(4, mark) && is_broken(4, None));
        writer.execute_batch("DELETE FROM messages WHERE id > 1").expect("deleted");
        assert!(is_broken(3, mark) && is_broken(2, None), "nobody has pruned it");
        writer.execute_batch("UPDATE pruned SET through = 3").expect("pruned");
        assert_eq!(of(3, mark), Continuity::Likely);
        assert_eq!(archive.span().expect("read"), Span { gone: 3, highest: 3, has_gaps: false });
    }
}
