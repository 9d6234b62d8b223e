//! The arguments of `server` for what it sends on.
//!
//! Apart from its others, because they mean something only together, and only with a store.

use std::path::PathBuf;

use clap::Args;

use super::value;
use crate::wire::assured::Level;

// Where what is stored goes on to. (A doc comment would become the help of the command.)
#[derive(Args, Clone, Debug)]
pub(in crate::app) struct ForwardArgs {
    /// Deliver what is stored to the server at ADDRESS, which keeps messages, too: each exactly once, in the order of the store and with its first session and
    /// number, through whatever happens to either side and the way between. It begins with the oldest message in the store. While that server is away, messages wait in
    /// the store, and clients are served as ever. A1,A2 is one server at two addresses, or another in its place that has the same store. Given again, it is another server, which gets
    /// all, too
    #[arg(long, value_name = "ADDRESS", requires = "store", help_heading = "Forwarding")]
    pub(in crate::app) forward: Vec<String>,
    /// Keep in DIR how far that is, and what is on its way; for several servers given as often, in their order. Needed where the store is no file; of the servers at one stream one
    /// alone is to forward [default: FILE-forward beside the store, FILE-forward-2 for the second server]
    #[arg(long, value_name = "DIR", requires = "forward", help_heading = "Forwarding")]
    pub(in crate::app) forward_spool: Vec<PathBuf>,
    /// The least that an acknowledgement of that server has to stand for: store, run or show, as of a client
    #[arg(long, value_name = "WHAT", default_value = "store", value_parser = value::level(), help_heading = "Forwarding")]
    pub(in crate::app) forward_require: Level,
}
