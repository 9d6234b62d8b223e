//! `Server`: accepts connections and datagrams, gives each its conversation, and drains when it is told to stop.
//!
//! Apart from the conversations themselves, one file for each interface: here is only who is served when, and when it ends.

mod config;
mod datagrams;
mod packets;
mod setting;
mod stream;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Handler, Peer};
use crate::net::{BACKLOG, Connection, Incoming, Listener, PacketSocket, plain};

pub use config::{Conversations, DRAIN_TIMEOUT, ServerConfig};
use setting::{Setting, unless_idle};

/// The pause after an accept that failed for want of descriptors or memory: at first, and at the most.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A server: a handler, and how it is reached by messages.
pub struct Server {
    handler: Arc<dyn Handler>,
    config: ServerConfig,
}

/// What a server has done when it has ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Served {
    /// Conversations: connections on which a message came, or peers of datagrams.
    pub conversations: u64,
    /// Messages that were acknowledged or answered.
    pub messages: u64,
    /// Whether conversations were cut off because draining took too long.
    pub cut_off: usize,
}

impl Server {
    /// A server with a handler for its messages.
    pub fn new(handler: impl Handler + 'static, config: ServerConfig) -> Self {
        Self { handler: Arc::new(handler), config }
    }

    /// Serves on all listeners until `stop` completes, or the one conversation is over. Then nothing new is accepted;
    /// messages that have arrived are handled and acknowledged, and connections are closed so that the peer reads it all.
    ///
    /// # Errors
    /// A socket for datagrams cannot be used any more. A failing peer or accept never ends the server.
    pub async fn serve(self, listeners: Vec<Listener>, stop: impl Future<Output = ()>) -> io::Result<Served> {
        let (stopping, stopped) = watch::channel(false);
        let (ended, mut one_ended) = watch::channel(Served::default());
        let shared = Arc::new(Shared {
            setting: Setting::new(self.handler, &self.config),
            conversations: self.config.conversations,
            stopped,
            ended,
        });
        let mut tasks = JoinSet::new();
        for listener in listeners {
            if listener.has_connections() {
                tasks.spawn(shared.clone().accept(listener));
            } else {
                for socket in listener.into_packets() {
                    tasks.spawn(shared.clone().datagrams(socket));
                }
            }
        }
        let one = self.config.conversations == Conversations::One;
        let failed = tokio::select! {
            () = stop => None,
            _ = one_ended.wait_for(|served| one && served.conversations > 0) => None,
            Some(Ok(Err(error))) = tasks.join_next() => Some(error),
        };
        stopping.send_replace(true);
        let drained = timeout(self.config.drain_timeout, async { while tasks.join_next().await.is_some() {} }).await;
        let served = *one_ended.borrow();
        match failed {
            Some(error) => Err(error),
            None => Ok(Served { cut_off: if drained.is_err() { tasks.len() } else { 0 }, ..served }),
        }
    }
}

/// What the tasks of a server have in common.
struct Shared {
    setting: Setting,
    conversations: Conversations,
    stopped: watch::Receiver<bool>,
    ended: watch::Sender<Served>,
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: Listener) -> io::Result<()> {
        let mut stopped = self.stopped.clone();
        let mut talking = JoinSet::new();
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                Some(_) = talking.join_next() => continue,
                // The one conversation is had with one client at a time, so that it is clear which was the first.
                accepted = listener.accept(), if self.conversations == Conversations::Many || talking.is_empty() => accepted,
            };
            match accepted {
                Ok(incoming) => {
                    pause = ACCEPT_PAUSE.0;
                    talking.spawn(self.clone().talk(incoming));
                }
                Err(error) if is_about_the_peer(&error) => tracing::debug!("accept: {}", plain(&error)),
                Err(error) => {
                    tracing::warn!("accept: {}: again in {pause:?}", plain(&error));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
        // Whoever had connected by then is served; whoever comes now is refused at once.
        for _ in 0..BACKLOG {
            match unless_idle(listener.accept(), true).await {
                Some(Ok(incoming)) if self.conversations == Conversations::Many => {
                    talking.spawn(self.clone().talk(incoming));
                }
                Some(Err(error)) if is_about_the_peer(&error) => {}
                _ => break,
            }
        }
        drop(listener);
        while talking.join_next().await.is_some() {}
        Ok(())
    }

    async fn talk(self: Arc<Self>, incoming: Incoming) {
        let peer = Peer { addr: incoming.peer.clone() };
        tracing::info!("{peer}: connected");
        let mut stopped = self.stopped.clone();
        let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
        let talk = match Connection::from(incoming) {
            Connection::Stream(stream) => stream::converse(&self.setting, stream, &peer, stop).await,
            Connection::Packets(packets) => packets::converse(&self.setting, &packets, &peer, stop).await,
        };
        tracing::info!("{peer}: {talk}");
        self.note(talk.messages, u64::from(talk.had_message));
    }

    async fn datagrams(self: Arc<Self>, socket: PacketSocket) -> io::Result<()> {
        let mut stopped = self.stopped.clone();
        let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
        let one = self.conversations == Conversations::One;
        let messages = datagrams::serve(&self.setting, &socket, one, stop).await?;
        self.note(messages, u64::from(messages > 0));
        Ok(())
    }

    fn note(&self, messages: u64, conversations: u64) {
        self.ended.send_modify(|served| {
            served.messages += messages;
            served.conversations += conversations;
        });
    }
}

/// Whether an accept failed because of the connection that was to be accepted (accept(2), "Error handling").
fn is_about_the_peer(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ECONNABORTED
                | Errno::ENETDOWN
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::EOPNOTSUPP
                | Errno::ENETUNREACH
                | Errno::EPERM
        )
    )
}
