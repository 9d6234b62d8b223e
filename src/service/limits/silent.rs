//! `Silent`: the connections that have said nothing yet, in the order in which they make room for others.
//!
//! Apart from counting who is there: whoever has said something is here no more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use super::PeerKey;

/// Where a silent connection stands: since when, and a number of its own.
pub(super) type Since = (Instant, u64);

/// The connections that have said nothing, by how long that is.
#[derive(Debug, Default)]
pub(super) struct Silent {
    all: BTreeMap<Since, (PeerKey, oneshot::Sender<()>)>,
    of_peer: HashMap<PeerKey, BTreeSet<Since>>,
    numbers: u64,
}

/// What a silent connection has of its place.
#[derive(Debug)]
pub(super) struct Held {
    since: Since,
    ended: oneshot::Receiver<()>,
}

impl Silent {
    /// Adds one that has just come.
    pub(super) fn hold(&mut self, peer: PeerKey, now: Instant) -> Held {
        let since = (now, self.numbers);
        self.numbers += 1;
        let (end, ended) = oneshot::channel();
        self.all.insert(since, (peer, end));
        self.of_peer.entry(peer).or_default().insert(since);
        Held { since, ended }
    }

    /// The one that has been silent for the longest, if it was so at a time.
    pub(super) fn first(&self, at: Option<Instant>) -> Option<Since> {
        self.all.first_key_value().map(|(since, _)| *since).filter(|since| Some(since.0) <= at)
    }

    /// The one of a peer that has been silent for the longest, if it was so at a time.
    pub(super) fn first_of(&self, peer: PeerKey, at: Option<Instant>) -> Option<Since> {
        self.of_peer.get(&peer)?.first().copied().filter(|since| Some(since.0) <= at)
    }

    /// Has one end, and says whose it is.
    pub(super) fn end(&mut self, since: Since) -> Option<PeerKey> {
        let (peer, end) = self.remove(since)?;
        // One that is about to be dropped need not know.
        let _ = end.send(());
        Some(peer)
    }

    /// Takes one away that has said something or has gone. None if it had to end.
    pub(super) fn leave(&mut self, held: &Held) -> Option<PeerKey> {
        self.remove(held.since).map(|(peer, _)| peer)
    }

    fn remove(&mut self, since: Since) -> Option<(PeerKey, oneshot::Sender<()>)> {
        let removed = self.all.remove(&since)?;
        if let Some(of_peer) = self.of_peer.get_mut(&removed.0) {
            of_peer.remove(&since);
            if of_peer.is_empty() {
                self.of_peer.remove(&removed.0);
            }
        }
        Some(removed)
    }
}

impl Held {
    /// Ready once it has to end.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A channel is not to be asked again once it has answered.
        match self.ended.is_terminated() {
            true => Poll::Ready(()),
            false => Pin::new(&mut self.ended).poll(cx).map(|_| ()),
        }
    }
}
