//! The arguments of `messages` and what it can do besides.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{Common, Output, examples_and_statuses, value};
use crate::service::store::StoreAddress;
use crate::wire::assured::Level;

const EXAMPLES: [(&str, &str); 8] = [
    ("wilco messages store.db", "shows all that was stored"),
    ("wilco messages store.db -n 20 --follow", "the last 20, and what comes from now on"),
    ("wilco messages store.db --since 10m --from 10.0.0.7:", "what this address has sent of late"),
    ("wilco messages store.db --search error --json", "what is about errors, for a program"),
    ("wilco messages store.db --raw > messages.txt", "the messages alone, a line each"),
    ("wilco messages nats://cheerios/ORDERS --follow", "what servers with this stream of NATS store"),
    ("wilco messages prune store.db --before 90d", "deletes what is older than 90 days"),
    ("wilco messages replay store.db b:51717", "sends all to another server"),
];

const REPLAY_EXAMPLES: [(&str, &str); 4] = [
    ("wilco messages replay store.db b:51717", "sends all to another server"),
    ("wilco messages replay store.db --since 1h b:51717 c:51717", "what is of the last hour, to whichever is there"),
    ("wilco messages replay store.db --spool replay b:51717", "goes on where it was when it is run again"),
    ("wilco messages replay -f store.db --spool replay b:51717", "and with what is stored from now on"),
];

/// What can be said of a time, in the help of what takes one.
const TIMES: &str = "10m, 2h, 7d ago, or a local time such as 2026-11-21, 2026-11-21T10:00, or one with its offset";

/// Look at what a server has stored, also while it is running; delete what is old; send it on.
///
/// Each message has a line: its place in the store, when it was stored, who sent it, its session and number there, and the message. What a terminal
/// would obey is shown as \x1b, and what is too long for it is cut. With neither --follow nor -n all are shown, the oldest first.
///
/// A store is a file, or a stream of NATS JetStream: nats://HOST:PORT/STREAM?SETTING=VALUE&... (docs/operating.md has all of it), with tls:// where only TLS will do, and the
/// settings creds, ca, cert and key, files each. Who it is may be said by WILCO_NATS_USER and WILCO_NATS_PASSWORD, WILCO_NATS_TOKEN or WILCO_NATS_CREDS instead.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    subcommand_value_name = "COMMAND",
    after_long_help = examples_and_statuses(&EXAMPLES)
)]
pub(in crate::app) struct MessagesArgs {
    #[command(subcommand)]
    pub(in crate::app) command: Option<MessagesCommand>,
    #[command(flatten)]
    pub(in crate::app) show: ShowArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::app) enum MessagesCommand {
    Prune(PruneArgs),
    Replay(Box<ReplayArgs>),
}

// Which messages are meant. (A doc comment would become the help of the command.)
#[derive(Args, Debug)]
pub(in crate::app) struct ChoiceArgs {
    #[arg(long, value_name = "AGE|TIME", help = format!("Only what was stored since then: {TIMES}"))]
    pub(in crate::app) since: Option<Age>,
    /// Only from clients whose address, name or session begins with TEXT: 10.0.0.7 takes 10.0.0.70, too, and 10.0.0.7: does not
    #[arg(long, value_name = "TEXT")]
    pub(in crate::app) from: Option<String>,
    /// Only messages with TEXT in them
    #[arg(long, value_name = "TEXT")]
    pub(in crate::app) search: Option<String>,
}

#[derive(Args, Debug)]
pub(in crate::app) struct ShowArgs {
    /// The store that a server was given: its file, or nats://HOST:PORT/STREAM (one whose name is that of a command as ./prune)
    // Where there is none there is a command.
    #[arg(required = true, value_parser = value::store())]
    pub(in crate::app) store: Option<StoreAddress>,
    /// Only the last N; with --follow it is 10, unless --since says otherwise
    #[arg(short = 'n', long, value_name = "N")]
    pub(in crate::app) last: Option<usize>,
    /// Go on with what is stored from now on, until interrupted or the store is deleted or replaced
    #[arg(short, long)]
    pub(in crate::app) follow: bool,
    #[command(flatten)]
    pub(in crate::app) choice: ChoiceArgs,
    /// Print JSON: one object a line
    #[arg(long)]
    pub(in crate::app) json: bool,
    /// Print the messages alone, each with a newline behind it: as they are, unless to a terminal
    #[arg(long, conflicts_with = "json")]
    pub(in crate::app) raw: bool,
}

/// Delete messages that were stored before a time, also while a server is running.
///
/// How far each session is stays: what is sent again is not stored again. The room is given back to the disk. What waits to be forwarded, or for `wilco work`, as far as that is seen
/// by what is beside the store, is not deleted, unless with --force; what is chosen by --from, --search or --since waits as all else. Of a stream of NATS what each session has
/// stored last stays, however old it is: that says how far it is; who else reads it is not known.
#[derive(Args, Debug)]
pub(in crate::app) struct PruneArgs {
    /// The store that a server was given: its file, or nats://HOST:PORT/STREAM
    #[arg(value_parser = value::store())]
    pub(in crate::app) store: StoreAddress,
    #[arg(long, value_name = "AGE|TIME", help = format!("Delete what was stored before then: {TIMES}"))]
    pub(in crate::app) before: Age,
    /// Delete also what waits to be forwarded or worked on: it never will be
    #[arg(long)]
    pub(in crate::app) force: bool,
}

