//! `Observer`: somebody who is told what happens to a server's clients, as it happens.
//!
//! Apart from the handler, which is asked what is to be done: an observer has no say.

use super::{BoxFuture, Conversation, Peer};

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
    /// A message was refused for good, with the reason.
    Refused(&'a Peer, &'a str),
    /// The conversation with it is over.
    Ended(&'a Peer, &'a Conversation),
}
