//! A stream of NATS JetStream as a store, which several servers share.
//!
//! Apart from the stores of one machine: here what is durable is another's business, and every answer comes over a network.

mod address;
mod archive;
mod background;
mod connection;
#[allow(dead_code)]
mod draft;
mod prune;
mod reader;
#[allow(dead_code)]
mod record;
mod secrets;
mod stream;
mod text;

pub use address::{JetStreamAddress, PORT};
pub use archive::JetStreamArchive;
pub use connection::{AskError, CONNECT_TIMEOUT, Connection, ConnectionConfig, REQUEST_TIMEOUT};
pub use draft::HEADER_ROOM;
pub use prune::{Pruned, prune};
pub use secrets::Secrets;
pub use stream::{Stream, StreamConfig, StreamState};
