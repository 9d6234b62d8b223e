//! `Flow`: one direction of a relay, from a reader to a writer.
//!
//! Apart from the relay, which knows when it is over: here bytes are read, written, and counted, and nothing is read before what
//! was read last is written. So a packet stays a packet, and a side that is slow holds the other back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once at the most, in bytes: in bulk larger reads are hardly quicker.
pub const RELAY_BUFFER: usize = 128 * 1024;

/// How one direction has ended.
#[derive(Debug)]
pub enum End {
    /// Its source has ended, and all of it was written.
    Complete,
    /// Its source was silent after the other direction had ended, and was left.
    Left,
    /// Its source failed.
    Unread(io::Error),
    /// Its sink failed.
    Unwritten(io::Error),
    /// Nothing moved for so long.
    Late(Duration),
    /// The other direction was lost, and this with it.
    Lost,
}

/// What has gone one way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Passed {
    /// Bytes that were read.
    pub read: u64,
    /// Bytes that were written; those that were dropped because nobody takes them any more are not among them.
    pub written: u64,
}

/// What becomes of a direction whose sink fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// It ends.
    Ends,
    /// What comes is read, so that its sender is not held up, and dropped.
    Drops,
}

#[derive(Debug)]
pub(super) struct Flow {
    buffer: Box<[u8]>,
    /// The bytes of the buffer that are still to be written.
    start: usize,
    filled: usize,
    passed: Passed,
    source_ended: bool,
    /// What was wrong with the source, while what came before is still written.
    trouble: Option<io::Error>,
    failure: Failure,
    /// Why what is read is dropped.
    gone: Option<io::Error>,
    pub(super) end: Option<End>,
}

impl Flow {
    /// A direction in which at most `most` bytes are read at once.
    pub(super) fn new(most: usize, failure: Failure) -> Self {
        Self {
            buffer: vec![0; most].into_boxed_slice(),
            start: 0,
            filled: 0,
            passed: Passed::default(),
            source_ended: false,
            trouble: None,
            failure,
            gone: None,
            end: None,
        }
    }

    pub(super) fn passed(&self) -> Passed {
        self.passed
    }

    /// Whether something was read that is not written yet.
    pub(super) fn is_pending(&self) -> bool {
        self.start < self.filled
    }

    /// Whether nothing goes this way any more, or all that does is dropped.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some() || self.is_dropping()
    }

    /// Whether what is read is dropped, because nobody takes it.
    pub(super) fn is_dropping(&self) -> bool {
        self.gone.is_some()
    }

    /// How it has ended. That its sink has failed says more than what came after.
    pub(super) fn take_end(&mut self) -> End {
        self.gone.take().map(End::Unwritten).or(self.end.take()).unwrap_or(End::Lost)
    }

    /// Ends it, if it has not ended before.
    pub(super) fn end(&mut self, end: impl FnOnce() -> End) {
        if self.end.is_none() {
            self.end = Some(end());
        }
    }

    /// Makes one step: writes what is pending, else reads. Pending when neither can be done now, or it has ended.
    pub(super) fn poll_step<R, W>(&mut self, cx: &mut Context<'_>, source: &mut R, sink: &mut W) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.end.is_some() {
            return Poll::Pending;
        }
        if self.is_pending() {
            match ready!(Pin::new(sink).poll_write(cx, &self.buffer[self.start..self.filled])) {
                Ok(0) => self.fail(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.start += written;
                    self.passed.written += written as u64;
                }
                Err(error) => self.fail(error),
            }
        } else if self.source_ended {
            // That its sink has gone meanwhile is told by the other direction, if it matters.
            let _ = ready!(Pin::new(sink).poll_shutdown(cx));
            self.end = Some(self.trouble.take().map_or(End::Complete, End::Unread));
        } else {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            let read = ready!(Pin::new(source).poll_read(cx, &mut buffer));
            let filled = buffer.filled().len();
            (self.start, self.filled) = (if self.is_dropping() { filled } else { 0 }, filled);
            self.passed.read += filled as u64;
            self.source_ended = filled == 0 || read.is_err();
            self.trouble = read.err();
        }
        Poll::Ready(())
    }

    fn fail(&mut self, error: io::Error) {
        match self.failure {
            Failure::Ends => self.end = Some(End::Unwritten(error)),
            Failure::Drops => {
                self.start = self.filled;
                self.gone = Some(error);
            }
        }
    }
}
