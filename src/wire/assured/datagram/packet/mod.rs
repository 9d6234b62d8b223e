//! The packets of WILCO/1 in datagrams, as values.
//!
//! Apart from their text form: `decode.rs` reads it, strictly, since anybody may have sent it, and `encode.rs` writes it.

mod decode;
mod encode;
mod fields;
mod held;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

pub use held::Held;
use thiserror::Error;

use super::Cookie;
use crate::wire::assured::{Again, Code, Level, Open, SessionId};

/// What a client says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientPacket<'a> {
    /// `O`: begins or goes on with a session.
    Open {
        /// How. Replies cannot be had in datagrams.
        open: Open<'a>,
        /// What the client's attempts differ by, if it says so.
        attempt: Option<u64>,
        /// What proves its source, once it was given that.
        cookie: Option<Cookie>,
    },
    /// `M`: a message with its number.
    Message {
        /// The session.
        session: SessionId,
        /// What proves its source, and that the session was opened from there.
        cookie: Cookie,
        /// Its number in the session.
        number: u64,
        /// The session and number under which it was sent at first, if that was another.
        origin: Option<(SessionId, u64)>,
        /// The message.
        body: &'a [u8],
    },
    /// `X`: in place of a message that is longer than a datagram may be.
    TooLarge {
        /// The session.
        session: SessionId,
        /// As that of a message.
        cookie: Cookie,
        /// Its number in the session.
        number: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// `K`: refusals up to this number are kept by the client, and the server may forget them.
    Noted {
        /// The session.
        session: SessionId,
        /// As that of a message.
        cookie: Cookie,
        /// The last number.
        through: u64,
    },
    /// `BYE`: there is nothing more, and the server may drop the session from its memory.
    Bye {
        /// The session.
        session: SessionId,
        /// As that of a message.
        cookie: Cookie,
    },
}

/// What a server says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerPacket<'a> {
    /// `C` without a number: the session is not open, and is to be opened with this cookie.
    Challenge {
        /// The session.
        session: SessionId,
        /// What proves the source.
        cookie: Cookie,
        /// The attempt that it answers, if it answers one.
        attempt: Option<u64>,
        /// How many messages may be on their way.
        window: u32,
        /// The longest message.
        max_body: u64,
    },
    /// `C`: the session is open.
    Granted {
        /// The session.
        session: SessionId,
        /// What messages are to be sent with.
        cookie: Cookie,
        /// The attempt that it answers, if that had a number.
        attempt: Option<u64>,
        /// The last message that is final; 0 if none is.
        acknowledged: u64,
        /// The [checksum](crate::wire::assured::checksum) of that message, if the server knows it.
        checksum: Option<u32>,
        /// How many messages may be on their way.
        window: u32,
        /// The longest message.
        max_body: u64,
        /// What an acknowledgement stands for, if it is said.
        level: Option<Level>,
        /// What the server calls itself, if it is said.
        server: Option<Cow<'a, str>>,
    },
    /// `A`: every message up to this number is final and durable; others are held.
    Acknowledged {
        /// The session.
        session: SessionId,
        /// The last number that is final.
        through: u64,
        /// What is held beyond that, but not final.
        held: Held,
    },
    /// `N`: a message is refused for good.
    Refused {
        /// The session.
        session: SessionId,
        /// Which.
        number: u64,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: Cow<'a, str>,
    },
    /// `R`: not now; the server has dropped this message and all after it.
    PutOff {
        /// The session.
        session: SessionId,
        /// The first that is to be sent again.
        number: u64,
        /// How long to wait before.
        after: Duration,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: Cow<'a, str>,
    },
    /// `E`: the session is not open any more, or will not be, for this reason.
    Error {
        /// The session.
        session: SessionId,
        /// The attempt to open it that is answered, if it is one, and had a number.
        attempt: Option<u64>,
        /// Why, for programs.
        code: Code,
        /// Whether another attempt makes sense.
        again: Again,
        /// Why, for people.
        reason: Cow<'a, str>,
    },
}

impl ClientPacket<'_> {
    /// The session that it belongs to.
    pub fn session(&self) -> &SessionId {
        match self {
            Self::Open { open, .. } => &open.session,
            Self::Message { session, .. }
            | Self::TooLarge { session, .. }
            | Self::Noted { session, .. }
            | Self::Bye { session, .. } => session,
        }
    }
}

impl ServerPacket<'_> {
    /// The session that it belongs to.
    pub fn session(&self) -> &SessionId {
        match self {
            Self::Challenge { session, .. }
            | Self::Granted { session, .. }
            | Self::Acknowledged { session, .. }
            | Self::Refused { session, .. }
            | Self::PutOff { session, .. }
            | Self::Error { session, .. } => session,
        }
    }

    /// The same with text of its own.
    pub fn into_owned(self) -> ServerPacket<'static> {
        match self {
            Self::Challenge { session, cookie, attempt, window, max_body } => {
                ServerPacket::Challenge { session, cookie, attempt, window, max_body }
            }
            Self::Granted { session, cookie, attempt, acknowledged, checksum, window, max_body, level, server } => {
                let server = server.map(owned);
                ServerPacket::Granted {
                    session,
                    cookie,
                    attempt,
                    acknowledged,
                    checksum,
                    window,
                    max_body,
                    level,
                    server,
                }
            }
            Self::Acknowledged { session, through, held } => ServerPacket::Acknowledged { session, through, held },
            Self::Refused { session, number, code, reason } => {
                ServerPacket::Refused { session, number, code, reason: owned(reason) }
            }
            Self::PutOff { session, number, after, code, reason } => {
                ServerPacket::PutOff { session, number, after, code, reason: owned(reason) }
            }
            Self::Error { session, attempt, code, again, reason } => {
                ServerPacket::Error { session, attempt, code, again, reason: owned(reason) }
            }
        }
    }
}

/// Why a datagram is no packet of the protocol. It is not answered: its source may be forged.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[error("not a packet of WILCO/1: {0}")]
pub struct Malformed(pub &'static str);

/// A text of its own.
fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
