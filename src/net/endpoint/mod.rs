//! `Endpoint`: an address as a user writes it, such as `tcp:db:5432?nodelay` or `unix:/run/app.sock`.
//!
//! Apart from [`Addr`](super::Addr), the kernel's form: an endpoint may name a host with several addresses, a service, or
//! something that is no socket at all. Everything that can be wrong with an address is found here, in the parser.

mod parse;
mod scheme;

use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use socket2::Type;

pub(super) use scheme::written;
pub use scheme::{SCHEMES, Scheme};

use super::addr::Cid;
use super::options::Setting;
use super::{UnixName, percent};

/// What a user writes to say where: a target, and socket options for the way there.
///
/// `Display` gives the full form, which parses to the same value: `51717` prints as `tcp:51717`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Where it leads.
    pub target: Target,
    /// Socket options, set on each socket that is created for it, in this order.
    pub options: Vec<Setting>,
}

/// The kinds of places that an endpoint can lead to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// `tcp:HOST:PORT`, `udp:HOST:PORT` and their forms with 4 and 6.
    Inet {
        /// `SOCK_STREAM` for TCP, `SOCK_DGRAM` for UDP.
        socket_type: Type,
        /// Whether only IPv4 or only IPv6 is wanted.
        family: Family,
        /// A name or an IP address; none is every local address for a server and this machine for a client.
        host: Option<String>,
        /// A port or the name of a service.
        port: Port,
    },
    /// `srv:NAME`: the hosts that the DNS says offer a service (RFC 2782).
    Srv {
        /// `SOCK_STREAM` for a service over TCP, `SOCK_DGRAM` for one over UDP.
        socket_type: Type,
        /// The name of the service, such as `_wilco._tcp.example.com`.
        name: String,
    },
    /// `unix:PATH`, `unix:@NAME` and their forms for datagrams and sequenced packets.
    Unix {
        /// `SOCK_STREAM`, `SOCK_DGRAM` or `SOCK_SEQPACKET`.
        socket_type: Type,
        /// The name.
        name: UnixName,
    },
    /// `vsock:CID:PORT` and its form for sequenced packets.
    Vsock {
        /// `SOCK_STREAM` or `SOCK_SEQPACKET`.
        socket_type: Type,
        /// The machine: 2 is the host, [`Addr::CID_ANY`](crate::net::Addr::CID_ANY) any (for servers).
        cid: u32,
        /// The port.
        port: u32,
    },
    /// `fd:N`: a socket that this process was started with.
    Fd(RawFd),
    /// `systemd` or `systemd:NAME`: a socket handed over by socket activation (sd_listen_fds(3)).
    Systemd(Option<String>),
    /// `-`: standard input and output.
    Stdio,
    /// `exec:COMMAND`: a program that has the socket as its standard input and output.
    Exec(String),
    /// `file:PATH`.
    File(PathBuf),
}

/// Which version of the Internet Protocol is wanted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Family {
    /// Either.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// A port as it is written.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Port {
    /// By number; 0 takes a free one.
    Number(u16),
    /// By the name of its service, looked up in services(5).
    Service(String),
}

impl Endpoint {
    /// The socket type that it asks for, where the writing decides it.
    pub fn socket_type(&self) -> Option<Type> {
        match &self.target {
            Target::Inet { socket_type, .. }
            | Target::Srv { socket_type, .. }
            | Target::Unix { socket_type, .. }
            | Target::Vsock { socket_type, .. } => Some(*socket_type),
            Target::Exec(_) => Some(Type::STREAM),
            Target::Fd(_) | Target::Systemd(_) | Target::Stdio | Target::File(_) => None,
        }
    }

    /// The same endpoint with its options left out, as it is named in messages.
    pub fn name(&self) -> impl fmt::Display {
        &self.target
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.target)?;
        for (index, option) in self.options.iter().enumerate() {
            write!(f, "{}{option}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Scheme::of(self).name;
        match self {
            Self::Inet { host: Some(host), port, .. } if host.contains(':') => write!(f, "{name}:[{host}]:{port}"),
            Self::Inet { host: Some(host), port, .. } => write!(f, "{name}:{host}:{port}"),
            Self::Inet { host: None, port, .. } => write!(f, "{name}:{port}"),
            Self::Srv { name: service, .. } => write!(f, "{name}:{service}"),
            Self::Unix { name: unix, .. } => write!(f, "{name}:{}{unix}", slashes(&unix.to_string())),
            Self::Vsock { cid, port, .. } => write!(f, "{name}:{}:{port}", Cid(*cid)),
            Self::Fd(fd) => write!(f, "{name}:{fd}"),
            Self::Systemd(Some(socket)) => write!(f, "{name}:{socket}"),
            Self::Systemd(None) => f.write_str(name),
            Self::Stdio => f.write_str("-"),
            Self::Exec(command) => write!(f, "{name}:{command}"),
            Self::File(path) => {
                let path = percent::Encoded(path.as_os_str().as_bytes()).to_string();
                write!(f, "{name}:{}{path}", slashes(&path))
            }
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

/// What must be written before a path that begins with two slashes, which would be taken for those of `scheme://`.
fn slashes(path: &str) -> &'static str {
    if path.starts_with("//") { "//" } else { "" }
}

#[cfg(test)]
mod tests;
