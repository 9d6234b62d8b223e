//! `Draft`: a record that is being filled with the messages of one client, up to what NATS takes at once.
//!
//! Apart from [`Record`](super::record::Record), which reads one. A message costs a copy of its bytes and no allocation.

use std::fmt::Write;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use bytes::Bytes;

use super::super::Source;
use super::record::{
    BY, FORMAT, LENGTHS, MAX_MESSAGES, NAME, NUMBERS, ORIGINS, PEER, PRINCIPAL, REFUSED, USER, VERSION,
};
use super::text::{self, SEPARATOR};
use crate::wire::assured::{Code, SessionId};

/// How many bytes of what NATS takes at once are for the header of a record: its fields, and what was refused and is not noted.
pub const HEADER_ROOM: usize = 32 * 1024;

/// How many bytes of a header the lengths and origins of messages may have: JetStream takes 65,535 of all fields together.
const ENTRIES_ROOM: usize = 32 * 1024;

/// How many bytes one more message adds to a header at most: its length with its count twice, and its origin.
const ENTRY: usize = 64 + 4 * 24;

/// A record that is being filled.
#[derive(Debug)]
pub(super) struct Draft {
    first: u64,
    count: usize,
    room: usize,
    payload: Vec<u8>,
    /// How long bodies are, less the last run of them.
    lengths: String,
    /// The last length and how many messages have it.
    run: (Option<usize>, usize),
    origins: String,
    /// Where the last message came from that did: number here, how many of them, session, number there of the first.
    origin: Option<(u64, u64, SessionId, u64)>,
}

/// What is said of all messages of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading<'a> {
    /// The server process.
    pub(super) by: &'a str,
    /// Where they come from.
    pub(super) source: &'a Source,
    /// Who alone may go on with the session.
    pub(super) principal: Option<&'a str>,
    /// What was refused before and is not noted, as [`refusal`] writes it.
    pub(super) refused: &'a str,
}

impl Draft {
    /// An empty one for messages from this number on, which may have so many bytes, its header's entries counted in; about so many will come.
    pub(super) fn new(first: u64, room: usize, expected: usize) -> Self {
        Self {
            first,
            count: 0,
            room,
            payload: Vec::with_capacity(expected.min(room)),
            lengths: String::new(),
            run: (None, 0),
            origins: String::new(),
            origin: None,
        }
    }

    /// Adds the message of the next number, or a number that was refused for good. Says whether there was room.
    pub(super) fn push(&mut self, body: Option<&[u8]>, origin: Option<&(u64, SessionId, u64)>) -> bool {
        let bytes = body.unwrap_or_default();
        let entries = self.lengths.len() + self.origins.len() + ENTRY;
        let more = bytes.len() + self.payload.len() + entries;
        if self.count > 0 && (self.count >= MAX_MESSAGES || entries > ENTRIES_ROOM || more > self.room) {
            return false;
        }
        if self.count == 1 && self.run.0.is_some() {
            self.payload.push(b'\n');
        }
        self.payload.extend_from_slice(bytes);
        if self.count > 0 && body.is_some() {
            self.payload.push(b'\n');
        }
        let length = body.map(<[u8]>::len);
        if self.count > 0 && self.run.0 != length {
            self.end_run();
        }
        self.run = (length, self.run.1 + 1);
        if let Some((_, session, there)) = origin {
            self.came_from(self.next(), session, *there);
        }
        self.count += 1;
        true
    }

    /// The number of the next message.
    pub(super) fn next(&self) -> u64 {
        self.first + self.count as u64
    }

