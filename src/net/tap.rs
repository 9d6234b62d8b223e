//! `Tap`: somebody who is shown the bytes of connections as they pass.
//!
//! Apart from streams and packets, which both show what passes through them. A connection that nobody taps carries one empty
//! pointer, and nothing is done for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Addr, Socket, endpoint};

/// Is shown what passes, in the order in which it does in each direction of a connection.
pub trait Tap: fmt::Debug + Send + Sync {
    /// Bytes have been sent or received. The connection waits until this returns.
    fn pass(&self, passage: &Passage<'_>);
}

/// Bytes that have passed at once: a write, a read, or a packet.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// Which way.
    pub direction: Direction,
    /// Which connection, by the address of its other end: `tcp:10.0.0.7:5432`. Connections of Unix clients that have no name
    /// are told apart by a number: `unix:/run/app.sock#2`.
    pub connection: &'a str,
    /// How many bytes had passed this way before.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Which way bytes have passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From this program.
    Sent,
    /// To this program.
    Received,
}

/// A tap at one connection.
#[derive(Debug)]
pub(super) struct Tapped {
    tap: Arc<dyn Tap>,
    connection: String,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Tapped {
    /// For a connection that was made to what the user calls `name`.
    pub(super) fn connected(tap: &Arc<dyn Tap>, socket: &Socket, name: impl fmt::Display) -> Box<Self> {
        let peer = socket.peer_addr().ok().filter(Addr::is_named);
        let connection = peer.map_or_else(|| name.to_string(), |peer| endpoint::written(&peer, socket.socket_type()));
        Self::new(tap, connection)
    }

    /// For a connection that was accepted, or a socket for datagrams.
    pub(super) fn accepted(tap: &Arc<dyn Tap>, socket: &Socket, peer: Option<&Addr>) -> Box<Self> {
        static UNNAMED: AtomicU64 = AtomicU64::new(1);
        let written = |addr: &Addr| endpoint::written(addr, socket.socket_type());
        let connection = match (peer, socket.local_addr()) {
            (Some(peer), _) if peer.is_named() => written(peer),
            (Some(_), Ok(local)) => format!("{}#{}", written(&local), UNNAMED.fetch_add(1, Ordering::Relaxed)),
            (None, Ok(local)) => written(&local),
            (Some(peer), Err(_)) => written(peer),
            (None, Err(_)) => String::new(),
        };
        Self::new(tap, connection)
    }

    fn new(tap: &Arc<dyn Tap>, connection: String) -> Box<Self> {
        Box::new(Self { tap: tap.clone(), connection, sent: AtomicU64::new(0), received: AtomicU64::new(0) })
    }

    pub(super) fn pass(&self, direction: Direction, bytes: &[u8]) {
        self.pass_as(direction, &self.connection, bytes);
    }

    /// Shows a packet of a socket that has many peers.
    pub(super) fn pass_with(&self, direction: Direction, socket: &Socket, peer: &Addr, bytes: &[u8]) {
        self.pass_as(direction, &endpoint::written(peer, socket.socket_type()), bytes);
    }

    fn pass_as(&self, direction: Direction, connection: &str, bytes: &[u8]) {
        let passed = match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        };
        let offset = passed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if !bytes.is_empty() {
            self.tap.pass(&Passage { direction, connection, offset, bytes });
        }
    }
}
