//! `Lanes`: datagrams whose handling takes long, in one lane for each peer.
//!
//! Apart from receiving, so that no peer waits for another's: each lane is a task that handles its peer's datagrams in their
//! order. It is there for as long as something waits in it, so that a peer that is silent costs nothing.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::Shared;
use super::packets::answer_packet;
use crate::net::{Addr, Arrival, Packet, PacketSocket, plain};
use crate::service::{Observed, Outcomes, Peer};
use crate::wire::plain::not_now;

/// How many datagrams of one peer may wait. More are answered with a word, and dropped.
const WAITING: usize = 64;

/// How many bytes may be in all lanes together, those that are being handled included.
const WAITING_BYTES: usize = 16 * 1024 * 1024;

/// What a datagram counts beside its bytes: its place in a lane, and the task of that. Senders cost as much as what they send.
const OVERHEAD: usize = 2 * 1024;

/// The lanes of one socket.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    socket: Arc<PacketSocket>,
    waiting: Arc<Mutex<Waiting>>,
    tasks: JoinSet<u64>,
    handled: u64,
}

/// What was received of one datagram, and where it came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<B> {
    pub(super) bytes: B,
    pub(super) packet: Packet,
    pub(super) arrival: Option<Arrival>,
}

impl<B: AsRef<[u8]>> Datagram<B> {
    /// Handles it as one message and sends the answer, if there is room for it. Says whether it counts.
    async fn handle(&self, shared: &Shared, socket: &PacketSocket, peer: &Peer, outcomes: &mut Outcomes) -> bool {
        let answer = answer_packet(&shared.setting, self.bytes.as_ref(), self.packet, 1, peer, outcomes).await;
        if let Some(bytes) = answer.bytes
            && peer.addr.is_named()
            && let Err(error) = socket.try_send_to(&bytes, &peer.addr, self.arrival)
        {
            tracing::warn!("{peer}: the answer could not be sent: {}", plain(&error));
        }
        if answer.counts {
            shared.setting.tell(Observed::Acknowledged(peer, 1)).await;
        }
        answer.counts
    }
}

type Owned = Datagram<Box<[u8]>>;

/// What waits: a peer that is here has a task.
#[derive(Default)]
struct Waiting {
    lanes: HashMap<Addr, VecDeque<Owned>>,
    /// What all datagrams count that wait or are being handled.
    bytes: usize,
}

/// What became of a datagram that was put into a lane.
#[derive(Debug, Eq, PartialEq)]
enum Put {
    /// It is the first of its lane, which needs a task.
    First,
    Waits,
    /// There is no room for it.
    Full,
}

impl Waiting {
    fn put(&mut self, from: &Addr, datagram: Datagram<&[u8]>) -> Put {
        let counts = counts(&datagram);
        if self.bytes + counts > WAITING_BYTES {
            return Put::Full;
        }
        let Datagram { bytes, packet, arrival } = datagram;
        let own = || Datagram { bytes: bytes.into(), packet, arrival };
        let put = match self.lanes.entry(from.clone()) {
            Entry::Occupied(lane) if lane.get().len() >= WAITING => return Put::Full,
            Entry::Occupied(mut lane) => {
                lane.get_mut().push_back(own());
                Put::Waits
            }
            Entry::Vacant(place) => {
                place.insert(VecDeque::from([own()]));
                Put::First
            }
        };
        self.bytes += counts;
        put
    }

    /// The next of a lane; none ends it. It counts until it [was handled](Self::let_go).
    fn next(&mut self, from: &Addr) -> Option<Owned> {
        let next = self.lanes.get_mut(from).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.lanes.remove(from);
        }
        next
    }

    fn let_go(&mut self, counted: usize) {
        self.bytes -= counted;
    }
}

impl Lanes {
    pub(super) fn new(shared: Arc<Shared>, socket: Arc<PacketSocket>) -> Self {
        Self { shared, socket, waiting: Arc::default(), tasks: JoinSet::new(), handled: 0 }
    }

    /// Puts a datagram behind the others of its peer.
    pub(super) fn put(&mut self, peer: Peer, datagram: Datagram<&[u8]>) {
        while let Some(ended) = self.tasks.try_join_next() {
            self.handled += ended.unwrap_or_default();
        }
        let arrival = datagram.arrival;
        let put = lock(&self.waiting).put(&peer.addr, datagram);
        match put {
            Put::Waits => {}
            Put::First => {
                let lane = lane(self.shared.clone(), self.socket.clone(), self.waiting.clone(), peer);
                self.tasks.spawn(lane);
            }
            Put::Full => {
                tracing::debug!("{peer}: dropped: too many datagrams wait");
                let words = format!("{}\n", not_now("too many datagrams wait"));
                if peer.addr.is_named() {
                    // It was dropped, whether the peer can be told or not.
                    let _ = self.socket.try_send_to(words.as_bytes(), &peer.addr, arrival);
                }
            }
        }
    }

