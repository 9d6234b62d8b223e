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

    /// Where it begins and ends, whether there are messages or not.
    ///
    /// # Errors
    /// The store cannot be read.
    fn span(&self) -> Result<Span, ArchiveError>;

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

/// Where a store begins and ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    /// Up to this place messages may have been deleted: 0 if none were.
    pub gone: i64,
    /// No message has ever had a higher place.
    pub highest: i64,
    /// Whether single messages may be deleted behind that, too.
    pub has_gaps: bool,
}

/// Whether a store is the one in which somebody has read up to a place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Continuity {
    /// The message at that place is the same.
    Same,
    /// Nothing speaks against it: that message is deleted, or nothing is known of it.
    Likely,
    /// It is another, or was set back: why, in words.
    Broken(String),
}

impl Continuity {
    /// Looks at a store that was read up to a place, with a message there that has this [mark](Stored::mark), if it is known. What comes in another store, or in one that was set
    /// back, would count as read otherwise.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of(archive: &dyn Archive, place: i64, mark: Option<u32>) -> Result<Self, ArchiveError> {
        let Span { gone, highest, has_gaps } = archive.span()?;
        if place > highest {
            return Ok(Self::Broken(format!("it ends at {highest}, and was read up to {place}")));
        }
        let Some(mark) = mark else { return Ok(Self::Likely) };
        Ok(match archive.next(place - 1, place, &Selection::default())?.first() {
            Some(message) if message.mark() == mark => Self::Same,
            Some(_) => Self::Broken(format!("the message at {place} is another than the one that was read")),
            None if place <= gone || has_gaps => Self::Likely,
            None => Self::Broken(format!("the message at {place}, up to which it was read, is missing")),
        })
    }
}

/// Why a store cannot be read, or nothing be deleted in it.
#[derive(Debug, Error)]
#[error("{what} the store {store}: {why}")]
pub struct ArchiveError {
    pub(super) what: &'static str,
    pub(super) store: String,
    pub(super) why: String,
    pub(super) is_gone: bool,
}

impl ArchiveError {
    pub(super) fn of_file(what: &'static str, path: &Path, why: String) -> Self {
        Self { what, store: path.display().to_string(), why, is_gone: false }
    }

    pub(super) fn of(what: &'static str, store: &impl fmt::Display, why: String) -> Self {
        Self { what, store: store.to_string(), why, is_gone: false }
    }

    /// Of a store that was deleted or replaced.
    pub(super) fn of_gone(store: &impl fmt::Display, why: &str) -> Self {
        Self { what: "follow", store: store.to_string(), why: why.to_owned(), is_gone: true }
    }

    /// Whether the store is not there any more, so that it is of no use to try again.
    pub fn is_gone(&self) -> bool {
        self.is_gone
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

impl Stored {
    /// By what it is told from others that may have its place: a CRC-32C of when it was stored, its number and itself.
    pub fn mark(&self) -> u32 {
        let mark = crc32c::crc32c(&self.at.to_le_bytes());
        let mark = crc32c::crc32c_append(mark, &self.number.to_le_bytes());
        crc32c::crc32c_append(mark, &self.body)
    }
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
