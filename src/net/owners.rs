//! Who holds an address, and what type of socket is there: what errors tell beyond the kernel's error number.
//!
//! Apart, because it is a look into the tables under /proc (proc_pid_net(5)), made only once a call has failed. It is a
//! guess at best: sockets come and go, other users' processes are hidden, and nothing outside this network namespace is
//! seen. A table that cannot be read counts as empty. Reading them takes milliseconds, on a busy machine more.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};

use nix::ifaddrs::getifaddrs;
use procfs::net::{TcpState, UdpState};
use procfs::process::{FDTarget, all_processes};
use socket2::Type;

use super::{Addr, UnixName};

/// What keeps an address from being bound again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The address as it is bound, such as `[::]:80` where `127.0.0.1:80` was wanted.
    pub addr: Addr,
    /// The process; `None` if it may not be seen, being another user's.
    pub process: Option<Process>,
}

/// A process that has a socket open; of several that share it, the one with the lowest number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// The name of its command, at most 15 bytes, as the process itself may have set it (proc_pid_comm(5)).
    pub command: String,
}

/// Who holds `addr`, or an address that stands in its way: a wildcard of either IP version, or any address where `addr`
/// is a wildcard. `None` if nobody is seen, which includes TCP sockets that are bound but do not listen, and vsock.
pub fn holder(addr: &Addr, socket_type: Type) -> Option<Holder> {
    let (addr, inode) = match addr {
        Addr::Inet(wanted) => {
            let near = |bound: Bound| nearness(wanted, &bound.addr).map(|distance| ((distance, !bound.open), bound));
            let (_, bound) = table(socket_type).into_iter().filter_map(near).min_by_key(|(order, _)| *order)?;
            (bound.addr.into(), bound.inode)
        }
        Addr::Unix(name) => {
            let bound = unix_socket(name, Some(socket_type))?;
            let as_bound = match name {
                UnixName::Path(_) => UnixName::Path(bound.path()),
                other => other.clone(),
            };
            (Addr::Unix(as_bound), bound.inode)
        }
        Addr::Vsock { .. } => return None,
    };
    Some(Holder { addr, process: process_of(inode).map(|found| found.process) })
}

/// The type of the socket that is bound at a path or an abstract name; `None` if none is.
///
/// The table has a path as its server wrote it, perhaps relative to the server's directory: paths are compared with
/// that in mind, and with links followed. A path that begins with `@` looks like an abstract name there.
pub fn unix_type(name: &UnixName) -> Option<Type> {
    unix_socket(name, None).map(|bound| bound.socket_type)
}

/// The other type of socket that waits at an address of this machine, where a connection of type `tried` was refused:
/// `DGRAM` (UDP) where `STREAM` (TCP) was tried, and the reverse. `None` if there is none, or `addr` is elsewhere.
pub fn other_type(addr: &SocketAddr, tried: Type) -> Option<Type> {
    let other = match tried {
        Type::STREAM => Type::DGRAM,
        Type::DGRAM => Type::STREAM,
        _ => return None,
    };
    let waits = |bound: Bound| bound.open && nearness(addr, &bound.addr).is_some();
    (is_local(addr.ip()) && table(other).into_iter().any(waits)).then_some(other)
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(Process { pid, command }) => write!(f, "{command} (pid {pid})"),
            None => f.write_str("a process that this user may not see"),
        }
    }
}

/// A line of the tables of TCP and UDP.
struct Bound {
    addr: SocketAddr,
    inode: u64,
    /// It takes what comes from anywhere: it listens, or is not connected.
    open: bool,
}

/// The sockets of a type over both IP versions.
fn table(socket_type: Type) -> Vec<Bound> {
    let mut table = match socket_type {
        Type::STREAM => {
            let entries = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
            let open = |state| state == TcpState::Listen;
            entries.map(|e| Bound { addr: e.local_address, inode: e.inode, open: open(e.state) }).collect()
        }
        Type::DGRAM => {
            let entries = [procfs::net::udp(), procfs::net::udp6()].into_iter().flatten().flatten();
            let open = |state| state == UdpState::Close;
            entries.map(|e| Bound { addr: e.local_address, inode: e.inode, open: open(e.state) }).collect()
        }
        _ => Vec::new(),
    };
    // What is left of a closed connection (TIME_WAIT) belongs to nobody.
    table.retain(|bound| bound.inode != 0);
    table
}

