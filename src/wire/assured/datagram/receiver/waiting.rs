//! `Waiting`: the messages that have come, and were not yet given to the store.
//!
//! Apart from the session, for their order and their bytes: they come in any order and leave in that of their numbers.

use std::collections::BTreeMap;

use crate::wire::assured::datagram::broken::{Rule, is_broken};
use crate::wire::assured::{Code, Run, SessionId, checksum};

/// What waits, by its number.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: BTreeMap<u64, Message>,
    bytes: usize,
}

/// A message, or the length of one that is too long.
#[derive(Debug)]
struct Message {
    body: Result<Vec<u8>, u64>,
    origin: Option<(SessionId, u64)>,
}

impl Waiting {
    /// What a message takes in memory beside its bytes.
    pub(super) const OVERHEAD: usize = 128;

    /// How many bytes a message counts for.
    pub(super) fn size(body: Result<&[u8], u64>) -> usize {
        Self::OVERHEAD + body.map_or(0, <[u8]>::len)
    }

    pub(super) fn insert(&mut self, number: u64, body: Result<&[u8], u64>, origin: Option<(SessionId, u64)>) {
        self.bytes += Self::size(body);
        self.messages.insert(number, Message { body: body.map(<[u8]>::to_vec), origin });
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.messages.contains_key(&number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many bytes all of it counts for.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.messages.keys().copied()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether the message of this number waits, which is that of the next run.
    pub(super) fn has_next(&self, number: u64) -> bool {
        self.messages.keys().next().is_some_and(|first| *first == number || is_broken(Rule::ApplyInOrder))
    }

    /// All that follows from this number on, in one piece (rule S7); and the checksum of the last, if it has a body.
    pub(super) fn take(&mut self, first: u64) -> (Run, Option<u32>) {
        let (mut run, mut last) = (Run::new(first), None);
        while self.has_next(run.next()) {
            let Some((number, message)) = self.messages.pop_first() else { break };
            self.bytes -= Self::size(message.body.as_deref().map_err(|length| *length));
            last = message.body.as_ref().ok().map(|body| checksum(body));
            match message.body {
                Ok(body) => {
                    run.push(&body);
                    run.origins.extend(message.origin.map(|(session, there)| (number, session, there)));
                }
                Err(length) => {
                    run.push_refused(Code::TOO_LARGE, format!("{length} bytes are too many for a datagram"));
                }
            }
        }
        (run, last)
    }
}
