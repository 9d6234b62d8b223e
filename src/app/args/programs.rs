//! The arguments of `server` for programs that it runs.
//!
//! Apart from its others, because they mean something only together: what to run, how, and within which bounds.

use std::time::Duration;

use clap::Args;

use super::value;

// What is run for messages or connections. (A doc comment would become the help of the command.)
#[derive(Args, Clone, Debug)]
#[group(id = "programs")]
pub(in crate::app) struct ProgramArgs {
    /// Run COMMAND for each message: the message is its standard input (a line with its newline), its standard output the
    /// answer (nothing: the acknowledgement). Exit status 0 acknowledges, 65 refuses the message for good, 75 and all others tell the client that it was not taken;
    /// with 65 and 75 the client is told the last line of standard error
    #[arg(long, value_name = "COMMAND", group = "program", conflicts_with = "reply", help_heading = "Programs")]
    pub(in crate::app) run: Option<String>,
    /// Run COMMAND for each connection, with the socket as its standard input and output, as inetd and ncat do
    #[arg(long, value_name = "COMMAND", group = "program", help_heading = "Programs",
        conflicts_with_all = ["reply", "ack", "no_ack", "framing", "max_message", "max_output"])]
    pub(in crate::app) exec: Option<String>,
    /// Have COMMAND read by /bin/sh: pipes, variables, several commands. Without it the words are split as a shell quotes
    /// them, and nothing else is special
    #[arg(long, requires = "program", help_heading = "Programs")]
    pub(in crate::app) sh: bool,
    /// How long a program may take; then it is ended, and with it what it has started, unless that has made a session of
    /// its own (setsid). 0 is no limit [default: 1m for --run, 0
    /// for --exec]
    #[arg(long, value_name = "TIME", requires = "program", value_parser = value::time, help_heading = "Programs")]
    pub(in crate::app) process_timeout: Option<Duration>,
    /// How many programs run at once; for more, messages and connections wait. 0 is no limit [default: 100]
    #[arg(long, value_name = "N", requires = "program", help_heading = "Programs")]
    pub(in crate::app) max_processes: Option<usize>,
    /// How much a program may answer to a message; if it is more it is ended, and the message may be tried again. 0 is no
    /// limit [default: 1M]
    #[arg(long, value_name = "SIZE", requires = "run", value_parser = value::size, help_heading = "Programs")]
    pub(in crate::app) max_output: Option<usize>,
}
