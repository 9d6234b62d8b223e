//! `Target`: the server that is measured, found once, and connections to it as cheap as the kernel gives them.
//!
//! Apart from [`Connector`], which looks names up, races addresses and waits on a runtime each time: here the address is known,
//! and what it costs to reach it would be measured with the server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::link::{Link, Unit};
use crate::net::{Addr, Connector, Domain, Endpoint, Error, Purpose, Result, Socket, Type, resolve};

/// How many addresses of the loopback network connections come from in turn. Each has its own 28,000 ports, which stay in
/// use for a while after a connection has ended.
const SOURCES: u32 = 64;

/// A server that answers each message, at the one address that it was found at.
#[derive(Clone, Debug)]
pub struct Target {
    endpoint: Endpoint,
    addr: Addr,
    socket_type: Type,
    connect_timeout: Duration,
}

impl Target {
    /// Finds the server: connects once, as any client would, and closes again without a word.
    ///
    /// # Errors
    /// There is nobody, or the endpoint is no address of a server.
    pub async fn find(endpoint: &Endpoint, connector: &Connector) -> Result<Self> {
        use crate::net::Target::{Inet, Srv, Unix, Vsock};
        let (Inet { socket_type, .. } | Srv { socket_type, .. } | Unix { socket_type, .. } | Vsock { socket_type, .. }) =
            endpoint.target
        else {
            return Err(not_an_address(endpoint));
        };
        let addrs = match resolve(endpoint, Purpose::Connect, connector.family, connector.names).await {
            Ok(addrs) => addrs,
            Err(error) if error.kind() == crate::net::ErrorKind::Usage => return Err(error),
            // The connector says more about it, and has a deadline.
            Err(_) => Vec::new(),
        };
        let connection = connector.connect(endpoint).await?;
        let connected = connection.socket().ok_or_else(|| not_an_address(endpoint))?;
        let addr = match <[Addr; 1]>::try_from(addrs) {
            Ok([addr]) => addr,
            // The one of several that has won. (The name of a Unix socket may be known to its server by another path.)
            Err(_) => connected.peer_addr().map_err(|error| Error::system("connect", error).on(endpoint.name()))?,
        };
        Ok(Self { endpoint: endpoint.clone(), addr, socket_type, connect_timeout: connector.timeout })
    }

    /// The address as it was written, without options.
    pub fn name(&self) -> String {
        self.endpoint.name().to_string()
    }

    /// Whether messages are lines of a stream.
    pub fn is_stream(&self) -> bool {
        self.socket_type == Type::STREAM
    }

    /// Whether there are connections, and nothing is lost on the way.
    pub fn has_connections(&self) -> bool {
        self.socket_type != Type::DGRAM
    }

    /// Connects.
    pub(super) fn open(&self, timeout: Duration) -> Result<Link> {
        self.open_from(timeout, None)
    }

    /// Connects as one of very many: to this machine from the address of the loopback network whose turn it is.
    pub(super) fn open_one_of_many(&self, timeout: Duration, number: u64) -> Result<Link> {
        let to_loopback = matches!(self.addr, Addr::Inet(SocketAddr::V4(to)) if to.ip().is_loopback());
        let source = || {
            let turn = u32::try_from(number % u64::from(SOURCES)).unwrap_or_default();
            Addr::Inet(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + turn)), 0))
        };
        self.open_from(timeout, (to_loopback && self.is_stream()).then(source))
    }

    fn open_from(&self, timeout: Duration, source: Option<Addr>) -> Result<Link> {
        let named = |error: Error| error.on(self.endpoint.name()).at(&self.addr);
        let system = |error| named(Error::system("connect", error));
        let socket = Socket::create(self.addr.domain(), self.socket_type).map_err(|error| match error.errno() {
            Some(Errno::EMFILE) => named(error).hinting("raise the limit of open files (ulimit -n), or use less"),
            _ => named(error),
        })?;
        socket.set_nodelay().map_err(system)?;
        for option in &self.endpoint.options {
            socket.set_option(option)?;
        }
        if let Some(source) = source {
            // The port is chosen with the destination in view, so that one can be used for many.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).map_err(|errno| system(errno.into()))?;
            socket.bind(&source).map_err(named)?;
        }
        if self.socket_type == Type::DGRAM && self.addr.domain() == Domain::UNIX {
            socket.autobind().map_err(named)?;
        }
        // A thread waits in the call itself: that is quicker than a runtime by a call or two for each message.
        let raw = socket.raw();
        raw.set_nonblocking(false).map_err(system)?;
        // For connecting; a message always finds room.
        raw.set_write_timeout(bounded(self.connect_timeout)).map_err(system)?;
        raw.connect(&self.addr.to_kernel().map_err(system)?).map_err(|error| match error.raw_os_error() {
            // As connect(2) tells that the time to send has passed.
            Some(libc::EINPROGRESS | libc::EAGAIN) => {
                named(Error::timeout("connect", format!("no answer within {:?}", self.connect_timeout)))
            }
            _ => system(error),
        })?;
        raw.set_read_timeout(bounded(timeout)).map_err(system)?;
        Ok(Link::new(socket, if self.is_stream() { Unit::Line } else { Unit::Packet }, timeout))
    }
}

fn not_an_address(endpoint: &Endpoint) -> Error {
    Error::usage(format!("`{}` is no server that can be measured", endpoint.name()))
        .hinting("write an address of tcp:, udp:, unix:, unix-dgram:, unix-seqpacket: or vsock:")
}

/// A time-out as the kernel takes it: for it, 0 is none at all.
fn bounded(timeout: Duration) -> Option<Duration> {
    Some(timeout.max(Duration::from_micros(1)))
}
