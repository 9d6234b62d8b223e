//! Echo and discard: everything is read to its end, and returned or not.
//!
//! Apart from conversations of messages, whose buffers and decoders it does without: what was read is written from the buffer
//! of the thread in the same turn, so that neither an idle nor a busy connection holds any. Only a peer that sends and does
//! not read has something kept for it: one read, and no other until that is gone.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::carrier::{End, has_input, poll_read, poll_write};
use crate::net::Connection;
use crate::service::Conversation;
use crate::service::alarm::Alarm;
use crate::service::handler::Terms;
use crate::service::handler::buffer::with_input;

/// What is returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Back {
    All,
    Nothing,
}

/// Reads until the peer has ended, nothing comes for too long, or the server is to stop.
///
/// # Errors
/// The connection is lost, or the peer takes nothing of what is returned.
pub(super) async fn converse(
    connection: &mut Connection,
    terms: &Terms,
    back: Back,
    had: &mut Conversation,
) -> io::Result<End> {
    let mut stopped = pin!(terms.stop.wait());
    let mut kept = Kept::default();
    let mut clock = Clock { moved: true, last: Instant::now(), alarm: Alarm::default() };
    let mut stopping = false;
    poll_fn(|cx| {
        loop {
            match poll_turn(connection, cx, &mut kept, back) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(End::Theirs)),
                Poll::Ready(Ok(_)) => {
                    had.had_message = true;
                    clock.moved = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if kept.is_empty() {
            kept = Kept::default();
            stopping = stopping || stopped.as_mut().poll(cx).is_ready();
            // Whether something has arrived is asked of the kernel: what the runtime knows of it is as old as its last turn.
            if stopping && !has_input(connection) {
                return Poll::Ready(Ok(End::Ours));
            }
        }
        clock.poll(cx, terms, &kept)
    })
    .await
}

/// Writes what is kept, or reads once and writes that. Gives how many bytes were moved, of which none is the end.
fn poll_turn(
    connection: &mut Connection,
    cx: &mut Context<'_>,
    kept: &mut Kept,
    back: Back,
) -> Poll<io::Result<usize>> {
    if !kept.is_empty() {
        let written = ready!(poll_write(connection, cx, kept.rest()))?;
        kept.written += written;
        return Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) });
    }
    with_input(|input| {
        let read = ready!(poll_read(connection, cx, input))?;
        if read == 0 || back == Back::Nothing {
            return Poll::Ready(Ok(read));
        }
        let written = match poll_write(connection, cx, &input[..read]) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if written < read {
            kept.keep(&input[written..read]);
        }
        Poll::Ready(Ok(read))
    })
}

/// What a peer has sent and not yet taken back: at most one read.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    written: usize,
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.written = 0;
    }
}

/// How long the peer has been waited for. The time is looked at only when there is nothing else to do.
struct Clock {
    /// Whether anything was moved since `last`.
    moved: bool,
    last: Instant,
    alarm: Alarm,
}

impl Clock {
    fn poll(&mut self, cx: &mut Context<'_>, terms: &Terms, kept: &Kept) -> Poll<io::Result<End>> {
        let limit = if kept.is_empty() { terms.idle_timeout } else { terms.write_timeout };
        if std::mem::take(&mut self.moved) {
            self.last = Instant::now();
        }
        let due = limit.and_then(|limit| self.last.checked_add(limit));
        ready!(self.alarm.poll(cx, due));
        Poll::Ready(if kept.is_empty() {
            tracing::info!("nothing came for {:?}", limit.unwrap_or_default());
            Ok(End::Ours)
        } else {
            Err(Terms::reads_nothing())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::{Socket, Stream, Type};
    use crate::service::Stop;

    const IDLE: Duration = Duration::from_secs(60);
    const WRITE: Duration = Duration::from_secs(30);

    /// Has a conversation with what `peer` does, and gives how it ended and after how many seconds.
    async fn converse_with<P: Future<Output = Stream>>(peer: impl FnOnce(Stream) -> P) -> (io::Result<End>, u64) {
        let (_stopper, stop) = Stop::new();
        let terms = Terms { stop, idle_timeout: Some(IDLE), write_timeout: Some(WRITE) };
        let (one, other) = Stream::pair(1000);
        let (start, mut connection, mut had) = (Instant::now(), Connection::from(one), Conversation::default());
        let conversation = converse(&mut connection, &terms, Back::All, &mut had);
        let (ended, _peer) = tokio::join!(conversation, peer(other));
        (ended, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sends_and_does_not_read_is_cut() {
        let (ended, seconds) = converse_with(|mut peer| async {
            peer.write_all(&[7; 2500]).await.expect("there is room on the way");
            peer
        })
        .await;
        assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert_eq!(seconds, WRITE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_a_little_is_not() {
        let (ended, seconds) = converse_with(|mut peer| async {
            peer.write_all(&[7; 2500]).await.expect("there is room on the way");
            for _ in 0..25 {
                tokio::time::sleep(WRITE / 2).await;
                peer.read_exact(&mut [0; 100]).await.expect("what was sent");
            }
            peer
        })
        .await;
        // Then nothing comes any more.
        assert_eq!(ended.expect("an end in order"), End::Ours);
        assert!(seconds > 20 * WRITE.as_secs() / 2, "{seconds}");
    }

    #[tokio::test]
    async fn what_has_arrived_by_a_stop_is_taken_in_however_many_turns() {
        let (one, other) = Socket::pair(Type::SEQPACKET).expect("a pair");
        let (stopper, stop) = Stop::new();
        // More than the runtime lets a task receive in one turn.
        for _ in 0..200 {
            other.send(b"x").await.expect("there is room");
        }
        stopper.stop();
        let terms = Terms { stop, idle_timeout: None, write_timeout: None };
        let (mut connection, mut had) = (Connection::from(one), Conversation::default());
        let ended = converse(&mut connection, &terms, Back::Nothing, &mut had).await;
        assert_eq!(ended.expect("an end in order"), End::Ours);
        assert!(!has_input(&connection));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_is_left() {
        let (ended, seconds) = converse_with(|peer| async { peer }).await;
        assert_eq!((ended.expect("an end in order"), seconds), (End::Ours, IDLE.as_secs()));
    }
}
