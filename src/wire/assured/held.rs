//! `Held`: the messages that a sender may have to send again.
//!
//! Apart from the sender: here is only where they lie. Runs are kept as they came, so that nothing is copied.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::{Run, Series, SessionId, checksum};

/// Messages whose numbers follow each other, from the first that is not final.
#[derive(Debug)]
pub(super) struct Held {
    first: u64,
    /// The checksum of the message before the first.
    checksum: Option<u32>,
    runs: VecDeque<Run>,
    bytes: u64,
}

/// Where a message lies, until something is added or becomes final.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// In which run.
    at: usize,
    /// How many bytes it has.
    pub(super) size: u64,
}

impl Held {
    /// What a single message counts beside its bytes: where it lies.
    const OVERHEAD: usize = size_of::<crate::wire::Span>();

    pub(super) fn new(first: u64, checksum: Option<u32>) -> Self {
        Self { first, checksum, runs: VecDeque::new(), bytes: 0 }
    }

    /// The number after the last that is held.
    pub(super) fn next(&self) -> u64 {
        self.runs.back().map_or(self.first, Run::next)
    }

    /// How many messages are held.
    pub(super) fn len(&self) -> u64 {
        self.next() - self.first
    }

    /// How much it takes, in bytes. What is final counts for as long as others of its run are not.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The checksum of the message before the first, if it is known.
    pub(super) fn checksum(&self) -> Option<u32> {
        self.checksum
    }

    /// Adds messages. What is final or held already is left out, as is what does not follow.
    pub(super) fn push(&mut self, run: Run) {
        if run.next() > self.next() && run.first <= self.next() {
            self.bytes += Self::counts(&run);
            self.runs.push_back(run);
        }
    }

    /// Drops the messages up to a number.
    pub(super) fn settle(&mut self, through: u64) {
        if through < self.first {
            return;
        }
        self.checksum = self.message(through).map(checksum);
        let settled = self.runs.partition_point(|run| run.last() <= through);
        self.bytes -= self.runs.drain(..settled).map(|run| Self::counts(&run)).sum::<u64>();
        self.first = through + 1;
    }

    /// How many bytes the messages of these numbers have, those that are held.
    pub(super) fn size_of(&self, numbers: RangeInclusive<u64>) -> u64 {
        let (first, last) = (self.first.max(*numbers.start()), *numbers.end());
        let at = self.runs.partition_point(|run| run.next() <= first);
        let runs = self.runs.iter().skip(at).take_while(|run| run.first <= last);
        runs.map(|run| run.size_of(first.max(run.first)..=last.min(run.last()))).sum()
    }

    /// The message of a number, if it is held and not final.
    pub(super) fn message(&self, number: u64) -> Option<&[u8]> {
        self.at(number).and_then(|at| self.runs.get(at)).map(|run| run.message(number))
    }

    /// Where the message of a number lies, if it is held and not final. It is looked for first where another was found, and in the run after that.
    pub(super) fn find(&self, number: u64, near: Place) -> Option<Place> {
        let is_in = |at: &usize| self.runs.get(*at).is_some_and(|run| run.first <= number && number < run.next());
        let beside = [near.at, near.at + 1].into_iter().find(is_in).filter(|_| number >= self.first);
        let at = beside.or_else(|| self.at(number))?;
        let size = self.runs.get(at)?.message(number).len() as u64;
        Some(Place { at, size })
    }

    /// A message where it was found just now, and where it was sent first, if that was in another session.
    pub(super) fn take_from(&self, place: Place, number: u64) -> (Option<(SessionId, u64)>, &[u8]) {
        let Some(run) = self.runs.get(place.at) else { return (None, &[]) };
        (origin(run, number), run.message(number))
    }

    /// The messages from one on that was found just now: those of its run, at most so many, which together have at most so many bytes; no more once there are `enough`
    /// bytes. None where some of the run come from another session.
    pub(super) fn series(&self, place: Place, first: u64, most: u64, most_bytes: u64, enough: u64) -> Series<'_> {
        let run = self.runs.get(place.at).filter(|run| run.origins.is_empty());
        let spans = run.zip(run.and_then(|run| usize::try_from(first.checked_sub(run.first)?).ok()));
        let spans = spans.and_then(|(run, at)| run.spans.get(at..)).unwrap_or_default();
        let (mut count, mut size) = (0, 0);
        for span in spans.iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            let length = (span.end - span.start) as u64;
            if size >= enough || length > most_bytes - size {
                break;
            }
            (count, size) = (count + 1, size + length);
        }
        Series { first, bytes: run.map_or(&[], |run| &run.bytes), spans: &spans[..count], size }
    }

    /// Where a message was sent first, if that was in another session.
    pub(super) fn origin(&self, number: u64) -> Option<(SessionId, u64)> {
        self.at(number).and_then(|at| origin(self.runs.get(at)?, number))
    }

    /// Which run has a number.
    fn at(&self, number: u64) -> Option<usize> {
        if number < self.first {
            return None;
        }
        let at = self.runs.partition_point(|run| run.next() <= number);
        self.runs.get(at).is_some_and(|run| run.first <= number).then_some(at)
    }

    fn counts(run: &Run) -> u64 {
        (size_of::<Run>() + run.bytes.len() + run.len() * Self::OVERHEAD) as u64
    }
}

fn origin(run: &Run, number: u64) -> Option<(SessionId, u64)> {
    let at = run.origins.binary_search_by_key(&number, |(here, ..)| *here).ok()?;
    run.origins.get(at).map(|(_, session, there)| (session.clone(), *there))
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
        let mut held = Held::new(5, Some(7));
        held.push(run(5, &["five", "six", "seven"]));
        held.push(run(8, &["eight"]));
        // Neither one that is there nor one that does not follow.
        held.push(run(8, &["again"]));
        held.push(run(10, &["ten"]));
        assert_eq!((held.first, held.next()), (5, 9));
        assert_eq!((held.message(8), held.message(9), held.message(4)), (Some(&b"eight"[..]), None, None));
        assert_eq!((held.size_of(1..=6), held.size_of(6..=99), held.size_of(9..=9)), (7, 13, 0));
        held.settle(6);
        assert_eq!((held.first, held.message(6), held.checksum()), (7, None, Some(checksum(b"six"))));
        held.settle(6);
        assert_eq!(held.first, 7);
        held.settle(8);
        assert_eq!((held.bytes(), held.next()), (0, 9));
    }

    #[test]
    fn more_may_be_final_than_is_held() {
        let mut held = Held::new(1, None);
        held.push(run(1, &["one", "two"]));
        held.settle(9);
        assert_eq!((held.first, held.next(), held.bytes(), held.checksum()), (10, 10, 0, None));
        held.push(run(10, &["ten"]));
        assert_eq!(held.message(10), Some(&b"ten"[..]));
    }

    #[test]
    fn a_message_keeps_where_it_comes_from() {
        let session = SessionId::of_bits(1);
        let mut held = Held::new(1, None);
        held.push(Run { origins: vec![(2, session.clone(), 77)], ..run(1, &["one", "two"]) });
        let origin = |number| held.find(number, Place::default()).and_then(|place| held.take_from(place, number).0);
        assert_eq!((origin(1), origin(2), origin(3)), (None, Some((session, 77)), None));
    }
}
