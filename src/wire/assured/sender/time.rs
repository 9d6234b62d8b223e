//! What the passing of time means to a sender.
//!
//! Apart from what comes: here are all its clocks together.

use std::time::Instant;

use super::{Event, Link, Sender, StopReason};
use crate::wire::assured::{ACKNOWLEDGE_TIMEOUT, ClientFrame, IDLE_TIMEOUT, OPEN_TIMEOUT};

impl Sender {
    /// Does what is due.
    pub(super) fn check_time(&mut self, now: Instant) {
        if self.gives_up_at().is_some_and(|at| at <= now) {
            let patience = self.config.patience.unwrap_or_default();
            let trouble = self.trouble.take();
            return self.stop(StopReason::Patience(patience, trouble));
        }
        match self.link {
            Link::Opening(since) if since + OPEN_TIMEOUT <= now => {
                self.elsewhere = true;
                self.drop_link(format!("the server did not open the session within {OPEN_TIMEOUT:?}"), now);
            }
            Link::Open(_) if self.stuck_at().is_some_and(|at| at <= now) => {
                self.elsewhere = true;
                self.drop_link(format!("nothing was acknowledged for {ACKNOWLEDGE_TIMEOUT:?}"), now);
            }
            Link::Open(_) if self.heard + IDLE_TIMEOUT <= now => {
                self.elsewhere = true;
                self.drop_link(format!("the server was silent for {IDLE_TIMEOUT:?}"), now);
            }
            Link::Open(_) if !self.pinged && self.heard + self.ping_after <= now => {
                self.pinged = true;
                self.words.push_back(ClientFrame::Ping("there".into()));
            }
            // All is final: how the connection ends is of no concern any more.
            Link::Leaving(since) if since + OPEN_TIMEOUT <= now => self.over(Event::Done),
            _ => {}
        }
    }

    /// When there is something to be done if nothing comes.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let link = match self.link {
            Link::Down(at) => Some(at),
            Link::Opening(since) | Link::Leaving(since) => Some(since + OPEN_TIMEOUT),
            Link::Open(_) => {
                let ping = if self.pinged { self.heard + IDLE_TIMEOUT } else { self.heard + self.ping_after };
                let resumed = self.put_off.filter(|until| *until > now);
                [Some(ping), self.stuck_at(), resumed].into_iter().flatten().min()
            }
            Link::Connecting | Link::Proving { .. } => None,
            Link::Over => return None,
        };
        [link, self.gives_up_at()].into_iter().flatten().min()
    }

    /// When a connection over which nothing becomes final is given up. One over which all was put off is not stuck.
    fn stuck_at(&self) -> Option<Instant> {
        (self.sent > self.settled).then(|| self.waiting + ACKNOWLEDGE_TIMEOUT)
    }

    /// When it ends because nothing becomes final.
    fn gives_up_at(&self) -> Option<Instant> {
        let waits = self.link != Link::Over
            && !matches!(self.link, Link::Leaving(_))
            && (self.has_unsettled() || !self.was_open);
        self.config.patience.filter(|_| waits).and_then(|patience| self.moved.checked_add(patience))
    }
}
