//! `Connection`: frames on their way between a simulated client and a server, in order, later, or never.
//!
//! Apart from both ends: what a network does to a connection is done here.

use std::collections::VecDeque;

use super::server::Served;
use crate::wire::assured::{ClientFrame, Open, ServerFrame, SessionId};

/// A frame of a client, with bytes of its own.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Open(Open<'static>),
    Message(u64, Option<(SessionId, u64)>, Vec<u8>),
    Noted(u64),
    Ping(String),
    Pong(String),
    Bye,
}

impl Said {
    pub(super) fn of(frame: ClientFrame<'_>) -> Self {
        match frame {
            ClientFrame::Open(open) => Self::Open(open.into_owned()),
            ClientFrame::Message { number, origin, body } => Self::Message(number, origin, body.to_vec()),
            ClientFrame::TooLarge { number, .. } => Self::Message(number, None, Vec::new()),
            ClientFrame::Noted(number) => Self::Noted(number),
            ClientFrame::Ping(token) => Self::Ping(token.into_owned()),
            ClientFrame::Pong(token) => Self::Pong(token.into_owned()),
            ClientFrame::Bye => Self::Bye,
        }
    }

    /// As a server reads it that grants so many bytes to a message.
    pub(super) fn frame(&self, max_body: u64) -> ClientFrame<'_> {
        match self {
            Self::Open(open) => ClientFrame::Open(open.clone()),
            Self::Message(number, _, body) if body.len() as u64 > max_body => {
                ClientFrame::TooLarge { number: *number, length: body.len() as u64 }
            }
            Self::Message(number, origin, body) => {
                ClientFrame::Message { number: *number, origin: origin.clone(), body }
            }
            Self::Noted(number) => ClientFrame::Noted(*number),
            Self::Ping(token) => ClientFrame::Ping(token.into()),
            Self::Pong(token) => ClientFrame::Pong(token.into()),
            Self::Bye => ClientFrame::Bye,
        }
    }
}

/// What is on its way.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Up(Said),
    Down(ServerFrame<'static>),
    /// The other side has closed.
    Fin,
    /// The connection was reset, and all that was not read is gone.
    Reset,
}

/// To which side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Direction {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// One direction of a connection.
#[derive(Default)]
pub(super) struct Pipe {
    /// When the last that was sent arrives: nothing overtakes.
    last: u64,
    /// How many frames were sent and not read.
    pub(super) under_way: usize,
    /// What has arrived, and was not read.
    pub(super) inbox: VecDeque<Item>,
    /// From now on nothing arrives, and nobody is told.
    pub(super) silent: bool,
    /// What everything needs in addition, in microseconds.
    pub(super) slow: u64,
    /// Nothing arrives any more, and the ends know or learn it.
    pub(super) dead: bool,
    /// Whether the sending side waits for room.
    pub(super) blocked: bool,
}

impl Pipe {
    /// How many frames fit: then the sending side must wait.
    const ROOM: usize = 12;

    pub(super) fn has_room(&self) -> bool {
        self.under_way < Self::ROOM
    }

    /// When something arrives that is sent now; never, maybe.
    pub(super) fn send(&mut self, now: u64, delay: u64) -> Option<u64> {
        if self.dead {
            return None;
        }
        self.under_way += 1;
        if self.silent {
            return None;
        }
        self.last = self.last.max(now + delay + self.slow);
        Some(self.last)
    }

    /// Reads what has arrived.
    pub(super) fn read(&mut self) -> Option<Item> {
        let item = self.inbox.pop_front()?;
        self.under_way = self.under_way.saturating_sub(1);
        Some(item)
    }
}

/// A connection and what both its ends know of it.
pub(super) struct Connection {
    pub(super) client: usize,
    pub(super) client_life: u64,
    pub(super) server: usize,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// The client has closed it.
    pub(super) left: bool,
    /// What the server does for it; none once it has closed it.
    pub(super) served: Option<Served>,
}

impl Connection {
    pub(super) fn pipe(&mut self, direction: Direction) -> &mut Pipe {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}
