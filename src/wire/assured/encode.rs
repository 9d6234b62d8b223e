//! How frames are written.
//!
//! Apart from reading them. What is written is always one frame that the other side can read, whatever the values are: texts become one line, and
//! are cut where the header would be too long.

use std::time::Duration;

use super::{Again, ClientFrame, Code, Grant, MAX_HEADER, MAX_NUMBER, Open, Run, Series, ServerFrame};
use crate::wire::Span;

impl ClientFrame<'_> {
    /// Appends the frame as it goes on a stream or into a packet. [`ClientFrame::TooLarge`], which only a reader makes, is nothing.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open(open) => encode_open(open, out),
            Self::Message { number, origin, body } => {
                number_frame(b"M ", *number, out);
                number_frame(b" ", body.len() as u64, out);
                if let Some((session, number)) = origin {
                    out.extend_from_slice(b" oid=");
                    out.extend_from_slice(session.as_str().as_bytes());
                    number_frame(b":", *number, out);
                }
                encode_body(body, out);
            }
            Self::TooLarge { .. } => {}
            Self::Noted(number) => {
                number_frame(b"K ", *number, out);
                out.push(b'\n');
            }
            Self::Ping(token) => encode_token("PING ", token, out),
            Self::Pong(token) => encode_token("PONG ", token, out),
            Self::Bye => out.extend_from_slice(b"BYE\n"),
        }
    }
}

impl Series<'_> {
    /// Appends the frames of all its messages as they go on a stream.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_series(b"M ", self.first, self.bytes, self.spans, out);
    }
}

impl Run {
    /// Appends the frames of replies, to the messages of its numbers, as they go on a stream.
    pub fn encode_replies(&self, out: &mut Vec<u8>) {
        encode_series(b"D ", self.first, &self.bytes, &self.spans, out);
    }
}

impl ServerFrame<'_> {
    /// Appends the frame as it goes on a stream or into a packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            Self::Granted(grant) => return encode_grant(grant, out),
            Self::Acknowledged(number) => number_frame(b"A ", *number, out),
            Self::Refused { number, code, reason } => {
                number_frame(b"N ", *number, out);
                encode_reason(*code, None, reason, start, out);
            }
            Self::PutOff { number, after, code, reason } => {
                number_frame(b"R ", *number, out);
                number_frame(b" ", milliseconds(*after), out);
                encode_reason(*code, None, reason, start, out);
            }
            Self::Reply { number, body } => {
                number_frame(b"D ", *number, out);
                number_frame(b" ", body.len() as u64, out);
                return encode_body(body, out);
            }
            Self::Window { messages, bytes } => {
                number_frame(b"W ", u64::from(*messages), out);
                number_frame(b" ", *bytes, out);
            }
            Self::Ping(token) => return encode_token("PING ", token, out),
            Self::Pong(token) => return encode_token("PONG ", token, out),
            Self::Bye { acknowledged, drain } => {
                number_frame(b"BYE ", *acknowledged, out);
                out.extend_from_slice(if *drain { b" drain" } else { b"" });
            }
            Self::Error { code, again, reason } => {
                out.push(b'E');
                encode_reason(*code, Some(*again), reason, start, out);
            }
        }
        out.push(b'\n');
    }
}

fn encode_open(open: &Open<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(b"WILCO/1 OPEN sid=");
    out.extend_from_slice(open.session.as_str().as_bytes());
    number_frame(b" first=", open.first, out);
    number_frame(b" next=", open.next, out);
    if let Some(level) = open.level {
        out.extend_from_slice(b" ack=");
        out.extend_from_slice(level.name().as_bytes());
    }
    if open.replies {
        out.extend_from_slice(b" reply=1");
    }
    // Before the name, which may better be cut.
    for (key, value) in [(" token=", &open.token), (" name=", &open.name)] {
        if let Some(value) = value
            && out.len() - start + key.len() <= MAX_HEADER
        {
            out.extend_from_slice(key.as_bytes());
            escape(value, start, out);
        }
    }
    out.push(b'\n');
}

fn encode_grant(grant: &Grant<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    number_frame(b"WILCO/1 OK acked=", grant.acknowledged, out);
    out.extend_from_slice(b" crc=");
    match grant.checksum {
        Some(checksum) => encode_checksum(checksum, out),
        None => out.push(b'-'),
    }
    if let Some((number, checksum)) = grant.last {
        number_frame(b" last=", number, out);
        out.push(b':');
        encode_checksum(checksum, out);
    }
    number_frame(b" win=", u64::from(grant.window), out);
    number_frame(b" winb=", grant.window_bytes, out);
    number_frame(b" max=", grant.max_body, out);
    // Less than a second is told as one: a client that believes in more than it has is late with its ping.
    let idle = grant.idle.as_secs().max(u64::from(!grant.idle.is_zero()));
    number_frame(b" idle=", idle, out);
    out.extend_from_slice(b" ack=");
    out.extend_from_slice(grant.level.name().as_bytes());
    out.extend_from_slice(b" srv=");
    escape(&grant.server, start, out);
    out.push(b'\n');
}

