//! The arguments of `client`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::{Common, Output, examples_and_statuses, value};
use crate::wire::Framing;

const EXAMPLES: [(&str, &str); 7] = [
    ("client cheerios 51717", "asks for a message, and sends it"),
    ("client cheerios 51717 -m hello", "sends this one"),
    ("seq 3 | client unix:box", "sends each line"),
    ("client --wait=30s udp:cheerios:51717 -m hello", "waits until the server is there"),
    ("client 'cheerios:51717?nodelay&keepalive=30s' -m hello", "sets socket options"),
    ("client --framing whole cheerios 51717 < file", "sends a file, acknowledged as a whole"),
    ("client --raw cheerios 80 < request", "sends and receives bytes, as nc does"),
];

/// Send messages and show their acknowledgements.
///
/// On a terminal it asks for a message, sends it, shows the acknowledgement and ends. Otherwise each line of standard input is a
/// message. The exit status is 0 only if every message was acknowledged.
#[derive(Args, Debug)]
#[command(after_long_help = examples_and_statuses(&EXAMPLES))]
pub(in crate::app) struct ClientArgs {
    /// Where to connect: HOST PORT, or an address such as HOST:PORT, PORT, udp:HOST:PORT, unix:PATH, unix-dgram:@NAME,
    /// vsock:CID:PORT, exec:COMMAND; socket options follow, in quotes: 'db:5432?nodelay&keepalive=30s'. Of several, the first
    /// that answers
    #[arg(required = true, value_name = "HOST PORT | ADDRESS")]
    pub(in crate::app) addresses: Vec<OsString>,
    /// Send TEXT; may be given several times
    #[arg(short, long = "message", value_name = "TEXT", conflicts_with = "interactive")]
    pub(in crate::app) messages: Vec<String>,
    /// Ask for messages until the end of input, with line editing and history
    #[arg(short, long)]
    pub(in crate::app) interactive: bool,
    /// Expect no acknowledgements: status 0 then only means that all was sent and the other side ended in order
    #[arg(long)]
    pub(in crate::app) no_ack: bool,
    /// How long to wait for an acknowledgement
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WILCO_TIMEOUT", value_parser = value::time)]
    pub(in crate::app) timeout: Duration,
    /// How long connecting may take, look-ups and all addresses together
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WILCO_CONNECT_TIMEOUT", value_parser = value::time)]
    pub(in crate::app) connect_timeout: Duration,
    /// Wait until the server is there, for as long as TIME or else for ever
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, value_parser = value::time)]
    pub(in crate::app) wait: Option<Option<Duration>>,
    /// Try to connect again so many times, with growing pauses
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::app) retry: u32,
    /// The local address to send from: an IP address, a host, :PORT, HOST:PORT; for Unix sockets a path or @NAME
    #[arg(long, value_name = "ADDR")]
    pub(in crate::app) source: Option<String>,
    /// How messages are told apart in a stream, and in standard input: line, nul, length (4 bytes, big-endian, before each),
    /// whole (all of it is one), read
    #[arg(long, value_name = "HOW", default_value = "line", value_parser = value::framing)]
    pub(in crate::app) framing: Framing,
    /// Bytes both ways, no messages: what nc does. The end of the input is told to the other side, whose bytes are shown until it
    /// ends, too (on a terminal with control bytes escaped). Status 0 then means that the other side's system has taken all bytes
    /// and that it ended in order; that the program has read them only messages can tell. In packets each read of the input
    /// is one
    #[arg(long, conflicts_with_all = ["messages", "interactive", "framing", "no_ack", "json"])]
    pub(in crate::app) raw: bool,
    /// With --raw: how long the other side may be silent once one direction has ended; 0 is for ever [default: 5m; for datagrams,
    /// which have no end, 1s and then all is well]
    #[arg(long, value_name = "TIME", requires = "raw", value_parser = value::time)]
    pub(in crate::app) idle_timeout: Option<Duration>,
    #[command(flatten)]
    pub(in crate::app) output: Output,
    #[command(flatten)]
    pub(in crate::app) common: Common,
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::app::Program;
    use crate::app::args::definition;
    use crate::net::CONNECT_TIMEOUT;
    use crate::service::ACKNOWLEDGEMENT_TIMEOUT;

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let matches = definition(Program::Client).get_matches_from(["client", "51717"]);
        let args = ClientArgs::from_arg_matches(&matches).expect("arguments");
        assert_eq!((args.timeout, args.connect_timeout), (ACKNOWLEDGEMENT_TIMEOUT, CONNECT_TIMEOUT));
    }
}
