//! `Server`: accepts connections and datagrams, gives each its conversation, and drains when it is told to stop.
//!
//! Apart from the conversations themselves, one file for each interface: here is only who is served when, and when it ends.

mod accept;
mod answer;
mod assured;
mod config;
mod datagrams;
mod door;
mod lanes;
mod packets;
mod patience;
mod refusal;
mod setting;
mod strangers;
mod stream;
mod turn;
mod under_way;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::limits::Ticket;
use super::store::{Keep, Store, Volatile};
use super::{ConnectionHandler, Conversation, Handler, Observed, Observer, Outcome, Peer, Stop};
use crate::net::{Connection, Incoming, Listener, PacketSocket};
use crate::wire::Framing;

use assured::Assured;
pub use config::{Conversations, DRAIN_TIMEOUT, LEAST_RATE, ServerConfig};
use door::Door;
use setting::Setting;

/// A server: a handler, and how it is reached by messages.
pub struct Server {
    handler: Arc<dyn Handler>,
    connections: Option<Arc<dyn ConnectionHandler>>,
    observer: Option<Arc<dyn Observer>>,
    store: Option<Arc<dyn Store>>,
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
        Self { handler: Arc::new(handler), connections: None, observer: None, store: None, config }
    }

    /// A server that puts all messages into a store, and acknowledges them once they are durable; what is longer than the store takes is refused. Those of assured sessions are there exactly once.
    pub fn storing(store: Arc<dyn Store>, config: ServerConfig) -> Self {
        let config = config.within(store.longest());
        Self { store: Some(store.clone()), ..Self::new(Keep::new(store), config) }
    }

    /// Gives whole connections to a handler of their own. Datagrams, which have none, stay messages.
    #[must_use]
    pub fn with_connections(self, handler: impl ConnectionHandler + 'static) -> Self {
        Self { connections: Some(Arc::new(handler)), ..self }
    }

    /// A server for whole connections only. What comes as a datagram is refused.
    pub fn of_connections(handler: impl ConnectionHandler + 'static, config: ServerConfig) -> Self {
        Self::new(no_datagrams, config).with_connections(handler)
    }

    /// Has somebody told what happens.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Serves on all listeners until `stop` completes, the one conversation is over, or nobody else can come. Then nothing new is accepted;
    /// messages that have arrived are handled and acknowledged, and connections are closed so that the peer reads it all.
    ///
    /// # Errors
    /// A socket for datagrams cannot be used any more, or the store has failed. A failing peer or accept never ends the server.
    pub async fn serve(self, listeners: Vec<Listener>, stop: impl Future<Output = ()>) -> io::Result<Served> {
        let (stopper, stopped) = Stop::new();
        let has_sessions = self.connections.is_none() && self.config.framing != Framing::Read;
        let assured = has_sessions.then(|| match &self.store {
            Some(store) => Assured::new(store.clone(), store.clone(), &self.config),
            None => {
                let packets = Volatile::new(self.handler.clone());
                let streams = packets.framed(self.config.framing);
                Assured::new(Arc::new(streams), Arc::new(packets), &self.config)
            }
        });
        let shared = Arc::new(Shared {
            setting: Setting { observer: self.observer, assured, ..Setting::new(self.handler, &self.config, stopped) },
            connections: self.connections,
            conversations: self.config.conversations,
            door: Door::new(&self.config),
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
        let mut failing = JoinSet::new();
        if let Some(store) = self.store {
            failing.spawn(async move { store.failed().await });
        }
        let result = loop {
            tokio::select! {
                () = &mut stop => break Ok(()),
                () = shared.over.notified() => break Ok(()),
                Some(failed) = failing.join_next() => break Err(match failed {
                    Ok(reason) => io::Error::other(format!("the store has failed: {reason}")),
                    Err(panic) => io::Error::other(panic),
                }),
                ended = tasks.join_next() => match ended {
                    // Nobody else can come: all there was has been passed to this process.
                    None => break Ok(()),
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => break Err(error),
                    Some(Err(panic)) => break Err(io::Error::other(panic)),
                },
            }
        };
        stopper.stop();
        // What is not over by then is cut off when the tasks are dropped.
        let _ = timeout(self.config.drain_timeout, async { while tasks.join_next().await.is_some() {} }).await;
        failing.shutdown().await;
        result.map(|()| shared.served.sum())
    }
}

fn no_datagrams(_: &[u8], _: &Peer) -> Outcome {
    Outcome::Refuse("this server is for connections".to_owned())
}

/// What the tasks of a server have in common.
struct Shared {
    setting: Setting,
    connections: Option<Arc<dyn ConnectionHandler>>,
    conversations: Conversations,
    door: Door,
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
        accept::serve(self, listener).await;
        Ok(())
    }

    /// Has the conversation with a client that was let in.
    ///
    /// Not an `async fn`, which would keep what it is given twice: this is what each connection takes while it is open.
    fn converse(self: Arc<Self>, incoming: Incoming, peer: Peer, mut place: Ticket) -> impl Future<Output = ()> + Send {
        tracing::info!("{peer}: connected");
        self.served.open.fetch_add(1, Ordering::Relaxed);
        let mut connection = Connection::from(incoming);
        async move {
            let setting = &self.setting;
            setting.tell(Observed::Connected(&peer)).await;
            let had = match (&mut connection, &self.connections) {
                (Connection::Stream(stream), None) => stream::converse(setting, stream, &peer, &mut place).await,
                // In a box, because it is larger than the others are.
                (Connection::Packets(packets), None) => {
                    Box::pin(packets::converse(setting, packets, &peer, &mut place)).await
                }
                (_, Some(handler)) => {
                    // What it does with a client that is silent is its own affair: many only listen.
                    place.heard();
                    handler.converse(connection, &peer, &setting.terms).await
                }
            };
            self.served.open.fetch_sub(1, Ordering::Relaxed);
            tracing::info!("{peer}: {had}");
            setting.tell(Observed::Ended(&peer, &had)).await;
            self.note(&had);
            drop(place);
        }
    }

    async fn datagrams(self: Arc<Self>, socket: PacketSocket) -> io::Result<()> {
        let had = datagrams::serve(&self, socket).await?;
        self.note(&had);
        Ok(())
    }

    /// Whether the one conversation has been had.
    fn is_over(&self) -> bool {
        self.conversations == Conversations::One && self.served.conversations.load(Ordering::Relaxed) > 0
    }

    fn note(&self, had: &Conversation) {
        self.served.messages.fetch_add(had.messages, Ordering::Relaxed);
        self.served.conversations.fetch_add(u64::from(had.had_message), Ordering::Relaxed);
        if had.had_message && self.conversations == Conversations::One {
            self.over.notify_one();
        }
    }
}