fn encode_checksum(checksum: u32, out: &mut Vec<u8>) {
    let digit = |place: u32| b"0123456789abcdef"[usize::try_from(checksum >> (4 * place) & 15).unwrap_or(0)];
    out.extend((0..8).rev().map(digit));
}

/// A verb or a key, and a number.
fn number_frame(before: &[u8], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    out.extend_from_slice(Decimal::of(number).digits());
}

/// Frames with a body that have this verb, and numbers that follow each other.
fn encode_series(verb: &[u8], first: u64, bytes: &[u8], spans: &[Span], out: &mut Vec<u8>) {
    /// About what a header takes, and the ends of lines.
    const HEADER: usize = 16;
    out.reserve(spans.iter().map(|span| HEADER + span.end - span.start).sum());
    let (mut number, mut length) = (Decimal::of(first), Decimal::of(0));
    for body in spans.iter().map(|span| span.of(bytes)) {
        if length.value != body.len() as u64 {
            length = Decimal::of(body.len() as u64);
        }
        out.extend_from_slice(verb);
        out.extend_from_slice(number.digits());
        out.push(b' ');
        out.extend_from_slice(length.digits());
        encode_body(body, out);
        number.increment();
    }
}

/// A number as it is written. Those that the protocol does not have are the highest.
struct Decimal {
    value: u64,
    digits: [u8; 20],
    /// Where they begin.
    at: usize,
}

impl Decimal {
    fn of(number: u64) -> Self {
        let value = number.min(MAX_NUMBER);
        let (mut digits, mut at, mut left) = ([b'0'; 20], 20, value);
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                return Self { value, digits, at };
            }
        }
    }

    /// Makes it the next number.
    fn increment(&mut self) {
        match self.digits.last_mut() {
            Some(last) if *last < b'9' && self.value < MAX_NUMBER => {
                *last += 1;
                self.value += 1;
            }
            _ => *self = Self::of(self.value + 1),
        }
    }

    fn digits(&self) -> &[u8] {
        &self.digits[self.at..]
    }
}

fn encode_body(body: &[u8], out: &mut Vec<u8>) {
    out.reserve(body.len() + 2);
    out.push(b'\n');
    out.extend_from_slice(body);
    out.push(b'\n');
}

/// A code, when to try again where that belongs to the frame, and a text as one line.
fn encode_reason(code: Code, again: Option<Again>, reason: &str, start: usize, out: &mut Vec<u8>) {
    let code = code.0.min(999);
    out.push(b' ');
    out.extend([code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8));
    match again {
        Some(Again::Never) => out.extend_from_slice(b" never"),
        Some(Again::After(time)) => number_frame(b" ", milliseconds(time), out),
        None => {}
    }
    if !reason.is_empty() {
        out.push(b' ');
        append(reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }), start, out);
    }
}

/// A token as one field: what is none becomes `_`.
fn encode_token(verb: &str, token: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(verb.as_bytes());
    let letters = if token.is_empty() { "_" } else { token }.chars();
    append(letters.map(|letter| if letter.is_control() || letter == ' ' { '_' } else { letter }), start, out);
    out.push(b'\n');
}

/// A time in milliseconds, not less than it is.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(MAX_NUMBER)
}

/// A value as one field: spaces, control characters and `%` as `%XX`. It is cut where the header that began at `start` has no more room.
fn escape(value: &str, start: usize, out: &mut Vec<u8>) {
    for letter in value.chars() {
        let (mut utf8, mut escaped) = ([0; 4], [0; 12]);
        let plain = letter.encode_utf8(&mut utf8).as_bytes();
        let bytes = match letter == ' ' || letter == '%' || letter.is_control() {
            false => plain,
            true => {
                for (byte, place) in plain.iter().zip(escaped.chunks_exact_mut(3)) {
                    let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
                    place.copy_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
                }
                &escaped[..3 * plain.len()]
            }
        };
        if !has_room(bytes.len(), start, out) {
            return;
        }
        out.extend_from_slice(bytes);
    }
}

