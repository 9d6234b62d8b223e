//! `Keep`: the handler that puts plain messages, which have no session, into a store.
//!
//! Apart from the stores, which know nothing of handlers: whatever the store, a message is acknowledged once it is durable.

use std::sync::Arc;

use super::{Chain, FULL, Plain, Source, Store, StoreError};
use crate::service::handler::Taker;
use crate::service::teller::Teller;
use crate::service::{BoxFuture, Handler, Messages, Outcome, Outcomes, Peer};
use crate::wire::assured::Level;

/// Puts messages into a store.
pub struct Keep {
    store: Arc<dyn Store>,
    /// Tells of a disk without room.
    full: Teller,
}

impl Keep {
    /// A handler that puts messages into this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, full: Teller::every(FULL) }
    }

    /// Has messages kept that are from this source.
    fn keep(&self, messages: Messages<'_>, source: &Arc<Source>, chain: &Chain) -> BoxFuture<'_, Outcome> {
        let Some((first, _)) = messages.numbered().next() else { return Box::pin(std::future::ready(Outcome::Done)) };
        let messages = messages.to_batch();
        let kept = self.store.keep(Plain { source: source.clone(), first, messages, chain: chain.clone() });
        Box::pin(async move {
            match kept.await {
                Ok(()) => Outcome::Done,
                // What exactly is wrong here is none of the client's business.
                Err(StoreError::Full(why)) => {
                    self.full.tell(|_| {
                        tracing::error!(
                            "no room on the disk: {why}; messages are not acknowledged until there is some"
                        );
                    });
                    Outcome::Retry("there is no room on the disk".to_owned())
                }
                Err(StoreError::Unwanted(why)) => Outcome::Refuse(why.to_owned()),
                Err(StoreError::Busy(_)) => Outcome::Retry("the store cannot be written to now".to_owned()),
                Err(_) => Outcome::Retry("the store has failed".to_owned()),
            }
        })
    }
}

fn source(peer: &Peer) -> Arc<Source> {
    Arc::new(Source { peer: peer.clone(), name: None })
}

impl Handler for Keep {
    fn handle<'a>(&'a self, messages: Messages<'a>, peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let outcome = self.keep(messages, &source(peer), &Chain::default()).await;
            outcomes.repeat(outcome, messages.len());
        })
    }

    fn taker<'a>(&'a self, peer: &Peer) -> Option<Box<dyn Taker<'a> + 'a>> {
        Some(Box::new(OfConnection { keep: self, source: source(peer), chain: Chain::default() }))
    }

    fn level(&self) -> Level {
        self.store.level()
    }
}

/// The messages of one connection.
struct OfConnection<'a> {
    keep: &'a Keep,
    source: Arc<Source>,
    chain: Chain,
}

impl<'a> Taker<'a> for OfConnection<'a> {
    fn take(&mut self, messages: Messages<'_>) -> BoxFuture<'a, Outcome> {
        self.keep.keep(messages, &self.source, &self.chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Addr, UnixName};
    use crate::service::store::MemoryStore;
    use crate::wire::{Framing, Span};

    #[tokio::test]
    async fn of_a_connection_nothing_is_kept_behind_what_was_put_off() {
        let store = Arc::new(MemoryStore::default());
        let keep = Keep::new(store.clone());
        let peer = Peer { addr: Addr::Unix(UnixName::Unnamed), local: None, credentials: None };
        let spans = [Span { start: 0, end: 3 }];
        let messages = Messages::of_stream(b"one\n", &spans, Framing::Line);
        let mut taker = keep.taker(&peer).expect("it takes over");
        assert_eq!(taker.take(messages).await, Outcome::Done);
        store.fill(true);
        assert!(matches!(taker.take(messages).await, Outcome::Retry(_)));
        store.fill(false);
        assert!(matches!(taker.take(messages).await, Outcome::Retry(_)), "there would be a gap");
        assert_eq!(keep.taker(&peer).expect("another").take(messages).await, Outcome::Done);
        assert_eq!(store.kept().len(), 2);
    }
}
