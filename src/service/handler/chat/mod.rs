//! `Chat`: what one client says goes to all others, with a name before it, as ncat's `--chat` has it.
//!
//! Apart from the handlers whose messages have answers: here they have none, and what is written comes from others.

mod input;
mod room;

use std::future::{Future, poll_fn};
use std::io;
use std::mem::take;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Instant, timeout};

use super::{BoxFuture, CLOSE_DISCARD, CLOSE_TIMEOUT, ConnectionHandler, Terms};
use crate::net::{Addr, Connection, plain};
use crate::service::alarm::Alarm;
use crate::service::workspace::Inbox;
use crate::service::{Conversation, Peer};
use crate::wire::plain::{not_now, refusal};
use crate::wire::{self, Framing, LENGTH_PREFIX};
use input::{Heard, Input};
use room::{Room, Unread};

/// How long a speaker waits for a member that has too much unread, which is then put out.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// A buffer for what is to be written that is larger is not kept by a member to whom nothing is said.
const SMALL: usize = 4 * 1024;

/// The handler that lets clients talk to each other: a [`ConnectionHandler`] for streams and sequenced packets. Datagrams, whose
/// senders neither come nor go, it refuses.
///
/// Nobody is sent what he has said himself, nor an acknowledgement. Whole messages are handed on, never parts of two mixed. A
/// client that reads too slowly is put out, so that it neither holds up the others nor makes the memory grow.
#[derive(Debug)]
pub struct Chat {
    room: Mutex<Room>,
    framing: Framing,
    max_message: usize,
}

impl Chat {
    /// A chat whose messages are told apart like this in streams; 0 is no limit to their length, in bytes.
    pub fn new(framing: Framing, max_message: usize) -> Self {
        Self { room: Mutex::new(Room::new(max_message)), framing, max_message }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionHandler for Chat {
    fn converse<'a>(&'a self, connection: Connection, peer: &'a Peer, terms: &'a Terms) -> BoxFuture<'a, Conversation> {
        Box::pin(async move {
            // Packets need no framing, but have to be told apart while they wait.
            let (input, framing) = match connection {
                Connection::Stream(stream) => {
                    (Input::of_stream(stream, Inbox::new(self.framing, self.max_message)), self.framing)
                }
                Connection::Packets(packets) => (Input::of_packets(packets, self.max_message), Framing::Length),
            };
            let id = self.room().join(origin(peer), framing);
            let mut talk = Talk::new(self, id, terms, input, framing);
            let ending = talk.until_end().await;
            self.room().leave(id, !terms.stop.is_set());
            let had = match ending {
                Ok(ending) => talk.end(ending).await,
                Err(error) => talk.had(Some(plain(&error))),
            };
            if let Some(trouble) = &had.trouble {
                tracing::warn!("{peer}: {trouble}");
            }
            had
        })
    }
}

/// Where a client comes from, as the others are told.
fn origin(peer: &Peer) -> String {
    match (&peer.addr, &peer.credentials) {
        (Addr::Inet(addr), _) => addr.ip().to_canonical().to_string(),
        (Addr::Unix(_), Some(credentials)) => format!("uid {}", credentials.uid),
        (Addr::Vsock { cid, .. }, _) => format!("cid {cid}"),
        (other, _) => other.to_string(),
    }
}

/// One client's part in a chat.
struct Talk<'a> {
    chat: &'a Chat,
    id: u64,
    terms: &'a Terms,
    input: Input,
    /// How what is written to it is told apart; packets are so before they leave.
    framing: Framing,
    /// What is being written: whole messages, of which the first `written` bytes are gone.
    out: Vec<u8>,
    written: usize,
    /// How many messages it has said.
    said: u64,
    /// Whether anything went either way since `last`.
    moved: bool,
    last: Instant,
    /// Until when it waits for a slow one.
    patience: Option<Instant>,
    alarm: Alarm,
}

/// How a talk ends.
enum Ending {
    Left,
    Stopped,
    /// Nothing went either way for so long.
    Idle(Duration),
    /// It read too slowly.
    Out,
    Wrong(wire::Error),
}

impl<'a> Talk<'a> {
    fn new(chat: &'a Chat, id: u64, terms: &'a Terms, input: Input, framing: Framing) -> Self {
        let (last, alarm) = (Instant::now(), Alarm::default());
        Self {
            chat,
            id,
            terms,
            input,
            framing,
            out: Vec::new(),
            written: 0,
            said: 0,
            moved: false,
            last,
            patience: None,
            alarm,
        }
    }

    async fn until_end(&mut self) -> io::Result<Ending> {
        let mut stopped = pin!(self.terms.stop.wait());
        let mut stopping = false;
        poll_fn(|cx| {
            if let Poll::Ready(ended) = self.poll_write(cx) {
                return Poll::Ready(ended.map(|()| Ending::Out));
            }
            if let Poll::Ready(ended) = self.poll_say(cx) {
                return Poll::Ready(ended);
            }
            stopping = stopping || stopped.as_mut().poll(cx).is_ready();
            if stopping && self.patience.is_none() && self.out.is_empty() && !self.input.has_input() {
                return Poll::Ready(Ok(Ending::Stopped));
            }
            self.poll_time(cx)
        })
        .await
    }

