//! `Setting`: what all conversations of a server have in common, and `Talk`: what each of them was.
//!
//! Apart from the conversations, which differ by interface: the handler and the acknowledgements do not.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::config::{Conversations, ServerConfig};
use crate::service::{Handler, Outcome};
use crate::wire::Framing;

/// How long a peer is read after the server has ended the conversation. Closing at once would make the kernel answer what is
/// still coming with a reset, and destroy what the peer has not read yet.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What every conversation of a server has in common.
pub(super) struct Setting {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) framing: Framing,
    pub(super) max_message: usize,
    /// Whether a conversation is over with its first message, as with the tutorial's server, which reads once.
    pub(super) only_first: bool,
    /// The acknowledgement of a stream as it is sent, with its delimiter.
    pub(super) stream_acknowledgement: Vec<u8>,
    /// The acknowledgement of a packet.
    pub(super) packet_acknowledgement: Option<Bytes>,
}

impl Setting {
    pub(super) fn new(handler: Arc<dyn Handler>, config: &ServerConfig) -> Self {
        let framing = config.framing;
        let mut stream_acknowledgement = Vec::new();
        if let Some(text) = &config.acknowledgement {
            encode_text(framing, text.as_bytes(), &mut stream_acknowledgement);
        }
        Self {
            handler,
            framing,
            max_message: config.max_message.unwrap_or(framing.default_limit()),
            only_first: framing == Framing::Read && config.conversations == Conversations::One,
            stream_acknowledgement,
            packet_acknowledgement: config.acknowledgement.as_ref().map(|text| format!("{text}\n").into()),
        }
    }
}

/// What a conversation was.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Messages that were acknowledged or answered.
    pub(super) messages: u64,
    /// Whether anything came that was, or should have been, a message.
    pub(super) had_message: bool,
    /// Why it ended, if not by the peer's wish.
    pub(super) trouble: Option<String>,
}

impl fmt::Display for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.messages, if self.messages == 1 { "message" } else { "messages" })?;
        self.trouble.as_ref().map_or(Ok(()), |trouble| write!(f, ", {trouble}"))
    }
}

/// Says when a server is to stop.
#[derive(Clone)]
pub(super) struct Stop(pub(super) watch::Receiver<bool>);

impl Stop {
    pub(super) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    pub(super) async fn wait(mut self) {
        // A server that is gone has stopped, too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// Waits for input; a conversation that is `stopping` still takes what has arrived, and then no more. `has_input` asks the
/// kernel: what the runtime knows of it is as old as its last turn.
pub(super) async fn unless_idle<T>(
    input: impl Future<Output = T>,
    stopping: bool,
    has_input: impl Fn() -> bool,
) -> Option<T> {
    let mut input = pin!(input);
    poll_fn(|cx| match input.as_mut().poll(cx) {
        Poll::Pending if stopping && !has_input() => Poll::Ready(None),
        polled => polled.map(Some),
    })
    .await
}

/// Makes the outcomes as many as the messages: what a handler has said nothing of was not done.
pub(super) fn check_outcomes(outcomes: &mut Vec<Outcome>, messages: usize) {
    // After one that was put off the others need not be handled.
    let ends_early = matches!(outcomes.last(), Some(Outcome::Retry(_))) && outcomes.len() < messages;
    if outcomes.len() != messages && !ends_early {
        outcomes.truncate(messages);
        outcomes.resize(messages, Outcome::Retry("the handler gave no outcome".to_owned()));
    }
}

/// Appends a text as the peer's framing has it, ended by a newline where nothing else ends it.
pub(super) fn encode_text(framing: Framing, text: &[u8], out: &mut Vec<u8>) {
    framing.encode(text, out);
    if framing == Framing::Whole {
        out.push(b'\n');
    }
}
