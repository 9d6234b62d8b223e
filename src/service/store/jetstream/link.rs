//! `Link`: what a store asks of its stream: to keep a record, and for the last one of a subject.
//!
//! Apart from the sessions, which decide what an answer means for them. Nothing waits here for a connection that is not there, so that nothing piles up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use async_nats::{HeaderMap, Request, RequestErrorKind};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify};

use super::super::FULL;
use super::connection::{AskError, Connection};
use super::record::Record;
use super::trouble::Trouble;
use crate::service::teller::Teller;

/// How long JetStream may take to confirm a record.
pub const PUBLISH_DEADLINE: Duration = Duration::from_secs(5);

/// How often a connection is looked at while an answer is waited for: one that was lost and made anew brings none.
const LOOK: Duration = Duration::from_millis(50);

/// How often it is asked whether the stream is still there.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How long NATS may not be heard of before clients are sent elsewhere, where they know of another server.
pub const LEAVE_AFTER: Duration = Duration::from_secs(8);

/// A stream, and what has become of it.
#[derive(Debug)]
pub(super) struct Link {
    connection: Connection,
    /// The name of the stream.
    stream: String,
    /// When the stream was made, as JetStream says it: another of its name is another.
    created: String,
    /// Set while nothing is answered; then one asks at a time.
    silent: AtomicBool,
    asking: Mutex<()>,
    /// Since when nothing was stored that was to be, nor refused for what it is.
    unheard: std::sync::Mutex<Option<Instant>>,
    failure: OnceLock<String>,
    failed: Notify,
    told: Teller,
}

/// The last record of a subject.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) sequence: u64,
    pub(super) record: Record,
    pub(super) payload: Bytes,
}

#[derive(Deserialize)]
struct Info {
    created: String,
}

#[derive(Deserialize)]
struct Found {
    message: RawMessage,
}

#[derive(Deserialize)]
struct Confirmed {
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Link {
    /// A link to a stream that is there.
    pub(super) async fn new(connection: Connection, stream: &str) -> Result<Self, AskError> {
        let info: Info = connection.ask(&format!("STREAM.INFO.{stream}"), &Value::Null).await?;
        Ok(Self {
            connection,
            stream: stream.to_owned(),
            created: info.created,
            silent: AtomicBool::new(false),
            asking: Mutex::new(()),
            unheard: std::sync::Mutex::new(None),
            failure: OnceLock::new(),
            failed: Notify::new(),
            told: Teller::every(FULL),
        })
    }

    /// The subject of a session, or of plain messages.
    pub(super) fn subject(&self, token: &str) -> String {
        format!("{}.{token}", self.stream)
    }

    /// Keeps a record; gives its number in the stream once it is durable.
    ///
    /// # Errors
    /// It is not there, or that is not known.
    pub(super) async fn publish(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<u64, Trouble> {
        let request = Request::new().headers(headers).payload(payload).timeout(Some(PUBLISH_DEADLINE));
        let client = self.connection.client();
        let asked = self.heard(async {
            let answer = client.send_request(subject, request).await;
            let answer = answer.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => Trouble::Busy("JetStream does not answer for the stream".to_owned()),
                RequestErrorKind::MaxPayloadExceeded => {
                    Trouble::Busy("NATS takes less at once than it did (max_payload)".to_owned())
                }
                RequestErrorKind::TimedOut => Trouble::Unknown(silence()),
                _ => Trouble::Unknown(error.to_string()),
            })?;
            let odd = |error: serde_json::Error| Trouble::Unknown(format!("an odd answer of NATS: {error}"));
            serde_json::from_slice::<Confirmed>(&answer.payload).map_err(odd)
        });
        match asked.await {
            Ok(Confirmed { error: Some(refusal), .. }) => {
                let trouble = Trouble::of_refusal(refusal.err_code, &refusal.description);
                // A leader that has lost the others answers, too, but stores nothing.
                self.heard_of(!matches!(trouble, Trouble::Busy(_) | Trouble::Unknown(_)), Duration::ZERO);
                Err(self.noted(trouble))
            }
            Ok(Confirmed { seq: Some(sequence), duplicate: false, .. }) => {
                self.heard_of(true, Duration::ZERO);
                Ok(sequence)
            }
            // What follows the same record is there already: is it this one, and what else has come since?
            Ok(_) => Err(Trouble::Unknown("another that follows the same was stored before".to_owned())),
            // Nobody answers for a stream that is not there.
            Err(Trouble::Busy(why)) => match self.check().await {
                Err(gone @ Trouble::Gone(_)) => Err(gone),
                _ => {
                    self.heard_of(false, Duration::ZERO);
                    Err(self.noted(Trouble::Busy(why)))
                }
            },
            Err(trouble) => Err(self.noted(trouble)),
        }
    }

