//! Opening a store to read it, whatever kind it is, with errors that say what to do.
//!
//! Apart from the commands that read one: showing, sending on, working.

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
