//! Measuring a server that answers each message: how fast, how many, how much, at what cost in memory.
//!
//! Apart from [`Client`](super::Client), which cares for every message: this sends as fast as a server can take it, without an
//! allocation a message, and counts the answers without looking at them. Any server that answers a line with a line will do.
//! One file a part; each gives plain values.

mod bulk;
mod connect;
mod connections;
mod flood;
mod idle;
mod latencies;
mod link;
mod memory;
mod paced;
mod pipelined;
mod round_trip;
mod target;

use std::time::Duration;

pub use bulk::{BULK_LINE, Bulk};
pub use connect::{CONNECT_CLIENTS, Connect, End};
pub use connections::Connections;
pub use idle::Idle;
pub use latencies::{Latencies, PERCENTILES};
pub use link::LOST_AFTER;
pub use memory::Memory;
pub use pipelined::Pipelined;
pub use round_trip::RoundTrip;
pub use target::Target;

use super::{ACKNOWLEDGEMENT_TIMEOUT, Result};

/// The size of a message unless told otherwise, in bytes: on a stream with its newline.
pub const SIZE: usize = 64;

/// The sizes that a message may have: with a newline and something before it, and such that one of them is always taken by
/// the buffers of a socket, whatever the server does.
pub const SIZES: std::ops::RangeInclusive<usize> = 2..=64 * 1024;

/// How long a part takes unless told otherwise.
pub const DURATION: Duration = Duration::from_secs(2);

/// How many connections are used at once unless told otherwise.
pub const CONNECTIONS: usize = 64;

/// How many connections are held idle unless told otherwise.
pub const IDLE_CONNECTIONS: usize = 1000;

/// What is measured, each by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// One connection, one message at a time.
    RoundTrip,
    /// Many connections at once, each one message at a time.
    Connections,
    /// One connection, many messages on the way.
    Pipelined,
    /// Connect, one message, its answer, close.
    Connect,
    /// Bytes, as many as the server reads.
    Bulk,
    /// Many connections that do nothing.
    Idle,
}

impl Part {
    /// Every part with the name that it is chosen by.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::RoundTrip, "round-trip"),
        (Self::Connections, "connections"),
        (Self::Pipelined, "pipelined"),
        (Self::Connect, "connect"),
        (Self::Bulk, "bulk"),
        (Self::Idle, "idle"),
    ];

    /// The name that it is chosen by.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(part, _)| *part == self).map_or("", |(_, name)| name)
    }

    /// Whether it can be measured on sockets of this kind.
    pub fn fits(self, target: &Target) -> bool {
        match self {
            Self::RoundTrip | Self::Connections | Self::Pipelined => true,
            Self::Connect | Self::Idle => target.has_connections(),
            Self::Bulk => target.is_stream(),
        }
    }
}

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The size of a message in bytes, one of [`SIZES`]. Default [`SIZE`].
    pub size: usize,
    /// How long each part takes. Default [`DURATION`].
    pub duration: Duration,
    /// How many connections at once. Default [`CONNECTIONS`].
    pub connections: usize,
    /// How many idle connections. Default [`IDLE_CONNECTIONS`].
    pub idle_connections: usize,
    /// Messages a second of the round trip, each sent when it is due whatever became of those before; `None` sends each
    /// when the one before was answered.
    pub rate: Option<f64>,
    /// How long an answer may take. Default [`ACKNOWLEDGEMENT_TIMEOUT`].
    pub timeout: Duration,
    /// The process of the server, if its memory is wanted. Its children are counted with it.
    pub pid: Option<u32>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            size: SIZE,
            duration: DURATION,
            connections: CONNECTIONS,
            idle_connections: IDLE_CONNECTIONS,
            rate: None,
            timeout: ACKNOWLEDGEMENT_TIMEOUT,
            pid: None,
        }
    }
}

/// What was measured of a part.
#[derive(Clone, Debug)]
pub enum Measured {
    /// Of [`Part::RoundTrip`].
    RoundTrip(RoundTrip),
    /// Of [`Part::Connections`].
    Connections(Connections),
    /// Of [`Part::Pipelined`].
    Pipelined(Pipelined),
    /// Of [`Part::Connect`], once for each number of clients.
    Connect(Connect),
    /// Of [`Part::Bulk`].
    Bulk(Bulk),
    /// Of [`Part::Idle`].
    Idle(Idle),
}

/// Measures a part and hands on what was found as it is found. Blocks until it is done.
///
/// # Errors
/// No connection, no answer in time, or a connection that ends while an answer is owed.
pub fn measure(part: Part, target: &Target, plan: &Plan, mut found: impl FnMut(Measured)) -> Result<()> {
    match part {
        Part::RoundTrip => found(Measured::RoundTrip(match plan.rate {
            None => round_trip::measure(target, plan)?,
            Some(rate) => paced::measure(target, plan, rate)?,
        })),
        Part::Connections => found(Measured::Connections(connections::measure(target, plan)?)),
        Part::Pipelined => found(Measured::Pipelined(pipelined::measure(target, plan)?)),
        Part::Connect => {
            for clients in CONNECT_CLIENTS {
                found(Measured::Connect(connect::measure(target, plan, clients)?));
            }
        }
        Part::Bulk => found(Measured::Bulk(bulk::measure(target, plan)?)),
        Part::Idle => found(Measured::Idle(idle::measure(target, plan)?)),
    }
    Ok(())
}

/// So many in that time, as a rate a second; 0 for no time.
fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
