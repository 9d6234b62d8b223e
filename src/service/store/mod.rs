//! `Store`: where a server keeps the messages that it is sent, each session's exactly once and in order.
//!
//! Apart from what speaks with the client: a store is told what to keep, and answers once that is durable. Every kind of store passes the same tests.

mod address;
mod archive;
#[cfg(test)]
mod contract;
pub mod jetstream;
mod keep;
mod memory;
pub mod sqlite;
mod volatile;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::{Batch, BoxFuture, Peer};
use crate::wire::assured::{Applied, Code, Level, Progress, Run, SessionId};

pub use address::StoreAddress;
pub use archive::{Archive, ArchiveError, Continuity, Selection, Span, Stored};
pub use jetstream::JetStreamStore;
pub use keep::Keep;
pub use memory::{Kept, MemoryStore};
pub use sqlite::{SqliteConfig, SqliteStore};
pub use volatile::{MAX_ALL_REPLIES, MAX_REPLIES, MAX_SESSIONS, TRY_AGAIN_AFTER, Volatile};

/// How long a client is asked to wait with what there was no room for.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// How long a client is asked to wait with what could not be stored for another reason.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// How often the user is told at the most that there is no room on the disk.
pub(super) const FULL: Duration = Duration::from_secs(10);

/// What a store is asked for by a server.
///
/// A call may be dropped at any time: what it had begun is then done or not done as a whole.
pub trait Store: Send + Sync {
    /// What an acknowledgement of this store stands for.
    fn level(&self) -> Level {
        Level::Stored
    }

    /// Whether applying a message takes long, as running a program does: then each is handed over alone, so that each can be acknowledged at once.
    fn one_by_one(&self) -> bool {
        false
    }

    /// The longest message that it takes, in bytes: a server refuses what is longer, whatever else it is told to take.
    fn longest(&self) -> usize {
        usize::MAX
    }

    /// Opens a session and makes the caller its only owner: of the others nothing is applied any more, and what they had under way is applied
    /// before, or never.
    ///
    /// # Errors
    /// It belongs to another principal, or there are too many sessions.
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Opened, StoreError>>;

    /// Applies a run of an open session, whole and in one transaction with the session's progress; returns once that is durable. The first of the run must be
    /// the number after the last that is final; a run that was handed over behind one that was put off is put off, too.
    ///
    /// # Errors
    /// The session has another owner by now, or the store can do nothing more.
    fn append(&self, append: Append) -> BoxFuture<'_, Result<Applied, StoreError>>;

    /// Forgets what became of a session's messages up to this number: the client has noted it. It need not be durable.
    fn note(&self, session: &SessionId, owner: Owner, through: u64);

    /// Keeps plain messages, which have no session; returns once that is durable. Of a [chain](Chain) that is broken none are kept.
    ///
    /// # Errors
    /// There is no room for them now ([`StoreError::Full`], [`StoreError::Busy`]), the store takes none ([`StoreError::Unwanted`]), or can do nothing more.
    fn keep(&self, plain: Plain) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Waits until the store can do nothing more, and says why: the server must end then, since what is on disk is not known any more. A server waits for it in a
    /// task of its own, where a store can do what helps all others who wait for it.
    fn failed(&self) -> BoxFuture<'_, String>;
}

/// Who a message comes from, for people who look at what was stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// The other end of the connection.
    pub peer: Peer,
    /// What the client calls itself.
    pub name: Option<String>,
}

/// How a session is opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Which.
    pub session: SessionId,
    /// The lowest number that the client does not know to be final. A store that keeps nothing for good begins a session with it that it does not know.
    pub first: u64,
    /// Who opens it, where that is known: whoever has begun a session is the only one who can go on with it.
    pub principal: Option<String>,
    /// Whether the client wants replies: else a store need keep none.
    pub replies: bool,
    /// Where it comes from.
    pub source: Arc<Source>,
}

/// A session that is open.
#[derive(Clone, Debug)]
pub struct Opened {
    /// How far it is.
    pub progress: Progress,
    /// What its owner shows when it appends.
    pub owner: Owner,
}

/// Who owns a session: of two, the later is higher.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Owner(pub u64);

/// Messages of a session that are to be applied.
#[derive(Clone, Debug)]
pub struct Append {
    /// The session.
    pub session: SessionId,
    /// Who appends.
    pub owner: Owner,
    /// Where they come from.
    pub source: Arc<Source>,
    /// The messages. It may hold numbers that are refused for good: that is kept, too, until it is noted.
    pub run: Run,
}

/// Plain messages that are to be kept.
#[derive(Clone, Debug)]
pub struct Plain {
    /// Where they come from.
    pub source: Arc<Source>,
    /// The number of the first in its connection.
    pub first: u64,
    /// The messages.
    pub messages: Batch,
    /// What they are tied to: where others before them were not kept, these must not be.
    pub chain: Chain,
}

/// Ties plain messages together, such as those of one connection: what comes behind some that were not kept is not kept either, or there would be a gap.
#[derive(Clone, Debug, Default)]
pub struct Chain(Arc<AtomicBool>);

impl Chain {
    /// Whether some of its messages were not kept.
    pub fn is_broken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that some were not kept: none that come later are. To be called by a store, in the order of its calls.
    pub fn break_off(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why a store has not done what it was asked for.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum StoreError {
    /// The session belongs to another principal.
    #[error("the session belongs to another")]
    Foreign,
    /// The session has another owner by now, in this process or another.
    #[error("another connection has taken the session over")]
    TakenOver,
    /// No session can be added.
    #[error("there are too many sessions")]
    TooManySessions,
    /// There is no room on the disk now.
    #[error("there is no room on the disk: {0}")]
    Full(String),
    /// It cannot be written to now for another reason, such as another program that has locked it.
    #[error("the store cannot be written to now: {0}")]
    Busy(String),
    /// It cannot be reached from here, and has not been for some time; from another server it may be.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// It does not take that, and never will.
    #[error("{0}")]
    Unwanted(&'static str),
    /// The store can do nothing more, and the server must end.
    #[error("the store has failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// The code that a client is told.
    pub fn code(&self) -> Code {
        match self {
            Self::Foreign => Code::FORBIDDEN,
            Self::TakenOver => Code::TAKEN_OVER,
            Self::TooManySessions | Self::Busy(_) | Self::Unreachable(_) | Self::Failed(_) => Code::OVERLOADED,
            Self::Full(_) => Code::DISK_FULL,
            Self::Unwanted(_) => Code::NOT_ACCEPTABLE,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.peer),
            None => self.peer.fmt(f),
        }
    }
}
