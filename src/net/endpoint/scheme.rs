//! The table of address schemes: what may stand before the colon, and what it means.
//!
//! Apart, because parsing, printing, every error that lists what is possible and the manual are made from this one table.

use socket2::Type;

use super::{Family, Target};
use crate::net::spelling::near;
use crate::net::{Addr, Error, Result};

/// One scheme.
#[derive(Debug)]
pub struct Scheme {
    /// What is written before the colon.
    pub name: &'static str,
    /// What is written after it.
    pub takes: &'static str,
    /// What it is, in a few words.
    pub doc: &'static str,
    pub(super) form: Form,
}

/// How the rest of an address is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Inet(Type, Family),
    Srv,
    Unix(Type),
    Vsock(Type),
    Fd,
    Systemd,
    Stdio,
    Exec,
    File,
    /// Planned; known, so that it is not taken for a host.
    NotYet,
}

/// Every scheme there is, in the order in which they are listed.
pub static SCHEMES: &[Scheme] = &[
    row("tcp", "HOST:PORT or PORT", "Internet stream", Form::Inet(Type::STREAM, Family::Any)),
    row("tcp4", "HOST:PORT or PORT", "Internet stream, IPv4 only", Form::Inet(Type::STREAM, Family::V4)),
    row("tcp6", "HOST:PORT or PORT", "Internet stream, IPv6 only", Form::Inet(Type::STREAM, Family::V6)),
    row("udp", "HOST:PORT or PORT", "Internet datagrams", Form::Inet(Type::DGRAM, Family::Any)),
    row("udp4", "HOST:PORT or PORT", "Internet datagrams, IPv4 only", Form::Inet(Type::DGRAM, Family::V4)),
    row("udp6", "HOST:PORT or PORT", "Internet datagrams, IPv6 only", Form::Inet(Type::DGRAM, Family::V6)),
    row("srv", "NAME", "the hosts that SRV records of the DNS have for a service, for clients", Form::Srv),
    row("unix", "PATH or @NAME", "Unix stream, by path or abstract name", Form::Unix(Type::STREAM)),
    row("unix-dgram", "PATH or @NAME", "Unix datagrams", Form::Unix(Type::DGRAM)),
    row("unix-seqpacket", "PATH or @NAME", "Unix sequenced packets", Form::Unix(Type::SEQPACKET)),
    row("vsock", "CID:PORT", "stream between a virtual machine and its host", Form::Vsock(Type::STREAM)),
    row("vsock-seqpacket", "CID:PORT", "sequenced packets of the same", Form::Vsock(Type::SEQPACKET)),
    row("fd", "NUMBER", "a socket that the program was started with", Form::Fd),
    row("systemd", "NAME, or nothing", "a socket from systemd's socket activation", Form::Systemd),
    row("exec", "COMMAND", "a program that has the socket as its standard input and output", Form::Exec),
    row("stdio", "nothing", "standard input and output; also written -", Form::Stdio),
    row("file", "PATH", "a file", Form::File),
    row("tls", "HOST:PORT", "TLS over TCP", Form::NotYet),
    row("tls+unix", "PATH", "TLS over a Unix stream", Form::NotYet),
    row("ws", "//HOST:PORT/PATH", "WebSocket", Form::NotYet),
    row("wss", "//HOST:PORT/PATH", "WebSocket over TLS", Form::NotYet),
    row("pty", "COMMAND", "a program on a terminal of its own", Form::NotYet),
];

const fn row(name: &'static str, takes: &'static str, doc: &'static str, form: Form) -> Scheme {
    Scheme { name, takes, doc, form }
}

