//! `Endpoint`: an address as a user writes it, such as `tcp:db:5432?nodelay` or `unix:/run/app.sock`.
//!
//! Apart from [`Addr`](super::Addr), the kernel's form: an endpoint may name a host with several addresses, a service, or
//! something that is no socket at all. Everything that can be wrong with an address is found here, in the parser.

use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;

use socket2::{Domain, Type};

use super::addr::Cid;
use super::options::Setting;
use super::scheme::{self, Form, Scheme};
use super::{Addr, Error, MAX_ABSTRACT_NAME, MAX_UNIX_PATH, Result, UnixName, percent};

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
        /// The machine: 2 is the host, [`Addr::CID_ANY`] any (for servers).
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
    /// The endpoint of the tutorial's two words, `cheerios 51717`: TCP, a host, and a port or service.
    ///
    /// # Errors
    /// As for parsing an address.
    pub fn from_host_and_port(host: &str, port: &str) -> Result<Self> {
        let (port, options) = split_options(port)?;
        let host = parse_host(host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host))?;
        let target = Target::Inet { socket_type: Type::STREAM, family: Family::Any, host, port: parse_port(port)? };
        Self::checked(target, options)
    }

    /// The socket type that it asks for, where the writing decides it.
    pub fn socket_type(&self) -> Option<Type> {
        match &self.target {
            Target::Inet { socket_type, .. } | Target::Unix { socket_type, .. } | Target::Vsock { socket_type, .. } => {
                Some(*socket_type)
            }
            Target::Exec(_) => Some(Type::STREAM),
            Target::Fd(_) | Target::Systemd(_) | Target::Stdio | Target::File(_) => None,
        }
    }

    /// The endpoint of a local address to send from, for a socket like this one's: an IP address or a host, `:PORT` or
    /// `HOST:PORT`; for Unix sockets a path or `@NAME`; for vsock `CID:PORT`.
    ///
    /// # Errors
    /// As for parsing an address.
    pub fn source(&self, text: &str) -> Result<Self> {
        let scheme = Scheme::of(&self.target);
        let target = match &self.target {
            Target::Inet { socket_type, family, .. } => {
                let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
                let is_ipv6 = bare.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
                let (socket_type, family) = (*socket_type, *family);
                match text.strip_prefix(':') {
                    _ if is_ipv6 || !text.contains(':') => {
                        Target::Inet { socket_type, family, host: parse_host(bare)?, port: Port::Number(0) }
                    }
                    Some(port) => Target::Inet { socket_type, family, host: None, port: parse_port(port)? },
                    None => parse_inet(scheme, socket_type, family, text)?,
                }
            }
            Target::Unix { socket_type, .. } => {
                Target::Unix { socket_type: *socket_type, name: parse_unix_name(scheme, text)? }
            }
            Target::Vsock { socket_type, .. } => parse_vsock(scheme, *socket_type, text)?,
            other => return Err(Error::usage(format!("`{other}` has no address to send from"))),
        };
        Self::checked(target, Vec::new())
    }

    /// The same endpoint with its options left out, as it is named in messages.
    pub fn name(&self) -> impl fmt::Display {
        &self.target
    }

    fn checked(target: Target, options: Vec<Setting>) -> Result<Self> {
        let domain = match &target {
            Target::Inet { family: Family::V6, .. } => Some(Domain::IPV6),
            // Which of the two it will be shows only when it is resolved; the names of options are the same.
            Target::Inet { .. } => Some(Domain::IPV4),
            Target::Unix { .. } | Target::Exec(_) => Some(Domain::UNIX),
            Target::Vsock { .. } => Some(Domain::VSOCK),
            Target::Fd(_) | Target::Systemd(_) => None,
            Target::Stdio | Target::File(_) => {
                if let Some(option) = options.first() {
                    return Err(Error::usage(format!("`{target}` is no socket and has no option `{option}`"))
                        .hinting("leave the `?` and what follows it out"));
                }
                None
            }
        };
        let any_family = matches!(target, Target::Inet { family: Family::Any, .. });
        let endpoint = Self { target, options };
        if let (Some(domain), Some(socket_type)) = (domain, endpoint.socket_type()) {
            for option in &endpoint.options {
                let fits = option.check(domain, socket_type);
                match any_family {
                    true => fits.or_else(|error| option.check(Domain::IPV6, socket_type).map_err(|_| error))?,
                    false => fits?,
                }
            }
        }
        Ok(endpoint)
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) = Scheme::split(text)?;
        let (body, options) = match scheme.form {
            // A command may well have a `?` of its own.
            Form::Exec => (rest, Vec::new()),
            _ => split_options(rest)?,
        };
        let target = match scheme.form {
            Form::Inet(socket_type, family) => parse_inet(scheme, socket_type, family, body)?,
            Form::Unix(socket_type) => Target::Unix { socket_type, name: parse_unix_name(scheme, body)? },
            Form::Vsock(socket_type) => parse_vsock(scheme, socket_type, body)?,
            Form::Fd => Target::Fd(body.parse().ok().filter(|fd| *fd >= 0).ok_or_else(|| {
                Error::usage(format!("`{body}` is no descriptor")).hinting("fd: takes a number, such as fd:3")
            })?),
            Form::Systemd => Target::Systemd((!body.is_empty()).then(|| body.to_owned())),
            Form::Stdio if body.is_empty() => Target::Stdio,
            Form::Stdio => return Err(Error::usage(format!("stdio takes nothing behind it, and got `{body}`"))),
            Form::Exec if body.trim().is_empty() => return Err(scheme.lacks("a command")),
            Form::Exec => Target::Exec(body.to_owned()),
            Form::File if body.is_empty() => return Err(scheme.lacks("a path")),
            Form::File => Target::File(std::ffi::OsString::from_vec(percent::decode(body)).into()),
            Form::NotYet => {
                return Err(Error::usage(format!("`{}:` is not available yet", scheme.name))
                    .hinting(format!("there are {}", scheme::list())));
            }
        };
        Self::checked(target, options)
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
            Self::Unix { name: unix, .. } => write!(f, "{name}:{unix}"),
            Self::Vsock { cid, port, .. } => write!(f, "{name}:{}:{port}", Cid(*cid)),
            Self::Fd(fd) => write!(f, "{name}:{fd}"),
            Self::Systemd(Some(socket)) => write!(f, "{name}:{socket}"),
            Self::Systemd(None) => f.write_str(name),
            Self::Stdio => f.write_str("-"),
            Self::Exec(command) => write!(f, "{name}:{command}"),
            Self::File(path) => {
                use std::os::unix::ffi::OsStrExt;
                write!(f, "{name}:{}", percent::Encoded(path.as_os_str().as_bytes()))
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

fn split_options(text: &str) -> Result<(&str, Vec<Setting>)> {
    match text.split_once('?') {
        None => Ok((text, Vec::new())),
        Some((body, query)) => {
            Ok((body, query.split('&').filter(|option| !option.is_empty()).map(str::parse).collect::<Result<_>>()?))
        }
    }
}

fn parse_inet(scheme: &Scheme, socket_type: Type, family: Family, body: &str) -> Result<Target> {
    // `tcp://host:port/`, as URLs have it.
    let body = body.strip_suffix('/').unwrap_or(body);
    let (host, port) = if let Some(rest) = body.strip_prefix('[') {
        rest.split_once("]:").ok_or_else(|| scheme.lacks("a port after the `]`, as in [::1]:51717"))?
    } else {
        match body.rsplit_once(':') {
            None if body.is_empty() => return Err(scheme.lacks("a port")),
            None => ("*", body),
            Some((host, _)) if host.contains(':') => {
                return Err(Error::usage(format!(
                    "`{body}` has several colons, so that host and port cannot be told apart"
                ))
                .hinting(format!("put an IPv6 address in brackets, as in {}:[::1]:51717", scheme.name)));
            }
            Some((host, port)) => (host, port),
        }
    };
    let host = match host {
        "*" => None,
        host => parse_host(host)?,
    };
    if port.is_empty() {
        return Err(scheme.lacks("a port after the colon"));
    }
    if let Some(address) = host.as_deref().and_then(|host| host.parse::<std::net::IpAddr>().ok()) {
        let fits = match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        if !fits {
            return Err(Error::usage(format!("{address} is no address for {}:", scheme.name))
                .hinting(format!("use {}: for either version of IP", scheme.name.trim_end_matches(['4', '6']))));
        }
    }
    Ok(Target::Inet { socket_type, family, host, port: parse_port(port)? })
}

fn parse_host(host: &str) -> Result<Option<String>> {
    if host == "*" {
        return Ok(None);
    }
    if host.is_empty() {
        return Err(Error::usage("the host is missing before the colon")
            .hinting("write HOST:PORT, or the port alone: a server then listens on every address, a client connects to this machine"));
    }
    let is_ipv6 = host.split('%').next().is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    if !is_ipv6 && let Some(bad) = host.chars().find(|c| c.is_whitespace() || c.is_control() || ":/@?&[]".contains(*c))
    {
        return Err(Error::usage(format!("`{}` is no host: {bad:?} cannot be part of one", host.escape_debug()))
            .hinting("a host is a name such as cheerios, or an IP address such as 10.0.0.7 or ::1"));
    }
    Ok(Some(host.to_owned()))
}

fn parse_port(port: &str) -> Result<Port> {
    let wrong = || {
        Error::usage(format!("`{}` is no port", port.escape_debug()))
            .hinting("a port is a number from 0 to 65535 (0 takes a free one), or the name of a service such as http")
    };
    match port.bytes().all(|byte| byte.is_ascii_digit()) {
        true => port.parse().map(Port::Number).map_err(|_| wrong()),
        false if is_service_name(port) => Ok(Port::Service(port.to_owned())),
        false => Err(wrong()),
    }
}

/// A letter first, then what services(5) has in its names.
pub(super) fn is_service_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+*/".contains(&b))
        && !text.contains('/')
}

