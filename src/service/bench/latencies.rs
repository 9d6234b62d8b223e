//! `Latencies`: how long each of many messages took, as a histogram that keeps three digits of every value.
//!
//! Apart, because what people want to know is in the tail: an average hides it, and keeping every value would cost memory
//! and time while something is measured. (HdrHistogram, by Gil Tene.)

use std::time::Duration;

use hdrhistogram::Histogram;

/// The percentiles that are shown.
pub const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// The longest time that is told from longer ones.
const LONGEST: Duration = Duration::from_secs(3600);

/// How many digits of each value are kept.
const DIGITS: u8 = 3;

/// How long messages took.
#[derive(Clone, Debug)]
pub struct Latencies {
    nanoseconds: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        // The bounds are constants that it takes.
        let nanoseconds = Histogram::new_with_bounds(1, longest, DIGITS);
        Self { nanoseconds: nanoseconds.unwrap_or_else(|error| unreachable!("{error}")) }
    }
}

impl Latencies {
    /// Takes note of one.
    pub fn record(&mut self, latency: Duration) {
        self.nanoseconds.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Takes those of another.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.nanoseconds.add(&other.nanoseconds);
    }

    /// How many were noted.
    pub fn count(&self) -> u64 {
        self.nanoseconds.len()
    }

    /// The time that so many of a hundred did not exceed.
    pub fn percentile(&self, percentile: f64) -> Duration {
        Duration::from_nanos(self.nanoseconds.value_at_percentile(percentile).min(self.nanoseconds.max()))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.max())
    }

    /// The average.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.mean() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_noted() {
        let mut latencies = Latencies::default();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        let near = |percentile: f64, micros: f64| {
            let found = latencies.percentile(percentile).as_secs_f64() * 1e6;
            assert!((found - micros).abs() <= micros / 500.0, "{percentile}: {found}, not {micros}");
        };
        for (percentile, micros) in [(50.0, 500.0), (90.0, 900.0), (99.0, 990.0), (99.9, 999.0), (100.0, 1000.0)] {
            near(percentile, micros);
        }
        assert_eq!(latencies.count(), 1000);
        let mean = latencies.mean().as_secs_f64() * 1e6;
        assert!((mean - 500.5).abs() < 2.0, "{mean}");
    }

    #[test]
    fn two_are_added_and_none_is_nothing() {
        let (mut one, mut two) = (Latencies::default(), Latencies::default());
        assert_eq!((one.count(), one.max(), one.percentile(99.0)), (0, Duration::ZERO, Duration::ZERO));
        one.record(Duration::from_micros(10));
        two.record(Duration::from_secs(10_000));
        one.add(&two);
        assert_eq!(one.count(), 2);
        assert!(one.max() >= LONGEST, "one that is too long counts as the longest: {:?}", one.max());
    }
}