    /// Waits until all is handled, and says how many messages counted.
    pub(super) async fn end(mut self) -> u64 {
        while let Some(ended) = self.tasks.join_next().await {
            self.handled += ended.unwrap_or_default();
        }
        self.handled
    }
}

/// What a datagram counts.
fn counts(datagram: &Datagram<impl AsRef<[u8]>>) -> usize {
    datagram.bytes.as_ref().len() + OVERHEAD
}

/// Handles what waits of one peer.
async fn lane(shared: Arc<Shared>, socket: Arc<PacketSocket>, waiting: Arc<Mutex<Waiting>>, peer: Peer) -> u64 {
    let (mut handled, mut outcomes) = (0, Outcomes::default());
    let mut lane = Lane { waiting: &waiting, from: &peer.addr, in_hand: 0 };
    while let Some(datagram) = lane.next() {
        handled += u64::from(datagram.handle(&shared, &socket, &peer, &mut outcomes).await);
    }
    handled
}

/// A lane that is worked at. One whose handler has panicked is closed: its peer's next datagram begins another.
struct Lane<'a> {
    waiting: &'a Mutex<Waiting>,
    from: &'a Addr,
    /// What the datagram counts that is being handled.
    in_hand: usize,
}

impl Lane<'_> {
    fn next(&mut self) -> Option<Owned> {
        let mut waiting = lock(self.waiting);
        waiting.let_go(std::mem::take(&mut self.in_hand));
        let next = waiting.next(self.from);
        self.in_hand = next.as_ref().map_or(0, counts);
        next
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        // Another lane of this peer may have begun where this one has come to its end.
        while self.in_hand > 0 {
            self.next();
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    // Nothing in here panics half-way.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Addr {
        Addr::Inet(([127, 0, 0, 1], port).into())
    }

    fn datagram(bytes: &[u8]) -> Datagram<&[u8]> {
        Datagram { bytes, packet: Packet { length: bytes.len(), sent: bytes.len() }, arrival: None }
    }

    #[test]
    fn a_lane_is_there_while_something_waits_in_it_and_keeps_the_order() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.put(&peer(1), datagram(b"one")), Put::First);
        assert_eq!(waiting.put(&peer(1), datagram(b"two")), Put::Waits);
        assert_eq!(waiting.put(&peer(2), datagram(b"other")), Put::First);
        let next = |waiting: &mut Waiting| waiting.next(&peer(1)).map(|datagram| datagram.bytes.to_vec());
        assert_eq!(next(&mut waiting).as_deref(), Some(&b"one"[..]));
        assert_eq!(next(&mut waiting).as_deref(), Some(&b"two"[..]));
        assert_eq!(next(&mut waiting), None);
        assert_eq!(waiting.put(&peer(1), datagram(b"three")), Put::First);
        assert_eq!(waiting.bytes, "one two other three".len() - 3 + 4 * OVERHEAD);
        waiting.let_go("one".len() + OVERHEAD);
        assert_eq!(waiting.bytes, "two other three".len() - 2 + 3 * OVERHEAD);
    }

    #[test]
    fn what_waits_is_bounded_for_each_peer_and_in_all() {
        let mut waiting = Waiting::default();
        for _ in 0..WAITING {
            assert_ne!(waiting.put(&peer(1), datagram(b"x")), Put::Full);
        }
        assert_eq!(waiting.put(&peer(1), datagram(b"x")), Put::Full);
        assert_eq!(waiting.put(&peer(2), datagram(b"x")), Put::First);
        let large = vec![0; WAITING_BYTES - (WAITING + 1) * (1 + OVERHEAD) - OVERHEAD + 1];
        assert_eq!(waiting.put(&peer(3), datagram(&large)), Put::Full);
        assert_eq!(waiting.put(&peer(3), datagram(&large[1..])), Put::First);
    }

    #[test]
    fn what_is_being_handled_counts_and_so_does_one_of_no_bytes() {
        let waiting = Mutex::new(Waiting::default());
        let peers: Vec<_> = (1..=u16::MAX).map(peer).collect();
        let mut lanes = Vec::new();
        for from in &peers {
            if lock(&waiting).put(from, datagram(b"")) == Put::First {
                let mut lane = Lane { waiting: &waiting, from, in_hand: 0 };
                assert!(lane.next().is_some());
                lanes.push(lane);
            }
        }
        assert_eq!(lanes.len(), WAITING_BYTES / OVERHEAD);
        // As where a handler panics.
        drop(lanes);
        let waiting = lock(&waiting);
        assert_eq!((waiting.bytes, waiting.lanes.len()), (0, 0));
    }
}
