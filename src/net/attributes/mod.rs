//! Attributes: what the kernel tells of a socket that cannot be set: addresses, peer, state, queues, measures.
//!
//! Apart from the options, which can be set. One [table](ATTRIBUTES) names them all: listings, JSON and the
//! documentation come from it.

mod table;
mod tcp_info;

use std::fmt::{self, Write};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use serde::ser::{Serialize, SerializeMap, Serializer};
use socket2::{Domain, Protocol, SockRef, Type};

use super::{Addr, Error, Result, UnixName, credentials, sys};

pub use super::credentials::Credentials;
pub use table::ATTRIBUTES;
pub use tcp_info::TcpInfo;

/// What the kernel tells of a socket.
///
/// It serializes as an object with a field for each row of [`ATTRIBUTES`] that the socket has.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// The address domain.
    pub domain: Domain,
    /// The type.
    pub kind: Type,
    /// The protocol; `None` is the domain's only one.
    pub protocol: Option<Protocol>,
    /// Its own address, once it has one.
    pub local: Option<Addr>,
    /// The address that it is connected to.
    pub peer: Option<Addr>,
    /// Whether it listens for connections.
    pub is_listening: bool,
    /// Who the peer was when it connected or listened; of Unix sockets only.
    pub credentials: Option<Credentials>,
    /// The bytes that can be read now; of datagrams, those of the next one. None for a listener.
    pub queued_in: Option<usize>,
    /// The bytes that were written and that the peer has not taken yet. None for a listener.
    pub queued_out: Option<usize>,
    /// What TCP knows of the connection.
    pub tcp: Option<TcpInfo>,
}

/// One attribute: a row of [`ATTRIBUTES`].
pub struct Attribute {
    /// Its name, also that of its field in JSON.
    pub name: &'static str,
    /// The unit of its number, or nothing.
    pub unit: &'static str,
    /// The call or the field of the kernel's that tells it.
    pub source: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its reading; `None` where the socket has no such thing.
    pub read: fn(&Attributes) -> Option<Reading>,
}

/// What an attribute was read as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reading {
    /// Whether or not.
    Flag(bool),
    /// A number, in the unit of its attribute.
    Number(u64),
    /// A name or an address.
    Text(String),
}

impl Attributes {
    /// Asks the kernel for all that it tells of a socket. Changes nothing: a waiting error stays (`SO_ERROR` would take
    /// it).
    ///
    /// # Errors
    /// `fd` is no socket.
    pub fn of(fd: BorrowedFd<'_>) -> Result<Self> {
        Self::read(fd).map_err(|error| Error::system("read attributes", error))
    }

