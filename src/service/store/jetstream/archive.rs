//! `JetStreamArchive`: a stream as those see it who only read, beside the servers that write to it.
//!
//! Apart from the store: it makes nothing and changes nothing, and shows what others have put into the stream, too.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::StreamMessage;

use super::JetStreamAddress;
use super::background::Background;
use super::connection::{AskError, Connection, ConnectionConfig};
use super::reader::{AT_ONCE, Reader, milliseconds};
use super::record::{self, MAX_MESSAGES, Malformed, Record};
use super::stream::Stream;
use crate::net::Error;
use crate::service::store::archive::{Archive, ArchiveError, Selection, Span, Stored};

/// How many messages are read at once, but for the rest of what they were stored with.
const PAGE: usize = 1000;

/// How many bytes of messages are read at once, but for the rest of what they were stored with.
const PAGE_BYTES: usize = 1024 * 1024;

/// How often it is looked whether something was stored.
const POLL: Duration = Duration::from_millis(100);

/// A stream that is read.
#[derive(Debug)]
pub struct JetStreamArchive {
    name: String,
    stream: String,
    background: Background,
    reader: Reader,
    ahead: RefCell<Ahead>,
    /// The place of the last message that was there when it was looked last.
    seen: Cell<u64>,
    /// Where those begin that were stored since a time.
    since: Cell<Option<(i64, u64)>>,
}

/// What was read and may be needed again: a page may end before what was read with it does.
#[derive(Debug, Default)]
struct Ahead {
    /// From which place on.
    from: u64,
    /// Up to which place.
    through: u64,
    messages: VecDeque<StreamMessage>,
    /// How many are asked for at once: fewer where they are large.
    count: usize,
}

impl JetStreamArchive {
    /// Opens a stream to read it; servers may be writing to it.
    ///
    /// # Errors
    /// It is not there, or its servers cannot be reached or refuse.
    pub fn open(address: &JetStreamAddress, config: ConnectionConfig) -> Result<Self, Error> {
        let background = Background::start().map_err(|error| Error::system("start a thread", error))?;
        let stream = address.stream.clone();
        let (address, name) = (address.clone(), address.to_string());
        let opened = background.run(async move {
            let connection = Connection::open(&address, &config).await?;
            let found = Stream::find(&connection, &address.stream).await;
            let found = found.map_err(|error| error.described("open", &address))?;
            found.map(|found| (connection, found)).ok_or_else(|| missing(&address))
        });
        let (connection, found) =
            opened.map_err(|why| Error::system("open", std::io::Error::other(why)).on(&name))??;
        Ok(Self {
            reader: Reader::new(connection, stream.clone()),
            stream,
            name,
            background,
            ahead: RefCell::default(),
            seen: Cell::new(found.state.last_seq),
            since: Cell::new(None),
        })
    }

    /// Asks in the background.
    fn ask<T, F>(&self, ask: impl FnOnce(Reader) -> F) -> Result<T, ArchiveError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AskError>> + Send + 'static,
    {
        let answer = self.background.run(ask(self.reader.clone()));
        answer.map_err(|why| self.failed(why.to_owned()))?.map_err(|error| self.failed(error.to_string()))
    }

    fn failed(&self, why: String) -> ArchiveError {
        ArchiveError::of("read", &self.name, why)
    }

    /// The place from which on messages are meant.
    fn first(&self, selection: &Selection) -> Result<u64, ArchiveError> {
        let Some(time) = selection.since() else { return Ok(0) };
        if let Some((known, first)) = self.since.get()
            && known == time
        {
            return Ok(first);
        }
        let first = self.ask(move |reader| async move { reader.since(time).await })?;
        self.since.set(Some((time, first)));
        Ok(first)
    }

