//! The exchange over a stream: messages are framed and written together, answers read and counted.
//!
//! Apart from packets, because here an answer has no end of its own: a newline, the end of the stream, or silence.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::progress::{Overdue, Progress};
use super::{Source, Step};
use crate::net::Stream;
use crate::service::error::Why;
use crate::service::workspace::{Inbox, READ_SIZE};
use crate::service::{Acknowledgements, Batch, ClientConfig, Error, Messages, Result};
use crate::wire::{Framing, Span};

/// Messages are taken from the source while less than this many bytes wait to be written.
const QUEUE: usize = 4 * READ_SIZE;

#[derive(Debug)]
pub(super) struct OverStream {
    stream: Stream,
    config: ClientConfig,
    pub(super) progress: Progress,
    inbox: Inbox,
    /// The answers of the last step, refusals left out.
    shown: Vec<Span>,
    queue: Vec<u8>,
    written: usize,
    source: Flow,
    sending: Flow,
    receiving: Flow,
    /// What ended a direction, if not the other side's wish.
    trouble: Option<io::Error>,
    last_read: Instant,
}

/// Whether a direction is still open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    Open,
    Ended,
}

enum Event {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Next(Option<Batch>),
    Due(Overdue),
}

impl OverStream {
    pub(super) fn new(stream: Stream, config: ClientConfig) -> Self {
        if let Some(socket) = stream.socket() {
            // What is written at once leaves at once. Other domains than TCP have no such option.
            let _ = socket.raw().set_tcp_nodelay(true);
        }
        // A server that reads as the tutorial's does still answers with a line, if at all.
        let framing = if config.framing == Framing::Read { Framing::Line } else { config.framing };
        let max_answer = config.max_answer.unwrap_or(framing.default_limit());
        Self {
            stream,
            progress: Progress::new(&config),
            inbox: Inbox::new(framing, max_answer),
            config,
            shown: Vec::new(),
            queue: Vec::new(),
            written: 0,
            source: Flow::Open,
            sending: Flow::Open,
            receiving: Flow::Open,
            trouble: None,
            last_read: Instant::now(),
        }
    }

