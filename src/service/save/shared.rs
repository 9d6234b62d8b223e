//! `Shared`: what all sessions of a server that saves files have in common: the directory, what they were told, and each other.
//!
//! Apart from a single one: here is which of them go.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::directory::Directory;
use super::session::Session;
use super::{SaveConfig, lock};
use crate::service::Observer;
use crate::service::store::{FULL, Owner, Source, StoreError};
use crate::service::teller::Teller;
use crate::wire::assured::SessionId;

/// How many sessions there are at the most. Of more, those go that have no connection; a session that has one stays.
pub const MAX_SESSIONS: usize = 16 * 1024;

/// How long a session stays that has no connection. Then its file may go on in another, and its client is told that the session is not known: it puts the file again.
pub const ALONE: Duration = Duration::from_secs(300);

/// How many bytes of answers are kept in all that clients have not noted yet. Of more, those go whose sessions have no connection, and sessions that have many are to wait.
pub const MOST_TOLD: usize = 64 * 1024 * 1024;

/// How many of those a session may have where there are too many in all.
pub const FAIR_TOLD: usize = 64 * 1024;

/// What all sessions have in common.
pub(super) struct Shared {
    pub(super) directory: Directory,
    pub(super) config: SaveConfig,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// Tells of a disk without room.
    pub(super) full: Teller,
    /// How many bytes of answers are kept that clients have not noted.
    pub(super) told: AtomicUsize,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    owners: AtomicU64,
}

impl Shared {
    pub(super) fn new(directory: Directory, config: SaveConfig, observer: Option<Arc<dyn Observer>>) -> Self {
        let (sessions, owners) = (Mutex::default(), AtomicU64::default());
        Self { directory, config, observer, full: Teller::every(FULL), told: AtomicUsize::new(0), sessions, owners }
    }

    /// The session of this name, if it is known.
    pub(super) fn known(&self, id: &SessionId) -> Option<Arc<Session>> {
        lock(&self.sessions).get(id).cloned()
    }

    /// The session of this name; a new one where there is none.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn session(
        self: &Arc<Self>,
        id: &SessionId,
        principal: Option<&String>,
        source: &Arc<Source>,
    ) -> Result<Arc<Session>, StoreError> {
        if let Some(session) = self.known(id) {
            return Ok(session);
        }
        if lock(&self.sessions).len() >= MAX_SESSIONS && !self.release() {
            return Err(StoreError::TooManySessions);
        }
        let new = || Session::new(self.clone(), principal.cloned(), source);
        Ok(lock(&self.sessions).entry(id.clone()).or_insert_with(new).clone())
    }

    /// Who owns a session from now on.
    pub(super) fn next_owner(&self) -> Owner {
        Owner(self.owners.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Forgets all sessions that have no connection now, and lets go of their files. Says whether there were any.
    pub(super) fn release(&self) -> bool {
        self.forget(Duration::ZERO)
    }

    /// Whether a session is to wait that has kept so many bytes of answers.
    pub(super) fn has_told_enough(&self, told: usize) -> bool {
        let is_full = || self.told.load(Ordering::Relaxed) > MOST_TOLD;
        told > FAIR_TOLD && is_full() && (!self.release() || is_full())
    }

    /// Forgets those that have had none for long.
    pub(super) fn sweep(&self) {
        self.forget(ALONE);
    }

    /// Ends all sessions.
    pub(super) fn end(&self) {
        lock(&self.sessions).drain().for_each(|(_, session)| session.end());
    }

    fn forget(&self, longer: Duration) -> bool {
        let mut sessions = lock(&self.sessions);
        let before = sessions.len();
        sessions.retain(|_, session| !session.end_if_alone(longer));
        sessions.len() < before
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("directory", &self.directory)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
