//! A stream of NATS JetStream as a store, which several servers share.
//!
//! Apart from the stores of one machine: here what is durable is another's business, and every answer comes over a network.

mod address;
mod connection;
#[allow(dead_code)]
mod draft;
#[allow(dead_code)]
mod record;
mod secrets;
mod text;

pub use address::{JetStreamAddress, PORT};
pub use connection::{AskError, CONNECT_TIMEOUT, Connection, ConnectionConfig, REQUEST_TIMEOUT};
pub use secrets::Secrets;
