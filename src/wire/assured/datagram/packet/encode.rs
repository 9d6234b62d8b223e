//! How packets are written.
//!
//! Apart from reading them: here a server sees to it that an answer is not longer than it may be.

use std::fmt::Write as _;
use std::time::Duration;

use super::{ClientPacket, ServerPacket};
use crate::wire::assured::datagram::{Cookie, OPEN_LENGTH};
use crate::wire::assured::{Again, GREETING, MAX_HEADER, MAX_NUMBER, Open};
use crate::wire::is_harmless;

impl ClientPacket<'_> {
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

impl ServerPacket<'_> {
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
            push_reason(reason, room, line);
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
            escape(server, line);
            if line.len() > limit {
                line.truncate(before);
            }
        }
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
    write_attempt(attempt, line);
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
            escape(text, line);
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

fn write_attempt(attempt: Option<u64>, line: &mut String) {
    if let Some(attempt) = attempt {
        _ = write!(line, " try={attempt}");
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(MAX_NUMBER)
}

/// Writes a text as the value of a name: what would end it, or is no letter, as `%` and two digits for each byte.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        if letter == '%' || letter.is_whitespace() || !is_harmless(letter) {
            for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string cannot fail.
                _ = write!(out, "%{byte:02x}");
            }
        } else {
            out.push(letter);
        }
    }
}

/// Appends as much of a text for people as has room in so many bytes: what is no letter as a space.
fn push_reason(text: &str, room: usize, out: &mut String) {
    let end = out.len() + room;
    for letter in text.chars().map(|letter| if is_harmless(letter) { letter } else { ' ' }) {
        if out.len() + letter.len_utf8() > end {
            break;
        }
        out.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::unescape;
    use super::*;

    #[test]
    fn a_value_may_be_any_text() {
        for (text, written) in [
            ("plain", "plain"),
            ("", ""),
            ("é=1", "é=1"),
            ("a b%\n\u{202e}", "a%20b%25%0a%e2%80%ae"),
            ("\u{a0}", "%c2%a0"),
        ] {
            let mut out = String::new();
            escape(text, &mut out);
            assert_eq!(out, written);
            assert_eq!(unescape(&out).as_deref(), Ok(text));
        }
        for bad in ["%", "%1", "%g0", "%ff", "a%2"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }
}
