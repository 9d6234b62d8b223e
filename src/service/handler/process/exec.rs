//! The handler that runs a program for each connection: the socket itself is its standard input and output, as inetd, ncat and
//! tcpserver have it.
//!
//! Apart from [`Run`](super::Run): here the program and its client speak as they please, and the server only waits for the end.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::child::{End, Process};
use super::environment::{self, Carrier};
use super::errors::Diagnostics;
use super::{Command, ProcessLimits};
use crate::net::{Connection, Socket, plain};
use crate::service::handler::{BoxFuture, CLOSE_DISCARD, ConnectionHandler, Terms};
use crate::service::{Conversation, Peer};

/// How long a program may go on once the server is to stop and it has been given the end of its input. It is less than the
/// server's own patience ([`DRAIN_TIMEOUT`](crate::service::DRAIN_TIMEOUT)), so that there is time to end it in order.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs a program for each connection, with the socket as its standard input and output.
///
/// The program gets the socket as inetd gives it: blocking. The connection ends with the program; when the server is to stop
/// the program reads the end of its input, and has a while to come to its own. What it says on standard error goes to the log.
#[derive(Debug)]
pub struct Exec {
    command: Command,
    limits: ProcessLimits,
    places: Semaphore,
}

impl Exec {
    /// A handler that runs `command`, within `limits`; that of the output does not apply.
    pub fn new(command: Command, limits: ProcessLimits) -> Self {
        Self { command, limits, places: limits.places() }
    }

    async fn run(&self, socket: &Socket, carrier: Carrier, peer: &Peer, terms: &Terms) -> io::Result<End> {
        let _place = tokio::select! {
            place = self.places.acquire() => place,
            () = terms.stop.wait() => return Err(io::Error::other("the server stops before it was started")),
        };
        // All who share the socket share this. The server itself does not use it before the program has ended.
        socket.raw().set_nonblocking(false)?;
        let mut command = self.command.build();
        command.envs(environment::of_peer(peer, carrier));
        command.stdin(duplicate(socket)?).stdout(duplicate(socket)?).stderr(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        // It holds the socket, too.
        drop(command);
        let errors = process.child().stderr.take();
        let mut diagnostics = Diagnostics::new(peer, &self.command, None);
        let end = {
            let streams = async {
                diagnostics.read(errors).await;
                Ok(())
            };
            let mut running = pin!(process.finish_within(self.limits.timeout, streams));
            tokio::select! {
                end = &mut running => Some(end),
                () = stopped(terms, socket) => timeout(STOP_TIMEOUT, running).await.ok(),
            }
        };
        let end = match end {
            Some(end) => end,
            None => {
                process.end().await;
                End::Late(STOP_TIMEOUT)
            }
        };
        diagnostics.finish();
        Ok(end)
    }
}

impl ConnectionHandler for Exec {
    fn converse<'a>(&'a self, connection: Connection, peer: &'a Peer, terms: &'a Terms) -> BoxFuture<'a, Conversation> {
        Box::pin(async move {
            let (socket, carrier) = match &connection {
                Connection::Stream(stream) => (stream.socket(), Carrier::Stream),
                Connection::Packets(packets) => (Some(packets.socket()), Carrier::Packets),
            };
            let ended = match socket {
                Some(socket) => {
                    let ended = self.run(socket, carrier, peer, terms).await;
                    // From here on it is the server's again.
                    socket.raw().set_nonblocking(true).and(ended)
                }
                // What is not a plain socket would have to be relayed to a pair of pipes.
                None => Err(io::Error::new(io::ErrorKind::Unsupported, "a program can be given a plain socket only")),
            };
            let trouble = match ended {
                Ok(End::Itself(status)) if status.success() || is_left_alone(status) => None,
                Ok(end) => Some(end.to_string()),
                Err(error) => Some(plain(&error)),
            };
            if let Some(trouble) = &trouble {
                tracing::warn!("{peer}: {}: {trouble}", self.command);
            }
            close(connection, terms).await;
            // Whatever was said, it was a conversation: a server that is to have only one has had it.
            Conversation { messages: 0, had_message: true, trouble }
        })
    }
}

/// Whether a program has written to a client that has gone: that is how such conversations end.
fn is_left_alone(status: ExitStatus) -> bool {
    status.signal() == Some(libc::SIGPIPE)
}

/// Waits until the server is to stop, then gives the program the end of its input.
async fn stopped(terms: &Terms, socket: &Socket) {
    terms.stop.wait().await;
    // The client may have gone.
    let _ = socket.shutdown(Shutdown::Read);
}

fn duplicate(socket: &Socket) -> io::Result<Stdio> {
    socket.raw().try_clone().map(|socket| OwnedFd::from(socket).into())
}

/// Closes the connection so that the peer reads all that the program has written.
async fn close(connection: Connection, terms: &Terms) {
    match connection {
        Connection::Stream(mut stream) => terms.close(&mut stream, CLOSE_DISCARD).await,
        Connection::Packets(packets) => terms.close_packets(&packets).await,
    }
}
