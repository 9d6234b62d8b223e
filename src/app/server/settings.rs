//! What the arguments of `server` mean together: mistakes are found here, before anything is done.

use std::path::{Path, PathBuf};

use super::services;
use crate::app::args::{RunningArgs, ServerArgs, SocketFileArgs};
use crate::app::inetd;
use crate::app::privileges::{Account, group_number, user_number};
use crate::net::{Addr, Endpoint, Error, Listener, SocketFileOptions, Target, Type, UnixName};
use crate::service::store::sqlite::LONGEST;
use crate::service::{Access, Conversations};
use crate::wire::{Framing, is_harmless};

/// Rules that let nobody in at an address are a mistake that is found when the server starts.
pub(super) fn check_that_some_are_let_in(listener: &Listener, access: &Access) -> Result<(), Error> {
    for (addr, name) in listener.local_addrs().unwrap_or_default().iter().zip(listener.names()) {
        if access.is_closed_to(addr.domain()) {
            let rule = match addr {
                Addr::Inet(_) => "an address or a network, such as 10.0.0.0/8",
                Addr::Unix(_) => "unix, uid:USER or gid:GROUP",
                Addr::Vsock { .. } => "vsock or cid:NUMBER",
            };
            return Err(Error::usage(format!("nobody is let in at {name}: no allow rule is for such sockets"))
                .hinting(format!("allow {rule} too, or leave that address out")));
        }
    }
    Ok(())
}

/// Errs on what cannot be meant, before anything is done.
pub(super) fn check(args: &ServerArgs, endpoints: &[Endpoint]) -> Result<(), Error> {
    if let (Some(framing), Some(endpoint)) = (args.framing, endpoints.iter().find(|endpoint| carries_packets(endpoint)))
    {
        let (framing, packets) = (framing, endpoint.name());
        return Err(Error::usage(format!("the framing {framing} is for streams, and {packets} carries packets"))
            .hinting("leave --framing out: a packet is a message as it is"));
    }
    if args.chat {
        services::check_chat(args.framing.unwrap_or_default(), endpoints)?;
    }
    if args.store.is_some() && args.framing == Some(Framing::Read) {
        return Err(Error::usage(
            "with the framing read there are no assured sessions, and what one read gives is not worth keeping",
        )
        .hinting("leave --framing out for lines"));
    }
    if let Some(most) = args.max_message.filter(|most| args.store.is_some() && *most > LONGEST) {
        return Err(Error::usage(format!("--max-message {most} is more than a store takes: {LONGEST} bytes"))
            .hinting("with --max-message 0 that is the limit"));
    }
    let keeps = args.store.is_some() || args.saving.save.is_some();
    let displays = args.reply.is_none() && args.service.is_none() && !args.chat && !keeps;
    if displays && args.programs.run.is_none() && args.programs.exec.is_none() {
        inetd::check_display(endpoints)?;
    }
    Ok(())
}

/// When the server ends by itself: what is for many is not over with the first.
pub(super) fn conversations(args: &ServerArgs) -> Conversations {
    match args.keep_open || args.chat || args.store.is_some() || args.saving.save.is_some() {
        true => Conversations::Many,
        false => Conversations::One,
    }
}

/// What this machine calls itself, as far as others may be shown it.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|letter| is_harmless(*letter)).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

pub(super) fn carries_packets(endpoint: &Endpoint) -> bool {
    endpoint.socket_type().is_some_and(|socket_type| socket_type != Type::STREAM)
}

/// Who may connect to the Unix sockets; an error if that is asked for and there are none that have a file.
pub(super) fn socket_file(args: &SocketFileArgs, endpoints: &[Endpoint]) -> Result<SocketFileOptions, Error> {
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

pub(super) fn socket_path(endpoint: &Endpoint) -> Option<&Path> {
    match &endpoint.target {
        Target::Unix { name: UnixName::Path(path), .. } => Some(path),
        _ => None,
    }
}

/// Whom it runs as once it listens, if that is another.
pub(super) fn account(args: &RunningArgs) -> Result<Option<Account>, Error> {
    match (&args.user, &args.group) {
        (Some(user), group) => Account::of(user, group.as_deref()).map(Some),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::usage("--group is for a server that changes its user")
            .hinting("say which with --user; for the file of a Unix socket there is --socket-group")),
    }
}

/// The directories from which socket files must be removed at the end.
pub(super) fn socket_directories(endpoints: &[Endpoint]) -> Vec<PathBuf> {
    let directory = |path| std::path::absolute(path).ok()?.parent().map(Path::to_owned);
    endpoints.iter().filter_map(socket_path).filter_map(directory).collect()
}
