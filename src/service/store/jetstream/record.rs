//! `Record`: one message of a stream, which has one or several of ours, as whoever reads the stream sees it.
//!
//! Apart from [`Draft`](super::draft::Draft), which makes one: what comes from a stream may have been put there by anybody.

use std::ops::RangeInclusive;

use async_nats::HeaderMap;
use thiserror::Error;

use super::text::{self, SEPARATOR};
use crate::wire::Span;
use crate::wire::assured::{Code, SessionId};

/// The version of the format.
pub(super) const VERSION: &str = "1";

/// How many messages a record has at most.
pub(super) const MAX_MESSAGES: usize = 1 << INDEX_BITS;

/// How many bits of a message's number in the stream are its place in the record.
const INDEX_BITS: u32 = 13;

/// What follows the stream's name in the subject of messages without a session. No session is called so: it would be too short.
pub(super) const PLAIN: &str = "plain";

/// The highest number there is.
const MAX_NUMBER: u64 = i64::MAX as u64;

/// The version of the format.
pub(super) const FORMAT: &str = "Wilco";
/// `FIRST-LAST`.
pub(super) const NUMBERS: &str = "Wilco-Numbers";
/// The server process that has stored it.
pub(super) const BY: &str = "Wilco-By";
/// The client's address.
pub(super) const PEER: &str = "Wilco-Peer";
/// What the client calls itself.
pub(super) const NAME: &str = "Wilco-Name";
/// The client's user, at a Unix socket.
pub(super) const USER: &str = "Wilco-User";
/// Who alone may go on with the session.
pub(super) const PRINCIPAL: &str = "Wilco-Principal";
/// How long each body is: `LENGTH` or `LENGTH*COUNT`, with `-` as the length of what was refused. A lone message needs none.
pub(super) const LENGTHS: &str = "Wilco-Lengths";
/// Where messages were first sent: `FIRST+COUNT=SID:NUMBER`, numbers follow each other at both places.
pub(super) const ORIGINS: &str = "Wilco-Origins";
/// What was refused for good of the whole session and is not noted by the client: `NUMBER CODE TEXT`, parted by `|`. (A field that is there several times would come to
/// readers once: <https://docs.rs/async-nats> keeps the last.)
pub(super) const REFUSED: &str = "Wilco-Refused";

/// One message of a stream. Its bodies lie in the payload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    /// Whose messages they are; none for plain ones.
    pub(super) session: Option<SessionId>,
    /// The number of the first message.
    pub(super) first: u64,
    /// The number of the last.
    pub(super) last: u64,
    /// The server process that has stored them.
    pub(super) by: String,
    /// The client's address.
    pub(super) peer: String,
    /// What the client calls itself.
    pub(super) name: Option<String>,
    /// The client's user, at a Unix socket.
    pub(super) user: Option<u32>,
    /// Who alone may go on with the session.
    pub(super) principal: Option<String>,
    /// Where each body lies in the payload; none for a number that was refused.
    pub(super) bodies: Vec<Option<Span>>,
    /// Where messages were sent first, in the order of their numbers.
    pub(super) origins: Vec<Origin>,
    /// What was refused for good and is not noted, of all numbers of the session so far.
    pub(super) refused: Vec<(u64, Code, String)>,
}

/// Messages that were first sent in another session, where their numbers followed each other, too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Origin {
    /// The number of the first, here.
    pub(super) first: u64,
    /// How many.
    pub(super) count: u64,
    /// The session that they were sent in.
    pub(super) session: SessionId,
    /// The number of the first, there.
    pub(super) number: u64,
}

/// Why a message of a stream is none of ours.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(super) enum Malformed {
    /// Another subject.
    #[error("the subject is none of wilco's")]
    Subject,
    /// A later version, or another program's.
    #[error("it has no header `Wilco: {VERSION}`")]
    Version,
    /// A field is missing, or has what it cannot have.
    #[error("{0} is missing or wrong")]
    Field(&'static str),
    /// The payload is not as long as its bodies.
    #[error("the payload has {has} bytes, and {LENGTHS} says {said}")]
    Payload {
        /// How long it is.
        has: usize,
        /// How long it should be.
        said: usize,
    },
}

impl Record {
    /// Reads a message of this stream.
    ///
    /// # Errors
    /// It is not as a server has written it.
    pub(super) fn decode(stream: &str, subject: &str, headers: &HeaderMap, payload: &[u8]) -> Result<Self, Malformed> {
        let token = subject.strip_prefix(stream).and_then(|rest| rest.strip_prefix('.')).ok_or(Malformed::Subject)?;
        let session = match token {
            PLAIN => None,
            session => Some(session.parse().map_err(|_| Malformed::Subject)?),
        };
        if field(headers, FORMAT) != Some(VERSION) {
            return Err(Malformed::Version);
        }
        let numbers = field(headers, NUMBERS).and_then(numbers).ok_or(Malformed::Field(NUMBERS))?;
        let (first, last) = numbers.into_inner();
        // The numbers of a record are few, or it is none.
        let count = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
        let bodies = bodies(field(headers, LENGTHS), count, payload.len())?;
        let text = |name| match field(headers, name) {
            Some(value) => text::decoded(value).map(Some).ok_or(Malformed::Field(name)),
            None => Ok(None),
        };
        let user = match field(headers, USER) {
            Some(user) => Some(user.parse().map_err(|_| Malformed::Field(USER))?),
            None => None,
        };
        let list = |name| field(headers, name).unwrap_or_default();
        let origins = origins(list(ORIGINS), first..=last).ok_or(Malformed::Field(ORIGINS))?;
        let refused = refused(list(REFUSED), last).ok_or(Malformed::Field(REFUSED))?;
        Ok(Self {
            session,
            first,
            last,
            by: text(BY)?.ok_or(Malformed::Field(BY))?,
            peer: text(PEER)?.unwrap_or_default(),
            name: text(NAME)?,
            user,
            principal: text(PRINCIPAL)?,
            bodies,
            origins,
            refused,
        })
    }

