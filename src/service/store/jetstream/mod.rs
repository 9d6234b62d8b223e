//! A stream of NATS JetStream as a store, which several servers share.
//!
//! Apart from the stores of one machine: here what is durable is another's business, and every answer comes over a network.

mod address;
mod connection;
mod draft;
mod lane;
mod link;
mod plain;
mod record;
mod secrets;
mod session;
mod store;
mod text;
mod trouble;

#[cfg(test)]
mod tests;

pub use address::{JetStreamAddress, PORT};
pub use connection::{AskError, CONNECT_TIMEOUT, Connection, ConnectionConfig, REQUEST_TIMEOUT};
pub use draft::HEADER_ROOM;
pub use link::{CHECK_INTERVAL, PUBLISH_DEADLINE};
pub use secrets::Secrets;
pub use session::REFUSED_ROOM;
pub use store::{JetStreamStore, LEAST_PAYLOAD, MAX_REMEMBERED};
