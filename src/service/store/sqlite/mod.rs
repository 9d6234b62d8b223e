//! `SqliteStore`: a store in a file that people open with `sqlite3`.
//!
//! Apart from the other stores. Here is what a server holds; the file's tables are in `schema`, what is done with them in `apply`, and the thread that does it
//! in `writer`.

mod answer;
mod apply;
mod archive;
mod file;
mod held;
mod insert;
mod log;
mod prune;
mod queue;
mod schema;
mod sources;
mod trouble;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tokio::sync::Notify;

pub use archive::SqliteArchive;
pub use file::{OpenError, files, remove_empty};
pub use prune::{PruneError, Pruned, prune};
pub use queue::MAX_NOTES;
pub use writer::{MAX_BATCH, MAX_BATCH_BYTES};

use super::{Append, Opened, Opening, Owner, Plain, Store, StoreError};
use crate::service::BoxFuture;
use crate::wire::assured::{Applied, SessionId};
use answer::{Answer, Herald, answer};
use held::Held;
use queue::{Queue, Request, Waiting, queue};
use writer::Writer;

/// How long a session is kept after it was used last.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How many sessions are kept.
pub const MAX_SESSIONS: u64 = 1_000_000;

/// How long another process that has locked the file is waited for.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How many bytes the log (the file `-wal`) may have before they are copied into the file itself; fewer as long as little is stored at a time. The log is a little
/// longer then, and much longer only where somebody reads in one transaction for long.
pub const CHECKPOINT_BYTES: u64 = 32 * 1024 * 1024;

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct SqliteConfig {
    /// How long a session is kept at least after it was used last. By default [`SESSION_LIFETIME`].
    pub session_lifetime: Duration,
    /// How many sessions are kept; then new ones are refused, unless others were kept long enough. By default [`MAX_SESSIONS`].
    pub max_sessions: u64,
    /// How long another process that has locked the file is waited for. By default [`LOCK_TIMEOUT`].
    pub lock_timeout: Duration,
    /// How many bytes the log may have at most before they are copied into the file itself. By default [`CHECKPOINT_BYTES`].
    pub checkpoint_bytes: u64,
    /// What time it is. By default the system's.
    pub clock: Clock,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self {
            session_lifetime: SESSION_LIFETIME,
            max_sessions: MAX_SESSIONS,
            lock_timeout: LOCK_TIMEOUT,
            checkpoint_bytes: CHECKPOINT_BYTES,
            clock: Clock::default(),
        }
    }
}

/// What time it is, as far as a store is concerned.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// A clock that shows what a function says.
    pub fn new(time: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(time))
    }

    fn milliseconds(&self) -> i64 {
        let since = (self.0)().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The longest message in bytes: a row of SQLite's has at most a thousand million (<https://sqlite.org/limits.html>), of which some are for what stands beside the
/// message.
pub const LONGEST: usize = 1_000_000_000 - 1024;

/// A store in a file of SQLite's, which several processes may have open.
///
/// What is asked for is done in the order of the calls, by a thread of its own. Dropping it waits until all of it is done.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// None once it is being dropped.
    queue: Option<Queue>,
    failure: Arc<Failure>,
    herald: Arc<Herald>,
    writer: Option<JoinHandle<()>>,
}

/// A store's file that is open and safe to speak of, and whose thread is not started: a process that is about to give up privileges has none yet.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    config: SqliteConfig,
    connection: Connection,
    held: Held,
}

impl OpenFile {
    /// Opens a store's file, and makes it if it is not there.
    ///
    /// # Errors
    /// As [`SqliteStore::open`] has them.
    pub fn open(path: impl AsRef<Path>, config: SqliteConfig) -> Result<Self, OpenError> {
        let (connection, held) = file::open(path.as_ref(), &config)?;
        Ok(Self { path: path.as_ref().to_owned(), config, connection, held })
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(self) -> Result<SqliteStore, OpenError> {
        let Self { path, config, connection, held } = self;
        let (queue, waiting) = queue();
        let failure = Arc::new(Failure::default());
        let herald = Arc::new(Herald::default());
        let (told, waking) = (Arc::clone(&failure), Arc::clone(&herald));
        let writer = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write(&connection, &config, &held, &waking, waiting, &told))
            .map_err(|error| OpenError::Failed(path.clone(), error.to_string()))?;
        Ok(SqliteStore { path, queue: Some(queue), failure, herald, writer: Some(writer) })
    }
}

/// Why a store can do nothing more.
#[derive(Debug, Default)]
struct Failure {
    reason: OnceLock<String>,
    changed: Notify,
}

impl SqliteStore {
    /// Opens a store, and makes it if it is not there: a file that only its owner may read. Two more are beside it, `-wal` and `-shm`, as long as it is
    /// there ([`files`]).
    ///
    /// # Errors
    /// The directory is not there, permission is denied, the file is something else or of a later version, another process has locked it, or it cannot be
    /// read or written.
    pub fn open(path: impl AsRef<Path>, config: SqliteConfig) -> Result<Self, OpenError> {
        OpenFile::open(path, config)?.start()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks the writer for something, at once, and waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(Answer<Result<T, StoreError>>) -> Request,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let (answer, answered) = answer();
        if let Some(queue) = &self.queue {
            queue.put(request(answer));
        }
        Box::pin(async move { answered.await.unwrap_or_else(|| Err(StoreError::Failed(self.failure.reason()))) })
    }
}

/// What the thread does.
fn write(
    connection: &Connection,
    config: &SqliteConfig,
    held: &Held,
    herald: &Herald,
    waiting: Waiting,
    failure: &Failure,
) {
    /// Says that the thread has ended, even if it has panicked.
    struct Ended<'a>(&'a Failure);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                self.0.set("its writer has ended".to_owned());
            }
        }
    }
    let ended = Ended(failure);
    let mut batch = Vec::new();
    let written = Writer::new(connection, config, held, herald)
        .map_err(|error| error.to_string())
        .and_then(|mut writer| writer.run(&waiting, &mut batch));
    if let Err(why) = written {
        failure.set(why);
    }
    // Whoever still waits is told now, when the reason is known.
    drop((ended, batch, waiting));
}

impl Failure {
    fn set(&self, reason: String) {
        let _ = self.reason.set(reason);
        self.changed.notify_waiters();
    }

    async fn wait(&self) -> String {
        loop {
            let changed = self.changed.notified();
            if let Some(reason) = self.reason.get() {
                return reason.clone();
            }
            changed.await;
        }
    }

    fn reason(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "its writer has ended".to_owned())
    }
}

impl Store for SqliteStore {
    fn longest(&self) -> usize {
        LONGEST
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Opened, StoreError>> {
        self.ask(|answer| Request::Open(opening, answer))
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Result<Applied, StoreError>> {
        self.ask(|answer| Request::Append(append, answer))
    }

    fn note(&self, session: &SessionId, owner: Owner, through: u64) {
        if let Some(queue) = &self.queue {
            // Where there is no room it is left: the client says it again when it opens the session.
            queue.put_note(session.clone(), owner, through);
        }
    }

    fn keep(&self, plain: Plain) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|answer| Request::Keep(plain, answer))
    }

    fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(async {
            tokio::select! {
                reason = self.failure.wait() => reason,
                never = self.herald.serve() => match never {},
            }
        })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The writer ends once nobody can ask any more.
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
