//! `Callers`: the sessions of a Unix socket for datagrams, one for each address from which a client calls.
//!
//! Apart from connections, which have a beginning and an end: here a session begins with its opening, and ends when it is said to, or when nothing
//! comes any more.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::link::{Carrier, drive};
use super::packets::{Outgoing, take_packet};
use super::session::Session;
use super::{Assured, NO_ROOM, packet_config};
use crate::net::{Addr, Packet, PacketSocket};
use crate::service::alarm::Alarm;
use crate::service::server::Shared;
use crate::service::{Conversation, Peer};
use crate::wire::assured::{Again, Code, ReceiverConfig, ServerFrame, WINDOW, WINDOW_BYTES};

/// How many sessions a socket has at once. Others are told to come later.
const MOST_CALLERS: usize = 1024;

/// How many packets of a client may wait: what it is granted, and some that say other things.
const WAITING: usize = WINDOW as usize + 64;

/// What a packet that waits takes in memory beside its bytes.
const PACKET_COST: usize = 96;

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
    tasks: JoinSet<(Addr, Arc<Line>, Conversation)>,
    had: Conversation,
}

struct Caller {
    /// None once there was no room for what came: what comes behind it is of no use.
    frames: Option<mpsc::Sender<Waiting>>,
    line: Arc<Line>,
}

/// What is known of the packets of a client that wait.
struct Line {
    shared: Arc<Shared>,
    /// How many bytes wait.
    bytes: AtomicUsize,
    /// Whether there was no room for what came.
    overloaded: AtomicBool,
}

