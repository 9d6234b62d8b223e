//! The arguments of `work`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ChoiceArgs, examples_and_statuses, list, value};
use crate::app::report::{LogFormat, Verbosity};
use crate::service::store::StoreAddress;
use crate::service::work::MAX_TRIES;

const EXAMPLES: [(&str, &str); 6] = [
    ("wilco work store.db --run ./handle", "runs ./handle for each message, in order"),
    ("wilco work store.db --name mail --workers 8 --run ./mail", "other work over it, eight at once"),
    ("wilco work store.db --run ./handle --drain", "ends when nothing is left"),
    ("wilco work store.db --status", "shows how far it is"),
    ("wilco work store.db --dead", "what no command will have, and why"),
    ("wilco work store.db --retry-dead", "has that tried again"),
];

/// What a command is told, for the help.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("MSG_ID", "SID:NUMBER where it was first sent, the same however often it comes; place:N if it was plain"),
    ("MSG_TRY", "how often it was given to the command, this time included"),
    ("MSG_SEQ", "its number in the session, or else in the connection"),
    ("MSG_LEN", "its bytes"),
    ("MSG_PLACE", "its id in the store"),
    ("MSG_TIME", "when it was stored, in seconds since 1970"),
    ("MSG_PEER", "the address that it came from"),
    ("NCAT_REMOTE_ADDR, _PORT", "that of an IP socket in parts; UNIXREMOTEUID, the user at a Unix socket"),
];

/// Run a command for each message that was stored, now and from now on.
///
/// The message is its standard input, with a newline. Exit status 0: done; 65: refused for good, a dead letter; 75 and all others, a signal or too long a time: tried again later,
/// after a random part of 1 s, which doubles every time up to 10 min. What it writes to standard output goes there, that of each command in one piece, and its standard error to standard error, a
/// line of the log each. With one worker all is done in the order of the store, and what is put off holds up what is behind it; with more there is no order. Each message is run at least once: what was running
/// when this ended is run again. SIGTERM and SIGINT let commands in hand finish (for at most 30 s), a second one ends them.
#[derive(Args, Debug)]
#[command(after_long_help = format!("{}\n{}", list("Environment", &ENVIRONMENT), examples_and_statuses(&EXAMPLES)))]
pub(in crate::app) struct WorkArgs {
    /// The store that a server was given: its file, or nats://HOST:PORT/STREAM
    #[arg(value_parser = value::store())]
    pub(in crate::app) store: StoreAddress,
    /// The command
    #[arg(long, value_name = "COMMAND", required_unless_present_any = ["status", "dead", "retry_dead"])]
    pub(in crate::app) run: Option<String>,
    /// Have COMMAND read by /bin/sh: pipes, variables, several commands. Without it the words are split as a shell quotes them, and nothing else is special
    #[arg(long, requires = "run")]
    pub(in crate::app) sh: bool,
    /// Give the command the message byte for byte, without a newline behind it
    #[arg(long, requires = "run")]
    pub(in crate::app) exact: bool,
    /// How many commands run at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = value::workers)]
    pub(in crate::app) workers: usize,
    #[arg(long, value_name = "N", default_value_t = MAX_TRIES, help = "How often a message is tried before it is a dead letter, 0 for ever; 20 times is about an hour")]
    pub(in crate::app) max_tries: u32,
    /// End when nothing is left to be done: 0 then, or 5 if there were dead letters
    #[arg(long, requires = "run")]
    pub(in crate::app) drain: bool,
    /// Which work it is: each over a store has its own progress
    #[arg(long, value_name = "NAME", default_value = "work", value_parser = value::work)]
    pub(in crate::app) name: String,
    /// Where it is kept how far it is, a database of SQLite's [default: FILE-work-NAME.db beside the store, or work-NAME.db in $STATE_DIRECTORY where the store is no file]
    #[arg(long, value_name = "FILE")]
    pub(in crate::app) state: Option<PathBuf>,
    // Which messages: that counts the first time for --since, and must stay the same for the others.
    #[command(flatten)]
    pub(in crate::app) choice: ChoiceArgs,
    /// How long a command may take; then it is ended, and with it what it has started, unless that has made a session of its own (setsid). 0 is no limit [default: 1m]
    #[arg(long, value_name = "TIME", requires = "run", value_parser = value::time)]
    pub(in crate::app) process_timeout: Option<Duration>,
    /// How much a command may write to its standard output; if it is more it is ended, and the message tried again. 0 is no limit [default: 1M]
    #[arg(long, value_name = "SIZE", requires = "run", value_parser = value::size)]
    pub(in crate::app) max_output: Option<usize>,
    /// Let commands run as root, where anybody who could send messages decides what they are given
    #[arg(long, requires = "run")]
    pub(in crate::app) allow_root: bool,
    /// Show how far it is instead, also while it is under way
    #[arg(long, conflicts_with_all = ["run", "dead", "retry_dead"])]
    pub(in crate::app) status: bool,
    /// Show the dead letters instead
    #[arg(long, conflicts_with_all = ["run", "retry_dead"])]
    pub(in crate::app) dead: bool,
    /// Have the dead letters tried again instead, by the next that works; nobody may be working
    #[arg(long, conflicts_with = "run")]
    pub(in crate::app) retry_dead: bool,
    /// With --status and --dead: print JSON, one object a line
    #[arg(long, conflicts_with = "run")]
    pub(in crate::app) json: bool,
    /// Say more: -v what is put off
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say only what failed
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// How what is said on standard error is written: text, or json, an object a line
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "WILCO_LOG_FORMAT")]
    log_format: LogFormat,
}

impl WorkArgs {
    pub(in crate::app) fn verbosity(&self) -> Verbosity {
        let level = i8::try_from(self.verbose).unwrap_or(i8::MAX);
        Verbosity { level: if self.quiet { -1 } else { level }, trace: false, format: self.log_format }
    }
}
