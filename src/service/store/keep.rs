//! `Keep`: the handler that puts plain messages, which have no session, into a store.
//!
//! Apart from the stores, which know nothing of handlers: whatever the store, a message is acknowledged once it is durable.

use std::sync::Arc;

use super::{FULL, Plain, Source, Store, StoreError};
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

    fn keep(&self, messages: Messages<'_>, peer: &Peer) -> BoxFuture<'_, Outcome> {
        let Some((first, _)) = messages.numbered().next() else { return Box::pin(std::future::ready(Outcome::Done)) };
        let source = Arc::new(Source { peer: peer.clone(), name: None });
        let kept = self.store.keep(Plain { source, first, messages: messages.to_batch() });
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
                Err(StoreError::Busy(_)) => Outcome::Retry("the store cannot be written to now".to_owned()),
                Err(_) => Outcome::Retry("the store has failed".to_owned()),
            }
        })
    }
}

impl Handler for Keep {
    fn handle<'a>(&'a self, messages: Messages<'a>, peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        Box::pin(async move { outcomes.repeat(self.keep(messages, peer).await, messages.len()) })
    }

    fn take(&self, messages: Messages<'_>, peer: &Peer) -> Option<BoxFuture<'_, Outcome>> {
        Some(self.keep(messages, peer))
    }

    fn level(&self) -> Level {
        self.store.level()
    }
}
