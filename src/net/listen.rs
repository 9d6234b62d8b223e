//! `ListenConfig` and `Listener`: being reached at an address.
//!
//! Apart from [`Socket::listen`], which is one call: a port alone listens on IPv6 and IPv4, a host on each of its addresses,
//! and a Unix path brings a file that must be made, kept private and taken away again.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use nix::errno::Errno;
use socket2::Type;

use super::endpoint::{Endpoint, Family, Target};
use super::options::Value;
use super::resolve::{Names, Purpose, check, resolve};
use super::socket_file::{SocketFile, SocketFileOptions};
use super::tap::{Tap, Tapped};
use super::{Addr, BACKLOG, Connection, Error, PacketSocket, Result, Socket, endpoint, explain, inherited};

/// How often a free port is tried for that must be free on several addresses at once.
const FREE_PORT_TRIES: usize = 16;

/// Settings for listening. The default takes every address that the endpoint stands for.
///
/// TCP sockets have `SO_REUSEADDR` and `TCP_NODELAY` set, unless options of the endpoint say otherwise.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// How many connections may wait to be accepted. Default [`BACKLOG`].
    pub backlog: i32,
    /// Narrows an endpoint that takes either version of IP.
    pub family: Family,
    /// Whether names may be looked up.
    pub names: Names,
    /// Who may connect to a Unix socket that is bound to a path.
    pub socket_file: SocketFileOptions,
    /// Who is shown what passes through the connections, and datagrams. Default nobody.
    pub tap: Option<Arc<dyn Tap>>,
}

impl Default for ListenConfig {
    fn default() -> Self {
        let socket_file = SocketFileOptions::default();
        Self { backlog: BACKLOG, family: Family::Any, names: Names::LookUp, socket_file, tap: None }
    }
}

/// A server's sockets for one endpoint: they listen, or (datagrams) are bound and wait to be taken.
///
/// When it is dropped the file of a Unix socket is removed, if it is still the one that was made here.
#[derive(Debug)]
pub struct Listener {
    bound: Vec<Socket>,
    /// Connections that somebody else has accepted and passed on: each is handed out once.
    passed: Mutex<Vec<Incoming>>,
    /// Which of the sockets is asked first.
    turn: AtomicUsize,
    tap: Option<Arc<dyn Tap>>,
}

/// A connection that has been accepted, as it came: no byte has been read, no handshake made.
#[derive(Debug)]
pub struct Incoming {
    /// The socket of the connection.
    pub socket: Socket,
    /// The address of the peer.
    pub peer: Addr,
    tap: Option<Arc<dyn Tap>>,
}

impl From<Incoming> for Connection {
    fn from(Incoming { socket, peer, tap }: Incoming) -> Self {
        let tapped = tap.map(|tap| Tapped::accepted(&tap, &socket, Some(&peer)));
        let mut connection = Self::from(socket);
        connection.tap(tapped);
        connection
    }
}

impl ListenConfig {
    /// Creates, binds and (but for datagrams) listens.
    ///
    /// # Errors
    /// The endpoint cannot be resolved or is none to listen on; the address is in use, not of this machine, or not allowed.
    pub async fn listen(&self, endpoint: &Endpoint) -> Result<Listener> {
        let sockets = match &endpoint.target {
            Target::Inet { socket_type, .. } | Target::Unix { socket_type, .. } | Target::Vsock { socket_type, .. } => {
                let addrs = resolve(endpoint, Purpose::Listen, self.family, self.names).await?;
                self.bind_all(endpoint, *socket_type, addrs)
                    .await
                    .map_err(|error| explain::failed_bind(error.on(endpoint.name()), *socket_type))?
            }
            Target::Fd(fd) => vec![inherited::socket(*fd).map_err(|error| error.on(endpoint.name()))?],
            Target::Systemd(name) => inherited::from_systemd(name.as_deref())?,
            Target::Srv { .. } => {
                check(endpoint, Purpose::Listen, self.family, self.names).await?;
                return Err(Error::usage("not an address to listen on").on(endpoint.name()));
            }
            Target::Stdio | Target::Exec(_) | Target::File(_) => {
                return Err(Error::usage(format!("`{}` is nothing to listen on", endpoint.name()))
                    .hinting("listen on a port, or on tcp:, udp:, unix:, vsock:, fd: or systemd"));
            }
        };
        Listener::of(sockets, self.tap.clone()).map_err(|error| error.on(endpoint.name()))
    }