fn parse_unix_name(scheme: &Scheme, body: &str) -> Result<UnixName> {
    let (name, what, most) = match body.strip_prefix('@') {
        Some(name) => (UnixName::Abstract(percent::decode(name)), "name", MAX_ABSTRACT_NAME),
        None => (UnixName::Path(std::ffi::OsString::from_vec(percent::decode(body)).into()), "path", MAX_UNIX_PATH),
    };
    let bytes = match &name {
        UnixName::Path(path) => path.as_os_str().len(),
        UnixName::Abstract(name) => name.len(),
        UnixName::Unnamed => 0,
    };
    if bytes == 0 {
        return Err(scheme.lacks("a path, or a name that begins with @"));
    }
    if bytes > most {
        return Err(Error::usage(format!(
            "the {what} of a Unix socket has {most} bytes at the most, and this one {bytes}"
        ))
        .hinting("use a shorter one; a path may be relative to the working directory"));
    }
    if let UnixName::Path(path) = &name
        && path.as_os_str().as_encoded_bytes().contains(&0)
    {
        return Err(Error::usage("the path of a Unix socket cannot have a NUL byte"));
    }
    Ok(name)
}

fn parse_vsock(scheme: &Scheme, socket_type: Type, body: &str) -> Result<Target> {
    let form = || {
        Error::usage(format!("`{body}` is no vsock address")).hinting(format!(
            "write {}:CID:PORT, two numbers; CID 2 is the host, 1 this machine, any (for a server) all",
            scheme.name
        ))
    };
    let (cid, port) = body.split_once(':').unwrap_or(("any", body));
    let cid = match cid {
        "any" | "*" => Addr::CID_ANY,
        number => number.parse().map_err(|_| form())?,
    };
    Ok(Target::Vsock { socket_type, cid, port: port.parse().map_err(|_| form())? })
}
