//! `Background`: a thread that speaks with NATS for those who block.
//!
//! Apart, because whoever reads an archive may itself be called by something asynchronous, and must not wait for a future there.

use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A runtime with a thread of its own. What is under way is dropped with it.
#[derive(Debug)]
pub(super) struct Background {
    handle: Handle,
    /// The thread ends when this is dropped.
    _end: oneshot::Sender<()>,
}

impl Background {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread, or no descriptors for it.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("nats".to_owned()).spawn(move || {
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { handle, _end: end })
    }

    /// Runs something there, and waits here for what comes of it.
    ///
    /// # Errors
    /// It has not come to its end, which only a mistake in it can be the reason for.
    pub(super) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, &'static str> {
        let (sender, outcome) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            let _ = sender.send(future.await);
        });
        outcome.recv().map_err(|_| "what was to be asked has ended without an answer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_called_by_something_asynchronous_may_wait() {
        let background = Background::start().expect("a thread");
        assert_eq!(background.run(async { tokio::task::yield_now().await }), Ok(()));
        assert_eq!(background.run(async { 7 }), Ok(7));
    }
}
