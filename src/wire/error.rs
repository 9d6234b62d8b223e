//! What can be wrong with the bytes of a peer.
//!
//! Apart, because each of these is said to the peer as well as to the user.

use thiserror::Error;

/// The result of reading bytes as messages.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum Error {
    /// The message is longer than the limit.
    #[error("the message has more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The peer has ended the stream inside a message whose length it had declared.
    #[error("the stream ended in the middle of a message: {had} of {declared} bytes had come")]
    Cut {
        /// Bytes that came.
        had: usize,
        /// Bytes that were declared.
        declared: usize,
    },
}
