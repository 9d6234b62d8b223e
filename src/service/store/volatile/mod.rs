//! `Volatile`: a store that keeps nothing for good: it gives each message to a handler, and remembers sessions as long as the process lives.
//!
//! Apart from the stores that keep messages on disk: after a restart, and only then, a message may be handled again.

mod handling;
mod kept;
mod session;
mod sessions;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use handling::{Handled, Handling};
use kept::Kept;
use session::Session;
use sessions::Sessions;

use super::{Append, Opened, Opening, Owner, Plain, Store, StoreError};
use crate::service::{BoxFuture, Handler, Messages, Outcomes};
use crate::wire::Framing;
use crate::wire::assured::{Applied, Level, SessionId};

/// How many sessions are remembered. Of more, those go that were used least recently: if one goes on, it begins anew where its client is.
pub const MAX_SESSIONS: usize = 16 * 1024;

/// How many bytes of replies and refusals are kept for a session until its client has noted them. Of more, the oldest replies go.
pub const MAX_REPLIES: usize = 1024 * 1024;

/// How many bytes of them are kept for all sessions together. Of more, the replies go of those sessions that were used least recently; then the sessions.
pub const MAX_ALL_REPLIES: usize = 64 * 1024 * 1024;

/// When a message is to be sent again that the handler has put off.
pub const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A store over a handler. A clone, which may show messages otherwise, has the same sessions.
#[derive(Clone)]
pub struct Volatile {
    handler: Arc<dyn Handler>,
    framing: Option<Framing>,
    sessions: Arc<Mutex<Sessions>>,
    owners: Arc<AtomicU64>,
    /// How many bytes of replies and refusals are kept.
    kept: Arc<AtomicUsize>,
}

impl Volatile {
    /// A store that gives messages to `handler`.
    pub fn new(handler: Arc<dyn Handler>) -> Self {
        Self { handler, framing: None, sessions: Arc::default(), owners: Arc::default(), kept: Arc::default() }
    }

    /// The same sessions, whose messages are given to the handler as if they had come in a stream of this framing.
    #[must_use]
    pub fn framed(&self, framing: Framing) -> Self {
        Self { framing: Some(framing), ..self.clone() }
    }

    /// The session of this name. One that is not known begins behind this number.
    fn session(&self, id: &SessionId, acknowledged: u64, principal: Option<&String>) -> Arc<Session> {
        lock(&self.sessions).get(id, || Session::new(acknowledged, principal.cloned(), Kept::of(&self.kept)))
    }

    async fn open_session(&self, opening: Opening) -> Result<Opened, StoreError> {
        let Opening { session: id, first, principal, replies, .. } = opening;
        let session = self.session(&id, first - 1, principal.as_ref());
        if session.principal.is_some() && session.principal != principal {
            return Err(StoreError::Foreign);
        }
        // What the older owner has under way is applied before.
        let _turn = session.turn.lock().await;
        let owner = self.owners.fetch_add(1, Ordering::Relaxed) + 1;
        let progress = lock(&session.state).open(owner, first, replies);
        Ok(Opened { progress, owner: Owner(owner) })
    }

    async fn apply(&self, append: Append) -> Result<Applied, StoreError> {
        let Append { session: id, owner, source, run } = append;
        let session = self.session(&id, run.first - 1, None);
        let _turn = session.turn.lock().await;
        let tried = {
            let mut state = lock(&session.state);
            if state.owner > owner.0 {
                return Err(StoreError::TakenOver);
            }
            // Of a session that was forgotten meanwhile the owner goes on with what it has.
            state.owner = owner.0;
            if run.first != state.acknowledged + 1 {
                return Ok(state.put_off("it is behind one that was put off".to_owned()));
            }
            state.tried
        };
        let handler = self.handler.as_ref();
        let handling = Handling { handler, framing: self.framing, session: &id, source: &source, tried };
        let Handled { through, verdicts, put_off } = handling.handle(&run).await;
        let applied = {
            let mut state = lock(&session.state);
            state.advance(&run, through, &verdicts);
            match put_off {
                None => Applied { through, verdicts, put_off: None },
                Some(reason) => {
                    state.tried += 1;
                    Applied { verdicts, ..state.put_off(reason) }
                }
            }
        };
        if self.kept.load(Ordering::Relaxed) > MAX_ALL_REPLIES {
            lock(&self.sessions).forget_replies(&self.kept);
        }
        Ok(applied)
    }
}

impl Store for Volatile {
    fn level(&self) -> Level {
        self.handler.level()
    }

    fn one_by_one(&self) -> bool {
        self.handler.takes_long()
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(self.open_session(opening))
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Result<Applied, StoreError>> {
        Box::pin(self.apply(append))
    }

    fn note(&self, session: &SessionId, owner: Owner, through: u64) {
        let known = lock(&self.sessions).known.get(session).map(|(session, _)| session.clone());
        if let Some(session) = known {
            let mut state = lock(&session.state);
            if state.owner == owner.0 {
                state.kept.forget(through);
            }
        }
    }

    fn keep(&self, plain: Plain) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let Plain { source, first, messages, .. } = plain;
            let given = Messages::separate(&messages.bytes, &messages.spans, self.framing).from_number(first);
            self.handler.handle(given, &source.peer, &mut Outcomes::default()).await;
            Ok(())
        })
    }

    fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(std::future::pending())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
