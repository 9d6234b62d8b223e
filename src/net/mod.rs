//! Addresses, sockets, options, attributes and look-ups: the socket interface, in the words of the field.
//!
//! Knows nothing of messages. The way in is [`Endpoint`], what a user writes; [`resolve`] turns it into the kernel's
//! [`Addr`]esses.

mod addr;
pub mod attributes;
mod error;
pub mod lookup;
pub mod options;
pub mod owners;
mod percent;
mod sys;
pub mod trace;

pub use addr::{Addr, MAX_ABSTRACT_NAME, MAX_UNIX_PATH, UnixName};
pub use error::{Error, ErrorKind, Result, plain};
