//! `Trouble`: what an error of SQLite's means for a store.
//!
//! Apart, because everything hangs on it: after a full disk a store goes on, after a failed sync it must never acknowledge anything again.

use nix::errno::Errno;
use rusqlite::ffi;

use super::super::{BUSY_PAUSE, FULL_PAUSE, StoreError};
use crate::wire::assured::{Code, PutOff};

/// Why a transaction was not committed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// There is no room: nothing of it is in the file, and later there may be.
    Full(String),
    /// Another process has the file locked.
    Busy(String),
    /// What is on disk is not known any more, or cannot be read.
    Fatal(String),
}

impl Trouble {
    /// Forgets what went wrong before, so that [`Trouble::of`] speaks of what comes now.
    pub(super) fn forget() {
        Errno::clear();
    }

    /// What an error means that has just come, on this thread.
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        Self::judged(error, Errno::last())
    }

    /// A write that fails is told by SQLite as full only for ENOSPC; for a quota and for the limit of a file's size (`RLIMIT_FSIZE`, whose signal is ignored
    /// then) it leaves the kernel's error. A sync is never forgiven, whatever its error was: what it was to write may be lost.
    fn judged(error: &rusqlite::Error, errno: Errno) -> Self {
        let rusqlite::Error::SqliteFailure(failure, text) = error else { return Self::Fatal(error.to_string()) };
        let said = text.clone().unwrap_or_else(|| failure.to_string());
        let no_room = matches!(errno, Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG);
        match (failure.extended_code & 0xff, failure.extended_code) {
            (ffi::SQLITE_FULL | ffi::SQLITE_TOOBIG, _) => Self::Full(said),
            (ffi::SQLITE_NOMEM, _) => Self::Busy(said),
            (ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED, _) => Self::Busy("another process has locked the file".to_owned()),
            (_, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE) if no_room => Self::Full(errno.desc().to_owned()),
            (ffi::SQLITE_IOERR, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => {
                Self::Fatal(format!("what was written could not be brought to the disk ({said})"))
            }
            _ => Self::Fatal(said),
        }
    }

    /// What is said to whoever waits for what cannot be put off.
    pub(super) fn error(&self) -> StoreError {
        match self {
            Self::Full(why) => StoreError::Full(why.clone()),
            Self::Busy(why) => StoreError::Busy(why.clone()),
            Self::Fatal(why) => StoreError::Failed(why.clone()),
        }
    }

    /// How messages are put off; none where there is no later.
    pub(super) fn put_off(&self) -> Option<PutOff> {
        match self {
            Self::Full(_) => Some(PutOff {
                code: Code::DISK_FULL,
                after: FULL_PAUSE,
                reason: "there is no room on the disk".to_owned(),
            }),
            Self::Busy(why) => Some(PutOff { code: Code::OVERLOADED, after: BUSY_PAUSE, reason: why.clone() }),
            Self::Fatal(_) => None,
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::of(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_forgiven() {
        let judged = |code, errno| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            match Trouble::judged(&error, errno) {
                Trouble::Full(_) => "full",
                Trouble::Busy(_) => "busy",
                Trouble::Fatal(_) => "fatal",
            }
        };
        for (code, errno, expected) in [
            (ffi::SQLITE_FULL, Errno::UnknownErrno, "full"),
            (ffi::SQLITE_IOERR_WRITE, Errno::EDQUOT, "full"),
            (ffi::SQLITE_IOERR_WRITE, Errno::EFBIG, "full"),
            (ffi::SQLITE_IOERR_SHMSIZE, Errno::ENOSPC, "full"),
            (ffi::SQLITE_IOERR_WRITE, Errno::EIO, "fatal"),
            (ffi::SQLITE_IOERR_WRITE, Errno::UnknownErrno, "fatal"),
            (ffi::SQLITE_IOERR_FSYNC, Errno::EIO, "fatal"),
            (ffi::SQLITE_IOERR_FSYNC, Errno::ENOSPC, "fatal"),
            (ffi::SQLITE_IOERR_DIR_FSYNC, Errno::EDQUOT, "fatal"),
            (ffi::SQLITE_BUSY, Errno::UnknownErrno, "busy"),
            (ffi::SQLITE_BUSY_RECOVERY, Errno::UnknownErrno, "busy"),
            (ffi::SQLITE_CORRUPT, Errno::UnknownErrno, "fatal"),
            (ffi::SQLITE_READONLY, Errno::UnknownErrno, "fatal"),
        ] {
            assert_eq!(judged(code, errno), expected, "{code} {errno}");
        }
    }
}