    /// The last record of a subject, from the stream's leader.
    ///
    /// # Errors
    /// It is not known.
    pub(super) async fn last(&self, token: &str) -> Result<Option<Last>, Trouble> {
        let subject = self.subject(token);
        let question = json!({ "last_by_subj": subject });
        let asked = self.heard(async {
            match self.connection.ask::<Found>(&format!("STREAM.MSG.GET.{}", self.stream), &question).await {
                Ok(found) => Ok(Some(found.message)),
                Err(error) if error.is(AskError::NO_MESSAGE) => Ok(None),
                Err(error) => Err(of_question(&error)),
            }
        });
        let found = match asked.await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(trouble) => return Err(self.noted(trouble)),
        };
        let sequence = found.sequence;
        let message = StreamMessage::try_from(found).map_err(|error| error.to_string());
        let read = message.and_then(|message| {
            let record = Record::decode(&self.stream, &subject, &message.headers, &message.payload);
            record.map(|record| Last { sequence, record, payload: message.payload }).map_err(|error| error.to_string())
        });
        read.map(Some).map_err(|error| {
            let why = format!("message {sequence} of the stream was not stored by a server: {error}");
            self.noted(Trouble::Busy(why))
        })
    }

    /// Waits until the stream is gone, and says so.
    pub(super) async fn failed(&self) -> String {
        loop {
            let failed = self.failed.notified();
            if let Some(reason) = self.failure.get() {
                return reason.clone();
            }
            if tokio::time::timeout(CHECK_INTERVAL, failed).await.is_err() && self.is_connected() {
                // What else may be wrong is told to those who want something stored.
                let _ = self.check().await;
            }
        }
    }

    /// Whether it is there as it was when this began.
    async fn check(&self) -> Result<(), Trouble> {
        match self.connection.ask::<Info>(&format!("STREAM.INFO.{}", self.stream), &Value::Null).await {
            Ok(info) if info.created == self.created => Ok(()),
            Ok(_) => Err(self.noted(Trouble::Gone("the stream was deleted, and another was made".to_owned()))),
            Err(error) if error.is(AskError::NO_STREAM) => Err(self.noted(of_question(&error))),
            Err(error) => Err(of_question(&error)),
        }
    }

    fn is_connected(&self) -> bool {
        self.connection.client().connection_state() == State::Connected
    }

    /// Waits for an answer as long as the connection is there that the question went over.
    async fn heard<T>(&self, asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        if let Some(reason) = self.failure.get() {
            return Err(Trouble::Gone(reason.clone()));
        }
        if !self.is_connected() {
            self.heard_of(false, Duration::ZERO);
            return Err(Trouble::Busy("there is no connection with NATS".to_owned()));
        }
        let _one = match self.silent.load(Ordering::Relaxed) {
            true => Some(self.asking.try_lock().map_err(|_| Trouble::Busy(silence()))?),
            false => None,
        };
        let statistics = self.connection.client().statistics();
        let connects = statistics.connects.load(Ordering::Relaxed);
        let mut asked = std::pin::pin!(asked);
        let answer = loop {
            match tokio::time::timeout(LOOK, &mut asked).await {
                Ok(answer) => break answer,
                Err(_) if !self.is_connected() || statistics.connects.load(Ordering::Relaxed) != connects => {
                    self.heard_of(false, Duration::ZERO);
                    return Err(Trouble::Unknown("the connection with NATS was lost".to_owned()));
                }
                Err(_) => {}
            }
        };
        let is_silent = matches!(&answer, Err(Trouble::Unknown(why)) if *why == silence());
        self.silent.store(is_silent, Ordering::Relaxed);
        if is_silent {
            self.heard_of(false, PUBLISH_DEADLINE);
        }
        answer
    }

    fn heard_of(&self, heard: bool, waited: Duration) {
        let mut unheard = self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        match heard {
            true => *unheard = None,
            // That much time has passed already.
            false => _ = unheard.get_or_insert_with(|| Instant::now().checked_sub(waited).unwrap_or_else(Instant::now)),
        }
    }

    /// How many bytes NATS takes at once now.
    pub(super) fn at_once(&self) -> usize {
        self.connection.client().max_payload()
    }

    /// Whether NATS was asked in vain for so long that another server may be better off.
    pub(super) fn is_away(&self) -> bool {
        let unheard = *self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        unheard.is_some_and(|since| since.elapsed() >= LEAVE_AFTER)
    }

    fn noted(&self, trouble: Trouble) -> Trouble {
        match &trouble {
            Trouble::Gone(why) => {
                let _ = self.failure.set(format!("{}: {why}", self.connection));
                self.failed.notify_waiters();
            }
            Trouble::Busy(why) | Trouble::Unknown(why) => self.told.tell(|_| {
                tracing::warn!("{}: {why}; messages are not acknowledged until they are stored", self.connection);
            }),
            Trouble::Full(_) | Trouble::Behind => {}
        }
        trouble
    }
}

fn silence() -> String {
    format!("NATS has not answered within {PUBLISH_DEADLINE:?}")
}

/// A question changes nothing: that there was no answer is no more than that.
fn of_question(error: &AskError) -> Trouble {
    match error {
        AskError::Refused { code: AskError::NO_STREAM, .. } => Trouble::Gone("the stream was deleted".to_owned()),
        AskError::Silent(_) => Trouble::Unknown(silence()),
        error => Trouble::Busy(error.to_string()),
    }
}
