//! `Observer`: somebody who is told what happens to a server's clients, as it happens.
//!
//! Apart from the handler, which is asked what is to be done: an observer has no say.

use super::{BoxFuture, Conversation, Peer};
use crate::wire::assured::SessionId;
use crate::wire::{Digest, FileName};

/// Is told of events. The conversation waits until it has taken each.
pub trait Observer: Send + Sync {
    /// Takes an event.
    fn observe<'a>(&'a self, event: Observed<'a>) -> BoxFuture<'a, ()>;
}

/// What has happened to a client.
#[derive(Clone, Copy, Debug)]
pub enum Observed<'a> {
    /// It was let in. Datagrams have no connections.
    Connected(&'a Peer),
    /// So many of its messages were handled, and their answers, if they have any, were sent.
    Acknowledged(&'a Peer, u64),
    /// It has opened an assured session.
    Opened {
        /// The client.
        peer: &'a Peer,
        /// The session.
        session: &'a SessionId,
        /// What the client calls itself.
        name: Option<&'a str>,
        /// The last message that is final.
        acknowledged: u64,
    },
    /// So many messages of its session were handled, or stored.
    Applied {
        /// The client.
        peer: &'a Peer,
        /// The session.
        session: &'a SessionId,
        /// The last of them.
        through: u64,
        /// How many they are, those that were refused left out.
        messages: u64,
    },
    /// A file of its own is on disk, complete.
    Saved {
        /// The client.
        peer: &'a Peer,
        /// Where the file is, beneath the server's directory.
        name: &'a FileName,
        /// Its length in bytes.
        size: u64,
        /// Its digest.
        digest: Digest,
    },
    /// Another connection has taken its session over.
    TakenOver {
        /// The client that had it.
        peer: &'a Peer,
        /// The session.
        session: &'a SessionId,
    },
    /// A message was refused for good, with the reason.
    Refused(&'a Peer, &'a str),
    /// The conversation with it is over.
    Ended(&'a Peer, &'a Conversation),
}
