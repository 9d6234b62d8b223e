//! The arguments of every command, in one place.
//!
//! Apart from the commands, so that help, completions and manual pages are made from the same definitions; nothing below this
//! layer knows how they were given.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::net::options::{parse_size, parse_time};
use crate::net::{Endpoint, Error, Family, Names};
use crate::wire::Framing;
use crate::wire::plain::ACKNOWLEDGEMENT;

use super::report::Verbosity;
use super::{Exit, Program};

/// A client and a server for every kind of socket, where delivered means acknowledged.
#[derive(Debug, Parser)]
#[command(name = "wilco", version, arg_required_else_help = false, disable_help_subcommand = true)]
pub(super) struct Wilco {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Receive messages: display each and acknowledge it
    Server(ServerArgs),
    /// Send messages and show their acknowledgements
    Client(ClientArgs),
    /// Ask for hosts, services, protocols, networks, DNS records, or what the kernel tells of a socket
    Lookup(LookupArgs),
    /// See the exchange: a server and a client in this terminal
    Try(TryArgs),
    /// Print the completions for a shell
    Completions(CompletionsArgs),
    /// Write the manual pages into a directory
    Man(ManArgs),
}

// What all commands that use sockets have in common. (A doc comment would become the help of the command.)
#[derive(Args, Clone, Debug)]
pub(super) struct Common {
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
}

impl Common {
    pub(super) fn family(&self) -> Family {
        match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        }
    }

    pub(super) fn names(&self) -> Names {
        if self.numeric { Names::Numeric } else { Names::LookUp }
    }

    pub(super) fn verbosity(&self) -> Verbosity {
        let level = i8::try_from(self.verbose).unwrap_or(i8::MAX);
        Verbosity { level: if self.quiet { -1 } else { level }, trace: self.trace }
    }
}

/// Receive messages: display each and acknowledge it.
///
/// Listens, and says so when it is ready. Each message is written to standard output and then acknowledged. Ends after its
/// first conversation (a connection without a message is none), or with -k when it is stopped: SIGTERM and SIGINT let messages in hand be finished, a second one ends
/// it at once.
#[derive(Args, Debug)]
#[command(after_long_help = exit_statuses())]
pub(super) struct ServerArgs {
    /// Where to listen: a PORT or SERVICE, HOST:PORT, udp:PORT, unix:PATH, unix-seqpacket:@NAME, vsock:PORT, fd:N, systemd;
    /// socket options follow, in quotes: '51717?rcvbuf=1M&ttl=9'. Port 0 takes a free one
    #[arg(required = true, value_name = "ADDRESS")]
    pub(super) addresses: Vec<OsString>,
    /// Serve many clients at once, until stopped
    #[arg(short, long)]
    pub(super) keep_open: bool,
    /// Answer each message with TEXT, and do nothing else with it
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["ack", "no_ack"])]
    pub(super) reply: Option<String>,
    /// The acknowledgement
    #[arg(long, value_name = "TEXT", default_value = ACKNOWLEDGEMENT)]
    pub(super) ack: String,
    /// Acknowledge nothing
    #[arg(long, conflicts_with = "ack")]
    pub(super) no_ack: bool,
    /// How messages are told apart in a stream: line, nul, length (4 bytes, big-endian, before each), whole (the whole
    /// stream is one), read (each read is one, as in the tutorial) [default: line]
    #[arg(long, value_name = "HOW", value_parser = framing)]
    pub(super) framing: Option<Framing>,
    /// The longest message; a longer one is refused. 0 is no limit [default: 64K; 1M for length and whole]
    #[arg(long, value_name = "SIZE", env = "WILCO_MAX_MESSAGE", value_parser = size)]
    pub(super) max_message: Option<usize>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Send messages and show their acknowledgements.
