//! The arguments of `spool`.

use std::path::PathBuf;

use clap::Args;

use super::{examples_and_statuses, list};

/// What a repair means, for the help.
const REPAIR: [(&str, &str); 3] = [
    ("kept", "what can be read is sent in a new session, each message with its old number as its origin"),
    ("twice", "those of them come twice that the server had already, without the client knowing it"),
    ("lost", "the numbers that are lost are said, and what could not be read is in a file in DIR"),
];

const EXAMPLES: [(&str, &str); 3] = [
    ("wilco spool outbox", "shows what waits in it"),
    ("wilco spool outbox --dead --json", "prints what was refused for good, for programs"),
    ("wilco spool outbox --repair", "goes on with what can be read, after the disk has lost something"),
];

/// Show what is in a client's spool: messages that the server has not acknowledged yet, and those that it has refused.
///
/// It only looks, also while a client uses the spool.
#[derive(Args, Debug)]
#[command(after_long_help = format!("{}\n{}", list("A repair", &REPAIR), examples_and_statuses(&EXAMPLES)))]
pub(in crate::app) struct SpoolArgs {
    /// The directory, as in client --spool DIR
    #[arg(value_name = "DIR")]
    pub(in crate::app) directory: PathBuf,
    /// Show the dead letters instead: what was refused for good or given up, and why
    #[arg(long)]
    pub(in crate::app) dead: bool,
    /// Put aside what cannot be read, and go on with the rest in a new session; no client may be using it
    #[arg(long, conflicts_with = "dead")]
    pub(in crate::app) repair: bool,
    /// Print JSON: one object a line
    #[arg(long)]
    pub(in crate::app) json: bool,
}
