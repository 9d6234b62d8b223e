//! Serving and sending: where sockets and messages meet.
//!
//! Knows nothing of arguments, terminals and exit statuses. [`Server`] gives the messages of many clients to a
//! [`Handler`]; [`Client`] sends messages and knows which of them were acknowledged.

pub mod bench;
mod client;
mod error;
mod exchange;
pub mod handler;
mod message;
mod reach;
mod server;
mod workspace;

pub use client::{
    ACKNOWLEDGEMENT_TIMEOUT, Acknowledgements, Client, ClientConfig, DATAGRAM_WINDOW, How, QUIET, Receipt,
};
pub use error::{Error, Result, Why};
pub use exchange::{Exchange, Source, Step, Summary};
pub use handler::{BoxFuture, Display, Handler, Reply, Screen};
pub use message::{Batch, Messages, Outcome, Peer};
pub use reach::Reach;
pub use server::{Conversations, DRAIN_TIMEOUT, Served, Server, ServerConfig};
pub use workspace::READ_SIZE;
