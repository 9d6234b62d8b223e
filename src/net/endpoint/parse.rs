//! Reads an endpoint from its text, and says what is wrong with one that cannot be read.
//!
//! Apart from the type, because most of it is about mistakes: each is found here, none later, and each says what is possible.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStringExt;
use std::str::FromStr;

use socket2::{Domain, Type};

use super::scheme::{self, Form, Scheme, is_service_name};
use super::{Endpoint, Family, Port, Target};
use crate::net::options::Setting;
use crate::net::srv::SERVICE;
use crate::net::{Addr, Error, MAX_ABSTRACT_NAME, MAX_UNIX_PATH, Result, UnixName, percent};

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
            Form::Srv => parse_srv(scheme, body)?,
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
            Form::File => Target::File(OsString::from_vec(percent::decode(body)).into()),
            Form::NotYet => {
                return Err(Error::usage(format!("`{}:` is not available yet", scheme.name))
                    .hinting(format!("there are {}", scheme::list())));
            }
        };
        Self::checked(target, options)
    }
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

    /// The endpoint of a local address to send from, for a socket like this one's: an IP address or a host, `:PORT` or
    /// `HOST:PORT`; for Unix sockets a path or `@NAME`; for vsock `CID:PORT`.
    ///
    /// # Errors
    /// As for parsing an address.
    pub fn source(&self, text: &str) -> Result<Self> {
        if let Target::Srv { socket_type, .. } = self.target {
            // Those hosts have addresses of the Internet domain.
            let (family, host, port) = (Family::Any, None, Port::Number(0));
            let host = Target::Inet { socket_type, family, host, port };
            return Self { target: host, options: Vec::new() }.source(text);
        }
        let scheme = Scheme::of(&self.target);
        let target = match &self.target {
            Target::Inet { socket_type, family, .. } => {
                let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
                let is_ipv6 = bare.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
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

    fn checked(target: Target, options: Vec<Setting>) -> Result<Self> {
        let domain = match &target {
            Target::Inet { family: Family::V6, .. } => Some(Domain::IPV6),
            // Which of the two it will be shows only when it is resolved; the names of options are the same.
            Target::Inet { .. } | Target::Srv { .. } => Some(Domain::IPV4),
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
        let any_family = matches!(target, Target::Inet { family: Family::Any, .. } | Target::Srv { .. });
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
    if let Some(address) = host.as_deref().and_then(|host| host.parse::<IpAddr>().ok()) {
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
    let is_ipv6 = host.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
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

/// `example.com`, which stands for `_wilco._tcp.example.com`, or the name of a service in full.
fn parse_srv(scheme: &Scheme, body: &str) -> Result<Target> {
    let body = body.strip_suffix('/').unwrap_or(body);
    let name = body.strip_suffix('.').unwrap_or(body);
    if name.is_empty() {
        return Err(scheme.lacks("a name"));
    }
    if let Some((host, port)) = name.split_once(':') {
        return Err(Error::usage(format!("`{}` has a port, and SRV records say which", name.escape_debug()))
            .hinting(format!("write {}:{host}, or tcp:{host}:{port} for one host", scheme.name)));
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err(Error::usage(format!("`{name}` is an address, and only names have SRV records"))
            .hinting("a name is such as example.com; for an address write tcp:HOST:PORT"));
    }
    parse_host(name)?;
    let name = match name.starts_with('_') {
        true => name.to_owned(),
        false => format!("{SERVICE}.{name}"),
    };
    let protocol = name.split('.').nth(1).unwrap_or_default();
    let socket_type = match protocol.to_ascii_lowercase().as_str() {
        "_tcp" => Type::STREAM,
        "_udp" => Type::DGRAM,
        _ => {
            return Err(Error::usage(format!("`{name}` is no name of a service over TCP or UDP")).hinting(format!(
                "write {}:{SERVICE}.example.com, or {}:example.com for the same",
                scheme.name, scheme.name
            )));
        }
    };
    Ok(Target::Srv { socket_type, name })
}

fn parse_unix_name(scheme: &Scheme, body: &str) -> Result<UnixName> {
    let (name, what, most) = match body.strip_prefix('@') {
        Some(name) => (UnixName::Abstract(percent::decode(name)), "name", MAX_ABSTRACT_NAME),
        None => (UnixName::Path(OsString::from_vec(percent::decode(body)).into()), "path", MAX_UNIX_PATH),
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
