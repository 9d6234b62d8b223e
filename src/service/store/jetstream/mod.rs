//! A stream of NATS JetStream as a store, which several servers share.
//!
//! Apart from the stores of one machine: here what is durable is another's business, and every answer comes over a network.

mod address;
#[allow(dead_code)]
mod draft;
#[allow(dead_code)]
mod record;
mod text;

pub use address::{JetStreamAddress, PORT};
