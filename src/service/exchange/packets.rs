//! The exchange over packets: a message is a packet, an answer is a packet.
//!
//! Apart from streams, because nothing needs framing here, and because datagrams that are not waited for are dropped: only
//! so many may be on their way.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use nix::errno::Errno;
use socket2::Type;

use super::progress::Progress;
use super::{Source, Step, ended_in_time};
use crate::net::{Packet, PacketSocket};
use crate::service::error::Why;
use crate::service::workspace::READ_SIZE;
use crate::service::{Batch, ClientConfig, DATAGRAM_WINDOW, Messages, Result};
use crate::wire::Span;

/// Batches are taken from the source while fewer than this wait.
const QUEUE: usize = 2;

#[derive(Debug)]
pub(super) struct OverPackets {
    socket: PacketSocket,
    pub(super) progress: Progress,
    window: u64,
    queue: VecDeque<Batch>,
    /// The next message of the first batch.
    next: usize,
    ended: bool,
    /// Whether receiving is tried before sending this time.
    receives_first: bool,
    /// What was wrong with the connection, while what came before it is still read.
    trouble: Option<io::Error>,
    buffer: Vec<u8>,
    shown: Vec<Span>,
}

enum Event {
    Received(io::Result<Packet>),
    Sent(io::Result<()>),
    Next(Option<Batch>),
    Overdue,
}

impl OverPackets {
    pub(super) fn new(socket: PacketSocket, config: ClientConfig) -> Self {
        // Packets of a connection wait for room at the receiver; datagrams over a network do not.
        let window = if socket.socket().socket_type() == Type::DGRAM { DATAGRAM_WINDOW } else { u64::MAX };
        let buffer = vec![0; config.max_answer.filter(|limit| *limit > 0).unwrap_or(READ_SIZE)];
        Self {
            socket,
            progress: Progress::new(&config),
            window,
            queue: VecDeque::new(),
            next: 0,
            ended: false,
            receives_first: true,
            trouble: None,
            buffer,
            shown: Vec::new(),
        }
    }

    pub(super) fn answers(&self) -> Messages<'_> {
        Messages::of_packets(&self.buffer, &self.shown)
    }

    pub(super) async fn step(&mut self, source: &mut impl Source) -> Result<Step> {
        self.shown.clear();
        self.ended = self.progress.is_stuck();
        loop {
            if self.progress.is_put_off() {
                return Err(self.progress.unacknowledged(Why::Closed));
            }
            if self.ended && self.queue.is_empty() && self.progress.outstanding() == 0 {
                return self.progress.verdict().map(|()| Step::Done);
            }
            match self.event(source).await {
                Event::Next(Some(batch)) if batch.spans.is_empty() => {}
                Event::Next(Some(batch)) => self.queue.push_back(batch),
                Event::Next(None) => self.ended = true,
                Event::Sent(Ok(())) => self.sent(),
                Event::Sent(Err(error)) => self.failed(error)?,
                // Packets that came before the reset are told only after it (unix(7) has no order here).
                Event::Received(Err(error)) if self.has_end() && self.trouble.is_none() => self.trouble = Some(error),
                Event::Received(Ok(Packet { sent: 0, .. })) if self.has_end() => {
                    return Err(match self.trouble.take() {
                        Some(error) => self.progress.lost(error),
                        None if self.progress.outstanding() > 0 || !self.queue.is_empty() => {
                            self.progress.unacknowledged(Why::Closed)
                        }
                        None => match ended_in_time(source).await {
                            true => return self.progress.verdict().map(|()| Step::Done),
                            false => self.progress.unacknowledged(Why::ClosedEarly),
                        },
                    });
                }
                Event::Received(Ok(packet)) => {
                    let spans = [Span { start: 0, end: answer_end(&self.buffer[..packet.length]) }];
                    let answers = Messages::of_packets(&self.buffer, &spans);
                    let answered = self.progress.answered();
                    self.progress.answered_by(answers, &mut self.shown, &spans);
                    if packet.is_cut() {
                        tracing::warn!("an answer of {} bytes was cut to {}", packet.sent, packet.length);
                    }
                    if !self.shown.is_empty() || self.progress.answered() > answered {
                        return Ok(Step::Answers);
                    }
                }
                Event::Received(Err(error)) => return Err(self.progress.lost(error)),
                Event::Overdue => return Err(self.progress.overdue()),
            }
        }
    }

    async fn event(&mut self, source: &mut impl Source) -> Event {
        let takes_more = !self.ended && self.queue.len() < QUEUE;
        // A receiver that takes nothing is waited for no longer than one that answers nothing.
        let waits = !self.queue.is_empty();
        let may_send = self.progress.outstanding() < self.window;
        let Self { socket, progress, queue, next, buffer, .. } = self;
        let mut receiving = pin!(socket.recv(buffer));
        // They take turns in being first, so that a peer that never stops talking does not keep the sending waiting.
        let receives_first = self.receives_first;
        self.receives_first = !receives_first;
        poll_fn(|cx| {
            if receives_first && let Poll::Ready(received) = receiving.as_mut().poll(cx) {
                return Poll::Ready(Event::Received(received));
            }
            if may_send
                && let Some(batch) = queue.front()
                && let Some(message) = batch.spans.get(*next).map(|span| span.of(&batch.bytes))
            {
                // A packet of no bytes would read as the end of the connection.
                let sent = match message.is_empty() && socket.socket().socket_type() == Type::SEQPACKET {
                    true => Poll::Ready(Err(Errno::ENODATA.into())),
                    false => socket.poll_send(cx, message),
                };
                if let Poll::Ready(sent) = sent {
                    return Poll::Ready(Event::Sent(sent));
                }
            }
            if takes_more && let Poll::Ready(batch) = source.poll_next(cx) {
                return Poll::Ready(Event::Next(batch));
            }
            if !receives_first && let Poll::Ready(received) = receiving.as_mut().poll(cx) {
                return Poll::Ready(Event::Received(received));
            }
            progress.poll_overdue(cx, waits, None).map(|_| Event::Overdue)
        })
        .await
    }

    fn sent(&mut self) {
        self.progress.sent(1);
        self.next += 1;
        if self.queue.front().is_some_and(|batch| self.next == batch.spans.len()) {
            self.queue.pop_front();
            self.next = 0;
        }
    }

    /// A packet that can never be sent ends the sending; what was sent before it is still waited for.
    fn failed(&mut self, error: io::Error) -> Result<()> {
        let number = self.progress.summary().sent + 1;
        let reason = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENODATA) => "a packet of no bytes would read as the end of the connection",
            Some(Errno::EMSGSIZE) => "it does not fit into one packet (UDP carries 65507 bytes); a stream can carry it",
            _ => {
                // The one that failed is among those that were not acknowledged.
                self.progress.sent(1);
                return Err(self.progress.lost(error));
            }
        };
        self.progress.cannot_send(number, reason);
        self.queue.clear();
        self.next = 0;
        self.ended = true;
        Ok(())
    }

    /// Whether a packet of no bytes is the end of the connection.
    fn has_end(&self) -> bool {
        self.socket.socket().socket_type() != Type::DGRAM
    }
}

/// Where an answer ends: before the newline, or the NUL, that some servers send with it.
fn answer_end(answer: &[u8]) -> usize {
    let text = answer.strip_suffix(b"\0").unwrap_or(answer);
    text.strip_suffix(b"\n").unwrap_or(text).len()
}
