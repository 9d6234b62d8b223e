//! `FrameDecoder`: the frames in a stream that is given piece by piece.
//!
//! Apart from the framings of plain messages: these have a header, a limit for each part, and bodies that are passed over without being kept.

mod plain;

use memchr::memchr;

use super::header::{Body, Frame, Header, Length, other_version};
use super::receiver::Allowance;
use super::{ClientFrame, FrameError, MAX_HEADER, Run, ServerFrame};
use crate::wire::MAX_LINE;
use plain::plain;

/// For so many bytes of messages that follow each other there is room at once: about what is read at once.
const SERIES: usize = 64 * 1024;

/// Finds the frames in a stream that is given piece by piece: those of a client or those of a server.
///
/// The caller keeps a buffer, adds what it reads to its end, and asks for the frame at its front. It is told how many bytes at the front are done
/// with, which the next call must not get again, and the frame, if it is complete. Ask until there is none: then more has to
/// be read, so that the buffer holds what the decoder [needs](Self::needs). It allocates nothing for a body.
#[derive(Clone, Debug)]
pub struct FrameDecoder {
    max_body: u64,
    state: State,
    /// Bytes at the front of the buffer that have been looked through without finding the end of the line.
    searched: usize,
}

/// What the front of the buffer is.
#[derive(Clone, Debug)]
enum State {
    /// A header line.
    Header,
    /// A body, whose header has been read.
    Body(Body),
    /// What is left of a body that is passed over.
    Skip(u64),
    /// What is left of a line that is passed over.
    SkipLine,
    /// The end of the line after a body that was passed over.
    End,
}

/// What a call gives: how many bytes are done with, and a frame.
type Decoded<F> = Result<(usize, Option<F>), FrameError>;

impl FrameDecoder {
    /// A decoder at the beginning of a connection. Longer bodies than `max_body` bytes are passed over.
    pub fn new(max_body: u64) -> Self {
        Self { max_body, state: State::Header, searched: 0 }
    }

