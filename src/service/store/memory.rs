//! `MemoryStore`: a store that keeps everything in memory, and is gone with the process.
//!
//! Apart from those that keep something for good. It is for tests, those of programs that use this library, too: what was stored can be looked at, and
//! trouble can be made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Append, Opened, Opening, Owner, Plain, Source, Store, StoreError};
use crate::service::BoxFuture;
use crate::wire::assured::{Applied, Code, Level, Progress, PutOff, SessionId, Verdict, checksum};

/// How long a client is asked to wait while the store is full.
const PAUSE: Duration = Duration::from_millis(100);

/// A message that was stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Where it came from.
    pub source: Arc<Source>,
    /// Its session; none for a plain message.
    pub session: Option<SessionId>,
    /// Its number in the session, or else in the connection.
    pub number: u64,
    /// The session and number under which it was sent at first, if that was another.
    pub origin: Option<(SessionId, u64)>,
    /// The message.
    pub body: Vec<u8>,
}

/// A store in memory. A clone is the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    lasting: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    failed: Notify,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionId, Session>,
    kept: Vec<Kept>,
    full: bool,
    failure: Option<String>,
}

#[derive(Debug)]
struct Session {
    principal: Option<String>,
    owner: u64,
    progress: Progress,
}

impl MemoryStore {
    /// An empty store that behaves as one does that keeps nothing for good: it begins a session that it does not know with the first number that the
    /// client asks for, and an acknowledgement means that the message was handled.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that behaves as one does on a disk, for tests.
    pub fn as_if_lasting() -> Self {
        Self { lasting: true, ..Self::default() }
    }

    /// All that was stored, in its order.
    pub fn kept(&self) -> Vec<Kept> {
        self.state().kept.clone()
    }

    /// Says whether there is room from now on. At first there is.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// Lets the store fail for good.
    pub fn fail(&self, reason: impl Into<String>) {
        self.state().failure.get_or_insert(reason.into());
        self.shared.failed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn level(&self) -> Level {
        if self.lasting { Level::Stored } else { Level::Handled }
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Opened, StoreError>> {
        ready(self.state().open(opening, self.lasting))
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Result<Applied, StoreError>> {
        ready(self.state().append(append))
    }

    fn note(&self, session: &SessionId, owner: Owner, through: u64) {
        if let Some(session) = self.state().sessions.get_mut(session).filter(|session| session.owner == owner.0) {
            session.progress.verdicts.retain(|(number, _)| *number > through);
        }
    }

    fn keep(&self, plain: Plain) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(self.state().keep(&plain))
    }

    fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(async {
            loop {
                let failed = self.shared.failed.notified();
                if let Some(reason) = self.state().failure.clone() {
                    return reason;
                }
                failed.await;
            }
        })
    }
}

impl State {
    fn works(&self) -> Result<(), StoreError> {
        self.failure.as_ref().map_or(Ok(()), |reason| Err(StoreError::Failed(reason.clone())))
    }

    fn open(&mut self, opening: Opening, lasting: bool) -> Result<Opened, StoreError> {
        self.works()?;
        if let Some(session) = self.sessions.get_mut(&opening.session) {
            if session.principal.is_some() && session.principal != opening.principal {
                return Err(StoreError::Foreign);
            }
            session.owner += 1;
            return Ok(Opened { progress: session.progress.clone(), owner: Owner(session.owner) });
        }
        if lasting && opening.first > 1 {
            return Ok(Opened { progress: Progress::default(), owner: Owner(0) });
        }
        let progress = Progress { acknowledged: opening.first.saturating_sub(1), ..Progress::default() };
        let known = Progress { known: true, ..progress.clone() };
        let session = Session { principal: opening.principal, owner: 1, progress: known };
        self.sessions.insert(opening.session, session);
        Ok(Opened { progress, owner: Owner(1) })
    }

    fn append(&mut self, append: Append) -> Result<Applied, StoreError> {
        self.works()?;
        let run = &append.run;
        let session = self.sessions.get_mut(&append.session).filter(|session| session.owner == append.owner.0);
        let progress = &mut session.ok_or(StoreError::TakenOver)?.progress;
        let put_off = |code, reason: &str| PutOff { code, after: PAUSE, reason: reason.to_owned() };
        let mut applied = Applied { through: progress.acknowledged, ..Applied::default() };
        if run.is_empty() {
            return Ok(applied);
        }
        if run.first <= progress.acknowledged {
            return Err(StoreError::TakenOver);
        }
        if run.first > progress.acknowledged + 1 {
            applied.put_off = Some(put_off(Code::OVERLOADED, "messages before it were put off"));
            return Ok(applied);
        }
        if self.full {
            applied.put_off = Some(put_off(Code::DISK_FULL, "there is no room"));
            return Ok(applied);
        }
        let refused = run.refused.iter().map(|(number, code, why)| (*number, Verdict::Refused(*code, why.clone())));
        applied.verdicts.extend(refused);
        applied.through = run.last();
        let refused_last = applied.verdicts.last().is_some_and(|(number, _)| *number == run.last());
        progress.checksum = (!refused_last).then(|| checksum(run.message(run.last())));
        progress.acknowledged = run.last();
        progress.verdicts.extend(applied.verdicts.iter().cloned());
        let origin = |number| {
            let found = run.origins.iter().find(|(of, ..)| *of == number);
            found.map(|(_, session, there)| (session.clone(), *there))
        };
        self.kept.extend(run.messages().map(|(number, body)| Kept {
            source: Arc::clone(&append.source),
            session: Some(append.session.clone()),
            number,
            origin: origin(number),
            body: body.to_vec(),
        }));
        Ok(applied)
    }

    fn keep(&mut self, plain: &Plain) -> Result<(), StoreError> {
        self.works()?;
        if self.full || plain.chain.is_broken() {
            plain.chain.break_off();
            return Err(StoreError::Full("it was said to be full".to_owned()));
        }
        self.kept.extend((plain.first..).zip(plain.messages.iter()).map(|(number, body)| Kept {
            source: Arc::clone(&plain.source),
            session: None,
            number,
            origin: None,
            body: body.to_vec(),
        }));
        Ok(())
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

#[cfg(test)]
mod tests {
    use super::super::contract::{self, Fixture};
    use super::*;

    /// What was stored is there as long as somebody has the store.
    struct Memory(MemoryStore);

    impl Fixture for Memory {
        fn new() -> Self {
            Self(MemoryStore::as_if_lasting())
        }

        fn store(&mut self) -> Arc<dyn Store> {
            Arc::new(self.0.clone())
        }

        fn kept(&self) -> Vec<Kept> {
            self.0.kept()
        }

        fn full(&mut self, full: bool) -> bool {
            self.0.fill(full);
            true
        }
    }

    contract::tests!(Memory);

    #[tokio::test]
    async fn a_store_that_keeps_nothing_begins_a_session_where_the_client_is() {
        let store = MemoryStore::new();
        let opened = store.open(contract::opening("0123456789abcdef", 8)).await.expect("open");
        assert_eq!((opened.progress.known, opened.progress.acknowledged), (false, 7));
        let applied = store.append(contract::append("0123456789abcdef", opened.owner, 8, &["eight"])).await;
        assert_eq!(applied.map(|applied| applied.through), Ok(8));
    }

    #[tokio::test]
    async fn a_store_that_has_failed_acknowledges_nothing() {
        let store = MemoryStore::new();
        store.fail("the disk is gone");
        assert_eq!(store.failed().await, "the disk is gone");
        let failed = Err(StoreError::Failed("the disk is gone".to_owned()));
        assert_eq!(store.keep(contract::plain(&["one"])).await, failed);
    }
}
