//! `prune`: old messages are deleted from a stream, and how far each session is stays.
//!
//! Apart from reading, because it changes something: the last message of a session says how far that is, and must never go.

use std::io;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::JetStreamAddress;
use super::archive::missing;
use super::background::Background;
use super::connection::{AskError, Connection, ConnectionConfig};
use super::reader::{AT_ONCE, Reader};
use super::record::PLAIN;
use super::stream::Stream;
use crate::net::Error;
use crate::service::store::archive::milliseconds;

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pruned {
    /// How many of JetStream's messages, which have one or more of ours each.
    pub records: u64,
    /// By how many bytes the stream has become shorter, unless more was stored meanwhile.
    pub bytes: u64,
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
    subjects: Option<std::collections::BTreeMap<String, u64>>,
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

/// Deletes the messages that were stored before a time, but for the last of each session: how far each is stays, so that nothing that is sent again is
/// applied again. Servers may be writing to the stream at the same time.
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
        let reader = Reader::new(connection, address.stream.clone());
        let pruned = delete(&reader, &address.stream, milliseconds(before)).await;
        let records = pruned.map_err(|error| refused(error, &address))?;
        let left = reader.info().await.map_err(described)?;
        Ok(Pruned { records, bytes: found.state.bytes.saturating_sub(left.state.bytes) })
    });
    pruned.map_err(|why| Error::system("prune", io::Error::other(why)))?
}

fn refused(error: AskError, address: &JetStreamAddress) -> Error {
    let denied = error.is(AskError::PURGE_DENIED);
    let error = error.described("prune", address);
    if denied { error.hinting("the stream was made with deny_purge, which cannot be changed") } else { error }
}

async fn delete(reader: &Reader, stream: &str, before: i64) -> Result<u64, AskError> {
    let limit = reader.since(before).await?;
    let first = reader.info().await?.state.first_seq;
    if limit <= first {
        return Ok(0);
    }
    let plain = format!("{stream}.{PLAIN}");
    let (mut deleted, mut offset) = (0, 0);
    loop {
        let question = json!({ "subjects_filter": ">", "offset": offset });
        let page: Page = reader.ask(&format!("STREAM.INFO.{stream}"), &question).await?;
        let subjects = page.state.subjects.unwrap_or_default();
        offset += subjects.len();
        let is_last = subjects.is_empty() || offset >= page.total;
        // Of a session with one message that is the last.
        let mut many = subjects.into_iter().filter(|(subject, count)| *count > 1 || *subject == plain);
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some((subject, _)) = many.next()
            {
                let (reader, stream) = (reader.clone(), stream.to_owned());
                let keeps_last = subject != plain;
                under_way.spawn(async move { purge(&reader, &stream, &subject, limit, keeps_last).await });
            }
            match under_way.join_next().await {
                Some(purged) => deleted += purged.map_err(|error| AskError::Lost(error.to_string()))??,
                None => break,
            }
        }
        if is_last {
            return Ok(deleted);
        }
    }
}

/// Deletes what a subject has before a place. The one that was the last when it was asked stays, whatever is stored meanwhile.
async fn purge(reader: &Reader, stream: &str, subject: &str, limit: u64, keeps_last: bool) -> Result<u64, AskError> {
    let limit = match reader.last_of(subject).await? {
        Some(last) if keeps_last => limit.min(last.sequence),
        Some(_) => limit,
        None => return Ok(0),
    };
    let question: Value = json!({ "filter": subject, "seq": limit });
    let purged: Purged = reader.ask(&format!("STREAM.PURGE.{stream}"), &question).await?;
    Ok(purged.purged)
}
