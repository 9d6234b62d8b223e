//! The round trip: one connection, one message at a time, and how long each took.
//!
//! Apart from [`paced`](super::paced), where messages are due at fixed times: here each is sent when the one before was answered.

use std::time::{Duration, Instant};

use super::link::{RECEIVE, is_late};
use super::{Latencies, Plan, Target, per_second};
use crate::service::Result;

/// How long messages took, one at a time.
#[derive(Clone, Debug, Default)]
pub struct RoundTrip {
    /// Messages that were answered.
    pub answered: u64,
    /// Datagrams that were not.
    pub lost: u64,
    /// Messages a second that were to be sent, if that was given.
    pub target_rate: Option<f64>,
    /// How long it took in all.
    pub elapsed: Duration,
    /// How long each took; of paced ones from the time at which each was due.
    pub latencies: Latencies,
}

impl RoundTrip {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        per_second(self.answered, self.elapsed)
    }
}

pub(super) fn measure(target: &Target, plan: &Plan) -> Result<RoundTrip> {
    let mut link = target.open(plan.timeout)?;
    let (message, mut buffer) = (link.message(plan.size), vec![0; RECEIVE]);
    link.greet(&message, &mut buffer)?;
    if link.loses() {
        link.expect_losses()?;
    }
    let mut found = RoundTrip::default();
    let start = Instant::now();
    let (end, mut last) = (start + plan.duration, start);
    while last < end {
        let answered = link.exchange(&message, &mut buffer);
        let now = Instant::now();
        match answered {
            Ok(_) => {
                found.latencies.record(now - last);
                found.answered += 1;
            }
            Err(error) if link.loses() && is_late(&error) => found.lost += 1,
            Err(error) => return Err(link.failed(found.answered + 1, found.answered, error)),
        }
        last = now;
    }
    found.elapsed = last - start;
    Ok(found)
}
