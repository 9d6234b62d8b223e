//! `Admission`: counts who is there and how fast they come, and lets in or refuses.
//!
//! Apart from sockets and clocks: it is told who and when. Each question is a look into a table, whatever came before, and the tables
//! are bounded whoever asks.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::rate::Bucket;
use super::silent::{Held, Silent};
use super::{Limits, Rate};
use crate::net::{Addr, Credentials};

/// The most peers whose pace is kept in mind at least: the table holds that many, and before it those that the last one held. Who sends
/// from more addresses than that could as well come from a new one each time.
pub const MAX_PEERS: usize = 65_536;

/// Who counts as one peer.
///
/// An IPv4 address; an IPv6 network of 64 bits, which is what one customer has at least (RFC 6177); a user, at a Unix socket; a
/// machine, at a vsock. IPv4 peers of a socket for both versions of IP count by their IPv4 address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PeerKey {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of IPv6 addresses.
    V6(u64),
    /// A user of this machine.
    User(u32),
    /// All at Unix sockets whose user is not known: those who send datagrams.
    UnknownUser,
    /// A machine, by its context identifier (vsock(7)).
    Machine(u32),
}

impl PeerKey {
    /// Whom a peer counts as; `credentials` are those of a Unix socket.
    pub fn of(addr: &Addr, credentials: Option<Credentials>) -> Self {
        match addr {
            Addr::Inet(addr) => match addr.ip().to_canonical() {
                IpAddr::V4(addr) => Self::V4(addr),
                IpAddr::V6(addr) => {
                    let [a, b, c, d, e, f, g, h, ..] = addr.octets();
                    Self::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
                }
            },
            Addr::Unix(_) => credentials.map_or(Self::UnknownUser, |credentials| Self::User(credentials.uid)),
            Addr::Vsock { cid, .. } => Self::Machine(*cid),
        }
    }
}

/// As a log names it.
impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(addr) => write!(f, "{addr}"),
            Self::V6(network) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*network) << 64)),
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::UnknownUser => f.write_str("Unix clients of unknown users"),
            Self::Machine(cid) => write!(f, "cid {cid}"),
        }
    }
}

/// Why somebody is not let in just now. `Display` is for the log, with the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// As many are connected as may be.
    Connections {
        /// The limit.
        limit: usize,
    },
    /// As many of this peer are connected as may be.
    OfPeer {
        /// The peer.
        peer: PeerKey,
        /// The limit.
        limit: usize,
    },
    /// The peer comes faster than it may.
    Rate {
        /// The peer.
        peer: PeerKey,
        /// The limit.
        rate: Rate,
    },
}

impl Refusal {
    /// What the peer is told.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connections { .. } => "too many connections",
            Self::OfPeer { peer: PeerKey::User(_) | PeerKey::UnknownUser, .. } => "too many connections of this user",
            Self::OfPeer { .. } => "too many connections from this address",
            Self::Rate { .. } => "too fast",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections { limit } => write!(f, "too many connections: the limit for all is {limit}"),
            Self::OfPeer { peer, limit } => {
                write!(f, "too many connections of {peer}: the limit for each peer is {limit}")
            }
            Self::Rate { peer, rate } => write!(f, "too fast: {peer}; the limit for each peer is {rate}"),
        }
    }
}

/// Who is let in, under [`Limits`]. Clones count together; threads may ask at once.
///
/// It knows no clock: `now` is an argument, and should not go backwards by much. Memory: an entry for each peer that is connected, and
/// with a rate at most twice [`MAX_PEERS`] of those who came lately.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_connections: usize,
    max_per_peer: usize,
    rate: Option<Rate>,
    handshake_timeout: Option<Duration>,
    max_peers: usize,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    /// Connections in all.
    open: usize,
    /// Connections of each peer that has one.
    of_peer: HashMap<PeerKey, usize>,
    /// Those of them that have said nothing yet.
    silent: Silent,
    pace: Pace,
}

/// A place among the connections, given back when it is dropped.
#[derive(Debug)]
#[must_use = "the place is given back at once"]
pub struct Ticket {
    admission: Admission,
    peer: PeerKey,
    /// None once the peer has said something, and where nobody has to make room.
    silent: Option<Held>,
}

impl Admission {
    /// Nobody is there yet.
    pub fn new(limits: &Limits) -> Self {
        Self::remembering(limits, MAX_PEERS)
    }

    fn remembering(limits: &Limits, max_peers: usize) -> Self {
        let Limits { max_connections, max_per_peer, rate, handshake_timeout, .. } = *limits;
        let tables = Mutex::default();
        Self(Arc::new(Shared { max_connections, max_per_peer, rate, handshake_timeout, max_peers, tables }))
    }

