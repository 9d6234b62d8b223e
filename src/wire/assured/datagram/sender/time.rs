//! What the passing of time means to a sender.
//!
//! Apart from what comes: here are all its clocks together.

use std::time::Instant;

use super::{DatagramSender, Link};
use crate::wire::assured::sender::StopReason;
use crate::wire::assured::{ACKNOWLEDGE_TIMEOUT, OPEN_TIMEOUT};

impl DatagramSender {
    /// Does what is due.
    pub(super) fn check_time(&mut self, now: Instant) {
        if self.gives_up_at().is_some_and(|at| at <= now) {
            let patience = self.config.sender.patience.unwrap_or_default();
            let trouble = self.trouble.take();
            return self.stop(StopReason::Patience(patience, trouble));
        }
        match self.link {
            Link::Opening(opening) if opening.since + OPEN_TIMEOUT <= now => match self.not_spoken.take() {
                Some(heard) if !self.was_open => self.stop(StopReason::NotSpoken(heard)),
                _ => self.drop_link(format!("the server did not open the session within {OPEN_TIMEOUT:?}"), now),
            },
            Link::Open { .. } if self.stuck_at().is_some_and(|at| at <= now) => {
                self.drop_link(format!("nothing was acknowledged for {ACKNOWLEDGE_TIMEOUT:?}"), now);
            }
            Link::Open { .. } => self.check_flight(now),
            _ => {}
        }
    }

    /// Takes what was not answered in time as lost.
    fn check_flight(&mut self, now: Instant) {
        let Some(lost) = self.flight.expire(self.trip.timeout(), now) else { return };
        self.window.lost(lost, self.flight.next() - 1);
        // While others arrive the timeout is no matter of the way's length: that one was lost, and no more.
        if self.silent > 0 || lost == self.settled + 1 {
            self.trip.back_off();
        }
        self.silent += 1;
        if self.silent >= Self::SILENT {
            self.open(now);
        }
    }

    /// When there is something to be done if nothing comes.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let link = match self.link {
            Link::Down(at) => Some(at),
            Link::Opening(opening) => Some(opening.again.min(opening.since + OPEN_TIMEOUT)),
            Link::Open { .. } => {
                let lost = self.flight.due(self.trip.timeout());
                let resumed = self.put_off.filter(|until| *until > now);
                [lost, resumed, self.stuck_at()].into_iter().flatten().min()
            }
            Link::Connecting | Link::Proving { .. } => None,
            Link::Over => return None,
        };
        [link, self.gives_up_at()].into_iter().flatten().min()
    }

    /// When a connection over which nothing becomes final is given up. One over which all was put off is not stuck.
    fn stuck_at(&self) -> Option<Instant> {
        let waits = !self.flight.is_empty() && self.put_off.is_none();
        waits.then(|| self.waiting + ACKNOWLEDGE_TIMEOUT)
    }

    /// When it ends because nothing becomes final.
    fn gives_up_at(&self) -> Option<Instant> {
        let waits = self.link != Link::Over && (self.has_unsettled() || !self.was_open);
        self.config.sender.patience.filter(|_| waits).and_then(|patience| self.moved.checked_add(patience))
    }
}
