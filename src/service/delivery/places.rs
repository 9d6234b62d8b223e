//! `Places`: the servers that a session may be opened at, and the attempt that is under way.
//!
//! Apart from [`Reach`](crate::service::Reach), which seeks one connection and is done: a session comes back to where it was, and goes elsewhere when it is
//! told to.

use std::fmt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::errno::Errno;
use socket2::Type;

use super::machine::Speech;
use crate::net::{self, Connection, Connector, Endpoint, Error, Target};
use crate::service::BoxFuture;

/// The connection of an attempt, and which endpoint it is to.
type Attempt = Result<(usize, Connection), Error>;

/// What makes an attempt: on the endpoint of this number, or if that fails on the others in turn.
type Dial = Box<dyn Fn(usize) -> BoxFuture<'static, Attempt> + Send + Sync>;

pub(super) struct Places {
    names: Vec<String>,
    speech: Speech,
    dial: Dial,
    /// The one that answered last.
    at: usize,
    attempt: Option<BoxFuture<'static, Attempt>>,
}

impl Places {
    /// # Errors
    /// There is none, or one that a session cannot be opened at.
    pub(super) fn new(connector: Connector, endpoints: Vec<Endpoint>) -> net::Result<Self> {
        if endpoints.is_empty() {
            return Err(Error::usage("there is no address to connect to"));
        }
        let of = |endpoint: &Endpoint| match endpoint.target {
            Target::Inet { socket_type, .. } if socket_type == Type::DGRAM => Speech::Datagrams,
            _ => Speech::Frames,
        };
        let speech = of(&endpoints[0]);
        if let Some(other) = endpoints.iter().find(|endpoint| of(endpoint) != speech) {
            let (one, other) = (endpoints[0].name(), other.name());
            return Err(Error::usage(format!("one session cannot be opened at both {one} and {other}"))
                .hinting("give addresses of UDP alone, or none"));
        }
        let names = endpoints.iter().map(|endpoint| endpoint.name().to_string()).collect();
        let dial = move |start| -> BoxFuture<'static, Attempt> {
            Box::pin(first_that_answers(connector.clone(), endpoints.clone(), start))
        };
        Ok(Self { speech, ..Self::dialled(names, Box::new(dial)) })
    }

    /// Places that are reached in another way.
    pub(super) fn dialled(names: Vec<String>, dial: Dial) -> Self {
        Self { names, speech: Speech::Frames, dial, at: 0, attempt: None }
    }

    /// How one speaks with the servers there.
    pub(super) fn speech(&self) -> Speech {
        self.speech
    }

    /// Begins to connect: where the last connection was, then to the others in turn; or to the next one first.
    pub(super) fn connect(&mut self, elsewhere: bool) {
        self.attempt = Some((self.dial)((self.at + usize::from(elsewhere)) % self.names.len()));
    }

    /// Waits for the attempt to end; pending if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<net::Result<(String, Connection)>> {
        let Some(attempt) = &mut self.attempt else { return Poll::Pending };
        let ended = ready!(attempt.as_mut().poll(cx));
        self.attempt = None;
        Poll::Ready(ended.map(|(at, connection)| {
            self.at = at;
            (self.names[at].clone(), connection)
        }))
    }

    /// The error for an attempt that has not ended within a time.
    pub(super) fn late(&self, patience: Duration) -> Error {
        let late = Error::timeout("connect", format!("no answer within {patience:?}"));
        self.names.get(self.at).into_iter().fold(late, Error::on)
    }

    /// Gives the attempt up.
    pub(super) fn stop(&mut self) {
        self.attempt = None;
    }
}

/// Whether the system does not permit it to connect there.
pub(super) fn is_denied(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EACCES | Errno::EPERM))
}

/// Tries each endpoint once, from one on.
async fn first_that_answers(connector: Connector, endpoints: Vec<Endpoint>, start: usize) -> Attempt {
    let count = endpoints.len();
    let mut first = None;
    for at in (start..start + count).map(|at| at % count) {
        match connector.connect(&endpoints[at]).await {
            Ok(connection) => return Ok((at, connection)),
            Err(error) => {
                if count > 1 {
                    tracing::info!("{error}");
                }
                // One that may come to be there is worth waiting for.
                if first.as_ref().is_none_or(|first| is_denied(first) && !is_denied(&error)) {
                    first = Some(error);
                }
            }
        }
    }
    Err(first.unwrap_or_else(|| Error::usage("there is no address to connect to")))
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("names", &self.names).field("at", &self.at).finish_non_exhaustive()
    }
}