///
/// On a terminal it asks for a message, sends it, shows the acknowledgement and ends. Otherwise each line of standard input is a
/// message. The exit status is 0 only if every message was acknowledged.
#[derive(Args, Debug)]
#[command(after_long_help = exit_statuses())]
pub(super) struct ClientArgs {
    /// Where to connect: HOST PORT, or an address such as HOST:PORT, PORT, udp:HOST:PORT, unix:PATH, unix-dgram:@NAME,
    /// vsock:CID:PORT, exec:COMMAND; socket options follow, in quotes: 'db:5432?nodelay&keepalive=30s'. Of several, the first
    /// that answers
    #[arg(required = true, value_name = "HOST PORT | ADDRESS")]
    pub(super) addresses: Vec<OsString>,
    /// Send TEXT; may be given several times
    #[arg(short, long = "message", value_name = "TEXT", conflicts_with = "interactive")]
    pub(super) messages: Vec<String>,
    /// Ask for messages until the end of input, with line editing and history
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Expect no acknowledgements: status 0 then only means that all was sent and the other side ended in order
    #[arg(long)]
    pub(super) no_ack: bool,
    /// How long to wait for an acknowledgement
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WILCO_TIMEOUT", value_parser = time)]
    pub(super) timeout: Duration,
    /// How long connecting may take, look-ups and all addresses together
    #[arg(long, value_name = "TIME", default_value = "10s", env = "WILCO_CONNECT_TIMEOUT", value_parser = time)]
    pub(super) connect_timeout: Duration,
    /// Wait until the server is there, for as long as TIME or else for ever
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, value_parser = time)]
    pub(super) wait: Option<Option<Duration>>,
    /// Try to connect again so many times, with growing pauses
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) retry: u32,
    /// The local address to send from: an IP address, a host, :PORT, HOST:PORT; for Unix sockets a path or @NAME
    #[arg(long, value_name = "ADDR")]
    pub(super) source: Option<String>,
    /// How messages are told apart in a stream, and in standard input: line, nul, length (4 bytes, big-endian, before each),
    /// whole (all of it is one), read
    #[arg(long, value_name = "HOW", default_value = "line", value_parser = framing)]
    pub(super) framing: Framing,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Ask for hosts, services, protocols, networks, DNS records, or what the kernel tells of a socket.
#[derive(Args, Debug)]
#[command(arg_required_else_help = false)]
pub(super) struct LookupArgs {
    #[command(subcommand)]
    pub(super) what: Lookup,
    /// Print JSON: one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Lookup {
    /// The addresses of a host, or the name of an address
    Host {
        /// A name such as cheerios, or an IP address
        host: String,
    },
    /// The port of a service, or the service of a port (services(5))
    Service {
        /// A name such as http, or a port
        service: String,
        /// Only of this protocol: tcp, udp, ...
        #[arg(long, value_name = "NAME")]
        protocol: Option<String>,
    },
    /// The number of a protocol, or its name (protocols(5))
    Protocol {
        /// A name such as tcp, or a number
        protocol: String,
    },
    /// The address of a network, or its name (networks(5))
    Network {
        /// A name such as loopback, or an address
        network: String,
    },
    /// The DNS records of a name
    Dns {
        /// A domain name, or an IP address for its PTR record
        name: String,
        /// A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, ...; without one A and AAAA
        record_type: Option<String>,
        /// Ask this server instead of those in resolv.conf(5)
        #[arg(long, value_name = "IP[:PORT]")]
        server: Option<String>,
    },
    /// What the kernel tells of a socket that connects to an address: attributes, and every option with its default
    Socket {
        /// Where to connect, as for the client
        #[arg(required = true, value_name = "HOST PORT | ADDRESS")]
        address: Vec<OsString>,
        #[command(flatten)]
        common: Common,
    },
    /// The table of socket options that an address can have
    Options,
}

/// See the exchange: a server on a free port and a client at its prompt, in this terminal.
///
/// With standard input not a terminal the message is taken from there.
#[derive(Args, Debug)]
pub(super) struct TryArgs {
    /// Show each socket call of both
    #[arg(long)]
    pub(super) trace: bool,
}

/// Print the completions for a shell.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

/// Write the manual pages into a directory.
#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// The directory, which is made if it is not there
    pub(super) directory: PathBuf,
}

/// The definition of a program's arguments.
pub(super) fn definition(program: Program) -> clap::Command {
    // Of an option that is given twice the last counts, so that an alias can be overruled.
    match program {
        Program::Wilco => Wilco::command().mut_subcommands(|command| command.args_override_self(true)),
        Program::Server => of_command::<ServerArgs>("server"),
        Program::Client => of_command::<ClientArgs>("client"),
    }
}

/// How a program is called, in a line.
pub(super) fn synopsis(program: Program) -> &'static str {
    match program {
        Program::Wilco => "wilco COMMAND [OPTIONS]: server, client, lookup, try, completions, man",
        Program::Server => "server PORT, or server ADDRESS...",
        Program::Client => "client HOST PORT, or client ADDRESS...",
    }
}

/// What is missing where nothing was given.
pub(super) fn missing(program: Program) -> &'static str {
    match program {
        // clap says which of the command's it is.
        Program::Wilco => "",
        Program::Server => "a port or an address to listen on is missing",
        Program::Client => "a host and a port, or an address, to connect to is missing",
    }
}

/// The endpoints of a server.
pub(super) fn server_endpoints(words: &[OsString]) -> Result<Vec<Endpoint>, Error> {
    if let Some((host, port)) = host_and_port(words)? {
        return Err(Error::usage(format!("`{host} {port}` is how a client is told where to connect"))
            .hinting(format!("write {host}:{port} to listen on an address of that host, or {port} to listen on all")));
    }
    endpoints(words)
}

