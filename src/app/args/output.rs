//! The arguments of `server` and `client` that say what else is shown, and how.

use std::path::PathBuf;

use clap::Args;

// What a server and a client have in common. (A doc comment would become the help of the command.)
#[derive(Args, Clone, Debug)]
pub(in crate::app) struct Output {
    /// Print each event and result as a JSON object a line instead; the page json.md of the documentation has their names
    #[arg(long, help_heading = "Common options")]
    pub(in crate::app) json: bool,
    /// Show what passes on standard error, in hexadecimal and as text, with direction (> sent, < received), time (UTC) and
    /// connection
    #[arg(long, help_heading = "Common options")]
    pub(in crate::app) hex: bool,
    /// Write the same to FILE, which is made for you alone, or added to
    #[arg(long, value_name = "FILE", help_heading = "Common options")]
    pub(in crate::app) dump: Option<PathBuf>,
}