/// Whether a socket at `bound` is in the way of one at `wanted`, and takes what is sent there; the smaller the number,
/// the surer it is. The table does not tell whether `[::]` is for IPv6 only.
fn nearness(wanted: &SocketAddr, bound: &SocketAddr) -> Option<u8> {
    if wanted.port() != bound.port() {
        return None;
    }
    // An IPv6 socket shows an IPv4 address as ::ffff:a.b.c.d.
    match (wanted.ip().to_canonical(), bound.ip().to_canonical()) {
        (wanted, bound) if wanted == bound => Some(0),
        (wanted, bound) if wanted.is_ipv4() == bound.is_ipv4() => {
            (wanted.is_unspecified() || bound.is_unspecified()).then_some(1)
        }
        (IpAddr::V6(v6), IpAddr::V4(_)) | (IpAddr::V4(_), IpAddr::V6(v6)) => v6.is_unspecified().then_some(2),
        _ => None,
    }
}

fn is_local(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback()
        || ip.is_unspecified()
        || getifaddrs().is_ok_and(|mut interfaces| {
            interfaces.any(|interface| match interface.address {
                Some(address) => match ip {
                    IpAddr::V4(ip) => address.as_sockaddr_in().is_some_and(|address| address.ip() == ip),
                    IpAddr::V6(ip) => address.as_sockaddr_in6().is_some_and(|address| address.ip() == ip),
                },
                None => false,
            })
        })
}

/// A line of the table of Unix sockets that has a name.
#[derive(Debug, Eq, PartialEq)]
struct BoundUnix {
    socket_type: Type,
    listens: bool,
    inode: u64,
    /// The path as it was bound, or `@` and an abstract name with `@` for each NUL.
    name: Vec<u8>,
}

impl BoundUnix {
    fn path(&self) -> PathBuf {
        std::ffi::OsStr::from_bytes(&self.name).into()
    }

    /// Whether it is bound at the file `wanted`, an absolute path without links.
    fn is_at(&self, wanted: &Path) -> bool {
        let bound = self.path();
        if bound.file_name() != wanted.file_name() {
            return false;
        }
        if bound.is_absolute() {
            return bound == wanted || resolved(&bound) == wanted;
        }
        let directory = process_of(self.inode).and_then(|found| found.directory);
        resolved(&directory.unwrap_or_default().join(bound)) == wanted
    }
}

/// The socket at `name`; at an abstract name only of that type, if one is given: each type has names of its own.
fn unix_socket(name: &UnixName, socket_type: Option<Type>) -> Option<BoundUnix> {
    // Not by procfs, which gives up at a name that is not UTF-8 and cuts one at a space.
    let table = parse_unix(&fs::read("/proc/net/unix").ok()?);
    // Accepted connections have their listener's name.
    let first = |found: &mut dyn Iterator<Item = BoundUnix>| found.min_by_key(|bound| !bound.listens);
    match name {
        UnixName::Path(path) => {
            let path = resolved(path);
            first(&mut table.into_iter().filter(|bound| bound.is_at(&path)))
        }
        UnixName::Abstract(name) => {
            let shown: Vec<u8> = [0].iter().chain(name).map(|&byte| if byte == 0 { b'@' } else { byte }).collect();
            let wanted = |bound: &BoundUnix| socket_type.is_none_or(|wanted| bound.socket_type == wanted);
            first(&mut table.into_iter().filter(|bound| bound.name == shown && wanted(bound)))
        }
        UnixName::Unnamed => None,
    }
}

