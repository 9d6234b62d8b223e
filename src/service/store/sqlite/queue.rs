//! `Queue`: what waits for the writer, in the order in which it was asked for.
//!
//! Apart from both ends: those who ask are tasks, the writer is a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::super::{Append, Opened, Opening, Owner, Plain, StoreError};
use crate::wire::assured::{Applied, SessionId};

/// How many bytes of requests may wait for the writer. Who asks for more waits before.
pub const MAX_QUEUED: usize = 64 * 1024 * 1024;

/// What a message, and a request, count for beside their bytes.
const OVERHEAD: usize = 64;

/// One thing that a store is asked for, and where the answer goes.
#[derive(Debug)]
pub(super) enum Request {
    Open(Opening, Answer<Opened>),
    Append(Append, Answer<Applied>),
    Keep(Plain, Answer<()>),
    Note(SessionId, Owner, u64),
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

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

    /// How much of the queue it takes. What is larger than all of it takes all of it.
    fn weight(&self) -> u32 {
        let size = self.size();
        u32::try_from((size.bytes + (size.messages + 1) * OVERHEAD).min(MAX_QUEUED)).unwrap_or(u32::MAX)
    }
}

/// A request in the queue; its room is free again once it is dropped.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) request: Request,
    _room: OwnedSemaphorePermit,
}

/// The end of those who ask.
#[derive(Debug)]
pub(super) struct Queue {
    room: Arc<Semaphore>,
    /// How many requests have been given back, and not come again: none may get before them, even where there is room by now.
    later: Arc<AtomicUsize>,
    sender: Sender<Queued>,
}

/// A request for which there was no room. It has its place before all that are asked for after it.
#[derive(Debug)]
pub(super) struct Later {
    request: Request,
    _place: Place,
}

/// What keeps others from the front; it is given up once the request is in the queue, or nobody wants it any more.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Waiting(Receiver<Queued>);

pub(super) fn queue() -> (Queue, Waiting) {
    let (sender, receiver) = mpsc::channel();
    let room = Arc::new(Semaphore::new(MAX_QUEUED));
    (Queue { room, later: Arc::default(), sender }, Waiting(receiver))
}

impl Queue {
    /// Puts a request into the queue now, so that it is before all that is asked for later. Gives it back where there is no room, or where others wait for
    /// some. One that the writer will not take any more is dropped, which is its answer.
    pub(super) fn put(&self, request: Request) -> Option<Later> {
        if self.later.load(Ordering::Acquire) == 0
            && let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(request.weight())
        {
            self.send(request, room);
            return None;
        }
        self.later.fetch_add(1, Ordering::AcqRel);
        Some(Later { request, _place: Place(Arc::clone(&self.later)) })
    }

    /// Puts a request into the queue once there is room for it: those of a session in the order in which this is first polled.
    pub(super) async fn put_later(&self, later: Later) {
        let Later { request, _place } = later;
        if let Ok(room) = Arc::clone(&self.room).acquire_many_owned(request.weight()).await {
            self.send(request, room);
        }
    }

    fn send(&self, request: Request, room: OwnedSemaphorePermit) {
        let _ = self.sender.send(Queued { request, _room: room });
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
    use std::sync::Arc;

    use super::*;
    use crate::net::{Addr, UnixName};
    use crate::service::store::Source;
    use crate::service::{Batch, Peer};

    fn keep(bytes: usize) -> Request {
        let peer = Peer { addr: Addr::Unix(UnixName::Unnamed), local: None, credentials: None };
        let plain =
            Plain { source: Arc::new(Source { peer, name: None }), first: 1, messages: Batch::of(vec![0; bytes]) };
        Request::Keep(plain, oneshot::channel().0)
    }

    #[tokio::test]
    async fn more_than_may_wait_waits_before() {
        let (queue, waiting) = queue();
        assert!(queue.put(keep(MAX_QUEUED)).is_none(), "one alone is always taken");
        let second = queue.put(keep(1)).expect("no room");
        let later = queue.put_later(second);
        tokio::pin!(later);
        assert!(futures_pending(later.as_mut()).await);
        drop(waiting.next());
        later.await;
        assert_eq!(waiting.next().expect("the second").request.size(), Size { messages: 1, bytes: 1 });
        assert!(waiting.next().is_none());
    }

    #[tokio::test]
    async fn nothing_gets_before_what_waits_for_room() {
        let (queue, waiting) = queue();
        assert!(queue.put(keep(MAX_QUEUED)).is_none());
        let second = queue.put_later(queue.put(keep(2)).expect("no room"));
        tokio::pin!(second);
        assert!(futures_pending(second.as_mut()).await);
        drop(waiting.next());
        let third = queue.put(keep(3)).expect("it is behind the second");
        drop(queue.put(keep(9)).expect("it is behind them, and given up"));
        second.await;
        queue.put_later(third).await;
        assert!(queue.put(keep(4)).is_none());
        let sizes: Vec<_> = std::iter::from_fn(|| waiting.next()).map(|queued| queued.request.size().bytes).collect();
        assert_eq!(sizes, [2, 3, 4]);
    }

    async fn futures_pending(mut future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
