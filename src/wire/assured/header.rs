//! `Header`: a header line as the frame that it is or begins.
//!
//! Apart from the decoder, which finds the lines and the bodies: here is what each frame consists of.

use std::borrow::Cow;
use std::time::Duration;

use super::fields::{self, Fields, Flaw, milliseconds, number, of_message, optional, required, unescaped};
use super::{Again, ClientFrame, FrameError, GREETING, Grant, Level, Open, ServerFrame, SessionId};

/// What a header line says.
pub(super) enum Header<F> {
    /// A frame without a body.
    Whole(F),
    /// A body follows.
    Body(Body),
}

/// What is said of a body before it comes.
#[derive(Clone, Debug)]
pub(super) struct Body {
    /// The number of the message, or that of which it is the reply.
    pub(super) number: u64,
    /// How long it is.
    pub(super) length: Length,
    /// Where it comes from, if that is said.
    pub(super) origin: Option<(SessionId, u64)>,
}

/// How long a body is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// So many bytes, and then the end of a line.
    Bytes(u64),
    /// It is the next line.
    Line,
}

/// The frames of one side, as the decoder makes them.
pub(super) trait Frame<'a>: Sized {
    /// The letter of the only frame with a body.
    const WITH_BODY: u8;

    /// The frame of a header line, which is text without control characters.
    fn of_line(line: &'a str) -> Result<Header<Self>, FrameError>;

    /// The frame with a body.
    fn with_body(number: u64, origin: Option<(SessionId, u64)>, body: &'a [u8]) -> Self;

    /// What stands for a frame whose body is too long.
    fn too_large(number: u64, length: u64) -> Result<Self, FrameError>;
}

impl<'a> Frame<'a> for ClientFrame<'a> {
    const WITH_BODY: u8 = b'M';

    fn of_line(line: &'a str) -> Result<Header<Self>, FrameError> {
        let mut fields = Fields::of(line);
        let (form, read) = match fields.next().unwrap_or_default() {
            "M" => return message(fields).map(Header::Body).map_err(wrong("M NUMBER LENGTH|- [oid=SESSION:NUMBER]")),
            "K" => ("K NUMBER", only(fields, Fields::number).map(Self::Noted)),
            "PING" => ("PING TOKEN", token(fields).map(Self::Ping)),
            "PONG" => ("PONG TOKEN", token(fields).map(Self::Pong)),
            "BYE" => ("BYE", fields.end().map(|()| Self::Bye)),
            "WILCO/1" if fields.next() == Some("OPEN") => (
                "WILCO/1 OPEN sid=SESSION first=NUMBER next=NUMBER [ack=store|run|show] [reply=1] [token=..] [name=..]",
                open(fields).map(Self::Open),
            ),
            _ => {
                return Err(FrameError::bad("no such frame; a client sends WILCO/1 OPEN, M, K, PING, PONG and BYE"));
            }
        };
        read.map(Header::Whole).map_err(wrong(form))
    }

    fn with_body(number: u64, origin: Option<(SessionId, u64)>, body: &'a [u8]) -> Self {
        Self::Message { number, origin, body }
    }

    fn too_large(number: u64, length: u64) -> Result<Self, FrameError> {
        Ok(Self::TooLarge { number, length })
    }
}

impl<'a> Frame<'a> for ServerFrame<'a> {
    const WITH_BODY: u8 = b'D';

    fn of_line(line: &'a str) -> Result<Header<Self>, FrameError> {
        let mut fields = Fields::of(line);
        let (form, read) = match fields.next().unwrap_or_default() {
            "A" => ("A NUMBER", only(fields, Fields::number).map(Self::Acknowledged)),
            "D" => return reply(fields).map(Header::Body).map_err(wrong("D NUMBER LENGTH")),
            "N" => ("N NUMBER CODE TEXT", refused(fields)),
            "R" => ("R NUMBER MILLISECONDS CODE TEXT", put_off(fields)),
            "W" => ("W MESSAGES BYTES", window(fields)),
            "PING" => ("PING TOKEN", token(fields).map(Self::Ping)),
            "PONG" => ("PONG TOKEN", token(fields).map(Self::Pong)),
            "BYE" => ("BYE NUMBER [drain]", bye(fields)),
            "E" => ("E CODE never|MILLISECONDS TEXT", error(fields)),
            "WILCO/1" if fields.next() == Some("OK") => (
                "WILCO/1 OK acked=NUMBER crc=8HEX|- win=MESSAGES winb=BYTES max=BYTES idle=SECONDS ack=LEVEL srv=NAME",
                grant(fields).map(Self::Granted),
            ),
            _ => {
                return Err(FrameError::bad(
                    "no such frame; a server sends WILCO/1 OK, A, N, R, D, W, PING, PONG, BYE and E",
                ));
            }
        };
        read.map(Header::Whole).map_err(wrong(form))
    }

    fn with_body(number: u64, _: Option<(SessionId, u64)>, body: &'a [u8]) -> Self {
        Self::Reply { number, body: body.into() }
    }

    fn too_large(number: u64, length: u64) -> Result<Self, FrameError> {
        let reason = format!("the reply to message {number} is too long: {length} bytes").into();
        Err(FrameError { code: super::Code::TOO_LARGE, reason })
    }
}

