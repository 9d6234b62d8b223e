//! What the user of a client that sends files is told: the digest of each that is saved on standard output, all else on standard error.
//!
//! Apart from the course of it: here is in what words, how often, and to whom.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::sizes::{rate, size, time};
use crate::app::args::ClientArgs;
use crate::app::assured::pause;
use crate::app::json::Object;
use crate::app::progress::Progress;
use crate::app::report;
use crate::app::screen::StandardOutput;
use crate::service::files::{FileDelivery, FileFailure, FileNews};
use crate::service::{Screen, base64};
use crate::wire::{Digest, FileName};

/// The rate is that of the last moments.
const MOMENTS: Duration = Duration::from_secs(5);

/// How many characters the bar has.
const BAR: usize = 20;

/// Where all is shown, and what was.
pub(super) struct Shown {
    screen: Arc<StandardOutput>,
    json: bool,
    is_quiet: bool,
    is_watched: bool,
    progress: Progress,
    /// How many bytes there were at which time, for the rate.
    moments: VecDeque<(Instant, u64)>,
    servers: Vec<String>,
    /// What went wrong last: told once, until something else does.
    trouble: String,
    files: u64,
    bytes: u64,
}

impl Shown {
    /// Begins with what is known before anything is sent.
    pub(super) fn open(args: &ClientArgs, delivery: &FileDelivery) -> io::Result<Self> {
        let verbosity = args.common.verbosity();
        let is_watched = io::stderr().is_terminal() && verbosity.says_notices();
        let has_progress = is_watched && verbosity.level == 0 && !verbosity.trace && !args.output.hex;
        let files = delivery.files();
        for left_out in &files.skipped {
            tracing::warn!("{} is {}", left_out.path.display(), left_out.reason);
        }
        for trouble in &files.unreadable {
            tracing::error!("{}: {}", trouble.path.display(), trouble.reason);
        }
        Ok(Self {
            screen: StandardOutput::open()?,
            json: args.output.json,
            is_quiet: !verbosity.says_notices(),
            is_watched,
            progress: Progress::new(has_progress),
            moments: VecDeque::new(),
            servers: Vec::new(),
            trouble: String::new(),
            files: files.items.iter().filter(|item| item.size.is_some()).count() as u64,
            bytes: files.bytes(),
        })
    }

    /// Tells what has happened.
    pub(super) async fn tell(&mut self, news: &FileNews, delivery: &FileDelivery) -> anyhow::Result<()> {
        self.say(news, delivery);
        let line = match (self.json, news) {
            (true, news) => self.event(news, delivery),
            (false, FileNews::Saved { item, digest, .. }) if !self.is_quiet => {
                Some(checked(*digest, &delivery.files().items[*item].name))
            }
            _ => None,
        };
        let Some(line) = line else { return Ok(()) };
        self.progress.leave();
        match self.screen.show(&line).await {
            // A reader that has gone has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            shown => shown.context("standard output"),
        }
    }

    /// Tells how it has ended.
    pub(super) async fn end(&mut self, delivery: &FileDelivery) {
        self.progress.leave();
        let tally = delivery.tally();
        let summary = self.summary(delivery);
        match self.is_watched && tally.saved > 0 {
            true => report::notice(&summary),
            false => tracing::info!("{summary}"),
        }
        if self.json {
            let done = Object::event("done")
                .with("saved", tally.saved)
                .with("bytes", tally.bytes)
                .with("refused", tally.refused)
                .with("failed", tally.unreadable)
                .with("reconnects", tally.reconnects);
            let _ = self.screen.show(done.line().as_bytes()).await;
        }
    }

    /// `2 files, 4.0 GiB, saved by alpha in 3 s (1.3 GiB/s), 1 reconnect`.
    fn summary(&self, delivery: &FileDelivery) -> String {
        let (tally, elapsed) = (delivery.tally(), self.progress.elapsed());
        let mut summary = match tally.saved {
            1 => format!("1 file, {}, saved", size(tally.bytes)),
            files => format!("{files} files, {}, saved", size(tally.bytes)),
        };
        if !self.servers.is_empty() {
            summary += &format!(" by {}", self.servers.join(" and "));
        }
        summary += &format!(" in {} ({})", time(elapsed), rate(tally.bytes - tally.resumed, elapsed));
        if tally.resumed > 0 {
            summary += &format!(", {} were there", size(tally.resumed));
        }
        match tally.reconnects {
            0 => {}
            1 => summary += ", 1 reconnect",
            reconnects => summary += &format!(", {reconnects} reconnects"),
        }
        summary
    }

    fn say(&mut self, news: &FileNews, delivery: &FileDelivery) {
        let path = |item: usize| delivery.files().items[item].path.display();
        match news {
            FileNews::Connected { address, peer, .. } => match peer {
                Some(peer) => tracing::info!("connected to {peer}"),
                None => tracing::info!("connected to {address}"),
            },
            FileNews::Opened { server } => {
                tracing::info!("{server} opens the session");
                if !self.servers.iter().any(|known| known == server) {
                    self.servers.push(server.clone());
                }
            }
            FileNews::Resumed { item, from } => {
                self.moments.clear();
                let text = format!("{}: resumed at {}", path(*item), size(*from));
                self.progress.leave();
                if self.is_watched { report::notice(&text) } else { tracing::info!("{text}") }
            }
            FileNews::Progress => {
                self.trouble.clear();
                let Self { progress, moments, bytes, files, .. } = self;
                progress.show(|| line(delivery, moments, *bytes, *files));
            }
            FileNews::Saved { item, size: length, .. } => tracing::info!("{}: {} saved", path(*item), size(*length)),
            FileNews::Failed { item, failure } => {
                self.progress.leave();
                match failure {
                    FileFailure::Local(reason) => tracing::error!("{}: {reason}", path(*item)),
                    FileFailure::Refused { code, reason } => {
                        tracing::error!("{} was refused: {reason} ({code})", path(*item));
                    }
                }
            }
            FileNews::Lost { reason, again } => self.warn("connecting again", *again, reason),
            FileNews::PutOff { reason, after } => {
                self.warn("sending again", *after, &format!("the server says: {reason}"));
            }
            FileNews::Renewed { reason } => {
                self.progress.leave();
                tracing::warn!(
                    "the server does not know what came before ({reason}): going on with what it has of the files"
                );
            }
            FileNews::Done => {}
        }
    }

