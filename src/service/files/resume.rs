//! `Resume`: how far what the receiver has is what is to be sent.
//!
//! Apart from files and connections: it is told two digests at a time and says what to ask for next.

use crate::wire::Digest;

/// Digests are asked for in steps of so many bytes: little is sent again where the two differ, and no answer takes long.
pub const STEP: u64 = 1 << 30;

/// The search for the offset from which a file is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resume {
    /// How much the receiver has, as far as it is of use.
    there: u64,
    /// All before this is the same on both sides.
    equal: u64,
    /// Whether a difference was found.
    differs: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    /// To ask for the digest of all before this offset.
    Hash(u64),
    /// To send from this offset on.
    From(u64),
}

impl Resume {
    /// The search in a file of this size, of which the receiver says that it has so many bytes.
    pub fn new(size: u64, there: u64) -> Self {
        Self { there: there.min(size), equal: 0, differs: false }
    }

    /// What to do next.
    pub fn ask(&self) -> Ask {
        match self.differs || self.equal == self.there {
            true => Ask::From(self.equal),
            false => Ask::Hash(self.there.min(self.equal.saturating_add(STEP))),
        }
    }

    /// The digests that were asked for. Says whether they are equal.
    pub fn compare(&mut self, ours: Digest, theirs: Digest) -> bool {
        if let Ask::Hash(offset) = self.ask() {
            match ours == theirs {
                true => self.equal = offset,
                false => self.differs = true,
            }
        }
        !self.differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_not_sent_again() {
        let (same, other) = (Digest([1; 32]), Digest([2; 32]));
        for (size, there, differs_from, asked, from) in [
            (0, 0, u64::MAX, vec![], 0),
            (100, 0, u64::MAX, vec![], 0),
            (100, 7, u64::MAX, vec![7], 7),
            (100, 7, 0, vec![7], 0),
            (100, 100, u64::MAX, vec![100], 100),
            // What it has beyond the end is of no use.
            (100, 300, u64::MAX, vec![100], 100),
            (5 * STEP, 2 * STEP + 1, u64::MAX, vec![STEP, 2 * STEP, 2 * STEP + 1], 2 * STEP + 1),
            (5 * STEP, 2 * STEP + 1, STEP + 5, vec![STEP, 2 * STEP], STEP),
        ] {
            let (mut resume, mut hashed) = (Resume::new(size, there), Vec::new());
            while let Ask::Hash(offset) = resume.ask() {
                hashed.push(offset);
                let is_same = offset <= differs_from;
                assert_eq!(resume.compare(same, if is_same { same } else { other }), is_same);
            }
            assert_eq!((hashed, resume.ask()), (asked, Ask::From(from)), "{size} {there} {differs_from}");
        }
    }
}
