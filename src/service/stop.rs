//! `Stop`: says when what is being done is to come to its end.
//!
//! Apart, because everything that takes long is given one: accepting, each conversation, what a handler has started.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use tokio::sync::Notify;

/// Says when a server is to stop. A clone says the same.
#[derive(Clone, Debug)]
pub struct Stop(Arc<State>);

/// Sets a [`Stop`] and all its clones: when it is told to, or when it is dropped.
#[derive(Debug)]
pub struct Stopper(Stop);

#[derive(Debug, Default)]
struct State {
    is_set: AtomicBool,
    told: Notify,
}

impl Stop {
    /// A stop that is not set, and what sets it.
    pub fn new() -> (Stopper, Self) {
        let stop = Self(Arc::default());
        (Stopper(stop.clone()), stop)
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::SeqCst)
    }

    /// Waits until it is set. Thousands wait at a time: what it takes is small.
    pub async fn wait(&self) {
        // Made before it is asked, so that nothing is missed in between.
        let told = self.0.told.notified();
        if !self.is_set() {
            told.await;
        }
    }

    /// Waits for input until the stop is set. What has arrived by then is still taken: `has_input` asks the kernel, since
    /// what the runtime knows of it is as old as its last turn.
    pub async fn unless_idle<T>(&self, input: impl Future<Output = T>, has_input: impl Fn() -> bool) -> Option<T> {
        let (mut input, mut stopped) = (pin!(input), pin!(self.wait()));
        poll_fn(|cx| match input.as_mut().poll(cx) {
            Poll::Ready(input) => Poll::Ready(Some(input)),
            Poll::Pending if !self.is_set() && stopped.as_mut().poll(cx).is_pending() => Poll::Pending,
            // The runtime will be told of it, too, and then wake the input.
            Poll::Pending if has_input() => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}

impl Stopper {
    /// Sets the stop.
    pub fn stop(&self) {
        let State { is_set, told } = &*self.0.0;
        is_set.store(true, Ordering::SeqCst);
        told.notify_waiters();
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        // Who would have set it is gone: then nothing is to go on either.
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_set_once_and_for_all() {
        let (stopper, stop) = Stop::new();
        assert!(!stop.is_set());
        stopper.stop();
        assert!(stop.is_set());
        stop.wait().await;
        drop(stopper);
        stop.wait().await;
    }

    #[tokio::test]
    async fn ends_with_who_would_have_set_it() {
        let (stopper, stop) = Stop::new();
        drop(stopper);
        stop.wait().await;
    }
}