    /// How many numbers it has.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The record of a session, which follows another, 0 if it is the first of the session; what was refused is that of the whole session.
    ///
    /// Its identity is what it follows. A cluster compares the sequence only before it agrees on a record, and two that follow the same one may both get that far;
    /// identities are compared once it is agreed which came first, and the other is a duplicate then.
    pub(super) fn of_session(self, session: &SessionId, after: u64, heading: Heading<'_>) -> (HeaderMap, Bytes) {
        let id = format!("{session}:{after}");
        let (mut headers, payload) = self.finish(id, heading);
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, after.to_string());
        (headers, payload)
    }

    /// A record of plain messages, with an identity that no other has.
    pub(super) fn plain(self, id: String, heading: Heading<'_>) -> (HeaderMap, Bytes) {
        self.finish(id, heading)
    }

    fn finish(mut self, id: String, heading: Heading<'_>) -> (HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(FORMAT, VERSION);
        headers.insert(NATS_MESSAGE_ID, id);
        headers.insert(NUMBERS, format!("{}-{}", self.first, self.next() - 1));
        headers.insert(BY, text::encoded(heading.by));
        let Source { peer, name } = heading.source;
        headers.insert(PEER, text::encoded(&peer.to_string()));
        if let Some(name) = name {
            headers.insert(NAME, text::encoded(name));
        }
        if let Some(credentials) = peer.credentials {
            headers.insert(USER, credentials.uid.to_string());
        }
        if let Some(principal) = heading.principal {
            headers.insert(PRINCIPAL, text::encoded(principal));
        }
        self.end_run();
        if self.count > 1 || self.lengths == "-" {
            headers.insert(LENGTHS, self.lengths);
        }
        end_origin(&mut self.origins, self.origin.take());
        if !self.origins.is_empty() {
            headers.insert(ORIGINS, self.origins);
        }
        if !heading.refused.is_empty() {
            headers.insert(REFUSED, heading.refused);
        }
        (headers, Bytes::from(self.payload))
    }

    fn end_run(&mut self) {
        let (length, times) = std::mem::take(&mut self.run);
        if !self.lengths.is_empty() {
            self.lengths.push(' ');
        }
        let _ = match length {
            Some(length) => write!(self.lengths, "{length}"),
            None => write!(self.lengths, "-"),
        };
        if times > 1 {
            let _ = write!(self.lengths, "*{times}");
        }
    }

    fn came_from(&mut self, number: u64, session: &SessionId, there: u64) {
        if let Some((first, count, before, number_there)) = &mut self.origin
            && *first + *count == number
            && *number_there + *count == there
            && before == session
        {
            *count += 1;
            return;
        }
        let before = self.origin.replace((number, 1, session.clone(), there));
        end_origin(&mut self.origins, before);
    }
}

fn end_origin(origins: &mut String, origin: Option<(u64, u64, SessionId, u64)>) {
    let Some((first, count, session, there)) = origin else { return };
    if !origins.is_empty() {
        origins.push(' ');
    }
    let _ = write!(origins, "{first}+{count}={session}:{there}");
}

/// Adds what was refused to others that were.
pub(super) fn refusal(refused: &mut String, number: u64, code: Code, reason: &str) {
    if !refused.is_empty() {
        refused.push(SEPARATOR);
    }
    let _ = write!(refused, "{number} {code} {}", text::encoded(reason));
}

#[cfg(test)]
mod tests {
    use super::super::super::contract::source;
    use super::super::record::{Malformed, Origin, Record, id, place};
    use super::*;
    use crate::net::Credentials;

    const SID: &str = "0123456789abcdef0123456789abcdef";

    fn sid(text: &str) -> SessionId {
        text.parse().expect("a session")
    }