    /// Has something ahead from this place on, unless there is nothing.
    fn read_ahead(&self, from: u64, through: u64) -> Result<(), ArchiveError> {
        let mut ahead = self.ahead.borrow_mut();
        if from < ahead.from || from > ahead.through.saturating_add(1) {
            ahead.messages.clear();
        }
        while ahead.messages.front().is_some_and(|message| message.sequence < from) {
            ahead.messages.pop_front();
        }
        if !ahead.messages.is_empty() {
            ahead.from = from;
            return Ok(());
        }
        let count = ahead.count.max(1);
        let (messages, until) = self.ask(move |reader| async move { reader.ahead(from, through, count).await })?;
        let bytes: usize = messages.iter().map(|message| message.payload.len()).sum();
        // What comes next will be as large, and is to be about a page.
        let fit = PAGE_BYTES.checked_div(bytes / messages.len().max(1)).unwrap_or(AT_ONCE);
        let count = fit.min(2 * count).clamp(1, AT_ONCE);
        *ahead = Ahead { from, through: until, messages, count };
        Ok(())
    }

    /// The messages of a record that are meant, in their order.
    fn meant(&self, message: &StreamMessage, selection: &Selection) -> Vec<Stored> {
        let mut all = stored(&self.name, &self.stream, message);
        all.retain(|message| is_meant(message, selection));
        all
    }

    /// After which message the last so many begin.
    fn before(&self, count: usize, selection: &Selection) -> Result<i64, ArchiveError> {
        let last = self.last()?;
        let state = self.ask(|reader| async move { reader.info().await })?.state;
        let first = self.first(selection)?.max(state.first_seq).max(1);
        let (mut high, mut width, mut left, mut before) = (record::place(last).0, 1, count, last);
        while high >= first && left > 0 {
            let low = high.saturating_sub(width - 1).max(first);
            let next = self.ask(move |reader| async move { reader.from(low).await })?;
            if next.is_none_or(|next| next.sequence > high) {
                // Nothing is here, and there may be nothing for long.
                (high, width) = (low - 1, width.saturating_mul(2));
                continue;
            }
            if width > AT_ONCE as u64 {
                width /= 2;
                continue;
            }
            let messages = self.ask(move |reader| async move { reader.window(low, high).await })?;
            for message in messages.iter().rev() {
                let meant = self.meant(message, selection);
                let Some(first) = meant.len().checked_sub(left).map_or(meant.first(), |at| meant.get(at)) else {
                    continue;
                };
                before = first.id - 1;
                left = left.saturating_sub(meant.len());
                if left == 0 {
                    break;
                }
            }
            (high, width) = (low - 1, (width * 2).min(AT_ONCE as u64));
        }
        Ok(before)
    }
}

impl Archive for JetStreamArchive {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn last(&self) -> Result<i64, ArchiveError> {
        let state = self.ask(|reader| async move { reader.info().await })?.state;
        if state.messages == 0 {
            return Ok(0);
        }
        let last = self.ask(move |reader| async move { reader.at(state.last_seq).await })?;
        // Of what was deleted nothing is known, and nothing follows it.
        let index = last.map_or(MAX_MESSAGES - 1, |message| {
            let record = Record::decode(&self.stream, &message.subject, &message.headers, &message.payload);
            record.map_or(0, |record| record.bodies.len() - 1)
        });
        Ok(record::id(state.last_seq, index))
    }

    fn span(&self) -> Result<Span, ArchiveError> {
        let state = self.ask(|reader| async move { reader.info().await })?.state;
        let before = state.first_seq.saturating_sub(1);
        let end = |sequence| if sequence == 0 { 0 } else { record::id(sequence, MAX_MESSAGES - 1) };
        Ok(Span { gone: end(before), highest: end(state.last_seq), has_gaps: true })
    }

    fn before_last(&self, count: usize, selection: &Selection) -> Result<i64, ArchiveError> {
        self.before(count, selection)
    }

    fn next(&self, after: i64, through: i64, selection: &Selection) -> Result<Vec<Stored>, ArchiveError> {
        let first = self.first(selection)?;
        let last = record::place(through).0;
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut from = record::place(after).0.max(first);
        while page.len() < PAGE && bytes < PAGE_BYTES && from <= last {
            self.read_ahead(from, last)?;
            let ahead = self.ahead.borrow();
            if ahead.messages.is_empty() {
                break;
            }
            for message in &ahead.messages {
                if message.sequence > last || page.len() >= PAGE || bytes >= PAGE_BYTES {
                    break;
                }
                from = message.sequence + 1;
                let meant = self.meant(message, selection);
                let meant = meant.into_iter().filter(|message| message.id > after && message.id <= through);
                page.extend(meant.inspect(|message| bytes += message.body.len()));
            }
        }
        Ok(page)
    }

