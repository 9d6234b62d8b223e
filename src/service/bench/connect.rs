//! Connections one after the other: connect, one message, its answer, close.
//!
//! Apart from the parts that keep their connections: here most of the work is the kernel's, and the server's accepting.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Latencies, Plan, Target, per_second};
use crate::service::{Error, Result};

/// With how many clients at once it is measured.
pub const CONNECT_CLIENTS: [usize; 2] = [1, 8];

/// The answer to one message is short; what is longer is received in several calls.
const ANSWER: usize = 64 * 1024;

/// How many connections were made, used once and closed.
#[derive(Clone, Debug)]
pub struct Connect {
    /// How many clients did so at once.
    pub clients: usize,
    /// How many connections they made in all.
    pub connections: u64,
    /// What ended it.
    pub end: End,
    /// How long it took in all.
    pub elapsed: Duration,
    /// How long each took, from connecting to its close.
    pub latencies: Latencies,
}

/// What ends a part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The time was up.
    Time,
    /// All ports of this machine were in use by connections that had ended just before (TIME_WAIT, RFC 9293).
    NoMorePorts,
}

impl Connect {
    /// Connections a second.
    pub fn rate(&self) -> f64 {
        per_second(self.connections, self.elapsed)
    }
}

pub(super) fn measure(target: &Target, plan: &Plan, clients: usize) -> Result<Connect> {
    let (number, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Instant::now();
    let results: Vec<Result<(Latencies, End)>> = std::thread::scope(|scope| {
        let client = || one_client(target, plan, start + plan.duration, &number, &stop);
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut all =
        Connect { clients, connections: 0, end: End::Time, elapsed: start.elapsed(), latencies: Latencies::default() };
    for result in results {
        let (latencies, end) = result?;
        all.connections += latencies.count();
        all.latencies.add(&latencies);
        if end == End::NoMorePorts {
            all.end = end;
        }
    }
    Ok(all)
}

fn one_client(
    target: &Target,
    plan: &Plan,
    end: Instant,
    number: &AtomicU64,
    stop: &AtomicBool,
) -> Result<(Latencies, End)> {
    let mut latencies = Latencies::default();
    let mut buffer = vec![0; ANSWER];
    let mut message = Vec::new();
    let mut last = Instant::now();
    while last < end && !stop.load(Ordering::Relaxed) {
        let link = match target.open_one_of_many(plan.timeout, number.fetch_add(1, Ordering::Relaxed)) {
            Err(error) if error.errno() == Some(Errno::EADDRNOTAVAIL) && latencies.count() > 0 => {
                stop.store(true, Ordering::Relaxed);
                return Ok((latencies, End::NoMorePorts));
            }
            link => link.inspect_err(|_| stop.store(true, Ordering::Relaxed))?,
        };
        let failed = |error: Error| {
            stop.store(true, Ordering::Relaxed);
            error
        };
        if message.is_empty() {
            message = link.message(plan.size);
            link.greet(&message, &mut buffer).map_err(failed)?;
        } else {
            let sent = latencies.count() + 1;
            link.exchange(&message, &mut buffer).map_err(|error| failed(link.failed(sent, sent - 1, error)))?;
        }
        drop(link);
        let now = Instant::now();
        latencies.record(now - last);
        last = now;
    }
    Ok((latencies, End::Time))
}
