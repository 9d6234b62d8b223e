//! `Stream`: a connected, ordered sequence of bytes in both directions.
//!
//! One of the two interfaces to a connection; [`PacketSocket`](super::PacketSocket) is the other. What carries the bytes is a
//! value inside, so that all that is built on a stream takes any of them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::tap::Tapped;
use super::{Direction, Socket};

/// A connected stream: read to its end, written until it is shut down.
///
/// Closing it while there is unread input makes the kernel answer with a reset, which can destroy what the peer has not
/// read yet: [`Stream::close`] avoids that.
#[derive(Debug)]
pub struct Stream {
    carrier: Carrier,
    shut_down: bool,
    tapped: Option<Box<Tapped>>,
}

#[derive(Debug)]
enum Carrier {
    Socket(Socket),
    Memory(DuplexStream),
}

impl Stream {
    /// Two connected streams in memory, with `capacity` bytes of buffer in each direction: for tests.
    pub fn pair(capacity: usize) -> (Self, Self) {
        let (one, two) = tokio::io::duplex(capacity);
        (Self::over(Carrier::Memory(one)), Self::over(Carrier::Memory(two)))
    }

    /// The kernel socket that carries the stream, for options and attributes; none in memory.
    pub fn socket(&self) -> Option<&Socket> {
        match &self.carrier {
            Carrier::Socket(socket) => Some(socket),
            Carrier::Memory(_) => None,
        }
    }

    /// Whether something can be read at this moment, its end included. A stream in memory does not tell.
    pub fn has_input(&self) -> bool {
        self.socket().is_some_and(Socket::has_input)
    }

    /// Whether its sending direction was ended.
    pub fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// Ends the sending direction, reads what the peer still sends to its end, then closes. At most `limit` bytes
    /// are read and dropped; bound the time with a timeout around the call.
    ///
    /// # Errors
    /// The connection was lost before the peer had ended it.
    pub async fn close(mut self, limit: usize) -> io::Result<()> {
        self.finish(limit).await
    }

    /// [`Stream::close`] without the last step: the stream is closed when it is dropped.
    ///
    /// # Errors
    /// As for [`Stream::close`].
    pub async fn finish(&mut self, limit: usize) -> io::Result<()> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        self.shutdown().await?;
        let mut left = limit;
        // In a box: a connection that is open should not be larger for how it ends.
        let mut scrap = vec![0; 4096];
        while left > 0 {
            match self.read(&mut scrap).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    }

    /// Shows what passes from now on.
    pub(super) fn tap(&mut self, tapped: Option<Box<Tapped>>) {
        self.tapped = tapped;
    }

    fn over(carrier: Carrier) -> Self {
        Self { carrier, shut_down: false, tapped: None }
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self::over(Carrier::Socket(socket))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        let before = buffer.filled().len();
        ready!(match &mut stream.carrier {
            Carrier::Socket(socket) => {
                let read = ready!(socket.poll_recv(cx, buffer.initialize_unfilled()))?;
                buffer.advance(read);
                Poll::Ready(Ok(()))
            }
            Carrier::Memory(memory) => Pin::new(memory).poll_read(cx, buffer),
        })?;
        if let Some(tapped) = &stream.tapped {
            tapped.pass(Direction::Received, &buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        let written = ready!(match &mut stream.carrier {
            Carrier::Socket(socket) => socket.poll_send(cx, bytes),
            Carrier::Memory(memory) => Pin::new(memory).poll_write(cx, bytes),
        })?;
        if let Some(tapped) = &stream.tapped {
            tapped.pass(Direction::Sent, &bytes[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().carrier {
            Carrier::Socket(_) => Poll::Ready(Ok(())),
            Carrier::Memory(memory) => Pin::new(memory).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        match &mut stream.carrier {
            Carrier::Socket(socket) => Poll::Ready(match socket.shutdown(std::net::Shutdown::Write) {
                // The peer has closed already: there is nobody left to tell.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                result => {
                    stream.shut_down |= result.is_ok();
                    result
                }
            }),
            Carrier::Memory(memory) => Pin::new(memory).poll_shutdown(cx),
        }
    }
}
