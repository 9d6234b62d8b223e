//! A server's socket for datagrams: whoever sends one is answered.
//!
//! Apart from conversations over connections: there is no beginning and no end, only messages and where they came from. One
//! peer never holds up the others: an answer for which there is no room is dropped, as datagrams are.

use std::io;
use std::pin::pin;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::{Instant, sleep, sleep_until};

use super::packets::{answer_packet, packet_buffer};
use super::setting::Setting;
use crate::net::{Addr, PacketSocket, plain};
use crate::service::{Conversation, Observed, Peer};

/// How long the peer of the one conversation must be silent for it to be over: datagrams have no end of their own.
const SILENCE: Duration = Duration::from_millis(500);

/// The pause after a failure to receive that passes, such as want of memory.
const PAUSE: Duration = Duration::from_millis(10);

/// Serves datagrams until the server is to stop; or, for `one` conversation, until its peer is silent.
///
/// # Errors
/// The socket cannot be used any more.
pub(super) async fn serve(setting: &Setting, socket: &PacketSocket, one: bool) -> io::Result<Conversation> {
    let mut had = Conversation::default();
    let mut silence = pin!(sleep_until(Instant::now()));
    let mut first: Option<Addr> = None;
    let mut told_unnamed = false;
    let local = socket.socket().local_addr().ok();
    let mut buffer = vec![0; packet_buffer(setting.max_message)];
    let mut outcomes = Vec::new();
    loop {
        let receiving = socket.recv_arrival(&mut buffer);
        let received = tokio::select! {
            biased;
            received = setting.terms.stop.unless_idle(receiving, || socket.socket().has_input()) => received,
            () = &mut silence, if first.is_some() => return Ok(had),
        };
        let (packet, from, arrival) = match received {
            None => return Ok(had),
            Some(Ok(received)) => received,
            Some(Err(error)) if is_final(&error) => return Err(error),
            Some(Err(error)) => {
                // An earlier answer was refused by its receiver, or the kernel is short of something.
                tracing::debug!("receive: {}", plain(&error));
                sleep(PAUSE).await;
                continue;
            }
        };
        had.had_message = true;
        let peer = Peer { addr: from, local: local.clone(), credentials: None };
        let answer = answer_packet(setting, &buffer, packet, &peer, &mut outcomes).await;
        had.messages += u64::from(answer.counts);
        match answer.bytes {
            Some(_) if !peer.addr.is_named() && !told_unnamed => {
                tracing::warn!("a client without a name has sent a message: it cannot get an answer");
                told_unnamed = true;
            }
            Some(bytes) if peer.addr.is_named() => {
                if let Err(error) = socket.try_send_to(&bytes, &peer.addr, arrival) {
                    tracing::warn!("{peer}: the answer could not be sent: {}", plain(&error));
                }
            }
            _ => {}
        }
        if answer.counts {
            setting.tell(Observed::Acknowledged(&peer, 1)).await;
        }
        if one && *first.get_or_insert_with(|| peer.addr.clone()) == peer.addr {
            silence.as_mut().reset(Instant::now() + SILENCE);
        }
    }
}

/// Whether the socket itself is of no use any more.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EBADF | Errno::ENOTSOCK | Errno::EINVAL | Errno::ENOTCONN)
    )
}