/// As many of the characters as the header has room for that began at `start`.
fn append(letters: impl Iterator<Item = char>, start: usize, out: &mut Vec<u8>) {
    for letter in letters {
        if !has_room(letter.len_utf8(), start, out) {
            return;
        }
        out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn has_room(length: usize, start: usize, out: &[u8]) -> bool {
    out.len() - start + length <= MAX_HEADER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(frame: &ServerFrame<'_>) -> String {
        let mut out = Vec::new();
        frame.encode(&mut out);
        String::from_utf8(out).expect("text")
    }

    fn client(frame: &ClientFrame<'_>) -> String {
        let mut out = Vec::new();
        frame.encode(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn frames_are_written_as_the_protocol_says() {
        let session: super::super::SessionId = "0123456789abcdef".parse().expect("a session");
        let open = Open {
            session: session.clone(),
            first: 1,
            next: MAX_NUMBER,
            level: Some(super::super::Level::Stored),
            replies: true,
            token: Some("a b".into()),
            name: Some("100%\n\u{eb}".into()),
        };
        let rows = [
            (
                ClientFrame::Open(open.clone()),
                "WILCO/1 OPEN sid=0123456789abcdef first=1 next=9223372036854775807 ack=store reply=1 token=a%20b name=100%25%0A\u{eb}\n",
            ),
            (
                ClientFrame::Open(Open { level: None, replies: false, token: None, name: None, ..open }),
                "WILCO/1 OPEN sid=0123456789abcdef first=1 next=9223372036854775807\n",
            ),
            (ClientFrame::Message { number: 10, origin: None, body: b"" }, "M 10 0\n\n"),
            (
                ClientFrame::Message { number: 2, origin: Some((session, 1)), body: b"a\nb" },
                "M 2 3 oid=0123456789abcdef:1\na\nb\n",
            ),
            (ClientFrame::TooLarge { number: 1, length: 2 }, ""),
            (ClientFrame::Noted(0), "K 0\n"),
            (ClientFrame::Ping("a b\n".into()), "PING a_b_\n"),
            (ClientFrame::Pong("".into()), "PONG _\n"),
            (ClientFrame::Bye, "BYE\n"),
        ];
        for (frame, text) in rows {
            assert_eq!(client(&frame), text);
        }
        let grant = Grant {
            acknowledged: 7,
            checksum: Some(0x00c0_ffee),
            last: None,
            window: 1024,
            window_bytes: u64::MAX,
            max_body: 0,
            idle: Duration::from_millis(1),
            level: super::super::Level::Shown,
            server: "alpha".into(),
        };
        let second = grant.clone();
        let (code, after) = (Code::DISK_FULL, Duration::from_micros(1500));
        let rows = [
            (
                ServerFrame::Granted(grant.clone()),
                "WILCO/1 OK acked=7 crc=00c0ffee win=1024 winb=9223372036854775807 max=0 idle=1 ack=show srv=alpha\n",
            ),
            (
                ServerFrame::Granted(Grant { checksum: None, idle: Duration::ZERO, server: "".into(), ..grant }),
                "WILCO/1 OK acked=7 crc=- win=1024 winb=9223372036854775807 max=0 idle=0 ack=show srv=\n",
            ),
            (
                ServerFrame::Granted(Grant { checksum: None, last: Some((9, 0xe)), window_bytes: 1, ..second }),
                "WILCO/1 OK acked=7 crc=- last=9:0000000e win=1024 winb=1 max=0 idle=1 ack=show srv=alpha\n",
            ),
            (ServerFrame::Acknowledged(123), "A 123\n"),
            (ServerFrame::Refused { number: 5, code: Code(7), reason: "no\r\nmore".into() }, "N 5 007 no  more\n"),
            (ServerFrame::PutOff { number: 5, after, code, reason: "".into() }, "R 5 2 507\n"),
            (ServerFrame::Reply { number: 5, body: b"x"[..].into() }, "D 5 1\nx\n"),
            (ServerFrame::Window { messages: 0, bytes: 0 }, "W 0 0\n"),
            (ServerFrame::Bye { acknowledged: 3, drain: false }, "BYE 3\n"),
            (ServerFrame::Bye { acknowledged: 3, drain: true }, "BYE 3 drain\n"),
            (ServerFrame::Error { code, again: Again::Never, reason: "full".into() }, "E 507 never full\n"),
            (ServerFrame::Error { code, again: Again::After(after), reason: "full".into() }, "E 507 2 full\n"),
        ];
        for (frame, text) in rows {
            assert_eq!(server(&frame), text);
        }
    }

    #[test]
    fn no_header_is_too_long() {
        for letter in ["a", " ", "\u{eb}", "\u{85}", "\u{1f600}"] {
            let long = letter.repeat(3000);
            let open = Open {
                session: "z".repeat(64).parse().expect("a session"),
                first: 1,
                next: 1,
                level: None,
                replies: false,
                token: Some(long.as_str().into()),
                name: Some(long.as_str().into()),
            };
            let error = ServerFrame::Error { code: Code::BAD_FRAME, again: Again::Never, reason: long.as_str().into() };
            for text in
                [client(&ClientFrame::Open(open)), client(&ClientFrame::Ping(long.as_str().into())), server(&error)]
            {
                assert!((MAX_HEADER - 12..=MAX_HEADER + 1).contains(&text.len()), "{letter:?}: {}", text.len());
            }
        }
    }
}
