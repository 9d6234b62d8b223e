//! `--json`: each event and result as an object a line, under names that stay.
//!
//! Apart from what people read: programs depend on these names. One table has them all (`json/names.rs`), and the page
//! `docs/json.md` is made from it.

#[cfg(test)]
mod names;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::net::plain;
use crate::service::{BoxFuture, Handler, Messages, Observed, Observer, Outcome, Outcomes, Peer, Screen, base64};
use crate::wire::assured::Level;

use super::screen::{StandardOutput, safe_json};

/// A JSON object whose fields keep their order, on one line that any screen may show.
#[derive(Clone, Debug, Default)]
pub(super) struct Object(Vec<(&'static str, Value)>);

impl Object {
    pub(super) fn event(name: &'static str) -> Self {
        Self::default().with("event", name)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// A field that is left out where there is nothing to say.
    pub(super) fn maybe(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Bytes as `text` where they are UTF-8, else as `base64`.
    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.with("text", text),
            Err(_) => self.with("base64", base64::encoded(bytes)),
        }
    }

    /// As a line of output.
    pub(super) fn line(&self) -> String {
        format!("{self}\n")
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}\"{name}\":{}", if index == 0 { '{' } else { ',' }, safe_json(value))?;
        }
        f.write_str(if self.0.is_empty() { "{}" } else { "}" })
    }
}

/// A handler whose messages are told as events; what is done with them another handler decides.
pub(super) struct Told<H> {
    pub(super) events: Arc<Events>,
    pub(super) handler: H,
}

/// Where a server's events go.
pub(super) struct Events {
    screen: Arc<StandardOutput>,
    /// How many messages have come.
    messages: AtomicU64,
    /// What has become of messages that were handled.
    handled: Handled,
}

/// What has become of messages that were handled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handled {
    Acknowledged,
    Stored,
    /// They were parts of files: those are told of one by one.
    Saved,
}

impl Handled {
    /// The name of the event.
    fn event(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Stored => "stored",
            Self::Saved => "saved",
        }
    }
}

/// A handler that does nothing: what would be displayed is in the events.
pub(super) struct Nothing;

impl Handler for Nothing {
    fn handle<'a>(&'a self, messages: Messages<'a>, _peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        outcomes.repeat(Outcome::Done, messages.len());
        Box::pin(std::future::ready(()))
    }

    fn level(&self) -> Level {
        Level::Shown
    }
}

impl Events {
    /// `handled` says what has become of messages that were handled.
    pub(super) fn new(screen: Arc<StandardOutput>, handled: Handled) -> Arc<Self> {
        Arc::new(Self { screen, messages: AtomicU64::new(0), handled })
    }

    pub(super) async fn tell(&self, event: Object) -> io::Result<()> {
        self.screen.show(event.line().as_bytes()).await
    }
}

impl<H: Handler> Handler for Told<H> {
    fn handle<'a>(&'a self, messages: Messages<'a>, peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut lines = String::new();
            for message in messages.iter() {
                let number = self.events.messages.fetch_add(1, Ordering::Relaxed) + 1;
                let event = Object::event("message").with("peer", peer.to_string()).with("number", number);
                lines += &event.bytes(message).line();
            }
            match self.events.screen.show(lines.as_bytes()).await {
                Ok(()) => self.handler.handle(messages, peer, outcomes).await,
                Err(error) => {
                    let outcome = Outcome::Retry(format!("it could not be displayed: {}", plain(&error)));
                    outcomes.extend(std::iter::repeat_n(outcome, messages.len()));
                }
            }
        })
    }

    fn takes_long(&self) -> bool {
        self.handler.takes_long()
    }

    fn level(&self) -> Level {
        self.handler.level()
    }
}

impl Observer for Events {
    fn observe<'a>(&'a self, event: Observed<'a>) -> BoxFuture<'a, ()> {
        let object = match event {
            Observed::Connected(peer) => Object::event("connected")
                .with("peer", peer.to_string())
                .maybe("local", peer.local.as_ref().map(ToString::to_string))
                .maybe("pid", peer.credentials.map(|peer| peer.pid))
                .maybe("uid", peer.credentials.map(|peer| peer.uid))
                .maybe("gid", peer.credentials.map(|peer| peer.gid)),
            Observed::Acknowledged(peer, messages) => {
                Object::event(self.handled.event()).with("peer", peer.to_string()).with("messages", messages)
            }
            Observed::Opened { peer, session, name, acknowledged } => Object::event("opened")
                .with("peer", peer.to_string())
                .with("session", session.as_str())
                .maybe("name", name)
                .with("acknowledged", acknowledged),
            Observed::Applied { .. } if self.handled == Handled::Saved => return Box::pin(std::future::ready(())),
            Observed::Applied { peer, session, through, messages } => Object::event(self.handled.event())
                .with("peer", peer.to_string())
                .with("messages", messages)
                .with("session", session.as_str())
                .with("through", through),
            Observed::Saved { peer, name, size, digest } => {
                let text = std::str::from_utf8(name.as_bytes());
                Object::event("saved")
                    .with("peer", peer.to_string())
                    .maybe("path", text.ok())
                    .maybe("path_base64", text.is_err().then(|| base64::encoded(name.as_bytes())))
                    .with("size", size)
                    .with("sha256", digest.to_string())
            }
            Observed::TakenOver { peer, session } => {
                Object::event("taken-over").with("peer", peer.to_string()).with("session", session.as_str())
            }
            Observed::Refused(peer, reason) => {
                Object::event("refused").with("peer", peer.to_string()).with("reason", reason)
            }
            Observed::Ended(peer, had) => Object::event("ended")
                .with("peer", peer.to_string())
                .with("messages", had.messages)
                .maybe("trouble", had.trouble.as_deref()),
        };
        Box::pin(async move {
            // The screen remembers that it has failed, and the server ends for it.
            let _ = self.tell(object).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_a_line_that_any_screen_may_show() {
        let object = Object::event("answer").bytes("red \u{1b}[31m \u{202e}\u{7f}\n\"".as_bytes());
        let line = object.to_string();
        assert_eq!(line, "{\"event\":\"answer\",\"text\":\"red \\u001b[31m \\u202e\\u007f\\n\\\"\"}");
        let parsed: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(parsed["text"], "red \u{1b}[31m \u{202e}\u{7f}\n\"");
    }
}
