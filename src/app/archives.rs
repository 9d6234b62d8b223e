//! Opening a store to read it, whatever kind it is, with errors that say what to do.
//!
//! Apart from the commands that read one: showing, sending on, working.

use std::fs;
use std::path::{Path, PathBuf};

use crate::net::Error;
use crate::service::store::jetstream::{ConnectionConfig, JetStreamArchive};
use crate::service::store::sqlite::{OpenError, SqliteArchive};
use crate::service::store::{Archive, StoreAddress};

use super::open_by;

/// Opens a store to read it.
///
/// # Errors
/// It is not there, or not a store, or cannot be read now.
pub(super) fn open(address: &StoreAddress) -> anyhow::Result<Box<dyn Archive>> {
    match address {
        StoreAddress::File(path) => Ok(Box::new(SqliteArchive::open(path).map_err(described)?)),
        StoreAddress::JetStream(stream) => Ok(Box::new(JetStreamArchive::open(stream, connection())?)),
    }
}

/// The file that a store's path leads to: what belongs to a store is beside that, whatever links there are to it.
pub(super) fn followed(store: &Path) -> PathBuf {
    match store.is_symlink() {
        true => fs::canonicalize(store).unwrap_or_else(|_| store.to_owned()),
        false => store.to_owned(),
    }
}

/// How it is connected to NATS.
pub(super) fn connection() -> ConnectionConfig {
    ConnectionConfig { name: "messages".to_owned(), ..ConnectionConfig::default() }
}

/// A file that is none of ours is a mistake of who has typed it.
pub(super) fn described(error: OpenError) -> anyhow::Error {
    let others = match &error {
        OpenError::Locked(path) => open_by::others(path),
        _ => None,
    };
    match (error.is_usage(), others) {
        (true, _) => Error::usage(error.to_string()).into(),
        (false, Some(others)) => anyhow::anyhow!("{error}; {others} has it open"),
        (false, None) => error.into(),
    }
}
