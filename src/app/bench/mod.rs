//! `bench`: measures servers, and tells what was found as a table, as JSON, or as a picture.
//!
//! Apart from the measuring itself, which is [`crate::service::bench`]: here is what is chosen and how it is shown.

mod json;
mod plot;
mod table;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::args::{self, BenchArgs};
use super::runtime::block_on;
use super::{Exit, report, screen};
use crate::net::{Connector, Error};
use crate::service::bench::{Measured, Memory, Part, Plan, Target, measure};
use plot::Curve;

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    report::start(args.common.verbosity(), false);
    let endpoints = args::client_endpoints(&args.addresses)?;
    let plan = args.plan();
    // A mistake is told before anything is measured.
    plan.pid.map(Memory::of).transpose()?;
    if plan.rate.is_some() && !args.only.is_empty() && !args.only.contains(&Part::RoundTrip) {
        return Err(Error::usage("--rate is for the round trip").hinting("add round-trip to --only").into());
    }
    raise_file_limit();
    let connector = Connector {
        timeout: args.connect_timeout,
        family: args.common.family(),
        names: args.common.names(),
        ..Connector::default()
    };
    // One that cannot be written is told before anything is measured, too.
    let open = |path: &PathBuf| std::fs::File::create(path).with_context(|| format!("write {}", path.display()));
    let mut curves = Vec::new();
    let mut picture = None;
    for (number, endpoint) in endpoints.iter().enumerate() {
        let target = block_on(async { Ok(Target::find(endpoint, &connector).await?) })?;
        let parts = chosen(&args.only, &target, &plan)?;
        if let (Some(path), None) = (&args.plot, &picture) {
            check_plot(&parts)?;
            picture = Some(open(path)?);
        }
        let head = if number > 0 { "\n".to_owned() } else { String::new() } + &table::head(&target.name(), &plan);
        let mut showing = Showing { args, plan: &plan, head: (!args.json).then_some(head), curves: &mut curves };
        for part in parts {
            showing.measure(part, &target)?;
        }
    }
    if let (Some(path), Some(mut picture)) = (&args.plot, picture) {
        let written = picture.write_all(plot::svg(&curves).as_bytes());
        written.with_context(|| format!("write {}", path.display()))?;
    }
    Ok(Exit::Done)
}

fn check_plot(parts: &[Part]) -> Result<(), Error> {
    let timed = [Part::RoundTrip, Part::Connections, Part::Connect];
    match parts.iter().any(|part| timed.contains(part)) {
        true => Ok(()),
        false => Err(Error::usage("--plot draws how long messages took, and nothing of that is measured")
            .hinting("add round-trip, connections or connect to --only")),
    }
}

/// The parts to be measured. Memory comes first: what a server has freed it may give to the next without asking for more.
fn chosen(only: &[Part], target: &Target, plan: &Plan) -> Result<Vec<Part>, Error> {
    let mut parts: Vec<Part> = Part::ALL.map(|(part, _)| part).to_vec();
    match only {
        [] => parts.retain(|part| part.fits(target) && (*part != Part::Idle || plan.pid.is_some())),
        _ => parts.retain(|part| only.contains(part)),
    }
    if let Some(part) = parts.iter().find(|part| !part.fits(target)) {
        let possible = Part::ALL.into_iter().filter(|(part, _)| part.fits(target)).map(|(_, name)| name);
        let possible: Vec<_> = possible.collect();
        return Err(Error::usage(format!("{} cannot be measured over `{}`", part.name(), target.name()))
            .hinting(format!("what can be is {}", possible.join(", "))));
    }
    parts.sort_by_key(|part| *part != Part::Idle || plan.pid.is_none());
    Ok(parts)
}

/// How what is found of one server is shown.
struct Showing<'a> {
    args: &'a BenchArgs,
    plan: &'a Plan,
    /// What stands above the first line, until that is printed.
    head: Option<String>,
    curves: &'a mut Vec<Curve>,
}

impl Showing<'_> {
    fn measure(&mut self, part: Part, target: &Target) -> anyhow::Result<()> {
        let progress = Progress::begin(part, self.args.common.verbosity().says_notices());
        let mut printed = Ok(());
        let measured = measure(part, target, self.plan, |found| {
            progress.clear();
            if printed.is_ok() {
                printed = self.print(&found, target);
            }
            self.curves.extend(curve(&found, &target.name()));
            progress.show();
        });
        progress.clear();
        measured.with_context(|| format!("{} with {}", part.name(), target.name()))?;
        Ok(printed?)
    }

    fn print(&mut self, found: &Measured, target: &Target) -> io::Result<()> {
        match self.args.json {
            true => screen::print(&json::line(found, &target.name(), self.plan)),
            false => screen::print(&(self.head.take().unwrap_or_default() + &table::row(found))),
        }
    }
}

/// What a part has found of how long messages took, for the picture.
fn curve(found: &Measured, address: &str) -> Option<Curve> {
    let (what, latencies) = match found {
        Measured::RoundTrip(found) => (
            match found.target_rate {
                Some(rate) => format!("round trip at {}/s", table::amount(rate)),
                None => "round trip".to_owned(),
            },
            &found.latencies,
        ),
        Measured::Connections(found) => (format!("{} connections", found.connections), &found.latencies),
        Measured::Connect(found) => (format!("connect, {} at once", found.clients), &found.latencies),
        Measured::Pipelined(_) | Measured::Bulk(_) | Measured::Idle(_) => return None,
    };
    (latencies.count() > 0).then(|| Curve { name: format!("{what}, {address}"), latencies: latencies.clone() })
}

/// Lets this process open as many sockets as the system lets it.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // If it is refused, a part that needs more says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// What is being measured, on a terminal while it lasts.
struct Progress {
    part: Part,
    is_shown: bool,
}

impl Progress {
    fn begin(part: Part, wanted: bool) -> Self {
        let progress = Self { part, is_shown: wanted && io::stderr().is_terminal() };
        progress.show();
        progress
    }

    fn show(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "measuring {} ...", self.part.name());
        }
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
