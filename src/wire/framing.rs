//! `Framing`: where a message ends in a stream of bytes, and how one is written so that the other side sees it.
//!
//! Apart from reading and writing: a decoder is given bytes and says which of them are messages. It never waits, never
//! copies, and never keeps bytes: those of an unfinished message stay with the caller.

use std::fmt;
use std::str::FromStr;

use memchr::memchr_iter;

use super::{Error, Result};

/// The longest message that ends at a delimiter, unless said otherwise: 64 KiB.
pub const MAX_LINE: usize = 64 * 1024;

/// The longest message of a framing that has no delimiter to look for, unless said otherwise: 1 MiB.
pub const MAX_BODY: usize = 1024 * 1024;

/// The bytes of the length in front of a message: a 32-bit number, big-endian.
pub const LENGTH_PREFIX: usize = 4;

/// The most messages that are found at once; the rest is found by the next call.
pub const MOST_AT_ONCE: usize = 4096;

/// How messages are told apart in a stream. Datagrams and packets need none: they are messages as they are.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Framing {
    /// A message ends at a newline, the last one also at the end of the stream. A carriage return before the newline is part of the message.
    #[default]
    Line,
    /// A message ends at a NUL byte, the last one also at the end of the stream.
    Nul,
    /// Four bytes with the length, big-endian, before each message.
    Length,
    /// The whole stream is one message, ended by its end.
    Whole,
    /// What one read gives is a message: the way of the sockets tutorial. Where messages end is then up to the network.
    Read,
}

/// Where a message lies in the bytes that were decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last.
    pub end: usize,
}

impl Span {
    /// The message itself.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..self.end]
    }
}

impl Framing {
    /// All framings, by their names on the command line.
    pub const ALL: [(&'static str, Self); 5] = [
        ("line", Self::Line),
        ("nul", Self::Nul),
        ("length", Self::Length),
        ("whole", Self::Whole),
        ("read", Self::Read),
    ];

    /// The longest message by default, in bytes.
    pub fn default_limit(self) -> usize {
        match self {
            Self::Line | Self::Nul | Self::Read => MAX_LINE,
            Self::Length | Self::Whole => MAX_BODY,
        }
    }

    /// Appends a message as it goes on the stream.
    pub fn encode(self, message: &[u8], out: &mut Vec<u8>) {
        if self == Self::Length {
            // A message of 4 GiB cannot be asked for: limits are far below.
            out.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        out.extend_from_slice(message);
        out.extend_from_slice(self.delimiter(message));
    }

    /// What follows a message where it is shown or sent: a newline, a NUL, or nothing.
    pub fn delimiter(self, message: &[u8]) -> &'static [u8] {
        match self {
            Self::Line => b"\n",
            Self::Nul => b"\0",
            Self::Length | Self::Whole => b"",
            // A read often brings the newline with it.
            Self::Read if message.ends_with(b"\n") => b"",
            Self::Read => b"\n",
        }
    }

    /// What follows a message on the display: as [`Framing::delimiter`], and a newline where a length comes before.
    pub fn display_delimiter(self, message: &[u8]) -> &'static [u8] {
        match self {
            Self::Length => b"\n",
            _ => self.delimiter(message),
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, framing)| framing == self).map_or("", |(name, _)| name))
    }
}

impl FromStr for Framing {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, framing)| *framing);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("no framing `{name}`: there are {}", names.join(", "))
        })
    }
}

/// Finds the messages in a stream that is given piece by piece.
///
/// The caller keeps a buffer, adds what it reads to its end, and calls [`Decoder::decode`]: the messages found are
/// spans of the buffer, and the number that comes back says how many bytes at its front are done with.
#[derive(Clone, Debug)]
pub struct Decoder {
    framing: Framing,
    limit: usize,
    /// Bytes at the front of the buffer that have been looked through without finding a delimiter.
    searched: usize,
}

