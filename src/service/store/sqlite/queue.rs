//! `Queue`: what waits for the writer, in the order in which it was asked for.
//!
//! Apart from both ends: those who ask are tasks, the writer is a thread.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::{Append, Opened, Opening, Owner, Plain, StoreError};
use super::answer::Answer;
use crate::wire::assured::{Applied, SessionId};

/// How many notes may wait for the writer: a client may say as many as it likes, and waits for none. Of more, those that come are left out.
pub const MAX_NOTES: usize = 64 * 1024;

/// One thing that a store is asked for, and where the answer goes.
#[derive(Debug)]
pub(super) enum Request {
    Open(Opening, Answer<Result<Opened, StoreError>>),
    Append(Append, Answer<Result<Applied, StoreError>>),
    Keep(Plain, Answer<Result<(), StoreError>>),
    Note(SessionId, Owner, u64),
}

/// How much a request is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Size {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Request {
    pub(super) fn size(&self) -> Size {
        match self {
            Self::Append(append, _) => Size { messages: append.run.len(), bytes: append.run.bytes.len() },
            Self::Keep(plain, _) => Size { messages: plain.messages.spans.len(), bytes: plain.messages.bytes.len() },
            Self::Open(..) | Self::Note(..) => Size { messages: 1, bytes: 0 },
        }
    }
}

/// A request in the queue. A note makes room for another once it is dropped.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) request: Request,
    _room: Option<OwnedSemaphorePermit>,
}

/// The end of those who ask. However many bytes wait, they are in memory anyhow: it is for those who ask to have few requests under way at a time. Whoever had to wait for room
/// could keep others waiting, by not being there when it is their turn.
#[derive(Debug)]
pub(super) struct Queue {
    notes: Arc<Semaphore>,
    sender: Sender<Queued>,
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Waiting(Receiver<Queued>);

pub(super) fn queue() -> (Queue, Waiting) {
    let (sender, receiver) = mpsc::channel();
    (Queue { notes: Arc::new(Semaphore::new(MAX_NOTES)), sender }, Waiting(receiver))
}

impl Queue {
    /// Puts a request into the queue, so that it is before all that is asked for later. One that the writer will not take any more is dropped, which is its answer.
    pub(super) fn put(&self, request: Request) {
        let _ = self.sender.send(Queued { request, _room: None });
    }

    /// Puts a note into the queue, if there is room for one.
    pub(super) fn put_note(&self, session: SessionId, owner: Owner, through: u64) {
        if let Ok(room) = Arc::clone(&self.notes).try_acquire_owned() {
            let _ = self.sender.send(Queued { request: Request::Note(session, owner, through), _room: Some(room) });
        }
    }
}

impl Waiting {
    /// The next request, if there is one now.
    pub(super) fn next(&self) -> Option<Queued> {
        self.0.try_recv().ok()
    }

    /// Waits for a request, and for so long at most: `Ok(None)`.
    ///
    /// # Errors
    /// There will be none any more.
    pub(super) fn wait(&self, within: Option<Duration>) -> Result<Option<Queued>, mpsc::RecvError> {
        match within {
            None => self.0.recv().map(Some),
            Some(within) => match self.0.recv_timeout(within) {
                Ok(queued) => Ok(Some(queued)),
                Err(RecvTimeoutError::Timeout) => Ok(None),
                Err(RecvTimeoutError::Disconnected) => Err(mpsc::RecvError),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_left_out_where_too_many_wait() {
        let (queue, waiting) = queue();
        let session = SessionId::of_bits(1);
        for through in 0..MAX_NOTES as u64 + 9 {
            queue.put_note(session.clone(), Owner(1), through);
        }
        let through = |queued: Queued| match queued.request {
            Request::Note(_, _, through) => through,
            other => panic!("{other:?}"),
        };
        assert_eq!(waiting.next().map(through), Some(0));
        queue.put_note(session, Owner(1), 99);
        assert_eq!(std::iter::from_fn(|| waiting.next()).map(through).last(), Some(99));
        assert!(waiting.next().is_none());
    }
}
