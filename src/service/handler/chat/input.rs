//! `Input`: the messages of one member of a chat, one at a time, over a stream or packets.
//!
//! Apart from the conversation, which may have to keep a message until there is room for it: then nothing more is read.

use std::io;
use std::task::{Context, Poll, ready};

use crate::net::{PacketSocket, Stream};
use crate::service::handler::buffer::with_input;
use crate::service::workspace::Inbox;
use crate::wire;

/// What comes of a member.
pub(super) enum Heard {
    /// A message: [`Input::message`] has it.
    Message,
    /// Something that is none; nothing can come after it.
    Wrong(wire::Error),
    End,
}

/// Where a member's messages come from.
pub(super) enum Input {
    Lines { stream: Stream, inbox: Inbox, next: usize, after: After },
    Packets { packets: PacketSocket, limit: usize, held: Option<Vec<u8>> },
}

/// What there is behind the messages that were found.
#[derive(Default)]
pub(super) enum After {
    /// Whatever is read next.
    #[default]
    Read,
    /// Perhaps others, in what was read.
    More,
    End,
    Wrong(wire::Error),
}

impl Input {
    pub(super) fn of_stream(stream: Stream, inbox: Inbox) -> Self {
        Self::Lines { stream, inbox, next: 0, after: After::Read }
    }

    /// Packets of at most `limit` bytes; 0 is no limit but that of the buffer.
    pub(super) fn of_packets(packets: PacketSocket, limit: usize) -> Self {
        Self::Packets { packets, limit: if limit == 0 { usize::MAX } else { limit }, held: None }
    }

    /// Waits for a message. As long as it was not [`Input::drop_message`]d it is the same.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Heard>> {
        match self {
            Self::Lines { stream, inbox, next, after } => loop {
                if *next < inbox.found().map_or(0, |(messages, _)| messages.len()) {
                    return Poll::Ready(Ok(Heard::Message));
                }
                inbox.handled();
                *next = 0;
                let ended = match std::mem::take(after) {
                    After::Wrong(error) => return Poll::Ready(Ok(Heard::Wrong(error))),
                    After::End => return Poll::Ready(Ok(Heard::End)),
                    After::More => false,
                    After::Read => ready!(inbox.poll_read(cx, stream))? == 0,
                };
                *after = match if ended { inbox.finish().map(|()| false) } else { inbox.decode() } {
                    Err(error) => After::Wrong(error),
                    Ok(_) if ended => After::End,
                    Ok(true) => After::More,
                    Ok(false) => After::Read,
                };
            },
            Self::Packets { packets, limit, held } => {
                if held.is_none() {
                    let packet = ready!(with_input(|buffer| {
                        let received = ready!(packets.poll_recv(cx, buffer))?;
                        let most = (*limit).min(buffer.len());
                        let is_too_long = received.sent > most;
                        let packet = (!is_too_long).then(|| buffer[..received.length].to_vec());
                        Poll::Ready(io::Result::Ok(packet.ok_or(wire::Error::TooLong { limit: most })))
                    }))?;
                    match packet {
                        Err(error) => return Poll::Ready(Ok(Heard::Wrong(error))),
                        Ok(packet) if packet.is_empty() => return Poll::Ready(Ok(Heard::End)),
                        Ok(packet) => *held = Some(packet),
                    }
                }
                Poll::Ready(Ok(Heard::Message))
            }
        }
    }

    /// The message that was heard, without its end of line.
    pub(super) fn message(&self) -> &[u8] {
        let message = match self {
            Self::Lines { inbox, next, .. } => {
                inbox.found().and_then(|(messages, spans)| messages.selected(spans.get(*next..=*next)?).iter().next())
            }
            Self::Packets { held, .. } => held.as_deref().map(|packet| packet.strip_suffix(b"\n").unwrap_or(packet)),
        };
        let message = message.unwrap_or_default();
        message.strip_suffix(b"\r").unwrap_or(message)
    }

    /// Goes on to the next one.
    pub(super) fn drop_message(&mut self) {
        match self {
            Self::Lines { next, .. } => *next += 1,
            Self::Packets { held, .. } => *held = None,
        }
    }

    /// Whether something can be read at this moment.
    pub(super) fn has_input(&self) -> bool {
        match self {
            Self::Lines { stream, .. } => stream.has_input(),
            Self::Packets { packets, .. } => packets.socket().has_input(),
        }
    }
}
