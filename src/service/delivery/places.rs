//! `Places`: the servers that a session may be opened at, and the attempt that is under way.
//!
//! Apart from [`Reach`](crate::service::Reach), which seeks one connection and is done: a session comes back to where it was, and goes elsewhere when it is
//! told to.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::errno::Errno;
use socket2::Type;
use tokio::time::timeout;

use super::machine::Speech;
use super::round::{Hosts, Memory, Place, Round, Ways};
use crate::net::{self, Connection, Connector, Endpoint, Error, Purpose, Target, interleaved, resolve_hosts};
use crate::service::BoxFuture;

/// The connection of an attempt and where it is to, with what is known of the places then.
type Attempt = (Memory, Result<(Place, Connection), Error>);

pub(super) struct Places {
    names: Vec<String>,
    speech: Speech,
    ways: Arc<dyn Ways>,
    memory: Memory,
    attempt: Option<BoxFuture<'static, Attempt>>,
    /// Whether there was a connection since the last attempt began.
    was_connected: bool,
    /// Whether anything was settled over it.
    served: bool,
}

impl Places {
    /// # Errors
    /// There is none, or one that a session cannot be opened at.
    pub(super) fn new(connector: Connector, endpoints: Vec<Endpoint>) -> net::Result<Self> {
        if endpoints.is_empty() {
            return Err(Error::usage("there is no address to connect to"));
        }
        let of = |endpoint: &Endpoint| match endpoint.target {
            Target::Inet { socket_type, .. } | Target::Srv { socket_type, .. } if socket_type == Type::DGRAM => {
                Speech::Datagrams
            }
            _ => Speech::Frames,
        };
        let speech = of(&endpoints[0]);
        if let Some(other) = endpoints.iter().find(|endpoint| of(endpoint) != speech) {
            let (one, other) = (endpoints[0].name(), other.name());
            return Err(Error::usage(format!("one session cannot be opened at both {one} and {other}"))
                .hinting("give addresses of UDP alone, or none"));
        }
        let names = endpoints.iter().map(|endpoint| endpoint.name().to_string()).collect();
        Ok(Self { speech, ..Self::reached(names, Arc::new(Net { connector, endpoints })) })
    }

    /// Places that are reached in another way.
    pub(super) fn reached(names: Vec<String>, ways: Arc<dyn Ways>) -> Self {
        let (speech, memory, attempt) = (Speech::Frames, Memory::default(), None);
        Self { names, speech, ways, memory, attempt, was_connected: false, served: false }
    }

    /// How one speaks with the servers there.
    pub(super) fn speech(&self) -> Speech {
        self.speech
    }

    /// How many there are, as far as it is known.
    pub(super) fn count(&self) -> usize {
        self.memory.count().max(1)
    }

    /// The place of the connection has done what it is there for.
    pub(super) fn served(&mut self) {
        self.served = true;
    }

    /// Begins to connect: where the last connection was, then to the others in turn; or to the others first.
    pub(super) fn connect(&mut self, elsewhere: bool) {
        if std::mem::take(&mut self.served) {
            self.memory.served();
        }
        let was_connected = std::mem::take(&mut self.was_connected);
        self.memory.leave(elsewhere, was_connected);
        let round = Round::new(Arc::clone(&self.ways), self.memory.clone());
        self.attempt = Some(Box::pin(round.run()));
    }

    /// Waits for the attempt to end; pending if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<net::Result<(String, Connection)>> {
        let Some(attempt) = &mut self.attempt else { return Poll::Pending };
        let (memory, ended) = ready!(attempt.as_mut().poll(cx));
        self.attempt = None;
        self.memory = memory;
        Poll::Ready(ended.map(|(place, connection)| {
            self.was_connected = true;
            (self.names.get(place.given).cloned().unwrap_or_default(), connection)
        }))
    }

    /// The error for an attempt that has not ended within a time.
    pub(super) fn late(&self, patience: Duration) -> Error {
        let late = Error::timeout("connect", format!("no answer within {patience:?}"));
        self.names.get(self.memory.given()).into_iter().fold(late, Error::on)
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

/// The ways that a network has.
struct Net {
    connector: Connector,
    endpoints: Vec<Endpoint>,
}

impl Ways for Net {
    fn given(&self) -> usize {
        self.endpoints.len()
    }

    fn look_up(&self, given: usize) -> BoxFuture<'static, net::Result<Hosts>> {
        let (endpoint, connector) = (self.endpoints[given].clone(), self.connector.clone());
        Box::pin(async move {
            if let Target::Fd(_) | Target::Systemd(_) | Target::Stdio | Target::Exec(_) | Target::File(_) =
                endpoint.target
            {
                return Ok(vec![(endpoint, Vec::new())]);
            }
            let looking = resolve_hosts(&endpoint, Purpose::Connect, connector.family, connector.names);
            let hosts = timeout(connector.timeout, looking).await.map_err(|_| {
                Error::timeout("look up", format!("no answer within {:?}", connector.timeout)).on(endpoint.name())
            })??;
            Ok(hosts.into_iter().map(|(host, addrs)| (host, interleaved(addrs))).collect())
        })
    }

    fn connect(&self, place: &Place, limit: Duration) -> BoxFuture<'static, net::Result<Connection>> {
        let connector = Connector { timeout: self.connector.timeout.min(limit), ..self.connector.clone() };
        let Place { host, addr, .. } = place.clone();
        Box::pin(async move {
            match addr {
                Some(addr) => connector.connect_to(&host, vec![addr]).await,
                None => connector.connect(&host).await,
            }
        })
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("names", &self.names).field("memory", &self.memory).finish_non_exhaustive()
    }
}
