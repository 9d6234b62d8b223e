//! `Connector`: from an address as written to a connection, trying every address it stands for.
//!
//! Apart from [`Socket::connect`], which is one call on one address: this resolves, races IPv6 and IPv4 (RFC 8305), shares
//! one deadline and picks the error worth reporting.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Type};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::endpoint::{Endpoint, Family, Target};
use super::resolve::{Names, Purpose, resolve, resolve_hosts};
use super::socket_file::{SocketFile, SocketFileOptions};
use super::tap::{Tap, Tapped};
use super::{Addr, Error, ErrorKind, PacketSocket, Result, Socket, Stream, explain, inherited};

/// How long connecting may take in all, unless said otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an address gets before the next is tried beside it (RFC 8305, section 5).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long one address gets where it is not the only one that is left to try.
pub const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings for connecting. The default tries every address for ten seconds.
///
/// TCP sockets have `TCP_NODELAY` set, unless options of the endpoint say otherwise.
#[derive(Clone, Debug)]
pub struct Connector {
    /// The deadline for everything: look-ups, all addresses. Default [`CONNECT_TIMEOUT`].
    pub timeout: Duration,
    /// The local address to connect from: host, port or both; for Unix sockets a name. Default: the kernel's choice.
    pub local: Option<Endpoint>,
    /// Narrows an endpoint that takes either version of IP.
    pub family: Family,
    /// Whether names may be looked up.
    pub names: Names,
    /// Who is shown what passes through the connection. Default nobody.
    pub tap: Option<Arc<dyn Tap>>,
}

impl Default for Connector {
    fn default() -> Self {
        Self { timeout: CONNECT_TIMEOUT, local: None, family: Family::Any, names: Names::LookUp, tap: None }
    }
}

/// What connecting gives: one of the two interfaces, as the type of the socket has it.
#[derive(Debug)]
pub enum Connection {
    /// A stream socket's.
    Stream(Stream),
    /// A datagram or sequenced-packet socket's, connected to its peer.
    Packets(PacketSocket),
}

impl Connection {
    /// The kernel socket beneath.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Stream(stream) => stream.socket(),
            Self::Packets(packets) => Some(packets.socket()),
        }
    }
}

impl Connection {
    pub(super) fn tap(&mut self, tapped: Option<Box<Tapped>>) {
        match self {
            Self::Stream(stream) => stream.tap(tapped),
            Self::Packets(packets) => packets.tap(tapped),
        }
    }
}

impl From<Socket> for Connection {
    fn from(socket: Socket) -> Self {
        match socket.socket_type() == Type::STREAM {
            true => Self::Stream(socket.into()),
            false => Self::Packets(socket.into()),
        }
    }
}

impl From<Stream> for Connection {
    fn from(stream: Stream) -> Self {
        Self::Stream(stream)
    }
}

impl From<PacketSocket> for Connection {
    fn from(packets: PacketSocket) -> Self {
        Self::Packets(packets)
    }
}

