//! The server of the tutorial: one client, one message, one answer, the end.
//!
//! `tutorial_server 51717`, or any other address of a stream: `tutorial_server unix:/tmp/socket`.
#![allow(clippy::print_stdout)] // It is a program: what it prints is its result.

use std::env;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wilco::Stream;

/// A client that never ends its side must not hold the server: at most this much is read after the answer.
const DISCARD: usize = 64 * 1024;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = env::args().nth(1).context("usage: tutorial_server PORT")?;

    // socket, bind, listen
    let listener = wilco::listen(&address).await?;
    for name in listener.names() {
        println!("listening on {name}");
    }

    // accept: a second socket, for this client alone
    let incoming = listener.accept().await?;
    let mut stream = Stream::from(incoming.socket);

    // read: what has arrived, at most 255 bytes
    let mut buffer = [0; 255];
    let length = stream.read(&mut buffer).await?;
    println!("Here is the message: {}", String::from_utf8_lossy(&buffer[..length]).trim_end());

    // write, close
    stream.write_all(b"I got your message\n").await?;
    stream.close(DISCARD).await?;
    Ok(())
}
