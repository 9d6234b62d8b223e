//! What a receiver is told and what it wants done.
//!
//! Apart from the receiver: these are the words between it and whoever drives it.

use std::time::{Duration, Instant};

use super::super::{
    Applied, ClientFrame, Code, Denied, IDLE_TIMEOUT, Level, MAX_BODY, OPEN_TIMEOUT, Open, Progress, Run, ServerFrame,
    WINDOW, WINDOW_BYTES,
};

/// What a server grants to every session.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// What it calls itself.
    pub server: String,
    /// What its acknowledgements stand for.
    pub level: Level,
    /// How many messages may be on their way.
    pub window: u32,
    /// How many bytes of messages may be on their way.
    pub window_bytes: u64,
    /// The longest message.
    pub max_body: u64,
    /// How long the opening may take.
    pub open_timeout: Duration,
    /// After how much silence the connection is closed.
    pub idle_timeout: Duration,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self {
            server: "wilco".to_owned(),
            level: Level::Stored,
            window: WINDOW,
            window_bytes: WINDOW_BYTES,
            max_body: MAX_BODY as u64,
            open_timeout: OPEN_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
        }
    }
}

/// What a receiver is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A frame has come.
    Frame(ClientFrame<'a>),
    /// Messages have come whose numbers follow each other, as many frames without an origin: the same as each of them, one after the other.
    Messages(Run),
    /// What has come is no frame.
    Broken(Code, String),
    /// The store's answer to [`Output::Open`].
    Opened(Result<Progress, Denied>),
    /// The store's answer to the first [`Output::Apply`] that it has not answered yet. One that does not go through the whole run, and puts nothing off, is of its
    /// beginning: another follows.
    Applied(Applied),
    /// Another connection has opened the session: this one must not apply anything any more.
    TakenOver,
    /// The server is about to end.
    Drain,
}

/// How many more messages a receiver takes at once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allowance {
    /// So many.
    pub messages: u64,
    /// They end with the first that brings them beyond so many bytes.
    pub bytes: u64,
}

impl Allowance {
    /// All that there are.
    pub(in super::super) const ALL: Self = Self { messages: u64::MAX, bytes: u64::MAX };

    /// Whether there may be one more than these.
    pub(in super::super) fn has_room_beside(&self, run: &Run) -> bool {
        (run.len() as u64) < self.messages && run.bytes.len() as u64 <= self.bytes
    }
}

/// What a receiver wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Open the session in the store, which makes this connection its only owner (rule S1); answered by [`Input::Opened`].
    Open(Open<'static>),
    /// Apply the messages in one transaction with the session's progress (rule S2), and answer by [`Input::Applied`] once that is durable (S3). There may be several
    /// of them under way; they are applied in their order.
    Apply(Run),
    /// Forget replies and refusals up to this number.
    Note(u64),
    /// Send a frame.
    Send(ServerFrame<'static>),
    /// Send replies, each with the number of the message that it is to: as many frames ([`ServerFrame::Reply`]).
    Replies(Run),
    /// Send what is to be sent, and close the connection (rule S8). This is the last.
    Close,
    /// Nothing, until something comes or it is this time.
    Wait(Option<Instant>),
}
