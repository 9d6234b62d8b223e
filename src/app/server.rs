//! `server`: listens, displays each message and acknowledges it.
//!
//! Apart from the service, which serves: here is in which order a process becomes a server, and what ends it.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::net::{
    Endpoint, Error, ListenConfig, Listener, SocketFileOptions, Target, Type, UnixName, open_files, plain,
};
use crate::service::{Conversations, Display, Handler, Reply, Server, ServerConfig};

use super::args::{self, RunningArgs, ServerArgs, SocketFileArgs};
use super::privileges::{Account, group_number, user_number};
use super::runtime::{Hangup, Request, ServerSignals, block_on, block_on_and_join};
use super::sandbox::Sandbox;
use super::screen::StandardOutput;
use super::supervisor::Supervisor;
use super::{Exit, inetd, report};

pub(super) fn run(args: ServerArgs) -> anyhow::Result<Exit> {
    let verbosity = args.common.verbosity();
    report::start(verbosity);
    let endpoints = args::server_endpoints(&args.addresses)?;
    check(&args, &endpoints)?;
    let listening = ListenConfig {
        family: args.common.family(),
        names: args.common.names(),
        socket_file: socket_file(&args.socket_file, &endpoints)?,
        ..ListenConfig::default()
    };
    let config = ServerConfig {
        framing: args.framing.unwrap_or_default(),
        max_message: args.max_message,
        acknowledgement: (!args.no_ack).then_some(args.ack),
        conversations: if args.keep_open { Conversations::Many } else { Conversations::One },
        ..ServerConfig::default()
    };
    let account = account(&args.running)?;

    // First what needs privileges and files, then what takes them away, both before there is a second thread; clients last.
    raise_limits();
    let supervisor = Supervisor::of_environment();
    let screen = StandardOutput::open()?;
    let listeners = block_on_and_join(listen(&endpoints, &listening))?;
    inetd::spare_peer(&endpoints)?;
    if let Some(account) = &account {
        account.assume()?;
        tracing::info!("running as {account}");
    }
    if !args.running.no_sandbox {
        let kept = Sandbox { removes_in: socket_directories(&endpoints), ..Sandbox::default() }.enter();
        tracing::info!("sandbox: {kept}");
    }
    block_on(async {
        let says_notices = verbosity.says_notices();
        let service = Service { config, listeners, screen, supervisor, says_notices, reread: Box::new(|| Ok(())) };
        match args.reply {
            Some(text) => service.run(Reply(text.into())).await,
            None => {
                let display = Display(service.screen.clone());
                service.run(display).await
            }
        }
    })
}

/// Errs on what cannot be meant, before anything is done.
fn check(args: &ServerArgs, endpoints: &[Endpoint]) -> Result<(), Error> {
    if let (Some(framing), Some(endpoint)) = (args.framing, endpoints.iter().find(|endpoint| carries_packets(endpoint)))
    {
        let (framing, packets) = (framing, endpoint.name());
        return Err(Error::usage(format!("the framing {framing} is for streams, and {packets} carries packets"))
            .hinting("leave --framing out: a packet is a message as it is"));
    }
    if args.reply.is_none() {
        inetd::check_display(endpoints)?;
    }
    Ok(())
}

fn carries_packets(endpoint: &Endpoint) -> bool {
    endpoint.socket_type().is_some_and(|socket_type| socket_type != Type::STREAM)
}

/// Who may connect to the Unix sockets; an error if that is asked for and there are none that have a file.
fn socket_file(args: &SocketFileArgs, endpoints: &[Endpoint]) -> Result<SocketFileOptions, Error> {
    let SocketFileArgs { socket_mode, socket_user, socket_group } = args;
    let asked = [
        ("--socket-mode", socket_mode.is_some()),
        ("--socket-user", socket_user.is_some()),
        ("--socket-group", socket_group.is_some()),
    ];
    let asked = asked.iter().find_map(|(option, is_asked)| is_asked.then_some(option));
    if let Some(option) = asked
        && !endpoints.iter().any(|endpoint| socket_path(endpoint).is_some())
    {
        let error = Error::usage(format!("{option} is for the file of a Unix socket, and no address has one"));
        let is = |wanted: fn(&Target) -> bool| endpoints.iter().any(|endpoint| wanted(&endpoint.target));
        return Err(match () {
            () if is(|target| matches!(target, Target::Unix { .. })) => {
                error.hinting("an abstract name has no permissions, everybody may connect: use a path")
            }
            () if is(|target| matches!(target, Target::Systemd(_))) => {
                error.hinting("with systemd it is SocketMode=, SocketUser= and SocketGroup= of the .socket unit")
            }
            () => error.hinting("unix:PATH makes one"),
        });
    }
    let default = SocketFileOptions::default();
    Ok(SocketFileOptions {
        mode: socket_mode.unwrap_or(default.mode),
        user: socket_user.as_deref().map(user_number).transpose()?,
        group: socket_group.as_deref().map(group_number).transpose()?,
    })
}

