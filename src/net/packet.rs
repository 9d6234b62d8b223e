//! `PacketSocket`: messages with boundaries, in the types datagram and sequenced packet.
//!
//! One of the two interfaces to a connection; [`Stream`](super::Stream) is the other. They are never mixed: a packet arrives
//! whole, alone, and (datagrams) from anyone.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use super::tap::Tapped;
use super::{Addr, Arrival, Burst, Direction, Socket};

/// The longest payload of a UDP datagram over IPv4: 65,535 bytes less the headers (RFC 768, RFC 791).
pub const MAX_UDP_PAYLOAD: usize = 65_507;

/// A socket that sends and receives packets: `udp`, `unix-dgram`, `unix-seqpacket`, `vsock-seqpacket`.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    /// Where packets go if the socket is not connected: to many at once, each of whom answers from an address of its own.
    many: Option<Box<Addr>>,
    tapped: Option<Box<Tapped>>,
}

/// What was received of one packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet {
    /// How many bytes are in the buffer.
    pub length: usize,
    /// How many bytes the packet had on the way: more than `length` if the buffer was too small.
    pub sent: usize,
}

impl Packet {
    /// Whether the buffer was too small for it, so that the rest is lost.
    pub fn is_cut(&self) -> bool {
        self.sent > self.length
    }

    pub(super) fn new(sent: usize, buffer: usize) -> Self {
        Self { length: sent.min(buffer), sent }
    }
}

impl PacketSocket {
    /// Receives a packet from the peer that the socket is connected to, or from whoever answers where that is many. A sequenced-packet socket tells the end of the
    /// connection by a packet of no bytes.
    ///
    /// # Errors
    /// As recv(2) has them; for UDP also that an earlier packet was refused.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<Packet> {
        let sent = self.socket.recv_packet(buffer).await?;
        let packet = Packet::new(sent, buffer.len());
        self.show(Direction::Received, None, &buffer[..packet.length]);
        Ok(packet)
    }

    /// [`PacketSocket::recv`] for those who poll: wakes the last task that asked.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Packet>> {
        let sent = ready!(self.socket.poll_recv_packet(cx, buffer))?;
        let packet = Packet::new(sent, buffer.len());
        self.show(Direction::Received, None, &buffer[..packet.length]);
        Poll::Ready(Ok(packet))
    }

    /// Receives a packet from anyone.
    ///
    /// # Errors
    /// As recvfrom(2) has them.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(Packet, Addr)> {
        let (sent, from) = self.socket.recv_from(buffer).await?;
        let packet = Packet::new(sent, buffer.len());
        self.show(Direction::Received, Some(&from), &buffer[..packet.length]);
        Ok((packet, from))
    }

    /// Receives the packets that are there, from anyone: as many as there is room for, and one at least.
    ///
    /// # Errors
    /// As recvmsg(2) has them.
    pub async fn recv_burst(&self, burst: &mut Burst) -> io::Result<()> {
        self.socket.recv_burst(burst).await?;
        for received in burst.received() {
            self.show(Direction::Received, Some(&received.from), burst.bytes_of(received));
        }
        Ok(())
    }

    /// Sends one packet to the peer that the socket is connected to, or to the many.
    ///
    /// # Errors
    /// As send(2) has them: the packet is too long (`EMSGSIZE`), the peer is gone.
    pub async fn send(&self, packet: &[u8]) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx, packet)).await
    }

    /// [`PacketSocket::send`] for those who poll: wakes the last task that asked.
    pub fn poll_send(&self, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<()>> {
        // A packet is sent whole or not at all, so that the count says nothing.
        ready!(match &self.many {
            None => self.socket.poll_send(cx, packet),
            Some(many) => self.socket.poll_send_to(cx, packet, many),
        })?;
        self.show(Direction::Sent, None, packet);
        Poll::Ready(Ok(()))
    }

    /// Sends one packet to an address.
    ///
    /// # Errors
    /// As sendto(2) has them.
    pub async fn send_to(&self, packet: &[u8], addr: &Addr) -> io::Result<()> {
        self.socket.send_to(packet, addr).await?;
        self.show(Direction::Sent, Some(addr), packet);
        Ok(())
    }

    /// Sends one packet to an address if there is room for it now; an answer, from the address that the question came to.
    ///
    /// # Errors
    /// As for [`PacketSocket::send_to`]; `WouldBlock` if there is no room.
    pub fn try_send_to(&self, packet: &[u8], addr: &Addr, arrival: Option<Arrival>) -> io::Result<()> {
        self.socket.try_send_to(packet, addr, arrival)?;
        self.show(Direction::Sent, Some(addr), packet);
        Ok(())
    }

    /// Answers packets of a burst if there is room for that now. Each answer is given with the number of the packet that it
    /// answers, and leaves from the address that it came to. Those that cannot be sent are passed to `failed`, by their place
    /// among the answers, and do not keep the others.
    pub fn try_answer<B: AsRef<[u8]>>(
        &self,
        burst: &Burst,
        answers: &[(usize, B)],
        mut failed: impl FnMut(usize, io::Error),
    ) {
        self.socket.try_answer(burst, answers, |at, sent| match sent {
            Ok(()) => {
                let (number, bytes) = &answers[at];
                self.show(Direction::Sent, Some(&burst.received()[*number].from), bytes.as_ref());
            }
            Err(error) => failed(at, error),
        });
    }

    /// Shows what passes from now on.
    pub(super) fn tap(&mut self, tapped: Option<Box<Tapped>>) {
        self.tapped = tapped;
    }

    fn show(&self, direction: Direction, peer: Option<&Addr>, packet: &[u8]) {
        match (&self.tapped, peer) {
            (None, _) => {}
            (Some(tapped), None) => tapped.pass(direction, packet),
            (Some(tapped), Some(peer)) => tapped.pass_with(direction, &self.socket, peer, packet),
        }
    }

    /// A socket that sends to many at once, a multicast group or a broadcast address, and hears whoever answers.
    pub(super) fn to_many(socket: Socket, addr: Addr) -> Self {
        Self { socket, many: Some(Box::new(addr)), tapped: None }
    }

    /// The socket itself, for options, attributes and addresses.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl From<Socket> for PacketSocket {
    fn from(socket: Socket) -> Self {
        Self { socket, many: None, tapped: None }
    }
}
