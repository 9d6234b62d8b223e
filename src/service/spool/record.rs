//! Records and heads of segments: the bytes that messages are kept in.
//!
//! Apart from the files, so that what any bytes stand for can be tested without one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::wire::assured::{MAX_NUMBER, SessionId};

/// The longest message that a spool takes, in bytes.
pub const MAX_BODY: usize = 256 * 1024 * 1024;

/// The bytes of a record before its origin and body.
pub(crate) const PREFIX: usize = 29;

/// The bytes of a segment before its first record.
pub(crate) const HEAD: usize = 64;

/// What every segment begins with; the last is the version of the format.
const MAGIC: &[u8; 8] = b"WILCOSP1";

/// The longest origin: the longest name of a session, a colon, and a number.
const MAX_ORIGIN: usize = *SessionId::LENGTH.end() + 20;

/// A message as it is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Record<'a> {
    /// Its number in the session.
    pub(crate) number: u64,
    /// When it was accepted, in milliseconds since 1970; 0 where that is not known.
    pub(crate) accepted: u64,
    /// Its place in the write that it was part of, from 1: all before that write was durable when it was made.
    pub(crate) place: u32,
    /// Where it was first sent, as `SESSION:NUMBER`; empty if that is here.
    pub(crate) origin: &'a str,
    /// The message.
    pub(crate) body: &'a [u8],
}

impl<'a> Record<'a> {
    /// How many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        PREFIX + self.origin.len() + self.body.len()
    }

    /// Appends its bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(self.size());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.accepted.to_le_bytes());
        out.extend_from_slice(&self.place.to_le_bytes());
        out.push(self.origin.len() as u8);
        out.extend_from_slice(self.origin.as_bytes());
        out.extend_from_slice(self.body);
        let checksum = crc32c::crc32c(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The record that these bytes begin with, if they begin with a whole and sound one.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.get(..size(bytes)?)?;
        if crc32c::crc32c(&bytes[4..]) != u32_at(bytes, 0) {
            return None;
        }
        let (origin, body) = bytes[PREFIX..].split_at(usize::from(bytes[PREFIX - 1]));
        let origin = std::str::from_utf8(origin).ok()?;
        if !origin.is_empty() {
            parsed_origin(origin)?;
        }
        let (number, accepted, place) = (u64_at(bytes, 8), u64_at(bytes, 16), u32_at(bytes, 24));
        Some(Self { number, accepted, place, origin, body })
    }

    /// The session and the number under which it was first sent, if those are others.
    pub(crate) fn parsed_origin(&self) -> Option<(SessionId, u64)> {
        parsed_origin(self.origin)
    }

    /// When it was accepted, if that is known.
    pub(crate) fn time(&self) -> Option<SystemTime> {
        (self.accepted > 0).then(|| UNIX_EPOCH + Duration::from_millis(self.accepted))
    }
}

/// How many bytes the record takes that these begin with; `None` if they begin with none. They need to hold its prefix only.
pub(crate) fn size(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.get(..PREFIX)?;
    let (length, origin) = (u32_at(prefix, 4) as usize, usize::from(prefix[PREFIX - 1]));
    let is_possible = length <= MAX_BODY && origin <= MAX_ORIGIN && (1..=MAX_NUMBER).contains(&u64_at(prefix, 8));
    is_possible.then_some(PREFIX + origin + length)
}

/// The number that the record would have that these bytes begin with.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.get(..PREFIX).map(|prefix| u64_at(prefix, 8))
}

/// What a segment of a session begins with whose first message has this number.
pub(crate) fn head(session: &SessionId, first: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&first.to_le_bytes());
    // A name that is longer than the sessions that spools make is told apart by its beginning.
    let name = &session.as_str().as_bytes()[..session.as_str().len().min(32)];
    head[16..16 + name.len()].copy_from_slice(name);
    let checksum = crc32c::crc32c(&head[..HEAD - 4]);
    head[HEAD - 4..].copy_from_slice(&checksum.to_le_bytes());
    head
}

fn parsed_origin(origin: &str) -> Option<(SessionId, u64)> {
    let (session, number) = origin.split_once(':')?;
    Some((session.parse().ok()?, number.parse().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_has_these_bytes() {
        let record = Record { number: 7, accepted: 0x0102, place: 3, origin: "0123456789abcdef:5", body: b"hello" };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(bytes.len(), record.size());
        assert_eq!(u32_at(&bytes, 0), crc32c::crc32c(&bytes[4..]));
        let expected = b"\x05\0\0\0\x07\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x03\0\0\0\x120123456789abcdef:5hello";
        assert_eq!(&bytes[4..], expected);
        assert_eq!(Record::decode(&bytes), Some(record));
        assert_eq!(record.parsed_origin().map(|(_, number)| number), Some(5));
    }

    #[test]
    fn no_length_is_believed_that_cannot_be() {
        let mut bytes = Vec::new();
        Record { number: 1, accepted: 0, place: 1, origin: "", body: b"" }.encode(&mut bytes);
        for (at, value) in [(4, (MAX_BODY as u32 + 1).to_le_bytes()), (24, [0, 0, 0, 0]), (8, [0; 4])] {
            let mut wrong = bytes.clone();
            wrong[at..at + 4].copy_from_slice(&value);
            assert_eq!(size(&wrong).is_none(), at != 24, "{at}");
            assert_eq!(Record::decode(&wrong), None, "{at}");
        }
        assert_eq!(Record::decode(&[0; 100]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(bytes: Vec<u8>) {
            crate::fuzzing::spool::record(&bytes);
        }

        #[test]
        fn a_record_is_read_as_it_was_written(
            number in 1..=MAX_NUMBER, accepted: u64, place: u32, body: Vec<u8>, behind: Vec<u8>, bit: usize,
        ) {
            let record = Record { number, accepted, place, origin: "", body: &body };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let size = bytes.len();
            bytes.extend_from_slice(&behind);
            prop_assert_eq!(Record::decode(&bytes), Some(record));
            prop_assert_eq!(Record::decode(&bytes[..size - 1]), None);
            bytes[bit / 8 % size] ^= 1 << (bit % 8);
            prop_assert_eq!(Record::decode(&bytes), None);
        }
    }
}
