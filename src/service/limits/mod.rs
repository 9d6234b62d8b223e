//! `Limits`: how much a server takes on: connections in all and of each peer, how fast they may come, how long they may idle.
//!
//! Apart from [access](super::access), which is about who somebody is: limits are the same for all. What has to be counted is counted by
//! [`Admission`].

mod admission;
mod rate;
mod silent;

use std::time::Duration;

pub use admission::{Admission, MAX_PEERS, PeerKey, Refusal, Ticket};
pub use rate::{MAX_RATE, Rate};

/// The most connections at once. Each costs a descriptor, and most machines allow a process more than that.
pub const MAX_CONNECTIONS: usize = 16_384;

/// The most connections at once of one peer: a quarter of all, so that nobody takes every place.
pub const MAX_PER_PEER: usize = 4_096;

/// How long a connection that has said next to nothing keeps its place when there is none for another.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may go without a whole message.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long a peer may leave an answer unread.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Limits of a server. 0, or `None`, is no limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections at once. Default [`MAX_CONNECTIONS`].
    pub max_connections: usize,
    /// Connections at once of one peer, as [`PeerKey`] tells them apart. Default [`MAX_PER_PEER`].
    pub max_per_peer: usize,
    /// How fast connections of one peer may come, and datagrams, each one counted. Default: as fast as they do.
    pub rate: Option<Rate>,
    /// How long a connection that has not sent a whole message yet, nor 1 KiB of one, keeps its place when there is none for another; then the one that has been silent
    /// for the longest makes room. While there is room, nobody has to. Default [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Option<Duration>,
    /// How long a connection may go without a whole message. Default [`IDLE_TIMEOUT`].
    pub idle_timeout: Option<Duration>,
    /// How long a peer may leave an answer unread. Default [`WRITE_TIMEOUT`].
    pub write_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: MAX_CONNECTIONS,
            max_per_peer: MAX_PER_PEER,
            rate: None,
            handshake_timeout: Some(HANDSHAKE_TIMEOUT),
            idle_timeout: Some(IDLE_TIMEOUT),
            write_timeout: Some(WRITE_TIMEOUT),
        }
    }
}