impl Connector {
    /// Connects to an endpoint.
    ///
    /// # Errors
    /// The address cannot be resolved or is not one to connect to, the deadline passed, or every address failed: then the
    /// error is the one that says most.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Connection> {
        let mut connection = match &endpoint.target {
            Target::Inet { socket_type, .. } | Target::Unix { socket_type, .. } | Target::Vsock { socket_type, .. } => {
                self.connect_socket(endpoint, *socket_type, None).await?
            }
            Target::Srv { .. } => return self.connect_service(endpoint).await,
            Target::Fd(fd) => inherited::socket(*fd).map_err(|error| error.on(endpoint.name()))?.into(),
            Target::Exec(command) => inherited::program(command).map_err(|error| error.on(endpoint.name()))?.into(),
            Target::Systemd(_) | Target::Stdio | Target::File(_) => {
                return Err(Error::usage(format!("`{}` is nothing to connect to", endpoint.name()))
                    .hinting("connect to tcp:, udp:, unix:, vsock:, exec: or fd:"));
            }
        };
        self.tap(endpoint, &mut connection);
        Ok(connection)
    }

    /// Connects to an endpoint whose addresses are known already, so that its name is not looked up: for those who connect
    /// to many ports of one host.
    ///
    /// # Errors
    /// As for [`Connector::connect`]; an endpoint that is no socket address is a mistake.
    pub async fn connect_to(&self, endpoint: &Endpoint, addrs: Vec<Addr>) -> Result<Connection> {
        match &endpoint.target {
            Target::Inet { socket_type, .. }
            | Target::Srv { socket_type, .. }
            | Target::Unix { socket_type, .. }
            | Target::Vsock { socket_type, .. } => {
                let mut connection = self.connect_socket(endpoint, *socket_type, Some(addrs)).await?;
                self.tap(endpoint, &mut connection);
                Ok(connection)
            }
            _ => Err(Error::usage(format!("`{}` has no address", endpoint.name()))),
        }
    }

    fn tap(&self, endpoint: &Endpoint, connection: &mut Connection) {
        if let (Some(tap), Some(socket)) = (&self.tap, connection.socket()) {
            let tapped = Tapped::connected(tap, socket, endpoint.name());
            connection.tap(Some(tapped));
        }
    }

    /// Connects to the first host of a service that answers, in their order.
    async fn connect_service(&self, service: &Endpoint) -> Result<Connection> {
        let started = Instant::now();
        let late = |_| Error::timeout("look up", format!("no answer within {:?}", self.timeout)).on(service.name());
        let looking = resolve_hosts(service, Purpose::Connect, self.family, self.names);
        let mut hosts = timeout(self.timeout, looking).await.map_err(late)??.into_iter();
        let mut failures = Vec::new();
        while let Some((host, addrs)) = hosts.next() {
            let left = self.timeout.saturating_sub(started.elapsed());
            // One that does not answer leaves time for the next.
            let timeout = if hosts.len() > 0 { left.min(ADDRESS_TIMEOUT) } else { left };
            match (Self { timeout, ..self.clone() }).connect_to(&host, addrs).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    tracing::info!("{error}");
                    failures.push(error);
                }
            }
        }
        failures.sort_by_key(relevance);
        Err(failures.pop().unwrap_or_else(|| Error::lookup("look up", "no address").on(service.name())))
    }

    async fn connect_socket(
        &self,
        endpoint: &Endpoint,
        socket_type: Type,
        known: Option<Vec<Addr>>,
    ) -> Result<Connection> {
        let started = Instant::now();
        let look_up = async {
            let addrs = match known {
                Some(addrs) => addrs,
                None => resolve(endpoint, Purpose::Connect, self.family, self.names).await?,
            };
            let locals = match &self.local {
                None => Vec::new(),
                Some(local) => resolve(local, Purpose::Listen, self.family, self.names).await?,
            };
            Ok((addrs, locals))
        };
        let late = |_| Error::timeout("look up", format!("no answer within {:?}", self.timeout)).on(endpoint.name());
        let (addrs, locals) = timeout(self.timeout, look_up).await.map_err(late)??;
        let left = self.timeout.saturating_sub(started.elapsed());
        let attempt = |addr: Addr| {
            let connecting = attempt(endpoint.clone(), socket_type, addr.clone(), locals.clone());
            let late = Error::timeout("connect", format!("no answer within {:?}", self.timeout));
            let late = late.on(endpoint.name()).at(&addr);
            async move { timeout(left, connecting).await.unwrap_or(Err(late)) }
        };
        let Raced { winner, failures } = race(interleaved(addrs), attempt).await;
        if let Some((_, connection)) = winner {
            return Ok(connection);
        }
        let mut failures: Vec<Error> = failures.into_iter().map(|(_, error)| error).collect();
        failures.sort_by_key(relevance);
        let most_relevant = failures.pop().unwrap_or_else(|| Error::lookup("look up", "no address"));
        Err(explain::failed_connect(most_relevant, endpoint, socket_type))
    }
}

