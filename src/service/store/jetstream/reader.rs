//! `Reader`: the messages of a stream by their places, as JetStream has them.
//!
//! Apart from the archive, which makes ours of them: here nothing is kept at the server, so that nothing is lost with a connection, and reading needs no permission but to ask.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::connection::{AskError, Connection};
use super::stream::Stream;

/// How many messages are asked for at the same time.
pub(super) const AT_ONCE: usize = 64;

/// How long it is tried to get an answer while the servers are gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it is waited between tries.
const RETRY: Duration = Duration::from_millis(200);

/// Who reads a stream; clones read the same.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    connection: Connection,
    stream: String,
}

/// The answer to who asks for a message.
#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

impl Reader {
    pub(super) fn new(connection: Connection, stream: String) -> Self {
        Self { connection, stream }
    }

    /// What the stream is like now.
    pub(super) async fn info(&self) -> Result<Stream, AskError> {
        self.ask(&format!("STREAM.INFO.{}", self.stream), &Value::Null).await
    }

    /// The message at a place, if there is one.
    pub(super) async fn at(&self, sequence: u64) -> Result<Option<StreamMessage>, AskError> {
        self.message(&json!({ "seq": sequence })).await
    }

    /// The first message at a place or behind it, whatever its subject.
    pub(super) async fn from(&self, sequence: u64) -> Result<Option<StreamMessage>, AskError> {
        // 0 would be none at all.
        self.message(&json!({ "seq": sequence.max(1), "next_by_subj": ">" })).await
    }

    /// The last message of a subject.
    pub(super) async fn last_of(&self, subject: &str) -> Result<Option<StreamMessage>, AskError> {
        self.message(&json!({ "last_by_subj": subject })).await
    }

    /// The messages at these places, in their order; those that are gone are left out.
    pub(super) async fn window(&self, from: u64, through: u64) -> Result<Vec<StreamMessage>, AskError> {
        let mut asked = JoinSet::new();
        for sequence in from..=through {
            let reader = self.clone();
            asked.spawn(async move { reader.at(sequence).await });
        }
        let mut messages = Vec::with_capacity(asked.len());
        while let Some(answer) = asked.join_next().await {
            messages.extend(answer.map_err(|error| AskError::Lost(error.to_string()))??);
        }
        messages.sort_unstable_by_key(|message| message.sequence);
        Ok(messages)
    }

    /// The next messages from a place on, none beyond another: about so many, or none if there are none. With the place up to which there are no others.
    pub(super) async fn ahead(
        &self,
        from: u64,
        through: u64,
        count: usize,
    ) -> Result<(VecDeque<StreamMessage>, u64), AskError> {
        let mut from = from.max(1);
        while from <= through {
            let until = through.min(from + count.max(1) as u64 - 1);
            let messages = self.window(from, until).await?;
            if !messages.is_empty() {
                return Ok((messages.into(), until));
            }
            // What was deleted may be millions.
            match self.from(until + 1).await? {
                Some(next) if next.sequence <= through => from = next.sequence,
                _ => break,
            }
        }
        Ok((VecDeque::new(), through))
    }

    /// The place of the first message that was stored then or later, in milliseconds since 1970; the one behind the last if there is none.
    pub(super) async fn since(&self, time: i64) -> Result<u64, AskError> {
        let state = self.info().await?.state;
        let (mut low, mut high) = (state.first_seq, state.last_seq + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.from(middle).await? {
                Some(message) if message.sequence < high && milliseconds(&message) < time => low = message.sequence + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    async fn message(&self, which: &Value) -> Result<Option<StreamMessage>, AskError> {
        let got: Result<Got, _> = self.ask(&format!("STREAM.MSG.GET.{}", self.stream), which).await;
        match got {
            Ok(got) => {
                got.message.try_into().map(Some).map_err(|error: async_nats::Error| AskError::Odd(error.to_string()))
            }
            Err(error) if error.is(AskError::NO_MESSAGE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks again while there is no answer: nothing that is asked changes anything, or it is the same to do it twice.
    pub(super) async fn ask<T: for<'a> Deserialize<'a>>(&self, subject: &str, question: &Value) -> Result<T, AskError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.connection.ask(subject, question).await {
                Err(error) if error.is_passing() && Instant::now() < until => tokio::time::sleep(RETRY).await,
                answer => return answer,
            }
        }
    }

    /// Asks once.
    pub(super) async fn look(&self) -> Result<Stream, AskError> {
        self.connection.ask(&format!("STREAM.INFO.{}", self.stream), &Value::Null).await
    }
}

/// When it was stored, in milliseconds since 1970.
pub(super) fn milliseconds(message: &StreamMessage) -> i64 {
    i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}
