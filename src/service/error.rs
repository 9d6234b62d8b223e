//! Why a message could not be delivered, or is not known to have been.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::delivery::{GaveUp, LostSession};
use super::files::UnfinishedFiles;
use super::spool::SpoolError;
use crate::wire::assured::Code;
use crate::{net, wire};

/// The result of sending.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of sending. Which of them it is decides what may be concluded about the message.
///
/// `Debug` gives the same sentence as `Display`, so that a `main` which returns it says something to a user.
#[derive(Error)]
pub enum Error {
    /// There is no connection: nothing was sent.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// It was sent, and is not known to have arrived.
    #[error("{}", unacknowledged(.acknowledged, .sent, .why))]
    Unacknowledged {
        /// Messages that were sent, at least in part.
        sent: u64,
        /// How many of them, from the first, were acknowledged.
        acknowledged: u64,
        /// What ended the waiting.
        why: Why,
    },
    /// The other side refused a message for good.
    #[error("message {number} was refused: {reason}")]
    Refused {
        /// Which message, the first being 1.
        number: u64,
        /// The reason, in the words of the other side.
        reason: String,
    },
    /// The message cannot be sent like this.
    #[error("message {number} cannot be sent: {reason}")]
    Unsendable {
        /// Which message, the first being 1.
        number: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes were sent that are not messages, and were not all taken, or the other side has not ended in order.
    #[error("{}", undelivered(.sent, .untaken, .why))]
    Undelivered {
        /// Bytes that were to be sent, as far as they were read.
        sent: u64,
        /// How many of them are known not to have been taken.
        untaken: Option<u64>,
        /// What ended it.
        why: Why,
    },
    /// Messages could not be read, or answers not be shown, on this side.
    #[error(transparent)]
    Local(#[from] io::Error),
    /// Assured: nothing was acknowledged for so long that it was given up. What waits in a spool goes on another time.
    #[error("{0}")]
    GaveUp(Box<GaveUp>),
    /// Assured: client and server do not agree on what was delivered, or another client goes on with the session.
    #[error("{0}")]
    LostSession(Box<LostSession>),
    /// Assured: the server will not go on with this session or this client, and another attempt makes no sense.
    #[error("the server refuses the session: {reason} ({code})")]
    SessionRefused {
        /// Why, for programs.
        code: Code,
        /// The reason, in the words of the other side.
        reason: String,
    },
    /// Assured: what answers does not speak the protocol. Nothing was sent.
    #[error("the server does not speak the protocol of assured delivery: {0}")]
    NotSpoken(String),
    /// Assured: the server refused a message for good, which is among the dead letters of the spool if there is one.
    #[error("message {number} was refused: {reason} ({code}){}", dead_letter(.spool))]
    DeadLetter {
        /// The number of the message in its session.
        number: u64,
        /// Why, for programs.
        code: Code,
        /// The reason, in the words of the other side.
        reason: String,
        /// The spool.
        spool: Option<PathBuf>,
    },
    /// Assured: the client has ended for this reason, before it was known what became of the message.
    #[error("the delivery has ended: {0}")]
    Ended(std::sync::Arc<Error>),
    /// Files: nothing was acknowledged for so long that it was given up. What the server has of them it keeps.
    #[error("{0}")]
    FilesUnfinished(Box<UnfinishedFiles>),
    /// Files: what answers saves none. Nothing was sent.
    #[error("the server saves no files: {0}")]
    NoFiles(String),
    /// The spool can do nothing more.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// What ended the waiting for an acknowledgement.
#[derive(Debug, Error)]
pub enum Why {
    /// None came in time.
    #[error("no acknowledgement within {0:?}")]
    Timeout(std::time::Duration),
    /// Where no acknowledgements are expected: the other side did not end the connection in time.
    #[error("the other side has not ended the connection within {0:?}")]
    NoEnd(std::time::Duration),
    /// The other side took nothing of what was sent to it.
    #[error("nothing was taken for {0:?}")]
    Stalled(std::time::Duration),
    /// The other side ended the connection.
    #[error("the other side has closed the connection")]
    Closed,
    /// The other side cannot take it now, for the reason that it gave.
    #[error("the other side says: {0}")]
    NotNow(String),
    /// The other side ended the connection while there was more to come.
    #[error("the other side has closed the connection before the end of the input")]
    ClosedEarly,
    /// The answer cannot be read.
    #[error("the answer cannot be read: {0}")]
    Answer(#[from] wire::Error),
    /// The connection was lost.
    #[error("{}", lost(.0))]
    Lost(io::Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => fmt::Debug::fmt(error, f),
            other => fmt::Display::fmt(other, f),
        }
    }
}

fn dead_letter(spool: &Option<PathBuf>) -> String {
    let kept = |spool: &Path| format!("; it is among the dead letters of the spool {}", spool.display());
    spool.as_deref().map(kept).unwrap_or_default()
}

fn lost(error: &io::Error) -> String {
    let text = net::plain(error);
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{text}: nothing listens there"),
        _ => text,
    }
}

fn unacknowledged(acknowledged: &u64, sent: &u64, why: &Why) -> String {
    match (sent, acknowledged) {
        (1, 0) => format!("the message was not acknowledged: {why}"),
        (0, _) => format!("nothing was sent: {why}"),
        (sent, last) if sent == last => format!("all that was sent was acknowledged ({sent}), but {why}"),
        (sent, 0) => format!("none of {sent} messages was acknowledged: {why}"),
        (sent, last) => {
            format!("{last} of {sent} messages were acknowledged, up to number {last}: {why}")
        }
    }
}

fn undelivered(sent: &u64, untaken: &Option<u64>, why: &Why) -> String {
    match (sent, untaken, why) {
        (0, ..) => format!("nothing was sent: {why}"),
        (sent, Some(untaken), _) => format!("of {sent} bytes {untaken} were not taken: {why}"),
        (sent, None, Why::NoEnd(_) | Why::ClosedEarly) => format!("{sent} bytes were sent, but {why}"),
        (sent, None, _) => format!("{sent} bytes were sent, and not all of them may have been taken: {why}"),
    }
}
