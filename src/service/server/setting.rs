//! `Setting`: what all conversations of a server have in common.
//!
//! Apart from the conversations, which differ by interface: the handler and the acknowledgements do not.

use std::sync::Arc;

use bytes::Bytes;

use super::assured::Assured;
use super::config::{Conversations, ServerConfig};
use super::under_way::AllUnderWay;
use crate::service::teller::Teller;
use crate::service::{Handler, Observed, Observer, Stop, Terms};
use crate::wire::Framing;

/// Why a connection ends whose place was given to another.
pub(super) const GIVEN_AWAY: &str = "others wait for a place, and no whole message came";

/// The same, where one has come just then.
pub(super) const OTHERS_WAIT: &str = "others wait for a place";

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
    pub(super) terms: Terms,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// The assured sessions; none where a read is a message, and where there are no messages.
    pub(super) assured: Option<Assured>,
    /// Tells of those who want something else than messages.
    pub(super) strangers: Teller,
    /// What handlers have taken over of streams.
    pub(super) under_way: AllUnderWay,
}

impl Setting {
    pub(super) fn new(handler: Arc<dyn Handler>, config: &ServerConfig, stop: Stop) -> Self {
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
            terms: Terms { stop, idle_timeout: config.limits.idle_timeout, write_timeout: config.limits.write_timeout },
            observer: None,
            assured: None,
            strangers: Teller::default(),
            under_way: AllUnderWay::default(),
        }
    }

    /// Tells of an event, if anybody wants to know.
    pub(super) async fn tell(&self, event: Observed<'_>) {
        if let Some(observer) = &self.observer {
            observer.observe(event).await;
        }
    }
}

/// Appends a text as the peer's framing has it, ended by a newline where nothing else ends it.
pub(super) fn encode_text(framing: Framing, text: &[u8], out: &mut Vec<u8>) {
    framing.encode(text, out);
    if framing == Framing::Whole {
        out.push(b'\n');
    }
}
