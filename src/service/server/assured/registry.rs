//! `Registry`: which connection of this server has which session, so that the one before is told at once that another has it now.
//!
//! Apart from the store, which sees to it that nothing is applied of the one before (rule S1), whether it is told or not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::service::store::Owner;
use crate::wire::assured::SessionId;

/// The sessions that are open, each with its owner.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<HashMap<SessionId, (Owner, oneshot::Sender<()>)>>);

impl Registry {
    /// Makes a connection the one that has a session, which the store has given to it. Whoever had it before is told.
    pub(super) fn claim(&self, session: &SessionId, owner: Owner) -> Place<'_> {
        let (telling, told) = oneshot::channel();
        let mut open = self.lock();
        let is_newest = open.get(session).is_none_or(|(other, _)| *other < owner);
        if is_newest {
            open.insert(session.clone(), (owner, telling));
        }
        Place { registry: self, session: session.clone(), owner, told }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, (Owner, oneshot::Sender<()>)>> {
        // Nothing in here panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the registry.
#[derive(Debug)]
pub(super) struct Place<'a> {
    registry: &'a Registry,
    pub(super) session: SessionId,
    pub(super) owner: Owner,
    /// Completes, with an error, when another has taken the place.
    pub(super) told: oneshot::Receiver<()>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self.registry.lock();
        if open.get(&self.session).is_some_and(|(owner, _)| *owner == self.owner) {
            open.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_has_the_session_whoever_comes_first() {
        let (registry, session) = (Registry::default(), SessionId::of_bits(1));
        let mut first = registry.claim(&session, Owner(1));
        let mut third = registry.claim(&session, Owner(3));
        let mut second = registry.claim(&session, Owner(2));
        let has_it = |place: &mut Place<'_>| place.told.try_recv() == Err(oneshot::error::TryRecvError::Empty);
        assert_eq!((has_it(&mut first), has_it(&mut second), has_it(&mut third)), (false, false, true));
        drop((first, second));
        assert!(has_it(&mut third));
        drop(third);
        assert!(registry.lock().is_empty());
    }
}
