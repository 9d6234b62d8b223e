//! The frames of WILCO/1, as values.
//!
//! Apart from their text form: the state machines know these and no bytes.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::SessionId;

/// What a client says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientFrame<'a> {
    /// `WILCO/1 OPEN`: begins or goes on with a session.
    Open(Open<'a>),
    /// `M`: a message with its number.
    Message {
        /// Its number in the session.
        number: u64,
        /// The session and number under which it was sent at first, if that was another (`oid`).
        origin: Option<(SessionId, u64)>,
        /// The message.
        body: &'a [u8],
    },
    /// `M` with a longer body than was granted, which is skipped.
    TooLarge {
        /// Its number in the session.
        number: u64,
        /// The length that it was said to have.
        length: u64,
    },
    /// `K`: replies and refusals up to this number are kept by the client, and the server may forget them.
    Noted(u64),
    /// `PING`: is to be answered with the same token.
    Ping(Cow<'a, str>),
    /// `PONG`.
    Pong(Cow<'a, str>),
    /// `BYE`: there is nothing more.
    Bye,
}

/// How a client opens a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Open<'a> {
    /// Which session.
    pub session: SessionId,
    /// The lowest number that the client does not know to be final.
    pub first: u64,
    /// The number after the last that it has assigned.
    pub next: u64,
    /// The least that an acknowledgement is to stand for, if the client minds.
    pub level: Option<Level>,
    /// Whether it wants replies.
    pub replies: bool,
    /// A secret that only this client knows: whoever has opened a session with one is the only one who can go on with it.
    pub token: Option<Cow<'a, str>>,
    /// What it calls itself, for the server's user.
    pub name: Option<Cow<'a, str>>,
}

impl Open<'_> {
    /// The same with text of its own.
    pub fn into_owned(self) -> Open<'static> {
        let Self { session, first, next, level, replies, token, name } = self;
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Open { session, first, next, level, replies, token: own(token), name: own(name) }
    }
}

/// What a server says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerFrame<'a> {
    /// `WILCO/1 OK`: the session is open.
    Granted(Grant<'a>),
    /// `A`: every message up to this number is final and durable: applied, or refused by an `N` before.
    Acknowledged(u64),
    /// `N`: a message is refused for good.
    Refused {
        /// Which.
        number: u64,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: Cow<'a, str>,
    },
    /// `R`: not now; the server has dropped this message and all after it.
    PutOff {
        /// The first that is to be sent again.
        number: u64,
        /// How long to wait before.
        after: Duration,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: Cow<'a, str>,
    },
    /// `D`: the reply to a message.
    Reply {
        /// To which.
        number: u64,
        /// The reply.
        body: Cow<'a, [u8]>,
    },
    /// `W`: how much may be on its way from now on; nothing at all is a pause.
    Window {
        /// Messages.
        messages: u32,
        /// Bytes of them.
        bytes: u64,
    },
    /// `PING`.
    Ping(Cow<'a, str>),
    /// `PONG`.
    Pong(Cow<'a, str>),
    /// `BYE`: the server ends the connection in order.
    Bye {
        /// The last message that is final.
        acknowledged: u64,
        /// Whether the client is to go on elsewhere, now.
        drain: bool,
    },
    /// `E`: the connection ends, for this reason.
    Error {
        /// Why, for programs.
        code: Code,
        /// Whether another attempt makes sense.
        again: Again,
        /// Why, for people.
        reason: Cow<'a, str>,
    },
}

/// What a server grants when it opens a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant<'a> {
    /// The last message that is final; 0 if none is.
    pub acknowledged: u64,
    /// The [checksum](super::checksum) of that message, if the server knows it. (`-` on the wire where it does not.)
    pub checksum: Option<u32>,
    /// The number and the checksum of the last message that is final, where that is a later one: what became of those between is said again first, and then they are
    /// acknowledged. (`last=<n>:<8 hex>` on the wire, left out where there is none.)
    pub last: Option<(u64, u32)>,
    /// How many messages may be on their way.
    pub window: u32,
    /// How many bytes of messages may be on their way. One message may always be.
    pub window_bytes: u64,
    /// The longest message.
    pub max_body: u64,
    /// How long the connection may be silent.
    pub idle: Duration,
    /// What an acknowledgement stands for.
    pub level: Level,
    /// What the server calls itself.
    pub server: Cow<'a, str>,
}

/// What an acknowledgement stands for; the later the more.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// `show`: the message was displayed.
    Shown,
    /// `run`: a handler has done what it does.
    Handled,
    /// `store`: it is on disk, exactly once.
    Stored,
    /// `save`: the session carries files ([`FileWord`](crate::wire::FileWord)): the last message of a file is acknowledged once the file is on disk as a whole.
    Saved,
}

impl Level {
    /// All of them, with their names on the wire.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Shown, "show"), (Self::Handled, "run"), (Self::Stored, "store"), (Self::Saved, "save")];

    /// Why a server that grants this is not one for a client that wants at least that.
    pub(super) fn objection(self, wanted: Option<Self>) -> Option<&'static str> {
        match wanted {
            Some(wanted) if wanted > self => Some(wanted.unmet()),
            wanted if self == Self::Saved && wanted != Some(self) => Some("the server takes files, and no messages"),
            _ => None,
        }
    }

    /// Why it is not to be had of a server whose acknowledgements stand for less.
    fn unmet(self) -> &'static str {
        match self {
            Self::Saved => "the server does not save files",
            Self::Stored => "the server does not keep messages",
            Self::Handled | Self::Shown => "the server only displays messages",
        }
    }

    /// The one of this name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(level, _)| *level)
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(level, _)| *level == self).map_or("", |(_, name)| name)
    }
}

/// Why something is not done, for programs: a number of three digits, as in HTTP.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Code(pub u16);

impl Code {
    /// What was said is no frame of the protocol, or not at this place.
    pub const BAD_FRAME: Self = Self(400);
    /// The server wants to know who it is.
    pub const UNAUTHORIZED: Self = Self(401);
    /// The session belongs to another.
    pub const FORBIDDEN: Self = Self(403);
    /// The server's acknowledgements stand for less than the client wants.
    pub const NOT_ACCEPTABLE: Self = Self(406);
    /// Something took too long.
    pub const TIMEOUT: Self = Self(408);
    /// The server is further than the client: the session was copied, or the client's spool set back.
    pub const CLIENT_BEHIND: Self = Self(409);
    /// The server does not know the session, which is not new.
    pub const UNKNOWN_SESSION: Self = Self(410);
    /// The server has lost what it has acknowledged.
    pub const SERVER_BEHIND: Self = Self(412);
    /// The message is too large.
    pub const TOO_LARGE: Self = Self(413);
    /// Too many connections or sessions.
    pub const TOO_MANY: Self = Self(421);
    /// The handler will not have the message.
    pub const REJECTED: Self = Self(422);
    /// Another connection has taken the session over.
    pub const TAKEN_OVER: Self = Self(423);
    /// Too fast.
    pub const RATE: Self = Self(429);
    /// The handler failed, and may not fail again.
    pub const FAILED: Self = Self(500);
    /// The server cannot take it on now, or is about to end.
    pub const OVERLOADED: Self = Self(503);
    /// The server speaks another version.
    pub const VERSION: Self = Self(505);
    /// There is no room on the disk.
    pub const DISK_FULL: Self = Self(507);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether another attempt makes sense. It is said, never guessed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Again {
    /// It does not.
    Never,
    /// After so long.
    After(Duration),
}
