//! `Chance`: the random parts of pauses.
//!
//! Apart, because a thousand clients of a server that comes back must not all come at once, and a test must be able to repeat what they do.

use std::time::Duration;

use crate::wire::assured::{BACK_OFF, HEALTHY_AFTER, LONGEST_PAUSE};

/// Random numbers that nobody needs to be unable to guess, and the pauses that are made of them.
#[derive(Debug)]
pub(super) struct Chance {
    state: u64,
    /// The longest pause before the next connection.
    most: Duration,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, most: BACK_OFF.0 }
    }

    /// 64 bits: SplitMix64 (Steele, Lea and Flood 2014).
    pub(super) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random part of a duration.
    pub(super) fn part_of(&mut self, whole: Duration) -> Duration {
        whole * u32::try_from(self.bits() >> 48).unwrap_or(0) / (1 << 16)
    }

    /// The pause before the next connection, after one that was open for so long: a part of what doubles every time.
    pub(super) fn pause(&mut self, open: Duration) -> Duration {
        if open >= HEALTHY_AFTER {
            self.most = BACK_OFF.0;
        }
        let pause = self.part_of(self.most);
        self.most = (self.most * 2).min(BACK_OFF.1);
        pause
    }

    /// Something longer by up to a quarter, for a pause that the server has asked for: of what it may ask for.
    pub(super) fn stretched(&mut self, pause: Duration) -> Duration {
        let pause = pause.min(LONGEST_PAUSE);
        pause + self.part_of(pause / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::assured::MAX_NUMBER;

    #[test]
    fn pauses_grow_to_their_limit_and_begin_anew_after_a_good_connection() {
        let mut chance = Chance::new(1);
        for doublings in 0..12 {
            let pause = chance.pause(Duration::ZERO);
            assert!(pause <= (BACK_OFF.0 * (1 << doublings)).min(BACK_OFF.1), "{doublings}: {pause:?}");
        }
        assert_eq!(chance.most, BACK_OFF.1);
        assert!(chance.pause(HEALTHY_AFTER) <= BACK_OFF.0);
        let second = Duration::from_secs(1);
        assert!((0..99).all(|_| (second..=second * 5 / 4).contains(&chance.stretched(second))));
        assert_ne!(Chance::new(1).bits(), Chance::new(2).bits());
    }

    #[test]
    fn no_server_stops_a_client_for_good_or_has_it_panic() {
        let mut chance = Chance::new(1);
        for asked in [LONGEST_PAUSE * 2, Duration::from_millis(MAX_NUMBER), Duration::MAX] {
            let pause = chance.stretched(asked);
            assert!((LONGEST_PAUSE..=LONGEST_PAUSE * 5 / 4).contains(&pause), "{asked:?}: {pause:?}");
        }
    }
}
