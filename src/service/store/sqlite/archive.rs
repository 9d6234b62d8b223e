//! `Archive`: a store as those see it who only read, beside the server that writes to it.
//!
//! Apart from the store: nothing here is in a hurry, and nothing of it may be in the server's way. Every question is a short one, so that no log grows because
//! somebody reads slowly.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, named_params};
use thiserror::Error;

use super::LOCK_TIMEOUT;
use super::file::{self, OpenError, has_log};
use super::held::Held;
use super::schema::{self, Identity};

/// How many messages are read at once at the most.
const PAGE: usize = 1000;

/// How many bytes of messages are read at once, but for the last of them.
const PAGE_BYTES: usize = 1024 * 1024;

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

/// Why a store cannot be read, or nothing be deleted in it.
#[derive(Debug, Error)]
#[error("{what} the store {}: {why}", .path.display())]
pub struct ArchiveError {
    pub(super) what: &'static str,
    pub(super) path: PathBuf,
    pub(super) why: String,
}

/// A message as it was stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// Its place among all that were stored; later ones have a higher, and none is used again.
    pub id: i64,
    /// When it was stored, in milliseconds since 1970.
    pub at: i64,
    /// Where it came from: a client's address.
    pub peer: String,
    /// What the client calls itself.
    pub name: Option<String>,
    /// The client's user, at a Unix socket.
    pub user: Option<u32>,
    /// Its session; none for a plain message.
    pub session: Option<String>,
    /// Its number in the session, or else in the connection.
    pub number: u64,
    /// `SID:NUMBER`, if it was first sent in another session.
    pub origin: Option<String>,
    /// The message.
    pub body: Vec<u8>,
}

/// Which messages are meant; by default all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those that were stored then or later.
    pub since: Option<SystemTime>,
    /// Those whose client's address, name or session begins like this.
    pub from: Option<String>,
    /// Those in which this occurs.
    pub search: Option<String>,
}

/// A store that is read.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    held: Held,
    connection: Connection,
}

impl Archive {
    /// Opens a store to read it; a server may be writing to it. Nothing is made or changed, and where SQLite can do without no permission to write is needed.
    ///
    /// # Errors
    /// There is no such file, it is no store or one of a later version, or must not be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned());
        file::is_file(&path)?;
        file::readable(&path)?;
        let held = Held::of_file(&path).map_err(|error| OpenError::of_io(&path, &error))?;
        let connection = match reader(&path) {
            // The files beside it are missing and must not be made: nobody writes to it then.
            Err(OpenError::Failed(..) | OpenError::Denied(_) | OpenError::DirectoryDenied(..)) if !has_log(&path) => {
                unchanging(&path)
            }
            opened => opened,
        }?;
        known(&connection, &path)?;
        Ok(Self { path, held, connection })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The highest [`id`](Stored::id); 0 if there are no messages.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last(&self) -> Result<i64, ArchiveError> {
        let last = self.connection.query_row("SELECT ifnull(max(id), 0) FROM messages", [], |row| row.get(0));
        last.map_err(|error| self.failed(&error))
    }

    /// A number that is another once messages may have been added since the last question.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn version(&self) -> Result<i64, ArchiveError> {
        let version = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0));
        version.map_err(|error| self.failed(&error))
    }

    /// Asks whether the file is still the one at its path: nobody adds anything to another.
    ///
    /// # Errors
    /// It was deleted or replaced.
    pub fn check(&self) -> Result<(), ArchiveError> {
        let gone =
            |_| ArchiveError { what: "follow", path: self.path.clone(), why: "it was deleted or replaced".to_owned() };
        self.held.gone().map(gone).map_or(Ok(()), Err)
    }

    /// After which [`id`](Stored::id) so many of the last that are meant begin.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn before_last(&self, count: usize, selection: &Selection) -> Result<i64, ArchiveError> {
        let sql = format!("SELECT ifnull(min(id), :through + 1) - 1 FROM ({SELECT} ORDER BY m.id DESC LIMIT :count)");
        let since = selection.since();
        let through = self.last()?;
        let asked = self.connection.query_row(
            &sql,
            named_params! {
                ":after": 0, ":through": through, ":since": since, ":from": selection.from, ":search": selection.search,
                ":count": i64::try_from(count).unwrap_or(i64::MAX),
            },
            |row| row.get(0),
        );
        asked.map_err(|error| self.failed(&error))
    }

    /// The next messages after an [`id`](Stored::id) that are meant, up to another, in the order in which they were stored: as many as there are or as are
    /// worth reading at once. None if there are none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&self, after: i64, through: i64, selection: &Selection) -> Result<Vec<Stored>, ArchiveError> {
        self.page(after, through, selection).map_err(|error| self.failed(&error))
    }

    fn page(&self, after: i64, through: i64, selection: &Selection) -> rusqlite::Result<Vec<Stored>> {
        let mut select = self.connection.prepare_cached(&format!("{SELECT} ORDER BY m.id"))?;
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
        ArchiveError { what: "read", path: self.path.clone(), why: error.to_string() }
    }
}

impl Selection {
    fn since(&self) -> Option<i64> {
        self.since.map(milliseconds)
    }
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

pub(super) fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
