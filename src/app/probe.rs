//! `probe`: says of each address whether something is there.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use serde::Serialize;

use crate::net::options::parse_time;
use crate::net::{Addr, Connector, Error, ErrorKind, Names, Port, Target, Type, lookup};
use crate::service::{Enough, Finding, Findings, Place, Probe, Screen, State};

use super::args::{self, ProbeArgs};
use super::report::Verbosity;
use super::runtime::{Signals, block_on};
use super::screen::StandardOutput;
use super::{Exit, report};

pub(super) fn run(args: ProbeArgs) -> anyhow::Result<Exit> {
    let verbosity = args.common.verbosity();
    report::start(verbosity, false);
    if args.wait == Some(None) {
        check_time_of_wait(&args.addresses)?;
    }
    let places = args::places(&args.addresses)?;
    let probe = Probe {
        connector: Connector {
            timeout: args.connect_timeout,
            local: None,
            family: args.common.family(),
            names: args.common.names(),
            tap: None,
        },
        wait: args.wait.map(|wait| wait.unwrap_or(Duration::MAX)),
        enough: if args.any { Enough::Any } else { Enough::All },
    };
    let show = Show { verbosity, json: args.json, names: args.common.names() };
    block_on(async {
        let mut signals = Signals::catch()?;
        let asked = Asked::of(&places);
        let findings = tokio::select! {
            findings = probe.start(places) => findings?,
            exit = signals.next() => return Ok(exit),
        };
        tokio::select! {
            told = tell(findings, asked, &probe, &show) => told,
            exit = signals.next() => Ok(exit),
        }
    })
}

/// A time beside `--wait` would be taken for a host.
fn check_time_of_wait(words: &[OsString]) -> Result<(), Error> {
    let first = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    match parse_time(&first) {
        Ok(_) if first.ends_with(|c: char| c.is_ascii_alphabetic()) => {
            Err(Error::usage(format!("`{first}` is a time and no address")).hinting(format!("write --wait={first}")))
        }
        _ => Ok(()),
    }
}

/// What was asked, for the summary.
struct Asked {
    addresses: usize,
    has_range: bool,
}

impl Asked {
    fn of(places: &[Place]) -> Self {
        Self { addresses: places.iter().map(Place::size).sum(), has_range: places.iter().any(Place::is_range) }
    }
}

/// Shows what is found, as it is found.
async fn tell(mut findings: Findings, asked: Asked, probe: &Probe, show: &Show) -> anyhow::Result<Exit> {
    let screen = StandardOutput::open()?;
    let (mut open, mut mistaken, mut reader_gone) = (0, false, false);
    let mut untold = None;
    // Of those that are not shown, how many are not known, and why one is not: a range without an answer may have one.
    let (mut unknown, mut why) = (0, String::new());
    while let Some(finding) = findings.next().await {
        open += usize::from(finding.is_open());
        mistaken |= finding.error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Usage);
        if finding.is_untold() && untold.is_none() {
            untold = Some(finding.place.endpoint().name().to_string());
        }
        if finding.of_range && finding.state == State::Unknown && !finding.is_untold() {
            unknown += finding.place.size();
            why = finding.reason().unwrap_or_default();
        }
        if reader_gone || !show.wants(&finding) {
            continue;
        }
        match screen.show(show.line(&finding)?.as_bytes()).await {
            // The status is still wanted; a reader that has gone has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => reader_gone = true,
            shown => shown.context("standard output")?,
        }
        if show.verbosity.level > 0
            && !finding.of_range
            && let Some(hint) = finding.error.as_ref().and_then(Error::hint)
        {
            report::notice(&format!("{}: {hint}", finding.place));
        }
    }
    if show.verbosity.says_notices() {
        if let Some(address) = untold {
            report::notice(&format!(
                "nothing can be known of UDP without sending a datagram: client {address} -m TEXT sends one and waits for the \
                 answer"
            ));
        }
        if asked.has_range && probe.enough == Enough::All {
            let verb = if open == 1 { "answers" } else { "answer" };
            let unknown = if unknown > 0 { format!(", {unknown} cannot be told: {why}") } else { String::new() };
            report::notice(&format!("{open} of {} {verb}{unknown}", asked.addresses));
        }
    }
    Ok(match probe.enough {
        Enough::Any if open > 0 => Exit::Done,
        Enough::All if open == asked.addresses => Exit::Done,
        _ if mistaken => Exit::Usage,
        _ => Exit::Unreachable,
    })
}

