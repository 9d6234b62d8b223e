//! Frames over a stream: many are put together and leave in one write, and those of a read are found in it.
//!
//! Apart from packets, which need no decoder; C4 of `docs/protocol.md` is kept here: writing never keeps from reading.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::link::{Came, plain_words, said};
use super::machine::{Heard, Said};
use crate::net::{Stream, plain};
use crate::service::workspace::READ_SIZE;
use crate::wire::assured::{FrameDecoder, GREETING, MAX_HEADER, Series};

/// Frames are put together while fewer bytes than this wait to be written.
const TOGETHER: usize = 4 * READ_SIZE;

/// A buffer that has grown beyond this for a long message is not kept.
const KEPT: usize = 4 * TOGETHER;

/// How the plain words of a server begin that will not have a connection.
const PLAIN: &[u8] = b"wilco: ";

#[derive(Debug)]
pub(super) struct OverStream {
    stream: Stream,
    output: Vec<u8>,
    written: usize,
    /// What came: from `taken` to `filled` it was not taken yet.
    input: Vec<u8>,
    taken: usize,
    filled: usize,
    decoder: FrameDecoder,
    /// Whether it is known that there is no whole frame in what came.
    is_partial: bool,
    /// Whether what came is no frame: then nothing after it is one.
    is_broken: bool,
    /// Whether a frame has come.
    has_spoken: bool,
    /// Why nothing can be written any more.
    unwritable: Option<String>,
    /// Why nothing more comes.
    ended: Option<String>,
}

impl OverStream {
    pub(super) fn new(stream: Stream, max_reply: u64) -> Self {
        Self {
            stream,
            output: Vec::new(),
            written: 0,
            input: vec![0; READ_SIZE],
            taken: 0,
            filled: 0,
            decoder: FrameDecoder::new(max_reply),
            is_partial: true,
            is_broken: false,
            has_spoken: false,
            unwritable: None,
            ended: None,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// How many bytes may be added before it is enough.
    pub(super) fn room(&self) -> usize {
        TOGETHER.saturating_sub(self.output.len() - self.written)
    }

    pub(super) fn put_series(&mut self, series: &Series<'_>) {
        if self.unwritable.is_none() {
            series.encode(&mut self.output);
        }
    }

    pub(super) fn put(&mut self, said: &Said<'_>) {
        // What can never be written need not be kept.
        if self.unwritable.is_none() {
            said.encode(&mut self.output);
        }
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.written == self.output.len() {
            return Poll::Pending;
        }
        match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output[self.written..])) {
            Ok(written) if written > 0 => self.written += written,
            // Its last words, such as why, may still be there to be read.
            Ok(_) => self.give_up_writing(&io::ErrorKind::WriteZero.into()),
            Err(error) => self.give_up_writing(&error),
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.output.shrink_to(KEPT);
            self.written = 0;
        } else if self.written >= TOGETHER {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Poll::Ready(())
    }

    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended.is_some() {
            return Poll::Pending;
        }
        self.make_room();
        let mut buffer = ReadBuf::new(&mut self.input[self.filled..]);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).map(|()| buffer.filled().len());
        match read {
            Ok(0) => {
                let closed = || "the server has closed the connection".to_owned();
                self.ended = Some(self.unwritable.take().unwrap_or_else(closed));
            }
            Ok(read) => self.filled += read,
            Err(error) => self.ended = Some(plain(&error)),
        }
        self.is_partial = false;
        Poll::Ready(())
    }

    pub(super) fn take(&mut self) -> Option<Came<'_>> {
        if self.is_broken {
            return self.ended.clone().map(Came::Ended);
        }
        if self.is_partial {
            return None;
        }
        if !self.has_spoken && self.is_plain() {
            return self.take_plain();
        }
        let waiting = &self.input[self.taken..self.filled];
        let (done, replies) = self.decoder.replies(waiting);
        if done > 0 {
            self.taken += done;
            self.has_spoken = true;
            return Some(Came::Heard(Heard::Replies(replies)));
        }
        match self.decoder.server_frame(waiting) {
            Ok((done, Some(frame))) => {
                self.taken += done;
                self.has_spoken = true;
                Some(Came::Heard(Heard::Frame(frame)))
            }
            Ok((done, None)) => {
                let is_foreign = self.ended.is_some() && !self.has_spoken && !may_become_frame(waiting);
                let said = is_foreign.then(|| said(waiting));
                self.taken += done;
                self.is_partial = true;
                match said {
                    Some(said) => {
                        self.is_broken = true;
                        Some(Came::Broken(said))
                    }
                    None => self.ended.clone().map(Came::Ended),
                }
            }
            Err(error) => {
                let reason = if self.has_spoken { error.to_string() } else { said(waiting) };
                self.is_broken = true;
                self.ended.get_or_insert_with(|| reason.clone());
                Some(Came::Broken(reason))
            }
        }
    }

    fn take_plain(&mut self) -> Option<Came<'_>> {
        let waiting = &self.input[self.taken..self.filled];
        let end = memchr::memchr(b'\n', waiting);
        if end.is_none() && self.ended.is_none() && waiting.len() <= MAX_HEADER {
            self.is_partial = true;
            return None;
        }
        let line = &waiting[..end.unwrap_or(waiting.len())];
        self.is_partial = true;
        match (plain_words(line), &self.ended) {
            (Some(error), _) => Some(Came::Heard(Heard::Frame(error))),
            (None, Some(ended)) if end.is_none() => Some(Came::Ended(ended.clone())),
            (None, _) => {
                self.is_broken = true;
                let said = said(line);
                self.ended.get_or_insert_with(|| said.clone());
                Some(Came::Broken(said))
            }
        }
    }

    /// Whether what came may be plain words.
    fn is_plain(&self) -> bool {
        let waiting = &self.input[self.taken..self.filled];
        waiting.starts_with(PLAIN) || PLAIN.starts_with(waiting)
    }

    fn give_up_writing(&mut self, error: &io::Error) {
        self.unwritable = Some(plain(error));
        self.output.clear();
        self.written = 0;
    }

    fn make_room(&mut self) {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
            if self.input.len() > KEPT {
                self.input = vec![0; READ_SIZE];
            }
        } else if self.filled == self.input.len() {
            self.input.copy_within(self.taken..self.filled, 0);
            self.filled -= std::mem::take(&mut self.taken);
            if self.filled > self.input.len() / 2 {
                // Only as what was declared really comes.
                self.input.resize(2 * self.input.len(), 0);
            }
        }
    }
}

/// Whether a server's first words, which were cut short, may have been those of the protocol.
fn may_become_frame(words: &[u8]) -> bool {
    [GREETING, b"E "].iter().any(|begins| begins.starts_with(words) || words.starts_with(begins))
}
