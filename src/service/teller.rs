//! `Teller`: says what happens often only now and then, and counts what it has left out.
//!
//! Apart from those who have something to say: a flood of clients must not become one of the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often something is said at the most, unless told otherwise.
const EVERY: Duration = Duration::from_secs(1);

/// Says things now and then.
#[derive(Debug)]
pub(in crate::service) struct Teller {
    every: Duration,
    told: Mutex<Told>,
}

/// When something was said last, and how often it was not since.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    since: u64,
}

impl Default for Teller {
    fn default() -> Self {
        Self::every(EVERY)
    }
}

impl Teller {
    /// One that says something so often at the most.
    pub(in crate::service) fn every(every: Duration) -> Self {
        Self { every, told: Mutex::default() }
    }

    /// Has something said, unless that was done just now; what says it is given the number of times it was left out.
    pub(in crate::service) fn tell(&self, say: impl FnOnce(u64)) {
        // Nothing in here panics halfway.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.at.is_some_and(|at| now.duration_since(at) < self.every) {
            told.since += 1;
            return;
        }
        say(std::mem::take(&mut told.since));
        told.at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_often_is_said_now_and_then() {
        let mut said = Vec::new();
        let teller = Teller::every(Duration::from_secs(3600));
        for _ in 0..3 {
            teller.tell(|others| said.push(others));
        }
        assert_eq!(said, [0]);
        let teller = Teller::every(Duration::ZERO);
        (0..2).for_each(|_| teller.tell(|others| said.push(others)));
        assert_eq!(said, [0, 0, 0]);
    }
}