/// One address: create, set options, bind, connect.
async fn attempt(endpoint: Endpoint, socket_type: Type, addr: Addr, locals: Vec<Addr>) -> Result<Connection> {
    tracing::debug!("trying {addr}");
    let named = |error: Error| error.on(endpoint.name()).at(&addr);
    let mut socket = Socket::create(addr.domain(), socket_type).map_err(named)?;
    socket.set_nodelay().map_err(|error| named(Error::system("connect", error)))?;
    for option in &endpoint.options {
        socket.set_option(option)?;
    }
    match locals.iter().find(|local| local.domain() == addr.domain()) {
        Some(local) => SocketFile::bind(&mut socket, local, SocketFileOptions::default()).await?,
        None if !locals.is_empty() => {
            return Err(named(Error::usage("the source address is of another domain")));
        }
        // A datagram socket without a name cannot be answered.
        None if addr.domain() == Domain::UNIX && socket_type == Type::DGRAM => socket.autobind().map_err(named)?,
        None => {}
    }
    if socket_type == Type::DGRAM && is_many(&addr, &socket) {
        // Connected, it would hear only the address that it sends to, from which nobody answers.
        return Ok(PacketSocket::to_many(socket, addr).into());
    }
    connect_when_there_is_room(&socket, &addr).await.map_err(named)?;
    if is_connected_to_itself(&socket) {
        return Err(named(Error::system("connect", io::Error::from_raw_os_error(Errno::ECONNREFUSED as i32))));
    }
    Ok(socket.into())
}

/// Whether an address is that of many: a multicast group, or one to which a socket sends that may broadcast.
fn is_many(addr: &Addr, socket: &Socket) -> bool {
    let Addr::Inet(addr) = addr else { return false };
    addr.ip().is_multicast() || (addr.is_ipv4() && socket.raw().broadcast().unwrap_or(false))
}

/// Whether the kernel has given a TCP socket the very port that it connects to. Nobody listens there, and yet the
/// connection succeeds (RFC 9293, section 3.5, simultaneous open).
fn is_connected_to_itself(socket: &Socket) -> bool {
    let is_tcp = socket.socket_type() == Type::STREAM && matches!(socket.domain(), Domain::IPV4 | Domain::IPV6);
    is_tcp && socket.local_addr().is_ok_and(|local| socket.peer_addr().is_ok_and(|peer| peer == local))
}

/// Connects; a Unix listener whose backlog is full answers `EAGAIN` and gives no sign when there is room again, so that
/// it is asked again until the deadline around this passes.
async fn connect_when_there_is_room(socket: &Socket, addr: &Addr) -> Result<()> {
    let mut pause = Duration::from_millis(1);
    loop {
        match socket.connect(addr).await {
            Err(error) if error.errno() == Some(Errno::EAGAIN) && addr.domain() == Domain::UNIX => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            result => return result,
        }
    }
}

/// How a race has ended: the place in the order of each address that is told of.
pub(crate) struct Raced {
    /// The first that answered. Those before it that have not failed were slower by [`ATTEMPT_DELAY`] at least.
    pub(crate) winner: Option<(usize, Connection)>,
    /// Those that failed before that.
    pub(crate) failures: Vec<(usize, Error)>,
}

