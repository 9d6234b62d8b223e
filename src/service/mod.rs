//! Serving and sending: where sockets and messages meet.
//!
//! Knows nothing of arguments, terminals and exit statuses. [`Server`] gives the messages of many clients to a
//! [`Handler`]; [`Client`] sends messages and knows which of them were acknowledged.

mod alarm;
mod client;
mod conversation;
mod error;
mod exchange;
pub mod handler;
mod message;
mod reach;
mod server;
mod stop;
mod workspace;

pub use client::{
    ACKNOWLEDGEMENT_TIMEOUT, Acknowledgements, Client, ClientConfig, DATAGRAM_WINDOW, How, QUIET, Receipt,
};
pub use conversation::Conversation;
pub use error::{Error, Result, Why};
pub use exchange::{Exchange, Source, Step, Summary};
pub use handler::{
    BoxFuture, Chat, ConnectionHandler, Display, Handler, Reply, Screen, Standard, StandardService, Terms,
};
pub use message::{Batch, Messages, Outcome, Peer};
pub use reach::Reach;
pub use server::{Conversations, DRAIN_TIMEOUT, IDLE_TIMEOUT, LEAST_RATE, Served, Server, ServerConfig, WRITE_TIMEOUT};
pub use stop::{Stop, Stopper};
pub use workspace::READ_SIZE;
