//! Socket options: what can be set and read, by name or by number, on which sockets, in which units.
//!
//! Apart from the sockets, so that an option can be written, checked and explained before there is one. The
//! [table](OPTIONS) says it all; a [`Setting`] is one line of a user's wishes; [`options_page`] is the documentation.

mod kernel;
mod page;
mod scope;
mod setting;
mod table;
mod value;

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;
use socket2::{Domain, SockRef, Type};

use super::{sys, trace};

#[cfg(test)]
pub(crate) use page::assert_written;
pub use page::options_page;
pub use scope::Scope;
pub use setting::Setting;
pub use table::OPTIONS;
pub use value::{Kind, Value, parse_size, parse_time};

/// One socket option: a row of [`OPTIONS`].
#[derive(Debug, Eq, PartialEq)]
pub struct SocketOption {
    /// What a user writes: `rcvbuf`.
    pub name: &'static str,
    /// What C calls it: `SO_RCVBUF`.
    pub constant: &'static str,
    /// The protocol level that it belongs to.
    pub level: Level,
    /// Its number within the level.
    pub number: c_int,
    /// How its value is written, and how the kernel has it.
    pub kind: Kind,
    /// Whether it can be set, read, or both.
    pub access: Access,
    /// The sockets that have it.
    pub scope: Scope,
    /// What it does, with its default and what it needs.
    pub doc: &'static str,
    /// Where it is described: a manual page, or the first version of Linux that has it.
    pub source: &'static str,
}

/// The protocol level of an option: the second argument of `setsockopt`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// The socket itself (socket(7), unix(7)).
    Socket,
    /// IPv4 (ip(7)).
    Ip,
    /// IPv6 (ipv6(7)).
    Ipv6,
    /// TCP (tcp(7)).
    Tcp,
    /// UDP (udp(7)).
    Udp,
    /// Between a virtual machine and its host (vsock(7)).
    Vsock,
}

/// What can be done with an option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// It can be read.
    Get,
    /// It can be set, and not be read.
    Set,
    /// It can be set and read.
    SetGet,
    /// It can be read once: reading clears it. [`all`] leaves it alone.
    Take,
}

/// Finds the option that a socket of this domain and type knows by `name`: a name of the table, another usual one such
/// as `hop-limit`, or that of C, `SO_RCVBUF`.
pub fn find(name: &str, domain: Domain, kind: Type) -> Option<&'static SocketOption> {
    named(name).find(|option| option.scope.includes(domain, kind))
}

/// The options of that name, for whichever sockets. Letters may be small or capital, and `_` stands for `-`.
pub fn named(name: &str) -> impl Iterator<Item = &'static SocketOption> + use<> {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    let alias = table::ALIASES.iter().find(|(alias, _)| *alias == plain).map(|(_, name)| *name);
    let constant = name.to_ascii_uppercase();
    OPTIONS.iter().filter(move |option| {
        option.name == plain || alias == Some(option.name) || (plain.contains('-') && option.constant == constant)
    })
}

/// The options that a socket of this domain and type has, in the order of the table.
pub fn possible(domain: Domain, kind: Type) -> impl Iterator<Item = &'static SocketOption> {
    OPTIONS.iter().filter(move |option| option.scope.includes(domain, kind))
}

/// Reads every option that the socket has and that can be read without changing anything.
///
/// An option of a newer kernel gives `ENOPROTOOPT` in its place. Defaults are what a socket that was just created has.
///
/// # Errors
/// `fd` is no socket.
pub fn all(fd: BorrowedFd<'_>) -> io::Result<Vec<(&'static SocketOption, io::Result<Value>)>> {
    let (domain, kind) = domain_and_type(fd)?;
    let readable = possible(domain, kind).filter(|option| matches!(option.access, Access::Get | Access::SetGet));
    Ok(readable.map(|option| (option, option.read(fd))).collect())
}

impl SocketOption {
    /// Whether it can be set.
    pub fn is_settable(&self) -> bool {
        matches!(self.access, Access::Set | Access::SetGet)
    }

    /// Reads its value on a socket (getsockopt(2)).
    ///
    /// # Errors
    /// The kernel's: `ENOPROTOOPT` where it does not know the option, or the option cannot be read.
    pub fn read(&self, fd: BorrowedFd<'_>) -> io::Result<Value> {
        let mut buffer = vec![0; self.kind.capacity()];
        let result = sys::getsockopt(fd, self.level.number(), self.number, &mut buffer);
        buffer.truncate(*result.as_ref().unwrap_or(&0));
        let (number, shown) = (fd.as_raw_fd(), Argument(&buffer));
        let call = format_args!("getsockopt({number}, {}, {}, [{shown}])", self.level, self.constant);
        trace::call(call, result.map(drop))?;
        Ok(self.kind.decode(&buffer))
    }

    /// Sets it on a socket (setsockopt(2)).
    fn write(&self, fd: BorrowedFd<'_>, value: &Value) -> io::Result<()> {
        let bytes = self.kind.encode(self.level, value)?;
        let (number, shown) = (fd.as_raw_fd(), Argument(&bytes));
        let call = format_args!("setsockopt({number}, {}, {}, {shown})", self.level, self.constant);
        trace::call(call, sys::setsockopt(fd, self.level.number(), self.number, &bytes))
    }
}

impl Level {
    /// Its number, as the kernel has it.
    pub fn number(self) -> c_int {
        match self {
            Self::Socket => libc::SOL_SOCKET,
            Self::Ip => libc::SOL_IP,
            Self::Ipv6 => libc::SOL_IPV6,
            Self::Tcp => libc::SOL_TCP,
            Self::Udp => libc::SOL_UDP,
            Self::Vsock => libc::AF_VSOCK,
        }
    }
}

/// The name of its constant: `SOL_SOCKET`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "SOL_SOCKET",
            Self::Ip => "SOL_IP",
            Self::Ipv6 => "SOL_IPV6",
            Self::Tcp => "SOL_TCP",
            Self::Udp => "SOL_UDP",
            Self::Vsock => "AF_VSOCK",
        })
    }
}

/// The domain and the type of a socket (`SO_DOMAIN`, `SO_TYPE`).
fn domain_and_type(fd: BorrowedFd<'_>) -> io::Result<(Domain, Type)> {
    let socket = SockRef::from(&fd);
    Ok((socket.domain()?, socket.r#type()?))
}

/// The bytes of an option as a traced call shows them: a number where they are one.
struct Argument<'a>(&'a [u8]);

impl fmt::Display for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.try_into().map(c_int::from_ne_bytes) {
            Ok(number) => write!(f, "{number}"),
            Err(_) if !self.0.is_empty() && self.0.iter().all(u8::is_ascii_graphic) => {
                write!(f, "\"{}\"", self.0.escape_ascii())
            }
            Err(_) => write!(f, "{{{} bytes}}", self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests;
