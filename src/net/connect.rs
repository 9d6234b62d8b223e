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
use super::resolve::{Names, Purpose, resolve};
use super::socket_file::SocketFile;
use super::tap::{Tap, Tapped};
use super::{Addr, Error, ErrorKind, PacketSocket, Result, Socket, Stream, explain, inherited};

/// How long connecting may take in all, unless said otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an address gets before the next is tried beside it (RFC 8305, section 5).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

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
        let socket = match &endpoint.target {
            Target::Inet { socket_type, .. } | Target::Unix { socket_type, .. } | Target::Vsock { socket_type, .. } => {
                self.connect_socket(endpoint, *socket_type).await?
            }
            Target::Fd(fd) => inherited::socket(*fd).map_err(|error| error.on(endpoint.name()))?,
            Target::Exec(command) => inherited::program(command).map_err(|error| error.on(endpoint.name()))?,
            Target::Systemd(_) | Target::Stdio | Target::File(_) => {
                return Err(Error::usage(format!("`{}` is nothing to connect to", endpoint.name()))
                    .hinting("connect to tcp:, udp:, unix:, vsock:, exec: or fd:"));
            }
        };
        let tapped = self.tap.as_ref().map(|tap| Tapped::connected(tap, &socket, endpoint.name()));
        let mut connection = Connection::from(socket);
        connection.tap(tapped);
        Ok(connection)
    }

    async fn connect_socket(&self, endpoint: &Endpoint, socket_type: Type) -> Result<Socket> {
        let started = Instant::now();
        let look_up = async {
            let addrs = resolve(endpoint, Purpose::Connect, self.family, self.names).await?;
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
        let mut failures = match race(interleaved(addrs), attempt).await {
            Ok(socket) => return Ok(socket),
            Err(failures) => failures,
        };
        failures.sort_by_key(relevance);
        let most_relevant = failures.pop().unwrap_or_else(|| Error::lookup("look up", "no address"));
        Err(explain::failed_connect(most_relevant, endpoint, socket_type))
    }
}

/// One address: create, set options, bind, connect.
async fn attempt(endpoint: Endpoint, socket_type: Type, addr: Addr, locals: Vec<Addr>) -> Result<Socket> {
    tracing::debug!("trying {addr}");
    let named = |error: Error| error.on(endpoint.name()).at(&addr);
    let mut socket = Socket::create(addr.domain(), socket_type).map_err(named)?;
    socket.set_nodelay().map_err(|error| named(Error::system("connect", error)))?;
    for option in &endpoint.options {
        socket.set_option(option)?;
    }
    match locals.iter().find(|local| local.domain() == addr.domain()) {
        Some(local) => SocketFile::bind(&mut socket, local).await?,
        None if !locals.is_empty() => {
            return Err(named(Error::usage("the source address is of another domain")));
        }
        // A datagram socket without a name cannot be answered.
        None if addr.domain() == Domain::UNIX && socket_type == Type::DGRAM => socket.autobind().map_err(named)?,
        None => {}
    }
    connect_when_there_is_room(&socket, &addr).await.map_err(named)?;
    Ok(socket)
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

/// Starts an attempt for each address in turn: the next one when the last has failed or [`ATTEMPT_DELAY`] has passed.
/// The first success ends the others.
async fn race<F>(addrs: Vec<Addr>, attempt: impl Fn(Addr) -> F) -> Result<Socket, Vec<Error>>
where
    F: Future<Output = Result<Socket>> + Send + 'static,
{
    let mut addrs = addrs.into_iter();
    // With one address there is nothing to race, and no task is needed.
    if addrs.len() == 1
        && let Some(addr) = addrs.next()
    {
        return attempt(addr).await.map_err(|error| vec![error]);
    }
    let mut running = JoinSet::new();
    let mut failures = Vec::new();
    let mut next_start: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(std::future::ready(()));
    loop {
        tokio::select! {
            biased;
            Some(ended) = running.join_next() => match ended {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => {
                    failures.push(error);
                    next_start = Box::pin(std::future::ready(()));
                }
                Err(panic) => failures.push(Error::system("connect", io::Error::other(panic))),
            },
            () = &mut next_start, if addrs.len() > 0 => {
                if let Some(addr) = addrs.next() {
                    running.spawn(attempt(addr));
                }
                next_start = Box::pin(sleep_until(Instant::now() + ATTEMPT_DELAY));
            }
            else => return Err(failures),
        }
    }
}

/// Takes turns between the two versions of IP, the first address's version first (RFC 8305, section 4).
fn interleaved(addrs: Vec<Addr>) -> Vec<Addr> {
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
fn relevance(error: &Error) -> u8 {
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
                _ => Socket::create(Domain::UNIX, Type::STREAM),
            }
        });
        assert!(raced.await.is_ok());
        assert_eq!(started.elapsed(), ATTEMPT_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once_and_all_are_reported() {
        let started = Instant::now();
        let raced = race(vec![addr("[::1]:1"), addr("127.0.0.1:2"), addr("[::1]:3")], |addr| async move {
            Err(Error::timeout("connect", "tried").at(&addr))
        });
        assert_eq!(raced.await.expect_err("all fail").len(), 3);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_refusal_says_more_than_a_missing_route() {
        let error = |errno: Errno| Error::system("connect", io::Error::from_raw_os_error(errno as i32));
        let mut errors = [error(Errno::ECONNREFUSED), error(Errno::ENETUNREACH), Error::timeout("connect", "late")];
        errors.sort_by_key(relevance);
        assert_eq!(errors[2].errno(), Some(Errno::ECONNREFUSED));
    }
}
