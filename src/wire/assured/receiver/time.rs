//! What the passing of time means to a receiver.
//!
//! Apart from what comes: here are its clocks together.

use std::time::{Duration, Instant};

use super::{Again, Code, Receiver, State};

impl Receiver {
    /// Does what is due.
    pub(super) fn check_time(&mut self, now: Instant) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        let reason = match self.state {
            State::New => format!("the session was not opened within {:?}", self.config.open_timeout),
            _ => format!("nothing came for {:?}", self.config.idle_timeout),
        };
        self.fail(Code::TIMEOUT, Again::After(Duration::ZERO), reason);
    }

    /// When something is due, if nothing comes until then.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::New => self.heard.checked_add(self.config.open_timeout),
            // What takes the store long is not the client's silence.
            State::Open if self.in_hand.is_empty() => self.heard.checked_add(self.config.idle_timeout),
            _ => None,
        }
    }
}
