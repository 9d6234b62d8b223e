//! A stream of NATS JetStream as a store, which several servers share.
//!
//! Apart from the stores of one machine: here what is durable is another's business, and every answer comes over a network.

mod address;

pub use address::{JetStreamAddress, PORT};
