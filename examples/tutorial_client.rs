//! The client of the tutorial: asks for a message, sends it, shows the answer.
//!
//! `tutorial_client localhost 51717`: the message is a line of standard input.
#![allow(clippy::print_stdout)] // It is a program: what it prints is its result.

use std::env;
use std::io::{self, Write};

use anyhow::bail;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(host), Some(port)) = (arguments.next(), arguments.next()) else {
        bail!("usage: tutorial_client HOST PORT");
    };

    // look up the host, socket, connect
    let mut stream = wilco::connect(&format!("tcp:{host}:{port}")).await?;

    print!("Please enter the message: ");
    io::stdout().flush()?;
    let mut message = String::new();
    io::stdin().read_line(&mut message)?;

    // write: the newline of the line goes with it, and tells the server where the message ends
    stream.write_all(message.as_bytes()).await?;

    // read: to the newline, or to the end of the stream from a server that sends none
    let mut answer = String::new();
    BufReader::new(&mut stream).read_line(&mut answer).await?;
    println!("{}", answer.trim_end());

    // Dropping the stream closes it. Everything has been read, so the server sees an end and no reset.
    Ok(())
}
