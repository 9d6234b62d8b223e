//! The arguments of `server`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::forward::ForwardArgs;
use super::limits::{AccessArgs, LimitArgs};
use super::{Common, Output, ProgramArgs, examples_and_statuses, value};
use crate::service::StandardService;
use crate::service::store::StoreAddress;
use crate::wire::Framing;
use crate::wire::plain::ACKNOWLEDGEMENT;

const EXAMPLES: [(&str, &str); 12] = [
    ("server 51717", "shows and acknowledges the messages of one client"),
    ("server -k 51717 udp:51717 unix:box", "those of many, by several ways"),
    ("server -k 51717 --allow 10.0.0.0/8 > received", "those of one network, into a file"),
    ("server --framing whole 51717 > copy", "takes a file"),
    ("server -k 51717 --run ./handle", "runs a program for each message"),
    ("server -k 51717 --exec 'sort -r'", "runs one for each connection"),
    ("server -k --service echo udp:51717", "returns what comes"),
    ("server --store messages.db 51717", "keeps what comes, each assured message exactly once"),
    ("server --store nats://localhost/ORDERS 51717", "the same in a stream of NATS, together with others"),
    ("server --store a.db --forward b:51717 51717", "and passes it on to the next server"),
    ("server --save incoming 51717", "takes files of `client --file`"),
    ("server -k 80 --reply hello --user www-data", "does not stay root"),
];

/// Receive messages: display each and acknowledge it.
///
/// Listens, and says so when it is ready. Each message is written to standard output, given to the program of --run, or kept by --store, and
/// then acknowledged. At the same address clients with assured sessions are served (docs/protocol.md), but not with --framing read. Ends after its
/// first conversation (a connection without a message is none), or with -k when it is stopped: SIGTERM and SIGINT let messages in hand be finished (for at most 30 s), a second one ends
/// it at once. SIGHUP has a server with -k read its files anew and go on, unless it was started at a terminal that has now
/// gone; without -k it ends it.
#[derive(Args, Debug)]
#[command(after_long_help = examples_and_statuses(&EXAMPLES))]
pub(in crate::app) struct ServerArgs {
    /// Where to listen: a PORT or SERVICE, HOST:PORT, udp:PORT, unix:PATH, unix-seqpacket:@NAME, vsock:PORT, fd:N, systemd;
    /// socket options follow, in quotes: '51717?rcvbuf=1M&ttl=9'. Port 0 takes a free one
    #[arg(required = true, value_name = "ADDRESS")]
    pub(in crate::app) addresses: Vec<OsString>,
    /// Serve many clients at once, until stopped
    #[arg(short, long)]
    pub(in crate::app) keep_open: bool,
    /// Answer each message with TEXT, and do nothing else with it
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["ack", "no_ack"])]
    pub(in crate::app) reply: Option<String>,
    /// Provide a simple service of RFC 862 to 868 instead: bytes, to which the framing and the acknowledgement do not apply. To
    /// datagrams from elsewhere it answers no more than it was sent, so that a forged address does no harm
    #[arg(long, value_name = "NAME", value_parser = value::service(), conflicts_with_all = ["ack", "no_ack", "reply", "framing"])]
    pub(in crate::app) service: Option<StandardService>,
    /// Let the clients talk to each other: each line of one goes to all others, with a name before it, and is neither shown nor
    /// acknowledged. Implies -k
    #[arg(long, conflicts_with_all = ["ack", "no_ack", "reply", "service"])]
    pub(in crate::app) chat: bool,
    /// Keep the messages in a FILE, a database of SQLite's, which is made if it is not there: acknowledged means that a message is on disk. Those of assured
    /// clients are there exactly once and in order, whatever happens to either side. Or keep them in a stream of NATS JetStream, which several servers may
    /// share: nats://HOST:PORT/STREAM, or tls://; acknowledged means that JetStream has confirmed it. The stream is made if it is not there; `?replicas=3` and
    /// others follow, and WILCO_NATS_USER, _PASSWORD, _TOKEN or _CREDS say who it is. Implies -k
    #[arg(long, value_name = "FILE|URL", value_parser = value::store(), conflicts_with_all = ["reply", "service", "chat", "run", "exec"])]
    pub(in crate::app) store: Option<StoreAddress>,
    #[command(flatten)]
    pub(in crate::app) saving: SaveArgs,
    /// The acknowledgement
    #[arg(long, value_name = "TEXT", default_value = ACKNOWLEDGEMENT)]
    pub(in crate::app) ack: String,
    /// Acknowledge nothing
    #[arg(long, conflicts_with = "ack")]
    pub(in crate::app) no_ack: bool,
    /// How messages are told apart in a stream: line, nul, length (4 bytes, big-endian, before each), whole (the whole
    /// stream is one), read (each read is one, as in the tutorial) [default: line]
    #[arg(long, value_name = "HOW", value_parser = value::framing)]
    pub(in crate::app) framing: Option<Framing>,
    /// The longest message; a longer one is refused. 0 is no limit, but that of a store (a thousand million bytes, or what NATS
    /// takes at once less 32K) [default: 64K; 1M for length and whole]
    #[arg(long, value_name = "SIZE", env = "WILCO_MAX_MESSAGE", value_parser = value::size)]
    pub(in crate::app) max_message: Option<usize>,
    #[command(flatten)]
    pub(in crate::app) programs: ProgramArgs,
    /// Let programs run as root, where anybody who can connect decides what they are given
    #[arg(long, help_heading = "Programs")]
    pub(in crate::app) allow_root: bool,
    #[command(flatten)]
    pub(in crate::app) forward: ForwardArgs,
    #[command(flatten)]
    pub(in crate::app) limits: LimitArgs,
    #[command(flatten)]
    pub(in crate::app) access: AccessArgs,
    #[command(flatten)]
    pub(in crate::app) socket_file: SocketFileArgs,
    #[command(flatten)]
    pub(in crate::app) running: RunningArgs,
    #[command(flatten)]
    pub(in crate::app) output: Output,
    #[command(flatten)]
    pub(in crate::app) common: Common,
}

