//! `FileStore`: a store whose messages are of files ([`FileWord`](crate::wire::FileWord)): each is written beneath a directory, whole or not at all.
//!
//! Apart from the stores that keep messages: here a session is gone with the process, and what is there of a file is what goes on. `docs/protocol.md`, "Files", has the rules.

mod attributes;
mod copying;
mod directory;
mod hashing;
mod incoming;
mod place;
mod session;
mod settling;
mod shared;
#[cfg(test)]
mod tests;
mod trouble;
mod words;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::store::{Append, Opened, Opening, Owner, Plain, Store, StoreError};
use super::{BoxFuture, Observer};
use crate::wire::assured::{Applied, Level, Progress, SessionId};
use directory::Directory;
use session::Job;
use shared::Shared;

pub use hashing::MAX_DIGESTS;
pub use incoming::LONGEST_STEP;
pub use place::Overwrite;
pub use settling::MOST_TOGETHER;
pub use shared::{ALONE, FAIR_TOLD, MAX_SESSIONS, MOST_TOLD};
pub use words::{LONGEST_REASON, MOST_AT_ONCE};

/// How long what is there of a file stays that nobody goes on with.
pub const KEEP_PARTS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How often it is looked for sessions that have had no connection for long.
const SWEEP: Duration = Duration::from_secs(30);

/// What a client is told that sends messages.
const FILES_ONLY: &str = "this server takes files: wilco client --file PATH sends one";

/// What a client is told that would not hear how far its file is.
const REPLIES_WANTED: &str = "whoever sends files wants the replies (reply=1)";

/// What a store of files is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SaveConfig {
    /// What becomes of a file that has the name already. By default it stays.
    pub overwrite: Overwrite,
    /// The longest file, in bytes. By default there is no limit.
    pub max_file: Option<u64>,
    /// How long what is there of a file stays that nobody goes on with ([`KEEP_PARTS`] by default); none is for ever.
    pub keep_parts: Option<Duration>,
}

impl Default for SaveConfig {
    fn default() -> Self {
        Self { overwrite: Overwrite::Never, max_file: None, keep_parts: Some(KEEP_PARTS) }
    }
}

/// The directory of a store of files, open before anything is served.
#[derive(Debug)]
pub struct SaveDirectory(Directory);

impl SaveDirectory {
    /// Opens a directory. Whatever is under its path later, it is this one.
    ///
    /// # Errors
    /// It is not there, or is no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        Directory::open(path).map(Self)
    }

    /// Whether this process may make files in it.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self) -> io::Result<()> {
        self.0.check()
    }
}

/// A store that saves files.
#[derive(Debug)]
pub struct FileStore(Arc<Shared>);

impl FileStore {
    /// A store that saves files beneath this directory. The observer, if there is one, is told of each
    /// ([`Observed::Saved`](super::Observed::Saved)).
    pub fn new(directory: SaveDirectory, config: SaveConfig, observer: Option<Arc<dyn Observer>>) -> Self {
        let shared = Arc::new(Shared::new(directory.0, config, observer));
        if let Some(older) = config.keep_parts {
            let sweeping = shared.clone();
            let sweep = move || match sweeping.directory.remove_parts(older) {
                0 => {}
                removed => tracing::info!("removed {removed} parts of files that nobody has gone on with"),
            };
            // Where there are too many threads it is done another time.
            let _ = std::thread::Builder::new().name("parts".to_owned()).spawn(sweep);
        }
        Self(shared)
    }

    async fn open_session(&self, opening: Opening) -> Result<Opened, StoreError> {
        if !opening.replies {
            return Err(StoreError::Unwanted(REPLIES_WANTED));
        }
        if opening.first > 1 && self.0.known(&opening.session).is_none() {
            // It was another server's, or is forgotten: its file goes on in another session.
            return Ok(Opened { progress: Progress::default(), owner: self.0.next_owner() });
        }
        loop {
            let session = self.0.session(&opening.session, opening.principal.as_ref(), &opening.source)?;
            let (answer, waits) = oneshot::channel();
            // One that was forgotten just now is begun anew.
            if session.push(Job::Open(opening.clone(), answer)) {
                return waits.await.unwrap_or_else(|_| Err(ended()));
            }
        }
    }
}

impl Drop for FileStore {
    /// Lets go of all files. What has come of them stays.
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Store for FileStore {
    fn level(&self) -> Level {
        Level::Saved
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(self.open_session(opening))
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Result<Applied, StoreError>> {
        let (answer, waits) = oneshot::channel();
        let pushed = match self.0.known(&append.session) {
            Some(session) => session.push(Job::Append(append, Handle::current(), answer)),
            None => false,
        };
        Box::pin(async move {
            match pushed {
                true => waits.await.unwrap_or_else(|_| Err(ended())),
                false => Err(StoreError::TakenOver),
            }
        })
    }

    fn note(&self, session: &SessionId, owner: Owner, through: u64) {
        if let Some(session) = self.0.known(session) {
            session.note(owner, through);
        }
    }

    fn keep(&self, _plain: Plain) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Err(StoreError::Unwanted(FILES_ONLY))))
    }

    fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(async {
            loop {
                tokio::time::sleep(SWEEP).await;
                self.0.sweep();
            }
        })
    }
}

/// A thread of its own has ended halfway.
fn ended() -> StoreError {
    StoreError::Busy("the session's thread has ended".to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