/// A packet that waits: as long as it does it is counted with what all sessions hold.
struct Waiting {
    bytes: Vec<u8>,
    packet: Packet,
    line: Arc<Line>,
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
        if !begins {
            return self.open.get_mut(from).map(|caller| caller.put(bytes, packet)).is_some();
        }
        match self.open.get(from) {
            _ if !from.is_named() => {
                tracing::debug!("a session of a client without a name: it cannot be answered")
            }
            None if self.open.len() >= MOST_CALLERS => {
                self.refuse(from, Code::TOO_MANY, "there are too many sessions");
            }
            _ if !self.has_room() => self.refuse(from, Code::OVERLOADED, NO_ROOM),
            _ => {
                let mut caller = self.begin(peer());
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
        let (bytes, overloaded) = (AtomicUsize::new(0), AtomicBool::new(false));
        let line = Arc::new(Line { shared: self.shared.clone(), bytes, overloaded });
        let (socket, config, theirs) = (self.socket.clone(), self.config.clone(), line.clone());
        self.tasks.spawn(async move {
            let had = converse(&theirs, &socket, config, &peer, coming).await;
            (peer.addr, theirs, had)
        });
        Caller { frames: Some(frames), line }
    }

    /// Forgets those that have ended.
    fn let_go(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            let Ok((from, line, had)) = ended else { continue };
            self.had.messages += had.messages;
            if self.open.get(&from).is_some_and(|caller| Arc::ptr_eq(&caller.line, &line)) {
                self.open.remove(&from);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.shared.setting.assured.as_ref().is_some_and(Assured::has_room)
    }

    fn refuse(&self, from: &Addr, code: Code, reason: &str) {
        let mut words = Vec::new();
        ServerFrame::Error { code, again: Again::After(AGAIN_AFTER), reason: reason.into() }.encode(&mut words);
        // It was refused, whether it can be told or not.
        let _ = self.socket.try_send_to(&words, from, None);
    }
}

impl Caller {
    /// Puts a packet behind the others. What is more than a client is granted is dropped, and its session ends with the gap.
    /// Where all together hold too much, the session ends in order, to come again later, once it has taken what waits.
    fn put(&mut self, bytes: &[u8], packet: Packet) {
        let Some(frames) = &self.frames else { return };
        let Some(assured) = &self.line.shared.setting.assured else { return };
        let waits = self.line.bytes.load(Ordering::Relaxed);
        let most = usize::try_from(WINDOW_BYTES).unwrap_or(usize::MAX);
        if waits > 0 && !assured.has_room() {
            self.line.overloaded.store(true, Ordering::Release);
            self.frames = None;
        } else if waits == 0 || waits + bytes.len() <= most {
            let _ = frames.try_send(Waiting::new(bytes, packet, &self.line));
        }
    }
}

impl Waiting {
    fn new(bytes: &[u8], packet: Packet, line: &Arc<Line>) -> Self {
        let waiting = Self { bytes: bytes.to_vec(), packet, line: line.clone() };
        line.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if let Some(assured) = &line.shared.setting.assured {
            assured.held.fetch_add(waiting.cost(), Ordering::Relaxed);
        }
        waiting
    }

    fn cost(&self) -> u64 {
        (self.bytes.len() + PACKET_COST) as u64
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.line.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        if let Some(assured) = &self.line.shared.setting.assured {
            assured.held.fetch_sub(self.cost(), Ordering::Relaxed);
        }
    }
}

async fn converse(
    line: &Line,
    socket: &PacketSocket,
    config: Arc<ReceiverConfig>,
    peer: &Peer,
    coming: mpsc::Receiver<Waiting>,
) -> Conversation {
    let setting = &line.shared.setting;
    let Some(assured) = &setting.assured else { return Conversation::default() };
    let mut session = Session::new(setting, assured, &*assured.packets, config.clone(), peer);
    let retry = Alarm::default();
    let output = Outgoing::default();
    let mut packets = Packets { socket, to: &peer.addr, config, coming, line, output, again: None, retry };
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
    coming: mpsc::Receiver<Waiting>,
    line: &'a Line,
    output: Outgoing,
    /// When it is tried again to send.
    again: Option<Instant>,
    retry: Alarm,
}

impl Carrier for Packets<'_> {
    fn poll_input(&mut self, cx: &mut Context<'_>, session: &mut Session<'_>) -> io::Result<bool> {
        match self.coming.poll_recv(cx) {
            Poll::Pending => return Ok(false),
            Poll::Ready(None) if self.line.overloaded.load(Ordering::Acquire) => session.overloaded(),
            Poll::Ready(None) => session.ended(),
            Poll::Ready(Some(waiting)) => take_packet(&waiting.bytes, waiting.packet, self.config.max_body, session),
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

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::super::MOST_HELD;
    use super::*;
    use crate::net::{Socket, Type, UnixName};
    use crate::service::server::Counts;
    use crate::service::server::ServerConfig;
    use crate::service::server::door::Door;
    use crate::service::server::setting::Setting;
    use crate::service::store::MemoryStore;
    use crate::service::{Stop, handler::Reply};

    #[tokio::test]
    async fn what_waits_counts_and_ends_its_session_where_there_is_no_room() {
        let (config, store) = (ServerConfig::default(), Arc::new(MemoryStore::new()));
        let assured = Some(Assured::new(store.clone(), store, &config));
        let (_stopper, stopped) = Stop::new();
        let shared = Arc::new(Shared {
            setting: Setting { assured, ..Setting::new(Arc::new(Reply("".into())), &config, stopped) },
            connections: None,
            conversations: config.conversations,
            door: Door::new(&config),
            served: Counts::default(),
            over: Notify::new(),
        });
        let held = &shared.setting.assured.as_ref().expect("sessions").held;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("client");
        let client = tokio::net::UnixDatagram::bind(&path).expect("a client");
        let from: Addr = Addr::Unix(UnixName::Path(path));
        let socket = Arc::new(PacketSocket::from(Socket::pair(Type::DGRAM).expect("sockets").0));
        let mut callers = Callers::new(&shared, &socket, 64 * 1024).expect("sessions");
        let take = |callers: &mut Callers, said: &str| {
            let peer = Peer { addr: from.clone(), local: None, credentials: None };
            let packet = Packet { length: said.len(), sent: said.len() };
            assert!(callers.take(|| peer, &from, said.as_bytes(), packet));
        };
        let hear = async || {
            let mut buffer = [0; 1000];
            let length = client.recv(&mut buffer).await.expect("an answer");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let open = "WILCO/1 OPEN sid=0123456789abcdef first=1 next=2\n";
        let message = "M 1 5\nhello\n";
        take(&mut callers, open);
        assert_eq!(held.load(Ordering::Relaxed), (open.len() + PACKET_COST) as u64);
        take(&mut callers, message);
        held.fetch_add(MOST_HELD, Ordering::Relaxed);
        for _ in 0..2 {
            take(&mut callers, &message.replace('1', "2"));
        }
        assert!(hear().await.starts_with("WILCO/1 OK "));
        // What had come before is taken.
        assert_eq!(hear().await, "A 1\n");
        let full = format!("E 503 1000 {NO_ROOM}\n");
        assert_eq!(hear().await, full);
        take(&mut callers, open);
        assert_eq!(hear().await, full);
        assert_eq!(callers.end().await.messages, 1);
        assert_eq!(held.load(Ordering::Relaxed), MOST_HELD);
    }
}
