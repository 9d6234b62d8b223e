//! `Places`: the servers that a session may be opened at, and the attempt that is under way.
//!
//! Apart from [`Reach`](crate::service::Reach), which seeks one connection and is done: a session comes back to where it was, and goes elsewhere when it is
//! told to.

use std::fmt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::Type;

use crate::net::{self, Connection, Connector, Endpoint, Error, Target};
use crate::service::BoxFuture;

/// The connection of an attempt, and which endpoint it is to.
type Attempt = Result<(usize, Connection), Error>;

pub(super) struct Places {
    connector: Connector,
    endpoints: Vec<Endpoint>,
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
        // Datagrams over a network get lost, which takes frames of their own.
        let is_lossy = |endpoint: &&Endpoint| matches!(endpoint.target, Target::Inet { socket_type, .. } if socket_type == Type::DGRAM);
        match endpoints.iter().find(is_lossy) {
            Some(endpoint) => {
                Err(Error::usage(format!("`{}`: assured delivery over UDP is not there yet", endpoint.name()))
                    .hinting("use an address of a stream, such as tcp:, or one of Unix sockets"))
            }
            None => Ok(Self { connector, endpoints, at: 0, attempt: None }),
        }
    }

    /// Begins to connect: where the last connection was, then to the others in turn; or to the next one first.
    pub(super) fn connect(&mut self, elsewhere: bool) {
        let count = self.endpoints.len();
        let start = self.at + usize::from(elsewhere);
        let (connector, endpoints) = (self.connector.clone(), self.endpoints.clone());
        self.attempt = Some(Box::pin(async move {
            let mut first = None;
            for at in (start..start + count).map(|at| at % count) {
                match connector.connect(&endpoints[at]).await {
                    Ok(connection) => return Ok((at, connection)),
                    Err(error) => {
                        if count > 1 {
                            tracing::info!("{error}");
                        }
                        first.get_or_insert(error);
                    }
                }
            }
            Err(first.unwrap_or_else(|| Error::usage("there is no address to connect to")))
        }));
    }

    /// Waits for the attempt to end; pending if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<net::Result<(String, Connection)>> {
        let Some(attempt) = &mut self.attempt else { return Poll::Pending };
        let ended = ready!(attempt.as_mut().poll(cx));
        self.attempt = None;
        Poll::Ready(ended.map(|(at, connection)| {
            self.at = at;
            (self.endpoints[at].name().to_string(), connection)
        }))
    }

    /// The error for an attempt that has not ended within a time.
    pub(super) fn late(&self, patience: Duration) -> Error {
        let late = Error::timeout("connect", format!("no answer within {patience:?}"));
        self.endpoints.get(self.at).map(|endpoint| endpoint.name().to_string()).into_iter().fold(late, Error::on)
    }

    /// Gives the attempt up.
    pub(super) fn stop(&mut self) {
        self.attempt = None;
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("endpoints", &self.endpoints).field("at", &self.at).finish_non_exhaustive()
    }
}