impl Scheme {
    /// Splits an address into its scheme and the rest. Without a scheme it is TCP, if it reads as a port, a service or
    /// `HOST:PORT`.
    pub(super) fn split(text: &str) -> Result<(&'static Scheme, &str)> {
        if let Some(rest) = text.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with('?')) {
            return Ok((of_name("stdio")?, rest));
        }
        let word = text.split(['?', '/']).next().unwrap_or_default();
        let (word, rest) = word.split_once(':').map_or((word, None), |(word, _)| (word, Some(&text[word.len() + 1..])));
        if let Some(scheme) = SCHEMES.iter().find(|scheme| scheme.name.eq_ignore_ascii_case(word)) {
            match rest {
                // A command is taken as it is written; elsewhere `scheme://` is the same as `scheme:`.
                Some(rest) if scheme.form == Form::Exec => return Ok((scheme, rest)),
                Some(rest) => return Ok((scheme, rest.strip_prefix("//").unwrap_or(rest))),
                None if matches!(scheme.form, Form::Systemd | Form::Stdio)
                    && !text.starts_with(&format!("{word}/")) =>
                {
                    return Ok((scheme, &text[word.len()..]));
                }
                None => {}
            }
        }
        let tcp = of_name("tcp")?;
        let after_word = rest.unwrap_or_default().split('?').next().unwrap_or_default();
        // `sctp:host:80`, `http://host` and `tls+udp:80` name a scheme; `cheerios:80` a host.
        let names_a_scheme = is_service_name(word)
            && rest.is_some()
            && (word.contains('+')
                || after_word.starts_with("//")
                || after_word.contains(':')
                || after_word.starts_with(['/', '@', '[']));
        if names_a_scheme {
            return Err(unknown(word));
        }
        if text.is_empty() {
            return Err(
                Error::usage("the address is empty").hinting(format!("write a port such as 51717, or {}", list()))
            );
        }
        if text.starts_with('@') || (text.contains('/') && rest.is_none()) {
            return Err(Error::usage(format!("`{}` is no address by itself", text.escape_debug()))
                .hinting(format!("for a Unix socket write unix:{text}")));
        }
        Ok((tcp, text))
    }

    /// The scheme that a target is printed with.
    pub(super) fn of(target: &Target) -> &'static Self {
        let form = match target {
            Target::Inet { socket_type, family, .. } => Form::Inet(*socket_type, *family),
            Target::Srv { .. } => Form::Srv,
            Target::Unix { socket_type, .. } => Form::Unix(*socket_type),
            Target::Vsock { socket_type, .. } => Form::Vsock(*socket_type),
            Target::Fd(_) => Form::Fd,
            Target::Systemd(_) => Form::Systemd,
            Target::Stdio => Form::Stdio,
            Target::Exec(_) => Form::Exec,
            Target::File(_) => Form::File,
        };
        of_form(form)
    }

    /// What is wrong with an address that ends too early.
    pub(super) fn lacks(&self, what: &str) -> Error {
        Error::usage(format!("`{}:` needs {what}", self.name)).hinting(format!("write {}:{}", self.name, self.takes))
    }
}

/// The schemes that can be used, as a sentence lists them.
pub(super) fn list() -> String {
    let names: Vec<_> = SCHEMES.iter().filter(|s| s.form != Form::NotYet).map(|s| format!("{}:", s.name)).collect();
    names.join(" ")
}

fn of_name(name: &str) -> Result<&'static Scheme> {
    SCHEMES.iter().find(|scheme| scheme.name == name).ok_or_else(|| unknown(name))
}

fn of_form(form: Form) -> &'static Scheme {
    // A raw socket taken over from somebody else has no scheme; the first one is as good as another to name it by.
    SCHEMES.iter().find(|scheme| scheme.form == form).unwrap_or(&SCHEMES[0])
}

fn unknown(name: &str) -> Error {
    let near = near(name, SCHEMES.iter().map(|scheme| scheme.name));
    Error::usage(format!("unknown scheme `{name}:`")).hinting(match near.first() {
        Some(near) => format!("did you mean {near}:? There are {}", list()),
        None => format!("there are {}", list()),
    })
}

/// An address as a user would write it for a socket of that type: `tcp:[::]:51717`, `unix-dgram:/run/x`.
pub(in crate::net) fn written(addr: &Addr, socket_type: Type) -> String {
    let form = match addr {
        Addr::Inet(_) => Form::Inet(socket_type, Family::Any),
        Addr::Unix(_) => Form::Unix(socket_type),
        Addr::Vsock { .. } => Form::Vsock(socket_type),
    };
    format!("{}:{addr}", of_form(form).name)
}

/// A letter first, then what services(5) has in its names.
pub(super) fn is_service_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+*/".contains(&b))
        && !text.contains('/')
}
