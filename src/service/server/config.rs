//! `ServerConfig`: what a server is told before it serves. Absent means the default.

use std::time::Duration;

use crate::service::{Gate, Limits};
use crate::wire::Framing;
use crate::wire::plain::ACKNOWLEDGEMENT;

/// How long the conversations in hand may take to end once the server has been told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The least rate at which a long message must come in, once the idle time has run out: bytes a second.
pub const LEAST_RATE: u32 = 1024;

/// Settings of a server. The default displays lines of up to 64 KiB and serves many clients.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How messages are told apart in streams.
    pub framing: Framing,
    /// The longest message in bytes; 0 is no limit. `None` is the framing's default.
    pub max_message: Option<usize>,
    /// What answers a message that was handled and has no reply of its own; `None` answers nothing.
    pub acknowledgement: Option<String>,
    /// When the server ends by itself.
    pub conversations: Conversations,
    /// How long conversations in hand may go on after the stop. Default [`DRAIN_TIMEOUT`].
    pub drain_timeout: Duration,
    /// How much it takes on; a message that is under way longer than the idle time has a second more for each [`LEAST_RATE`] bytes.
    pub limits: Limits,
    /// Whom it lets in. Default: everyone.
    pub gate: Gate,
    /// What it calls itself to clients with assured sessions.
    pub name: String,
}

impl ServerConfig {
    /// The same where no message may be longer than this, in bytes.
    pub(super) fn within(self, longest: usize) -> Self {
        let max_message = match self.max_message {
            // The defaults are shorter.
            None => None,
            Some(0) if longest == usize::MAX => Some(0),
            Some(0) => Some(longest),
            Some(most) => Some(most.min(longest)),
        };
        Self { max_message, ..self }
    }
}

/// How many conversations a server has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Conversations {
    /// Many, at once, until it is stopped.
    #[default]
    Many,
    /// One, as the tutorial's server: it ends when the first client that has sent a message has gone.
    One,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            framing: Framing::Line,
            max_message: None,
            acknowledgement: Some(ACKNOWLEDGEMENT.to_owned()),
            conversations: Conversations::Many,
            drain_timeout: DRAIN_TIMEOUT,
            limits: Limits::default(),
            gate: Gate::default(),
            name: "wilco".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_may_take_less_than_is_asked_for() {
        for (asked, longest, most) in [
            (None, 1000, None),
            (Some(0), 1000, Some(1000)),
            (Some(0), usize::MAX, Some(0)),
            (Some(999), 1000, Some(999)),
            (Some(1001), 1000, Some(1000)),
        ] {
            let config = ServerConfig { max_message: asked, ..ServerConfig::default() };
            assert_eq!(config.within(longest).max_message, most, "{asked:?}");
        }
    }
}