    /// The name and the value of every attribute that the socket has, in the order of the table, with its unit.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Attribute, Reading)> + '_ {
        ATTRIBUTES.iter().filter_map(|attribute| Some((attribute, (attribute.read)(self)?)))
    }

    fn read(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let socket = SockRef::from(&fd);
        let (domain, kind) = (socket.domain()?, socket.r#type()?);
        let is_listening = socket.is_listener()?;
        let inet = domain == Domain::IPV4 || domain == Domain::IPV6;
        Ok(Self {
            domain,
            kind,
            protocol: socket.protocol()?,
            local: Addr::from_kernel(&socket.local_addr()?).filter(is_bound),
            peer: match socket.peer_addr() {
                Ok(peer) => Addr::from_kernel(&peer),
                // Not connected, or no longer.
                Err(_) => None,
            },
            is_listening,
            credentials: (domain == Domain::UNIX).then(|| credentials::of(fd).ok().flatten()).flatten(),
            queued_in: (!is_listening).then(|| sys::bytes_queued_in(fd).ok()).flatten(),
            queued_out: (!is_listening).then(|| sys::bytes_queued_out(fd).ok()).flatten(),
            tcp: if inet && kind == Type::STREAM { tcp_info(fd)? } else { None },
        })
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (attribute, reading) in self.iter() {
            map.serialize_entry(attribute.name, &reading)?;
        }
        map.end()
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attribute").field("name", &self.name).field("unit", &self.unit).finish_non_exhaustive()
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(on) => f.write_str(if *on { "yes" } else { "no" }),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(on) => serializer.serialize_bool(*on),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl From<bool> for Reading {
    fn from(on: bool) -> Self {
        Self::Flag(on)
    }
}

impl From<u64> for Reading {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Reading {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Reading {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

/// In microseconds, the unit of every time here.
impl From<Duration> for Reading {
    fn from(time: Duration) -> Self {
        Self::Number(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<String> for Reading {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Reading {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The page `docs/attributes.md`, in Markdown.
pub fn attributes_page() -> String {
    let mut page = String::from(
        "\
# Socket attributes

This page is written from the program's own table.

What the kernel tells of a socket beside its [options](options.md). The names are those of the fields in JSON; a socket
shows those that it has. Reading them changes nothing.

| name | unit | what it is | source |
| --- | --- | --- | --- |
",
    );
    for Attribute { name, unit, source, doc, .. } in ATTRIBUTES {
        let _ = writeln!(page, "| `{name}` | {unit} | {doc} | {source} |");
    }
    page
}

/// Whether the kernel has given the socket an address: it shows one without a port where it has not.
fn is_bound(addr: &Addr) -> bool {
    match addr {
        Addr::Inet(addr) => addr.port() != 0,
        Addr::Unix(name) => *name != UnixName::Unnamed,
        Addr::Vsock { port, .. } => *port != u32::MAX,
    }
}

/// None where the protocol is not TCP after all.
fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<Option<TcpInfo>> {
    let mut bytes = [0; TcpInfo::MAX_LENGTH];
    match sys::getsockopt(fd, libc::SOL_TCP, libc::TCP_INFO, &mut bytes) {
        Ok(length) => Ok(Some(TcpInfo::decode(&bytes[..length]))),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => Ok(None),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{Read, Write as _};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::super::options::assert_written;
    use super::*;

    fn of(socket: impl AsFd) -> serde_json::Value {
        let attributes = Attributes::of(socket.as_fd()).expect("attributes");
        serde_json::to_value(attributes).expect("an object")
    }

    #[test]
    fn of_a_connection() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let waiting = of(&listener);
        assert_eq!((&waiting["tcp_state"], &waiting["listening"]), (&"LISTEN".into(), &true.into()));
        assert_eq!((&waiting["backlog_used"], &waiting["queued_in"]), (&1.into(), &serde_json::Value::Null));
        let (mut server, _) = listener.accept()?;
        client.write_all(b"hello")?;
        server.write_all(b"I got your message")?;
        client.read_exact(&mut [0; 18])?;
        let found = of(&server);
        for (name, value) in [
            ("domain", "Internet v4".into()),
            ("domain_constant", "AF_INET".into()),
            ("type", "stream".into()),
            ("type_constant", "SOCK_STREAM".into()),
            ("protocol", "tcp".into()),
            ("protocol_constant", "IPPROTO_TCP".into()),
            ("local", listener.local_addr()?.to_string().into()),
            ("local_port", listener.local_addr()?.port().into()),
            ("peer", client.local_addr()?.to_string().into()),
            ("peer_port", client.local_addr()?.port().into()),
            ("listening", false.into()),
            ("queued_in", 5.into()),
            ("tcp_state", "ESTABLISHED".into()),
            ("bytes_received", 5.into()),
            ("backlog_used", serde_json::Value::Null),
        ] as [(&str, serde_json::Value); 15]
        {
            assert_eq!(found[name], value, "{name}");
        }
        assert!(found["round_trip"].as_u64().is_some_and(|us| us < 60_000_000));
        Ok(())
    }

    #[test]
    fn of_datagram_sockets() -> io::Result<()> {
        let receiver = UdpSocket::bind("[::1]:0")?;
        let sender = UdpSocket::bind("[::1]:0")?;
        sender.connect(receiver.local_addr()?)?;
        sender.send(b"one")?;
        sender.send(b"three")?;
        let found = of(&receiver);
        assert_eq!((&found["domain"], &found["protocol"]), (&"Internet v6".into(), &"udp".into()));
        assert_eq!((&found["queued_in"], &found["peer"]), (&3.into(), &serde_json::Value::Null));
        assert_eq!(of(&sender)["peer_port"], receiver.local_addr()?.port());
        Ok(())
    }

    #[test]
    fn of_unix_sockets() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path)?;
        let client = UnixStream::connect(&path)?;
        let found = of(&client);
        assert_eq!((&found["domain"], &found["protocol"]), (&"Unix".into(), &"default".into()));
        assert_eq!(found["peer"], path.to_string_lossy().as_ref());
        assert_eq!(found["peer_pid"], std::process::id());
        assert_eq!(found["peer_uid"], nix::unistd::getuid().as_raw());
        assert_eq!(found["local"], serde_json::Value::Null);
        assert_eq!(of(&listener)["listening"], true);
        let (one, other) = UnixDatagram::pair()?;
        one.send(b"four")?;
        assert_eq!((&of(&other)["queued_in"], &of(&other)["type"]), (&4.into(), &"datagram".into()));
        Ok(())
    }

    #[test]
    fn of_a_socket_that_was_just_created() -> io::Result<()> {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let found = of(&socket);
        assert_eq!((&found["tcp_state"], &found["local"]), (&"CLOSED".into(), &serde_json::Value::Null));
        let error = Attributes::of(tempfile::tempfile()?.as_fd()).expect_err("no socket");
        assert_eq!(error.errno(), Some(Errno::ENOTSOCK));
        Ok(())
    }

    #[test]
    fn the_table_is_complete() {
        let mut names = HashSet::new();
        for attribute in ATTRIBUTES {
            assert!(names.insert(attribute.name), "{} twice", attribute.name);
            assert!(attribute.doc.ends_with('.') && !attribute.source.is_empty(), "{}", attribute.name);
        }
    }

    #[test]
    fn the_attributes_page_is_up_to_date() {
        assert_written("docs/attributes.md", &attributes_page());
    }
}
