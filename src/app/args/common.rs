//! The arguments that all commands that use sockets have in common.

use clap::Args;

use crate::app::report::{LogFormat, Verbosity};
use crate::net::{Family, Names};

// What all commands that use sockets have in common. (A doc comment would become the help of the command.)
#[derive(Args, Clone, Debug)]
pub(in crate::app) struct Common {
    /// Use IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6", help_heading = "Common options")]
    ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', help_heading = "Common options")]
    ipv6: bool,
    /// Look no names up: addresses and ports are numbers
    #[arg(short, long, help_heading = "Common options")]
    numeric: bool,
    /// Say more: -v connections, -vv details
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Common options")]
    verbose: u8,
    /// Say only what failed
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Common options")]
    quiet: bool,
    /// Show each socket call with its address and its result
    #[arg(long, help_heading = "Common options")]
    trace: bool,
    /// How what is said on standard error is written: text, or json, an object a line with time, level, message and, of a
    /// failure, more (mistakes in the arguments are always text)
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        env = "WILCO_LOG_FORMAT",
        help_heading = "Common options"
    )]
    log_format: LogFormat,
}

impl Common {
    pub(in crate::app) fn family(&self) -> Family {
        match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        }
    }

    pub(in crate::app) fn names(&self) -> Names {
        if self.numeric { Names::Numeric } else { Names::LookUp }
    }

    pub(in crate::app) fn verbosity(&self) -> Verbosity {
        let level = i8::try_from(self.verbose).unwrap_or(i8::MAX);
        Verbosity { level: if self.quiet { -1 } else { level }, trace: self.trace, format: self.log_format }
    }
}
