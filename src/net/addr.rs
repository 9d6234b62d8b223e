//! `Addr`: the address of one socket as the kernel has it, in the Internet, Unix or vsock domain.
//!
//! Apart from [`Endpoint`](super::Endpoint), which is what a user writes and may stand for several of these.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr};

use super::percent;

/// The most bytes that the path of a Unix socket may have: `sun_path` less its closing NUL (unix(7)).
pub const MAX_UNIX_PATH: usize = 107;

/// The most bytes that an abstract name may have: `sun_path` less its leading NUL (unix(7)).
pub const MAX_ABSTRACT_NAME: usize = 107;

/// The address of one socket: what `bind`, `connect` and `getsockname` speak of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Addr {
    /// A host address and a 16-bit port, IPv4 or IPv6 (ip(7), ipv6(7)).
    Inet(SocketAddr),
    /// A name in the file system, an abstract name, or none (unix(7)).
    Unix(UnixName),
    /// A context identifier and a 32-bit port (vsock(7)).
    Vsock {
        /// The machine: 1 this one, 2 the host, [`Addr::CID_ANY`] any.
        cid: u32,
        /// The port.
        port: u32,
    },
}

/// The name of a Unix socket.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum UnixName {
    /// A path in the file system.
    Path(PathBuf),
    /// A name without a file, of any bytes, gone with its socket (Linux).
    Abstract(Vec<u8>),
    /// No name: a client that has not bound itself.
    Unnamed,
}

impl Addr {
    /// `VMADDR_CID_ANY`: a vsock server at every address of this machine.
    pub const CID_ANY: u32 = u32::MAX;

    /// The address domain: `AF_INET`, `AF_INET6`, `AF_UNIX` or `AF_VSOCK`.
    pub fn domain(&self) -> Domain {
        match self {
            Self::Inet(SocketAddr::V4(_)) => Domain::IPV4,
            Self::Inet(SocketAddr::V6(_)) => Domain::IPV6,
            Self::Unix(_) => Domain::UNIX,
            Self::Vsock { .. } => Domain::VSOCK,
        }
    }

    /// The port, where the domain has ports.
    pub fn port(&self) -> Option<u32> {
        match self {
            Self::Inet(addr) => Some(addr.port().into()),
            Self::Vsock { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// Whether an answer can be sent there: not to a Unix socket without a name.
    pub fn is_named(&self) -> bool {
        !matches!(self, Self::Unix(UnixName::Unnamed))
    }

    /// The form that the kernel's calls take.
    ///
    /// # Errors
    /// A Unix name that is too long or has a NUL in its path.
    pub(crate) fn to_kernel(&self) -> io::Result<SockAddr> {
        Ok(match self {
            Self::Inet(addr) => (*addr).into(),
            Self::Unix(UnixName::Path(path)) => SockAddr::unix(path)?,
            Self::Unix(UnixName::Abstract(name)) => {
                let mut bytes = vec![0];
                bytes.extend_from_slice(name);
                SockAddr::unix(Path::new(std::ffi::OsStr::from_bytes(&bytes)))?
            }
            Self::Unix(UnixName::Unnamed) => SockAddr::unix("")?,
            Self::Vsock { cid, port } => SockAddr::vsock(*cid, *port),
        })
    }

    /// Reads the kernel's form; `None` for a domain that is not known here.
    pub(crate) fn from_kernel(addr: &SockAddr) -> Option<Self> {
        if let Some(inet) = addr.as_socket() {
            return Some(Self::Inet(inet));
        }
        if let Some((cid, port)) = addr.as_vsock_address() {
            return Some(Self::Vsock { cid, port });
        }
        (addr.domain() == Domain::UNIX).then(|| {
            Self::Unix(if let Some(path) = addr.as_pathname() {
                UnixName::Path(path.to_owned())
            } else if let Some(name) = addr.as_abstract_namespace() {
                UnixName::Abstract(name.to_owned())
            } else {
                UnixName::Unnamed
            })
        })
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::Inet(addr)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // An IPv4 peer of a socket for both versions of IP is shown as what it is.
            Self::Inet(SocketAddr::V6(addr)) if addr.ip().to_ipv4_mapped().is_some() => {
                write!(f, "{}:{}", addr.ip().to_canonical(), addr.port())
            }
            Self::Inet(addr) => write!(f, "{addr}"),
            Self::Unix(name) => write!(f, "{name}"),
            Self::Vsock { cid, port } => write!(f, "{}:{port}", Cid(*cid)),
        }
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => {
                let bytes = path.as_os_str().as_bytes();
                // A path that begins with `@` would read as an abstract name.
                match bytes.strip_prefix(b"@") {
                    Some(rest) => write!(f, "%40{}", percent::Encoded(rest)),
                    None => write!(f, "{}", percent::Encoded(bytes)),
                }
            }
            Self::Abstract(name) => write!(f, "@{}", percent::Encoded(name)),
            Self::Unnamed => f.write_str("(unnamed)"),
        }
    }
}

/// A context identifier as it is written: `any`, or its number.
pub(super) struct Cid(pub(super) u32);

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Addr::CID_ANY => f.write_str("any"),
            number => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_through_the_kernels_form() {
        let addrs = [
            Addr::Inet("127.0.0.1:80".parse().expect("an address")),
            Addr::Inet("[fe80::1%3]:80".parse().expect("an address")),
            Addr::Unix(UnixName::Path("/run/x".into())),
            Addr::Unix(UnixName::Path("@x".into())),
            Addr::Unix(UnixName::Abstract(b"a\0b".to_vec())),
            Addr::Unix(UnixName::Unnamed),
            Addr::Vsock { cid: 2, port: 70_000 },
        ];
        for addr in addrs {
            let kernel = addr.to_kernel().expect("a kernel address");
            assert_eq!(Addr::from_kernel(&kernel), Some(addr));
        }
    }

    #[test]
    fn a_path_that_is_too_long_is_refused() {
        let path = |n| Addr::Unix(UnixName::Path("x".repeat(n).into())).to_kernel();
        assert!(path(MAX_UNIX_PATH).is_ok());
        assert!(path(MAX_UNIX_PATH + 1).is_err());
        let name = |n| Addr::Unix(UnixName::Abstract(vec![b'x'; n])).to_kernel();
        assert!(name(MAX_ABSTRACT_NAME).is_ok());
        assert!(name(MAX_ABSTRACT_NAME + 1).is_err());
    }
}