    /// Warns of what holds it up, once while it is the same.
    fn warn(&mut self, doing: &str, after: Duration, reason: &str) {
        let text = format!("{doing} {}: {reason}", pause(after));
        self.progress.warn(&mut self.trouble, reason, text);
    }

    fn event(&self, news: &FileNews, delivery: &FileDelivery) -> Option<Vec<u8>> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let of = |event, item: usize| {
            let name = delivery.files().items[item].name.as_bytes();
            let text = std::str::from_utf8(name);
            let encoded = text.is_err().then(|| base64::encoded(name));
            Object::event(event).maybe("path", text.ok()).maybe("path_base64", encoded)
        };
        let object = match news {
            FileNews::Connected { peer, local, .. } => Object::event("connected")
                .maybe("peer", peer.as_ref().map(ToString::to_string))
                .maybe("local", local.as_ref().map(ToString::to_string)),
            FileNews::Opened { server } => Object::event("opened").with("by", server.as_str()).with("how", "saved"),
            FileNews::Resumed { item, from } => of("resumed", *item).with("resumed_at", *from),
            FileNews::Saved { item, size, digest, resumed_at } => of("saved", *item)
                .with("size", *size)
                .with("sha256", digest.to_string())
                .with("resumed_at", *resumed_at)
                .maybe("by", self.servers.last().map(String::as_str)),
            FileNews::Failed { item, failure: FileFailure::Local(reason) } => {
                of("failed", *item).with("reason", reason.as_str())
            }
            FileNews::Failed { item, failure: FileFailure::Refused { code, reason } } => {
                of("failed", *item).with("reason", reason.as_str()).with("code", code.0)
            }
            FileNews::Lost { reason, again } => {
                Object::event("lost").with("reason", reason.as_str()).with("again_ms", milliseconds(*again))
            }
            FileNews::PutOff { reason, after } => {
                Object::event("put-off").with("reason", reason.as_str()).with("again_ms", milliseconds(*after))
            }
            FileNews::Renewed { reason } => Object::event("renewed").with("reason", reason.as_str()),
            FileNews::Progress | FileNews::Done => return None,
        };
        Some(object.line().into_bytes())
    }
}

/// `big.iso [#########-----------] 45%, 1.4 of 3.0 GiB, 1.1 GiB/s, 2 s left; 3 of 10 files, 5.0 of 9.9 GiB`.
fn line(delivery: &FileDelivery, moments: &mut VecDeque<(Instant, u64)>, all: u64, files: u64) -> String {
    let (now, done) = (Instant::now(), delivery.bytes());
    while moments.len() > 1 && moments.front().is_some_and(|(at, _)| now.duration_since(*at) > MOMENTS) {
        moments.pop_front();
    }
    moments.push_back((now, done));
    let (since, before) = moments.front().copied().unwrap_or((now, done));
    let per_second = done.saturating_sub(before) as f64 / now.duration_since(since).as_secs_f64().max(0.001);
    let mut line = String::new();
    if let Some(present) = delivery.present() {
        let name = &delivery.files().items[present.item].path;
        let part = present.bytes as f64 / present.size.max(1) as f64;
        let filled = ((part * BAR as f64) as usize).min(BAR);
        let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy();
        // A name may have anything that a terminal would obey.
        line += &format!(
            "{} [{}{}] {:.0}%, ",
            name.escape_debug(),
            "#".repeat(filled),
            "-".repeat(BAR - filled),
            part * 100.0
        );
        if files == 1 {
            line += &format!("{} of {}, ", size(present.bytes), size(present.size));
        }
    }
    if files > 1 {
        line += &format!("{} of {files} files, {} of {}, ", delivery.tally().saved, size(done), size(all));
    }
    line += &format!("{}/s", size(per_second as u64));
    if per_second > 0.0 && moments.len() > 1 {
        let left = Duration::from_secs_f64((all.saturating_sub(done) as f64 / per_second).min(1e9));
        line += &format!(", {} left", time(left));
    }
    line
}

/// A line as sha256sum(1) prints it, with a backslash before it where the name has anything that it escapes.
fn checked(digest: Digest, name: &FileName) -> Vec<u8> {
    let mut line = digest.to_string().into_bytes();
    line.extend_from_slice(b"  ");
    let start = line.len();
    for byte in name.as_bytes() {
        match byte {
            b'\\' => line.extend_from_slice(br"\\"),
            b'\n' => line.extend_from_slice(br"\n"),
            b'\r' => line.extend_from_slice(br"\r"),
            byte => line.push(*byte),
        }
    }
    if line.len() - start > name.as_bytes().len() {
        line.insert(0, b'\\');
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_that_of_sha256sum() {
        let zeros = "00".repeat(32);
        for (name, line) in [
            ("a b", format!("{zeros}  a b\n")),
            ("a\nb", format!("\\{zeros}  a\\nb\n")),
            ("a\\", format!("\\{zeros}  a\\\\\n")),
        ] {
            let name = FileName::new(name).expect("a name");
            assert_eq!(String::from_utf8_lossy(&checked(Digest([0; 32]), &name)), line);
        }
    }
}