/// Send messages that were stored on to another server, assured: each exactly once and in the order of the store.
///
/// Each has with it the session and the number under which it was sent at first, which the other server keeps as its origin. The server of this store may be
/// running; what it stores meanwhile is not sent, but with --follow. Without --spool another replay sends all of it again. Of a stream of NATS what other programs have
/// published is sent, too.
#[derive(Args, Debug)]
#[command(
    // The letter is that of --last here, as where messages are shown.
    mut_arg("numeric", |numeric| numeric.short(None)),
    after_long_help = examples_and_statuses(&REPLAY_EXAMPLES)
)]
pub(in crate::app) struct ReplayArgs {
    /// The store that a server was given: its file, or nats://HOST:PORT/STREAM
    #[arg(value_parser = value::store())]
    pub(in crate::app) store: StoreAddress,
    /// Where to connect: HOST PORT, or an address as a client takes it. Of several (or a name with several addresses, or srv:NAME), the first that
    /// answers, and the others when it fails
    #[arg(required = true, value_name = "HOST PORT | ADDRESS")]
    pub(in crate::app) addresses: Vec<OsString>,
    /// Only the last N
    #[arg(short = 'n', long, value_name = "N")]
    pub(in crate::app) last: Option<usize>,
    /// Go on with what is stored from now on, until interrupted; SIGINT and SIGTERM let what is on its way be acknowledged
    #[arg(short, long)]
    pub(in crate::app) follow: bool,
    #[command(flatten)]
    pub(in crate::app) choice: ChoiceArgs,
    /// Keep in DIR how far it is, and what is on its way: the same command goes on exactly where it was, whatever has ended it, and sends what was stored
    /// since, too. --since and --last count the first time only. DIR is for this replay alone
    #[arg(long, value_name = "DIR")]
    pub(in crate::app) spool: Option<PathBuf>,
    /// The least that an acknowledgement has to stand for: store, the message is on the server's disk, exactly once; run, a program has handled it;
    /// show, it was displayed. A server of less is told nothing, and the status is 5
    #[arg(long, value_name = "WHAT", default_value = "store", value_parser = value::level())]
    pub(in crate::app) require: Level,
    /// How long to go on with nothing acknowledged, 0 for ever, as it is with --follow
    #[arg(long, value_name = "TIME", default_value = "5m", default_value_if("follow", "true", "0"), env = "WILCO_TIMEOUT", value_parser = value::time)]
    pub(in crate::app) timeout: Duration,
    /// How long connecting may take, look-ups and all addresses together
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WILCO_CONNECT_TIMEOUT", value_parser = value::time)]
    pub(in crate::app) connect_timeout: Duration,
    #[command(flatten)]
    pub(in crate::app) output: Output,
    #[command(flatten)]
    pub(in crate::app) common: Common,
}

/// A moment: so long ago, or a time of day where this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::app) enum Age {
    Ago(Duration),
    At(SystemTime),
}

impl Age {
    /// The moment, counted from now.
    pub(in crate::app) fn moment(self, now: SystemTime) -> SystemTime {
        match self {
            Self::Ago(age) => now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
            Self::At(time) => time,
        }
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        age(text).map(Self::Ago).or_else(|| time(text).map(Self::At)).ok_or_else(|| {
            format!(
                "`{text}` is no time: write how long ago, such as 10m, 2h or 7d, or a time such as 2026-11-21T10:00"
            )
        })
    }
}

/// `7d`, `2w`, and the shorter ones that every other time may be.
fn age(text: &str) -> Option<Duration> {
    const DAY: u64 = 24 * 60 * 60;
    let days = |suffix, days: u64| {
        let count: u64 = text.strip_suffix(suffix)?.parse().ok()?;
        Some(Duration::from_secs(count.checked_mul(days * DAY)?))
    };
    // Without a unit it might be a year.
    let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
    days('d', 1).or_else(|| days('w', 7)).or_else(|| has_unit.then(|| value::time(text).ok())?)
}

fn time(text: &str) -> Option<SystemTime> {
    if let Ok(time) = text.parse::<Zoned>() {
        return Some(time.timestamp().into());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.into());
    }
    let local: civil::DateTime = text.parse().ok()?;
    Some(local.to_zoned(TimeZone::system()).ok()?.timestamp().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_age_or_a_time() {
        let ago = |seconds| Ok(Age::Ago(Duration::from_secs(seconds)));
        for (text, seconds) in [("10m", 600), ("2h", 7200), ("30s", 30), ("7d", 604_800), ("2w", 1_209_600)] {
            assert_eq!(text.parse(), ago(seconds), "{text}");
        }
        let at = |seconds| Ok(Age::At(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
        for text in ["2026-11-21T12:34:56Z", "2026-11-21 13:34:56+01:00", "2026-11-21T12:34:56+00:00[UTC]"] {
            assert_eq!(text.parse(), at(1_795_264_496), "{text}");
        }
        let local = |text: &str| {
            let local: civil::DateTime = text.parse().expect("a time");
            Ok(Age::At(local.to_zoned(TimeZone::system()).expect("a time").timestamp().into()))
        };
        assert_eq!("2026-11-21".parse(), local("2026-11-21T00:00:00"));
        assert_eq!("2026-11-21T10:00".parse(), local("2026-11-21T10:00:00"));
        for text in ["", "yesterday", "2026", "10", "d", "-3d", "2026-13-01", "99999999999999999999d"] {
            assert!(text.parse::<Age>().is_err(), "{text:?}");
        }
    }
}
