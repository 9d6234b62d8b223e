//! `client --raw`: bytes both ways, no messages: what nc does, and 0 only if the other side has taken them all and ended in order.
//!
//! Apart from the client that sends messages, because nothing here is counted but bytes, and nothing is acknowledged.

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, timeout};

use crate::net::Connection;
use crate::service::relay::{DATAGRAM_IDLE_TIMEOUT, End, Ending, Joined, LINGER, LONGEST_PACKET, RELAY_BUFFER, Side};
use crate::service::{Relay, RelayConfig};

use super::Exit;
use super::runtime::Signals;
use super::stdio::Stdio;

/// How long the other side is read when there is nobody any more whom its bytes are for, so that it gets an end and not a reset.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// For how many bytes.
const CLOSE_DISCARD: usize = 64 * 1024;

/// Passes bytes on until both sides have ended, or a signal comes. `idle_timeout` is what the user has said of it.
pub(super) async fn talk(
    connection: Connection,
    idle_timeout: Option<Duration>,
    signals: &mut Signals,
) -> anyhow::Result<Exit> {
    let (near, far) = (Stdio::open()?, Joined::from(connection));
    let config = config(&near, &far, idle_timeout);
    let is_typed = near.is_typed();
    let started = Instant::now();
    let mut relay = Relay::new(near, far, config);
    let ending = tokio::select! {
        ending = relay.run() => Ok(ending),
        exit = signals.next() => Err(exit),
    };
    let (sent, received) = relay.passed();
    tracing::info!("sent {} bytes, received {} in {:.3?}", sent.written, received.read, started.elapsed());
    let (_, far) = relay.into_sides();
    let exit = match ending {
        Ok(ending) => exit(ending, is_typed)?,
        Err(signalled) => signalled,
    };
    // Closing with something unread would make a reset of the end, and destroy what the other side has not read yet.
    let _ = timeout(CLOSE_TIMEOUT, far.close(CLOSE_DISCARD)).await;
    Ok(exit)
}

fn config(near: &Stdio, far: &Joined, idle_timeout: Option<Duration>) -> RelayConfig {
    let default = RelayConfig::default();
    RelayConfig {
        idle_timeout: match idle_timeout {
            Some(time) => (!time.is_zero()).then_some(time),
            None if far.has_end() => default.idle_timeout,
            None => Some(DATAGRAM_IDLE_TIMEOUT),
        },
        // What a person has not typed yet is not waited for.
        linger: Some(if near.is_typed() { Duration::ZERO } else { LINGER }),
        most_at_once: if far.is_packets() { LONGEST_PACKET } else { RELAY_BUFFER },
    }
}

fn exit(mut ending: Ending, is_typed: bool) -> anyhow::Result<Exit> {
    // A reader that has gone has seen enough.
    match std::mem::replace(&mut ending.back.1, End::Complete) {
        End::Unwritten(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("standard output");
        }
        End::Unwritten(_) => {}
        other => ending.back.1 = other,
    }
    match std::mem::replace(&mut ending.forth.1, End::Complete) {
        End::Unread(error) => return Err(error).context("standard input"),
        // A person sees that the other side has ended, and what was not typed yet is not missing.
        End::Left if is_typed => {}
        other => ending.forth.1 = other,
    }
    ending.verdict()?;
    Ok(Exit::Done)
}
