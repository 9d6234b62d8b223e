//! `RoundTrip`: how long an answer is waited for, learnt from how long answers took (RFC 6298).
//!
//! Apart from what is sent: here is arithmetic only.

use std::time::Duration;

use super::{MAX_TIMEOUT, MIN_TIMEOUT};

/// The retransmission timeout.
#[derive(Clone, Debug)]
pub(super) struct RoundTrip {
    /// Smoothed, with its variation, once there is a sample.
    known: Option<(Duration, Duration)>,
    timeout: Duration,
}

impl RoundTrip {
    /// Nothing is known yet, and so long is waited.
    pub(super) fn new(first: Duration) -> Self {
        Self { known: None, timeout: first }
    }

    /// An answer took so long (RFC 6298, 2.2 and 2.3). It must be to something that was sent once only (3, Karn).
    pub(super) fn sample(&mut self, took: Duration) {
        let (smoothed, variation) = match self.known {
            None => (took, took / 2),
            Some((smoothed, variation)) => {
                (smoothed * 7 / 8 + took / 8, variation * 3 / 4 + smoothed.abs_diff(took) / 4)
            }
        };
        self.known = Some((smoothed, variation));
        self.timeout = of((smoothed, variation));
    }

    /// The session was opened anew: so long is waited, or longer if answers have shown that the way is. What was backed off was for a server that is not there any more.
    pub(super) fn restart(&mut self, first: Duration) {
        self.timeout = self.known.map_or(first, |known| of(known).max(first));
    }

    /// There was no answer in time (RFC 6298, 5.5): the next is waited for twice as long.
    pub(super) fn back_off(&mut self) {
        self.timeout = (self.timeout * 2).min(MAX_TIMEOUT);
    }

    /// How long to wait for an answer.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn of((smoothed, variation): (Duration, Duration)) -> Duration {
    (smoothed + variation * 4).clamp(MIN_TIMEOUT, MAX_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_timeout_follows_the_samples_as_in_the_rfc() {
        let mut trip = RoundTrip::new(ms(1200));
        assert_eq!(trip.timeout(), ms(1200));
        // 800 + 4 * 400; then 3/4 * 400 + 1/4 * 400 of variation, and 7/8 * 800 + 1/8 * 400.
        for (took, timeout) in [(800, 2400), (400, 2350)] {
            trip.sample(ms(took));
            assert_eq!(trip.timeout(), ms(timeout), "{took}");
        }
        for timeout in [4700, 9400, 18_800, 37_600, 60_000, 60_000] {
            trip.back_off();
            assert_eq!(trip.timeout(), ms(timeout));
        }
        trip.sample(ms(400));
        assert!(trip.timeout() < ms(3000), "a sample ends what was backed off: {:?}", trip.timeout());
    }

    #[test]
    fn an_opening_ends_what_was_backed_off_and_forgets_no_long_way() {
        for (samples, timeout) in [(&[][..], 1200), (&[1], 1200), (&[2000], 6000)] {
            let mut trip = RoundTrip::new(ms(1000));
            samples.iter().for_each(|took| trip.sample(ms(*took)));
            (0..9).for_each(|_| trip.back_off());
            trip.restart(ms(1200));
            assert_eq!(trip.timeout(), ms(timeout), "{samples:?}");
        }
    }

    #[test]
    fn the_timeout_keeps_to_its_limits() {
        let mut trip = RoundTrip::new(ms(1000));
        trip.sample(ms(1));
        assert_eq!(trip.timeout(), MIN_TIMEOUT);
        trip.sample(Duration::from_secs(4000));
        assert_eq!(trip.timeout(), MAX_TIMEOUT);
    }
}
