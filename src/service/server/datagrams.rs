//! A server's socket for datagrams: whoever sends one is answered.
//!
//! Apart from conversations over connections: there is no beginning and no end, only messages and where they came from. One
//! peer never holds up the others: an answer for which there is no room is dropped, as datagrams are.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::{Instant, sleep, sleep_until};

use super::assured::{Callers, Udp};
use super::lanes::{Datagram, Lanes};
use super::packets::packet_buffer;
use super::turn::Turn;
use super::{Conversations, Shared};
use crate::net::{Addr, Burst, PacketSocket, Received, plain};
use crate::service::{Conversation, Peer};

/// How long the peer of the one conversation must be silent for it to be over: datagrams have no end of their own.
const SILENCE: Duration = Duration::from_millis(500);

/// No datagram of UDP is longer, over IPv4 or IPv6: its length has 16 bits (RFC 768). Whoever takes any length needs no room for
/// more, and so receives more at once.
const LONGEST_UDP: usize = u16::MAX as usize;

/// However short messages have to be, the packets of a session fit that keeps to what every network carries.
const LEAST: usize = 2 * 1024;

/// The pause after a failure to receive that passes, such as want of memory.
const PAUSE: Duration = Duration::from_millis(10);

/// Serves datagrams until the server is to stop; or, where it has only one conversation, until its peer is silent.
///
/// # Errors
/// The socket cannot be used any more.
pub(super) async fn serve(shared: &Arc<Shared>, socket: PacketSocket) -> io::Result<Conversation> {
    let (setting, socket) = (&shared.setting, Arc::new(socket));
    let local = socket.socket().local_addr().ok();
    let one = shared.conversations == Conversations::One;
    let mut had = Conversation::default();
    let mut silence = pin!(sleep_until(Instant::now()));
    let mut first: Option<Addr> = None;
    let mut told_unnamed = false;
    let mut lanes = setting.handler.takes_long().then(|| Lanes::new(shared.clone(), socket.clone()));
    let longest = if matches!(local, Some(Addr::Inet(_))) { LONGEST_UDP } else { usize::MAX };
    let size = packet_buffer(setting.max_message).max(LEAST).min(longest);
    let mut udp = matches!(local, Some(Addr::Inet(_))).then(|| Udp::new(shared, &socket, local.clone())).flatten();
    let mut callers = matches!(local, Some(Addr::Unix(_))).then(|| Callers::new(shared, &socket, size)).flatten();
    let mut burst = Burst::new(size);
    let mut turn = Turn::new(shared, &socket, local.clone());
    loop {
        let receiving = socket.recv_burst(&mut burst);
        let received = tokio::select! {
            biased;
            received = setting.terms.stop.unless_idle(receiving, || socket.socket().has_input()) => received,
            () = &mut silence, if first.is_some() => break,
            () = work(&mut udp) => {
                if let Some(udp) = &mut udp {
                    udp.tell().await;
                }
                continue;
            }
        };
        match received {
            None => break,
            Some(Ok(())) => {}
            Some(Err(error)) if is_final(&error) => return Err(error),
            Some(Err(error)) => {
                // An earlier answer was refused by its receiver, or the kernel is short of something.
                tracing::debug!("receive: {}", plain(&error));
                sleep(PAUSE).await;
                continue;
            }
        }
        let door = shared.door.now();
        for (number, Received { from, packet, arrival, place, .. }) in burst.received().iter().enumerate() {
            if let Err(words) = door.datagram(from) {
                turn.refuse(&burst, number, &words).await;
                continue;
            }
            had.had_message = true;
            if let Some(callers) = &mut callers {
                let peer = || Peer { addr: from.clone(), local: local.clone(), credentials: None };
                if callers.take(peer, from, &burst.bytes()[place.clone()], *packet) {
                    continue;
                }
            }
            if let Some(udp) = &mut udp
                && udp.take(from, *arrival, &burst.bytes()[place.clone()])
            {
                continue;
            }
            if !from.is_named() && !told_unnamed {
                tracing::warn!("a client without a name has sent a message: it cannot get an answer");
                told_unnamed = true;
            }
            if one && first.get_or_insert_with(|| from.clone()) == from {
                silence.as_mut().reset(Instant::now() + SILENCE);
            }
            match &mut lanes {
                None => turn.take(&burst, number).await,
                Some(lanes) => {
                    let peer = Peer { addr: from.clone(), local: local.clone(), credentials: None };
                    let bytes = &burst.bytes()[place.clone()];
                    lanes.put(peer, Datagram { bytes, packet: *packet, arrival: *arrival });
                }
            }
        }
        if let Some(udp) = &mut udp {
            udp.tend();
            udp.tell().await;
        }
        had.messages += turn.end(&burst).await;
    }
    if let Some(udp) = udp {
        had.messages += udp.end().await;
    }
    if let Some(callers) = callers {
        had.messages += callers.end().await.messages;
    }
    if let Some(lanes) = lanes {
        had.messages += lanes.end().await;
    }
    Ok(had)
}

/// Waits for what is to be done for sessions, where there are any.
async fn work(udp: &mut Option<Udp<'_>>) {
    match udp {
        Some(udp) => udp.work().await,
        None => std::future::pending().await,
    }
}

/// Whether the socket itself is of no use any more.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EBADF | Errno::ENOTSOCK | Errno::EINVAL | Errno::ENOTCONN)
    )
}
