//! The arguments of `client`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Common, Output, examples_and_statuses, value};
use crate::wire::Framing;
use crate::wire::assured::Level;

const EXAMPLES: [(&str, &str); 12] = [
    ("client cheerios 51717", "asks for a message, and sends it"),
    ("client cheerios 51717 -m hello", "sends this one"),
    ("seq 3 | client unix:box", "sends each line"),
    ("client --wait=30s udp:cheerios:51717 -m hello", "waits until the server is there"),
    ("client 'cheerios:51717?nodelay&keepalive=30s' -m hello", "sets socket options"),
    ("client --framing whole cheerios 51717 < file", "sends a file, acknowledged as a whole"),
    ("client --file big.iso cheerios 51717", "sends a file to `server --save`"),
    ("client --file photos --preserve a:51717", "a directory, with modes and times"),
    ("client --raw cheerios 80 < request", "sends and receives bytes, as nc does"),
    ("seq 3 | client --assured a:51717 b:51717", "each exactly once, to whichever is there"),
    ("seq 3 | client --assured srv:example.com", "to the servers in the DNS"),
    ("seq 3 | client --spool outbox cheerios 51717", "the same, even if this client dies"),
];

/// What is to become of messages whose session is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(in crate::app) enum LostSession {
    /// They are sent in a new session; the server may get again what it had
    Resend,
    /// They are not sent, and are kept among the dead letters
    Skip,
}

/// Send messages and show their acknowledgements.
///
/// On a terminal it asks for a message, sends it, shows the acknowledgement and ends. Otherwise each line of standard input is a
/// message. The exit status is 0 only if every message was acknowledged.
#[derive(Args, Debug)]
#[command(after_long_help = examples_and_statuses(&EXAMPLES))]
pub(in crate::app) struct ClientArgs {
    /// Where to connect: HOST PORT, or an address such as HOST:PORT, PORT, udp:HOST:PORT, unix:PATH, unix-dgram:@NAME,
    /// vsock:CID:PORT, exec:COMMAND; socket options follow, in quotes: 'db:5432?nodelay&keepalive=30s'. Of several, the first
    /// that answers, and of a name with several addresses, too. srv:NAME stands for the servers that the DNS has in SRV records of _wilco._tcp.NAME
    /// (or srv:_SERVICE._PROTOCOL.NAME), by their priority and weight
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
    /// How long to wait for an acknowledgement [default: 10s]; with --assured and --file, how long to go on with nothing acknowledged [default: 5m], 0 for ever
    #[arg(long, value_name = "TIME", env = "WILCO_TIMEOUT", value_parser = value::time)]
    pub(in crate::app) timeout: Option<Duration>,
    /// Assured delivery, by a server that speaks its protocol: each message is applied exactly once and in order, over as many connections as it
    /// takes. It connects again by itself, to the next address where one fails, ends, or has no room, at once and each once before it waits (servers that store
    /// have to have one store between them: another does not know the session). Names are looked up anew each time. A connection may take 5 s an address
    /// where there are several, and one that has taken that is tried last from then on. On standard output are replies only. Over UDP there are none,
    /// and a message has at most 1200 bytes with its header. Status
    /// 6 if the server has not what was sent to it
    #[arg(long, conflicts_with_all = ["raw", "no_ack"], help_heading = "Assured delivery")]
    pub(in crate::app) assured: bool,
    /// Assured delivery that also survives the end of this client: messages are on disk in DIR before they are sent, and until they are final.
    /// Run again with empty input (< /dev/null) it goes on where it was; what is given again is another message
    #[arg(long, value_name = "DIR", conflicts_with_all = ["raw", "no_ack"], help_heading = "Assured delivery")]
    pub(in crate::app) spool: Option<PathBuf>,
    /// What to do once the session of the spool is lost: begin a new one that has what waits (the server may get again what it had), or with
    /// that among the dead letters, where what is read meanwhile is put, too: give no input with it (< /dev/null) [default: stop with status 6]
    #[arg(long, value_name = "HOW", requires = "spool", help_heading = "Assured delivery")]
    pub(in crate::app) lost_session: Option<LostSession>,
    /// The least that an acknowledgement has to stand for: store, the message is on the server's disk, exactly once; run, a program has handled it;
    /// show, it was displayed. A server of less is told nothing, and the status is 5 [default: any]
    #[arg(long, value_name = "WHAT", value_parser = value::level(), help_heading = "Assured delivery")]
    pub(in crate::app) require: Option<Level>,
    /// What this client calls itself to the server of an assured delivery, which keeps it for its user: `wilco messages` shows it [default: nothing]
    #[arg(long, value_name = "NAME", value_parser = value::name, env = "WILCO_NAME", help_heading = "Assured delivery")]
    pub(in crate::app) name: Option<String>,
    /// Send a file, or a directory with all that is in it, to a server that was started with --save; may be given several times. It goes in parts over
    /// as many connections as it takes. What the server has already it is not sent again: after an end of any kind the same command
    /// goes on. Each that is saved is a line on standard output, with its digest, as sha256sum prints it. Links, sockets, pipes and devices in
    /// directories are left out. Status 5 if the server will not have one, 1 if one cannot be read or changes meanwhile; the others are sent
    #[arg(
        long = "file",
        value_name = "PATH",
        conflicts_with_all = ["messages", "interactive", "raw", "framing", "spool", "no_ack", "require"],
        help_heading = "Files"
    )]
    pub(in crate::app) files: Vec<PathBuf>,
    /// The name that the file or directory has at the server, which may have / in it [default: the last part of PATH]
    #[arg(long = "as", value_name = "NAME", requires = "files", help_heading = "Files")]
    pub(in crate::app) file_name: Option<OsString>,
    /// Keep the permissions of files and directories, and the time of their last change [default: those that the server gives]
    #[arg(long, requires = "files", help_heading = "Files")]
    pub(in crate::app) preserve: bool,
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
    use crate::service::delivery::PATIENCE;

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let matches = definition(Program::Client).get_matches_from(["client", "51717"]);
        let args = ClientArgs::from_arg_matches(&matches).expect("arguments");
        assert_eq!(args.connect_timeout, CONNECT_TIMEOUT);
        // The help says so, since the default depends on another argument.
        let help = definition(Program::Client).render_long_help().to_string();
        assert!(help.contains("10s") && ACKNOWLEDGEMENT_TIMEOUT.as_secs() == 10);
        assert!(help.contains("5m") && PATIENCE.as_secs() == 5 * 60);
    }
}