    async fn bind_all(&self, endpoint: &Endpoint, socket_type: Type, addrs: Vec<Addr>) -> Result<Vec<Socket>> {
        let any_host = matches!(endpoint.target, Target::Inet { host: None, .. });
        let family = match endpoint.target {
            Target::Inet { family: Family::V6, .. } => Family::V6,
            _ => self.family,
        };
        let of_groups: Vec<Addr> = addrs.iter().filter(|addr| fits_groups(addr, endpoint)).cloned().collect();
        // A group is of one version of IP, and so must be the socket that joins it.
        let addrs = if any_host && !of_groups.is_empty() { of_groups } else { addrs };
        if any_host && let [v6, v4] = &addrs[..] {
            // One socket for both versions of IP, unless this machine has no IPv6.
            let both = self.bind_one(endpoint, socket_type, v6, Some(false)).await;
            return match both {
                Err(error) if matches!(error.errno(), Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)) => {
                    Ok(vec![self.bind_one(endpoint, socket_type, v4, None).await?])
                }
                both => Ok(vec![both?]),
            };
        }
        let v6_only = (family == Family::V6).then_some(true);
        for tries_left in (0..FREE_PORT_TRIES).rev() {
            match self.bind_each(endpoint, socket_type, &addrs, v6_only).await {
                // The free port of the first address may be taken on the second.
                Err(error) if error.errno() == Some(Errno::EADDRINUSE) && wants_free_port(&addrs) && tries_left > 0 => {
                }
                bound => return bound,
            }
        }
        Err(Error::usage("no port is free on every address"))
    }

    async fn bind_each(
        &self,
        endpoint: &Endpoint,
        socket_type: Type,
        addrs: &[Addr],
        v6_only: Option<bool>,
    ) -> Result<Vec<Socket>> {
        let mut bound: Vec<Socket> = Vec::new();
        for addr in addrs {
            let chosen = bound.first().and_then(|first| first.local_addr().ok()).as_ref().and_then(Addr::port);
            bound.push(self.bind_one(endpoint, socket_type, &with_port(addr, chosen), v6_only).await?);
        }
        Ok(bound)
    }

    async fn bind_one(
        &self,
        endpoint: &Endpoint,
        socket_type: Type,
        addr: &Addr,
        v6_only: Option<bool>,
    ) -> Result<Socket> {
        let mut socket = Socket::create(addr.domain(), socket_type)?;
        let failed = |error| Error::system("listen", error).at(addr);
        if let Some(v6_only) = v6_only {
            let name = format!("SOL_IPV6, IPV6_V6ONLY, {}", i32::from(v6_only));
            socket.set_own(&name, |socket| socket.set_only_v6(v6_only)).map_err(failed)?;
        }
        if matches!(addr, Addr::Inet(_)) && socket_type == Type::STREAM {
            // Connections of a server that has ended still hold the port for a minute; two servers never share it.
            socket.set_own("SOL_SOCKET, SO_REUSEADDR, 1", |s| s.set_reuse_address(true)).map_err(failed)?;
            // Accepted connections have it from here.
            socket.set_nodelay().map_err(failed)?;
        }
        if socket_type == Type::DGRAM && matches!(addr, Addr::Inet(addr) if addr.ip().is_unspecified()) {
            socket.tell_arrivals().map_err(failed)?;
        }
        for option in &endpoint.options {
            socket.set_option(option)?;
        }
        SocketFile::bind(&mut socket, addr, self.socket_file).await?;
        if socket_type != Type::DGRAM {
            socket.listen(self.backlog).map_err(|error| error.at(addr))?;
        }
        Ok(socket)
    }
}

impl Listener {
    /// Sockets that are bound, and connections that are there already: inetd passes those with `nowait`, systemd with
    /// `Accept=yes`.
    fn of(sockets: Vec<Socket>, tap: Option<Arc<dyn Tap>>) -> Result<Self> {
        let (mut bound, mut passed) = (Vec::new(), Vec::new());
        for socket in sockets {
            if socket.socket_type() == Type::DGRAM || socket.raw().is_listener().unwrap_or(true) {
                bound.push(socket);
                continue;
            }
            let peer = socket.peer_addr().map_err(|_| {
                Error::usage("the socket neither listens nor is connected").hinting(
                    "the program that starts this one must pass a socket that it has made to listen, or a connection",
                )
            })?;
            socket.set_nodelay().map_err(|error| Error::system("take over a connection", error))?;
            passed.push(Incoming { socket, peer, tap: tap.clone() });
        }
        Ok(Self { bound, passed: Mutex::new(passed), turn: AtomicUsize::new(0), tap })
    }

