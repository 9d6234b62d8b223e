//! One connection of sequenced packets, and how any packet is answered.
//!
//! Apart from streams: a packet is a message, its answer a packet, and nothing needs framing.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::assured;
use super::setting::{GIVEN_AWAY, Setting};
use crate::net::{Packet, PacketSocket, plain};
use crate::service::limits::Ticket;
use crate::service::workspace::Workspace;
use crate::service::{Conversation, Messages, Observed, Outcome, Outcomes, Peer, READ_SIZE};
use crate::wire::assured::MAX_HEADER;
use crate::wire::{self, Span};

/// Serves one connection of sequenced packets until the peer has ended it or the server is to stop.
pub(super) async fn converse(
    setting: &Setting,
    socket: &PacketSocket,
    peer: &Peer,
    place: &mut Ticket,
) -> Conversation {
    let mut had = Conversation::default();
    for number in 1.. {
        let received = poll_fn(|cx| match poll_recv(cx, socket, setting.max_message) {
            Poll::Pending => place.poll_given_away(cx).map(|()| Ok(None)),
            received => received.map_ok(Some),
        });
        let (packet, mut workspace) = match setting.terms.input(received, || socket.socket().has_input()).await {
            // A packet of no bytes is the end of the connection.
            Ok(None | Some(Some((Packet { sent: 0, .. }, _)))) => break,
            Ok(Some(Some(received))) => received,
            Ok(Some(None)) => {
                let words = format!("{}\n", wire::plain::not_now(GIVEN_AWAY));
                had.trouble = Some(GIVEN_AWAY.to_owned());
                // Another has its place already: it is waited for no longer.
                let _ = setting.terms.written(socket.send(words.as_bytes())).await;
                return had;
            }
            Err(error) => {
                had.trouble = Some(plain(&error));
                break;
            }
        };
        place.heard();
        if number == 1
            && let Some(assured) = &setting.assured
            && assured::begins_session(&workspace.input[..packet.length])
        {
            let first = workspace.input[..packet.length].to_vec();
            workspace.give_back();
            return Box::pin(assured::converse_packets(setting, assured, socket, peer, &first)).await;
        }
        had.had_message = true;
        let Workspace { input, outcomes, .. } = &mut *workspace;
        let answer = answer_packet(setting, input, packet, number, peer, outcomes).await;
        workspace.give_back();
        had.messages += u64::from(answer.counts);
        if let Some(bytes) = &answer.bytes
            && let Err(error) = setting.terms.written(socket.send(bytes)).await
        {
            had.trouble = Some(plain(&error));
            break;
        }
        if answer.counts {
            setting.tell(Observed::Acknowledged(peer, 1)).await;
        }
        if !answer.goes_on {
            break;
        }
    }
    if let Some(trouble) = &had.trouble {
        tracing::warn!("{peer}: {trouble}");
    }
    setting.terms.close_packets(socket).await;
    had
}

/// Receives a packet into a buffer that is borrowed only once there is one.
fn poll_recv(cx: &mut Context<'_>, socket: &PacketSocket, limit: usize) -> Poll<io::Result<(Packet, Box<Workspace>)>> {
    ready!(socket.socket().poll_readable(cx))?;
    let mut workspace = Workspace::take();
    // However short messages have to be, the opening of a session fits.
    let size = packet_buffer(limit).max(MAX_HEADER + 2);
    if workspace.input.len() < size {
        // Of what the kernel gives as zeros only what a packet fills is ever touched.
        workspace.input = vec![0; size];
    }
    match socket.poll_recv(cx, &mut workspace.input[..size]) {
        Poll::Ready(received) => Poll::Ready(received.map(|packet| (packet, workspace))),
        Poll::Pending => {
            workspace.give_back();
            Poll::Pending
        }
    }
}

/// What a packet is answered with.
pub(super) struct Answer {
    /// The answer; none where nothing is to be said.
    pub(super) bytes: Option<Bytes>,
    /// Whether the message was handled.
    pub(super) counts: bool,
    /// Whether others can be.
    pub(super) goes_on: bool,
}

/// Handles one packet as one message, of this number in its connection.
pub(super) async fn answer_packet(
    setting: &Setting,
    buffer: &[u8],
    packet: Packet,
    number: u64,
    peer: &Peer,
    outcomes: &mut Outcomes,
) -> Answer {
    if let Some(reason) = too_long(setting, packet) {
        return refused(setting, peer, &reason).await;
    }
    outcomes.clear();
    let span = [Span { start: 0, end: packet.length }];
    setting.handler.handle(Messages::of_packets(buffer, &span).from_number(number), peer, outcomes).await;
    outcomes.complete(1);
    let outcome = outcomes.take_next().map_or(Outcome::Done, |(outcome, _)| outcome);
    answer_outcome(setting, peer, outcome).await
}

/// The answer that says what has become of a message.
pub(super) async fn answer_outcome(setting: &Setting, peer: &Peer, outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Done => Answer { bytes: setting.packet_acknowledgement.clone(), counts: true, goes_on: true },
        Outcome::Reply(reply) => Answer { bytes: Some(reply), counts: true, goes_on: true },
        Outcome::Refuse(reason) => refused(setting, peer, &reason).await,
        Outcome::Retry(reason) => {
            tracing::info!("{peer}: not acknowledged: {reason}");
            let words = format!("{}\n", wire::plain::not_now(&reason));
            Answer { bytes: Some(words.into()), counts: false, goes_on: false }
        }
    }
}

/// The answer to a message that is refused for good.
pub(super) async fn refused(setting: &Setting, peer: &Peer, reason: &str) -> Answer {
    tracing::warn!("{peer}: refused: {reason}");
    setting.tell(Observed::Refused(peer, reason)).await;
    Answer { bytes: Some(format!("{}\n", wire::plain::refusal(reason)).into()), counts: false, goes_on: true }
}

/// Why a packet cannot be handled: it is longer than a message may be. What did not fit into the buffer is lost.
pub(super) fn too_long(setting: &Setting, packet: Packet) -> Option<String> {
    let limit = if setting.max_message == 0 { usize::MAX } else { setting.max_message };
    let is_too_long = packet.is_cut() || packet.sent > limit;
    is_too_long.then(|| wire::Error::TooLong { limit: limit.min(packet.length) }.to_string())
}

/// The buffer for packets of at most `limit` bytes (0: whatever the kernel lets through by default).
pub(super) fn packet_buffer(limit: usize) -> usize {
    const LARGEST: usize = 16 * READ_SIZE;
    if limit == 0 { LARGEST } else { limit.clamp(1, LARGEST) }
}
