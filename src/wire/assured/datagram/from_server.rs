//! The packets of a server as text.
//!
//! Apart from those of a client: here a client reads, and a server sees to it that an answer is not longer than it may be.

use std::fmt::Write as _;
use std::time::Duration;

use super::from_client::{level, owned};
use super::text::{self, Fields};
use super::{Held, Malformed, ServerPacket};
use crate::wire::assured::{Again, GREETING, MAX_HEADER, SessionId};

impl<'a> ServerPacket<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let line = packet.strip_prefix(GREETING).ok_or(Malformed("it does not begin with `WILCO/1 `"))?;
        let (line, body) = text::split(line)?;
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
                    digits => Some(text::number(digits).ok_or(Malformed("an attempt is a number"))?),
                };
                let code = fields.code()?;
                let again = match fields.next()? {
                    "never" => Again::Never,
                    digits => {
                        let after = text::number(digits).ok_or(Malformed("it says `never` or so many milliseconds"))?;
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
            digits => Some(text::number(digits).ok_or(Malformed("a number is none"))?),
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
                ("try", value) => attempt = Some(text::number(value).ok_or(Malformed("`try` is a number"))?),
                ("ack", value) => granted = Some(level(value)?),
                ("srv", value) => server = Some(text::unescape(value)?),
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

    /// Appends the packet as it goes into a datagram.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_within(GREETING.len() + MAX_HEADER, out);
    }

    /// Appends the packet in at most so many bytes: what is for people is cut or left out. False if there is no room for the rest, and nothing is appended.
    pub fn encode_within(&self, limit: usize, out: &mut Vec<u8>) -> bool {
        let Some(limit) = limit.checked_sub(GREETING.len()) else { return false };
        let mut line = String::with_capacity(128);
        self.write(limit, &mut line);
        let fits = line.len() <= limit;
        if fits {
            out.extend_from_slice(GREETING);
            out.extend_from_slice(line.as_bytes());
        }
        fits
    }

    /// Writes the line after the greeting.
    fn write(&self, limit: usize, line: &mut String) {
        // Writing to a string cannot fail.
        let reason = match self {
            Self::Challenge { session, cookie, attempt, window, max_body } => {
                _ = write!(line, "C {session} {cookie} - - {window} {max_body}");
                return write_attempt(*attempt, line);
            }
            Self::Granted { .. } => return self.write_granted(limit, line),
            Self::Acknowledged { session, through, held } => {
                _ = write!(line, "A {session} {through}");
                if held.0 != 0 {
                    let digits = format!("{:016x}", held.0);
                    _ = write!(line, " {}", digits.trim_end_matches('0'));
                }
                return;
            }
            Self::Refused { session, number, code, reason } => {
                _ = write!(line, "N {session} {number} {code}");
                reason
            }
            Self::PutOff { session, number, after, code, reason } => {
                _ = write!(line, "R {session} {number} {} {code}", milliseconds(*after));
                reason
            }
            Self::Error { session, attempt, code, again, reason } => {
                match attempt {
                    Some(attempt) => _ = write!(line, "E {session} {attempt} {code} "),
                    None => _ = write!(line, "E {session} - {code} "),
                }
                match again {
                    Again::Never => line.push_str("never"),
                    Again::After(after) => _ = write!(line, "{}", milliseconds(*after)),
                }
                reason
            }
        };
        // After the last field a space begins the text, even where that is empty or begins with a space itself.
        if let Some(room) = limit.checked_sub(line.len() + 1).filter(|_| !reason.is_empty()) {
            line.push(' ');
            text::push_reason(reason, room, line);
        }
    }

    fn write_granted(&self, limit: usize, line: &mut String) {
        let Self::Granted { session, cookie, attempt, acknowledged, checksum, window, max_body, level, server } = self
        else {
            return;
        };
        _ = write!(line, "C {session} {cookie} {acknowledged} ");
        match checksum {
            Some(checksum) => _ = write!(line, "{checksum:08x}"),
            None => line.push('-'),
        }
        _ = write!(line, " {window} {max_body}");
        write_attempt(*attempt, line);
        if let Some(level) = level.filter(|level| line.len() + " ack=".len() + level.name().len() <= limit) {
            _ = write!(line, " ack={}", level.name());
        }
        if let Some(server) = server {
            let before = line.len();
            line.push_str(" srv=");
            text::escape(server, line);
            if line.len() > limit {
                line.truncate(before);
            }
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

fn write_attempt(attempt: Option<u64>, line: &mut String) {
    if let Some(attempt) = attempt {
        _ = write!(line, " try={attempt}");
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(crate::wire::assured::MAX_NUMBER)
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