/// The complaint of a line that greets in another version of the protocol. It needs no more of the line than that.
pub(super) fn other_version(line: &[u8]) -> Option<FrameError> {
    let (name, version) = GREETING.split_at(GREETING.len() - 2);
    let rest = line.strip_prefix(name)?;
    let field = rest.split(|byte| *byte == b' ').next()?;
    let is_number = !field.is_empty() && field.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let reason = "this side speaks WILCO/1 and no other version";
    (is_number && field != version.trim_ascii())
        .then(|| FrameError { code: super::Code::VERSION, reason: reason.into() })
}

/// Makes a complaint of a flaw, with the form that the frame has.
fn wrong(form: &'static str) -> impl FnOnce(Flaw) -> FrameError {
    move |flaw| FrameError::bad(format!("{flaw}; a frame is written {form}"))
}

fn only<'a, T>(mut fields: Fields<'a>, read: fn(&mut Fields<'a>) -> Result<T, Flaw>) -> Result<T, Flaw> {
    let value = read(&mut fields)?;
    fields.end().map(|()| value)
}

/// The token of a ping, which is sent back as it is and so has no escapes.
fn token(mut fields: Fields<'_>) -> Result<Cow<'_, str>, Flaw> {
    let token = fields.next().filter(|token| !token.is_empty()).ok_or("a token is missing")?;
    fields.end().map(|()| token.into())
}

fn message(mut fields: Fields<'_>) -> Result<Body, Flaw> {
    let number = fields.message_number()?;
    let length = match fields.next() {
        Some("-") => Length::Line,
        field => Length::Bytes(field.and_then(self::number).ok_or("the length is neither a number nor -")?),
    };
    let [origin] = fields.keys(["oid"])?;
    Ok(Body { number, length, origin: optional("oid", origin, fields::origin)? })
}

fn open(fields: Fields<'_>) -> Result<Open<'_>, Flaw> {
    let [session, first, next, level, replies, token, name] =
        fields.keys(["sid", "first", "next", "ack", "reply", "token", "name"])?;
    let open = Open {
        session: required("sid", session, |value| value.parse().ok())?,
        first: required("first", first, number).and_then(of_message)?,
        next: required("next", next, number)?,
        level: optional("ack", level, Level::of_name)?,
        replies: optional("reply", replies, |value| (value == "1").then_some(true))?.unwrap_or_default(),
        token: optional("token", token, unescaped)?,
        name: optional("name", name, unescaped)?,
    };
    match open.first <= open.next {
        true => Ok(open),
        false => Err("next= is below first=".into()),
    }
}

fn grant(fields: Fields<'_>) -> Result<Grant<'_>, Flaw> {
    let [acknowledged, checksum, last, window, window_bytes, max_body, idle, level, server] =
        fields.keys(["acked", "crc", "last", "win", "winb", "max", "idle", "ack", "srv"])?;
    Ok(Grant {
        acknowledged: required("acked", acknowledged, number)?,
        checksum: required("crc", checksum, self::checksum)?,
        last: optional("last", last, self::last)?,
        window: required("win", window, number).map(messages)?,
        window_bytes: required("winb", window_bytes, number)?,
        max_body: required("max", max_body, number)?,
        idle: required("idle", idle, number).map(Duration::from_secs)?,
        level: required("ack", level, Level::of_name)?,
        server: required("srv", server, unescaped)?,
    })
}

/// A count of messages: more than fit are as many as fit.
fn messages(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn last(value: &str) -> Option<(u64, u32)> {
    let (number, checksum) = value.split_once(':')?;
    Some((self::number(number).filter(|number| *number > 0)?, self::checksum(checksum)??))
}

fn checksum(value: &str) -> Option<Option<u32>> {
    match value {
        "-" => Some(None),
        digits if digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u32::from_str_radix(digits, 16).ok().map(Some)
        }
        _ => None,
    }
}

fn reply(mut fields: Fields<'_>) -> Result<Body, Flaw> {
    let (number, length) = (fields.message_number()?, Length::Bytes(fields.number()?));
    fields.end().map(|()| Body { number, length, origin: None })
}

fn refused(mut fields: Fields<'_>) -> Result<ServerFrame<'_>, Flaw> {
    let (number, code) = (fields.message_number()?, fields.code()?);
    Ok(ServerFrame::Refused { number, code, reason: fields.text() })
}

fn put_off(mut fields: Fields<'_>) -> Result<ServerFrame<'_>, Flaw> {
    let (number, after) = (fields.message_number()?, fields.number().map(Duration::from_millis)?);
    Ok(ServerFrame::PutOff { number, after, code: fields.code()?, reason: fields.text() })
}

fn window(mut fields: Fields<'_>) -> Result<ServerFrame<'_>, Flaw> {
    let (messages, bytes) = (fields.number().map(messages)?, fields.number()?);
    fields.end().map(|()| ServerFrame::Window { messages, bytes })
}

fn bye(mut fields: Fields<'_>) -> Result<ServerFrame<'_>, Flaw> {
    let acknowledged = fields.number()?;
    let drain = fields.has_word("drain");
    fields.end().map(|()| ServerFrame::Bye { acknowledged, drain })
}

fn error(mut fields: Fields<'_>) -> Result<ServerFrame<'_>, Flaw> {
    let code = fields.code()?;
    let again = match fields.next() {
        Some("never") => Again::Never,
        field => {
            field.and_then(milliseconds).map(Again::After).ok_or("neither `never` nor a number of milliseconds")?
        }
    };
    Ok(ServerFrame::Error { code, again, reason: fields.text() })
}
