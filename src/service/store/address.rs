//! `StoreAddress`: what a user calls a store: a file, or a stream of NATS JetStream.
//!
//! Apart from the stores, so that everything that takes one takes every kind.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use super::jetstream::JetStreamAddress;
use crate::net::Error;

/// What tells a store that is no file.
const SCHEME: &str = "://";

/// Where a store is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreAddress {
    /// A file of SQLite's.
    File(PathBuf),
    /// A stream.
    JetStream(Box<JetStreamAddress>),
}

impl StoreAddress {
    /// What a user has written: `nats://HOST:PORT/STREAM`, or a path.
    ///
    /// # Errors
    /// It has a scheme, and is no address of a stream.
    pub fn of(text: &OsStr) -> Result<Self, Error> {
        match text.to_str() {
            Some(address) if address.contains(SCHEME) => {
                address.parse().map(|address| Self::JetStream(Box::new(address)))
            }
            _ => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for StoreAddress {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::JetStream(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_scheme_is_a_file() {
        for path in ["messages.db", "./nats:", "/var/lib/x.db", "nats/ORDERS"] {
            assert_eq!(StoreAddress::of(path.as_ref()).ok(), Some(StoreAddress::File(path.into())));
        }
        assert!(matches!(StoreAddress::of("nats://a/B".as_ref()), Ok(StoreAddress::JetStream(_))));
        assert!(StoreAddress::of("postgres://a/B".as_ref()).is_err());
    }
}