    /// Writes what the others say; ready when the room has put this one out.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.written < self.out.len() {
                let Poll::Ready(written) = self.poll_write_some(cx) else {
                    // Whoever reads nothing is put out while there is something to be written.
                    return if self.chat.room().is_out(self.id, cx.waker()) {
                        Poll::Ready(Ok(()))
                    } else {
                        Poll::Pending
                    };
                };
                self.written += written?;
                self.moved = true;
            }
            self.out.clear();
            self.written = 0;
            match self.chat.room().take_unread(self.id, &mut self.out, cx.waker()) {
                Unread::Some => {}
                Unread::Out => return Poll::Ready(Ok(())),
                Unread::Nothing => {
                    if self.out.capacity() > SMALL {
                        self.out = Vec::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes some of a stream, or a packet.
    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let rest = &self.out[self.written..];
        let written = match &mut self.input {
            Input::Lines { stream, .. } => ready!(Pin::new(stream).poll_write(cx, rest))?,
            Input::Packets { packets, .. } => {
                let (packet, length) = first_packet(rest);
                match ready!(packets.poll_send(cx, &packet)) {
                    // What is said over a stream can be more than one packet takes: that is not the fault of who hears it.
                    Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                        ready!(packets.poll_send(cx, too_long(packet.len()).as_bytes()))?;
                    }
                    sent => sent?,
                }
                length
            }
        };
        Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
    }

    /// Says what this one has to say, for as long as all can be told it.
    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ending>> {
        loop {
            match ready!(self.input.poll_message(cx))? {
                Heard::End => return Poll::Ready(Ok(Ending::Left)),
                Heard::Wrong(error) => return Poll::Ready(Ok(Ending::Wrong(error))),
                Heard::Message => {}
            }
            if self.chat.room().say(self.id, self.input.message(), cx.waker()) {
                self.input.drop_message();
                self.said += 1;
                self.moved = true;
                self.patience = None;
                continue;
            }
            let due = *self.patience.get_or_insert_with(|| Instant::now() + PATIENCE);
            ready!(self.alarm.poll(cx, Some(due)));
            self.chat.room().put_out_the_slow(self.id);
        }
    }

    /// Ready when nothing went either way for too long. The time is looked at only when there is nothing else to do.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Ending>> {
        if take(&mut self.moved) {
            self.last = Instant::now();
        }
        let is_writing = !self.out.is_empty();
        let limit = if is_writing { self.terms.write_timeout } else { self.terms.idle_timeout };
        let due = limit.and_then(|limit| self.last.checked_add(limit));
        let soonest = [due, self.patience].into_iter().flatten().min();
        ready!(self.alarm.poll(cx, soonest));
        match self.patience {
            // It is looked after at the next turn.
            Some(patience) if Some(patience) == soonest => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ if is_writing => Poll::Ready(Ok(Ending::Out)),
            _ => Poll::Ready(Ok(Ending::Idle(limit.unwrap_or_default()))),
        }
    }

    /// Sends what is left to be sent and, if it did not want to go, why it has to; then closes.
    async fn end(mut self, ending: Ending) -> Conversation {
        let trouble = match &ending {
            Ending::Left | Ending::Stopped => None,
            Ending::Idle(idle) => Some(format!("nothing was said for {idle:?}")),
            Ending::Out => Some(format!("<user{}> reads too slowly what the others say", self.id)),
            Ending::Wrong(error) => Some(error.to_string()),
        };
        if let Some(trouble) = &trouble {
            let word = if matches!(ending, Ending::Wrong(_)) { refusal(trouble) } else { not_now(trouble) };
            self.framing.encode(word.as_bytes(), &mut self.out);
        }
        // Whoever does not read in this time does not want to know.
        let _ = timeout(CLOSE_TIMEOUT, self.write_rest()).await;
        let had = self.had(trouble);
        match self.input {
            // After the peer's end there is nothing to be read.
            Input::Lines { mut stream, .. } => {
                let discard = if matches!(ending, Ending::Left) { 0 } else { CLOSE_DISCARD };
                self.terms.close(&mut stream, discard).await;
            }
            Input::Packets { packets, .. } => self.terms.close_packets(&packets).await,
        }
        had
    }

    fn had(&self, trouble: Option<String>) -> Conversation {
        Conversation { messages: self.said, had_message: true, trouble }
    }

    async fn write_rest(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            self.written += poll_fn(|cx| self.poll_write_some(cx)).await?;
        }
        Ok(())
    }
}

/// What a member is told instead of something that was said and is too long for its packets.
fn too_long(bytes: usize) -> String {
    format!("<announce> {bytes} bytes were said, which are too many for one packet.\n")
}

/// The first of the packets that wait, with a newline behind it for whoever shows it, and how many bytes it has among them.
fn first_packet(waiting: &[u8]) -> (Vec<u8>, usize) {
    let Some((prefix, rest)) = waiting.split_first_chunk::<LENGTH_PREFIX>() else { return (Vec::new(), 0) };
    let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX).min(rest.len());
    let mut packet = rest[..length].to_vec();
    packet.push(b'\n');
    (packet, LENGTH_PREFIX + length)
}
