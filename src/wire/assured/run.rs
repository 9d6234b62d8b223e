//! `Run`: messages of one session whose numbers follow each other, with their bytes in one piece.
//!
//! Apart, because it is what everything on the way hands on: the spool, the sender, the receiver and the store. There is no
//! allocation for a single message.

use std::ops::RangeInclusive;

use super::{Code, SessionId};
use crate::wire::Span;

/// Messages with the numbers [`Run::first`], the next, and so on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Run {
    /// The number of the first.
    pub first: u64,
    /// The bytes that the messages lie in.
    pub bytes: Vec<u8>,
    /// Where each lies.
    pub spans: Vec<Span>,
    /// Where messages come from that were first sent in another session, in the order of their numbers: the number here, that session, the number there.
    pub origins: Vec<(u64, SessionId, u64)>,
    /// Numbers whose messages are refused for good, in their order: their spans are empty.
    pub refused: Vec<(u64, Code, String)>,
}

impl Run {
    /// An empty one that begins with this number.
    pub fn new(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Adds the message of the next number.
    pub fn push(&mut self, body: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(body);
        self.spans.push(Span { start, end: self.bytes.len() });
    }

    /// Makes room for so many bytes of messages that take about so many bytes each.
    pub(super) fn reserve(&mut self, bytes: usize, each: usize) {
        self.bytes.reserve_exact(bytes);
        self.spans.reserve_exact(bytes.div_ceil(each.max(1)));
    }

    /// Adds the messages of the numbers that follow. What has none becomes what is added.
    pub fn append(&mut self, more: Self) {
        if self.is_empty() {
            *self = more;
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&more.bytes);
        self.spans.extend(more.spans.iter().map(|span| Span { start: span.start + start, end: span.end + start }));
        self.origins.extend(more.origins);
        self.refused.extend(more.refused);
    }

    /// Adds the next number without a message, which is refused for good.
    pub fn push_refused(&mut self, code: Code, reason: String) {
        self.refused.push((self.next(), code, reason));
        self.push(&[]);
    }

    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The number after the last.
    pub fn next(&self) -> u64 {
        self.first + self.spans.len() as u64
    }

    /// The last number; that before the first where it is empty.
    pub fn last(&self) -> u64 {
        self.next() - 1
    }

    /// The message of a number that it has.
    pub fn message(&self, number: u64) -> &[u8] {
        usize::try_from(number - self.first)
            .ok()
            .and_then(|at| self.spans.get(at))
            .map_or(&[], |span| span.of(&self.bytes))
    }

    /// How many bytes the messages of these numbers have, all of which it has.
    pub fn size_of(&self, numbers: RangeInclusive<u64>) -> u64 {
        let at = |number: u64| usize::try_from(number - self.first).ok();
        let spans = at(*numbers.start()).zip(at(*numbers.end())).and_then(|(first, last)| self.spans.get(first..=last));
        spans.unwrap_or_default().iter().map(|span| (span.end - span.start) as u64).sum()
    }

    /// Each number and its message, those that are refused left out.
    pub fn messages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut refused = self.refused.iter().map(|(number, ..)| *number).peekable();
        (self.first..)
            .zip(&self.spans)
            .filter(move |(number, _)| refused.next_if_eq(number).is_none())
            .map(|(number, span)| (number, span.of(&self.bytes)))
    }
}

/// The checksum of a message by which client and server find that they speak of the same: CRC-32C of its body (RFC 3720, B.4).
pub fn checksum(body: &[u8]) -> u32 {
    crc32c::crc32c(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_each_other_and_refused_ones_have_no_message() {
        let mut run = Run::new(7);
        assert_eq!((run.is_empty(), run.last(), run.next()), (true, 6, 7));
        run.push(b"seven");
        run.push_refused(Code::TOO_LARGE, "too large".to_owned());
        run.push(b"nine");
        assert_eq!((run.len(), run.last()), (3, 9));
        assert_eq!(run.messages().collect::<Vec<_>>(), [(7, &b"seven"[..]), (9, b"nine")]);
        assert_eq!(run.message(9), b"nine");
    }
}
