//! `Messages`: what a sender holds that is not final.
//!
//! Apart from what is on its way of it.

use std::collections::VecDeque;

use crate::wire::assured::{Run, SessionId, checksum};

/// Messages whose numbers follow each other, and the checksum of the one before them.
#[derive(Debug)]
pub(super) struct Messages {
    runs: VecDeque<Run>,
    bytes: usize,
    /// The lowest number that is not final.
    first: u64,
    checksum: Option<u32>,
}

impl Messages {
    /// None yet; the next has this number.
    pub(super) fn new(first: u64, checksum: Option<u32>) -> Self {
        Self { runs: VecDeque::new(), bytes: 0, first, checksum }
    }

    /// The number after the last that is held.
    pub(super) fn next(&self) -> u64 {
        self.runs.back().map_or(self.first, |run| run.next().max(self.first))
    }

    /// How many are held.
    pub(super) fn len(&self) -> u64 {
        self.next() - self.first
    }

    /// How many bytes are held. What is final counts for as long as others of its run are not.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The checksum of the message before the first, if it is known.
    pub(super) fn checksum(&self) -> Option<u32> {
        self.checksum
    }

    /// Adds messages. What is held or final already is left out, as is what does not follow.
    pub(super) fn push(&mut self, run: Run) {
        if run.next() > self.next() && run.first <= self.next() {
            self.bytes += run.bytes.len();
            self.runs.push_back(run);
        }
    }

    /// Drops those up to a number.
    pub(super) fn settle(&mut self, through: u64) {
        if through >= self.first {
            self.checksum = self.get(through).map(checksum);
            self.first = through + 1;
            while self.runs.front().is_some_and(|run| run.last() <= through) {
                self.bytes -= self.runs.pop_front().map_or(0, |run| run.bytes.len());
            }
        }
    }

    /// The message of a number, if it is held and not final.
    pub(super) fn get(&self, number: u64) -> Option<&[u8]> {
        self.run(number).map(|run| run.message(number))
    }

    /// Where the message was sent first, if that was in another session.
    pub(super) fn origin(&self, number: u64) -> Option<(SessionId, u64)> {
        let origins = &self.run(number)?.origins;
        let at = origins.binary_search_by_key(&number, |(here, ..)| *here).ok()?;
        origins.get(at).map(|(_, session, there)| (session.clone(), *there))
    }

    fn run(&self, number: u64) -> Option<&Run> {
        // A number may be in two runs, if the later began before what was held ended: both have the same message.
        let at = self.runs.partition_point(|run| run.next() <= number);
        self.runs.get(at).filter(|run| number >= self.first && run.first <= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, bodies: &[&str]) -> Run {
        let mut run = Run::new(first);
        bodies.iter().for_each(|body| run.push(body.as_bytes()));
        run
    }

    #[test]
    fn what_is_final_is_dropped_and_the_rest_is_found_by_its_number() {
        let mut messages = Messages::new(5, Some(7));
        messages.push(run(5, &["five", "six"]));
        messages.push(run(8, &["does not follow"]));
        messages.push(run(6, &["six", "seven"]));
        assert_eq!((messages.next(), messages.len(), messages.checksum()), (8, 3, Some(7)));
        messages.settle(5);
        assert_eq!((messages.get(5), messages.get(6), messages.get(7)), (None, Some(&b"six"[..]), Some(&b"seven"[..])));
        assert_eq!((messages.checksum(), messages.get(8)), (Some(checksum(b"five")), None));
        messages.settle(20);
        assert_eq!((messages.next(), messages.len(), messages.bytes(), messages.checksum()), (21, 0, 0, None));
    }
}
