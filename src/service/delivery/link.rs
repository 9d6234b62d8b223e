//! `Link`: one connection of a delivery, which carries frames.
//!
//! Apart from the session, which goes on over the next one: what was not sent here, and what was read in part, goes with the connection.

use std::task::{Context, Poll};
use std::time::Duration;

use super::machine::{Heard, Said, Speech};
use super::packets::OverPackets;
use super::stream::OverStream;
use crate::net::Connection;
use crate::wire::assured::{Again, Code, Series, ServerFrame};
use crate::wire::plain::Verdict;

/// After how long a server is asked again that has said, before it spoke of the session, that it cannot take a connection now.
const AGAIN: Duration = Duration::from_secs(1);

/// A connection that carries frames, or packets.
#[derive(Debug)]
pub(super) enum Link {
    Stream(Box<OverStream>),
    Packets(Box<OverPackets>),
}

/// What has come over a connection.
#[derive(Debug)]
pub(super) enum Came<'a> {
    Heard(Heard<'a>),
    /// It is no frame.
    Broken(String),
    /// The connection has ended.
    Ended(String),
    /// The message of this number does not fit into a packet.
    Unsendable(u64),
}

impl Link {
    /// A connection of which nothing was used yet. Replies may have so many bytes.
    pub(super) fn new(connection: Connection, speech: Speech, max_reply: u64) -> Self {
        match connection {
            Connection::Stream(stream) => Self::Stream(Box::new(OverStream::new(stream, max_reply))),
            Connection::Packets(packets) => Self::Packets(Box::new(OverPackets::new(packets, speech, max_reply))),
        }
    }

    /// Whether the next frame is better put there now, so that many leave in one write.
    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::Stream(stream) => stream.has_room(),
            Self::Packets(packets) => packets.has_room(),
        }
    }

    /// How many bytes of messages are better put there now in one go: none into packets, of which each has one.
    pub(super) fn room(&self) -> u64 {
        match self {
            Self::Stream(stream) => stream.room() as u64,
            Self::Packets(_) => 0,
        }
    }

    /// Takes messages to be sent, those for which there was [room](Self::room).
    pub(super) fn put_series(&mut self, series: &Series<'_>) {
        if let Self::Stream(stream) = self {
            stream.put_series(series);
        }
    }

    /// Takes a frame to be sent.
    pub(super) fn put(&mut self, said: &Said<'_>) {
        match self {
            Self::Stream(stream) => stream.put(said),
            Self::Packets(packets) => packets.put(said),
        }
    }

    /// Sends what was put there; ready each time that something was done.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Stream(stream) => stream.poll_send(cx),
            Self::Packets(packets) => packets.poll_send(cx),
        }
    }

    /// Receives something; ready each time that something has come, be it the end.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Stream(stream) => stream.poll_receive(cx),
            Self::Packets(packets) => packets.poll_receive(cx),
        }
    }

    /// What has come and was not taken yet.
    pub(super) fn take(&mut self) -> Option<Came<'_>> {
        match self {
            Self::Stream(stream) => stream.take(),
            Self::Packets(packets) => packets.take(),
        }
    }
}

/// What a server says in plain words before it has spoken the protocol: that it is full, or that this client may not come in.
pub(super) fn plain_words(line: &[u8]) -> Option<ServerFrame<'static>> {
    let (code, again, reason) = match Verdict::of(line) {
        Verdict::NotNow(reason) => (Code::OVERLOADED, Again::After(AGAIN), reason),
        Verdict::Refused(reason) => (Code::FORBIDDEN, Again::Never, reason),
        Verdict::Acknowledged => return None,
    };
    Some(ServerFrame::Error { code, again, reason: reason.into() })
}

/// What something is called that is no frame.
pub(super) fn said(bytes: &[u8]) -> String {
    const MOST: usize = 60;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text: String = String::from_utf8_lossy(line).chars().take(MOST).collect();
    format!("it says `{}`", text.trim_end().escape_debug())
}
