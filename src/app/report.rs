//! What is said on standard error: failures, hints, notices and the trace of socket calls.
//!
//! Apart from the commands, so that everything a user reads there looks alike, and nothing of a peer's reaches a terminal as it is.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::OnceLock;

use clap::error::{ContextKind, ErrorKind};
use nix::errno::Errno;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::net::{self, trace};
use crate::service::{self, Why};

use super::json::Object;
use super::screen::escaped;
use super::{Exit, assured, clock, prompt, screen, stderr};

/// The longest line that is said, in characters: a peer's words may be in it.
const MAX_LINE: usize = 2000;

/// How much is said beside messages and failures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Verbosity {
    /// -1 for `-q`, else how often `-v` was given.
    pub(super) level: i8,
    /// Whether socket calls are shown.
    pub(super) trace: bool,
    /// How it is written.
    pub(super) format: LogFormat,
}

/// How what is said on standard error is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The format of this process, and whether its results are events.
static FORMAT: OnceLock<(LogFormat, bool)> = OnceLock::new();

impl Verbosity {
    /// Whether more is said than what failed.
    pub(super) fn says_notices(self) -> bool {
        self.level >= 0
    }
}

/// Shows what the layers below report, from now on and in the whole process. With `json` a failure is an event on standard
/// output, too.
pub(super) fn start(verbosity: Verbosity, json: bool) {
    let _ = FORMAT.set((verbosity.format, json));
    let most = match verbosity.level {
        ..0 => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    if verbosity.level <= 0 && !verbosity.trace {
        stderr::limit_log();
    }
    let calls = if verbosity.trace { LevelFilter::TRACE } else { LevelFilter::OFF };
    let targets = Targets::new().with_target(env!("CARGO_PKG_NAME"), most).with_target(trace::TARGET, calls);
    let lines = tracing_subscriber::fmt::layer().event_format(Line).with_writer(|| stderr::Log);
    // It can have been set only by an embedding test; then that one stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
}

/// Says that a command has failed: what, why, and what to do, in one line.
pub(super) fn error(error: &anyhow::Error, exit: Exit) {
    let failure = Failure::of(error);
    if FORMAT.get().is_some_and(|(_, json)| *json) {
        let event = Object::event("error").with("message", failure.message.as_str()).with("status", exit.number());
        // A reader that has gone has seen enough; and what standard output cannot take is said on standard error.
        let _ = screen::print(&failure.fields(event).line());
    }
    let hint = failure.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
    match format() {
        LogFormat::Text => line(&format!("{}: {}{hint}", name(), failure.message)),
        LogFormat::Json => {
            write_line(&failure.fields(object("error", &failure.message)).to_string());
        }
    }
}

/// A failure in its parts, as JSON has them.
pub(super) struct Failure<'a> {
    pub(super) message: String,
    operation: Option<&'static str>,
    address: Option<String>,
    errno: Option<Errno>,
    hint: Option<Cow<'a, str>>,
}

impl<'a> Failure<'a> {
    pub(super) fn of(error: &'a anyhow::Error) -> Self {
        let causes: Vec<_> = error.chain().map(described).collect();
        let net = net_error(error);
        let lost = error.chain().find_map(|cause| match cause.downcast_ref::<service::Error>() {
            Some(
                service::Error::Unacknowledged { why: Why::Lost(error), .. }
                | service::Error::Undelivered { why: Why::Lost(error), .. }
                | service::Error::Local(error),
            ) => Some(error),
            _ => cause.downcast_ref::<io::Error>(),
        });
        Self {
            message: causes.join(": "),
            operation: net.map(net::Error::operation).filter(|operation| !operation.is_empty()),
            address: net.and_then(net::Error::addr).map(ToString::to_string),
            errno: net
                .and_then(net::Error::errno)
                .or_else(|| lost.and_then(io::Error::raw_os_error).map(Errno::from_raw)),
            hint: net.and_then(net::Error::hint).map(Cow::from).or_else(|| assured::hint(error).map(Cow::from)),
        }
    }

    /// Adds its fields beside the message; those that it does not have are left out.
    pub(super) fn fields(&self, object: Object) -> Object {
        object
            .maybe("operation", self.operation)
            .maybe("address", self.address.as_deref())
            .maybe("errno", self.errno.map(|errno| format!("{errno:?}")))
            .maybe("hint", self.hint.as_deref())
    }
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
        Some(service::Error::GaveUp(how)) => how.unreached.as_ref(),
        Some(service::Error::FilesUnfinished(how)) => how.unreached.as_ref(),
        _ => None,
    })
}

/// What a client says that a signal has told to end, while so many messages are not acknowledged.
pub(super) fn waits_for(messages: u64) -> String {
    let plural = if messages == 1 { "" } else { "s" };
    format!("waiting for {messages} acknowledgement{plural}; a second signal ends at once")
}

/// Says something that is no failure and is meant to be read.
pub(super) fn notice(text: &str) {
    match format() {
        LogFormat::Text => line(text),
        LogFormat::Json => write_line(&object("info", text).to_string()),
    }
}

/// Shows lines that are safe to be shown, such as those of a dump.
pub(super) fn record(lines: &str) {
    write_line(lines.trim_end());
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
        ErrorKind::MissingRequiredArgument if !missing.is_empty() && unknown.contains("ADDRESS") => missing.to_owned(),
        // As netcats have it.
        ErrorKind::UnknownArgument if ["-p", "-l"].contains(&unknown.as_str()) => {
            format!("there is no {unknown}: the port stands alone")
        }
        ErrorKind::UnknownArgument if unknown == "-u" => "there is no -u: write udp:PORT or udp:HOST:PORT".to_owned(),
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
    write_line(&shown(text));
}

fn write_line(line: &str) {
    let before = if prompt::leave() { "\n" } else { "" };
    // In one piece, so that lines of different threads do not mix.
    stderr::say(&format!("{before}{line}\n"));
}

fn format() -> LogFormat {
    FORMAT.get().map_or_else(LogFormat::default, |(format, _)| *format)
}

/// A line of the log as JSON has it.
fn object(level: &'static str, message: &str) -> Object {
    Object::default().with("time", clock::now()).with("level", level).with("message", capped(message))
}

/// Text as it may be written to standard error: one line, which a peer's words cannot make two of, not too long, and nothing that
/// a terminal would obey: what goes to a file is shown on one later.
fn shown(text: &str) -> String {
    let text = capped(&text.replace('\n', " "));
    let mut safe = Vec::with_capacity(text.len());
    escaped(text.as_bytes(), &mut safe);
    String::from_utf8_lossy(&safe).into_owned()
}

fn capped(text: &str) -> String {
    let mut capped: String = text.chars().take(MAX_LINE).collect();
    if capped.len() < text.len() {
        capped.push_str(" ...");
    }
    capped
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
        match format() {
            LogFormat::Text => writeln!(out, "{}", shown(&text)),
            LogFormat::Json => {
                let level = match *event.metadata().level() {
                    Level::ERROR => "error",
                    Level::WARN => "warn",
                    Level::INFO => "info",
                    Level::DEBUG => "debug",
                    Level::TRACE => "trace",
                };
                writeln!(out, "{}", object(level, &text))
            }
        }
    }
}
