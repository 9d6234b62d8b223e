//! `FileNews`: what a delivery of files tells, step by step, and how far it is.
//!
//! Apart from the delivery: these are the words between it and whoever shows its user what becomes of which file.

use std::time::Duration;

use crate::net::Addr;
use crate::wire::Digest;
use crate::wire::assured::Code;

/// What a step has brought.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileNews {
    /// There is a connection.
    Connected {
        /// Where to, as it was written.
        address: String,
        /// The address of the other end, if it has one.
        peer: Option<Addr>,
        /// The address of this end, if it has one.
        local: Option<Addr>,
    },
    /// The server receives files.
    Opened {
        /// What it calls itself.
        server: String,
    },
    /// The server has the first part of a file already, and it is not sent again.
    Resumed {
        /// Which of the files.
        item: usize,
        /// How many bytes.
        from: u64,
    },
    /// More of a file is acknowledged.
    Progress,
    /// A file is on the server's disk, whole and under its name.
    Saved {
        /// Which of the files.
        item: usize,
        /// Its length in bytes.
        size: u64,
        /// Its digest, of which the server says that its own is the same.
        digest: Digest,
        /// How many of its first bytes were not sent, since they were there.
        resumed_at: u64,
    },
    /// A file is not sent, and there is no use in trying again now. The others are.
    Failed {
        /// Which of the files.
        item: usize,
        /// Why.
        failure: FileFailure,
    },
    /// The connection is lost, or there is none to be had.
    Lost {
        /// What has happened.
        reason: String,
        /// After how long another will be tried.
        again: Duration,
    },
    /// The server cannot take anything now.
    PutOff {
        /// Why.
        reason: String,
        /// For how long.
        after: Duration,
    },
    /// The server does not know the session any more, such as after it was started anew: files are offered again, and go on from what it has of them.
    Renewed {
        /// What has happened.
        reason: String,
    },
    /// That was all. Which failed was told.
    Done,
}

/// Why a file was not sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileFailure {
    /// It could not be read, or has changed while it was sent.
    Local(String),
    /// The server will not have it.
    Refused {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: String,
    },
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FileTally {
    /// How many files are saved.
    pub saved: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many of those were not sent, since they were there.
    pub resumed: u64,
    /// How many files and directories were refused.
    pub refused: u64,
    /// How many could not be read.
    pub unreadable: u64,
    /// How often the session was opened over another connection, or another one was begun.
    pub reconnects: u64,
}

/// How far a file is that is under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileProgress {
    /// Which of the files.
    pub item: usize,
    /// How many of its bytes the server has.
    pub bytes: u64,
    /// Its length in bytes.
    pub size: u64,
}