    /// Lets a connection in, if need be for one that has been silent for too long. Whoever is refused has not used up anything.
    ///
    /// # Errors
    /// A limit is reached.
    pub fn admit(&self, peer: PeerKey, now: Instant) -> Result<Ticket, Refusal> {
        let (max_connections, max_per_peer) = (self.0.max_connections, self.0.max_per_peer);
        let mut tables = self.tables();
        let silent_since = self.0.handshake_timeout.and_then(|timeout| now.checked_sub(timeout));
        let is_full = max_connections > 0 && tables.open >= max_connections;
        // A place of the peer's own is one of all, too.
        let makes_room = if max_per_peer > 0 && tables.of_peer.get(&peer).is_some_and(|open| *open >= max_per_peer) {
            let first = tables.silent.first_of(peer, silent_since);
            Some(first.ok_or(match is_full {
                true => Refusal::Connections { limit: max_connections },
                false => Refusal::OfPeer { peer, limit: max_per_peer },
            })?)
        } else if is_full {
            let first = tables.silent.first(silent_since);
            Some(first.ok_or(Refusal::Connections { limit: max_connections })?)
        } else {
            None
        };
        self.pace(&mut tables, peer, now)?;
        if let Some(peer) = makes_room.and_then(|place| tables.silent.end(place)) {
            tables.leave(peer);
        }
        tables.open += 1;
        *tables.of_peer.entry(peer).or_default() += 1;
        let silent = self.0.handshake_timeout.map(|_| tables.silent.hold(peer, now));
        Ok(Ticket { admission: self.clone(), peer, silent })
    }

    /// Lets a datagram in: only the rate counts.
    ///
    /// # Errors
    /// The peer sends faster than it may.
    pub fn admit_datagram(&self, peer: PeerKey, now: Instant) -> Result<(), Refusal> {
        match self.0.rate {
            Some(_) => self.pace(&mut self.tables(), peer, now),
            None => Ok(()),
        }
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.tables().open
    }

    fn pace(&self, tables: &mut Tables, peer: PeerKey, now: Instant) -> Result<(), Refusal> {
        match self.0.rate {
            Some(rate) if !tables.pace.take(peer, rate, self.0.max_peers, now) => Err(Refusal::Rate { peer, rate }),
            _ => Ok(()),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing in here panics halfway.
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Whose place it is.
    pub fn peer(&self) -> PeerKey {
        self.peer
    }

    /// Notes that the peer has said something: from now on the place is its own. Where it was given away already, it stays so.
    pub fn heard(&mut self) {
        if let Some(silent) = &self.silent
            && self.admission.tables().silent.leave(silent).is_some()
        {
            self.silent = None;
        }
    }

    /// Ready once the place was given to another, since the peer has said nothing for too long. Then the connection is to end.
    pub fn poll_given_away(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.silent.as_mut().map_or(Poll::Pending, |silent| silent.poll_ended(cx))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut tables = self.admission.tables();
        let was_given_away = self.silent.as_ref().is_some_and(|silent| tables.silent.leave(silent).is_none());
        if !was_given_away {
            tables.leave(self.peer);
        }
    }
}

impl Tables {
    fn leave(&mut self, peer: PeerKey) {
        self.open -= 1;
        if let Some(open) = self.of_peer.get_mut(&peer) {
            *open -= 1;
            if *open == 0 {
                self.of_peer.remove(&peer);
            }
        }
    }
}

/// The buckets of those who came lately, in two tables. Those who come are in the young one. After the time in which an empty bucket
/// fills, or when it has [`MAX_PEERS`], it becomes the old one, and the old one is dropped: whoever has not come meanwhile has a full
/// bucket, as a newcomer has, so that nothing is lost with it. Thus no table is ever searched.
#[derive(Debug, Default)]
struct Pace {
    young: HashMap<PeerKey, Bucket>,
    old: HashMap<PeerKey, Bucket>,
    /// When the young one was begun.
    since: Option<Instant>,
}

impl Pace {
    fn take(&mut self, peer: PeerKey, rate: Rate, max_peers: usize, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= rate.refill() || self.young.len() >= max_peers {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(now);
        }
        let old = &mut self.old;
        let bucket = self.young.entry(peer).or_insert_with(|| old.remove(&peer).unwrap_or(Bucket::full(rate, now)));
        bucket.take(rate, now)
    }
}

#[cfg(test)]
mod tests;