    /// Waits for a connection on any of the sockets. One that was passed to this process comes first.
    ///
    /// # Errors
    /// As [`Socket::accept`] has them. Most pass (descriptors ran out, the peer has gone again): go on accepting after a pause.
    pub async fn accept(&self) -> io::Result<Incoming> {
        if let Some(incoming) = self.passed().pop() {
            return Ok(incoming);
        }
        let accepted = |(socket, peer)| Incoming { socket, peer, tap: self.tap.clone() };
        if let [only] = &self.bound[..] {
            return only.accept().await.map(accepted);
        }
        let mut waiting: Vec<_> = self.bound.iter().map(|bound| Box::pin(bound.accept())).collect();
        // The next time another one is asked first, so that none is kept waiting by a busy one.
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % waiting.len().max(1);
        waiting.rotate_left(first);
        poll_fn(|cx| {
            let ready = waiting.iter_mut().map(|accept| accept.as_mut().poll(cx)).find(Poll::is_ready);
            ready.unwrap_or(Poll::Pending).map_ok(accepted)
        })
        .await
    }

    /// Whether somebody waits to be accepted at this moment.
    pub fn has_input(&self) -> bool {
        !self.passed().is_empty() || self.bound.iter().any(Socket::has_input)
    }

    /// Whether there is anything to accept from: sockets for datagrams have no connections, and one that was passed is
    /// accepted once.
    pub fn has_connections(&self) -> bool {
        !self.passed().is_empty() || self.bound.iter().any(|bound| bound.socket_type() != Type::DGRAM)
    }

    /// Takes the sockets for datagrams out, one for each address; the others stay.
    pub fn take_packets(&mut self) -> Vec<PacketSocket> {
        let (packets, others) =
            std::mem::take(&mut self.bound).into_iter().partition(|bound| bound.socket_type() == Type::DGRAM);
        self.bound = others;
        let packets: Vec<Socket> = packets;
        let tapped = |socket: Socket| {
            let tapped = self.tap.as_ref().map(|tap| Tapped::accepted(tap, &socket, None));
            let mut packets = PacketSocket::from(socket);
            packets.tap(tapped);
            packets
        };
        packets.into_iter().map(tapped).collect()
    }

    /// The addresses that it listens on as the kernel has them, with the true port where 0 was asked for.
    ///
    /// # Errors
    /// As getsockname(2) has them.
    pub fn local_addrs(&self) -> io::Result<Vec<Addr>> {
        self.bound.iter().map(Socket::local_addr).collect()
    }

    /// The addresses that it listens on as a user would write them: `tcp:[::]:51717`.
    pub fn names(&self) -> Vec<String> {
        let name = |bound: &Socket| {
            let addr = bound.local_addr().unwrap_or(Addr::Unix(super::UnixName::Unnamed));
            endpoint::written(&addr, bound.socket_type())
        };
        self.bound.iter().map(name).collect()
    }

    fn passed(&self) -> MutexGuard<'_, Vec<Incoming>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an address is of the version of IP of every multicast group that its socket is to join.
fn fits_groups(addr: &Addr, endpoint: &Endpoint) -> bool {
    endpoint.options.iter().all(|option| match (option.value(), addr) {
        (Value::Group(group, _), Addr::Inet(addr)) => group.is_ipv4() == addr.is_ipv4(),
        _ => true,
    })
}

fn wants_free_port(addrs: &[Addr]) -> bool {
    addrs.len() > 1 && addrs.iter().all(|addr| matches!(addr, Addr::Inet(addr) if addr.port() == 0))
}

fn with_port(addr: &Addr, chosen: Option<u32>) -> Addr {
    match (addr, chosen.and_then(|port| u16::try_from(port).ok())) {
        (Addr::Inet(addr), Some(port)) if addr.port() == 0 => Addr::Inet(SocketAddr::new(addr.ip(), port)),
        _ => addr.clone(),
    }
}
