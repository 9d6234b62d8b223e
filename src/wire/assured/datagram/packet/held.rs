//! `Held`: what a server has of the numbers that are not final.
//!
//! Apart from the acknowledgement that says it, because both sides count in it.

/// Which of the 64 numbers after the next a server holds: the highest bit is that of `acknowledged + 2`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held(pub u64);

impl Held {
    /// How many numbers it speaks of.
    pub const NUMBERS: u64 = u64::BITS as u64;

    /// Notes a number as held, if it is one of those.
    pub fn insert(&mut self, acknowledged: u64, number: u64) {
        self.0 |= Self::bit(acknowledged, number);
    }

    /// Whether a number is held.
    pub fn contains(self, acknowledged: u64, number: u64) -> bool {
        self.0 & Self::bit(acknowledged, number) != 0
    }

    fn bit(acknowledged: u64, number: u64) -> u64 {
        let at = number.checked_sub(acknowledged).and_then(|after| after.checked_sub(2));
        at.filter(|at| *at < Self::NUMBERS).map_or(0, |at| 1 << (Self::NUMBERS - 1 - at))
    }
}
