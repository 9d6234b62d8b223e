//! `Stall`: notices that nobody takes what is being written, and says so once, and again when it goes on.
//!
//! Apart from standard output, which only waits: a server whose reader has stopped looks well, and handles nothing more.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long nothing may be taken of what is being written before a user is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is being written, and when some of it was last taken.
#[derive(Debug, Default)]
pub(super) struct Stall(watch::Sender<Option<Instant>>);

/// What a user is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// Nothing has been taken for so long.
    Stopped(Duration),
    /// Something has been taken since.
    GoesOn,
}

impl Stall {
    /// Notes that something is to be written, or that some of it was.
    pub(super) fn goes_on(&self) {
        self.0.send_replace(Some(Instant::now()));
    }

    /// Notes that all is written.
    pub(super) fn is_over(&self) {
        self.0.send_replace(None);
    }

    /// Has what happens told from now on, for ever.
    pub(super) async fn watch(&self, mut tell: impl FnMut(Reading)) {
        let mut state = self.0.subscribe();
        // The sender is here: none of these fails.
        loop {
            let Ok(Some(since)) = state.wait_for(Option::is_some).await.map(|since| *since) else { return };
            sleep_until(since + PATIENCE).await;
            if *state.borrow_and_update() != Some(since) {
                continue;
            }
            tell(Reading::Stopped(PATIENCE));
            if state.changed().await.is_err() {
                return;
            }
            tell(Reading::GoesOn);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_is_told_of_once_and_a_slow_one_never() {
        let (stall, told) = (Stall::default(), Mutex::new(Vec::new()));
        let start = Instant::now();
        let tell = |reading| told.lock().expect("no panic").push((reading, start.elapsed().as_secs()));
        let second = Duration::from_secs(1);
        let writing = async {
            // What is taken within the time is no matter, nor what is not there.
            stall.goes_on();
            sleep(9 * second).await;
            stall.goes_on();
            sleep(9 * second).await;
            stall.is_over();
            sleep(100 * second).await;
            stall.goes_on();
            sleep(1000 * second).await;
            stall.goes_on();
            sleep(9 * second).await;
            stall.is_over();
            sleep(9 * second).await;
        };
        tokio::select! {
            () = stall.watch(tell) => {}
            () = writing => {}
        }
        let expected = [(Reading::Stopped(PATIENCE), 128), (Reading::GoesOn, 1118)];
        assert_eq!(*told.lock().expect("no panic"), expected);
    }
}
