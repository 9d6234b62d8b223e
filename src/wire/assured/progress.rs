//! How far a session is and what became of its messages, as a store says it.
//!
//! Apart from the receiver, because stores know these values and nothing of frames and connections.

use std::time::Duration;

use bytes::Bytes;

use super::{Again, Code};

/// How far a session is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Whether the store knew it before.
    pub known: bool,
    /// The last number that is final and durable.
    pub acknowledged: u64,
    /// The checksum of that message, if it is known.
    pub checksum: Option<u32>,
    /// What became of messages other than that they were applied, in the order of their numbers, as far as the client has not noted it.
    pub verdicts: Vec<(u64, Verdict)>,
}

/// Why a session is not opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    /// For programs.
    pub code: Code,
    /// When to try again, if ever.
    pub again: Again,
    /// For people.
    pub reason: String,
}

/// What became of a run: all up to a number is final and durable, and the rest was put off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last number that is final.
    pub through: u64,
    /// What became of messages other than that they were applied, in the order of their numbers.
    pub verdicts: Vec<(u64, Verdict)>,
    /// Why the rest was not applied now, and when it may be sent again.
    pub put_off: Option<PutOff>,
}

/// Why messages are not applied now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PutOff {
    /// For programs.
    pub code: Code,
    /// How long to wait.
    pub after: Duration,
    /// For people.
    pub reason: String,
}

/// What became of a message other than that it was applied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It was refused for good.
    Refused(Code, String),
    /// It was applied, and this is the reply.
    Reply(Bytes),
}
