//! `Sessions`: those that are remembered.
//!
//! Apart from a single one: here is which of them go when there are too many.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::session::Session;
use super::{MAX_ALL_REPLIES, MAX_SESSIONS, lock};
use crate::wire::assured::SessionId;

/// Those that are remembered, each with when it was used: a count of uses.
#[derive(Default)]
pub(super) struct Sessions {
    pub(super) known: HashMap<SessionId, (Arc<Session>, u64)>,
    uses: u64,
}

impl Sessions {
    /// The session of this name; a new one where there is none.
    pub(super) fn get(&mut self, id: &SessionId, new: impl FnOnce() -> Session) -> Arc<Session> {
        self.uses += 1;
        if let Some((session, used)) = self.known.get_mut(id) {
            *used = self.uses;
            return session.clone();
        }
        if self.known.len() >= MAX_SESSIONS {
            self.forget_some();
        }
        let session = Arc::new(new());
        self.known.insert(id.clone(), (session.clone(), self.uses));
        session
    }

    /// Forgets replies, of those first that were used least recently; and some at once, so that not each reply costs a look at all. Where refusals are too
    /// many, the sessions themselves go: a client must not take for handled what was refused.
    pub(super) fn forget_replies(&mut self, kept: &AtomicUsize) {
        let is_enough = || kept.load(Ordering::Relaxed) <= MAX_ALL_REPLIES / 16 * 15;
        let mut oldest: Vec<_> =
            self.known.iter().map(|(id, (session, used))| (*used, id.clone(), session.clone())).collect();
        oldest.sort_unstable_by_key(|(used, ..)| *used);
        for (_, _, session) in &oldest {
            if is_enough() {
                return;
            }
            lock(&session.state).kept.forget_replies(0);
        }
        for (_, id, session) in oldest {
            if is_enough() {
                return;
            }
            self.known.remove(&id);
            drop(session);
        }
    }

    /// Forgets some at once, so that not every new one costs a look at all.
    fn forget_some(&mut self) {
        let mut uses: Vec<_> = self.known.values().map(|(_, used)| *used).collect();
        let (_, oldest, _) = uses.select_nth_unstable(MAX_SESSIONS / 16);
        let oldest = *oldest;
        self.known.retain(|_, (_, used)| *used > oldest);
    }
}
