//! The store of a server, opened in the steps in which a process becomes one: its file while everything is allowed, its thread or its connection at last.
//!
//! Apart from the store itself, which knows nothing of accounts and sandboxes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::open_by;
use crate::app::privileges::Account;
use crate::net::Error;
use crate::service::store::jetstream::{ConnectionConfig, JetStreamAddress, JetStreamStore};
use crate::service::store::sqlite::{OpenError, OpenFile, files, remove_empty};
use crate::service::store::{SqliteConfig, Store, StoreAddress};

/// A store of which everything is open that what the process becomes could not open.
pub(super) enum Prepared {
    File(Box<OpenFile>),
    Stream(Box<JetStreamAddress>),
}

/// Opens the file of a store, if it is in one, and has it durable what is in it. A new file is the account's.
///
/// # Errors
/// It cannot be a store, or not now.
pub(super) fn open(store: &StoreAddress, account: Option<&Account>) -> anyhow::Result<Prepared> {
    match store {
        StoreAddress::File(path) => Ok(Prepared::File(Box::new(open_file(path, account)?))),
        StoreAddress::JetStream(address) => Ok(Prepared::Stream(address.clone())),
    }
}

fn open_file(path: &Path, account: Option<&Account>) -> anyhow::Result<OpenFile> {
    let mut made = false;
    // SQLite gives the files beside it to whom this one belongs. One that is there already is somebody's; whatever else is wrong is said below, such as that there
    // is only a log.
    if let Some(account) = account
        && !has_log(path)
        && let Ok(file) = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    {
        give(account, &file, path)?;
        made = true;
    }
    let opened = OpenFile::open(path, SqliteConfig::default());
    if made && !matches!(opened, Ok(_) | Err(OpenError::Locked(_))) {
        remove_empty(path);
    }
    opened.map_err(of_store)
}

impl Prepared {
    /// Starts the thread of a store, or connects, in what the process has become. What the server calls itself is shown where connections are listed; messages of so
    /// many bytes must be taken.
    ///
    /// # Errors
    /// There is no thread for it, or no stream.
    pub(super) async fn start(self, name: &str, longest: usize) -> anyhow::Result<Arc<dyn Store>> {
        match self {
            Self::File(file) => Ok(Arc::new(file.start().map_err(of_store)?)),
            Self::Stream(address) => {
                let config = ConnectionConfig { name: name.to_owned(), ..ConnectionConfig::default() };
                Ok(Arc::new(JetStreamStore::open(&address, &config, longest).await?))
            }
        }
    }
}

/// The files that a store writes to, wherever this process goes.
pub(super) fn written(store: &StoreAddress) -> Vec<PathBuf> {
    match store {
        StoreAddress::File(path) => files(&std::path::absolute(path).unwrap_or_else(|_| path.clone())).into(),
        StoreAddress::JetStream(_) => Vec::new(),
    }
}

fn has_log(path: &Path) -> bool {
    let [_, log, _] = files(path);
    log.metadata().is_ok_and(|log| log.len() > 0)
}

fn give(account: &Account, file: &File, path: &Path) -> anyhow::Result<()> {
    let given = account.give(file).map_err(|error: io::Error| Error::system("chown", error).on(path.display()));
    Ok(given?)
}

/// A failure, and what helps: a file that is none of ours is a mistake of who has typed it, and one that is locked somebody else's affair.
fn of_store(error: OpenError) -> anyhow::Error {
    match (error.is_usage(), hint(&error)) {
        (true, Some(hint)) => Error::usage(error.to_string()).hinting(hint).into(),
        (true, None) => Error::usage(error.to_string()).into(),
        (false, Some(hint)) => anyhow::anyhow!("{error}; {hint}"),
        (false, None) => error.into(),
    }
}

fn hint(error: &OpenError) -> Option<String> {
    match error {
        OpenError::NoDirectory(_, directory) => Some(format!("`mkdir -p {}` makes it", directory.display())),
        OpenError::Exposed(_, file) => Some(format!("chmod o-w {}, once you know what is in it", file.display())),
        OpenError::NotAStore(..) => Some("name another file: one that is not there is made".to_owned()),
        OpenError::Locked(path) => open_by::others(path).map(|others| format!("{others} has it open")),
        _ => None,
    }
}
