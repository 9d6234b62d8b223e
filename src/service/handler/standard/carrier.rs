//! How a simple service reads and writes: bytes of a stream, or the packets of a connection.
//!
//! Apart from the services, which are the same over both.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Connection;
use crate::service::READ_SIZE;
use crate::service::handler::buffer::BUFFER;
use crate::service::handler::{CLOSE_DISCARD, Terms};

/// Whose wish it was that a conversation is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The peer has said all.
    Theirs,
    /// The service has.
    Ours,
}

/// Reads what has come: bytes, or one packet. Nothing is the end.
pub(super) fn poll_read(
    connection: &mut Connection,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    match connection {
        Connection::Stream(stream) => {
            let mut buffer = ReadBuf::new(&mut buffer[..READ_SIZE]);
            ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().len()))
        }
        Connection::Packets(packets) => {
            let packet = ready!(packets.poll_recv(cx, buffer))?;
            let cut = || io::Error::new(io::ErrorKind::InvalidData, format!("a packet of more than {BUFFER} bytes"));
            Poll::Ready(if packet.is_cut() { Err(cut()) } else { Ok(packet.length) })
        }
    }
}

/// Writes what is taken of some bytes; a packet is taken whole.
pub(super) fn poll_write(connection: &mut Connection, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match connection {
        Connection::Stream(stream) => Pin::new(stream).poll_write(cx, bytes),
        Connection::Packets(packets) => packets.poll_send(cx, bytes).map_ok(|()| bytes.len()),
    }
}

/// Writes all bytes, or one packet.
pub(super) async fn write_all(connection: &mut Connection, terms: &Terms, bytes: &[u8]) -> io::Result<()> {
    match connection {
        Connection::Stream(stream) => terms.write_all(stream, bytes).await,
        Connection::Packets(packets) => terms.written(packets.send(bytes)).await,
    }
}

/// Whether something can be read at this moment, the end included.
pub(super) fn has_input(connection: &Connection) -> bool {
    connection.socket().is_some_and(crate::net::Socket::has_input)
}

/// Closes a connection so that the peer reads all that was written: what is unread then would make a reset of it.
pub(super) async fn close(connection: Connection, terms: &Terms, end: End) {
    match connection {
        Connection::Stream(mut stream) => {
            terms.close(&mut stream, if end == End::Theirs { 0 } else { CLOSE_DISCARD }).await;
        }
        Connection::Packets(packets) => terms.close_packets(&packets).await,
    }
}

/// Whether an error says that the peer has closed.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
