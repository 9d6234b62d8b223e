//! `Shown`: what the user of an assured delivery is told: replies and events on standard output, all else on standard error.
//!
//! Apart from the delivery's course: here is in what words, how often, and to whom.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::unless_gone;
use crate::app::args::{Common, Output};
use crate::app::json::Object;
use crate::app::progress::Progress;
use crate::app::report;
use crate::app::screen::StandardOutput;
use crate::service::{Delivery, News, Screen};
use crate::wire::Framing;
use crate::wire::assured::Level;

/// Where all is shown, and what was.
pub(in crate::app) struct Shown {
    screen: Arc<StandardOutput>,
    json: bool,
    /// What follows a reply.
    framing: Framing,
    progress: Progress,
    /// Whether a person reads standard error and has not asked for silence: then the end is told.
    is_watched: bool,
    is_quiet: bool,
    /// The servers that have opened the session.
    servers: Vec<String>,
    /// The address of the connection; nothing while there is none.
    place: String,
    /// The address of the session before that.
    opened_at: Option<String>,
    level: Option<Level>,
    /// What went wrong last: told once, until something else does.
    trouble: String,
}

impl Shown {
    /// What is typed meanwhile, if anything is, is not to be mixed with a progress bar.
    pub(in crate::app) fn open(
        common: &Common,
        output: &Output,
        framing: Framing,
        is_typed_at: bool,
    ) -> io::Result<Self> {
        let verbosity = common.verbosity();
        let is_watched = io::stderr().is_terminal() && verbosity.says_notices();
        // Nor is what else is said there.
        let has_progress = is_watched && verbosity.level == 0 && !verbosity.trace && !is_typed_at;
        Ok(Self {
            screen: StandardOutput::open()?,
            json: output.json,
            framing,
            progress: Progress::new(has_progress && !output.hex),
            is_watched,
            is_quiet: !verbosity.says_notices(),
            servers: Vec::new(),
            place: String::new(),
            opened_at: None,
            level: None,
            trouble: String::new(),
        })
    }

    /// Says something that is meant to be read.
    pub(super) fn say(&mut self, text: &str) {
        self.progress.leave();
        report::notice(text);
    }

    /// Tells what has happened.
    pub(super) async fn tell(&mut self, news: &News, delivery: &Delivery) -> anyhow::Result<()> {
        self.say_news(news, delivery);
        let mut out = Vec::new();
        match (self.json, news) {
            (true, News::Done) => {}
            (true, news) => self.events(news, &mut out),
            (false, News::Replies(replies)) => {
                for (_, body) in replies.messages() {
                    out.extend_from_slice(body);
                    out.extend_from_slice(self.framing.display_delimiter(body));
                }
            }
            _ => {}
        }
        if let News::Lost { .. } = news {
            self.place.clear();
        }
        if out.is_empty() {
            return Ok(());
        }
        self.progress.leave();
        unless_gone(self.screen.show(&out).await).context("standard output")
    }

    /// Tells how it has ended.
    pub(super) async fn end(&mut self, delivery: &Delivery) {
        let counts = delivery.counts();
        if counts.refused > 0 {
            let kept = match &counts.spool {
                Some(spool) => format!("; kept in {}", spool.join("dead-letters").display()),
                None => String::new(),
            };
            self.say(&format!("{} of {} messages refused{kept}", counts.refused, counts.accepted));
        }
        let summary = self.summary(delivery);
        self.progress.leave();
        match self.is_watched && counts.acknowledged > 0 {
            true => report::notice(&summary),
            false => tracing::info!("{summary}"),
        }
        if self.json {
            let done = Object::event("done")
                .with("sent", counts.accepted)
                .with("acknowledged", counts.acknowledged)
                .with("refused", counts.refused)
                .with("waiting", counts.waiting())
                .with("reconnects", delivery.tally().reconnects);
            let _ = self.screen.show(done.line().as_bytes()).await;
        }
    }

    /// `4000 sent, 4000 stored by alpha, 2 reconnects`.
    fn summary(&self, delivery: &Delivery) -> String {
        let counts = delivery.counts();
        let how = self.level.map_or("acknowledged", done);
        let mut summary = format!("{} sent, {} {how}", counts.accepted, counts.acknowledged);
        if !self.servers.is_empty() {
            summary += &format!(" by {}", listed(&self.servers));
        }
        match delivery.tally().reconnects {
            0 => {}
            1 => summary += ", 1 reconnect",
            reconnects => summary += &format!(", {reconnects} reconnects"),
        }
        summary
    }

