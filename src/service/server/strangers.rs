//! What a server tells clients that want something else than to send it messages: a browser, whoever speaks TLS.
//!
//! Apart from conversations, which these are none: a page in a browser must not be able to post messages to a server of lines that only the
//! browser's machine can reach.

use std::io;

use super::setting::Setting;
use crate::net::Stream;
use crate::service::{Conversation, Peer};

/// An alert of TLS: handshake_failure, fatal (RFC 8446, section 6).
const ALERT: &[u8] = b"\x15\x03\x01\x00\x02\x02\x28";

/// What the server does not speak here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stranger {
    Tls,
    Http,
}

impl Stranger {
    fn answer(self) -> Vec<u8> {
        const WORDS: &str = "this server takes messages, and speaks no HTTP\n";
        match self {
            Self::Tls => ALERT.to_vec(),
            Self::Http => format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{WORDS}",
                WORDS.len()
            )
            .into(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Tls => "the client speaks TLS, and this server does not",
            Self::Http => "the client speaks HTTP, and this server does not",
        }
    }
}

/// Tells one that it has come to the wrong place.
pub(super) async fn turn_away(
    setting: &Setting,
    stream: &mut Stream,
    peer: &Peer,
    stranger: Stranger,
    had: &mut Conversation,
) -> io::Result<()> {
    // Whoever comes like this often comes often.
    setting.strangers.tell(|others| match others {
        0 => tracing::warn!("{peer}: {}", stranger.words()),
        others => tracing::warn!("{peer}: {} ({others} others were turned away)", stranger.words()),
    });
    had.trouble = Some(stranger.words().to_owned());
    setting.terms.write_all(stream, &stranger.answer()).await
}
