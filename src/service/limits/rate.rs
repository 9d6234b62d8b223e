//! `Rate`: so many in a second, a minute or an hour; and the bucket of tokens that keeps to it.
//!
//! Apart from whose bucket it is: here is only arithmetic, exact in whole numbers, with the time as an argument.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::net::{Error, Result};

/// The highest number in a rate.
pub const MAX_RATE: u32 = 1_000_000;

const NANOS_OF_SECOND: u64 = 1_000_000_000;

/// How fast something may come: `100/s`, `10/m`, `1/h`; without a unit it is a second.
///
/// After a pause, what comes to a second may come at once, but at least one: of `100/s` a hundred, then one each 10 ms; of
/// `10/m` one, then one each 6 s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    number: NonZeroU32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

impl Rate {
    /// How many may come at once after a pause.
    pub fn burst(self) -> u32 {
        (self.number.get() / self.unit.seconds()).max(1)
    }

    /// How long it takes after a burst until another one may come.
    pub fn refill(self) -> Duration {
        Duration::from_nanos(self.full().div_ceil(self.number.get().into()))
    }

    /// What one costs. In a nanosecond `number` comes in: so no part of a token is ever lost to rounding.
    fn cost(self) -> u64 {
        u64::from(self.unit.seconds()) * NANOS_OF_SECOND
    }

    /// What a full bucket holds: at most 10^15, with the highest rate of all.
    fn full(self) -> u64 {
        self.cost() * u64::from(self.burst())
    }
}

impl Unit {
    const ALL: [(Self, &str, u32); 3] = [(Self::Second, "s", 1), (Self::Minute, "m", 60), (Self::Hour, "h", 3600)];

    fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (digits, unit) = text.split_once('/').unwrap_or((text, "s"));
        let unit = Unit::ALL.iter().find(|(_, name, _)| *name == unit).map(|(unit, ..)| *unit);
        let number =
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<NonZeroU32>().ok()).flatten();
        match (number, unit) {
            (Some(number), Some(unit)) if number.get() <= MAX_RATE => Ok(Self { number, unit }),
            _ => Err(Error::usage(format!("`{text}` is no rate"))
                .hinting(format!("write a number up to {MAX_RATE} a second, minute or hour: 100/s, 10/m, 1/h"))),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => "s",
            Unit::Minute => "m",
            Unit::Hour => "h",
        };
        write!(f, "{}/{unit}", self.number)
    }
}

/// What is left to somebody of a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// In the units of [`Rate::cost`].
    credit: u64,
    /// When that was so.
    at: Instant,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Instant) -> Self {
        Self { credit: rate.full(), at: now }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        // Of two threads the later may come with the earlier time.
        let elapsed = now.saturating_duration_since(self.at);
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let income = elapsed.saturating_mul(rate.number.get().into());
        self.credit = self.credit.saturating_add(income).min(rate.full());
        self.at = self.at.max(now);
        let rest = self.credit.checked_sub(rate.cost());
        self.credit = rest.unwrap_or(self.credit);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap_or_else(|error| panic!("{error:?}"))
    }

    #[test]
    fn reads_and_prints() {
        for (text, printed, burst, refill) in [
            ("100/s", "100/s", 100, Duration::from_secs(1)),
            ("7", "7/s", 7, Duration::from_secs(1)),
            ("10/m", "10/m", 1, Duration::from_secs(6)),
            ("120/m", "120/m", 2, Duration::from_secs(1)),
            ("1/h", "1/h", 1, Duration::from_secs(3600)),
            ("1000000/s", "1000000/s", 1_000_000, Duration::from_secs(1)),
            ("1000000/h", "1000000/h", 277, Duration::from_nanos(997_200_000)),
        ] {
            let rate = rate(text);
            assert_eq!((rate.to_string().as_str(), rate.burst(), rate.refill()), (printed, burst, refill), "{text}");
        }
        for text in ["", "0", "0/m", "x", "-1", "+1", "10/d", "10/", "/s", "1.5/s", "1000001/s", "99999999999"] {
            let error = text.parse::<Rate>().expect_err(text);
            assert_eq!(error.to_string(), format!("`{text}` is no rate"));
            assert!(error.hint().is_some_and(|hint| hint.contains("10/m")));
        }
    }

    #[test]
    fn the_bucket_fills_exactly() {
        let start = Instant::now();
        // A third of a second is no whole number of nanoseconds, yet nothing is lost in ten thousand of them.
        let rate = rate("3/s");
        let mut bucket = Bucket::full(rate, start);
        assert_eq!([(); 4].map(|()| bucket.take(rate, start)), [true, true, true, false]);
        let mut now = start;
        for third in 1u64..=10_000 {
            let whole = start + Duration::from_nanos((third * 1_000_000_000).div_ceil(3));
            let early = whole - Duration::from_nanos(1);
            assert!(!bucket.take(rate, early), "{third}: a nanosecond early");
            assert!(bucket.take(rate, whole), "{third}: in time");
            now = whole;
        }
        assert!(!bucket.take(rate, now));
        // More than a full bucket is never there, however long it was left.
        now += Duration::from_secs(u64::from(u32::MAX));
        assert_eq!([(); 4].map(|()| bucket.take(rate, now)), [true, true, true, false]);
        // A time before the last is as if none had passed.
        assert!(!bucket.take(rate, start));
        assert!(!bucket.take(rate, now), "what was earned is not earned again");
        assert!(bucket.take(rate, now + Duration::from_millis(334)));
    }
}
