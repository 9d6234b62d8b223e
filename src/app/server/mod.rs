//! `server`: listens, handles messages and acknowledges each.
//!
//! Apart from the service, which serves: here is in which order a process becomes a server, and what ends it.

mod running;
mod save;
mod services;
mod settings;
mod store;

use crate::net::{Endpoint, ListenConfig, Listener, keep_from_programs, open_files, plain};
use crate::service::{Gate, Limits, ServerConfig};

use super::args::{self, ServerArgs};
use super::json::{Events, Handled};
use super::privileges::{ProgramsAsRoot, check_programs_as_root};
use super::programs::Programs;
use super::runtime::{block_on_and_join, block_on_workers, default_workers};
use super::sandbox::{self, Sandbox};
use super::screen::StandardOutput;
use super::supervisor::Supervisor;
use super::traffic::Traffic;
use super::{Exit, inetd, report};
use running::Running;

/// How many descriptors a server keeps, where there are enough, beside those of its clients: standard streams, listeners, the runtime, files that are
/// read anew.
const OWN_FILES: usize = 64;

pub(super) fn run(args: ServerArgs) -> anyhow::Result<Exit> {
    let verbosity = args.common.verbosity();
    report::start(verbosity, args.output.json);
    let endpoints = args::server_endpoints(&args.addresses)?;
    settings::check(&args, &endpoints)?;
    let listening = ListenConfig {
        family: args.common.family(),
        names: args.common.names(),
        tap: Traffic::tap(args.output.hex, args.output.dump.as_deref())?,
        socket_file: settings::socket_file(&args.socket_file, &endpoints)?,
        ..ListenConfig::default()
    };
    let config = ServerConfig {
        framing: args.framing.unwrap_or_default(),
        max_message: args.max_message,
        acknowledgement: (!args.no_ack).then(|| args.ack.clone()),
        conversations: settings::conversations(&args),
        limits: bounded(args.limits.limits()),
        name: args.running.name.clone().unwrap_or_else(settings::host_name),
        ..ServerConfig::default()
    };
    let rules = args.access.rules(args.common.names());
    let account = settings::account(&args.running)?;
    let programs = Programs::asked_for(&args.programs, &endpoints, account.as_ref())?;
    if programs.is_some() {
        let allowed = if args.allow_root { ProgramsAsRoot::Allowed } else { ProgramsAsRoot::Refused };
        check_programs_as_root(allowed, account.as_ref())?;
        keep_from_programs()?;
    }

    // First what needs privileges and files, then what takes them away, both before there is a second thread; clients last.
    let supervisor = Supervisor::of_environment();
    let screen = StandardOutput::open()?;
    let (listeners, access) = block_on_and_join(async {
        let access = rules.load().await?;
        let listeners = listen(&endpoints, &listening).await?;
        for listener in &listeners {
            settings::check_that_some_are_let_in(listener, &access)?;
        }
        Ok((listeners, access))
    })?;
    inetd::spare_peer(&endpoints)?;
    let store = args.store.as_deref().map(|path| store::open(path, account.as_ref())).transpose()?;
    let directory = args.saving.save.as_deref().map(save::open).transpose()?;
    if let Some(account) = &account {
        account.assume()?;
        tracing::info!("running as {account}");
    }
    if let Some(programs) = &programs {
        programs.check()?;
    }
    if let (Some(directory), Some(path)) = (&directory, &args.saving.save) {
        save::check(directory, path)?;
    }
    if !args.running.no_sandbox {
        let programs = if programs.is_some() { sandbox::Programs::Some } else { sandbox::Programs::None };
        let removes_in = settings::socket_directories(&endpoints);
        let mut writes_to = args.store.as_deref().map(store::written).unwrap_or_default();
        writes_to.extend(args.saving.save.as_deref().map(save::written));
        let kept = Sandbox { removes_in, writes_to, programs }.enter();
        tracing::info!("sandbox: {kept}");
    }
    let gate = Gate::from(access);
    let conversations = config.conversations;
    let config = ServerConfig { gate: gate.clone(), ..config };
    let store = store.map(store::start).transpose()?;
    let handled = match (&store, &directory) {
        (Some(_), _) => Handled::Stored,
        (None, Some(_)) => Handled::Saved,
        (None, None) => Handled::Acknowledged,
    };
    let events = args.output.json.then(|| Events::new(screen.clone(), handled));
    let server = match (&store, directory) {
        (Some(store), _) => services::storing(store, config, events.as_ref()),
        (None, Some(directory)) => services::saving(&args, directory, config, &screen, events.as_ref()),
        (None, None) => services::chosen(&args, config, programs, &screen, events.as_ref()),
    };
    let says_notices = verbosity.says_notices();
    let workers = args.running.workers.unwrap_or_else(default_workers);
    block_on_workers(
        workers,
        Running { conversations, listeners, screen, supervisor, says_notices, rules, gate, events, store }
            .serve(server),
    )
}

/// Takes as many descriptors as this process may have, and no more connections than there are descriptors for: whoever comes
/// then is told that there are too many, which is better than to run out.
fn bounded(limits: Limits) -> Limits {
    let files = match open_files::raise() {
        Ok(files) => usize::try_from(files).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::info!("the limit of open files stays as it is: {}", plain(&error));
            return limits;
        }
    };
    let most = files.saturating_sub(OWN_FILES).max(files / 2).max(1);
    if limits.max_connections > most {
        tracing::info!("open files are limited to {files}, and connections therefore to {most}");
    }
    Limits { max_connections: limits.max_connections.min(most), ..limits }
}

async fn listen(endpoints: &[Endpoint], config: &ListenConfig) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for endpoint in endpoints {
        listeners.push(config.listen(endpoint).await?);
    }
    Ok(listeners)
}
