//! `Conversation`: what was had with one client, from its first message to its close.
//!
//! Apart from those who have it: whatever serves a connection, messages or bytes, ends with one of these.

use std::fmt;

/// What a conversation was.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Conversation {
    /// Messages that were acknowledged or answered.
    pub messages: u64,
    /// Whether anything came that was, or should have been, a message. A connection without one is no conversation: a server
    /// that is to have only one goes on waiting for it.
    pub had_message: bool,
    /// Why it ended, if not by the peer's wish.
    pub trouble: Option<String>,
}

impl fmt::Display for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.messages, if self.messages == 1 { "message" } else { "messages" })?;
        self.trouble.as_ref().map_or(Ok(()), |trouble| write!(f, ", {trouble}"))
    }
}
