//! How bytes become messages, without a socket, a file or a clock in sight.
//!
//! Apart from all that does input and output, so that every rule here can be tested byte by byte.

pub mod assured;
mod error;
mod framing;
mod letter;
pub mod plain;
mod transfer;

pub use error::{Error, Result};
pub use framing::{Decoder, Framing, LENGTH_PREFIX, MAX_BODY, MAX_LINE, MOST_AT_ONCE, Span};
pub use letter::is_harmless;
pub use transfer::{
    Attributes, Digest, FileAnswer, FileFlaw, FileName, FileWord, MAX_FILE_LINE, MAX_FILE_NAME, MAX_NAME_PART,
};