    pub(super) fn answers(&self) -> Messages<'_> {
        match self.inbox.found() {
            Some((messages, _)) => messages.selected(&self.shown),
            None => Messages::of_packets(&[], &[]),
        }
    }

    pub(super) async fn step(&mut self, source: &mut impl Source) -> Result<Step> {
        self.inbox.handled();
        self.shown.clear();
        // A source that is given anew, such as the next message of a client, is asked anew.
        self.source = Flow::Open;
        loop {
            if let Some(end) = self.end(source).await {
                return end.map(|()| Step::Done);
            }
            if self.tells_the_end() {
                self.sending = Flow::Ended;
                // If the other side has gone, reading will tell.
                let _ = self.stream.shutdown().await;
            }
            match self.event(source).await {
                Event::Next(Some(batch)) => self.enqueue(&batch)?,
                Event::Next(None) => self.source = Flow::Ended,
                Event::Wrote(Ok(written)) => {
                    self.written += written;
                    self.progress.moved();
                }
                Event::Wrote(Err(error)) => {
                    // An answer may be waiting all the same: it is read before anything is said.
                    self.sending = Flow::Ended;
                    self.trouble = Some(error);
                }
                Event::Read(Ok(read)) if read > 0 => {
                    self.last_read = Instant::now();
                    let decoded = self.inbox.decode();
                    self.take_answers();
                    decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("answer: {error}")))?;
                }
                Event::Read(result) => {
                    self.receiving = Flow::Ended;
                    if let Err(error) = result {
                        self.trouble = Some(error);
                    }
                    if self.inbox.unfinished() > 0 || self.config.framing == Framing::Whole {
                        self.finish_answer();
                    }
                }
                Event::Due(Overdue::Quiet) => self.finish_answer(),
                Event::Due(Overdue::Answer) => return Err(self.progress.overdue()),
            }
            if !self.shown.is_empty() {
                return Ok(Step::Answers);
            }
        }
    }

    /// Tells the end of the stream and closes. What the server has not read yet is not harmed: all answers were read.
    pub(super) async fn close(mut self) -> Result<()> {
        match self.stream.shutdown().await {
            // The other side has gone already, and everything was said.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            closed => Ok(closed?),
        }
    }

    /// Whether there is nothing more to do, and with what result.
    async fn end(&mut self, source: &mut impl Source) -> Option<Result<()>> {
        let outstanding = self.progress.outstanding() > 0;
        if self.receiving == Flow::Ended {
            if outstanding || self.written < self.queue.len() {
                return Some(Err(match self.trouble.take() {
                    Some(error) => self.progress.lost(error),
                    None => self.progress.unacknowledged(Why::Closed),
                }));
            }
            // What is there to be sent and cannot be any more was not delivered.
            let left = poll_fn(|cx| Poll::Ready(source.poll_next(cx))).await;
            if let Poll::Ready(Some(batch)) = left
                && !batch.spans.is_empty()
            {
                self.progress.sent(batch.spans.len());
                return Some(Err(self.progress.unacknowledged(Why::Closed)));
            }
            if let Some(error) = self.trouble.take() {
                tracing::warn!(
                    "the other side answered and then gave up the connection ({}): it may not have read everything",
                    crate::net::plain(&error)
                );
            }
            return Some(self.progress.verdict());
        }
        (self.all_sent() && !outstanding && !self.waits_for_the_end()).then(|| self.progress.verdict())
    }

    fn all_sent(&self) -> bool {
        self.source == Flow::Ended && self.written == self.queue.len()
    }

    /// Without acknowledgements only an orderly end tells that the connection was not lost with what was sent.
    fn waits_for_the_end(&self) -> bool {
        self.config.acknowledgements == Acknowledgements::NotExpected && self.all_sent()
    }

    /// Whether the end of the sending direction is to be told: it is the end of the message, or what is waited for.
    fn tells_the_end(&self) -> bool {
        self.sending == Flow::Open
            && self.all_sent()
            && (self.config.framing == Framing::Whole || self.config.acknowledgements == Acknowledgements::NotExpected)
    }

    async fn event(&mut self, source: &mut impl Source) -> Event {
        let (quiet, ends) = (self.quiet(), self.waits_for_the_end());
        let Self { stream, progress, inbox, queue, written, .. } = self;
        let (takes_more, writes) = (
            self.source == Flow::Open && self.sending == Flow::Open && queue.len() - *written < QUEUE,
            self.sending == Flow::Open && *written < queue.len(),
        );
        poll_fn(|cx| {
            if let Poll::Ready(read) = inbox.poll_read(cx, stream) {
                return Poll::Ready(Event::Read(read));
            }
            // What is ready is gathered first, so that it leaves in one write.
            if takes_more && let Poll::Ready(next) = source.poll_next(cx) {
                return Poll::Ready(Event::Next(next));
            }
            if writes && let Poll::Ready(wrote) = Pin::new(&mut *stream).poll_write(cx, &queue[*written..]) {
                return Poll::Ready(Event::Wrote(wrote));
            }
            progress.poll_overdue(cx, ends, quiet).map(Event::Due)
        })
        .await
    }

    /// When the silence after the beginning of an answer is long enough to be its end.
    fn quiet(&self) -> Option<Instant> {
        let by_silence = matches!(self.config.framing, Framing::Line | Framing::Nul | Framing::Read);
        (by_silence && self.inbox.unfinished() > 0).then(|| self.last_read + self.config.quiet)
    }

    fn enqueue(&mut self, batch: &Batch) -> Result<()> {
        if self.written == self.queue.len() {
            self.queue.clear();
            self.written = 0;
        }
        let framing = self.config.framing;
        for (index, message) in batch.iter().enumerate() {
            let inside = match framing {
                Framing::Line => memchr::memchr(b'\n', message).map(|_| "a newline"),
                Framing::Nul => memchr::memchr(0, message).map(|_| "a NUL byte"),
                _ => None,
            };
            if let Some(inside) = inside {
                let number = self.progress.summary().sent + index as u64 + 1;
                let reason = format!("{inside} in it ends a message in this framing; nul or length can carry it");
                return Err(self.progress.unsendable(number, reason));
            }
            framing.encode(message, &mut self.queue);
        }
        self.progress.sent(batch.spans.len());
        Ok(())
    }

    fn take_answers(&mut self) {
        if let Some((answers, spans)) = self.inbox.found() {
            self.progress.answered_by(answers, &mut self.shown, spans);
        }
        if self.shown.is_empty() {
            self.inbox.handled();
        }
    }

    fn finish_answer(&mut self) {
        match self.inbox.finish() {
            Ok(()) => self.take_answers(),
            Err(error) => tracing::warn!("answer: {error}"),
        }
    }
}

impl From<crate::wire::Error> for Error {
    fn from(error: crate::wire::Error) -> Self {
        Self::Local(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}
