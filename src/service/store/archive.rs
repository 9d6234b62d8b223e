//! `Archive`: a store as those see it who only read, beside the servers that write to it; what `messages`, a replay and programs at work see.
//!
//! Apart from [`Store`](super::Store), which servers write to: nothing here is in a hurry. Whoever reads may block.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// A store that is read.
pub trait Archive: Send + fmt::Debug {
    /// What its user calls it, without secrets: the same each time that it is opened.
    fn name(&self) -> String;

    /// The highest [`id`](Stored::id); 0 if there are no messages.
    ///
    /// # Errors
    /// The store cannot be read.
    fn last(&self) -> Result<i64, ArchiveError>;

    /// After which [`id`](Stored::id) so many of the last that are meant begin.
    ///
    /// # Errors
    /// The store cannot be read.
    fn before_last(&self, count: usize, selection: &Selection) -> Result<i64, ArchiveError>;

    /// The next messages after an [`id`](Stored::id) that are meant, up to another, in the order in which they were stored: as many as there are or as are
    /// worth reading at once. None if there are none.
    ///
    /// # Errors
    /// The store cannot be read.
    fn next(&self, after: i64, through: i64, selection: &Selection) -> Result<Vec<Stored>, ArchiveError>;

    /// Waits until something may have been stored since this was asked last, or since the store was opened, but no longer than so long. To be asked before [`last`](Self::last).
    ///
    /// # Errors
    /// The store cannot be read, or is gone: nobody adds anything to another.
    fn wait(&self, most: Duration) -> Result<(), ArchiveError>;
}

/// Why a store cannot be read, or nothing be deleted in it.
#[derive(Debug, Error)]
#[error("{what} the store {store}: {why}")]
pub struct ArchiveError {
    pub(super) what: &'static str,
    pub(super) store: String,
    pub(super) why: String,
}

impl ArchiveError {
    pub(super) fn of_file(what: &'static str, path: &Path, why: String) -> Self {
        Self { what, store: path.display().to_string(), why }
    }

    pub(super) fn of(what: &'static str, store: &impl fmt::Display, why: String) -> Self {
        Self { what, store: store.to_string(), why }
    }
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

impl Selection {
    /// From when on, in milliseconds since 1970.
    pub(super) fn since(&self) -> Option<i64> {
        self.since.map(milliseconds)
    }
}

/// Milliseconds since 1970.
pub(super) fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
