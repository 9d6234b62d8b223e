//! The arguments of `probe`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::{Common, examples_and_statuses, value};

/// What is said of each address, for the help.
const STATES: &str = "\
What is said of each address:
  open      something takes connections there, or packets
  closed    nothing does: the machine says so
  filtered  no answer, or no way there
  unknown   it cannot be told: of UDP, only the answer to a datagram tells

The status is 0 if all are open (with --any, if one is), and else 3. Of a range of ports only the open ones are \
shown, and how many answer; -v shows all.
";

const EXAMPLES: [(&str, &str); 3] = [
    ("wilco probe cheerios 22 http 8000-8010", "asks about some ports"),
    ("wilco probe --any a:5432 b:5432", "asks whether one of two is there"),
    ("wilco probe --wait=30s db:5432 && client db 5432 -m hello", "waits for it"),
];

/// Is it there? Connects, sends nothing, closes in order, and says for each address whether something is there.
#[derive(Args, Debug)]
#[command(after_long_help = format!("{STATES}\n{}", examples_and_statuses(&EXAMPLES)))]
pub(in crate::app) struct ProbeArgs {
    /// What to ask about: HOST and its ports, services and ranges of ports, as in cheerios 22 http 8000-8010; or addresses such
    /// as HOST:PORT, HOST:FIRST-LAST, PORT, unix:PATH, unix-seqpacket:@NAME, srv:NAME, vsock:CID:PORT
    #[arg(required = true, value_name = "HOST PORT[-PORT]... | ADDRESS")]
    pub(in crate::app) addresses: Vec<OsString>,
    /// One that answers is enough: the first that does is the only one shown
    #[arg(long)]
    pub(in crate::app) any: bool,
    /// Wait until they are there, for as long as TIME or else for ever
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, value_parser = value::time)]
    pub(in crate::app) wait: Option<Option<Duration>>,
    /// How long an attempt may take: the look-up of a name, and the connecting to an address
    #[arg(long, value_name = "TIME", default_value = "5s", env = "WILCO_CONNECT_TIMEOUT", value_parser = value::time)]
    pub(in crate::app) connect_timeout: Duration,
    // What a probe does by itself; those who know `nc -vz` type it.
    #[arg(short = 'z', hide = true)]
    zero: bool,
    /// Print JSON: one object a line
    #[arg(long)]
    pub(in crate::app) json: bool,
    #[command(flatten)]
    pub(in crate::app) common: Common,
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::service::PROBE_TIMEOUT;

    #[test]
    fn the_default_is_that_of_the_library() {
        let command = ProbeArgs::augment_args(clap::Command::new("probe"));
        let matches = command.get_matches_from(["probe", "51717"]);
        let args = ProbeArgs::from_arg_matches(&matches).expect("arguments");
        assert_eq!(args.connect_timeout, PROBE_TIMEOUT);
    }
}