/// How findings are shown.
struct Show {
    verbosity: Verbosity,
    json: bool,
    names: Names,
}

/// A finding as JSON has it; what is not known is null.
#[derive(Serialize)]
struct Line {
    address: String,
    ip: Option<String>,
    port: Option<u32>,
    service: Option<String>,
    state: State,
    milliseconds: Option<f64>,
    errno: Option<String>,
    error: Option<String>,
}

impl Show {
    /// A single address is always told, unless only failures are; the ports of a range only if open, or all are wanted.
    fn wants(&self, finding: &Finding) -> bool {
        match finding.is_open() {
            true => self.verbosity.says_notices(),
            // Its host is not known: that is said once for the whole range.
            false => !finding.of_range || finding.place.is_range() || self.verbosity.level > 0,
        }
    }

    fn line(&self, finding: &Finding) -> anyhow::Result<String> {
        if self.json {
            return Ok(format!("{}\n", serde_json::to_string(&self.json_line(finding))?));
        }
        let mut line = format!("{} {}", finding.place, finding.state);
        if let Some(ip) = ip(finding).filter(|_| is_named(&finding.place)) {
            line += &format!(" at {ip}");
        }
        match finding.reason() {
            Some(reason) => line += &format!(": {reason}"),
            None => {
                line += &self.port_or_service(finding).map(|what| format!(" ({what})")).unwrap_or_default();
                line += &finding.time.map(|time| format!(", {:.1} ms", milliseconds(time))).unwrap_or_default();
            }
        }
        Ok(line + "\n")
    }

    fn json_line(&self, finding: &Finding) -> Line {
        Line {
            address: finding.place.to_string(),
            ip: ip(finding),
            port: finding.addr.as_ref().and_then(Addr::port),
            service: self.service(finding),
            state: finding.state,
            milliseconds: finding.time.map(|time| (milliseconds(time) * 1000.0).round() / 1000.0),
            errno: finding.error.as_ref().and_then(Error::errno).map(|errno: Errno| format!("{errno:?}")),
            error: finding.reason(),
        }
    }

    /// The service at a port that was given by number, or the port of a service that was given by name.
    fn port_or_service(&self, finding: &Finding) -> Option<String> {
        match &finding.place.endpoint().target {
            Target::Inet { port: Port::Service(_), .. } => {
                finding.addr.as_ref().and_then(Addr::port).map(|port| format!("port {port}"))
            }
            _ => self.service(finding),
        }
    }

    fn service(&self, finding: &Finding) -> Option<String> {
        match (&finding.place.endpoint().target, &finding.addr) {
            (Target::Inet { socket_type, .. }, Some(Addr::Inet(addr))) if self.names == Names::LookUp => {
                lookup::service_name(addr.port(), if *socket_type == Type::DGRAM { "udp" } else { "tcp" })
            }
            _ => None,
        }
    }
}

fn ip(finding: &Finding) -> Option<String> {
    match &finding.addr {
        Some(Addr::Inet(addr)) => Some(addr.ip().to_canonical().to_string()),
        _ => None,
    }
}

/// Whether which of its addresses answered cannot be seen from how it is written.
fn is_named(place: &Place) -> bool {
    match &place.endpoint().target {
        Target::Inet { host: Some(host), .. } => !matches!(lookup::literal(host, 0), Ok(Some(_))),
        Target::Inet { host: None, .. } | Target::Srv { .. } => true,
        _ => false,
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
