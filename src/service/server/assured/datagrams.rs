//! `Callers`: the sessions of a Unix socket for datagrams, one for each address from which a client calls.
//!
//! Apart from connections, which have a beginning and an end: here a session begins with its opening, and ends when it is said to, or when nothing
//! comes any more.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::link::{Carrier, drive};
use super::packet_config;
use super::packets::{Outgoing, take_packet};
use super::session::Session;
use crate::net::{Addr, Packet, PacketSocket};
use crate::service::alarm::Alarm;
use crate::service::server::Shared;
use crate::service::{Conversation, Peer};
use crate::wire::assured::{Again, Code, ReceiverConfig, ServerFrame, WINDOW, WINDOW_BYTES};

/// How many sessions a socket has at once. Others are told to come later.
const MOST_CALLERS: usize = 1024;

/// How many packets of a client may wait: what it is granted, and some that say other things.
const WAITING: usize = WINDOW as usize + 64;

/// When a client may try again for which there is no place.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often it is tried to send to a client whose socket is full: the kernel does not say when there is room in a socket that one is not connected to.
const RETRY: Duration = Duration::from_millis(5);

/// The sessions of one socket.
pub(in crate::service::server) struct Callers {
    shared: Arc<Shared>,
    socket: Arc<PacketSocket>,
    config: Arc<ReceiverConfig>,
    open: HashMap<Addr, Caller>,
    tasks: JoinSet<(Addr, Arc<AtomicUsize>, Conversation)>,
    had: Conversation,
}

struct Caller {
    frames: mpsc::Sender<(Vec<u8>, Packet)>,
    /// How many bytes wait.
    waiting: Arc<AtomicUsize>,
}

impl Callers {
    /// Those of a socket whose packets have at most `size` bytes; none where there are no sessions.
    pub(in crate::service::server) fn new(
        shared: &Arc<Shared>,
        socket: &Arc<PacketSocket>,
        size: usize,
    ) -> Option<Self> {
        let config = packet_config(&shared.setting.assured.as_ref()?.config, size);
        let (open, tasks, had) = (HashMap::new(), JoinSet::new(), Conversation::default());
        Some(Self { shared: shared.clone(), socket: socket.clone(), config, open, tasks, had })
    }

    /// Takes a packet if it is part of a session, or begins one.
    pub(in crate::service::server) fn take(
        &mut self,
        peer: impl FnOnce() -> Peer,
        from: &Addr,
        bytes: &[u8],
        packet: Packet,
    ) -> bool {
        self.let_go();
        // Whoever opens a session where another was has begun anew.
        let begins = super::begins_session(bytes);
        match (begins, self.open.get(from)) {
            (false, None) => return false,
            (false, Some(caller)) => caller.put(bytes, packet),
            (true, _) if !from.is_named() => {
                tracing::debug!("a session of a client without a name: it cannot be answered")
            }
            (true, None) if self.open.len() >= MOST_CALLERS => self.refuse(from),
            (true, _) => {
                let caller = self.begin(peer());
                caller.put(bytes, packet);
                self.open.insert(from.clone(), caller);
            }
        }
        true
    }

    /// Waits until all have ended, and says what was had with them.
    pub(in crate::service::server) async fn end(mut self) -> Conversation {
        // Without those who would put more in.
        self.open.clear();
        while let Some(ended) = self.tasks.join_next().await {
            self.had.messages += ended.map_or(0, |(.., had)| had.messages);
        }
        self.had
    }

    fn begin(&mut self, peer: Peer) -> Caller {
        let (frames, coming) = mpsc::channel(WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let (shared, socket, config) = (self.shared.clone(), self.socket.clone(), self.config.clone());
        let counter = waiting.clone();
        self.tasks.spawn(async move {
            let had = converse(&shared, &socket, config, &peer, coming, &counter).await;
            (peer.addr, counter, had)
        });
        Caller { frames, waiting }
    }

    /// Forgets those that have ended.
    fn let_go(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            let Ok((from, counter, had)) = ended else { continue };
            self.had.messages += had.messages;
            if self.open.get(&from).is_some_and(|caller| Arc::ptr_eq(&caller.waiting, &counter)) {
                self.open.remove(&from);
            }
        }
    }

    fn refuse(&self, from: &Addr) {
        let mut words = Vec::new();
        let reason = "there are too many sessions".into();
        ServerFrame::Error { code: Code::TOO_MANY, again: Again::After(AGAIN_AFTER), reason }.encode(&mut words);
        // It was refused, whether it can be told or not.
        let _ = self.socket.try_send_to(&words, from, None);
    }
}

impl Caller {
    /// Puts a packet behind the others. What is more than a client is granted is dropped, and its session ends with the gap.
    fn put(&self, bytes: &[u8], packet: Packet) {
        let most = usize::try_from(WINDOW_BYTES).unwrap_or(usize::MAX);
        // Counted before, so that whoever takes it counts it off after.
        let waits = self.waiting.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if waits > most.max(bytes.len()) || self.frames.try_send((bytes.to_vec(), packet)).is_err() {
            self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
    }
}

async fn converse(
    shared: &Shared,
    socket: &PacketSocket,
    config: Arc<ReceiverConfig>,
    peer: &Peer,
    coming: mpsc::Receiver<(Vec<u8>, Packet)>,
    waiting: &AtomicUsize,
) -> Conversation {
    let setting = &shared.setting;
    let Some(assured) = &setting.assured else { return Conversation::default() };
    let mut session = Session::new(setting, assured, &*assured.packets, config.clone(), peer);
    let retry = Alarm::default();
    let output = Outgoing::default();
    let mut packets = Packets { socket, to: &peer.addr, config, coming, waiting, output, again: None, retry };
    drive(&setting.terms, peer, &mut session, &mut packets).await;
    drop(packets);
    let had = session.finish().await;
    tracing::info!("{peer}: {had}");
    had
}

/// The packets of one client.
struct Packets<'a> {
    socket: &'a PacketSocket,
    to: &'a Addr,
    config: Arc<ReceiverConfig>,
    coming: mpsc::Receiver<(Vec<u8>, Packet)>,
    waiting: &'a AtomicUsize,
    output: Outgoing,
    /// When it is tried again to send.
    again: Option<Instant>,
    retry: Alarm,
}

impl Carrier for Packets<'_> {
    fn poll_input(&mut self, cx: &mut Context<'_>, session: &mut Session<'_>) -> io::Result<bool> {
        match self.coming.poll_recv(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(None) => session.ended(),
            Poll::Ready(Some((bytes, packet))) => {
                self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
                take_packet(&bytes, packet, self.config.max_body, session);
            }
        }
        Ok(true)
    }

    fn put(&mut self, frame: &ServerFrame<'_>) {
        self.output.put(frame);
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(packet) = self.output.first() {
            if self.again.is_some() {
                ready!(self.retry.poll(cx, self.again));
            }
            self.again = None;
            match self.socket.try_send_to(packet, self.to, None) {
                Ok(()) => self.output.drop_first(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.again = Some(Instant::now() + RETRY),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn waiting(&self) -> usize {
        self.output.waiting()
    }
}
