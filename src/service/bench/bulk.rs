//! Bulk: bytes, as many as the server reads, in long lines so that one with a limit to its messages takes them.
//!
//! Apart from pipelined messages: nothing is counted but bytes, and what an echo sends back is counted as well.

use std::time::Duration;

use super::flood::{Aim, Flood};
use super::{Plan, Target, per_second};
use crate::service::Result;

/// The length of a line of bulk, in bytes with its newline.
pub const BULK_LINE: usize = 32 * 1024;

/// How many bytes went to a server and came back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bulk {
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that came back.
    pub received: u64,
    /// Until the last byte had moved.
    pub elapsed: Duration,
}

impl Bulk {
    /// Bytes sent a second.
    pub fn sent_rate(&self) -> f64 {
        per_second(self.sent, self.elapsed)
    }

    /// Bytes received a second.
    pub fn received_rate(&self) -> f64 {
        per_second(self.received, self.elapsed)
    }
}

pub(super) fn measure(target: &Target, plan: &Plan) -> Result<Bulk> {
    let link = target.open(plan.timeout)?;
    let message = link.message(BULK_LINE);
    let mut flood = Flood::new(&link, &message, Aim::TheEnd);
    let ended = flood.run(plan.duration);
    let (messages, flooded) = (flood.messages(), flood.flooded);
    ended.map_err(|error| link.failed(messages, 0, error))?;
    Ok(Bulk { sent: flooded.sent, received: flooded.received, elapsed: flooded.elapsed })
}
