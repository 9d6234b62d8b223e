//! `Socket`: one kernel socket of any domain and type, with the calls of the socket interface under their own names.
//!
//! One struct with domain and type as values, rather than one a transport: what differs between them is the address.
//! [`Stream`](super::Stream) and [`PacketSocket`](super::PacketSocket) are built on it.

mod transfer;

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::io::Interest;

use super::attributes::Attributes;
use super::options::{Setting, Value};
use super::socket_file::SocketFile;
use super::sys::Watched;
use super::{Addr, Error, Result, UnixName, arrival, sys, trace};

/// How many connections may wait to be accepted; the kernel takes less if `net.core.somaxconn` is lower (listen(2)).
pub const BACKLOG: i32 = 4096;

/// A kernel socket: non-blocking, closed on exec, driven by the runtime in which it is first waited for.
///
/// Any number of tasks may wait in its `async` calls. The `poll_` calls wake one task for each direction: the last that
/// asked.
#[derive(Debug)]
pub struct Socket {
    /// The file of a Unix socket that was bound by a listener or a connector. It goes before the descriptor does, so that
    /// nobody takes it for a stale one.
    file: Option<SocketFile>,
    inner: Watched,
    domain: Domain,
    socket_type: Type,
}

impl Socket {
    /// Creates a socket: socket(2).
    ///
    /// # Errors
    /// The domain or the type is not known to this kernel, or descriptors have run out.
    pub fn create(domain: Domain, socket_type: Type) -> Result<Self> {
        let created = socket2::Socket::new(domain, socket_type.nonblocking().cloexec(), None).map(Created);
        let socket = trace::call(format_args!("socket({domain:?}, {socket_type:?})"), created)
            .map_err(|error| Error::system("create a socket", error))?;
        Ok(Self::of(socket.0, domain, socket_type))
    }

    /// Takes a socket that somebody else has made, such as one inherited from a parent.
    ///
    /// # Errors
    /// The descriptor is no socket.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let system = |error| Error::system("take over a socket", error);
        let socket = socket2::Socket::from(fd);
        let (domain, socket_type) = (socket.domain().map_err(system)?, socket.r#type().map_err(system)?);
        socket.set_nonblocking(true).map_err(system)?;
        socket.set_cloexec(true).map_err(system)?;
        Ok(Self::of(socket, domain, socket_type))
    }

    /// Two connected sockets of the Unix domain: socketpair(2).
    ///
    /// # Errors
    /// Descriptors have run out.
    pub fn pair(socket_type: Type) -> Result<(Self, Self)> {
        let (one, two) = socket2::Socket::pair(Domain::UNIX, socket_type.nonblocking().cloexec(), None)
            .map_err(|error| Error::system("create a pair of sockets", error))?;
        Ok((Self::of(one, Domain::UNIX, socket_type), Self::of(two, Domain::UNIX, socket_type)))
    }

    /// Gives the socket a local address: bind(2).
    ///
    /// # Errors
    /// The address is in use, is not one of this machine, or may not be taken.
    pub fn bind(&self, addr: &Addr) -> Result<()> {
        let bound = addr.to_kernel().and_then(|kernel| self.raw().bind(&kernel));
        trace::call(format_args!("bind({}, {addr})", self.fd()), bound)
            .map_err(|error| Error::system("bind", error).at(addr))
    }

    /// Gives a Unix socket an abstract name of the kernel's choice, so that it can be answered: unix(7), autobind.
    ///
    /// # Errors
    /// The socket has a name already.
    pub fn autobind(&self) -> Result<()> {
        self.bind(&Addr::Unix(UnixName::Unnamed))
    }

    /// Makes the socket one that accepts connections: listen(2).
    ///
    /// # Errors
    /// The type has no connections, or another socket listens there.
    pub fn listen(&self, backlog: i32) -> Result<()> {
        trace::call(format_args!("listen({}, {backlog})", self.fd()), self.raw().listen(backlog))
            .map_err(|error| Error::system("listen", error))
    }

    /// Waits for a connection and takes it: accept4(2). The second value is the peer's address.
    ///
    /// # Errors
    /// As accept4(2) has them: a connection that was aborted meanwhile, descriptors run out.
    pub async fn accept(&self) -> io::Result<(Self, Addr)> {
        let accepted = self.when(Interest::READABLE, |socket| sys::accept(socket.as_fd())).await;
        let (socket, peer) = trace::call(format_args!("accept({})", self.fd()), accepted.map(Accepted))?.0;
        Ok((Self::of(socket, self.domain, self.socket_type), known(&peer)?))
    }

    /// Connects to an address: connect(2). For datagrams this sets where they go to and come from.
    ///
    /// # Errors
    /// As connect(2) has them.
    pub async fn connect(&self, addr: &Addr) -> Result<()> {
        let failed = |error| Error::system("connect", error).at(addr);
        let begun = addr.to_kernel().and_then(|kernel| self.raw().connect(&kernel));
        match trace::call(format_args!("connect({}, {addr})", self.fd()), begun) {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            // A Unix listener whose backlog is full: the kernel gives no sign when there is room again.
            Err(error) => return Err(failed(error)),
        }
        let io = self.inner.io().map_err(failed)?;
        io.writable().await.map_err(failed)?.retain_ready();
        let outcome = match self.raw().take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        trace::call(format_args!("getsockopt({}, SOL_SOCKET, SO_ERROR)", self.fd()), outcome).map_err(failed)
    }