/// The endpoints of a client: the tutorial's two words, or any number of addresses.
pub(super) fn client_endpoints(words: &[OsString]) -> Result<Vec<Endpoint>, Error> {
    if let [_, _, message @ ..] = words
        && !message.is_empty()
        && let Some((host, port)) = host_and_port(&words[..2])?
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        let message: Vec<_> = message.iter().map(|word| word.to_string_lossy()).collect();
        return Err(Error::usage(format!("`{}` is no address", message.join(" ")))
            .hinting(format!("a message is given with -m, as in {host} {port} -m '{}'", message.join(" "))));
    }
    if let [port, host] = words
        && port.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
        && host_and_port(&[host.clone(), port.clone()])?.is_some()
    {
        let (host, port) = (host.to_string_lossy(), port.to_string_lossy());
        return Err(Error::usage(format!("`{host}` is no address by itself"))
            .hinting(format!("the host comes first: {host} {port}")));
    }
    match host_and_port(words)? {
        Some((host, port)) => Ok(vec![Endpoint::from_host_and_port(host, port)?]),
        None => endpoints(words),
    }
}

fn endpoints(words: &[OsString]) -> Result<Vec<Endpoint>, Error> {
    words.iter().map(|word| text(word)?.parse()).collect()
}

fn host_and_port(words: &[OsString]) -> Result<Option<(&str, &str)>, Error> {
    let [host, port] = words else { return Ok(None) };
    let (host, port) = (text(host)?, text(port)?);
    let is_port = !port.split('?').next().unwrap_or_default().contains([':', '/', '@']);
    Ok((is_port && is_host(host)).then_some((host, port)))
}

/// Whether a word is the host of the two: a name or an IP address, and no address by itself.
fn is_host(word: &str) -> bool {
    let bare = word.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(word);
    let is_ipv6 = bare.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name =
        !word.contains([':', '/', '@', '?']) && word != "-" && word.bytes().any(|byte| !byte.is_ascii_digit());
    is_ipv6 || is_name
}

fn text(word: &OsString) -> Result<&str, Error> {
    word.to_str().ok_or_else(|| {
        Error::usage(format!("`{}` is not UTF-8", word.to_string_lossy()))
            .hinting("write bytes that are not as %XX: unix:/tmp/%FF")
    })
}

fn framing(name: &str) -> Result<Framing, String> {
    name.parse()
}

fn size(text: &str) -> Result<usize, String> {
    let size = parse_size(text).map_err(|error| described(&error))?;
    usize::try_from(size).map_err(|_| format!("`{text}` is more than this machine can address"))
}

fn time(text: &str) -> Result<Duration, String> {
    parse_time(text).map_err(|error| described(&error))
}

fn described(error: &Error) -> String {
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}: {hint}"))
}

fn exit_statuses() -> String {
    let lines = Exit::ALL.iter().map(|(_, number, meaning)| format!("  {number}  {meaning}\n"));
    format!("Exit status:\n{}", lines.collect::<String>())
}

fn of_command<A: Args>(name: &'static str) -> clap::Command {
    A::augment_args(clap::Command::new(name).args_override_self(true).bin_name(name).version(env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;
    use crate::net::CONNECT_TIMEOUT;
    use crate::service::ACKNOWLEDGEMENT_TIMEOUT;

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let matches = definition(Program::Client).get_matches_from(["client", "51717"]);
        let args = ClientArgs::from_arg_matches(&matches).expect("arguments");
        assert_eq!((args.timeout, args.connect_timeout), (ACKNOWLEDGEMENT_TIMEOUT, CONNECT_TIMEOUT));
    }

    #[test]
    fn two_words_are_a_host_and_a_port() {
        let table: [(&[&str], &[&str]); 9] = [
            (&["cheerios", "51717"], &["tcp:cheerios:51717"]),
            (&["::1", "51717"], &["tcp:[::1]:51717"]),
            (&["[::1]", "ftp"], &["tcp:[::1]:ftp"]),
            (&["fe80::1%eth0", "80"], &["tcp:[fe80::1%eth0]:80"]),
            (&["10.0.0.7", "80?nodelay"], &["tcp:10.0.0.7:80?nodelay"]),
            (&["51717"], &["tcp:51717"]),
            (&["51717", "51718"], &["tcp:51717", "tcp:51718"]),
            (&["a:1", "b:2"], &["tcp:a:1", "tcp:b:2"]),
            (&["unix:/run/x", "b:2", "udp:53"], &["unix:/run/x", "tcp:b:2", "udp:53"]),
        ];
        for (words, endpoints) in table {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            let parsed = client_endpoints(&words).expect("endpoints");
            assert_eq!(parsed.iter().map(ToString::to_string).collect::<Vec<_>>(), endpoints);
        }
    }
}
