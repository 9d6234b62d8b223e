//! Stores in NATS JetStream, with a real nats-server.
//!
//! Apart from the tests of stores in files: here another program keeps what was acknowledged, and can be killed, stopped or changed.

mod connecting;
mod pruning;
mod reading;
mod serving;
mod stage;