/// Reads /proc/net/unix: seven columns, then a space and the name (proc_pid_net(5)). Others than named sockets are left
/// out, and so is a name with a newline.
fn parse_unix(table: &[u8]) -> Vec<BoundUnix> {
    /// `__SO_ACCEPTCON` of the kernel, in the column of flags.
    const LISTENS: u32 = 1 << 16;
    let entry = |line: &[u8]| {
        let mut rest = line;
        let mut column = || {
            rest = rest.trim_ascii_start();
            let (column, after) = rest.split_at(rest.iter().position(|&byte| byte == b' ')?);
            rest = &after[1..];
            std::str::from_utf8(column).ok()
        };
        let (_slot, _references, _protocol, flags) = (column()?, column()?, column()?, column()?);
        let (socket_type, _state, inode) = (column()?, column()?, column()?);
        Some(BoundUnix {
            socket_type: i32::from_str_radix(socket_type, 16).ok()?.into(),
            listens: u32::from_str_radix(flags, 16).ok()? & LISTENS != 0,
            inode: inode.parse().ok()?,
            name: rest.to_owned(),
        })
    };
    table.split(|&byte| byte == b'\n').filter_map(entry).collect()
}

/// The path from the root, with links followed where the file exists.
fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).or_else(|_| absolute(path)).unwrap_or_else(|_| path.to_owned())
}

struct Found {
    process: Process,
    directory: Option<PathBuf>,
}

