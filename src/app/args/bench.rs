//! The arguments of `bench`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Common, exit_statuses, value};
use crate::service::bench::{CONNECTIONS, IDLE_CONNECTIONS, Part, Plan, SIZE};

/// Measure a server that answers each line with a line: how fast, how many, how much.
///
/// Any such server will do: this one, an echo, ncat -k --exec cat. Parts:
///
/// round-trip: one connection, one message at a time: how long each takes. connections: many at once, each one message at a
/// time. pipelined: one connection, one message behind the other without waiting; answers are counted by their newlines. connect:
/// connect, one message, its answer, close; with 1 client and with 8. bulk: bytes that the server reads, and those that an
/// echo sends back. idle: connections that do nothing; with --pid what each costs the server in memory.
///
/// Over datagrams an answer is a datagram, what is lost is counted, and connect, bulk and idle are left out.
#[derive(Args, Debug)]
#[command(after_long_help = exit_statuses())]
pub(in crate::app) struct BenchArgs {
    /// The server: HOST PORT, or an address such as HOST:PORT, PORT, udp:HOST:PORT, unix:PATH, unix-seqpacket:@NAME. Several are
    /// measured one after the other
    #[arg(required = true, value_name = "HOST PORT | ADDRESS")]
    pub(in crate::app) addresses: Vec<OsString>,
    /// Measure only these, in the order of the list above: round-trip, connections, pipelined, connect, bulk, idle
    /// [default: all that fit; idle with --pid]
    #[arg(long, value_name = "PART,...", value_delimiter = ',', value_parser = part)]
    pub(in crate::app) only: Vec<Part>,
    /// How many connections at once [default: 64; for idle 1000]
    #[arg(short, long, value_name = "N", value_parser = value::count)]
    connections: Option<usize>,
    /// The size of a message in bytes, on a stream with its newline
    #[arg(short, long, value_name = "BYTES", default_value_t = SIZE, value_parser = value::message_size)]
    size: usize,
    /// How long each part takes
    #[arg(short, long, value_name = "TIME", default_value = "2s", value_parser = value::time)]
    duration: Duration,
    /// Send the messages of the round trip at this rate, whatever became of those before, and count the time of each from
    /// when it was due: 10000/s, 10K/s
    #[arg(short, long, value_name = "N/s", value_parser = value::frequency)]
    rate: Option<f64>,
    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WILCO_TIMEOUT", value_parser = value::time)]
    timeout: Duration,
    /// How long connecting may take
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WILCO_CONNECT_TIMEOUT", value_parser = value::time)]
    pub(in crate::app) connect_timeout: Duration,
    /// The process of the server, on this machine: tells its memory for each idle connection, that of its children included
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print JSON: one object a part
    #[arg(long)]
    pub(in crate::app) json: bool,
    /// Draw how long messages took, by percentile, into an SVG file
    #[arg(long, value_name = "FILE.svg")]
    pub(in crate::app) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::app) common: Common,
}

impl BenchArgs {
    pub(in crate::app) fn plan(&self) -> Plan {
        Plan {
            size: self.size,
            duration: self.duration,
            connections: self.connections.unwrap_or(CONNECTIONS),
            idle_connections: self.connections.unwrap_or(IDLE_CONNECTIONS),
            rate: self.rate,
            timeout: self.timeout,
            pid: self.pid,
        }
    }
}

fn part(name: &str) -> Result<Part, String> {
    let found = Part::ALL.iter().find(|(_, known)| *known == name);
    let known = || Part::ALL.map(|(_, name)| name).join(", ");
    found.map(|(part, _)| *part).ok_or_else(|| format!("the parts are {}", known()))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::app::Program;
    use crate::app::args::{Command, Wilco, definition};
    use crate::net::CONNECT_TIMEOUT;

    fn parsed(words: &[&str]) -> Result<BenchArgs, clap::Error> {
        let words = ["wilco", "bench", "51717"].iter().chain(words);
        let matches = definition(Program::Wilco).try_get_matches_from(words)?;
        match Wilco::from_arg_matches(&matches)?.command {
            Command::Bench(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let args = parsed(&[]).expect("arguments");
        assert_eq!(format!("{:?}", args.plan()), format!("{:?}", Plan::default()));
        assert_eq!(args.connect_timeout, CONNECT_TIMEOUT);
    }

    #[test]
    fn parts_rates_and_counts_are_read() {
        let args = parsed(&["--only", "idle,round-trip", "-r", "10K/s", "-c", "3"]).expect("arguments");
        assert_eq!(args.only, [Part::Idle, Part::RoundTrip]);
        assert_eq!((args.plan().rate, args.plan().connections, args.plan().idle_connections), (Some(10_000.0), 3, 3));
        for wrong in [["--only", "speed"], ["--rate", "fast"], ["--rate", "0"], ["-c", "0"], ["-s", "1"], ["-s", "1M"]]
        {
            let error = parsed(&wrong).expect_err("a mistake");
            assert!(!error.to_string().is_empty(), "{wrong:?}");
        }
    }
}
