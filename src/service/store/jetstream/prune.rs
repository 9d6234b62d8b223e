//! `prune`: old messages are deleted from a stream, and how far each session is stays.
//!
//! Apart from reading, because it changes something: the last message of a session says how far that is, and must never go.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::SystemTime;

use async_nats::jetstream::message::StreamMessage;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::task::{JoinError, JoinSet};

use super::JetStreamAddress;
use super::archive::missing;
use super::background::Background;
use super::connection::{AskError, Connection, ConnectionConfig};
use super::reader::{AT_ONCE, Reader};
use super::record::{Malformed, PLAIN, Record};
use super::stream::{Stream, StreamConfig};
use crate::net::Error;
use crate::service::store::archive::milliseconds;

/// How many of JetStream's messages are looked at before those of them that are to go are deleted, unless they are large.
const LOOKED_AT_ONCE: usize = 4 * AT_ONCE;

/// How many bytes of messages are held at once, but for the last of them.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pruned {
    /// How many messages.
    pub messages: u64,
    /// How many bytes they had in the stream, with what is kept beside them.
    pub bytes: u64,
}

/// Deletes the messages that were stored before a time, but for the last that is stored together of each session: how far each is stays, so that nothing that
/// is sent again is applied again. Servers may be writing to the stream at the same time.
///
/// # Errors
/// As of [`JetStreamArchive::open`](super::JetStreamArchive::open); the stream does not allow it.
pub fn prune(address: &JetStreamAddress, config: ConnectionConfig, before: SystemTime) -> Result<Pruned, Error> {
    let background = Background::start().map_err(|error| Error::system("start a thread", error))?;
    let address = address.clone();
    let pruned = background.run(async move {
        let connection = Connection::open(&address, &config).await?;
        let described = |error: AskError| error.described("prune", &address);
        let Some(found) = Stream::find(&connection, &address.stream).await.map_err(described)? else {
            return Err(missing(&address));
        };
        let way = Way::of(&found.config).ok_or_else(|| {
            Error::usage(format!("the store {address}: this stream was made so that nothing is deleted"))
                .hinting("its deny_delete and deny_purge cannot be changed")
        })?;
        let reader = Reader::new(connection, address.stream.clone());
        let pruner =
            Pruner { reader, stream: address.stream.clone(), way, kept: HashMap::new(), pruned: Pruned::default() };
        pruner.run(milliseconds(before)).await.map_err(described)
    });
    pruned.map_err(|why| Error::system("prune", io::Error::other(why)))?
}

/// How it is deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// One after the other: fast at every server.
    Each,
    /// All of a session together, where the stream allows nothing else: a server of version 2.9 does some ten sessions a second.
    Together,
}

impl Way {
    fn of(config: &StreamConfig) -> Option<Self> {
        match (config.deny_delete, config.deny_purge) {
            (false, _) => Some(Self::Each),
            (true, false) => Some(Self::Together),
            (true, true) => None,
        }
    }
}

/// What can go and is not yet known to be allowed to: the last of a subject so far, and what goes with it.
#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u64,
    /// What the message itself has.
    own: Pruned,
    /// What those before it have that are still there.
    before: Pruned,
}

/// What was found out of the last old message of a subject: whether it goes, too.
type Found = Result<Result<(Last, bool), AskError>, JoinError>;

#[derive(Debug)]
struct Pruner {
    reader: Reader,
    stream: String,
    way: Way,
    /// The last old message of each subject that has to keep one.
    kept: HashMap<String, Last>,
    pruned: Pruned,
}

impl Pruner {
    async fn run(mut self, before: i64) -> Result<Pruned, AskError> {
        let limit = self.reader.since(before).await?;
        let mut from = self.reader.info().await?.state.first_seq;
        let mut count = LOOKED_AT_ONCE;
        while from < limit {
            let (messages, until) = self.reader.ahead(from, limit - 1, count).await?;
            let bytes: usize = messages.iter().map(|message| message.payload.len()).sum();
            count = (BYTES_AT_ONCE / (bytes / messages.len().max(1)).max(1)).clamp(1, LOOKED_AT_ONCE);
            self.take(messages.iter()).await?;
            from = until + 1;
        }
        self.end(limit).await?;
        Ok(self.pruned)
    }

    /// Deletes what is followed by another of its subject, and what is of nobody's session.
    async fn take(&mut self, messages: impl Iterator<Item = &StreamMessage>) -> Result<(), AskError> {
        let plain = format!("{}.{PLAIN}", self.stream);
        let mut delete = Vec::new();
        for message in messages {
            let own = size(&self.stream, message);
            let (subject, sequence) = (message.subject.as_str(), message.sequence);
            if subject == plain && self.way == Way::Each {
                delete.push((sequence, own));
                continue;
            }
            if !is_successor(&self.stream, message) {
                continue;
            }
            let last = Last { sequence, own, before: Pruned::default() };
            match self.kept.get_mut(subject) {
                Some(kept) => {
                    let former = std::mem::replace(kept, last);
                    match self.way {
                        Way::Each => delete.push((former.sequence, former.own)),
                        Way::Together => kept.before = former.before.and(former.own),
                    }
                }
                None => drop(self.kept.insert(subject.to_owned(), last)),
            }
        }
        self.delete(delete).await
    }

