//! `JetStreamStore`: a store in a stream, which several servers may write to at the same time.
//!
//! Apart from its sessions: here is which of them are remembered, and who is set to work.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::super::{Append, Opened, Opening, Owner, Plain, Store, StoreError};
use super::JetStreamAddress;
use super::connection::{Connection, ConnectionConfig};
use super::draft::HEADER_ROOM;
use super::lane::Worker;
use super::link::Link;
use super::plain::{self, Queue};
use super::session::{self, LOSS_PATIENCE, Place, Request, Shared};
use super::stream::Stream;
use crate::net::Error;
use crate::service::BoxFuture;
use crate::wire::assured::{Applied, SessionId};

/// How many sessions are remembered. Of those that nothing is under way for, the ones that were not used for longest are forgotten: whoever still has one open has to
/// open it again.
pub const MAX_REMEMBERED: usize = 65_536;

/// The least that a server of NATS must take at once, in bytes.
pub const LEAST_PAYLOAD: usize = 2 * HEADER_ROOM;

/// A store in a stream of NATS JetStream. Each process that has it open may write to it: of one session only one at a time comes through, and the others find that out.
///
/// What is asked for is done by tasks of the runtime in which it was opened.
pub struct JetStreamStore {
    shared: Arc<Shared>,
    sessions: Mutex<HashMap<SessionId, Arc<Place>>>,
    /// Those of which messages are under way, by where they are in memory.
    chains: Arc<Mutex<HashMap<usize, Arc<Queue>>>>,
    /// How many records of plain messages there were, for their identities.
    records: Arc<AtomicU64>,
    /// How often something was asked for.
    turn: AtomicU64,
    runtime: Handle,
}

impl JetStreamStore {
    /// Opens the store that an address names; the stream is made if it is not there. Messages of so many bytes must be taken.
    ///
    /// # Errors
    /// NATS cannot be reached, refuses, has no JetStream, or takes too little at once; the stream is not as a store needs it.
    pub async fn open(address: &JetStreamAddress, config: &ConnectionConfig, longest: usize) -> Result<Self, Error> {
        Self::patient(address, config, longest, LOSS_PATIENCE).await
    }

    /// One that believes after a time that what was acknowledged is lost.
    pub(super) async fn patient(
        address: &JetStreamAddress,
        config: &ConnectionConfig,
        longest: usize,
        loss_patience: Duration,
    ) -> Result<Self, Error> {
        let connection = Connection::open(address, config).await?;
        connection.takes(LEAST_PAYLOAD.max(longest.saturating_add(HEADER_ROOM)))?;
        let at_once = connection.client().max_payload();
        Stream::prepare(&connection, address, at_once).await?;
        let room = at_once - HEADER_ROOM;
        let link = Link::new(connection, &address.stream).await;
        let link = link.map_err(|error| error.described("open the store", address))?;
        Ok(Self {
            shared: Arc::new(Shared { link, by: identity()?, room, loss_patience, owners: AtomicU64::new(0) }),
            sessions: Mutex::default(),
            chains: Arc::default(),
            records: Arc::default(),
            turn: AtomicU64::new(0),
            runtime: Handle::current(),
        })
    }

    /// Asks for something of a session, at once.
    fn ask(&self, session: &SessionId, request: Request) {
        let mut sessions = lock(&self.sessions);
        let place = match sessions.get(session) {
            Some(place) => Arc::clone(place),
            None => {
                if sessions.len() >= MAX_REMEMBERED {
                    forget(&mut sessions);
                }
                let place = Arc::new(Place::new(session.clone()));
                sessions.insert(session.clone(), Arc::clone(&place));
                place
            }
        };
        place.used.store(self.turn.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let worker = place.lane.put(request);
        drop(sessions);
        if worker == Worker::Wanted {
            let shared = Arc::clone(&self.shared);
            self.runtime.spawn(async move { session::work(&shared, &place).await });
        }
    }
}

/// Forgets the half of the sessions that was not used for longest, as far as nothing is under way for them.
fn forget(sessions: &mut HashMap<SessionId, Arc<Place>>) {
    let mut turns: Vec<u64> = sessions.values().map(|place| place.used.load(Ordering::Relaxed)).collect();
    let middle = turns.len() / 2;
    let (_, middle, _) = turns.select_nth_unstable(middle);
    let middle = *middle;
    sessions.retain(|_, place| place.used.load(Ordering::Relaxed) > middle || !place.lane.is_idle());
}

/// A name that no other server has.
fn identity() -> Result<String, Error> {
    let failed = |error: getrandom::Error| Error::system("take random bits", std::io::Error::other(error.to_string()));
    Ok(format!("{:016x}", getrandom::u64().map_err(failed)?))
}

impl Store for JetStreamStore {
    fn longest(&self) -> usize {
        self.shared.room
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Opened, StoreError>> {
        let (answer, answered) = oneshot::channel();
        self.ask(&opening.session.clone(), Request::Open(opening, answer));
        Box::pin(async { answered.await.unwrap_or_else(|_| broken_off()) })
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Result<Applied, StoreError>> {
        let (answer, answered) = oneshot::channel();
        self.ask(&append.session.clone(), Request::Append(append, answer));
        Box::pin(async { answered.await.unwrap_or_else(|_| broken_off()) })
    }

    fn note(&self, session: &SessionId, owner: Owner, through: u64) {
        if let Some(place) = lock(&self.sessions).get(session) {
            place.note(owner, through);
        }
    }

    fn keep(&self, plain: Plain) -> BoxFuture<'_, Result<(), StoreError>> {
        let (answer, answered) = oneshot::channel();
        let chain = Arc::as_ptr(&plain.chain.0) as usize;
        let mut chains = lock(&self.chains);
        let queue = Arc::clone(chains.entry(chain).or_insert_with(|| Arc::new(Queue::new())));
        let worker = queue.put((plain, answer));
        drop(chains);
        if worker == Worker::Wanted {
            let (shared, chains, records) = (self.shared.clone(), self.chains.clone(), self.records.clone());
            self.runtime.spawn(async move {
                plain::work(&shared, &queue, &records).await;
                let mut chains = lock(&chains);
                // Of a chain that had ended meanwhile, another may be where it was.
                if queue.is_idle() && chains.get(&chain).is_some_and(|there| Arc::ptr_eq(there, &queue)) {
                    chains.remove(&chain);
                }
            });
        }
        Box::pin(async { answered.await.unwrap_or_else(|_| broken_off()) })
    }

    fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(self.shared.link.failed())
    }
}

impl fmt::Debug for JetStreamStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JetStreamStore").field(&self.shared.link).finish()
    }
}

/// What is said where the runtime has ended, or a task has.
fn broken_off<T>() -> Result<T, StoreError> {
    Err(StoreError::Failed("what stores its messages has ended".to_owned()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
