//! Idle: many connections that have had one message answered and do nothing more, and what each costs the server.
//!
//! Apart from the parts that keep a server busy: what it keeps for a connection that is silent decides how many it can have.

use std::time::{Duration, Instant};

use super::link::RECEIVE;
use super::{Memory, Plan, Target};
use crate::service::Result;

/// What idle connections have cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle {
    /// How many were held at once.
    pub connections: usize,
    /// How long it took to open them, one after the other, and have a message answered on each.
    pub elapsed: Duration,
    /// What the server used before and with them, if its process is known.
    pub memory: Option<(Memory, Memory)>,
}

impl Idle {
    /// Bytes of the server's memory for each connection, if its process is known. What the kernel keeps is not in it.
    pub fn bytes_per_connection(&self) -> Option<f64> {
        let (before, after) = self.memory?;
        Some((after.bytes as f64 - before.bytes as f64) / self.connections.max(1) as f64)
    }
}

pub(super) fn measure(target: &Target, plan: &Plan) -> Result<Idle> {
    let mut buffer = vec![0; RECEIVE];
    // What a server sets up for its first client is not for each.
    let first = target.open_one_of_many(plan.timeout, 0)?;
    let message = first.message(plan.size);
    first.greet(&message, &mut buffer)?;
    let before = plan.pid.map(Memory::settled).transpose()?;
    let start = Instant::now();
    let mut held = Vec::with_capacity(plan.idle_connections);
    for number in 0..plan.idle_connections {
        let link = target.open_one_of_many(plan.timeout, number as u64)?;
        link.greet(&message, &mut buffer)?;
        held.push(link);
    }
    let elapsed = start.elapsed();
    let after = plan.pid.map(Memory::of).transpose()?;
    Ok(Idle { connections: held.len(), elapsed, memory: before.zip(after) })
}