/// Starts an attempt for each address in turn: the next one when the last has failed or [`ATTEMPT_DELAY`] has passed.
/// The first success ends the others.
pub(crate) async fn race<F>(addrs: Vec<Addr>, attempt: impl Fn(Addr) -> F) -> Raced
where
    F: Future<Output = Result<Connection>> + Send + 'static,
{
    let mut addrs = addrs.into_iter().enumerate();
    // With one address there is nothing to race, and no task is needed.
    if addrs.len() == 1
        && let Some((at, addr)) = addrs.next()
    {
        return match attempt(addr).await {
            Ok(connection) => Raced { winner: Some((at, connection)), failures: Vec::new() },
            Err(error) => Raced { winner: None, failures: vec![(at, error)] },
        };
    }
    let mut running = JoinSet::new();
    let mut failures = Vec::new();
    let mut next_start: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(std::future::ready(()));
    loop {
        tokio::select! {
            biased;
            Some(ended) = running.join_next() => match ended {
                Ok((at, Ok(connection))) => return Raced { winner: Some((at, connection)), failures },
                Ok((at, Err(error))) => {
                    failures.push((at, error));
                    next_start = Box::pin(std::future::ready(()));
                }
                Err(panic) => failures.push((usize::MAX, Error::system("connect", io::Error::other(panic)))),
            },
            () = &mut next_start, if addrs.len() > 0 => {
                if let Some((at, addr)) = addrs.next() {
                    let connecting = attempt(addr);
                    running.spawn(async move { (at, connecting.await) });
                }
                next_start = Box::pin(sleep_until(Instant::now() + ATTEMPT_DELAY));
            }
            else => return Raced { winner: None, failures },
        }
    }
}

/// Takes turns between the two versions of IP, the first address's version first (RFC 8305, section 4).
pub(crate) fn interleaved(addrs: Vec<Addr>) -> Vec<Addr> {
    let Some(first) = addrs.first().map(Addr::domain) else { return addrs };
    let (ours, others): (Vec<_>, Vec<_>) = addrs.into_iter().partition(|addr| addr.domain() == first);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = (ours.next(), others.next());
        if pair == (None, None) {
            return mixed;
        }
        mixed.extend([pair.0, pair.1].into_iter().flatten());
    }
}

/// How much an error says about the endpoint: a refusal more than silence, silence more than that there is no way.
pub(crate) fn relevance(error: &Error) -> u8 {
    match (error.kind(), error.errno()) {
        (_, Some(Errno::ENETUNREACH | Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT)) => 0,
        (_, Some(Errno::EHOSTUNREACH)) => 2,
        (ErrorKind::Timeout, _) => 3,
        // One version of IP does not fit what was asked for; what became of the other says more.
        (ErrorKind::Usage, _) => 1,
        (_, Some(_)) => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn addr(text: &str) -> Addr {
        Addr::Inet(text.parse::<SocketAddr>().expect("an address"))
    }

    #[test]
    fn families_take_turns() {
        let mixed = interleaved(["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(addr).to_vec());
        assert_eq!(mixed, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(addr).to_vec());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_does_not_hold_up_the_next() {
        let started = Instant::now();
        let raced = race(vec![addr("192.0.2.1:1"), addr("[::1]:2")], |addr| async move {
            match addr.port() {
                Some(1) => std::future::pending().await,
                _ => Socket::create(Domain::UNIX, Type::STREAM).map(Connection::from),
            }
        });
        assert!(raced.await.winner.is_some_and(|(at, _)| at == 1));
        assert_eq!(started.elapsed(), ATTEMPT_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once_and_all_are_reported() {
        let started = Instant::now();
        let raced = race(vec![addr("[::1]:1"), addr("127.0.0.1:2"), addr("[::1]:3")], |addr| async move {
            Err(Error::timeout("connect", "tried").at(&addr))
        });
        let places: Vec<usize> = raced.await.failures.iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [0, 1, 2]);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_socket_that_meets_only_itself_was_refused() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let endpoint: Endpoint = format!("tcp:{free}").parse().expect("an endpoint");
        let local = Some(endpoint.source(&free.to_string()).expect("a source"));
        let error = Connector { local, ..Connector::default() }.connect(&endpoint).await.expect_err("nobody is there");
        assert_eq!(error.errno(), Some(Errno::ECONNREFUSED));
    }

    #[test]
    fn a_refusal_says_more_than_a_missing_route() {
        let error = |errno: Errno| Error::system("connect", io::Error::from_raw_os_error(errno as i32));
        let mut errors = [error(Errno::ECONNREFUSED), error(Errno::ENETUNREACH), Error::timeout("connect", "late")];
        errors.sort_by_key(relevance);
        assert_eq!(errors[2].errno(), Some(Errno::ECONNREFUSED));
    }
}
