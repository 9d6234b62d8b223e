//! Wilco: a client and a server that talk over any socket, where delivered means acknowledged.
//!
//! A **server** is reached at an address, a **client** connects to it; once connected, both send and receive. An address is
//! written the same everywhere: `tcp:cheerios:51717`, `unix:/run/app.sock`, `udp:51717`, `unix-seqpacket:@name`, `vsock:2:1024`.
//!
//! The server:
//!
//! ```no_run
//! use wilco::{Outcome, Outcomes, Peer, Server, ServerConfig};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = wilco::listen("tcp:51717").await?;
//!     let upper = |message: &[u8], _: &Peer| Outcome::Reply(message.to_ascii_uppercase().into());
//!     let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//!     Server::new(upper, ServerConfig::default()).serve(vec![listener], stop).await?;
//!     Ok(())
//! }
//! ```
//!
//! The client:
//!
//! ```no_run
//! use wilco::Client;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut client = Client::connect("tcp:cheerios:51717").await?;
//!     let receipt = client.send("hello").await?;
//!     println!("{}", String::from_utf8_lossy(&receipt.answer));
//!     client.close().await?;
//!     Ok(())
//! }
//! ```
//!
//! A program that delivers exactly once, over any number of connections and through crashes of its own and of the server's: what [`Assured`] has accepted is in
//! the spool, a directory, until the server has it on its disk.
//!
//! ```no_run
//! use wilco::Assured;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let servers = ["tcp:cheerios:51717", "tcp:shreddies:51717"];
//!     let client = Assured::new(servers).spool("outbox").open().await?;
//!     let receipt = client.send("hello").await?;
//!     println!("{:?} by {}", receipt.how, receipt.by.unwrap_or_default());
//!     for receipt in client.send_all(["one", "two", "three"]).await {
//!         receipt?;
//!     }
//!     client.close().await?;
//!     Ok(())
//! }
//! ```
//!
//! Below messages is the socket interface itself: [`connect`] gives a [`Stream`], [`connect_packets`] and [`bind`] a
//! [`PacketSocket`], [`listen`] a [`Listener`]; [`Connector`] and [`ListenConfig`] have the settings; [`Socket`] has the calls one by
//! one: create, bind, listen, accept, connect, send, receive, options, attributes, shutdown. [`net::lookup`] asks for hosts,
//! services, protocols, networks and DNS records, [`net::options`] is the table of socket options. [`Probe`] asks whether something is
//! at an address, and sends nothing.
//!
//! # Layers
//! Each uses the ones below it, never the other way.
//!
//! - [`app`]: being a program: arguments, display, exit statuses
//! - [`service`]: serving and sending messages, where sockets and messages meet
//! - [`wire`]: how bytes become messages; no input or output
//! - [`net`]: the socket interface; knows nothing of messages

pub mod app;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod net;
pub mod service;
pub mod wire;

pub use net::{
    Addr, Connection, Connector, Domain, Endpoint, Family, Incoming, ListenConfig, Listener, Names, PacketSocket,
    Socket, Stream, Type,
};
pub use service::{
    Assured, AssuredClient, Batch, Client, ClientConfig, Conversations, Delivery, DeliveryConfig, Error, Exchange,
    FileDelivery, FileNews, Files, Handler, How, Messages, News, Outcome, Outcomes, Peer, Place, Probe, Receipt,
    Result, Server, ServerConfig, Step,
};
pub use wire::Framing;

/// Connects a stream to an address as it is written: `tcp:HOST:PORT`, `unix:PATH`, ...
///
/// [`Connector`] has the settings: the deadline, the source address, the version of IP.
///
/// # Errors
/// The address is wrong or is one of packets, or nobody is there.
pub async fn connect(address: &str) -> net::Result<Stream> {
    let endpoint: Endpoint = address.parse()?;
    match Connector::default().connect(&endpoint).await? {
        Connection::Stream(stream) => Ok(stream),
        Connection::Packets(_) => {
            Err(net::Error::usage(format!("`{}` carries packets, not a stream", endpoint.name()))
                .hinting("use connect_packets"))
        }
    }
}

/// Connects a packet socket to an address as it is written: `udp:HOST:PORT`, `unix-dgram:PATH`, `unix-seqpacket:PATH`, ...
///
/// # Errors
/// The address is wrong or is one of a stream, or nobody is there (which UDP cannot tell).
pub async fn connect_packets(address: &str) -> net::Result<PacketSocket> {
    let endpoint: Endpoint = address.parse()?;
    match Connector::default().connect(&endpoint).await? {
        Connection::Packets(packets) => Ok(packets),
        Connection::Stream(_) => {
            Err(net::Error::usage(format!("`{}` carries a stream, not packets", endpoint.name()))
                .hinting("use connect"))
        }
    }
}

/// Listens for connections at an address as it is written: `tcp:PORT`, `unix:PATH`, `unix-seqpacket:PATH`, ...
///
/// [`ListenConfig`] has the settings. Port 0 takes a free port: [`Listener::local_addrs`] tells which.
///
/// # Errors
/// The address is wrong, in use, or not of this machine.
pub async fn listen(address: &str) -> net::Result<Listener> {
    ListenConfig::default().listen(&address.parse()?).await
}

/// Binds a socket for datagrams to an address as it is written: `udp:PORT`, `unix-dgram:PATH`.
///
/// Where the address stands for several, such as a host with IPv6 and IPv4, it is the first: [`ListenConfig`] gives all.
///
/// # Errors
/// The address is wrong, in use, not of this machine, or one of connections.
pub async fn bind(address: &str) -> net::Result<PacketSocket> {
    let first = listen(address).await?.take_packets().into_iter().next();
    first.ok_or_else(|| net::Error::usage(format!("`{address}` is for connections")).hinting("use listen"))
}
