//! The arguments of a server's limits, and of whom it lets in.
//!
//! Apart from the server's other arguments, because they are many and whatever serves has them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::value;
use crate::net::Names;
use crate::service::access::{AccessRules, Rule};
use crate::service::limits::{Limits, MAX_CONNECTIONS, MAX_PER_PEER, Rate};

// How much a server takes on. (A doc comment would become the help of the command.)
#[derive(Args, Clone, Debug)]
pub(in crate::app) struct LimitArgs {
    /// The most connections at once; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = MAX_CONNECTIONS, env = "WILCO_MAX_CONNECTIONS", help_heading = "Limits")]
    max_connections: usize,
    /// The most connections at once of one peer: an IPv4 address, an IPv6 network of 64 bits, a user at a Unix socket; 0 is no
    /// limit
    #[arg(long, value_name = "N", default_value_t = MAX_PER_PEER, env = "WILCO_MAX_PER_PEER", help_heading = "Limits")]
    max_per_peer: usize,
    /// How fast connections of one peer may come, and datagrams, each one counted: 100/s, 10/m, 1/h; without a unit it is a
    /// second. What comes to a second may come at once, but at least one. 0 is no limit [default: 0]
    #[arg(long, value_name = "N[/s|/m|/h]", value_parser = rate, help_heading = "Limits")]
    rate: Option<MaybeRate>,
    /// How long a connection that has sent neither a whole message nor 1 KiB of one yet keeps its place while others wait for one: then the
    /// one that has been so for the longest is ended. While there are places, none is. 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = value::time, help_heading = "Limits")]
    handshake_timeout: Duration,
    /// How long a connection may go without a whole message; 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = value::time, help_heading = "Limits")]
    idle_timeout: Duration,
    /// How long a client may leave an answer unread; 0 is no limit
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = value::time, help_heading = "Limits")]
    write_timeout: Duration,
}

// Whom a server lets in.
#[derive(Args, Clone, Debug)]
pub(in crate::app) struct AccessArgs {
    /// Let in only who matches a RULE, by whatever socket: 10.0.0.1, 10.0.0.0/8, 10.0.0.1-9, a host's name, uid:USER and gid:GROUP
    /// at Unix sockets, cid:NUMBER, unix, vsock, any. Several with commas, or the option several times
    #[arg(long, value_name = "RULE", value_delimiter = ',', value_parser = value::rule, help_heading = "Access")]
    allow: Vec<Rule>,
    /// Keep out who matches a RULE, written as for --allow, even if it is allowed
    #[arg(long, value_name = "RULE", value_delimiter = ',', value_parser = value::rule, help_heading = "Access")]
    deny: Vec<Rule>,
    /// As --allow, with the rules in a file: one a line, # begins a comment. Without a rule in it nobody is let in
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    allow_file: Vec<PathBuf>,
    /// As --deny, with the rules in a file
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    deny_file: Vec<PathBuf>,
}

/// A rate, or the 0 that is none.
#[derive(Clone, Copy, Debug)]
struct MaybeRate(Option<Rate>);

impl LimitArgs {
    pub(in crate::app) fn limits(&self) -> Limits {
        let unless_zero = |time: Duration| Some(time).filter(|time| !time.is_zero());
        Limits {
            max_connections: self.max_connections,
            max_per_peer: self.max_per_peer,
            rate: self.rate.and_then(|rate| rate.0),
            handshake_timeout: unless_zero(self.handshake_timeout),
            idle_timeout: unless_zero(self.idle_timeout),
            write_timeout: unless_zero(self.write_timeout),
        }
    }
}

impl AccessArgs {
    pub(in crate::app) fn rules(&self, names: Names) -> AccessRules {
        AccessRules {
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            allow_files: self.allow_file.clone(),
            deny_files: self.deny_file.clone(),
            names,
        }
    }
}

fn rate(text: &str) -> Result<MaybeRate, String> {
    match text {
        "0" => Ok(MaybeRate(None)),
        _ => value::rate(text).map(|rate| MaybeRate(Some(rate))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Both {
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        access: AccessArgs,
    }

    fn parse(words: &[&str]) -> Result<Both, clap::Error> {
        Both::try_parse_from([&["server"], words].concat())
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let both = parse(&[]).expect("no arguments");
        assert_eq!(both.limits.limits(), Limits::default());
        assert!(both.access.rules(Names::LookUp).is_empty());
    }

    #[test]
    fn zero_is_no_limit() {
        let words = [
            "--max-connections=0",
            "--max-per-peer=0",
            "--rate=0",
            "--handshake-timeout=0",
            "--idle-timeout=0",
            "--write-timeout=0s",
        ];
        let limits = parse(&words).expect("zeros").limits.limits();
        let none = Limits {
            max_connections: 0,
            max_per_peer: 0,
            rate: None,
            handshake_timeout: None,
            idle_timeout: None,
            write_timeout: None,
        };
        assert_eq!(limits, none);
    }

    #[test]
    fn become_what_the_service_takes() {
        let words = [
            "--max-connections=9",
            "--max-per-peer=8",
            "--rate=10/m",
            "--handshake-timeout=4s",
            "--idle-timeout=7m",
            "--write-timeout=6",
        ];
        let limits = parse(&words).expect("limits").limits.limits();
        assert_eq!((limits.max_connections, limits.max_per_peer), (9, 8));
        assert_eq!(limits.rate.map(|rate| rate.to_string()).as_deref(), Some("10/m"));
        assert_eq!(limits.handshake_timeout, Some(Duration::from_secs(4)));
        assert_eq!(
            (limits.idle_timeout, limits.write_timeout),
            (Some(Duration::from_secs(420)), Some(Duration::from_secs(6)))
        );
        let words = [
            "--allow=10.0.0.0/8,uid:alice",
            "--allow",
            "fd00::/8",
            "--deny=10.0.0.1-9",
            "--deny-file=a",
            "--deny-file=b",
            "--allow-file=c",
        ];
        let rules = parse(&words).expect("rules").access.rules(Names::Numeric);
        let texts = |rules: &[Rule]| rules.iter().map(Rule::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&rules.allow), ["10.0.0.0/8", "uid:alice", "fd00::/8"]);
        assert_eq!(texts(&rules.deny), ["10.0.0.1-9"]);
        assert_eq!((rules.allow_files, rules.deny_files), (vec!["c".into()], vec!["a".into(), "b".into()]));
        assert_eq!(rules.names, Names::Numeric);
    }

    #[test]
    fn mistakes_are_told_with_what_to_type() {
        for (word, error) in [
            ("--allow=10.0.0.1/8", "write 10.0.0.0/8 for the network, or 10.0.0.1 for the address"),
            ("--allow=", "a rule is empty"),
            ("--deny=10.0.0.1,,10.0.0.2", "a rule is empty"),
            ("--deny=*.example.org", "name each host"),
            ("--rate=fast", "100/s, 10/m, 1/h"),
            ("--rate=10/d", "100/s, 10/m, 1/h"),
            ("--max-connections=-1", "invalid digit"),
            ("--idle-timeout=soon", "is not"),
        ] {
            let found = parse(&[word]).expect_err(word).to_string();
            assert!(found.contains(error), "{word}: {found}");
        }
    }
}
