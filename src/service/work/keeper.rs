//! `Keeper`: makes durable what becomes of messages, on a thread of its own.
//!
//! Apart from the state, so that commands need not wait for each sync: whatever came while the last was under way is made durable by the next.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

use super::state::{Change, State, StateError};

/// How many changes may not be durable: no message is begun beyond them. So many commands at most are run again after a loss of power.
pub const MAX_UNKEPT: u64 = 64;

/// Makes changes durable. Dropping it waits until all are.
#[derive(Debug)]
pub(super) struct Keeper {
    changes: Option<mpsc::Sender<Change>>,
    given: u64,
    kept: watch::Receiver<u64>,
    thread: Option<JoinHandle<Result<(), StateError>>>,
}

impl Keeper {
    pub(super) fn new(state: State) -> std::io::Result<Self> {
        let (changes, queue) = mpsc::channel();
        let (told, kept) = watch::channel(0);
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
        self.given - *self.kept.borrow() < MAX_UNKEPT
    }

    /// Waits until more is durable.
    ///
    /// # Errors
    /// Nothing more can be made durable.
    pub(super) async fn changed(&mut self) -> Result<(), StateError> {
        match self.kept.changed().await {
            Ok(()) => Ok(()),
            Err(_) => match self.join() {
                Err(error) => Err(error),
                Ok(()) => std::future::pending().await,
            },
        }
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

fn keep(mut state: State, queue: &mpsc::Receiver<Change>, told: &watch::Sender<u64>) -> Result<(), StateError> {
    let mut changes = Vec::new();
    while let Ok(change) = queue.recv() {
        changes.push(change);
        changes.extend(queue.try_iter());
        state.keep(&changes)?;
        told.send_modify(|kept| *kept += changes.len() as u64);
        changes.clear();
    }
    Ok(())
}
