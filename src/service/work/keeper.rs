//! `Keeper`: makes durable what becomes of messages, on a thread of its own.
//!
//! Apart from the state, so that commands need not wait for each sync: whatever came while the last was under way is made durable by the next.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;

use super::state::{Change, State};
use super::trouble::StateError;

/// How many changes may not be durable: no message is begun beyond them. So many commands at most are run again after a loss of power.
pub const MAX_UNKEPT: u64 = 64;

/// After how long it is tried again where the disk is full, or somebody has locked the file.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes changes durable. Dropping it waits until all are.
#[derive(Debug)]
pub(super) struct Keeper {
    changes: Option<mpsc::Sender<Change>>,
    given: u64,
    kept: watch::Receiver<Kept>,
    thread: Option<JoinHandle<Result<(), StateError>>>,
}

/// What is durable.
#[derive(Clone, Debug, Default)]
struct Kept {
    /// How many of the changes.
    count: u64,
    /// Why nothing more is for now.
    trouble: Option<String>,
}

impl Keeper {
    pub(super) fn new(state: State) -> std::io::Result<Self> {
        let (changes, queue) = mpsc::channel();
        let (told, kept) = watch::channel(Kept::default());
        let thread = thread::Builder::new().name("work".to_owned()).spawn(move || keep(state, &queue, &told))?;
        Ok(Self { changes: Some(changes), given: 0, kept, thread: Some(thread) })
    }

    /// Has a change kept.
    pub(super) fn put(&mut self, change: Change) {
        if let Some(changes) = &self.changes {
            self.given += 1;
            // If the thread has ended, that is told by `changed`.
            let _ = changes.send(change);
        }
    }

    /// Whether another message may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.given - self.kept.borrow().count < MAX_UNKEPT
    }

    /// Waits until more is durable, or cannot be for now: why.
    ///
    /// # Errors
    /// Nothing more can be made durable.
    pub(super) async fn changed(&mut self) -> Result<Option<String>, StateError> {
        match self.kept.changed().await {
            Ok(()) => Ok(self.kept.borrow_and_update().trouble.clone()),
            Err(_) => match self.join() {
                Err(error) => Err(error),
                Ok(()) => std::future::pending().await,
            },
        }
    }

    /// Waits until all that was put by now is durable; false if that will not be.
    pub(super) fn kept(&self) -> impl Future<Output = bool> + Send + use<> {
        let (mut kept, given) = (self.kept.clone(), self.given);
        async move { kept.wait_for(|kept| kept.count >= given).await.is_ok() }
    }

    /// Waits until all is durable.
    ///
    /// # Errors
    /// It cannot be.
    pub(super) fn close(mut self) -> Result<(), StateError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), StateError> {
        self.changes = None;
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or(Ok(())))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

fn keep(mut state: State, queue: &mpsc::Receiver<Change>, told: &watch::Sender<Kept>) -> Result<(), StateError> {
    let mut changes = Vec::new();
    while let Ok(change) = queue.recv() {
        changes.push(change);
        loop {
            changes.extend(queue.try_iter());
            match state.keep(&changes) {
                Ok(()) => break,
                Err(error) if error.is_passing() => {
                    told.send_if_modified(|kept| kept.trouble.replace(error.to_string()).is_none());
                    // Whoever ends waits no longer than this.
                    match queue.recv_timeout(PAUSE) {
                        Ok(change) => changes.push(change),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => {
                            state.keep(&changes)?;
                            break;
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        told.send_modify(|kept| *kept = Kept { count: kept.count + changes.len() as u64, trouble: None });
        changes.clear();
    }
    Ok(())
}
