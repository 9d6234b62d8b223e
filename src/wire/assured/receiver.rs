//! `Receiver`: the server's side of one session over one connection.
//!
//! Apart from what carries it: it is told what has come and what time it is, and says what is to be sent and applied. Rules S1 to S5 of
//! `docs/protocol.md` are kept here, together with the [store](Output::Apply).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ClientFrame, Code, Level, Open, Run, ServerFrame};

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

/// What a receiver is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A frame has come.
    Frame(ClientFrame<'a>),
    /// What has come is no frame.
    Broken(Code, String),
    /// The store's answer to [`Output::Open`].
    Opened(Result<Progress, Denied>),
    /// The store's answer to the first [`Output::Apply`] that it has not answered yet.
    Applied(Applied),
    /// Another connection has opened the session: this one must not apply anything any more.
    TakenOver,
    /// The server is about to end.
    Drain,
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
    /// Send what is to be sent, and close the connection (rule S8). This is the last.
    Close(String),
    /// Nothing, until something comes or it is this time.
    Wait(Option<Instant>),
}

/// How far a session is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Whether the store knew it before.
    pub known: bool,
    /// The last number that is final and durable.
    pub acknowledged: u64,
    /// The checksum of that message, if it is known.
    pub checksum: Option<u32>,
    /// What became of messages other than that they were applied, in the order of their numbers, as far as the client has not noted it.
    pub verdicts: Vec<(u64, Verdict)>,
}

/// Why a session is not opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    /// For programs.
    pub code: Code,
    /// When to try again, if ever.
    pub again: super::Again,
    /// For people.
    pub reason: String,
}

/// What became of a run: all up to a number is final and durable, and the rest was put off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last number that is final.
    pub through: u64,
    /// What became of messages other than that they were applied, in the order of their numbers.
    pub verdicts: Vec<(u64, Verdict)>,
    /// Why the rest was not applied now, and when it may be sent again.
    pub put_off: Option<PutOff>,
}

/// Why messages are not applied now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PutOff {
    /// For programs.
    pub code: Code,
    /// How long to wait.
    pub after: Duration,
    /// For people.
    pub reason: String,
}

/// What became of a message other than that it was applied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It was refused for good.
    Refused(Code, String),
    /// It was applied, and this is the reply.
    Reply(Bytes),
}

/// The server's side of one session over one connection.
///
/// [`handle`](Self::handle) it whatever comes, and after that call [`poll`](Self::poll) until it says to wait. Read from the connection only while it
/// [wants](Self::wants_input) something, so that a client that sends more than it was granted fills no memory.
#[derive(Debug)]
pub struct Receiver {
    config: Arc<ReceiverConfig>,
}

impl Receiver {
    /// The side of a connection that has just begun.
    pub fn new(config: Arc<ReceiverConfig>, now: Instant) -> Self {
        unimplemented!("{now:?} {config:?}")
    }

    /// Takes what has come.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        unimplemented!("{now:?} {input:?}")
    }

    /// What is to be done next.
    pub fn poll(&mut self, now: Instant) -> Output {
        unimplemented!("{now:?} {:?}", self.config)
    }

    /// Whether frames are to be read now.
    pub fn wants_input(&self) -> bool {
        unimplemented!("{:?}", self.config)
    }
}