    /// Each number with its place in the record and its body, those that were refused left out.
    pub(super) fn messages<'a>(&'a self, payload: &'a [u8]) -> impl DoubleEndedIterator<Item = (usize, u64, &'a [u8])> {
        let body = |span: &Span| payload.get(span.start..span.end);
        let numbered = self.bodies.iter().enumerate();
        numbered
            .filter_map(move |(at, span)| span.as_ref().and_then(body).map(|body| (at, self.first + at as u64, body)))
    }

    /// The body of the last message, unless that was refused.
    pub(super) fn last_body<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        self.bodies.last()?.as_ref().and_then(|span| payload.get(span.start..span.end))
    }

    /// Where a message was first sent, if that was elsewhere.
    pub(super) fn origin(&self, number: u64) -> Option<(&SessionId, u64)> {
        let after = self.origins.partition_point(|origin| origin.first <= number);
        let origin = &self.origins[after.checked_sub(1)?];
        let at = number - origin.first;
        (at < origin.count).then(|| (&origin.session, origin.number + at))
    }
}

/// The place of a message among all of a stream: that of its record, and its own in it.
pub(super) fn id(sequence: u64, index: usize) -> i64 {
    let index = i64::try_from(index.min(MAX_MESSAGES - 1)).unwrap_or_default();
    let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
    if sequence > i64::MAX >> INDEX_BITS { i64::MAX } else { sequence << INDEX_BITS | index }
}

/// The record of a message's place, and its own in it.
pub(super) fn place(id: i64) -> (u64, usize) {
    let id = u64::try_from(id).unwrap_or_default();
    (id >> INDEX_BITS, usize::try_from(id).unwrap_or_default() % MAX_MESSAGES)
}

fn field<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(name).map(|value| value.as_str())
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= MAX_NUMBER)
}

fn numbers(text: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first >= 1 && first <= last && last - first < MAX_MESSAGES as u64).then_some(first..=last)
}

/// Where so many bodies lie in a payload, each with a newline behind it; a lone one has none.
fn bodies(lengths: Option<&str>, count: usize, payload: usize) -> Result<Vec<Option<Span>>, Malformed> {
    let wrong = Malformed::Field(LENGTHS);
    let Some(lengths) = lengths else {
        return if count == 1 { Ok(vec![Some(Span { start: 0, end: payload })]) } else { Err(wrong) };
    };
    let newline = usize::from(count > 1);
    let mut bodies = Vec::with_capacity(count.min(MAX_MESSAGES));
    let mut at = 0_usize;
    for entry in lengths.split(' ') {
        let (length, times) = entry.split_once('*').unwrap_or((entry, "1"));
        let times = number(times).and_then(|times| usize::try_from(times).ok()).ok_or_else(|| wrong.clone())?;
        if times == 0 || times > count - bodies.len() {
            return Err(wrong);
        }
        if length == "-" {
            bodies.resize(bodies.len() + times, None);
            continue;
        }
        let length = number(length).and_then(|length| usize::try_from(length).ok()).ok_or_else(|| wrong.clone())?;
        for _ in 0..times {
            let end = at.checked_add(length).ok_or_else(|| wrong.clone())?;
            bodies.push(Some(Span { start: at, end }));
            at = end.checked_add(newline).ok_or_else(|| wrong.clone())?;
        }
    }
    if bodies.len() != count {
        return Err(wrong);
    }
    if at != payload {
        return Err(Malformed::Payload { has: payload, said: at });
    }
    Ok(bodies)
}

fn origins(text: &str, within: RangeInclusive<u64>) -> Option<Vec<Origin>> {
    let mut next = *within.start();
    let entries = text.split(' ').filter(|entry| !entry.is_empty());
    let origins = entries.map(|entry| {
        let (here, there) = entry.split_once('=')?;
        let (first, count) = here.split_once('+')?;
        let (session, there) = there.split_once(':')?;
        let (first, count, there) = (number(first)?, number(count)?, number(there)?);
        if count == 0 || first < next || count > within.end() - first.min(*within.end()) + 1 || first > *within.end() {
            return None;
        }
        next = first + count;
        Some(Origin { first, count, session: session.parse().ok()?, number: there })
    });
    origins.collect()
}

fn refused(text: &str, last: u64) -> Option<Vec<(u64, Code, String)>> {
    let mut next = 1;
    let entries = text.split(SEPARATOR).filter(|entry| !entry.is_empty());
    let refused = entries.map(|entry| {
        let (at, rest) = entry.split_once(' ')?;
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let at = number(at).filter(|at| (next..=last).contains(at))?;
        next = at + 1;
        Some((at, Code(code.parse().ok()?), text::decoded(reason)?))
    });
    refused.collect()
}