    fn heading(source: &Source) -> Heading<'_> {
        Heading { by: "me", source, principal: None, refused: "" }
    }

    fn written(first: u64, bodies: &[Option<&[u8]>]) -> (HeaderMap, Bytes) {
        let mut draft = Draft::new(first, 1 << 20, 0);
        bodies.iter().for_each(|body| assert!(draft.push(*body, None)));
        draft.of_session(&sid(SID), 7, heading(&source(None)))
    }

    fn read(headers: &HeaderMap, payload: &[u8]) -> Result<Record, Malformed> {
        Record::decode("S", &format!("S.{SID}"), headers, payload)
    }

    #[test]
    fn what_is_written_is_read() {
        type Written<'a> = (&'a [Option<&'a [u8]>], Option<&'a str>, &'a [u8]);
        let table: [Written<'_>; 8] = [
            (&[Some(b"one")], None, b"one"),
            (&[Some(b"")], None, b""),
            (&[None], Some("-"), b""),
            (&[Some(b"a"), Some(b"b"), Some(b"cd")], Some("1*2 2"), b"a\nb\ncd\n"),
            (&[Some(b""), Some(b"")], Some("0*2"), b"\n\n"),
            (&[None, None, Some(b"x")], Some("-*2 1"), b"x\n"),
            (&[Some(b"x\ny"), None], Some("3 -"), b"x\ny\n"),
            (&[Some(b"\0\xff"), Some(b"\r\n")], Some("2*2"), b"\0\xff\n\r\n\n"),
        ];
        for (bodies, lengths, payload) in table {
            let (headers, written) = written(5, bodies);
            assert_eq!(headers.get(LENGTHS).map(|value| value.as_str()), lengths);
            assert_eq!(&written[..], payload);
            let record = read(&headers, &written).expect("a record");
            let last = 4 + bodies.len() as u64;
            assert_eq!((record.first, record.last, record.session.as_ref()), (5, last, Some(&sid(SID))));
            let expected = (5..).zip(bodies).enumerate().filter_map(|(at, (n, body))| body.map(|body| (at, n, body)));
            assert!(record.messages(&written).eq(expected));
            assert_eq!(record.last_body(&written), bodies[bodies.len() - 1]);
            let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
            assert_eq!(header("Nats-Msg-Id"), Some(format!("{SID}:7")), "what it follows, whatever it has");
            assert_eq!(header("Nats-Expected-Last-Subject-Sequence").as_deref(), Some("7"));
        }
    }

    #[test]
    fn all_that_is_known_of_a_client_is_there() {
        let mut source = Source::clone(&source(Some(" pump\r\n7|")));
        source.peer.credentials = Some(Credentials { pid: 1, uid: 1000, gid: 2 });
        let mut refused = String::new();
        refusal(&mut refused, 2, Code::TOO_LARGE, "too large: 100% | of it");
        refusal(&mut refused, 9, Code::REJECTED, "");
        let heading = Heading { by: "me", source: &source, principal: Some("uid:1000"), refused: &refused };
        let mut draft = Draft::new(9, 1 << 20, 0);
        assert!(draft.push(None, None));
        let (headers, payload) = draft.of_session(&sid(SID), 0, heading);
        let record = read(&headers, &payload).expect("a record");
        assert_eq!((record.name.as_deref(), record.user), (Some(" pump\r\n7|"), Some(1000)));
        assert_eq!((record.principal.as_deref(), record.by.as_str()), (Some("uid:1000"), "me"));
        assert_eq!(record.peer, "127.0.0.1:5000");
        let refused = [(2, Code::TOO_LARGE, "too large: 100% | of it".to_owned()), (9, Code::REJECTED, String::new())];
        assert_eq!(record.refused, refused);

        let mut draft = Draft::new(1, 1 << 20, 0);
        assert!(draft.push(Some(b"x"), None));
        let (headers, payload) = draft.plain("random".to_owned(), Heading { refused: "", ..heading });
        assert!(headers.get("Nats-Expected-Last-Subject-Sequence").is_none());
        assert_eq!(Record::decode("S", "S.plain", &headers, &payload).map(|record| record.session), Ok(None));
    }

    #[test]
    fn origins_that_follow_each_other_are_one_entry() {
        let (a, b) = (sid("00000000000000aa"), sid("00000000000000bb"));
        let came = [
            None,
            Some((0, a.clone(), 7)),
            Some((0, a.clone(), 8)),
            Some((0, a.clone(), 10)),
            None,
            Some((0, b.clone(), 11)),
        ];
        let mut draft = Draft::new(1, 1 << 20, 0);
        came.iter().for_each(|origin| assert!(draft.push(Some(b"x"), origin.as_ref())));
        let (headers, payload) = draft.of_session(&sid(SID), 0, heading(&source(None)));
        let text = "2+2=00000000000000aa:7 4+1=00000000000000aa:10 6+1=00000000000000bb:11";
        assert_eq!(headers.get(ORIGINS).map(|value| value.as_str()), Some(text));
        let record = read(&headers, &payload).expect("a record");
        assert_eq!(record.origins[0], Origin { first: 2, count: 2, session: a, number: 7 });
        let read = (1..=6).map(|number| record.origin(number).map(|(session, there)| (0, session.clone(), there)));
        assert!(read.eq(came));
    }

    #[test]
    fn a_header_is_no_longer_than_jetstream_takes() {
        let sessions = [sid(SID), sid(&SID.replace('0', "f"))];
        let mut draft = Draft::new(u64::MAX / 4, 8 << 20, 0);
        for number in 0..MAX_MESSAGES {
            // Nothing of what follows each other is one entry.
            let origin = (0, sessions[number % 2].clone(), u64::MAX / 4 + number as u64);
            if !draft.push(Some(&vec![b'x'; number % 2 * 999]), Some(&origin)) {
                break;
            }
        }
        assert!((200..MAX_MESSAGES).contains(&draft.len()));
        let refused = "x".repeat(HEADER_ROOM / 2);
        let source = source(Some("a name"));
        let heading = Heading { refused: &refused, ..heading(&source) };
        let (headers, _) = draft.of_session(&sid(SID), u64::MAX, heading);
        let header: usize =
            headers.iter().map(|(name, values)| name.to_string().len() + 4 + values[0].as_str().len()).sum();
        assert!(header < 65_536, "{header}");
    }

    #[test]
    fn a_record_is_filled_up_to_what_is_taken_at_once() {
        let source = source(Some("a name"));
        for (size, room) in [(1, 100_000), (64, 100_000), (5000, 64 * 1024), (0, 1 << 20)] {
            let mut draft = Draft::new(1, room, 0);
            let mut body = vec![b'x'; size + 1];
            while draft.push(Some(&body), None) {
                // No two neighbours are of one length, which is what takes most room.
                body.resize(size + usize::from(draft.len().is_multiple_of(2)), b'x');
            }
            let count = draft.len();
            let (headers, payload) = draft.of_session(&sid(SID), u64::MAX, heading(&source));
            let header: usize =
                headers.iter().map(|(name, values)| name.to_string().len() + 4 + values[0].as_str().len()).sum();
            assert!(header + payload.len() <= room + HEADER_ROOM && count <= MAX_MESSAGES);
            assert!(count == MAX_MESSAGES || payload.len() + header + 2 * ENTRY + size > room);
            let record = read(&headers, &payload).expect("a record");
            assert_eq!(record.messages(&payload).count(), count);
        }
        let mut draft = Draft::new(1, 10, 0);
        assert!(draft.push(Some(&[b'x'; 100]), None), "a lone one is always taken");
        assert!(!draft.push(Some(b"y"), None));
    }

    #[test]
    fn what_anybody_may_have_published_is_no_record() {
        let (good, payload) = written(5, &[Some(b"a"), None, Some(b"bc")]);
        assert!(read(&good, &payload).is_ok());
        let huge = "18446744073709551615";
        for (name, values) in [
            (FORMAT, &["2", ""][..]),
            (NUMBERS, &["", "5", "5-4", "0-2", "5-8", "05-+7", "5-99999", "1-9223372036854775808", "-1-1"]),
            (
                LENGTHS,
                &[
                    "",
                    "1 - 2 0",
                    "1 -",
                    "1 - 3",
                    "1 - x",
                    "1*0 - 2",
                    "1*9",
                    "9223372036854775807 - 2",
                    "-*3",
                    huge,
                    "1*18446744073709551615",
                ],
            ),
            (
                ORIGINS,
                &[
                    "5",
                    "5+1",
                    "4+1=00000000000000aa:1",
                    "7+2=00000000000000aa:1",
                    "5+0=00000000000000aa:1",
                    "5+1=x:1",
                    "6+1=00000000000000aa:1 5+1=00000000000000aa:1",
                    "5+9223372036854775807=00000000000000aa:1",
                ],
            ),
            (REFUSED, &["5", "5 x no", "8 413 no", "0 413 no", "6 413 a|6 413 b", "5 70000 no", "5 413 %"]),
            (BY, &["%"]),
            (NAME, &["%zz"]),
            (USER, &["-1", "root"]),
        ] {
            for value in values {
                let mut headers = good.clone();
                headers.insert(name, *value);
                assert!(read(&headers, &payload).is_err(), "{name}: {value}");
            }
        }
        assert_eq!(read(&HeaderMap::new(), &payload), Err(Malformed::Version));
        assert_eq!(read(&good, &payload[1..]), Err(Malformed::Payload { has: 4, said: 5 }));
        for subject in ["S", "S.", "T.plain", "S.plain.x", "S.UPPERCASELETTERS", "Splain"] {
            assert_eq!(Record::decode("S", subject, &good, &payload), Err(Malformed::Subject), "{subject}");
        }
    }

    #[test]
    fn a_place_has_both_numbers() {
        for (sequence, index) in [(0, 0), (1, 0), (1, MAX_MESSAGES - 1), (1 << 49, 17)] {
            assert_eq!(place(id(sequence, index)), (sequence, index));
        }
        assert_eq!((id(1, MAX_MESSAGES - 1) + 1, id(u64::MAX, 0)), (id(2, 0), i64::MAX));
        assert_eq!(place(-1), (0, 0));
    }
}
