//! How a receiver comes to its end: in order, or with an error.
//!
//! Apart from what it does until then. Either is the last word of the connection.

use std::time::Duration;

use super::{Again, Code, Ending, Receiver, ServerFrame, State};

impl Receiver {
    /// Says the last word, once all in hand is done.
    pub(super) fn end_in_order(&mut self) {
        let drain = match (self.ending, self.state) {
            (Some(Ending::Drain), State::New | State::Opening) => {
                let again = Again::After(Duration::ZERO);
                return self.fail(Code::OVERLOADED, again, "the server is about to end".to_owned());
            }
            (Some(ending), State::Open) if self.in_hand.is_empty() && self.pending.is_empty() => {
                ending == Ending::Drain
            }
            _ => return,
        };
        self.words.say(ServerFrame::Bye { acknowledged: self.applied, drain });
        self.state = State::Closed;
    }

    /// Ends the connection because of what the client has sent.
    pub(super) fn protocol_error(&mut self, reason: &str) {
        self.fail(Code::BAD_FRAME, Again::Never, reason.to_owned());
    }

    /// Ends the connection. What the store has in hand it goes on with; nothing more is given to it.
    pub(super) fn fail(&mut self, code: Code, again: Again, reason: String) {
        self.words.say(ServerFrame::Error { code, again, reason: reason.into() });
        self.state = State::Closed;
    }
}
