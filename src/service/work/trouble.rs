//! `WorkError` and `StateError`: why work cannot go on, and why it cannot be kept how far it is.
//!
//! Apart from the work, as it says what may pass by itself.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::service::store::ArchiveError;

/// Why work cannot go on.
#[derive(Debug, Error)]
pub enum WorkError {
    /// The store cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It cannot be kept how far it is.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store is not the one that was worked over, or was set back.
    #[error("the work does not belong to the store {store}: {why}")]
    SetBack {
        /// The store.
        store: String,
        /// How that is seen.
        why: String,
    },
    /// The standard output of commands cannot be shown, or there can be no more threads.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Why it cannot be kept how far some work is.
#[derive(Debug, Error)]
pub enum StateError {
    /// Somebody works with it.
    #[error("{} is in use by {}", path.display(), pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// The file.
        path: PathBuf,
        /// The process, if it has said so.
        pid: Option<u32>,
    },
    /// It is of other work: of what.
    #[error("{} is of work over {what}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Over what.
        what: String,
    },
    /// There is no such work.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// It is no file of this, or one of a later version.
    #[error("{} is {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// It cannot be read or written.
    #[error("keep in {}: {why}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
        /// Whether that may pass: there is no room, or somebody has locked it.
        is_passing: bool,
    },
}

impl StateError {
    /// Whether the same may be done later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Failed { is_passing: true, .. })
    }
}

pub(super) fn failed(path: &Path, error: &dyn std::fmt::Display) -> StateError {
    StateError::Failed { path: path.to_owned(), why: error.to_string(), is_passing: false }
}

pub(super) fn failed_by(path: &Path, error: &rusqlite::Error) -> StateError {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
    let is_passing = matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked | DiskFull));
    StateError::Failed { path: path.to_owned(), why: error.to_string(), is_passing }
}
