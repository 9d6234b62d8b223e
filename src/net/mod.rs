//! Addresses, sockets, options, attributes and look-ups: the socket interface, in the words of the field.
//!
//! Knows nothing of messages. The way in is [`Endpoint`], what a user writes; [`resolve()`] turns it into the kernel's
//! [`Addr`]esses; [`Connector`] and [`ListenConfig`] make sockets of them.

mod addr;
mod arrival;
pub mod attributes;
mod burst;
mod connect;
mod credentials;
mod endpoint;
mod error;
mod explain;
mod inherited;
mod listen;
pub mod lookup;
pub mod open_files;
pub mod options;
pub mod owners;
mod packet;
mod percent;
mod resolve;
mod socket;
mod socket_file;
mod spelling;
mod srv;
mod stream;
mod sys;
mod tap;
pub mod trace;

pub use socket2::{Domain, Protocol, Type};

pub use addr::{Addr, MAX_ABSTRACT_NAME, MAX_UNIX_PATH, UnixName};
pub use arrival::Arrival;
pub use burst::{Burst, Received};
pub use connect::{ADDRESS_TIMEOUT, ATTEMPT_DELAY, CONNECT_TIMEOUT, Connection, Connector};
pub(crate) use connect::{Raced, interleaved, race, relevance};
pub use credentials::{Credentials, MAX_GROUPS};
pub use endpoint::{Endpoint, Family, Port, SCHEMES, Scheme, Target};
pub use error::{Error, ErrorKind, Result, plain};
pub use inherited::{SUPERVISOR_VARIABLES, keep_from_programs};
pub use listen::{Incoming, ListenConfig, Listener};
pub use packet::{MAX_UDP_PAYLOAD, Packet, PacketSocket};
pub use resolve::{Names, Purpose, check, resolve, resolve_hosts};
pub use socket::{BACKLOG, Socket};
pub use socket_file::{SOCKET_MODE, SocketFileOptions};
pub use stream::Stream;
pub(crate) use sys::{terminal_columns, watch};
pub use tap::{Direction, Passage, Tap};