    fn say_news(&mut self, news: &News, delivery: &Delivery) {
        match news {
            News::Connected { address, peer, .. } => {
                self.place = peer.as_ref().map_or_else(|| address.clone(), ToString::to_string);
                tracing::info!("connected to {}", self.place);
            }
            News::Opened { server, level } => self.opened(server, *level),
            News::Acknowledged { .. } | News::Replies(_) => {
                self.trouble.clear();
                let (counts, elapsed) = (delivery.counts(), self.progress.elapsed());
                let by = self.servers.last().map(|server| format!(" by {server}")).unwrap_or_default();
                self.progress.show(|| {
                    let rate = counts.acknowledged as f64 / elapsed.as_secs_f64();
                    format!("{} sent, {} acknowledged{by}, {rate:.0} a second", counts.accepted, counts.acknowledged)
                });
            }
            News::Refused { number, code, reason } => {
                self.say(&format!("message {number} was refused: {reason} ({code})"));
            }
            // Another is tried at once: it is worth a word when there is none.
            News::Lost { reason, again } if again.is_zero() => tracing::info!("{}: {reason}: going on", self.place),
            News::Lost { reason, again } => self.warn(reason, *again, "connecting again"),
            News::PutOff { reason, after, .. } => {
                self.warn(&format!("the server says: {reason}"), *after, "sending again");
            }
            News::Full(reason) => {
                self.progress.leave();
                tracing::warn!("{reason}: the input waits until messages are acknowledged");
            }
            News::Accepted(_) | News::Done => {}
        }
    }

    fn opened(&mut self, server: &str, level: Level) {
        tracing::info!("{server} opens the session: what it acknowledges is {}", done(level));
        // The last is the one that has it now.
        self.servers.retain(|known| known != server);
        self.servers.push(server.to_owned());
        let before = self.opened_at.replace(self.place.clone());
        if before.is_some_and(|before| before != self.place) {
            tracing::info!("moved to {server} at {}", self.place);
            self.progress.show_now(format!("moved to {server} at {}", self.place));
        }
        let is_news = self.level.replace(level).is_none_or(|before| before > level);
        if is_news && level < Level::Stored && !self.is_quiet {
            self.say(&format!(
                "{server} keeps no messages: after a crash of its own, some may be {} twice",
                done(level)
            ));
        }
    }

    /// Warns of what holds it up, once while it is the same.
    fn warn(&mut self, reason: &str, after: Duration, doing: &str) {
        let text = format!("{doing} {}: {reason}", pause(after));
        self.progress.warn(&mut self.trouble, reason, text);
    }

    fn events(&self, news: &News, out: &mut Vec<u8>) {
        let mut add = |object: Object| out.extend_from_slice(object.line().as_bytes());
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match news {
            News::Connected { address, peer, local } => add(Object::event("connected")
                .with("address", address.as_str())
                .maybe("peer", peer.as_ref().map(ToString::to_string))
                .maybe("local", local.as_ref().map(ToString::to_string))),
            News::Opened { server, level } => {
                add(Object::event("opened")
                    .with("by", server.as_str())
                    .with("how", done(*level))
                    .with("address", self.place.as_str()));
            }
            News::Acknowledged { first, last } => add(Object::event("receipt")
                .with("first", *first)
                .with("last", *last)
                .with("how", self.level.map_or("acknowledged", done))
                .maybe("by", self.servers.last().map(String::as_str))),
            News::Replies(replies) => {
                for (number, body) in replies.messages() {
                    add(Object::event("reply").with("number", number).bytes(body));
                }
            }
            News::Refused { number, code, reason } => add(Object::event("refused")
                .with("number", *number)
                .with("reason", reason.as_str())
                .with("code", code.0)),
            News::Lost { reason, again } => {
                add(Object::event("lost")
                    .with("reason", reason.as_str())
                    .with("again_ms", milliseconds(*again))
                    .maybe("address", Some(self.place.as_str()).filter(|place| !place.is_empty())));
            }
            News::PutOff { code, reason, after } => add(Object::event("put-off")
                .with("reason", reason.as_str())
                .with("again_ms", milliseconds(*after))
                .with("code", code.0)),
            News::Full(reason) => add(Object::event("full").with("reason", reason.as_str())),
            News::Accepted(_) | News::Done => {}
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[String]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        names => names.concat(),
    }
}

/// What was done with a message that is acknowledged, in a word that programs depend on, too.
fn done(level: Level) -> &'static str {
    match level {
        Level::Shown => "shown",
        Level::Handled => "handled",
        Level::Stored => "stored",
        Level::Saved => "saved",
    }
}

/// After how long something is done: `in 2.5 s`, or `at once`.
pub(in crate::app) fn pause(time: Duration) -> String {
    if time.is_zero() { "at once".to_owned() } else { format!("in {}", seconds(time)) }
}

/// A time as one reads it.
fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        long if long >= 10.0 => format!("{long:.0} s"),
        short if short >= 0.95 => format!("{short:.1} s"),
        instant => format!("{:.0} ms", instant * 1000.0),
    }
}
