//! `Socket`: one kernel socket of any domain and type, with the calls of the socket interface under their own names.
//!
//! One struct with domain and type as values, rather than one a transport: what differs between them is the address.
//! [`Stream`](super::Stream) and [`PacketSocket`](super::PacketSocket) are built on it.

use std::fmt;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::io::Interest;

use super::attributes::{self, Attributes, Credentials};
use super::options::{Setting, Value};
use super::socket_file::SocketFile;
use super::sys::Watched;
use super::{Addr, Arrival, Error, Result, UnixName, arrival, sys, trace};

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

    /// Receives into `buffer`: recv(2). Zero bytes are the end of a stream.
    ///
    /// # Errors
    /// As recv(2) has them: a reset by the peer, a refusal that came back for a datagram.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let received = loop {
            let mut ready = ready!(self.inner.io()?.poll_read_ready(cx))?;
            match ready.try_io(|_| uninterrupted(|| self.raw().read(buffer))) {
                Ok(received) => {
                    // What TCP had is taken, and the kernel will tell of more (epoll(7), question 9): asking would cost a call.
                    let is_inet = matches!(self.domain, Domain::IPV4 | Domain::IPV6);
                    if is_inet && received.as_ref().is_ok_and(|length| (1..buffer.len()).contains(length)) {
                        ready.clear_ready();
                    }
                    break received;
                }
                Err(_would_block) => {}
            }
        };
        Poll::Ready(trace::call(format_args!("recv({}, {} bytes)", self.fd(), buffer.len()), received))
    }

    /// Sends what the socket takes of `bytes`: send(2), without the signal for a closed connection.
    ///
    /// # Errors
    /// As send(2) has them: a reset by the peer, a packet that is too long.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = ready!(self.poll_write_io(cx, |socket| socket.send_with_flags(bytes, libc::MSG_NOSIGNAL)));
        Poll::Ready(trace::call(format_args!("send({}, {} bytes)", self.fd(), bytes.len()), sent))
    }

    /// [`Socket::poll_send`] for those who wait.
    ///
    /// # Errors
    /// As for [`Socket::poll_send`].
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.when(Interest::WRITABLE, |socket| socket.send_with_flags(bytes, libc::MSG_NOSIGNAL)).await;
        trace::call(format_args!("send({}, {} bytes)", self.fd(), bytes.len()), sent)
    }

    /// Receives one packet of a connected socket. The length is that of the packet: more than `buffer` has if it was
    /// cut (`MSG_TRUNC`, recv(2)).
    ///
    /// # Errors
    /// As recv(2) has them; also one that came back for a packet sent before, such as a refusal.
    pub async fn recv_packet(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received =
            self.when(INPUT_OR_ERROR, |socket| socket.recv_with_flags(sys::uninit(buffer), libc::MSG_TRUNC)).await;
        trace::call(format_args!("recv({}, {} bytes)", self.fd(), buffer.len()), received)
    }

    /// Receives one packet and says whom it is from and, where the kernel tells, which of this machine's addresses it came
    /// to. The length is as for [`Socket::recv_packet`].
    ///
    /// # Errors
    /// As recvmsg(2) has them.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Addr, Option<Arrival>)> {
        let is_inet = matches!(self.domain, Domain::IPV4 | Domain::IPV6);
        let size = buffer.len();
        let receive = |socket: &socket2::Socket| {
            if is_inet {
                return arrival::receive(socket, buffer).map(|(length, from, to)| (length, Addr::Inet(from), to));
            }
            let (length, from) = socket.recv_from_with_flags(sys::uninit(buffer), libc::MSG_TRUNC)?;
            Ok((length, Addr::from_kernel(&from).unwrap_or(Addr::Unix(UnixName::Unnamed)), None))
        };
        let received = self.when(INPUT_OR_ERROR, receive).await;
        let call = format_args!("recvfrom({}, {size} bytes)", self.fd());
        trace::call(call, received.map(Received)).map(|Received(received)| received)
    }

    /// Sends one packet to an address: sendto(2).
    ///
    /// # Errors
    /// As sendto(2) has them: a packet that is too long, nobody there (Unix).
    pub async fn send_to(&self, bytes: &[u8], addr: &Addr) -> io::Result<usize> {
        let kernel = addr.to_kernel()?;
        let send = |socket: &socket2::Socket| socket.send_to_with_flags(bytes, &kernel, libc::MSG_NOSIGNAL);
        let sent = self.when(Interest::WRITABLE, send).await;
        trace::call(format_args!("sendto({}, {} bytes, {addr})", self.fd(), bytes.len()), sent)
    }

    /// Sends one packet to an address if there is room for it now; an answer, from the address that the question came to.
    ///
    /// # Errors
    /// As for [`Socket::send_to`]; `WouldBlock` if there is no room.
    pub fn try_send_to(&self, bytes: &[u8], addr: &Addr, arrival: Option<Arrival>) -> io::Result<usize> {
        let sent = uninterrupted(|| {
            if let (Addr::Inet(to), Some(arrival)) = (addr, arrival) {
                match arrival::answer(self.raw(), bytes, *to, arrival) {
                    // What came to a broadcast address cannot be answered from there.
                    Err(error) if arrival::is_no_source(&error) => {}
                    sent => return sent,
                }
            }
            self.raw().send_to_with_flags(bytes, &addr.to_kernel()?, libc::MSG_NOSIGNAL)
        });
        trace::call(format_args!("sendto({}, {} bytes, {addr})", self.fd(), bytes.len()), sent)
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

    /// The process at the other end of a Unix connection: `SO_PEERCRED`, unix(7). None for other domains.
    pub fn peer_credentials(&self) -> Option<Credentials> {
        (self.domain == Domain::UNIX).then(|| attributes::credentials(self.as_fd())).flatten()
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

    fn poll_write_io<T>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&socket2::Socket) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let mut ready = ready!(self.inner.io()?.poll_write_ready(cx))?;
            match ready.try_io(|_| uninterrupted(|| call(self.raw()))) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    /// Makes a call when the socket is ready for it, as often as it takes.
    async fn when<T>(
        &self,
        interest: Interest,
        mut call: impl FnMut(&socket2::Socket) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let mut ready = self.inner.io()?.ready(interest).await?;
            match ready.try_io(|_| uninterrupted(|| call(self.raw()))) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }
}

/// A refused datagram makes a socket neither readable nor writable, but there is something to be received: the error.
const INPUT_OR_ERROR: Interest = Interest::READABLE.add(Interest::ERROR);

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

/// Makes a call again that a signal has interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A new socket, for a trace that shows its descriptor.
struct Created(socket2::Socket);

impl trace::Shown for Created {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_raw_fd())
    }
}

/// A received packet, for a trace that shows its length and sender.
struct Received((usize, Addr, Option<Arrival>));

impl trace::Shown for Received {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, from, _) = &self.0;
        write!(f, "{length} (from {from})")
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
