//! One connection of sequenced packets, and how any packet is answered.
//!
//! Apart from streams: a packet is a message, its answer a packet, and nothing needs framing.

use std::net::Shutdown;

use bytes::Bytes;
use tokio::time::timeout;

use super::setting::{Setting, check_outcomes};
use crate::net::{Packet, PacketSocket, plain};
use crate::service::handler::CLOSE_TIMEOUT;
use crate::service::{Conversation, Messages, Observed, Outcome, Peer, READ_SIZE};
use crate::wire::{self, Span};

/// Serves one connection of sequenced packets until the peer has ended it or the server is to stop.
pub(super) async fn converse(setting: &Setting, socket: &PacketSocket, peer: &Peer) -> Conversation {
    let mut had = Conversation::default();
    let mut buffer = vec![0; packet_buffer(setting.max_message)];
    let mut outcomes = Vec::new();
    loop {
        let packet = match setting.terms.input(socket.recv(&mut buffer), || socket.socket().has_input()).await {
            // A packet of no bytes is the end of the connection.
            Ok(None | Some(Packet { sent: 0, .. })) => break,
            Ok(Some(packet)) => packet,
            Err(error) => {
                had.trouble = Some(plain(&error));
                break;
            }
        };
        had.had_message = true;
        let answer = answer_packet(setting, &buffer, packet, peer, &mut outcomes).await;
        had.messages += u64::from(answer.counts);
        if let Some(bytes) = &answer.bytes
            && let Err(error) = socket.send(bytes).await
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
    // What is unread when the socket is closed would become a reset, and destroy answers that the peer has not read yet.
    let _ = socket.socket().shutdown(Shutdown::Write);
    let rest = async { while socket.recv(&mut buffer).await.is_ok_and(|packet| packet.sent > 0) {} };
    let _ = timeout(CLOSE_TIMEOUT, rest).await;
    had
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

/// Handles one packet as one message.
pub(super) async fn answer_packet(
    setting: &Setting,
    buffer: &[u8],
    packet: Packet,
    peer: &Peer,
    outcomes: &mut Vec<Outcome>,
) -> Answer {
    outcomes.clear();
    let refusal = async |reason: &str| {
        tracing::warn!("{peer}: refused: {reason}");
        setting.tell(Observed::Refused(peer, reason)).await;
        Answer { bytes: Some(format!("{}\n", wire::plain::refusal(reason)).into()), counts: false, goes_on: true }
    };
    let limit = if setting.max_message == 0 { usize::MAX } else { setting.max_message };
    if packet.is_cut() || packet.sent > limit {
        let limit = limit.min(buffer.len());
        return refusal(&wire::Error::TooLong { limit }.to_string()).await;
    }
    let span = [Span { start: 0, end: packet.length }];
    setting.handler.handle(Messages::of_packets(buffer, &span), peer, outcomes).await;
    check_outcomes(outcomes, 1);
    match outcomes.remove(0) {
        Outcome::Done => Answer { bytes: setting.packet_acknowledgement.clone(), counts: true, goes_on: true },
        Outcome::Reply(reply) => Answer { bytes: Some(reply), counts: true, goes_on: true },
        Outcome::Refuse(reason) => refusal(&reason).await,
        Outcome::Retry(reason) => {
            tracing::info!("{peer}: not acknowledged: {reason}");
            let words = format!("{}\n", wire::plain::not_now(&reason));
            Answer { bytes: Some(words.into()), counts: false, goes_on: false }
        }
    }
}

/// The buffer for packets of at most `limit` bytes (0: whatever the kernel lets through by default).
pub(super) fn packet_buffer(limit: usize) -> usize {
    const LARGEST: usize = 16 * READ_SIZE;
    if limit == 0 { LARGEST } else { limit.clamp(1, LARGEST) }
}
