//! The frames of a session over sequenced packets, one in each.
//!
//! Apart from streams: nothing has to be found in what comes, and nothing is left of it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::link::{Carrier, drive};
use super::session::Session;
use super::{Assured, packet_config};
use crate::net::{Packet, PacketSocket};
use crate::service::server::packets::packet_buffer;
use crate::service::server::setting::Setting;
use crate::service::{Conversation, Peer};
use crate::wire::assured::{ClientFrame, ReceiverConfig, ServerFrame};

/// Serves a session, whose first packet has come, until it is over.
pub(in crate::service::server) async fn converse(
    setting: &Setting,
    assured: &Assured,
    socket: &PacketSocket,
    peer: &Peer,
    first: &[u8],
) -> Conversation {
    let config = packet_config(&assured.config, packet_buffer(0));
    let mut session = Session::new(setting, assured, &*assured.packets, config.clone(), peer);
    let mut packets = Packets { socket, config, buffer: None, output: Outgoing::default() };
    packets.take(first, Packet { length: first.len(), sent: first.len() }, &mut session);
    drive(&setting.terms, peer, &mut session, &mut packets).await;
    setting.terms.close_packets(socket).await;
    session.finish().await
}

/// A connection of packets and what is on its way through it.
struct Packets<'a> {
    socket: &'a PacketSocket,
    config: Arc<ReceiverConfig>,
    /// While packets come.
    buffer: Option<Vec<u8>>,
    output: Outgoing,
}

impl Packets<'_> {
    fn take(&self, bytes: &[u8], packet: Packet, session: &mut Session<'_>) {
        take_packet(bytes, packet, self.config.max_body, session);
    }
}

/// Gives a session the frame of a packet.
pub(super) fn take_packet(bytes: &[u8], packet: Packet, max_body: u64, session: &mut Session<'_>) {
    let frame = match packet.is_cut() {
        true => ClientFrame::of_cut_packet(bytes, packet.sent),
        false => ClientFrame::of_packet(bytes, max_body),
    };
    match frame {
        Ok(frame) => session.take(frame, Instant::now()),
        Err(error) => session.broken(error),
    }
}

impl Carrier for Packets<'_> {
    fn poll_input(&mut self, cx: &mut Context<'_>, session: &mut Session<'_>) -> io::Result<bool> {
        if self.socket.socket().poll_readable(cx)?.is_pending() {
            self.buffer = None;
            return Ok(false);
        }
        // Of what the kernel gives as zeros only what a packet fills is ever touched.
        let mut buffer = self.buffer.take().unwrap_or_else(|| vec![0; packet_buffer(0)]);
        let Poll::Ready(received) = self.socket.poll_recv(cx, &mut buffer) else { return Ok(false) };
        match received? {
            Packet { sent: 0, .. } => session.ended(),
            packet => self.take(&buffer[..packet.length], packet, session),
        }
        self.buffer = Some(buffer);
        Ok(true)
    }

    fn put(&mut self, frame: &ServerFrame<'_>) {
        self.output.put(frame);
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(packet) = self.output.first() {
            ready!(self.socket.poll_send(cx, packet))?;
            self.output.drop_first();
        }
        Poll::Ready(Ok(()))
    }

    fn waiting(&self) -> usize {
        self.output.waiting()
    }
}

/// Packets that are to be sent, in one buffer.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: VecDeque<usize>,
    sent: usize,
}

impl Outgoing {
    pub(super) fn put(&mut self, frame: &ServerFrame<'_>) {
        frame.encode(&mut self.bytes);
        self.ends.push_back(self.bytes.len());
    }

    /// The one that is to be sent next.
    pub(super) fn first(&self) -> Option<&[u8]> {
        self.ends.front().map(|end| &self.bytes[self.sent..*end])
    }

    /// Drops the one that was sent.
    pub(super) fn drop_first(&mut self) {
        self.sent = self.ends.pop_front().unwrap_or(self.sent);
        if self.ends.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_one_by_one() {
        let mut packets = Outgoing::default();
        packets.put(&ServerFrame::Acknowledged(7));
        packets.put(&ServerFrame::Pong("x".into()));
        assert_eq!(packets.waiting(), 11);
        assert_eq!(packets.first(), Some(&b"A 7\n"[..]));
        packets.drop_first();
        assert_eq!(packets.first(), Some(&b"PONG x\n"[..]));
        packets.drop_first();
        assert_eq!((packets.first(), packets.waiting()), (None, 0));
    }
}
