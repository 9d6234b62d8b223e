//! `Alarm`: wakes at a time that is put off often and seldom comes.
//!
//! Apart, because time-outs are everywhere and must cost nothing where all goes well: the runtime's timer is touched only
//! when it would ring too late, or has rung too early.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer whose time is given each time it is asked.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// Made when it is first needed: an idle connection without a time-out has none, and one may be made outside a runtime.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `due` has come; else wakes the task then. A time that is `None` never comes.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(due) = due else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            if sleep.is_elapsed() || sleep.deadline() > due {
                sleep.as_mut().reset(due);
            }
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rings_when_the_time_has_come_and_not_when_it_was_put_off() {
        let (start, mut alarm) = (Instant::now(), Alarm::default());
        let after = |seconds| Some(start + Duration::from_secs(seconds));
        poll_fn(|cx| alarm.poll(cx, after(5))).await;
        assert_eq!(start.elapsed().as_secs(), 5);
        // Set for later, then for earlier, then for later again.
        for due in [20, 10] {
            assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx, after(due)))).await.is_pending());
        }
        poll_fn(|cx| alarm.poll(cx, after(15))).await;
        assert_eq!(start.elapsed().as_secs(), 15);
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx, None))).await.is_pending());
    }
}