impl Decoder {
    /// A decoder for messages of at most `limit` bytes; 0 is no limit.
    pub fn new(framing: Framing, limit: usize) -> Self {
        Self { framing, limit: if limit == 0 { usize::MAX } else { limit }, searched: 0 }
    }

    /// Finds the messages that are complete in `buffer`, at most [`MOST_AT_ONCE`], and says how many bytes they take. The
    /// next call gets the bytes that are left, and more behind them unless there were that many.
    ///
    /// # Errors
    /// A message is longer than the limit: found as soon as that is certain, not when it has all come. The messages
    /// before it are in `found`.
    pub fn decode(&mut self, buffer: &[u8], found: &mut Vec<Span>) -> Result<usize> {
        match self.framing {
            Framing::Line => self.decode_delimited(b'\n', buffer, found),
            Framing::Nul => self.decode_delimited(0, buffer, found),
            Framing::Length => self.decode_lengths(buffer, found),
            Framing::Whole => self.within_limit(buffer.len()).map(|()| 0),
            Framing::Read if buffer.is_empty() => Ok(0),
            Framing::Read => {
                self.within_limit(buffer.len())?;
                found.push(Span { start: 0, end: buffer.len() });
                Ok(buffer.len())
            }
        }
    }

    /// Says what the bytes that are left are, now that the stream has ended: a message, or nothing.
    ///
    /// # Errors
    /// The stream ended inside a message whose length had been declared.
    pub fn finish(&mut self, rest: &[u8]) -> Result<Option<Span>> {
        self.searched = 0;
        let all = Span { start: 0, end: rest.len() };
        match self.framing {
            Framing::Whole => Ok(Some(all)),
            _ if rest.is_empty() => Ok(None),
            Framing::Line | Framing::Nul | Framing::Read => Ok(Some(all)),
            Framing::Length => Err(Error::Cut {
                had: rest.len().saturating_sub(LENGTH_PREFIX),
                declared: declared_length(rest).unwrap_or_default(),
            }),
        }
    }

    fn decode_delimited(&mut self, delimiter: u8, buffer: &[u8], found: &mut Vec<Span>) -> Result<usize> {
        let mut start = 0;
        for at in memchr_iter(delimiter, &buffer[self.searched..]) {
            let end = self.searched + at;
            self.within_limit(end - start)?;
            found.push(Span { start, end });
            start = end + 1;
            if found.len() == MOST_AT_ONCE {
                self.searched = 0;
                return Ok(start);
            }
        }
        self.searched = buffer.len() - start;
        self.within_limit(self.searched)?;
        Ok(start)
    }

    fn decode_lengths(&self, buffer: &[u8], found: &mut Vec<Span>) -> Result<usize> {
        let mut done = 0;
        while found.len() < MOST_AT_ONCE
            && let Some(length) = declared_length(&buffer[done..])
        {
            self.within_limit(length)?;
            let start = done + LENGTH_PREFIX;
            let Some(end) = start.checked_add(length).filter(|end| *end <= buffer.len()) else { break };
            found.push(Span { start, end });
            done = end;
        }
        Ok(done)
    }

    fn within_limit(&self, length: usize) -> Result<()> {
        match length > self.limit {
            true => Err(Error::TooLong { limit: self.limit }),
            false => Ok(()),
        }
    }
}

