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
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Handler, Peer};
use crate::net::{BACKLOG, Connection, Incoming, Listener, PacketSocket, plain};

pub use config::{Conversations, DRAIN_TIMEOUT, ServerConfig};
use setting::{Setting, Stop, Talk, unless_idle};

/// The pause after an accept that failed for want of descriptors or memory: at first, and at the most.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How often a failing accept is told of at the most.
const ACCEPT_TELL: Duration = Duration::from_secs(10);

/// A server: a handler, and how it is reached by messages.
pub struct Server {
    handler: Arc<dyn Handler>,
    config: ServerConfig,
}

/// What a server has done when it has ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Served {
    /// Conversations: connections on which a message came, or sockets for datagrams on which one did.
    pub conversations: u64,
    /// Messages that were acknowledged or answered.
    pub messages: u64,
    /// Conversations that were cut off because draining took too long.
    pub cut_off: u64,
}

impl Server {
    /// A server with a handler for its messages.
    pub fn new(handler: impl Handler + 'static, config: ServerConfig) -> Self {
        Self { handler: Arc::new(handler), config }
    }

    /// Serves on all listeners until `stop` completes, the one conversation is over, or nobody else can come. Then nothing new is accepted;
    /// messages that have arrived are handled and acknowledged, and connections are closed so that the peer reads it all.
    ///
    /// # Errors
    /// A socket for datagrams cannot be used any more. A failing peer or accept never ends the server.
    pub async fn serve(self, listeners: Vec<Listener>, stop: impl Future<Output = ()>) -> io::Result<Served> {
        let (stopping, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            setting: Setting::new(self.handler, &self.config),
            conversations: self.config.conversations,
            stop: Stop(stopped),
            served: Counts::default(),
            over: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        for mut listener in listeners {
            for socket in listener.take_packets() {
                tasks.spawn(shared.clone().datagrams(socket));
            }
            if listener.has_connections() {
                tasks.spawn(shared.clone().accept(listener));
            }
        }
        let mut stop = pin!(stop);
        let result = loop {
            tokio::select! {
                () = &mut stop => break Ok(()),
                () = shared.over.notified() => break Ok(()),
                ended = tasks.join_next() => match ended {
                    // Nobody else can come: all there was has been passed to this process.
                    None => break Ok(()),
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => break Err(error),
                    Some(Err(panic)) => break Err(io::Error::other(panic)),
                },
            }
        };
        stopping.send_replace(true);
        // What is not over by then is cut off when the tasks are dropped.
        let _ = timeout(self.config.drain_timeout, async { while tasks.join_next().await.is_some() {} }).await;
        result.map(|()| shared.served.sum())
    }
}

/// What the tasks of a server have in common.
struct Shared {
    setting: Setting,
    conversations: Conversations,
    stop: Stop,
    served: Counts,
    /// Told when the one conversation is over.
    over: Notify,
}

#[derive(Default)]
struct Counts {
    conversations: AtomicU64,
    messages: AtomicU64,
    open: AtomicU64,
}

impl Counts {
    fn sum(&self) -> Served {
        Served {
            conversations: self.conversations.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            cut_off: self.open.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, listener: Listener) -> io::Result<()> {
        let mut talking = JoinSet::new();
        let mut trouble = AcceptTrouble::default();
        let mut stopped = pin!(self.stop.clone().wait());
        while listener.has_connections() {
            let accepted = tokio::select! {
                biased;
                () = &mut stopped => break,
                Some(_) = talking.join_next() => match self.is_over() {
                    true => break,
                    false => continue,
                },
                // The one conversation is had with one client at a time, so that it is clear which was the first.
                accepted = listener.accept(), if self.conversations == Conversations::Many || talking.is_empty() => accepted,
            };
            match accepted {
                Ok(incoming) => {
                    trouble.is_over();
                    talking.spawn(self.clone().talk(incoming));
                }
                Err(error) if is_about_the_peer(&error) => tracing::debug!("accept: {}", plain(&error)),
                Err(error) => tokio::select! {
                    () = &mut stopped => break,
                    () = trouble.pause(&error) => {}
                },
            }
        }
        // Whoever had connected by then is served; whoever comes now is refused at once.
        for _ in 0..BACKLOG {
            match unless_idle(listener.accept(), true, || listener.has_input()).await {
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
        self.served.open.fetch_add(1, Ordering::Relaxed);
        let talk = match Connection::from(incoming) {
            Connection::Stream(stream) => stream::converse(&self.setting, stream, &peer, &self.stop).await,
            Connection::Packets(packets) => packets::converse(&self.setting, &packets, &peer, &self.stop).await,
        };
        self.served.open.fetch_sub(1, Ordering::Relaxed);
        tracing::info!("{peer}: {talk}");
        self.note(&talk);
    }

    async fn datagrams(self: Arc<Self>, socket: PacketSocket) -> io::Result<()> {
        let one = self.conversations == Conversations::One;
        let talk = datagrams::serve(&self.setting, &socket, one, &self.stop).await?;
        self.note(&talk);
        Ok(())
    }

    /// Whether the one conversation has been had.
    fn is_over(&self) -> bool {
        self.conversations == Conversations::One && self.served.conversations.load(Ordering::Relaxed) > 0
    }

    fn note(&self, talk: &Talk) {
        self.served.messages.fetch_add(talk.messages, Ordering::Relaxed);
        self.served.conversations.fetch_add(u64::from(talk.had_message), Ordering::Relaxed);
        if talk.had_message && self.conversations == Conversations::One {
            self.over.notify_one();
        }
    }
}

/// Accepting that fails for want of descriptors or memory: it is tried again after ever longer pauses, and said now and then.
#[derive(Default)]
struct AcceptTrouble {
    pause: Option<Duration>,
    told: Option<Instant>,
}

impl AcceptTrouble {
    fn is_over(&mut self) {
        self.pause = None;
    }

    async fn pause(&mut self, error: &io::Error) {
        if self.told.is_none_or(|told| told.elapsed() > ACCEPT_TELL) {
            tracing::warn!("accept: {}; clients wait until it succeeds", plain(error));
            self.told = Some(Instant::now());
        }
        let pause = self.pause.map_or(ACCEPT_PAUSE.0, |pause| (pause * 2).min(ACCEPT_PAUSE.1));
        self.pause = Some(pause);
        tokio::time::sleep(pause).await;
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
