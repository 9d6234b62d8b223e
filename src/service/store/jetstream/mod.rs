//! A stream of NATS JetStream as a store, which several servers share.
//!
//! Apart from the stores of one machine: here what is durable is another's business, and every answer comes over a network.

mod address;
mod archive;
mod background;
mod connection;
mod doubt;
mod draft;
mod known;
mod lane;
mod link;
mod plain;
mod prune;
mod reader;
mod record;
mod secrets;
mod session;
mod store;
mod stream;
mod text;
mod trouble;

#[cfg(test)]
mod tests;

pub use address::{JetStreamAddress, PORT};
pub use archive::JetStreamArchive;
pub use connection::{AskError, CONNECT_TIMEOUT, Connection, ConnectionConfig, REQUEST_TIMEOUT};
pub use draft::HEADER_ROOM;
pub use link::{CHECK_INTERVAL, LEAVE_AFTER, PUBLISH_DEADLINE};
pub use prune::{Pruned, prune};
pub use secrets::Secrets;
pub use session::{LOSS_PATIENCE, REFUSED_ROOM};
pub use store::{JetStreamStore, LEAST_PAYLOAD, MAX_REMEMBERED};
pub use stream::{DUPLICATE_WINDOW, Stream, StreamConfig, StreamState};
