//! `Scope`: which sockets have an option.
//!
//! Apart, because the same question is asked of an address that was only written and of a socket that is there.

use std::fmt;

use socket2::{Domain, Type};

/// Which sockets have an option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Every socket.
    Any,
    /// Stream sockets of every domain.
    Stream,
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Internet stream sockets.
    Tcp,
    /// Internet datagram sockets.
    Udp,
    /// Datagram sockets of IPv6.
    Udp6,
    /// Unix sockets.
    Unix,
    /// Sockets between a virtual machine and its host.
    Vsock,
}

impl Scope {
    /// Whether a socket of this domain and type has the option.
    pub fn includes(self, domain: Domain, kind: Type) -> bool {
        let inet = domain == Domain::IPV4 || domain == Domain::IPV6;
        match self {
            Self::Any => true,
            Self::Stream => kind == Type::STREAM,
            Self::Inet => inet,
            Self::Ipv4 => domain == Domain::IPV4,
            Self::Ipv6 => domain == Domain::IPV6,
            Self::Tcp => inet && kind == Type::STREAM,
            Self::Udp => inet && kind == Type::DGRAM,
            Self::Udp6 => domain == Domain::IPV6 && kind == Type::DGRAM,
            Self::Unix => domain == Domain::UNIX,
            Self::Vsock => domain == Domain::VSOCK,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "all",
            Self::Stream => "stream",
            Self::Inet => "Internet",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Udp6 => "UDP over IPv6",
            Self::Unix => "Unix",
            Self::Vsock => "vsock",
        })
    }
}

/// What a socket of this domain and type is called: `IPv6 TCP`, `Unix datagram`.
pub(super) fn describe(domain: Domain, kind: Type) -> String {
    let stream = kind == Type::STREAM;
    let inet = if stream { "TCP" } else { "UDP" };
    let kind = match kind {
        Type::STREAM => "stream",
        Type::DGRAM => "datagram",
        Type::SEQPACKET => "packet",
        _ => "raw",
    };
    match domain {
        Domain::IPV4 if kind != "raw" => format!("IPv4 {inet}"),
        Domain::IPV6 if kind != "raw" => format!("IPv6 {inet}"),
        Domain::UNIX => format!("Unix {kind}"),
        Domain::VSOCK => format!("vsock {kind}"),
        _ => kind.to_owned(),
    }
}
