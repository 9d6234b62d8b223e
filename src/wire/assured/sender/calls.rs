//! What a sender is told and what it wants done.
//!
//! Apart from the sender: these are the words between it and whoever drives it, over a stream or by datagrams.

use std::time::{Duration, Instant};

use crate::wire::assured::{ClientFrame, Code, Level, Run, SessionId};

/// Settings of a sender.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// The session.
    pub session: SessionId,
    /// Whether replies are wanted.
    pub replies: bool,
    /// The least that an acknowledgement is to stand for, if the client minds.
    pub level: Option<Level>,
    /// What the client calls itself.
    pub name: Option<String>,
    /// How long to go on with nothing becoming final; `None` is for ever.
    pub patience: Option<Duration>,
    /// What random pauses are made from.
    pub seed: u64,
}

/// Where a session goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Start {
    /// The lowest number that is not known to be final.
    pub first: u64,
    /// The number after the last that was assigned.
    pub next: u64,
    /// The checksum of the message before the first, where there is one and it is known.
    pub checksum: Option<u32>,
}

/// What a sender is told; `F` is what it is told by: frames, or [packets](crate::wire::assured::datagram::ServerPacket).
#[derive(Debug)]
pub enum Input<F> {
    /// Messages were accepted: they are in the spool, durably, or there is none. The first has the number that [`wants`](super::Sender::wants) said.
    Accepted(Run),
    /// Numbers below this one were assigned, to messages that are in the spool: the sender asks for them when it has room.
    Assigned(u64),
    /// There will be no more.
    NoMore,
    /// There are so many places to connect to; one until it is told. Where one is of no use, the others are tried without a pause, each once.
    Places(usize),
    /// There is a connection.
    Connected,
    /// There is none to be had now.
    NotConnected(String),
    /// A frame has come.
    Frame(F),
    /// What has come is no frame.
    Broken(String),
    /// The connection has ended.
    Disconnected(String),
    /// The answer to [`Output::Checksum`], before any other frame: that of the message, if the spool still has it.
    Checksum(Option<u32>),
}

/// What a sender wants done, in this order; `F` is what it says: frames, or [packets](crate::wire::assured::datagram::ClientPacket).
#[derive(Debug)]
pub enum Output<'a, F = ClientFrame<'a>> {
    /// Connect: to another server than the last if there is one, where that is said.
    Connect {
        /// Whether another server may be better.
        elsewhere: bool,
    },
    /// Send a frame. Until there is room for the next, ask only for [what is not sent](super::Sender::poll_events).
    Send(F),
    /// Drop the connection.
    Disconnect,
    /// Say what the checksum of a message is that the sender does not hold.
    Checksum(u64),
    /// The session is open.
    Opened {
        /// What the server calls itself.
        server: String,
        /// What its acknowledgements stand for.
        level: Level,
    },
    /// A message was refused for good. Before the next call it must have been kept somewhere.
    Refused {
        /// Which.
        number: u64,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: String,
        /// The message, if the sender holds it.
        body: Option<&'a [u8]>,
    },
    /// Replies, each with the number of the message that it is to.
    Replies(Run),
    /// All messages up to this number are final: they may leave the spool.
    Final {
        /// The last of them.
        through: u64,
        /// Its checksum, if it is known.
        checksum: Option<u32>,
    },
    /// The connection is lost, or there is none to be had; another will be tried.
    Lost {
        /// What has happened.
        reason: String,
        /// After how long; not at all if another server is to be tried at once.
        again: Duration,
    },
    /// The server cannot take messages now.
    PutOff {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: String,
        /// For how long.
        after: Duration,
    },
    /// It ends, and not all is final. This is the last.
    Stop(StopReason),
    /// There are no more messages, and all are final. This is the last.
    Done,
    /// Nothing, until something comes or it is this time.
    Wait(Option<Instant>),
}

/// Why a session cannot go on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StopReason {
    /// Nothing became final for so long; with what went wrong last.
    Patience(Duration, Option<String>),
    /// The server will not go on with it.
    Refused(Code, String),
    /// Client and server do not agree on what was sent (rules C3, S5): the spool was copied or set back, or the server's store was.
    Lost(Code, String),
    /// What answers does not speak the protocol.
    NotSpoken(String),
}

/// How far a session is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// How many messages were accepted since the start, those that were there before included.
    pub accepted: u64,
    /// How many of them are final.
    pub settled: u64,
    /// How many of those were refused.
    pub refused: u64,
    /// How often a connection was lost and another opened.
    pub reconnects: u64,
}