    /// Has the kernel tell with each datagram which of this machine's addresses it came to.
    pub(super) fn tell_arrivals(&self) -> io::Result<()> {
        let name = match self.domain {
            Domain::IPV6 => "SOL_IPV6, IPV6_RECVPKTINFO, 1",
            _ => "SOL_IP, IP_PKTINFO, 1",
        };
        self.set_own(name, |socket| Ok(arrival::tell(socket, self.domain)?))
    }

    /// Whether something can be received or accepted at this moment, the end of a stream included: poll(2).
    pub fn has_input(&self) -> bool {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// What was written and the peer has not taken yet (`SIOCOUTQ`): of TCP the bytes that its kernel has not acknowledged, the
    /// end of the stream counted as one; of Unix sockets what its program has not read, in a measure of the kernel's. None where
    /// the kernel does not tell.
    pub fn queued_out(&self) -> Option<usize> {
        sys::bytes_queued_out(self.as_fd()).ok()
    }

    /// Takes the failure that the kernel has noted since the last call that told one: `SO_ERROR`, socket(7).
    pub fn take_error(&self) -> Option<io::Error> {
        self.raw().take_error().ok().flatten()
    }

    /// Ends one or both directions: shutdown(2). The peer then reads the end of the stream.
    ///
    /// # Errors
    /// The socket is not connected.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let name = match how {
            Shutdown::Read => "SHUT_RD",
            Shutdown::Write => "SHUT_WR",
            Shutdown::Both => "SHUT_RDWR",
        };
        trace::call(format_args!("shutdown({}, {name})", self.fd()), self.raw().shutdown(how))
    }

    /// Sets an option and gives the value that is in force afterwards, as the kernel tells it: setsockopt(2).
    ///
    /// # Errors
    /// The option is not for this kind of socket, its value is out of range, or a privilege is missing.
    pub fn set_option(&self, setting: &Setting) -> Result<Value> {
        setting.apply(self.as_fd())
    }

    /// Lets small writes leave at once (`TCP_NODELAY`, tcp(7)); nothing to do for other sockets than those of TCP.
    ///
    /// # Errors
    /// As setsockopt(2) has them.
    pub fn set_nodelay(&self) -> io::Result<()> {
        let is_tcp = self.socket_type == Type::STREAM && matches!(self.domain, Domain::IPV4 | Domain::IPV6);
        if is_tcp { self.set_own("SOL_TCP, TCP_NODELAY, 1", |socket| socket.set_tcp_nodelay(true)) } else { Ok(()) }
    }

    /// What the kernel tells about the socket: addresses, credentials, queues, statistics.
    ///
    /// # Errors
    /// As getsockopt(2) has them.
    pub fn attributes(&self) -> Result<Attributes> {
        Attributes::of(self.as_fd())
    }

    /// The address of this end: getsockname(2).
    ///
    /// # Errors
    /// As getsockname(2) has them.
    pub fn local_addr(&self) -> io::Result<Addr> {
        self.raw().local_addr().and_then(|addr| known(&addr))
    }

    /// The address of the other end: getpeername(2).
    ///
    /// # Errors
    /// The socket is not connected.
    pub fn peer_addr(&self) -> io::Result<Addr> {
        self.raw().peer_addr().and_then(|addr| known(&addr))
    }

    /// The address domain that it was created in.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// The type that it was created with.
    pub fn socket_type(&self) -> Type {
        self.socket_type
    }

    /// The protocol that the kernel chose, if it names one: `SO_PROTOCOL`.
    pub fn protocol(&self) -> Option<Protocol> {
        self.raw().protocol().ok().flatten()
    }

    /// The socket for the calls that have no name here.
    pub fn raw(&self) -> &socket2::Socket {
        self.inner.socket()
    }

    fn of(socket: socket2::Socket, domain: Domain, socket_type: Type) -> Self {
        Self { file: None, inner: Watched::new(socket), domain, socket_type }
    }

    /// Makes the file of a Unix socket one that goes with it.
    pub(super) fn keep(&mut self, file: SocketFile) {
        self.file = Some(file);
    }

    /// Sets an option that this layer needs by itself.
    pub(super) fn set_own(&self, name: &str, set: impl FnOnce(&socket2::Socket) -> io::Result<()>) -> io::Result<()> {
        trace::call(format_args!("setsockopt({}, {name})", self.fd()), set(self.raw()))
    }

    fn fd(&self) -> i32 {
        self.raw().as_raw_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It is closed right after this.
        let _ = trace::call(format_args!("close({})", self.fd()), Ok(()));
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw().as_fd()
    }
}

fn known(addr: &SockAddr) -> io::Result<Addr> {
    Addr::from_kernel(addr).ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "an address of another domain"))
}

/// A new socket, for a trace that shows its descriptor.
struct Created(socket2::Socket);

impl trace::Shown for Created {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_raw_fd())
    }
}

/// An accepted socket and its peer, for a trace that shows both.
struct Accepted((socket2::Socket, SockAddr));

impl trace::Shown for Accepted {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (socket, peer) = &self.0;
        write!(f, "{}", socket.as_raw_fd())?;
        Addr::from_kernel(peer).map_or(Ok(()), |peer| write!(f, " (from {peer})"))
    }
}
