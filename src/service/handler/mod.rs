//! `Handler`: what a server does with messages. One file for each that is built in.

use std::future::Future;
use std::pin::Pin;

use super::{Messages, Outcome, Outcomes, Peer};
use crate::wire::assured::Level;

mod buffer;
mod chat;
mod connection;
mod display;
mod process;
mod reply;
mod standard;

pub use chat::Chat;
pub(super) use connection::{CLOSE_DISCARD, CLOSE_TIMEOUT};
pub use connection::{ConnectionHandler, Terms};
pub use display::{Display, Screen};
pub(super) use process::Program;
pub use process::{Command, Exec, MAX_OUTPUT, MAX_PROCESSES, ProcessLimits, RUN_TIMEOUT, Run};
pub use reply::Reply;
pub use standard::{Standard, StandardService};

/// A future in a box, as handlers return it: one a read, however many messages the read brought.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a server does with messages. Only what it has finished is acknowledged.
///
/// A function of a message and its peer is a handler:
///
/// ```
/// use wilco::{Handler, Outcome, Peer};
///
/// fn upper(message: &[u8], _peer: &Peer) -> Outcome {
///     Outcome::Reply(message.to_ascii_uppercase().into())
/// }
/// # fn is_handler(_: impl Handler) {}
/// # is_handler(upper);
/// ```
pub trait Handler: Send + Sync {
    /// Handles the messages of one read in their order, and pushes an outcome for each. Datagrams of one peer that came
    /// together are given together. A message whose predecessor has [`Outcome::Retry`] need not be handled any more: the
    /// connection ends with it. A datagram is given again in that case.
    fn handle<'a>(&'a self, messages: Messages<'a>, peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()>;

    /// What takes over the messages of one stream, if more of them are to be read while it is not known what has become of those before. None where they are
    /// to be handled and waited for, which is what happens unless this is written anew.
    fn taker<'a>(&'a self, _peer: &Peer) -> Option<Box<dyn Taker<'a> + 'a>> {
        None
    }

    /// Whether handling a message may take long, as running a program does. Datagrams of different peers are then handled at
    /// the same time, those of one peer in their order; else they wait for each other.
    fn takes_long(&self) -> bool {
        false
    }

    /// What it stands for that a message was handled: clients with assured sessions are told.
    fn level(&self) -> Level {
        Level::Handled
    }
}

/// Takes over the messages of one stream: what becomes of them comes later, as with a store, which must sync them.
pub trait Taker<'a>: Send {
    /// Takes over the messages of one read, which all have one outcome. Where that is [`Outcome::Retry`] those that were taken over later must have it, too, or
    /// there would be a gap. What was taken over is done even if the connection is gone: a server waits for the outcome before it gives its place away.
    fn take(&mut self, messages: Messages<'_>) -> BoxFuture<'a, Outcome>;
}

/// A handler that was chosen while the program ran.
impl Handler for Box<dyn Handler> {
    fn handle<'a>(&'a self, messages: Messages<'a>, peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        self.as_ref().handle(messages, peer, outcomes)
    }

    fn taker<'a>(&'a self, peer: &Peer) -> Option<Box<dyn Taker<'a> + 'a>> {
        self.as_ref().taker(peer)
    }

    fn takes_long(&self) -> bool {
        self.as_ref().takes_long()
    }

    fn level(&self) -> Level {
        self.as_ref().level()
    }
}

impl<F: Fn(&[u8], &Peer) -> Outcome + Send + Sync> Handler for F {
    fn handle<'a>(&'a self, messages: Messages<'a>, peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        outcomes.extend(messages.iter().map(|message| self(message, peer)));
        Box::pin(std::future::ready(()))
    }
}
