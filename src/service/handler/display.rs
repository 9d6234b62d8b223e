//! The handler that shows messages: whole ones, in the order in which they come, never two mixed.
//!
//! Apart from the screen itself, which belongs to the program: a terminal wants other care than a file.

use std::io;

use super::{BoxFuture, Handler};
use crate::net::plain;
use crate::service::{Messages, Outcome, Outcomes, Peer};
use crate::wire::assured::Level;

/// Where messages are shown, such as standard output.
pub trait Screen: Send + Sync {
    /// Writes bytes that are whole messages. When this returns they have been taken: that is what is acknowledged.
    fn show<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>>;
}

/// Shows each message and its delimiter. What could not be shown is not acknowledged.
#[derive(Debug)]
pub struct Display<S>(pub S);

impl<S: Screen> Handler for Display<S> {
    fn handle<'a>(&'a self, messages: Messages<'a>, _peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut scratch = Vec::new();
            let outcome = match self.0.show(messages.displayed(&mut scratch)).await {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Retry(format!("it could not be displayed: {}", plain(&error))),
            };
            outcomes.repeat(outcome, messages.len());
        })
    }

    fn level(&self) -> Level {
        Level::Shown
    }
}
