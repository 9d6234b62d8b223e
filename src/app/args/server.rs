//! The arguments of `server`.

use std::ffi::OsString;

use clap::Args;

use super::{Common, exit_statuses, value};
use crate::service::StandardService;
use crate::wire::Framing;
use crate::wire::plain::ACKNOWLEDGEMENT;

/// Receive messages: display each and acknowledge it.
///
/// Listens, and says so when it is ready. Each message is written to standard output and then acknowledged. Ends after its
/// first conversation (a connection without a message is none), or with -k when it is stopped: SIGTERM and SIGINT let messages in hand be finished, a second one ends
/// it at once.
#[derive(Args, Debug)]
#[command(after_long_help = exit_statuses())]
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
    /// The longest message; a longer one is refused. 0 is no limit [default: 64K; 1M for length and whole]
    #[arg(long, value_name = "SIZE", env = "WILCO_MAX_MESSAGE", value_parser = value::size)]
    pub(in crate::app) max_message: Option<usize>,
    #[command(flatten)]
    pub(in crate::app) common: Common,
}
