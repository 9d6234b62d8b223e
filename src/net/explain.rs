//! What to do about a failed bind or connect: who holds the address, which type is there, what is missing.
//!
//! Apart from the calls that fail: this looks around the machine after the fact, and only to say more than the error number does.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::errno::Errno;
use socket2::Type;

use super::endpoint::{Endpoint, Target};
use super::socket_file::probe;
use super::{Addr, Error, UnixName, endpoint, owners};

/// Adds to an error of connecting what the user can do.
pub(super) fn failed_connect(error: Error, endpoint: &Endpoint, tried: Type) -> Error {
    let Some(errno) = error.errno() else { return error };
    let addr = error.addr().cloned();
    match (errno, &endpoint.target, addr) {
        (Errno::EPROTOTYPE, Target::Unix { name, .. }, _) => wrong_unix_type(error, name, tried),
        (Errno::ECONNREFUSED, Target::Unix { name: UnixName::Abstract(_), .. }, _) => {
            error.hinting("nothing listens at that name: start the server first")
        }
        (Errno::ECONNREFUSED, Target::Unix { name: UnixName::Path(path), .. }, _) if !is_socket(path) => {
            error.hinting("that file is no socket: check the path")
        }
        (Errno::ECONNREFUSED, Target::Unix { .. }, _) => {
            error.hinting("the socket file is left over and nothing listens there: start the server first")
        }
        (Errno::ENOENT, ..) => error.hinting("there is no such socket file: start the server first, or check the path"),
        (Errno::ECONNREFUSED, _, Some(Addr::Inet(addr))) => match owners::other_type(&addr, tried) {
            Some(other) => {
                let (has, use_it) = (type_name(other), endpoint::written(&Addr::Inet(addr), other));
                error.hinting(format!("a {has} socket is there: use {use_it}"))
            }
            None => error.hinting("nothing listens there: start the server first, or check host and port"),
        },
        (Errno::EACCES | Errno::EPERM, Target::Unix { .. }, _) => {
            error.hinting("the permissions of the socket file or its directory do not allow it")
        }
        (Errno::EACCES, Target::Inet { .. }, _) => {
            error.hinting("the network does not allow it, or this is a broadcast address: then add ?broadcast")
        }
        (Errno::EADDRNOTAVAIL, ..) if error.operation() == "bind" => {
            error.hinting("the source address is none of this machine")
        }
        (Errno::EADDRNOTAVAIL, ..) => {
            error.hinting("this machine has no address or no free port from which that one can be reached")
        }
        (Errno::EINVAL, _, Some(Addr::Inet(std::net::SocketAddr::V6(addr))))
            if addr.ip().is_unicast_link_local() && addr.scope_id() == 0 =>
        {
            error.hinting(format!("a link-local address needs its interface beside it, as in {}%eth0", addr.ip()))
        }
        (Errno::ENETUNREACH | Errno::EHOSTUNREACH, ..) => error.hinting("there is no way to that host from here"),
        (Errno::ECONNRESET | Errno::ENODEV, Target::Vsock { .. }, _) => {
            error.hinting("nothing listens there, or there is no such machine")
        }
        _ => error,
    }
}

/// Adds to an error of listening what the user can do.
pub(super) fn failed_bind(error: Error, tried: Type) -> Error {
    let Some(errno) = error.errno() else { return error };
    let Some(addr) = error.addr().cloned() else { return error };
    match (errno, &addr) {
        (Errno::EADDRINUSE, _) => {
            let other = match addr {
                Addr::Unix(_) => "choose another path or name",
                _ => "choose another port, or 0 for a free one",
            };
            let holder = owners::holder(&addr, tried);
            let own_pid = i32::try_from(std::process::id()).ok();
            let is_own =
                holder.as_ref().and_then(|holder| holder.process.as_ref()).map(|process| process.pid) == own_pid;
            error.hinting(match holder {
                Some(_) if is_own => "the address was given twice, or one of several includes it".to_owned(),
                Some(holder) => format!("it is held by {holder}: end that, or {other}"),
                None => format!(
                    "it is held by something that cannot be seen from here, or by a connection that has ended within the \
                     last minute and whose socket did not allow to share it (SO_REUSEADDR): {other}"
                ),
            })
        }
        (Errno::EACCES | Errno::EPERM, Addr::Inet(addr)) if addr.port() < 1024 => {
            error.hinting("ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose one from 1024 up")
        }
        (Errno::EACCES | Errno::EPERM | Errno::EROFS, Addr::Unix(_)) => {
            error.hinting("the socket file cannot be made in that directory: choose another")
        }
        (Errno::ENOENT, Addr::Unix(_)) => error.hinting("there is no such directory: make it, or choose another"),
        (Errno::EADDRNOTAVAIL, Addr::Inet(_)) => {
            error.hinting("a server listens on an address of its own machine; a port alone takes every one")
        }
        _ => error,
    }
}

/// A Unix socket of another type is at that name: says which, and how to write it.
fn wrong_unix_type(error: Error, name: &UnixName, tried: Type) -> Error {
    let found = owners::unix_type(name).or_else(|| match name {
        // The kernel tells of sockets of this network namespace only; connecting tells of all.
        UnixName::Path(path) if tried != Type::DGRAM => Some(match probe(path) {
            Ok(()) => Type::DGRAM,
            Err(_) if tried == Type::STREAM => Type::SEQPACKET,
            Err(_) => Type::STREAM,
        }),
        _ => None,
    });
    let written = |socket_type| endpoint::written(&Addr::Unix(name.clone()), socket_type);
    match found {
        Some(other) => {
            Error::usage(format!("{} is a {} socket: use {}", written(tried), type_name(other), written(other)))
        }
        None => {
            error.hinting(format!("the socket there is of another type: unix:, unix-dgram: or unix-seqpacket:{name}"))
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// The name of a socket type, as one says it.
pub(super) fn type_name(socket_type: Type) -> &'static str {
    match socket_type {
        Type::STREAM => "stream",
        Type::DGRAM => "datagram",
        Type::SEQPACKET => "sequenced-packet",
        _ => "raw",
    }
}