fn socket_path(endpoint: &Endpoint) -> Option<&Path> {
    match &endpoint.target {
        Target::Unix { name: UnixName::Path(path), .. } => Some(path),
        _ => None,
    }
}

/// Whom it runs as once it listens, if that is another.
fn account(args: &RunningArgs) -> Result<Option<Account>, Error> {
    match (&args.user, &args.group) {
        (Some(user), group) => Account::of(user, group.as_deref()).map(Some),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::usage("--group is for a server that changes its user")
            .hinting("say which with --user; for the file of a Unix socket there is --socket-group")),
    }
}

/// The directories from which socket files must be removed at the end.
fn socket_directories(endpoints: &[Endpoint]) -> Vec<PathBuf> {
    let directory = |path| std::path::absolute(path).ok()?.parent().map(Path::to_owned);
    endpoints.iter().filter_map(socket_path).filter_map(directory).collect()
}

/// As many descriptors as this process may have; those of every client count.
fn raise_limits() {
    if let Err(error) = open_files::raise() {
        tracing::info!("the limit of open files stays as it is: {}", plain(&error));
    }
}

async fn listen(endpoints: &[Endpoint], config: &ListenConfig) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for endpoint in endpoints {
        listeners.push(config.listen(endpoint).await?);
    }
    Ok(listeners)
}

/// A server that is ready to serve, and all that watches over it.
struct Service {
    config: ServerConfig,
    listeners: Vec<Listener>,
    screen: Arc<StandardOutput>,
    supervisor: Supervisor,
    says_notices: bool,
    /// Reads the files anew that SIGHUP asks for. If that fails, what was read before stays in force.
    reread: Box<dyn FnMut() -> anyhow::Result<()>>,
}

impl Service {
    /// Serves until it is over or a signal ends it; a second signal does not wait for what is in hand.
    async fn run(mut self, handler: impl Handler + 'static) -> anyhow::Result<Exit> {
        let hangup = match self.config.conversations {
            Conversations::One => Hangup::Ends,
            Conversations::Many => Hangup::Reloads,
        };
        let mut signals = ServerSignals::catch(hangup)?;
        let mut watchdog = Watchdog::of(&self.supervisor);
        self.tell_ready();
        let end = Cell::new(Exit::Done);
        let (signalled, mut stop) = tokio::sync::oneshot::channel::<()>();
        let mut signalled = Some(signalled);
        let screen = self.screen.clone();
        let server = Server::new(handler, std::mem::take(&mut self.config));
        let mut serving = std::pin::pin!(server.serve(std::mem::take(&mut self.listeners), async {
            tokio::select! {
                _ = &mut stop => {}
                _ = screen.failed() => end.set(Exit::Failed),
            }
        }));
        let served = loop {
            tokio::select! {
                served = &mut serving => break served?,
                () = watchdog.is_due() => self.supervisor.alive(),
                request = signals.next() => match (request, signalled.take()) {
                    (Request::End(exit), Some(signalled)) => {
                        self.supervisor.stopping();
                        end.set(exit);
                        // It has ended by itself just now, then.
                        let _ = signalled.send(());
                    }
                    (Request::End(exit), None) => return Ok(exit),
                    (Request::Reload, Some(not_signalled)) => {
                        signalled = Some(not_signalled);
                        self.reload();
                    }
                    // What is about to end needs nothing new.
                    (Request::Reload, None) => {}
                },
            }
        };
        if signalled.is_some() {
            self.supervisor.stopping();
        }
        if served.cut_off > 0 {
            report::notice(&format!("{} conversations were cut off: they took too long to end", served.cut_off));
        }
        if end.get() == Exit::Failed {
            let error = screen.failed().await;
            // A reader that has gone has seen enough.
            if error.kind() != io::ErrorKind::BrokenPipe {
                anyhow::bail!("standard output: {}", plain(error));
            }
        }
        Ok(end.get())
    }

    fn tell_ready(&self) {
        let names: Vec<_> = self.listeners.iter().flat_map(Listener::names).collect();
        for name in names.iter().filter(|_| self.says_notices) {
            report::notice(&format!("listening on {name}"));
        }
        self.supervisor.ready(&format!("listening on {}", names.join(", ")));
    }

    fn reload(&mut self) {
        self.supervisor.reloading();
        match (self.reread)() {
            Ok(()) if self.says_notices => report::notice("reloaded"),
            Ok(()) => {}
            Err(error) => {
                report::error(&error);
                report::notice("nothing was reloaded: what was in force stays so");
            }
        }
        self.supervisor.reloaded();
    }
}

/// The beat that a supervisor wants to hear, for as long as this process handles anything at all.
struct Watchdog(Option<Interval>);

impl Watchdog {
    fn of(supervisor: &Supervisor) -> Self {
        Self(supervisor.watchdog().map(|period| {
            let mut beat = interval(period);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beat
        }))
    }

    async fn is_due(&mut self) {
        match &mut self.0 {
            Some(beat) => beat.tick().await,
            None => std::future::pending().await,
        };
    }
}
