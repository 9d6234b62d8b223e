//! `ConnectionHandler`: what a server does with whole connections, where messages are not the unit; and `Terms`: what every
//! conversation is held to.
//!
//! Apart from [`Handler`](super::Handler), which never sees a socket: a program that inherits one, or a service that answers
//! bytes as they come, is given the connection itself.

use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Instant, timeout};

use super::BoxFuture;
use crate::net::{Connection, PacketSocket, Stream};
use crate::service::alarm::Alarm;
use crate::service::{Conversation, Peer, Stop};

/// How long a peer is read after the server has ended the conversation. Closing at once would make the kernel answer what is
/// still coming with a reset, and destroy what the peer has not read yet.
pub(in crate::service) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many bytes of a peer are read at the most after the server has ended the conversation: enough for a client that has sent a
/// whole file by mistake to read why it was refused, before the kernel cuts it off.
pub(in crate::service) const CLOSE_DISCARD: usize = 16 * 1024 * 1024;

/// What a server does with connections: everything between accepting one and its end.
pub trait ConnectionHandler: Send + Sync {
    /// Has the conversation, closes the connection in order ([`Terms::close`]), and says what it was.
    fn converse<'a>(&'a self, connection: Connection, peer: &'a Peer, terms: &'a Terms) -> BoxFuture<'a, Conversation>;
}

/// A handler that was chosen while the program ran.
impl ConnectionHandler for Box<dyn ConnectionHandler> {
    fn converse<'a>(&'a self, connection: Connection, peer: &'a Peer, terms: &'a Terms) -> BoxFuture<'a, Conversation> {
        self.as_ref().converse(connection, peer, terms)
    }
}

/// What a conversation is held to by its server.
#[derive(Clone, Debug)]
pub struct Terms {
    /// When it is to come to its end.
    pub stop: Stop,
    /// How long nothing may come before the peer is taken for gone; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// How long the peer may take nothing of what is written to it; `None` is for ever.
    pub write_timeout: Option<Duration>,
}

impl Terms {
    /// Writes all bytes, for as long as the peer takes some of them in each [`Terms::write_timeout`].
    ///
    /// # Errors
    /// The connection is lost, or the peer reads nothing (`TimedOut`).
    pub async fn write_all(&self, stream: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
        let mut alarm = Alarm::default();
        let mut due = None;
        while !bytes.is_empty() {
            let written = poll_fn(|cx| match Pin::new(&mut *stream).poll_write(cx, bytes) {
                Poll::Ready(written) => Poll::Ready(written),
                Poll::Pending => {
                    // Only a peer that is slow costs a look at the clock.
                    due = due.or_else(|| Instant::now().checked_add(self.write_timeout?));
                    alarm.poll(cx, due).map(|()| Err(Self::reads_nothing()))
                }
            })
            .await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
            due = None;
        }
        Ok(())
    }

    /// Waits for input for as long as the conversation may be idle; gives `None` once it is to stop and nothing has arrived.
    /// `has_input` asks the kernel for that.
    ///
    /// # Errors
    /// As the input has them; `TimedOut` if nothing came.
    pub async fn input<T>(
        &self,
        input: impl Future<Output = io::Result<T>>,
        has_input: impl Fn() -> bool,
    ) -> io::Result<Option<T>> {
        let waiting = self.stop.unless_idle(input, has_input);
        let came = match self.idle_timeout {
            None => waiting.await,
            Some(idle) => timeout(idle, waiting)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("nothing came for {idle:?}")))?,
        };
        came.transpose()
    }

    /// Waits for a write for as long as the peer may take nothing.
    ///
    /// # Errors
    /// As the write has them; `TimedOut` if the peer reads nothing.
    pub async fn written<T>(&self, write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        match self.write_timeout {
            None => write.await,
            Some(limit) => timeout(limit, write).await.unwrap_or_else(|_| Err(Self::reads_nothing())),
        }
    }

    /// Ends a stream, which may then be dropped, so that the peer reads all that was written: ends the sending, and reads at most `limit` bytes of what
    /// still comes, for a short time.
    pub async fn close(&self, stream: &mut Stream, limit: usize) {
        // If the peer has gone there is nothing to wait for, and nothing to be said about it.
        let _ = timeout(CLOSE_TIMEOUT, stream.finish(limit)).await;
    }

    /// Closes a connection of packets so that the peer reads all that was sent, as [`Terms::close`] does a stream.
    pub async fn close_packets(&self, packets: &PacketSocket) {
        // The peer may have closed already.
        let _ = packets.socket().shutdown(Shutdown::Write);
        let mut scrap = [0];
        let rest = async { while packets.recv(&mut scrap).await.is_ok_and(|packet| packet.sent > 0) {} };
        let _ = timeout(CLOSE_TIMEOUT, rest).await;
    }

    /// What ends a conversation with a peer that takes nothing.
    pub(in crate::service) fn reads_nothing() -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing")
    }
}