    /// Deletes the last old ones, too, of those that have a newer one.
    async fn end(&mut self, limit: u64) -> Result<(), AskError> {
        let continued = self.continued().await?;
        let (mut delete, mut asked) = (Vec::new(), JoinSet::new());
        for (subject, last) in std::mem::take(&mut self.kept) {
            let is_plain = subject == format!("{}.{PLAIN}", self.stream);
            let (reader, stream, way) = (self.reader.clone(), self.stream.clone(), self.way);
            let may_go = is_plain || continued.contains_key(&subject);
            if !may_go && (way == Way::Each || last.before == Pruned::default()) {
                continue;
            }
            if asked.len() >= AT_ONCE {
                self.note(asked.join_next().await, &mut delete)?;
            }
            asked.spawn(async move {
                // Others may have deleted: only one that is there, and later, proves that this is not the last.
                let goes = is_plain
                    || may_go
                        && reader
                            .last_of(&subject)
                            .await?
                            .is_some_and(|newest| newest.sequence > last.sequence && is_successor(&stream, &newest));
                if way == Way::Together {
                    let through = if goes { limit } else { last.sequence };
                    let question = json!({ "filter": subject, "seq": through });
                    let _: IgnoredAny = reader.ask(&format!("STREAM.PURGE.{stream}"), &question).await?;
                }
                Ok((last, goes))
            });
        }
        while let Some(done) = asked.join_next().await {
            self.note(Some(done), &mut delete)?;
        }
        self.delete(delete).await
    }

    /// Notes what was found out of a subject's last, and done.
    fn note(&mut self, done: Option<Found>, delete: &mut Vec<(u64, Pruned)>) -> Result<(), AskError> {
        let Some(done) = done else { return Ok(()) };
        let (last, goes) = done.map_err(|error| AskError::Lost(error.to_string()))??;
        match self.way {
            Way::Each if goes => delete.push((last.sequence, last.own)),
            Way::Each => {}
            Way::Together => {
                let own = if goes { last.own } else { Pruned::default() };
                self.pruned = self.pruned.and(last.before).and(own);
            }
        }
        Ok(())
    }

    /// The subjects that may have a newer message than the old ones.
    async fn continued(&self) -> Result<BTreeMap<String, u64>, AskError> {
        let mut continued = BTreeMap::new();
        let mut offset = 0;
        while !self.kept.is_empty() {
            let question = json!({ "subjects_filter": ">", "offset": offset });
            let page: Page = self.reader.ask(&format!("STREAM.INFO.{}", self.stream), &question).await?;
            let subjects = page.state.subjects.unwrap_or_default();
            offset += subjects.len();
            let is_last = subjects.is_empty() || offset >= page.total;
            continued.extend(subjects.into_iter().filter(|(_, count)| *count > 1));
            if is_last {
                break;
            }
        }
        Ok(continued)
    }

    async fn delete(&mut self, messages: Vec<(u64, Pruned)>) -> Result<(), AskError> {
        let mut messages = messages.into_iter();
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < AT_ONCE
                && let Some((sequence, own)) = messages.next()
            {
                let (reader, stream) = (self.reader.clone(), self.stream.clone());
                asked.spawn(async move {
                    // What is overwritten as well takes longer, and nobody has asked for that.
                    let question = json!({ "seq": sequence, "no_erase": true });
                    match reader.ask::<IgnoredAny>(&format!("STREAM.MSG.DELETE.{stream}"), &question).await {
                        Ok(_) => Ok(own),
                        // Somebody else was faster.
                        Err(_) if reader.at(sequence).await?.is_none() => Ok(Pruned::default()),
                        Err(error) => Err(error),
                    }
                });
            }
            match asked.join_next().await {
                Some(done) => {
                    let done = done.map_err(|error| AskError::Lost(error.to_string()))??;
                    self.pruned = self.pruned.and(done);
                }
                None => return Ok(()),
            }
        }
    }
}

impl Pruned {
    fn and(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, bytes: self.bytes + other.bytes }
    }
}

/// Whether a message takes the place of those of its subject before it: of a session only a record says how far that is, and what somebody else has published does not.
fn is_successor(stream: &str, message: &StreamMessage) -> bool {
    match Record::decode(stream, &message.subject, &message.headers, &message.payload) {
        Ok(_) | Err(Malformed::Subject) => true,
        Err(_) => false,
    }
}

/// The subjects of a stream with how many messages each has, or a page of them.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    total: usize,
    state: Subjects,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subjects {
    subjects: Option<BTreeMap<String, u64>>,
}

/// How many messages of ours one of JetStream's has, and how many bytes it counts for: as its file store has it, with 22 bytes before it and 8 behind.
fn size(stream: &str, message: &StreamMessage) -> Pruned {
    let record = Record::decode(stream, &message.subject, &message.headers, &message.payload);
    let messages = record.map_or(1, |record| record.bodies.iter().flatten().count());
    let fields = message.headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    let fields: usize =
        fields.map(|(name, value)| AsRef::<str>::as_ref(name).len() + 2 + value.as_str().len() + 2).sum();
    // `NATS/1.0`, an empty line, and the header's length.
    let header = if fields > 0 { 10 + fields + 2 + 4 } else { 0 };
    let bytes = 22 + message.subject.len() + header + message.payload.len() + 8;
    Pruned { messages: messages as u64, bytes: bytes as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stream_forbids_is_not_done() {
        for (deny_delete, deny_purge, way) in [
            (false, false, Some(Way::Each)),
            (false, true, Some(Way::Each)),
            (true, false, Some(Way::Together)),
            (true, true, None),
        ] {
            let config = StreamConfig { deny_delete, deny_purge, ..StreamConfig::default() };
            assert_eq!(Way::of(&config), way);
        }
    }
}
