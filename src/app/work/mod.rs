//! `work`: a command for each message of a store.
//!
//! Apart from the service, which runs it: here are arguments, signals, and what a user is told.

mod status;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::pin::pin;

use tokio::time::{Instant, sleep_until};

use super::args::WorkArgs;
use super::privileges::{ProgramsAsRoot, check_programs_as_root};
use super::runtime::{Signals, block_on};
use super::screen::StandardOutput;
use super::supervisor::Supervisor;
use super::{Exit, archives, messages, programs, report};
use crate::net::{Error, keep_from_programs};
use crate::service::store::StoreAddress;
use crate::service::work::{End, StateError, Told, Work, WorkError, Worked};
use crate::service::{DRAIN_TIMEOUT, ProcessLimits, Stop};

pub(super) fn run(args: &WorkArgs) -> anyhow::Result<Exit> {
    report::start(args.verbosity(), false);
    let state = state(args)?;
    let Some(line) = &args.run else { return status::run(args, &state) };
    let allowed = if args.allow_root { ProgramsAsRoot::Allowed } else { ProgramsAsRoot::Refused };
    check_programs_as_root(allowed, None)
        .map_err(|error| Error::usage(error.to_string()).hinting("run it as somebody else, or say --allow-root"))?;
    keep_from_programs()?;
    let command = programs::command(line, args.sh)?;
    let work = Work {
        archive: archives::open(&args.store)?,
        selection: messages::selection(&args.choice),
        state,
        command,
        limits: programs::limits(args.process_timeout, args.max_output, ProcessLimits::default()),
        delimiter: if args.exact { b"" } else { b"\n" },
        workers: args.workers,
        max_tries: (args.max_tries > 0).then_some(args.max_tries),
        end: if args.drain { End::Drained } else { End::Stopped },
    };
    block_on(serve(work, args))
}

async fn serve(work: Work, args: &WorkArgs) -> anyhow::Result<Exit> {
    let mut signals = Signals::catch()?;
    let screen = StandardOutput::open()?;
    let supervisor = Supervisor::of_environment();
    let says_notices = args.verbosity().says_notices();
    let name = work.archive.name();
    let (stopper, stop) = Stop::new();
    let hint_of = args.name.clone();
    let mut working = pin!(work.run(&screen, |told| tell(told, &hint_of), &stop));
    let mut signalled: Option<(Exit, Instant)> = None;
    // Whoever waits for it may send messages.
    supervisor.ready(&format!("working on {name}"));
    if says_notices && !args.drain {
        report::notice(&format!("working on {name}"));
    }
    let worked = loop {
        let until = signalled.map_or_else(Instant::now, |(_, until)| until);
        tokio::select! {
            worked = &mut working => break worked.map_err(described)?,
            exit = signals.next() => {
                if signalled.is_some() {
                    return Ok(exit);
                }
                supervisor.stopping();
                stopper.stop();
                signalled = Some((exit, Instant::now() + DRAIN_TIMEOUT));
            }
            () = sleep_until(until), if signalled.is_some() => {
                report::notice("commands were ended: they took too long; their messages are run again");
                break Worked::default();
            }
        }
    };
    if says_notices && args.drain {
        let Worked { done, dead, gone } = worked;
        let gone = if gone > 0 { format!(", {gone} were deleted before") } else { String::new() };
        report::notice(&format!("{done} done, {dead} dead letters{gone}"));
    }
    Ok(match (signalled, worked.dead) {
        (Some((exit, _)), _) => exit,
        (None, 1..) => Exit::Refused,
        (None, 0) => Exit::Done,
    })
}

fn tell(told: Told, work: &str) {
    match told {
        Told::PutOff { id, reason, after } => tracing::info!("message {id} is put off for {after:.1?}: {reason}"),
        Told::Dead { id, reason } => {
            tracing::warn!("message {id} is a dead letter: {reason} (wilco work STORE --name {work} --dead shows it)");
        }
        Told::Gone { place } => {
            tracing::warn!(
                "messages were deleted from the store before they were done, the first at {place}: they are skipped"
            );
        }
        Told::Away { reason } => tracing::warn!("{reason}; it is read again and again"),
        Told::Unkept { reason } => tracing::warn!("{reason}; it is tried again and again"),
    }
}

/// Where it is kept how far the work is, wherever this process goes.
fn state(args: &WorkArgs) -> anyhow::Result<PathBuf> {
    let state = match (&args.state, &args.store) {
        (Some(state), _) => state.clone(),
        (None, StoreAddress::File(store)) => beside(store, &args.name),
        (None, StoreAddress::JetStream(_)) => {
            match std::env::var_os("STATE_DIRECTORY").filter(|directory| !directory.is_empty()) {
                Some(directory) => Path::new(&directory).join(format!("work-{}.db", args.name)),
                None => {
                    return Err(Error::usage(format!(
                        "beside the store {} it cannot be kept how far the work is",
                        args.store
                    ))
                    .hinting("name a file with --state")
                    .into());
                }
            }
        }
    };
    Ok(std::path::absolute(&state)?)
}

/// The file beside a store.
fn beside(store: &Path, name: &str) -> PathBuf {
    let mut file = OsString::from(archives::followed(store));
    file.push(format!("-work-{name}.db"));
    file.into()
}

/// The error as those are of which the status and the hint are known.
fn described(error: WorkError) -> anyhow::Error {
    match error {
        WorkError::State(error) => described_state(error),
        WorkError::SetBack { .. } => Error::usage(error.to_string())
            .hinting("put back the file that says how far it was together with the store, or give another --name or --state: that begins with the oldest message")
            .into(),
        error => error.into(),
    }
}

fn described_state(error: StateError) -> anyhow::Error {
    let usage = Error::usage(error.to_string());
    match &error {
        StateError::InUse { .. } => {
            usage.hinting("one works at a time; --workers has several commands run at once").into()
        }
        StateError::Other { .. } => {
            usage.hinting("give this work another --name, or the same options as before").into()
        }
        StateError::Foreign { .. } => usage.hinting("name another file with --state").into(),
        StateError::Missing(_) => usage.hinting("it is made by who works first; is --name the same?").into(),
        StateError::Failed { .. } => error.into(),
    }
}
