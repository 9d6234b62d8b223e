//! `Answer`: what becomes of a request, and how those who wait for it are woken: all of a batch at once.
//!
//! Apart from the queue and the writer, which it connects. Each task that is woken from another thread costs the runtime a call of the kernel's. Where there is a
//! [`Herald`] it alone is woken, and wakes the others where that costs next to nothing.

use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// The end of the one who answers. Dropping it is an answer, too: there will be none.
#[derive(Debug)]
pub(super) struct Answer<T>(Arc<Mutex<Slot<T>>>);

/// The end of the one who waits.
#[derive(Debug)]
pub(super) struct Answered<T>(Arc<Mutex<Slot<T>>>);

#[derive(Debug)]
enum Slot<T> {
    Waiting(Option<Waker>),
    Given(T),
    /// There will be none any more.
    Closed,
}

pub(super) fn answer<T>() -> (Answer<T>, Answered<T>) {
    let slot = Arc::new(Mutex::new(Slot::Waiting(None)));
    (Answer(slot.clone()), Answered(slot))
}

impl<T> Answer<T> {
    /// Gives the answer. Whoever waits for it is to be woken by the caller.
    pub(super) fn give(self, value: T) -> Option<Waker> {
        match mem::replace(&mut *lock(&self.0), Slot::Given(value)) {
            Slot::Waiting(waker) => waker,
            Slot::Given(_) | Slot::Closed => None,
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        if let Slot::Waiting(waker) = &mut *slot {
            let waker = waker.take();
            *slot = Slot::Closed;
            drop(slot);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl<T> Future for Answered<T> {
    /// None if there will be no answer.
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        if let Slot::Waiting(waker) = &mut *slot {
            match waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        match mem::replace(&mut *slot, Slot::Closed) {
            Slot::Given(value) => Poll::Ready(Some(value)),
            Slot::Waiting(_) | Slot::Closed => Poll::Ready(None),
        }
    }
}

/// Wakes those who are answered on behalf of another thread, for as long as it is served.
#[derive(Debug, Default)]
pub(super) struct Herald {
    called: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_served: bool,
    to_wake: Vec<Waker>,
}

impl Herald {
    /// Has all of them woken.
    pub(super) fn wake(&self, wakers: &mut Vec<Waker>) {
        if wakers.len() > 1 {
            let mut state = lock(&self.state);
            if state.is_served {
                state.to_wake.append(wakers);
                drop(state);
                self.called.notify_one();
                return;
            }
        }
        wakers.drain(..).for_each(Waker::wake);
    }

    /// Wakes whoever is to be woken, until it is dropped. Of two who serve, one does it.
    pub(super) async fn serve(&self) -> Infallible {
        /// Nobody is forgotten when it is dropped.
        struct Service<'a>(&'a Herald);
        impl Drop for Service<'_> {
            fn drop(&mut self) {
                let mut state = lock(&self.0.state);
                state.is_served = false;
                let wakers = mem::take(&mut state.to_wake);
                drop(state);
                wakers.into_iter().for_each(Waker::wake);
            }
        }
        if mem::replace(&mut lock(&self.state).is_served, true) {
            return std::future::pending().await;
        }
        let _service = Service(self);
        let mut wakers = Vec::new();
        loop {
            self.called.notified().await;
            mem::swap(&mut lock(&self.state).to_wake, &mut wakers);
            wakers.drain(..).for_each(Waker::wake);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn polled<F: Future>(future: Pin<&mut F>, count: &Arc<Count>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(count.clone())))
    }

    #[test]
    fn an_answer_is_there_once_it_was_given_and_none_once_nobody_can() {
        let count = Arc::new(Count::default());
        let (answer_1, mut answered_1) = answer();
        assert_eq!(polled(Pin::new(&mut answered_1), &count), Poll::Pending);
        answer_1.give(7).into_iter().for_each(Waker::wake);
        assert_eq!(count.times(), 1);
        assert_eq!(polled(Pin::new(&mut answered_1), &count), Poll::Ready(Some(7)));

        let (answer_2, mut answered_2) = answer::<u8>();
        assert_eq!(polled(Pin::new(&mut answered_2), &count), Poll::Pending);
        drop(answer_2);
        assert_eq!(count.times(), 2);
        assert_eq!(polled(Pin::new(&mut answered_2), &count), Poll::Ready(None));

        let (answer_3, answered_3) = answer();
        drop(answered_3);
        assert!(answer_3.give(1).is_none());
    }

    #[test]
    fn many_are_woken_by_the_herald_while_it_is_served_and_else_at_once() {
        let herald = Herald::default();
        let (served, woken) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let many = || vec![Waker::from(woken.clone()); 3];
        herald.wake(&mut many());
        assert_eq!(woken.times(), 3);
        {
            let (mut first, mut second) = (pin!(herald.serve()), pin!(herald.serve()));
            assert_eq!(polled(first.as_mut(), &served), Poll::Pending);
            assert_eq!(polled(second.as_mut(), &served), Poll::Pending);
            herald.wake(&mut many());
            assert_eq!((served.times(), woken.times()), (1, 3));
            assert_eq!(polled(first.as_mut(), &served), Poll::Pending);
            assert_eq!(woken.times(), 6);
            // One alone is told directly.
            herald.wake(&mut vec![Waker::from(woken.clone())]);
            assert_eq!((served.times(), woken.times()), (1, 7));
            herald.wake(&mut many());
            assert_eq!(woken.times(), 7);
        }
        assert_eq!(woken.times(), 10, "whoever was still to be woken is woken when nobody serves any more");
        herald.wake(&mut many());
        assert_eq!(woken.times(), 13);
    }
}