fn declared_length(buffer: &[u8]) -> Option<usize> {
    let prefix = buffer.first_chunk::<LENGTH_PREFIX>()?;
    usize::try_from(u32::from_be_bytes(*prefix)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzzing::{self, messages as decode};

    #[test]
    fn each_framing_has_its_ends() {
        type Row<'a> = (Framing, &'a [u8], &'a [&'a [u8]]);
        let table: [Row<'_>; 10] = [
            (Framing::Line, b"one\ntwo\n", &[b"one", b"two"]),
            (Framing::Line, b"one\r\n\ntwo", &[b"one\r", b"", b"two"]),
            (Framing::Line, b"", &[]),
            (Framing::Nul, b"one\ntwo\0\0three", &[b"one\ntwo", b"", b"three"]),
            (Framing::Length, b"\0\0\0\x03one\0\0\0\0\0\0\0\x01x", &[b"one", b"", b"x"]),
            (Framing::Length, b"", &[]),
            (Framing::Whole, b"one\ntwo\n", &[b"one\ntwo\n"]),
            (Framing::Whole, b"", &[b""]),
            (Framing::Read, b"one\ntwo", &[b"one\ntwo"]),
            (Framing::Read, b"", &[]),
        ];
        for (framing, stream, messages) in table {
            assert_eq!(decode(framing, 100, stream, &[stream.len()]).expect("messages"), messages, "{framing:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_found_before_it_has_all_come() {
        let table: [(Framing, &[u8], &[u8]); 4] = [
            (Framing::Line, b"12345678\n", b"123456789"),
            (Framing::Nul, b"12345678\0", b"123456789"),
            (Framing::Length, b"\0\0\0\x0812345678", b"\0\0\0\x09"),
            (Framing::Whole, b"12345678", b"123456789"),
        ];
        for (framing, fits, too_long) in table {
            assert!(decode(framing, 8, fits, &[100]).is_ok(), "{framing:?}");
            assert_eq!(decode(framing, 8, too_long, &[100]), Err(Error::TooLong { limit: 8 }), "{framing:?}");
        }
        assert!(
            decode(Framing::Length, 0, b"\xff\xff\xff\xff", &[9])
                .is_err_and(|error| matches!(error, Error::Cut { .. }))
        );
    }

    #[test]
    fn no_more_than_so_many_are_found_at_once() {
        for framing in [Framing::Nul, Framing::Length] {
            let stream = vec![0; 4 * (MOST_AT_ONCE + 5)];
            let (mut decoder, mut found) = (Decoder::new(framing, 9), Vec::new());
            let done = decoder.decode(&stream, &mut found).expect("messages");
            assert_eq!(found.len(), MOST_AT_ONCE);
            found.clear();
            decoder.decode(&stream[done..][..20], &mut found).expect("the rest");
            assert_eq!(found.len(), if framing == Framing::Nul { 20 } else { 5 });
        }
    }

    #[test]
    fn messages_before_one_that_is_too_long_are_found() {
        let mut found = Vec::new();
        assert!(Decoder::new(Framing::Line, 3).decode(b"ok\ntoo long\n", &mut found).is_err());
        assert_eq!(found, [Span { start: 0, end: 2 }]);
    }

    #[test]
    fn a_stream_that_ends_in_a_declared_message_is_an_error() {
        assert_eq!(decode(Framing::Length, 9, b"\0\0\0\x05on", &[9]), Err(Error::Cut { had: 2, declared: 5 }));
        assert_eq!(decode(Framing::Length, 9, b"\0\0", &[9]), Err(Error::Cut { had: 0, declared: 0 }));
    }

    proptest! {
        #[test]
        fn messages_do_not_depend_on_how_the_bytes_are_split(
            framing in 0u8..4,
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(0), any::<u8>()], 0..200),
            pieces in proptest::collection::vec(1u8..20, 1..10),
        ) {
            fuzzing::framing(framing, &stream, &pieces);
        }

        #[test]
        fn what_is_encoded_is_decoded(messages in proptest::collection::vec("[^\n\0]{0,20}", 0..10)) {
            for framing in [Framing::Line, Framing::Nul, Framing::Length] {
                let mut stream = Vec::new();
                for message in &messages {
                    framing.encode(message.as_bytes(), &mut stream);
                }
                let decoded = decode(framing, 0, &stream, &[7]).expect("messages");
                prop_assert_eq!(decoded, messages.iter().map(|m| m.as_bytes().to_vec()).collect::<Vec<_>>());
            }
        }
    }
}
