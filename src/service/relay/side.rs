//! `Side`: one of the two that a relay joins, and what it can tell of what it was given.
//!
//! Apart from the relay, because that a byte was written says little: the kernel has it then. Whether the peer has taken it is
//! asked of the socket, each kind in its own way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::{Domain, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::RELAY_BUFFER;
use crate::net::{Connection, Packet, PacketSocket, Socket, Stream};

/// What was written to a side and not taken by its peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Untaken {
    /// So many bytes; what is taken here is what the peer's kernel has acknowledged (TCP).
    Bytes(u64),
    /// Something, in a measure of the kernel's own; what is taken here is what the peer's program has read (Unix).
    Something(u64),
}

impl Untaken {
    /// Whether all was taken.
    pub fn is_nothing(self) -> bool {
        self.measure() == 0
    }

    pub(super) fn measure(self) -> u64 {
        match self {
            Self::Bytes(measure) | Self::Something(measure) => measure,
        }
    }
}

/// One of the two that a relay joins. What has no kernel socket has nothing to tell.
pub trait Side: AsyncRead + AsyncWrite + Unpin {
    /// What was written and the peer has not taken yet; `None` where nobody can tell.
    fn untaken(&self) -> Option<Untaken> {
        None
    }

    /// The failure that the kernel has noted and not told yet.
    fn take_error(&self) -> Option<io::Error> {
        None
    }

    /// Whether the other side can end at all: datagrams have no end.
    fn has_end(&self) -> bool {
        true
    }
}

impl Side for Stream {
    fn untaken(&self) -> Option<Untaken> {
        let socket = self.socket()?;
        let queued = socket.queued_out()? as u64;
        Some(match socket.domain() {
            // The end of the stream has a place among the bytes (RFC 9293); it is not what is asked for.
            Domain::IPV4 | Domain::IPV6 => Untaken::Bytes(queued.saturating_sub(u64::from(self.is_shut_down()))),
            _ => Untaken::Something(queued),
        })
    }

    fn take_error(&self) -> Option<io::Error> {
        self.socket().and_then(Socket::take_error)
    }
}

impl Side for tokio::io::DuplexStream {}

/// A connection as a side: bytes of packets are read one after the other, and each write is a packet.
#[derive(Debug)]
pub enum Joined {
    /// A stream.
    Stream(Stream),
    /// Packets.
    Packets(Packets),
}

impl From<Connection> for Joined {
    fn from(connection: Connection) -> Self {
        match connection {
            Connection::Stream(stream) => Self::Stream(stream),
            Connection::Packets(socket) => Self::Packets(Packets::new(socket)),
        }
    }
}

impl Joined {
    /// Whether each write is a packet.
    pub fn is_packets(&self) -> bool {
        matches!(self, Self::Packets(_))
    }

    /// Ends the connection in order: at most `limit` bytes are read of what a stream still brings.
    ///
    /// # Errors
    /// The connection was lost before the peer had ended it.
    pub async fn close(self, limit: usize) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.close(limit).await,
            Self::Packets(_) => Ok(()),
        }
    }
}

impl Side for Joined {
    fn untaken(&self) -> Option<Untaken> {
        match self {
            Self::Stream(stream) => stream.untaken(),
            Self::Packets(packets) => packets.untaken(),
        }
    }

    fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::Stream(stream) => stream.take_error(),
            Self::Packets(packets) => packets.socket.socket().take_error(),
        }
    }

    fn has_end(&self) -> bool {
        match self {
            Self::Stream(_) => true,
            Self::Packets(packets) => packets.is_sequenced(),
        }
    }
}

impl AsyncRead for Joined {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Stream(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Packets(packets) => packets.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Joined {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Stream(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Packets(packets) => packets.socket.poll_send(cx, bytes).map_ok(|()| bytes.len()),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Stream(stream) => Pin::new(stream).poll_flush(cx),
            Self::Packets(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Stream(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Packets(packets) => Poll::Ready(packets.shut_down()),
        }
    }
}

/// A socket for packets as a side.
pub struct Packets {
    socket: Arc<PacketSocket>,
    /// The packet that is waited for: the buffer goes into the waiting and comes back with the packet.
    receiving: Option<Receiving>,
    /// The packet that came last, of which `given` bytes were handed on.
    buffer: Vec<u8>,
    length: usize,
    given: usize,
}

type Receiving = Pin<Box<dyn Future<Output = (Vec<u8>, io::Result<Packet>)> + Send>>;

impl Packets {
    fn new(socket: PacketSocket) -> Self {
        Self { socket: Arc::new(socket), receiving: None, buffer: vec![0; 2 * RELAY_BUFFER], length: 0, given: 0 }
    }

    /// Whether they come over a connection, so that one of no bytes is its end.
    fn is_sequenced(&self) -> bool {
        self.socket.socket().socket_type() != Type::DGRAM
    }

    fn untaken(&self) -> Option<Untaken> {
        let queued = self.socket.socket().queued_out().filter(|_| self.is_sequenced())?;
        Some(Untaken::Something(queued as u64))
    }

    fn shut_down(&self) -> io::Result<()> {
        if self.is_sequenced() { self.socket.socket().shutdown(std::net::Shutdown::Write) } else { Ok(()) }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.given == self.length {
            let Self { socket, receiving, buffer, .. } = self;
            let waiting = receiving.get_or_insert_with(|| {
                let (socket, mut buffer) = (socket.clone(), std::mem::take(buffer));
                Box::pin(async move {
                    let received = socket.recv(&mut buffer).await;
                    (buffer, received)
                })
            });
            let (buffer, received) = ready!(waiting.as_mut().poll(cx));
            (self.buffer, self.receiving, self.length, self.given) = (buffer, None, 0, 0);
            match received? {
                Packet { sent: 0, .. } if self.is_sequenced() => return Poll::Ready(Ok(())),
                packet => {
                    if packet.is_cut() {
                        tracing::warn!("a packet of {} bytes was cut to {}", packet.sent, packet.length);
                    }
                    self.length = packet.length;
                }
            }
        }
        let end = self.length.min(self.given + out.remaining());
        out.put_slice(&self.buffer[self.given..end]);
        self.given = end;
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").field("socket", &self.socket).finish_non_exhaustive()
    }
}
