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
use super::{Source, Step, ended_in_time};
use crate::net::Stream;
use crate::service::error::Why;
use crate::service::workspace::{Inbox, READ_SIZE};
use crate::service::{Acknowledgements, Batch, ClientConfig, Messages, Result};
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
    /// Messages in the queue of which no byte has been written yet.
    unsent: u64,
    /// Whether there may be more answers in what was read.
    more: bool,
    /// Which of reading, taking from the source and writing is tried first this time.
    turn: u8,
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
            unsent: 0,
            more: false,
            turn: 0,
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
        self.source = if self.progress.is_stuck() { Flow::Ended } else { Flow::Open };
        let answered = self.progress.answered();
        loop {
            if self.progress.is_put_off() {
                return Err(self.progress.unacknowledged(Why::Closed));
            }
            if std::mem::take(&mut self.more) {
                self.decode_answers()?;
            } else if let Some(end) = self.end(source).await {
                return end.map(|()| Step::Done);
            } else {
                self.proceed(source).await?;
            }
            if !self.shown.is_empty() || self.progress.answered() > answered {
                return Ok(Step::Answers);
            }
        }
    }

    /// Waits for the next thing to happen, and does what it calls for.
    async fn proceed(&mut self, source: &mut impl Source) -> Result<()> {
        if self.tells_the_end() {
            self.sending = Flow::Ended;
            // If the other side has gone, reading will tell.
            let _ = self.stream.shutdown().await;
        }
        match self.event(source).await {
            Event::Next(Some(batch)) => {
                self.enqueue(&batch);
                if self.progress.is_stuck() {
                    self.source = Flow::Ended;
                }
            }
            Event::Next(None) => self.source = Flow::Ended,
            Event::Wrote(Ok(written)) => {
                self.written += written;
                // Only from now on can an answer be one to these.
                self.progress.sent(std::mem::take(&mut self.unsent));
            }
            Event::Wrote(Err(error)) => {
                // An answer may be waiting all the same: it is read before anything is said.
                self.sending = Flow::Ended;
                self.trouble = Some(error);
            }
            Event::Read(Ok(read)) if read > 0 => {
                self.last_read = Instant::now();
                self.decode_answers()?;
            }
            Event::Read(result) => {
                self.receiving = Flow::Ended;
                let orderly = result.is_ok();
                if let Err(error) = result {
                    self.trouble = Some(error);
                }
                // A line that a reset follows was answered before it; a whole stream that was reset is no answer.
                if self.inbox.unfinished() > 0 && (orderly || self.config.framing != Framing::Whole) {
                    self.finish_answer();
                }
            }
            Event::Due(Overdue::Quiet) => self.finish_answer(),
            Event::Due(Overdue::Answer) => {
                return Err(match self.trouble.take() {
                    Some(error) => self.progress.lost(error),
                    None => self.progress.overdue(),
                });
            }
        }
        Ok(())
    }

    /// Tells the end of the stream. What the server has not read yet is not harmed when this is closed: all answers were read.
    pub(super) async fn shutdown(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.sending, Flow::Ended) == Flow::Ended {
            return Ok(());
        }
        match self.stream.shutdown().await {
            // The other side has gone already, and everything was said.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            closed => Ok(closed?),
        }
    }

    /// Whether there is nothing more to do, and with what result.
    async fn end(&mut self, source: &mut impl Source) -> Option<Result<()>> {
        let outstanding = self.progress.outstanding() > 0;
        // Where no answer is expected, a peer that has ended its own half may still read.
        let reads_on = self.config.acknowledgements == Acknowledgements::NotExpected
            && self.sending == Flow::Open
            && (self.source == Flow::Open || self.written < self.queue.len());
        if self.receiving == Flow::Ended && !reads_on {
            if outstanding || self.written < self.queue.len() {
                self.progress.sent(std::mem::take(&mut self.unsent));
                return Some(Err(match self.trouble.take() {
                    Some(error) => self.progress.lost(error),
                    None => self.progress.unacknowledged(Why::Closed),
                }));
            }
            if self.source == Flow::Open && !ended_in_time(source).await {
                return Some(Err(self.progress.unacknowledged(Why::ClosedEarly)));
            }
            if let Some(error) = self.trouble.take() {
                if self.config.acknowledgements == Acknowledgements::NotExpected {
                    return Some(Err(self.progress.lost(error)));
                }
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
        let quiet = self.quiet();
        // One that takes nothing is waited for no longer than one that answers nothing.
        let waits = self.waits_for_the_end() || self.written < self.queue.len();
        let reads = self.receiving == Flow::Open;
        let Self { stream, progress, inbox, queue, written, .. } = self;
        let (takes_more, writes) = (
            // Also when nothing can be sent any more: only the source can say that there is nothing to send.
            self.source == Flow::Open && self.trouble.is_none() && queue.len() - *written < QUEUE,
            self.sending == Flow::Open && *written < queue.len(),
        );
        // They take turns in being first: neither a peer that never stops talking nor a source that never ends keeps the
        // others waiting. Writing comes after the source mostly, so that what is ready leaves in one write.
        let turn = self.turn;
        self.turn = (turn + 1) % 3;
        poll_fn(|cx| {
            for step in 0..3 {
                match (turn + step) % 3 {
                    0 if reads => {
                        if let Poll::Ready(read) = inbox.poll_read(cx, stream) {
                            return Poll::Ready(Event::Read(read));
                        }
                    }
                    1 if takes_more => {
                        if let Poll::Ready(next) = source.poll_next(cx) {
                            return Poll::Ready(Event::Next(next));
                        }
                    }
                    2 if writes => {
                        if let Poll::Ready(wrote) = Pin::new(&mut *stream).poll_write(cx, &queue[*written..]) {
                            return Poll::Ready(Event::Wrote(wrote));
                        }
                    }
                    _ => {}
                }
            }
            progress.poll_overdue(cx, waits, quiet).map(Event::Due)
        })
        .await
    }

    /// When the silence after the beginning of an answer is long enough to be its end.
    fn quiet(&self) -> Option<Instant> {
        let by_silence = matches!(self.config.framing, Framing::Line | Framing::Nul | Framing::Read);
        if by_silence && self.inbox.unfinished() > 0 { self.last_read.checked_add(self.config.quiet) } else { None }
    }

    fn enqueue(&mut self, batch: &Batch) {
        if self.written >= QUEUE || self.written == self.queue.len() {
            self.queue.drain(..self.written);
            self.written = 0;
        }
        let framing = self.config.framing;
        for message in batch.iter() {
            let number = self.progress.summary().sent + self.unsent + 1;
            let wrong = match framing {
                Framing::Line if memchr::memchr(b'\n', message).is_some() => {
                    "a newline in it ends a message; the framings nul and length can carry it"
                }
                Framing::Nul if memchr::memchr(0, message).is_some() => {
                    "a NUL byte in it ends a message; the framing length can carry it"
                }
                Framing::Length if u32::try_from(message.len()).is_err() => "it is longer than 4 GiB",
                Framing::Whole if number > 1 => "the whole stream is one message",
                _ => {
                    framing.encode(message, &mut self.queue);
                    self.unsent += 1;
                    continue;
                }
            };
            self.progress.cannot_send(number, wrong);
            break;
        }
        if self.queue.is_empty() && framing == Framing::Whole {
            // Nothing will be written for an empty one: its end is all there is.
            self.progress.sent(std::mem::take(&mut self.unsent));
        }
    }

    fn decode_answers(&mut self) -> Result<()> {
        let decoded = self.inbox.decode();
        self.take_answers();
        match decoded {
            Ok(more) => self.more = more,
            Err(error) => return Err(self.progress.unacknowledged(Why::Answer(error))),
        }
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