    /// The client's frame at the front of the buffer, and how many bytes are done with, be there a frame or none.
    ///
    /// A body that is too long gives [`ClientFrame::TooLarge`] as soon as its length is known, and is passed over by the calls that follow. Where it is a
    /// line, that is when it is longer than the limit, and the length is then one more than that.
    ///
    /// # Errors
    /// It is no frame: the same error whatever the pieces in which it came.
    pub fn client_frame<'a>(&mut self, buffer: &'a [u8]) -> Result<(usize, Option<ClientFrame<'a>>), FrameError> {
        self.frame(buffer)
    }

    /// The messages at the front of the buffer that have the numbers from `first` on, as far as they are allowed, and how many bytes are done with.
    ///
    /// It is what [`client_frame`](Self::client_frame), asked again and again, finds of them, all at once. They end before the first frame that is something else, is not
    /// whole or is written in another way than most are: that is to be asked for. There may be none.
    pub fn messages(&mut self, first: u64, allowed: Allowance, buffer: &[u8]) -> (usize, Run) {
        self.series(ClientFrame::WITH_BODY, Some(first), allowed, buffer)
    }

    /// The replies at the front of the buffer whose numbers follow each other, and how many bytes are done with: to [`server_frame`](Self::server_frame) what
    /// [`messages`](Self::messages) is to a client's.
    pub fn replies(&mut self, buffer: &[u8]) -> (usize, Run) {
        self.series(ServerFrame::WITH_BODY, None, Allowance::ALL, buffer)
    }

    /// The server's frame at the front of the buffer, and how many bytes are done with, be there a frame or none.
    ///
    /// # Errors
    /// It is no frame, or a reply that is too long.
    pub fn server_frame<'a>(&mut self, buffer: &'a [u8]) -> Result<(usize, Option<ServerFrame<'a>>), FrameError> {
        self.frame(buffer)
    }

    /// How many bytes the buffer must have at least before another call can find anything, those that are done with not
    /// counted. Never more than the longest body with its end, or the longest header. Grow the buffer as the bytes come: the other side may have declared what it
    /// never sends.
    pub fn needs(&self) -> usize {
        match &self.state {
            State::Body(Body { length: Length::Bytes(length), .. }) => {
                in_memory(*length).saturating_add(1).max(self.searched + 1)
            }
            _ => self.searched + 1,
        }
    }

    #[inline]
    fn frame<'a, F: Frame<'a>>(&mut self, buffer: &'a [u8]) -> Decoded<F> {
        if let State::Header = self.state
            && let Some((number, body, rest)) = plain(F::WITH_BODY, self.max_body, buffer)
        {
            self.searched = 0;
            return Ok((buffer.len() - rest.len(), Some(F::with_body(number, None, body))));
        }
        self.any_frame(buffer)
    }

    /// Frames with a body whose numbers follow each other, from the first on or from any.
    fn series(&mut self, letter: u8, first: Option<u64>, allowed: Allowance, buffer: &[u8]) -> (usize, Run) {
        let (mut run, mut left) = (Run::new(first.unwrap_or(1)), buffer);
        if !matches!(self.state, State::Header) {
            return (0, run);
        }
        while allowed.has_room_beside(&run)
            && let Some((number, body, rest)) = plain(letter, self.max_body, left)
        {
            if number != if run.is_empty() { first.unwrap_or(number) } else { run.next() } {
                break;
            }
            if run.is_empty() {
                run.first = number;
                run.reserve(left.len().min(SERIES), left.len() - rest.len());
            }
            run.push(body);
            left = rest;
        }
        if !run.is_empty() {
            self.searched = 0;
        }
        (buffer.len() - left.len(), run)
    }

    fn any_frame<'a, F: Frame<'a>>(&mut self, buffer: &'a [u8]) -> Decoded<F> {
        let mut done = 0;
        loop {
            let rest = &buffer[done..];
            let (used, step) = match self.state {
                State::Header => self.header(rest)?,
                State::Body(_) => self.body(rest)?,
                State::Skip(left) => self.skip(left, rest),
                State::SkipLine => self.skip_line(rest),
                State::End => self.end(rest)?,
            };
            done += used;
            match step {
                Step::Frame(frame) => return Ok((done, Some(frame))),
                Step::Wait => return Ok((done, None)),
                Step::On => {}
            }
        }
    }

    fn header<'a, F: Frame<'a>>(&mut self, rest: &'a [u8]) -> Result<(usize, Step<F>), FrameError> {
        let (line, used) = match self.line(rest, MAX_HEADER) {
            Line::Unfinished => return Ok((0, Step::Wait)),
            Line::TooLong => return Err(too_long(rest)),
            Line::Found(line, used) => (line, used),
        };
        let step = match of_line(line)? {
            Header::Whole(frame) => Step::Frame(frame),
            Header::Body(Body { number, length: Length::Bytes(length), .. }) if length > self.max_body => {
                self.state = State::Skip(length);
                Step::Frame(F::too_large(number, length)?)
            }
            Header::Body(body) => {
                self.state = State::Body(body);
                Step::On
            }
        };
        Ok((used, step))
    }

    fn body<'a, F: Frame<'a>>(&mut self, rest: &'a [u8]) -> Result<(usize, Step<F>), FrameError> {
        let State::Body(body) = &mut self.state else { return Ok((0, Step::On)) };
        let number = body.number;
        let (bytes, used) = match body.length {
            Length::Bytes(length) => {
                let Some((bytes, end)) = rest.split_at_checked(in_memory(length)) else { return Ok((0, Step::Wait)) };
                let Some(end) = end_of_line(end)? else {
                    self.searched = rest.len();
                    return Ok((0, Step::Wait));
                };
                (bytes, bytes.len() + end)
            }
            Length::Line => {
                let most = longest_line(self.max_body);
                match self.line(rest, in_memory(most)) {
                    Line::Unfinished => return Ok((0, Step::Wait)),
                    Line::Found(line, used) => (line, used),
                    Line::TooLong => {
                        self.state = State::SkipLine;
                        return Ok((0, Step::Frame(F::too_large(number, most + 1)?)));
                    }
                }
            }
        };
        self.searched = 0;
        let origin = match std::mem::replace(&mut self.state, State::Header) {
            State::Body(body) => body.origin,
            _ => None,
        };
        Ok((used, Step::Frame(F::with_body(number, origin, bytes))))
    }

    fn skip<F>(&mut self, left: u64, rest: &[u8]) -> (usize, Step<F>) {
        let used = rest.len().min(in_memory(left));
        match left - used as u64 {
            0 => {
                self.state = State::End;
                (used, Step::On)
            }
            left => {
                self.state = State::Skip(left);
                (used, Step::Wait)
            }
        }
    }

    fn skip_line<F>(&mut self, rest: &[u8]) -> (usize, Step<F>) {
        match memchr(b'\n', rest) {
            Some(at) => {
                self.state = State::Header;
                (at + 1, Step::On)
            }
            None => (rest.len(), Step::Wait),
        }
    }

    fn end<F>(&mut self, rest: &[u8]) -> Result<(usize, Step<F>), FrameError> {
        Ok(match end_of_line(rest)? {
            Some(used) => {
                self.searched = 0;
                self.state = State::Header;
                (used, Step::On)
            }
            None => {
                self.searched = rest.len();
                (0, Step::Wait)
            }
        })
    }

    /// The line at the front, which may have so many bytes without its end. None of it is looked through twice.
    fn line<'a>(&mut self, rest: &'a [u8], most: usize) -> Line<'a> {
        let seen = &rest[..rest.len().min(most.saturating_add(2))];
        let found = memchr(b'\n', &seen[self.searched.min(seen.len())..]).map(|at| self.searched + at);
        let Some(at) = found else {
            self.searched = seen.len();
            if seen.len() < most.saturating_add(2) {
                return Line::Unfinished;
            }
            self.searched = 0;
            return Line::TooLong;
        };
        self.searched = 0;
        let line = without_return(&seen[..at]);
        match line.len() > most {
            true => Line::TooLong,
            false => Line::Found(line, at + 1),
        }
    }
}

