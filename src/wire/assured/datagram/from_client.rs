//! The packets of a client as text.
//!
//! Apart from those of a server: here a server reads what anybody may have sent.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::text::{self, Fields};
use super::{ClientPacket, Cookie, Malformed, OPEN_LENGTH};
use crate::wire::assured::{GREETING, Level, MAX_HEADER, Open, SessionId};

impl<'a> ClientPacket<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let line = packet.strip_prefix(GREETING).ok_or(Malformed("it does not begin with `WILCO/1 `"))?;
        let (line, body) = text::split(line)?;
        let mut fields = Fields::new(line);
        let verb = fields.next()?;
        let session = fields.parse("a session is named by 16 to 64 of the characters 0-9 and a-z")?;
        if verb == "M" {
            return Self::parse_message(session, fields, body.ok_or(Malformed("its header has no end"))?);
        }
        if body.is_some_and(|body| !body.is_empty()) {
            return Err(Malformed("it has a body"));
        }
        if verb == "O" {
            return Self::parse_open(session, fields);
        }
        if !matches!(verb, "X" | "K" | "BYE") {
            return Err(Malformed("a client says no such word"));
        }
        let cookie = fields.parse("a cookie has 32 hexadecimal digits")?;
        let packet = match verb {
            "X" => Self::TooLarge { session, cookie, number: fields.number(1)?, length: fields.number(0)? },
            "K" => Self::Noted { session, cookie, through: fields.number(0)? },
            _ => Self::Bye { session, cookie },
        };
        fields.nothing_more().map(|()| packet)
    }

    fn parse_open(session: SessionId, mut fields: Fields<'a>) -> Result<Self, Malformed> {
        let (first, next) = (fields.number(1)?, fields.number(1)?);
        if next < first {
            return Err(Malformed("the next number is below the first"));
        }
        let (mut attempt, mut cookie) = (None, None);
        let mut open = Open { session, first, next, level: None, replies: false, token: None, name: None };
        for value in fields.values() {
            let (name, value) = value?;
            match name {
                "try" => attempt = Some(text::number(value).ok_or(Malformed("`try` is a number"))?),
                "cookie" => cookie = Some(value.parse().map_err(|_| Malformed("`cookie` has 32 hexadecimal digits"))?),
                "ack" => open.level = Some(level(value)?),
                "token" => open.token = Some(text::unescape(value)?),
                "name" => open.name = Some(text::unescape(value)?),
                _ => {}
            }
        }
        Ok(Self::Open { open, attempt, cookie })
    }

    fn parse_message(session: SessionId, mut fields: Fields<'a>, body: &'a [u8]) -> Result<Self, Malformed> {
        let cookie = fields.parse("a cookie has 32 hexadecimal digits")?;
        let number = fields.number(1)?;
        let mut origin = None;
        for value in fields.values() {
            if let ("oid", value) = value? {
                const WRONG: Malformed = Malformed("`oid` is a session, a colon and a number");
                let (session, number) = value.split_once(':').ok_or(WRONG)?;
                let number = text::number(number).filter(|number| *number > 0).ok_or(WRONG)?;
                origin = Some((session.parse().map_err(|_| WRONG)?, number));
            }
        }
        Ok(Self::Message { session, cookie, number, origin, body })
    }

    /// Appends the packet as it goes into a datagram. An opening is filled up to [`OPEN_LENGTH`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut line = String::with_capacity(OPEN_LENGTH);
        let body = self.write(&mut line);
        out.extend_from_slice(GREETING);
        out.extend_from_slice(line.as_bytes());
        if let Some(body) = body {
            out.push(b'\n');
            out.extend_from_slice(body);
        }
    }

    /// Writes the header line after the greeting, and says what the body is, if it has one.
    fn write(&self, line: &mut String) -> Option<&[u8]> {
        // Writing to a string cannot fail.
        _ = match self {
            Self::Open { open, attempt, cookie } => return write_open(open, *attempt, *cookie, line),
            Self::Message { session, cookie, number, origin, body } => {
                _ = write!(line, "M {session} {cookie} {number}");
                if let Some((session, number)) = origin {
                    _ = write!(line, " oid={session}:{number}");
                }
                return Some(body);
            }
            Self::TooLarge { session, cookie, number, length } => {
                write!(line, "X {session} {cookie} {number} {length}")
            }
            Self::Noted { session, cookie, through } => write!(line, "K {session} {cookie} {through}"),
            Self::Bye { session, cookie } => write!(line, "BYE {session} {cookie}"),
        };
        None
    }
}

fn write_open(
    open: &Open<'_>,
    attempt: Option<u64>,
    cookie: Option<Cookie>,
    line: &mut String,
) -> Option<&'static [u8]> {
    let Open { session, first, next, level, token, name, .. } = open;
    _ = write!(line, "O {session} {first} {next}");
    if let Some(attempt) = attempt {
        _ = write!(line, " try={attempt}");
    }
    if let Some(cookie) = cookie {
        _ = write!(line, " cookie={cookie}");
    }
    if let Some(level) = level {
        _ = write!(line, " ack={}", level.name());
    }
    for (key, text) in [("token", token), ("name", name)] {
        if let Some(text) = text {
            let before = line.len();
            _ = write!(line, " {key}=");
            text::escape(text, line);
            // A server would not read the rest either.
            if line.len() > MAX_HEADER {
                line.truncate(before);
            }
        }
    }
    const PAD: &str = " pad=";
    if let Some(short) = OPEN_LENGTH.checked_sub(GREETING.len() + line.len()).filter(|short| *short > 0) {
        line.push_str(PAD);
        line.extend(std::iter::repeat_n('.', short.saturating_sub(PAD.len())));
    }
    None
}

/// A level by its name on the wire.
pub(super) fn level(name: &str) -> Result<Level, Malformed> {
    let known = Level::ALL.iter().find(|(_, known)| *known == name).map(|(level, _)| *level);
    known.ok_or(Malformed("`ack` is store, run or show"))
}

/// A text of its own.
pub(super) fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