    fn wait(&self, most: Duration) -> Result<(), ArchiveError> {
        let until = Instant::now() + most;
        let gone = || ArchiveError::of_gone(&self.name, "the stream was deleted");
        loop {
            let reader = self.reader.clone();
            let looked = self.background.run(async move { reader.look().await });
            match looked.map_err(|why| self.failed(why.to_owned()))? {
                Ok(stream) => {
                    let (seen, last) = (self.seen.get(), stream.state.last_seq);
                    self.seen.set(last);
                    if last < seen {
                        return Err(gone());
                    }
                    if last > seen {
                        return Ok(());
                    }
                }
                Err(error) if error.is(AskError::NO_STREAM) => return Err(gone()),
                // The connection is made anew meanwhile.
                Err(error) if error.is_passing() => {}
                Err(error) => return Err(self.failed(error.to_string())),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(POLL));
        }
    }
}

/// The messages of one of JetStream's. What another program has published is one, too, which comes from its subject.
fn stored(store: &str, stream: &str, message: &StreamMessage) -> Vec<Stored> {
    let (sequence, at) = (message.sequence, milliseconds(message));
    let record = match Record::decode(stream, &message.subject, &message.headers, &message.payload) {
        Ok(record) => record,
        Err(malformed) => {
            if !matches!(malformed, Malformed::Subject | Malformed::Version) {
                tracing::warn!("{store}: the message {sequence} of the stream is shown as it is: {malformed}");
            }
            return vec![Stored {
                id: record::id(sequence, 0),
                at,
                peer: message.subject.to_string(),
                name: None,
                user: None,
                session: None,
                number: sequence,
                origin: None,
                body: message.payload.to_vec(),
            }];
        }
    };
    let origin = |number| record.origin(number).map(|(session, number)| format!("{session}:{number}"));
    let messages = record.messages(&message.payload).map(|(index, number, body)| Stored {
        id: record::id(sequence, index),
        at,
        peer: record.peer.clone(),
        name: record.name.clone(),
        user: record.user,
        session: record.session.as_ref().map(ToString::to_string),
        number,
        origin: origin(number),
        body: body.to_vec(),
    });
    messages.collect()
}

fn is_meant(message: &Stored, selection: &Selection) -> bool {
    let begins = |from: &String| {
        let texts = [Some(&message.peer), message.name.as_ref(), message.session.as_ref()];
        texts.into_iter().flatten().any(|text| text.starts_with(from))
    };
    let has = |search: &String| search.is_empty() || memchr::memmem::find(&message.body, search.as_bytes()).is_some();
    selection.since().is_none_or(|since| message.at >= since)
        && selection.from.as_ref().is_none_or(begins)
        && selection.search.as_ref().is_none_or(has)
}

pub(super) fn missing(address: &JetStreamAddress) -> Error {
    Error::usage(format!("the store {address}: there is no such stream"))
        .hinting(format!("a server with --store {address} makes it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_what_was_chosen() {
        let message = Stored {
            id: 1,
            at: 1000,
            peer: "10.0.0.7:5000".to_owned(),
            name: Some("pump 7".to_owned()),
            user: None,
            session: Some("0123456789abcdef".to_owned()),
            number: 1,
            origin: None,
            body: b"an error\xff".to_vec(),
        };
        let since = |millis| Selection {
            since: Some(std::time::UNIX_EPOCH + Duration::from_millis(millis)),
            ..Selection::default()
        };
        let from = |text: &str| Selection { from: Some(text.to_owned()), ..Selection::default() };
        let search = |text: &str| Selection { search: Some(text.to_owned()), ..Selection::default() };
        for (selection, meant) in [
            (Selection::default(), true),
            (since(1000), true),
            (since(1001), false),
            (from("10.0.0.7:"), true),
            (from("pump"), true),
            (from("0123"), true),
            (from("0.0.7"), false),
            (from(""), true),
            (search("error"), true),
            (search("Error"), false),
            (search(""), true),
            (Selection { since: None, ..from("pump") }, true),
            (Selection { search: Some("no".to_owned()), ..from("pump") }, false),
        ] {
            assert_eq!(is_meant(&message, &selection), meant, "{selection:?}");
        }
    }
}
