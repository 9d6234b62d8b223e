//! `Patience`: how long a connection is waited for, and when its user is told what may be amiss.
//!
//! Apart from the conversation, because only whole messages count: bytes that trickle in do not keep a connection alive.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::config::LEAST_RATE;
use super::setting::Setting;
use crate::service::alarm::Alarm;
use crate::wire::Framing;

/// How long the beginning of a line may wait for the rest before the user is told what may be amiss.
const UNFINISHED_HINT: Duration = Duration::from_secs(2);

/// What the waiting of a connection comes to.
pub(super) enum Late {
    /// The beginning of a message has waited for its end.
    Unfinished,
    /// No whole message has come for so long.
    Idle(Duration),
}

/// The clocks of one connection. They are looked at only when there is nothing to read.
pub(super) struct Patience {
    idle_timeout: Option<Duration>,
    /// When the last whole message had come.
    last: Instant,
    /// Whether one has come since the clock was last looked at.
    moved: bool,
    /// When there first was something without an end. None once the user was told, and where there is nothing to tell.
    unfinished: Option<Instant>,
    hints: bool,
    alarm: Alarm,
}

impl Patience {
    pub(super) fn new(setting: &Setting) -> Self {
        Self {
            idle_timeout: setting.terms.idle_timeout,
            last: Instant::now(),
            moved: false,
            unfinished: None,
            hints: matches!(setting.framing, Framing::Line | Framing::Nul),
            alarm: Alarm::default(),
        }
    }

    /// Notes that a whole message has come.
    pub(super) fn moved(&mut self) {
        self.moved = true;
    }

    /// Wakes when the waiting has become too long, with `held` bytes of a message that is not whole.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, held: usize) -> Poll<Late> {
        if std::mem::take(&mut self.moved) {
            self.last = Instant::now();
            // What is held began after that message.
            self.unfinished = None;
        }
        self.unfinished = match held {
            0 => None,
            _ if self.hints => self.unfinished.or_else(|| Some(Instant::now())),
            _ => None,
        };
        let hint = self.unfinished.map(|since| since + UNFINISHED_HINT);
        let idle = self.idle_timeout.and_then(|idle| {
            // What is under way gets the time that it needs at the least rate.
            let held = u32::try_from(held).unwrap_or(u32::MAX);
            self.last.checked_add(idle.saturating_add(Duration::from_secs(1) * held / LEAST_RATE))
        });
        ready!(self.alarm.poll(cx, [hint, idle].into_iter().flatten().min()));
        match (self.idle_timeout, hint) {
            (_, Some(hint)) if idle.is_none_or(|idle| hint <= idle) => {
                self.hints = false;
                Poll::Ready(Late::Unfinished)
            }
            (timeout, _) => Poll::Ready(Late::Idle(timeout.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use super::*;
    use crate::service::handler::Reply;
    use crate::service::server::ServerConfig;
    use crate::service::{Limits, Stop};

    fn patience(idle: u64) -> Patience {
        let limits = Limits { idle_timeout: Some(Duration::from_secs(idle)), ..Limits::default() };
        let config = ServerConfig { limits, ..ServerConfig::default() };
        Patience::new(&Setting::new(Arc::new(Reply("".into())), &config, Stop::new().1))
    }

    #[tokio::test(start_paused = true)]
    async fn only_whole_messages_put_the_end_off() {
        let (start, mut patience) = (Instant::now(), patience(10));
        tokio::time::sleep(Duration::from_secs(7)).await;
        patience.moved();
        assert!(matches!(poll_fn(|cx| patience.poll(cx, 0)).await, Late::Idle(_)));
        assert_eq!(start.elapsed().as_secs(), 17);
    }

    #[tokio::test(start_paused = true)]
    async fn the_user_is_told_once_of_a_message_without_its_end() {
        let (start, mut patience) = (Instant::now(), patience(10));
        assert!(matches!(poll_fn(|cx| patience.poll(cx, 5)).await, Late::Unfinished));
        assert_eq!(start.elapsed(), UNFINISHED_HINT);
        assert!(matches!(poll_fn(|cx| patience.poll(cx, 5)).await, Late::Idle(_)));
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_come_in_parts_are_nothing_to_be_told() {
        let mut patience = patience(10);
        for _ in 0..5 {
            // Each read ends one message and begins another.
            patience.moved();
            assert!(poll_fn(|cx| Poll::Ready(patience.poll(cx, 5))).await.is_pending());
            tokio::time::sleep(UNFINISHED_HINT / 2).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_gets_the_time_of_the_least_rate() {
        let (start, mut patience) = (Instant::now(), patience(10));
        patience.hints = false;
        let held = 5 * usize::try_from(LEAST_RATE).expect("small");
        assert!(matches!(poll_fn(|cx| patience.poll(cx, held)).await, Late::Idle(_)));
        assert_eq!(start.elapsed().as_secs(), 15);
    }
}
