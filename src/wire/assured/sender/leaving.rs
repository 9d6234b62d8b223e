//! How a sender leaves a connection, and when it makes the next.
//!
//! Apart from why: whatever has happened, it is here that it is decided whether it goes on at once or after a pause.

use std::time::{Duration, Instant};

use super::{Event, Link, Sender};

impl Sender {
    /// The connection is lost, or there is none to be had: another is made, elsewhere at once or after a pause.
    pub(super) fn lose(&mut self, reason: String, now: Instant) {
        if matches!(self.link, Link::Down(_) | Link::Over) {
            return;
        }
        // One that was not even opened may be of no use.
        self.elsewhere |= !self.is_open();
        let at_once = self.elsewhere && self.pauses.has_another();
        let pause = if at_once { Duration::ZERO } else { self.pause(now) };
        self.down(reason, now, pause);
    }

    /// The pause before the next connection.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        match self.link {
            Link::Open(since) => self.pauses.after_use(now.saturating_duration_since(since)),
            _ => self.pauses.next(),
        }
    }

    pub(super) fn down(&mut self, reason: String, now: Instant, again: Duration) {
        self.words.clear();
        self.put_off = None;
        self.link = Link::Down(now + again);
        self.trouble = Some(reason.clone());
        self.events.push_back(Event::Lost { reason, again });
    }

    /// The connection is given up from this side, and there is one.
    pub(super) fn drop_link(&mut self, reason: String, now: Instant) {
        self.events.push_back(Event::Disconnect);
        self.lose(reason, now);
    }
}
