//! What is said on standard error: failures, hints, notices and the trace of socket calls.
//!
//! Apart from the commands, so that everything a user reads there looks alike, and nothing of a peer's reaches a terminal as it is.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use clap::error::{ContextKind, ErrorKind};
use tracing::Event;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::net::{self, trace};
use crate::service;

use super::screen::escaped;
use super::{Exit, prompt};

/// The longest line that is said, in characters: a peer's words may be in it.
const MAX_LINE: usize = 2000;

/// How much is said beside messages and failures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Verbosity {
    /// -1 for `-q`, else how often `-v` was given.
    pub(super) level: i8,
    /// Whether socket calls are shown.
    pub(super) trace: bool,
}

impl Verbosity {
    /// Whether more is said than what failed.
    pub(super) fn says_notices(self) -> bool {
        self.level >= 0
    }
}

/// Shows what the layers below report, from now on and in the whole process.
pub(super) fn start(verbosity: Verbosity) {
    let most = match verbosity.level {
        ..0 => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let calls = if verbosity.trace { LevelFilter::TRACE } else { LevelFilter::OFF };
    let targets = Targets::new().with_target(env!("CARGO_PKG_NAME"), most).with_target(trace::TARGET, calls);
    let lines = tracing_subscriber::fmt::layer().event_format(Line).with_writer(io::stderr);
    // It can have been set only by an embedding test; then that one stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
}

/// Says that a command has failed: what, why, and what to do, in one line.
pub(super) fn error(error: &anyhow::Error) {
    let hint = net_error(error).and_then(net::Error::hint).map(|hint| format!("; {hint}"));
    let causes: Vec<_> = error.chain().map(described).collect();
    line(&format!("{}: {}{}", name(), causes.join(": "), hint.unwrap_or_default()));
}

/// What one of the causes says; of the system's errors the words without the number.
fn described(cause: &(dyn std::error::Error + 'static)) -> String {
    let local = match cause.downcast_ref::<service::Error>() {
        Some(service::Error::Local(error)) => Some(error),
        _ => cause.downcast_ref::<io::Error>(),
    };
    local.map_or_else(|| cause.to_string(), net::plain)
}

/// The error of the socket layer that an error is, or is made from.
pub(super) fn net_error(error: &anyhow::Error) -> Option<&net::Error> {
    error.downcast_ref::<net::Error>().or_else(|| match error.downcast_ref::<service::Error>() {
        Some(service::Error::Net(error)) => Some(error),
        _ => None,
    })
}

/// Says something that is no failure and is meant to be read.
pub(super) fn notice(text: &str) {
    line(text);
}

/// Help goes to standard output; a mistake in the arguments is one line, and what to type another.
pub(super) fn usage(error: &clap::Error, missing: &str, synopsis: &str) -> Exit {
    if !error.use_stderr() {
        // Whoever pipes help into `head` has seen enough.
        let _ = error.print();
        return Exit::Done;
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let unknown = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::MissingRequiredArgument if !missing.is_empty() => missing.to_owned(),
        // As netcats have it.
        ErrorKind::UnknownArgument if ["-p", "-l"].contains(&unknown.as_str()) => {
            format!("there is no {unknown}: the port stands alone")
        }
        _ => said.join("; ").replace(":; ", ": ").replace("tip: ", "").trim_start_matches("error: ").to_owned(),
    };
    // Of a command of `wilco` its own usage says more than that of all.
    let own = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).filter(|_| missing.is_empty());
    line(&format!("{}: {what}; usage: {} (--help tells more)", name(), own.unwrap_or(synopsis)));
    Exit::Usage
}

/// The name that the program was called by, as the shell's other messages have it.
fn name() -> String {
    let called = std::env::args_os().next().unwrap_or_else(|| "wilco".into());
    std::path::Path::new(&called).file_name().unwrap_or(&called).to_string_lossy().into_owned()
}

fn line(text: &str) {
    if prompt::leave() {
        let _ = writeln!(io::stderr());
    }
    // If standard error is closed there is nowhere left to say so.
    let _ = writeln!(io::stderr(), "{}", shown(text));
}

/// Text as it may be written to standard error: one line, which a peer's words cannot make two of, not too long, and on a
/// terminal nothing that it would obey.
fn shown(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c == '\n' { ' ' } else { c }).take(MAX_LINE + 1).collect();
    if text.chars().count() > MAX_LINE {
        text.pop();
        text.push_str(" ...");
    }
    if !io::stderr().is_terminal() {
        return text;
    }
    let mut safe = Vec::with_capacity(text.len());
    escaped(text.as_bytes(), &mut safe);
    String::from_utf8_lossy(&safe).into_owned()
}

/// An event of the layers below as one line: its text and nothing else.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        writeln!(out, "{}", shown(&text))
    }
}
