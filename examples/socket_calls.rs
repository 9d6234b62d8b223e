//! The calls of the socket interface one by one, a server's and a client's in one program.
//!
//! `socket_calls` needs nothing: it takes a free port of 127.0.0.1 and talks to itself.
#![allow(clippy::print_stdout)] // It is a program: what it prints is its result.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};

use wilco::{Addr, Domain, Socket, Type};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The server: create, bind, listen. Port 0 lets the kernel choose.
    let listener = Socket::create(Domain::IPV4, Type::STREAM)?;
    listener.bind(&Addr::Inet(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
    listener.listen(5)?;
    let address = listener.local_addr()?;
    println!("server: listens at {address}");

    // The client: create, set an option, connect. The server accepts meanwhile.
    let client = Socket::create(Domain::IPV4, Type::STREAM)?;
    let effective = client.set_option(&"rcvbuf=64K".parse()?)?;
    println!("client: asked for rcvbuf=64K, has {effective}");
    let (accepted, connected) = tokio::join!(listener.accept(), client.connect(&address));
    connected?;
    let (connection, peer) = accepted?;

    // Each knows both addresses.
    println!("client: from {} to {}", client.local_addr()?, client.peer_addr()?);
    println!("server: from {} to {peer}", connection.local_addr()?);
    println!("server: the same pair? {}", peer == client.local_addr()?);

    // The client writes and says that it has written all; the server reads to the end.
    let sent = write(&client, b"hello").await?;
    client.shutdown(Shutdown::Write)?;
    println!("client: wrote {sent} bytes, and shut its side down");
    let mut buffer = [0; 255];
    let length = read(&connection, &mut buffer).await?;
    println!("server: read {:?}", String::from_utf8_lossy(&buffer[..length]));
    println!("server: read {} bytes: the end of the stream", read(&connection, &mut buffer).await?);

    // The other direction still works.
    write(&connection, b"I got your message").await?;
    let length = read(&client, &mut buffer).await?;
    println!("client: read {:?}", String::from_utf8_lossy(&buffer[..length]));

    // What the kernel tells of the connection.
    if let Some(state) = client.attributes()?.tcp.and_then(|tcp| tcp.state) {
        println!("client: the connection is in the state {state}");
    }

    // Dropping a socket closes it.
    drop(connection);
    println!("client: read {} bytes: the server has closed", read(&client, &mut buffer).await?);
    Ok(())
}

async fn read(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    poll_fn(|cx| socket.poll_recv(cx, buffer)).await
}

async fn write(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|cx| socket.poll_send(cx, bytes)).await
}
