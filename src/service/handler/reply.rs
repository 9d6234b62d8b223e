//! The handler that gives every message the same answer, and does nothing else with it.

use bytes::Bytes;

use super::{BoxFuture, Handler};
use crate::service::{Messages, Outcome, Outcomes, Peer};

/// Answers every message with a text.
#[derive(Debug)]
pub struct Reply(pub Bytes);

impl Handler for Reply {
    fn handle<'a>(&'a self, messages: Messages<'a>, _peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        outcomes.repeat(Outcome::Reply(self.0.clone()), messages.len());
        Box::pin(std::future::ready(()))
    }
}