// Files that are taken instead of messages.
#[derive(Args, Clone, Debug)]
pub(in crate::app) struct SaveArgs {
    /// Take files, those of `client --file`, and save each beneath the directory DIR, whole or not at all; the name of each that was saved is a line of standard
    /// output. What was cut off goes on where it was. Implies -k
    #[arg(long, value_name = "DIR", help_heading = "Files",
        conflicts_with_all = ["reply", "service", "chat", "store", "run", "exec", "framing", "max_message", "ack", "no_ack"])]
    pub(in crate::app) save: Option<PathBuf>,
    /// Replace a file that has the name already, at once and by a whole one. Without this it stays, and another is refused
    #[arg(long, help_heading = "Files", requires = "save")]
    pub(in crate::app) overwrite: bool,
    /// The longest file; a longer one is refused before it is sent [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = value::size, help_heading = "Files", requires = "save")]
    pub(in crate::app) max_file: Option<usize>,
    /// How long what has come of a file stays that nobody goes on with; it is looked for at the start. 0 is for ever [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = value::time, help_heading = "Files", requires = "save")]
    pub(in crate::app) keep_parts: Option<Duration>,
}

// Who may connect to a Unix socket with a path. (A doc comment would become the help of the command.)
#[derive(Args, Clone, Debug)]
pub(in crate::app) struct SocketFileArgs {
    /// The permissions of a Unix socket's file, in octal: whoever may write to it may connect. It never has more, not even
    /// while it is made [default: 0600]
    #[arg(long, value_name = "OCTAL", value_parser = value::mode, help_heading = "Access")]
    pub(in crate::app) socket_mode: Option<u32>,
    /// Whose the socket file is [default: whoever starts the server]
    #[arg(long, value_name = "NAME|UID", help_heading = "Access")]
    pub(in crate::app) socket_user: Option<String>,
    /// The group of the socket file
    #[arg(long, value_name = "NAME|GID", help_heading = "Access")]
    pub(in crate::app) socket_group: Option<String>,
}

// As whom and within which bounds it runs.
#[derive(Args, Clone, Debug)]
pub(in crate::app) struct RunningArgs {
    /// What it calls itself to assured clients [default: the name of this machine]
    #[arg(long, value_name = "NAME", value_parser = value::name, env = "WILCO_NAME", help_heading = "Running it")]
    pub(in crate::app) name: Option<String>,
    /// Run as this user once it listens, in the groups that it is in, without a way back. A socket file stays at the end
    /// where that user may not remove it
    #[arg(long, value_name = "NAME|UID", help_heading = "Running it")]
    pub(in crate::app) user: Option<String>,
    /// Run in this group instead of the user's own
    #[arg(long, value_name = "NAME|GID", help_heading = "Running it")]
    pub(in crate::app) group: Option<String>,
    /// How many threads serve the clients [default: half of the processors, at least 1, at most 16]
    #[arg(long, value_name = "N", value_parser = value::workers, env = "WILCO_WORKERS", help_heading = "Running it")]
    pub(in crate::app) workers: Option<usize>,
    /// Do without the sandbox, in which the server can write no file but those of its store and spools or of --save, run no program, and make no system call for debuggers,
    /// mounts and the like; -v says what of it this kernel knows
    #[arg(long, help_heading = "Running it")]
    pub(in crate::app) no_sandbox: bool,
}
