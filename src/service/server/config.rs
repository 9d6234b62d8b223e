//! `ServerConfig`: what a server is told before it serves. Absent means the default.

use std::time::Duration;

use crate::wire::Framing;
use crate::wire::plain::ACKNOWLEDGEMENT;

/// How long the conversations in hand may take to end once the server has been told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may send no whole message.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// How long a client may read nothing of its answers.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// How long a client may send no whole message; one that is under way has a second more for each [`LEAST_RATE`]
    /// bytes. Default [`IDLE_TIMEOUT`]; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a client may read nothing of its answers. Default [`WRITE_TIMEOUT`]; `None` is for ever.
    pub write_timeout: Option<Duration>,
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
            idle_timeout: Some(IDLE_TIMEOUT),
            write_timeout: Some(WRITE_TIMEOUT),
        }
    }
}
