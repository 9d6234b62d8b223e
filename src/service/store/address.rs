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
            Some(path) => check_path(path).map(|()| Self::File(path.into())),
            None => Ok(Self::File(text.into())),
        }
    }
}

/// A path that begins as the address of a stream was hardly meant as one; a file of that name is `./nats:...`.
fn check_path(path: &str) -> Result<(), Error> {
    let scheme = ["nats:", "tls:"].into_iter().find(|scheme| path.starts_with(scheme) && path.len() > scheme.len());
    let Some(scheme) = scheme else { return Ok(()) };
    // Nothing that may be a password is shown.
    let shown = path[scheme.len()..].trim_start_matches('/').rsplit('@').next().unwrap_or_default();
    Err(Error::usage(format!("the store {scheme}{shown}: this is neither a file nor a stream of NATS"))
        .hinting(format!("did you mean {scheme}//{shown}? A file of that name is written with ./ before it")))
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
        for (text, meant) in [("nats:a/B", "nats://a/B"), ("tls:/ann:secret@a/B", "tls://a/B")] {
            let error = StoreAddress::of(text.as_ref()).expect_err(text);
            let hint = error.hint().expect("a hint");
            assert!(
                hint.contains(&format!("did you mean {meant}?")) && !error.to_string().contains("secret"),
                "{hint}"
            );
        }
        assert!(matches!(StoreAddress::of("nats://a/B".as_ref()), Ok(StoreAddress::JetStream(_))));
        assert!(StoreAddress::of("postgres://a/B".as_ref()).is_err());
    }
}
