//! `Gate`: the access rules in force, which can be exchanged while a server runs.
//!
//! Apart from the rules themselves, so that loading new ones, which waits for files and names, never holds up who is being judged.

use std::sync::{Arc, PoisonError, RwLock};

use super::Access;

/// The rules in force. Clones share them.
///
/// Rules are loaded anew with `gate.replace(rules.load().await?)`: where loading fails the old ones stay. Who has been let in
/// stays in.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<RwLock<Arc<Access>>>);

impl Gate {
    /// The rules in force now.
    pub fn access(&self) -> Arc<Access> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other rules in force.
    pub fn replace(&self, access: Access) {
        let access = Arc::new(access);
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, access);
        // Many rules take a while to go away: not while others wait.
        drop(current);
        drop(old);
    }
}

impl From<Access> for Gate {
    fn from(access: Access) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(access))))
    }
}