/// The first process that has the socket open, of those that may be looked into.
fn process_of(inode: u64) -> Option<Found> {
    let holds = |process: &procfs::process::Process| {
        process.fd().is_ok_and(|mut open| {
            open.any(|file| file.is_ok_and(|file| matches!(file.target, FDTarget::Socket(found) if found == inode)))
        })
    };
    let process = all_processes().ok()?.flatten().find(holds)?;
    let command = process.stat().ok()?.comm;
    Some(Found { process: Process { pid: process.pid(), command }, directory: process.cwd().ok() })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use socket2::{Domain, Socket};

    use super::*;

    fn pid_of(addr: &Addr, socket_type: Type) -> Option<u32> {
        holder(addr, socket_type)?.process.and_then(|process| process.pid.try_into().ok())
    }

    fn me() -> Option<u32> {
        Some(std::process::id())
    }

    fn at(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().expect(ip), port)
    }

    #[test]
    fn finds_who_holds_a_port() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = tcp.local_addr().expect("its address");
        let client = TcpStream::connect(addr).expect("connected");
        let found = holder(&addr.into(), Type::STREAM).expect("a holder");
        let process = found.process.as_ref().expect("this process");
        assert_eq!((found.addr.clone(), Some(process.pid.unsigned_abs())), (addr.into(), me()));
        assert!(!process.command.is_empty());
        assert_eq!(found.to_string(), format!("{} (pid {})", process.command, process.pid));
        // Wanting the wildcard is refused for the same reason.
        assert_eq!(holder(&at("0.0.0.0", addr.port()).into(), Type::STREAM), Some(found));
        assert_eq!(pid_of(&client.local_addr().expect("its address").into(), Type::STREAM), me());

        let udp = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let port = udp.local_addr().expect("its address").port();
        let found = holder(&at("127.0.0.1", port).into(), Type::DGRAM).expect("a holder");
        assert_eq!(found.addr, at("0.0.0.0", port).into());
        assert_eq!(pid_of(&found.addr, Type::SEQPACKET), None);
        drop(udp);
        assert_eq!(holder(&Addr::Vsock { cid: 1, port: 1 }, Type::STREAM), None);
    }

    #[test]
    fn finds_a_socket_for_both_ip_versions() {
        // Nothing to test on a machine without IPv6.
        let Ok(tcp) = TcpListener::bind("[::]:0") else { return };
        let addr = tcp.local_addr().expect("its address");
        let found = holder(&at("127.0.0.1", addr.port()).into(), Type::STREAM).expect("a holder");
        assert_eq!(found.addr, addr.into());
    }

    #[test]
    fn tells_near_addresses() {
        for (wanted, bound, near) in [
            (at("127.0.0.1", 7), at("127.0.0.1", 7), Some(0)),
            (at("127.0.0.1", 7), at("127.0.0.1", 8), None),
            (at("127.0.0.1", 7), at("127.0.0.2", 7), None),
            (at("127.0.0.1", 7), at("0.0.0.0", 7), Some(1)),
            (at("::", 7), at("::1", 7), Some(1)),
            (at("::", 7), at("127.0.0.1", 7), Some(2)),
            (at("127.0.0.1", 7), at("::", 7), Some(2)),
            (at("127.0.0.1", 7), at("::ffff:127.0.0.1", 7), Some(0)),
            (at("::1", 7), at("0.0.0.0", 7), None),
            (at("::1", 7), at("127.0.0.1", 7), None),
        ] {
            assert_eq!(nearness(&wanted, &bound), near, "{wanted} {bound}");
        }
    }

    #[test]
    fn tells_the_other_type() {
        let udp = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let port = udp.local_addr().expect("its address").port();
        assert_eq!(other_type(&at("127.0.0.1", port), Type::STREAM), Some(Type::DGRAM));
        // A documentation address (RFC 5737), never this machine's.
        assert_eq!(other_type(&at("203.0.113.1", port), Type::STREAM), None);
        assert_eq!(other_type(&at("127.0.0.1", port), Type::RAW), None);
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = tcp.local_addr().expect("its address");
        assert_eq!(other_type(&addr, Type::DGRAM), Some(Type::STREAM));
        drop(tcp);
        assert_eq!(other_type(&addr, Type::DGRAM), None);
    }

    #[test]
    fn finds_unix_sockets_by_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a name");
        let named = |path: &Path| UnixName::Path(path.to_owned());
        assert_eq!(unix_type(&named(&path)), None);
        let listener = UnixListener::bind(&path).expect("a listener");
        let _client = UnixStream::connect(&path).expect("connected");
        let _accepted = listener.accept().expect("accepted");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link).expect("a link");
        for path in [path.clone(), link.join("a name"), directory.path().join("./a name")] {
            assert_eq!(unix_type(&named(&path)), Some(Type::STREAM), "{path:?}");
            assert_eq!(pid_of(&Addr::Unix(named(&path)), Type::DGRAM), me(), "{path:?}");
        }
        let found = holder(&Addr::Unix(named(&link.join("a name"))), Type::STREAM).expect("a holder");
        assert_eq!(found.addr, Addr::Unix(named(&path)));
        let odd = directory.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
        let _datagram = UnixDatagram::bind(&odd).expect("a socket");
        assert_eq!(unix_type(&named(&odd)), Some(Type::DGRAM));
    }

    #[test]
    fn finds_unix_sockets_by_abstract_name() {
        let unique = format!("wilco\0owners {}", std::process::id()).into_bytes();
        let name = UnixName::Abstract(unique);
        let addr = Addr::Unix(name.clone());
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("a socket");
        socket.bind(&addr.to_kernel().expect("an address")).expect("bound");
        assert_eq!(unix_type(&name), Some(Type::SEQPACKET));
        assert_eq!(pid_of(&addr, Type::SEQPACKET), me());
        // Names of another type are free.
        assert_eq!(holder(&addr, Type::STREAM), None);
        assert_eq!(unix_type(&UnixName::Unnamed), None);
    }

    #[test]
    fn parses_the_table_of_unix_sockets() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01   123 /run/a b\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 11597\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 99999 @x@y\njunk\n";
        let bound =
            |socket_type, listens, inode, name: &[u8]| BoundUnix { socket_type, listens, inode, name: name.into() };
        assert_eq!(
            parse_unix(table),
            [bound(Type::STREAM, true, 123, b"/run/a b"), bound(Type::DGRAM, false, 99999, b"@x@y")]
        );
    }

    #[test]
    fn reads_a_relative_path_from_its_servers_directory() {
        // No process has this inode: its directory counts as ours.
        let bound = BoundUnix { socket_type: Type::STREAM, listens: true, inode: 0, name: b"x.sock".into() };
        assert!(bound.is_at(&resolved(Path::new("x.sock"))));
        assert!(!bound.is_at(Path::new("/nonexistent/x.sock")));
        assert!(!bound.is_at(&resolved(Path::new("y.sock"))));
    }
}
