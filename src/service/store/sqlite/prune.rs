//! `prune`: old messages are deleted, and how far each session is stays.
//!
//! Apart from reading, because it is the only thing beside the server that writes: in small steps, so that the server waits for some milliseconds at the most.

use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

use super::archive::{connected, known};
use super::file::{self, OpenError};
use crate::service::store::archive::{ArchiveError, milliseconds};

/// How many messages are deleted at once: the server waits as long.
const PRUNED_AT_ONCE: usize = 2000;

/// How many pages are given back to the disk at once.
const FREED_AT_ONCE: usize = 500;

/// How long the server is left alone between.
const BREATH: Duration = Duration::from_millis(10);

/// What was deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pruned {
    /// How many messages.
    pub messages: u64,
    /// How many others were stored before the time, and stay because they are behind the place.
    pub held_back: u64,
    /// By how many bytes the file has become shorter, or will when the server copies its log into it.
    pub bytes: u64,
}

/// Deletes the messages that were stored before a time and up to a [place](crate::service::store::Stored::id), and gives their room back to the disk. How far each session is stays, so that nothing that is
/// sent again is applied again. A server may be writing to it at the same time: it waits for some milliseconds now and then.
///
/// # Errors
/// As of [`SqliteArchive::open`](super::SqliteArchive::open); another process has locked the file, or it cannot be written to.
pub fn prune(path: impl AsRef<Path>, before: SystemTime, through: i64) -> Result<Pruned, PruneError> {
    let path = std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned());
    file::is_file(&path)?;
    file::writable(&path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connected(Connection::open_with_flags(&path, flags), &path)?;
    known(&connection, &path)?;
    let failed = |error: rusqlite::Error| ArchiveError::of_file("prune", &path, error.to_string());
    let before = milliseconds(before);
    let messages = delete(&connection, before, through).map_err(failed)?;
    let held_back = "SELECT count(*) FROM messages WHERE id > ?1 AND at < ?2";
    let held_back = connection.query_row(held_back, (through, before), |row| row.get::<_, i64>(0)).map_err(failed)?;
    let bytes = free(&connection).map_err(failed)?;
    Ok(Pruned { messages, held_back: held_back.unsigned_abs(), bytes })
}

/// Why nothing, or not all, was deleted.
#[derive(Debug, Error)]
pub enum PruneError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be written to.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

fn delete(connection: &Connection, before: i64, last: i64) -> rusqlite::Result<u64> {
    // What is to go is looked for without a lock.
    let mut find = connection.prepare(
        "SELECT max(id), count(*) FROM (SELECT id FROM messages WHERE id > ?1 AND id <= ?4 AND at < ?2 ORDER BY id LIMIT ?3)",
    )?;
    let (mut after, mut deleted) = (0, 0);
    loop {
        let found = find.query_row((after, before, PRUNED_AT_ONCE as i64, last), |row| row.get::<_, Option<i64>>(0))?;
        let Some(through) = found else { return Ok(deleted) };
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let gone = connection
            .execute("DELETE FROM messages WHERE id > ?1 AND id <= ?2 AND at < ?3", (after, through, before))
            .and_then(|gone| {
                // Where the last goes, its key must not come again.
                connection.execute("UPDATE pruned SET through = max(through, ?1)", [through])?;
                connection.execute_batch("COMMIT")?;
                Ok(gone)
            });
        deleted += gone.inspect_err(|_| drop(connection.execute_batch("ROLLBACK")))? as u64;
        after = through;
        thread::sleep(BREATH);
    }
}

/// Gives pages that are free back to the disk. Those of a file that was made without that being possible stay, and are used again.
fn free(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let before = number("PRAGMA page_count")?;
    let mut free = number("PRAGMA freelist_count")?;
    while free > 0 {
        // It frees a page with each step.
        let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({FREED_AT_ONCE})"))?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        let left = number("PRAGMA freelist_count")?;
        if left >= free {
            break;
        }
        free = left;
        thread::sleep(BREATH);
    }
    let freed = (before - number("PRAGMA page_count")?) * number("PRAGMA page_size")?;
    // The file becomes shorter with this, unless somebody reads just now.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(freed.unsigned_abs())
}
