//! Serving and sending: where sockets and messages meet.
//!
//! Knows nothing of arguments, terminals and exit statuses. [`Server`] gives the messages of many clients to a
//! [`Handler`]; [`Client`] sends messages and knows which of them were acknowledged.

pub mod access;
mod alarm;
pub mod base64;
pub mod bench;
mod client;
mod conversation;
pub mod delivery;
mod error;
mod exchange;
pub mod files;
pub mod forward;
pub mod handler;
pub mod limits;
mod message;
mod observer;
mod outcomes;
mod probe;
mod reach;
pub mod relay;
pub mod replay;
pub mod save;
mod server;
pub mod spool;
mod stop;
pub mod store;
mod teller;
pub mod work;
mod workspace;

pub use access::{Access, AccessRules, Gate};
pub use client::{
    ACKNOWLEDGEMENT_TIMEOUT, Acknowledgements, Client, ClientConfig, DATAGRAM_WINDOW, How, QUIET, Receipt,
};
pub use conversation::Conversation;
pub use delivery::{Assured, AssuredClient, Delivery, DeliveryConfig, News};
pub use error::{Error, Result, Why};
pub use exchange::{Exchange, Source, Step, Summary};
pub use files::{FileDelivery, FileNews, Files};
pub use handler::{
    BoxFuture, Chat, ConnectionHandler, Display, Handler, Reply, Screen, Standard, StandardService, Taker, Terms,
};
pub use handler::{Command, Exec, MAX_OUTPUT, MAX_PROCESSES, ProcessLimits, RUN_TIMEOUT, Run};
pub use limits::{Admission, Limits};
pub use message::{Batch, Messages, Outcome, Peer};
pub use observer::{Observed, Observer};
pub use outcomes::Outcomes;
pub use probe::{
    CONCURRENT_ATTEMPTS, Enough, Finding, Findings, PROBE_CLOSE_TIMEOUT, PROBE_TIMEOUT, Place, Probe, State,
};
pub use reach::Reach;
pub use relay::{Relay, RelayConfig};
pub use server::{Conversations, DRAIN_TIMEOUT, LEAST_RATE, Served, Server, ServerConfig};
pub use stop::{Stop, Stopper};
pub use workspace::READ_SIZE;
