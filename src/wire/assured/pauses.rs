//! `Pauses`: how long a client waits before it connects again.
//!
//! Apart, with what is random in it: a thousand clients of a server that comes back must not all come at once, and a test must be able to repeat what
//! they do.

use std::time::Duration;

use super::{BACK_OFF, HEALTHY_AFTER, LONGEST_PAUSE};

/// Pauses that double, each a random part of what it may be ("full jitter").
#[derive(Debug)]
pub(super) struct Pauses {
    random: u64,
    most: Duration,
    /// How many places there are to connect to.
    places: usize,
    /// How many were left one after the other, with nothing settled at any of them.
    left: usize,
}

impl Pauses {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: seed, most: BACK_OFF.0, places: 1, left: 0 }
    }

    /// There are so many places.
    pub(super) fn know(&mut self, places: usize) {
        self.places = places;
    }

    /// A place has done what it is there for.
    pub(super) fn served(&mut self) {
        self.left = 0;
    }

    /// None of the places is of use now.
    pub(super) fn left_all(&mut self) {
        self.left = self.places;
    }

    /// A place is left for another: whether there is one that was not left since one has served. Where all were, it begins anew, after a pause.
    pub(super) fn has_another(&mut self) -> bool {
        self.left = self.left.saturating_add(1);
        let has_another = self.left < self.places;
        if !has_another {
            self.left = 0;
        }
        has_another
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.part_of(self.most);
        self.most = (self.most * 2).min(BACK_OFF.1);
        pause
    }

    /// The next pause, after a connection that was open for so long.
    pub(super) fn after_use(&mut self, open: Duration) -> Duration {
        if open >= HEALTHY_AFTER {
            self.most = BACK_OFF.0;
        }
        self.next()
    }

    /// The next pause, after a connection that was open for so long and that the server has ended in order: none, unless such ends follow each other quickly.
    pub(super) fn after_order(&mut self, open: Duration) -> Duration {
        let first = open >= HEALTHY_AFTER || self.most == BACK_OFF.0;
        let pause = self.after_use(open);
        if first { Duration::ZERO } else { pause }
    }

    /// Something longer by up to a quarter, for a pause that the server has asked for.
    pub(super) fn stretched(&mut self, pause: Duration) -> Duration {
        let pause = pause.min(LONGEST_PAUSE);
        pause + self.part_of(pause / 4)
    }

    /// A random part of a duration.
    pub(super) fn part_of(&mut self, whole: Duration) -> Duration {
        whole * u32::try_from(self.bits() >> 48).unwrap_or(0) / (1 << 16)
    }

    /// 64 bits that nobody needs to be unable to guess: SplitMix64 (Steele, Lea and Flood 2014).
    pub(super) fn bits(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_begin_anew_after_a_good_connection() {
        let mut pauses = Pauses::new(1);
        for doublings in 0..12 {
            let most = (BACK_OFF.0 * (1 << doublings)).min(BACK_OFF.1);
            let pause = pauses.next();
            assert!(pause <= most, "{pause:?} of {most:?}");
        }
        assert_eq!(pauses.most, BACK_OFF.1);
        pauses.after_use(HEALTHY_AFTER / 2);
        assert_eq!(pauses.most, BACK_OFF.1);
        assert!(pauses.after_use(HEALTHY_AFTER) <= BACK_OFF.0);
    }

    #[test]
    fn each_place_is_left_once_before_there_is_a_pause() {
        let mut pauses = Pauses::new(1);
        assert!(!pauses.has_another());
        pauses.know(3);
        for _ in 0..3 {
            assert!(pauses.has_another() && pauses.has_another() && !pauses.has_another());
        }
        assert!(pauses.has_another());
        pauses.served();
        assert!(pauses.has_another() && pauses.has_another() && !pauses.has_another());
    }

    #[test]
    fn no_two_clients_have_the_same_pauses() {
        let pauses = |seed| {
            let mut pauses = Pauses::new(seed);
            (0..9).map(|_| pauses.next()).collect::<Vec<_>>()
        };
        assert_ne!(pauses(1), pauses(2));
        let second = Duration::from_secs(1);
        let mut pauses = Pauses::new(3);
        assert!((0..99).all(|_| (second..=second * 5 / 4).contains(&pauses.stretched(second))));
    }

    #[test]
    fn no_server_stops_a_client_for_good_or_has_it_panic() {
        let mut pauses = Pauses::new(1);
        for asked in [LONGEST_PAUSE * 2, Duration::from_millis(crate::wire::assured::MAX_NUMBER), Duration::MAX] {
            let pause = pauses.stretched(asked);
            assert!((LONGEST_PAUSE..=LONGEST_PAUSE * 5 / 4).contains(&pause), "{asked:?}: {pause:?}");
        }
    }
}
