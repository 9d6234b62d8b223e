//! How packets are read.
//!
//! Apart from writing them: here is what anybody may have sent, and must not cost more than a look.

use std::time::Duration;

use super::fields::{Fields, split, unescape};
use super::{ClientPacket, Held, Malformed, ServerPacket};
use crate::wire::assured::fields::{number, origin};
use crate::wire::assured::{Again, GREETING, Level, Open, SessionId};

impl<'a> ClientPacket<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let line = packet.strip_prefix(GREETING).ok_or(Malformed("it does not begin with `WILCO/1 `"))?;
        let (line, body) = split(line)?;
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
                "try" => attempt = Some(number(value).ok_or(Malformed("`try` is a number"))?),
                "cookie" => cookie = Some(value.parse().map_err(|_| Malformed("`cookie` has 32 hexadecimal digits"))?),
                "ack" => open.level = Some(level(value)?),
                "token" => open.token = Some(unescape(value)?),
                "name" => open.name = Some(unescape(value)?),
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
                origin = Some(self::origin(value).ok_or(Malformed("`oid` is a session, a colon and a number"))?);
            }
        }
        Ok(Self::Message { session, cookie, number, origin, body })
    }
}

impl<'a> ServerPacket<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let line = packet.strip_prefix(GREETING).ok_or(Malformed("it does not begin with `WILCO/1 `"))?;
        let (line, body) = split(line)?;
        if body.is_some_and(|body| !body.is_empty()) {
            return Err(Malformed("it has a body"));
        }
        let mut fields = Fields::new(line);
        let verb = fields.next()?;
        let session = fields.parse("a session is named by 16 to 64 of the characters 0-9 and a-z")?;
        match verb {
            "C" => Self::parse_cookie(session, fields),
            "A" => Self::parse_acknowledged(session, fields),
            "N" => {
                let (number, code) = (fields.number(1)?, fields.code()?);
                Ok(Self::Refused { session, number, code, reason: fields.rest() })
            }
            "R" => {
                let (number, after) = (fields.number(1)?, Duration::from_millis(fields.number(0)?));
                Ok(Self::PutOff { session, number, after, code: fields.code()?, reason: fields.rest() })
            }
            "E" => {
                let attempt = match fields.next()? {
                    "-" => None,
                    digits => Some(number(digits).ok_or(Malformed("an attempt is a number"))?),
                };
                let code = fields.code()?;
                let again = match fields.next()? {
                    "never" => Again::Never,
                    digits => {
                        let after = number(digits).ok_or(Malformed("it says `never` or so many milliseconds"))?;
                        Again::After(Duration::from_millis(after))
                    }
                };
                Ok(Self::Error { session, attempt, code, again, reason: fields.rest() })
            }
            _ => Err(Malformed("a server says no such word")),
        }
    }

    fn parse_cookie(session: SessionId, mut fields: Fields<'a>) -> Result<Self, Malformed> {
        let cookie = fields.parse("a cookie has 32 hexadecimal digits")?;
        let acknowledged = match fields.next()? {
            "-" => None,
            digits => Some(number(digits).ok_or(Malformed("a number is none"))?),
        };
        let checksum = match fields.next()? {
            "-" => None,
            digits => Some(checksum(digits).ok_or(Malformed("a checksum has 8 hexadecimal digits"))?),
        };
        let window = u32::try_from(fields.number(0)?).map_err(|_| Malformed("a window has 32 bits"))?;
        let max_body = fields.number(0)?;
        let (mut attempt, mut granted, mut server) = (None, None, None);
        for value in fields.values() {
            match value? {
                ("try", value) => attempt = Some(number(value).ok_or(Malformed("`try` is a number"))?),
                ("ack", value) => granted = Some(level(value)?),
                ("srv", value) => server = Some(unescape(value)?),
                _ => {}
            }
        }
        Ok(match acknowledged {
            None => Self::Challenge { session, cookie, attempt, window, max_body },
            Some(acknowledged) => {
                let level = granted;
                Self::Granted { session, cookie, attempt, acknowledged, checksum, window, max_body, level, server }
            }
        })
    }

    fn parse_acknowledged(session: SessionId, mut fields: Fields<'a>) -> Result<Self, Malformed> {
        let through = fields.number(0)?;
        let mut ahead = fields;
        let held = match ahead.optional()? {
            Some(digits) if !digits.contains('=') => {
                fields = ahead;
                held(digits).ok_or(Malformed("what is held is said in 1 to 16 hexadecimal digits"))?
            }
            _ => Held::default(),
        };
        fields.nothing_more().map(|()| Self::Acknowledged { session, through, held })
    }
}

/// A level by its name on the wire.
fn level(name: &str) -> Result<Level, Malformed> {
    Level::of_name(name).ok_or(Malformed("`ack` is store, run or show"))
}

fn is_hexadecimal(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn checksum(digits: &str) -> Option<u32> {
    (digits.len() == 8 && is_hexadecimal(digits)).then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

fn held(digits: &str) -> Option<Held> {
    if !(1..=16).contains(&digits.len()) || !is_hexadecimal(digits) {
        return None;
    }
    let bits = u64::from_str_radix(digits, 16).ok()?;
    Some(Held(bits << (4 * (16 - digits.len()))))
}