/// What a part of the stream gives.
enum Step<F> {
    /// A frame.
    Frame(F),
    /// It goes on with the next part.
    On,
    /// More has to come.
    Wait,
}

/// What the front of the stream is as a line.
enum Line<'a> {
    /// A line without its end, and how many bytes it takes with it.
    Found(&'a [u8], usize),
    /// Its end has not come yet.
    Unfinished,
    /// It is longer than it may be.
    TooLong,
}

/// The header of a line without its end.
///
/// # Errors
/// It is none.
pub(super) fn of_line<'a, F: Frame<'a>>(line: &'a [u8]) -> Result<Header<F>, FrameError> {
    if let Some(error) = other_version(line) {
        return Err(error);
    }
    let text = str::from_utf8(line).map_err(|_| FrameError::bad("a header is not UTF-8"))?;
    match text.chars().any(char::is_control) {
        true => Err(FrameError::bad("a header has a control character")),
        false => F::of_line(text),
    }
}

/// The complaint of a header that is too long.
pub(super) fn too_long(line: &[u8]) -> FrameError {
    other_version(line).unwrap_or_else(|| FrameError::bad(format!("a header has more than {MAX_HEADER} bytes")))
}

/// A line without the carriage return before its end.
pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The longest body that is a line.
pub(super) fn longest_line(max_body: u64) -> u64 {
    max_body.min(MAX_LINE as u64)
}

/// A length that is compared with those of buffers: what no memory holds is as much as can be.
pub(super) fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// How many bytes the end of the line takes that follows a body, once it is there.
pub(super) fn end_of_line(rest: &[u8]) -> Result<Option<usize>, FrameError> {
    match rest {
        [] | [b'\r'] => Ok(None),
        [b'\n', ..] => Ok(Some(1)),
        [b'\r', b'\n', ..] => Ok(Some(2)),
        _ => Err(FrameError::bad("a body is longer than its header says: no newline follows it")),
    }
}

#[cfg(test)]
mod tests;
