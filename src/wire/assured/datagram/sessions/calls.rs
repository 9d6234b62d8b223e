//! What the sessions of a server are told and what they want done.
//!
//! Apart from the sessions: these are the words between them and whoever drives them.

use std::time::{Duration, Instant};

use super::super::{
    ClientPacket, HELD_BYTES, HELD_BYTES_IN_ALL, MAX_BODY, MAX_OPENING, MAX_SESSIONS, MAX_SESSIONS_OF_HOST,
    SESSION_IDLE, WINDOW,
};
use crate::wire::assured::{Applied, Denied, Level, Open, Progress, Run, SessionId};

/// Settings of a server for sessions by datagrams.
#[derive(Clone, Debug)]
pub struct SessionsConfig {
    /// What it calls itself.
    pub server: String,
    /// What its acknowledgements stand for.
    pub level: Level,
    /// How many messages of a session may be on their way, at most [`WINDOW`].
    pub window: u32,
    /// The longest message in bytes.
    pub max_body: u64,
    /// How many sessions are in memory at the most.
    pub sessions: usize,
    /// How many of them are of one [host](Caller::host) at the most.
    pub sessions_of_host: usize,
    /// How many of them may wait for the store to open them.
    pub opening: usize,
    /// After how much silence a session is dropped from memory.
    pub idle: Duration,
    /// How many bytes of messages a session may have waiting.
    pub held_bytes: usize,
    /// How many bytes of messages all sessions may have waiting.
    pub held_bytes_in_all: usize,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            server: "wilco".to_owned(),
            level: Level::Stored,
            window: WINDOW,
            max_body: MAX_BODY as u64,
            sessions: MAX_SESSIONS,
            sessions_of_host: MAX_SESSIONS_OF_HOST,
            opening: MAX_OPENING,
            idle: SESSION_IDLE,
            held_bytes: HELD_BYTES,
            held_bytes_in_all: HELD_BYTES_IN_ALL,
        }
    }
}

/// A source of datagrams.
pub trait Caller: Clone + Eq {
    /// What all sources have in common that count as one.
    type Host: Eq;

    /// Whom the source counts as: a host, whatever port it sends from, or nobody could be kept from having all the room there is.
    fn host(&self) -> Self::Host;
}

/// What the sessions are told. `S` is a source, as the server's user knows it; answers to it are sent there.
#[derive(Debug)]
pub enum Input<'a, S> {
    /// A packet has come.
    Packet {
        /// Where from.
        from: S,
        /// The same in bytes, which no other source has.
        source: &'a [u8],
        /// What was said.
        packet: ClientPacket<'a>,
        /// How long the datagram was, in bytes: no answer to a source that is not proved is longer.
        length: usize,
    },
    /// The store's answer to [`Output::Open`].
    Opened(SessionId, Opening, Result<Progress, Denied>),
    /// The store's answer to [`Output::Apply`].
    Applied(SessionId, Opening, Applied),
    /// Another connection has taken the session over.
    TakenOver(SessionId, Opening),
    /// The server is about to end.
    Drain,
}

/// What the sessions want done, in this order.
#[derive(Debug)]
pub enum Output<S> {
    /// Open the session in the store, which makes this opening its only owner (rule S1); answered by [`Input::Opened`].
    Open {
        /// Which opening it is; of a session, the latest is the only one that counts.
        opening: Opening,
        /// The packet's.
        open: Open<'static>,
        /// Where it came from.
        from: S,
    },
    /// Apply the messages in one transaction with the session's progress (rule S2), and answer by [`Input::Applied`] once that is durable (S3). There is one under way for each
    /// session at a time.
    Apply {
        /// The session.
        session: SessionId,
        /// Its opening.
        opening: Opening,
        /// The messages.
        run: Run,
    },
    /// Forget refusals and replies up to this number.
    Note {
        /// The session.
        session: SessionId,
        /// Its opening.
        opening: Opening,
        /// The last number.
        through: u64,
    },
    /// Send a datagram.
    Send {
        /// Where to.
        to: S,
        /// Its bytes.
        datagram: Vec<u8>,
    },
    /// This opening is over: its owner in the store may be forgotten.
    Close {
        /// The session.
        session: SessionId,
        /// Its opening.
        opening: Opening,
    },
    /// Nothing, until something comes or it is this time.
    Wait(Option<Instant>),
}

/// One opening of a session; a later one is higher.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Opening(pub(super) u64);
