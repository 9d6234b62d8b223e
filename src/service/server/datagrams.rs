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

use super::lanes::Lanes;
use super::packets::{answer_packet, packet_buffer};
use super::{Conversations, Shared};
use crate::net::{Addr, Arrival, Packet, PacketSocket, plain};
use crate::service::{Conversation, Observed, Outcomes, Peer};

/// How long the peer of the one conversation must be silent for it to be over: datagrams have no end of their own.
const SILENCE: Duration = Duration::from_millis(500);

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
    let mut buffer = vec![0; packet_buffer(setting.max_message)];
    let mut outcomes = Outcomes::default();
    loop {
        let receiving = socket.recv_arrival(&mut buffer);
        let received = tokio::select! {
            biased;
            received = setting.terms.stop.unless_idle(receiving, || socket.socket().has_input()) => received,
            () = &mut silence, if first.is_some() => break,
        };
        let (packet, from, arrival) = match received {
            None => break,
            Some(Ok(received)) => received,
            Some(Err(error)) if is_final(&error) => return Err(error),
            Some(Err(error)) => {
                // An earlier answer was refused by its receiver, or the kernel is short of something.
                tracing::debug!("receive: {}", plain(&error));
                sleep(PAUSE).await;
                continue;
            }
        };
        if let Err(words) = shared.door.datagram(&from) {
            refuse(&socket, &from, &words, packet, arrival);
            continue;
        }
        had.had_message = true;
        if !from.is_named() && !told_unnamed {
            tracing::warn!("a client without a name has sent a message: it cannot get an answer");
            told_unnamed = true;
        }
        if one && *first.get_or_insert_with(|| from.clone()) == from {
            silence.as_mut().reset(Instant::now() + SILENCE);
        }
        let datagram = Datagram { bytes: &buffer[..packet.length], packet, arrival };
        let peer = Peer { addr: from, local: local.clone(), credentials: None };
        match &mut lanes {
            Some(lanes) => lanes.put(peer, datagram),
            None => had.messages += u64::from(datagram.handle(shared, &socket, &peer, &mut outcomes).await),
        }
    }
    if let Some(lanes) = lanes {
        had.messages += lanes.end().await;
    }
    Ok(had)
}

/// Tells a sender that it is not let in. The sources of UDP can be forged: nobody is sent more than was sent in their name.
fn refuse(socket: &PacketSocket, from: &Addr, words: &str, packet: Packet, arrival: Option<Arrival>) {
    let words = format!("{words}\n");
    let is_proved = !matches!(from, Addr::Inet(_));
    if from.is_named() && (is_proved || words.len() <= packet.sent) {
        // It was not let in, whether it can be told or not.
        let _ = socket.try_send_to(words.as_bytes(), from, arrival);
    }
}

/// What was received of one datagram, and where it came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<B> {
    pub(super) bytes: B,
    pub(super) packet: Packet,
    pub(super) arrival: Option<Arrival>,
}

impl<B: AsRef<[u8]>> Datagram<B> {
    /// Handles it as one message and sends the answer, if there is room for it. Says whether it counts.
    pub(super) async fn handle(
        &self,
        shared: &Shared,
        socket: &PacketSocket,
        peer: &Peer,
        outcomes: &mut Outcomes,
    ) -> bool {
        let answer = answer_packet(&shared.setting, self.bytes.as_ref(), self.packet, 1, peer, outcomes).await;
        if let Some(bytes) = answer.bytes
            && peer.addr.is_named()
            && let Err(error) = socket.try_send_to(&bytes, &peer.addr, self.arrival)
        {
            tracing::warn!("{peer}: the answer could not be sent: {}", plain(&error));
        }
        if answer.counts {
            shared.setting.tell(Observed::Acknowledged(peer, 1)).await;
        }
        answer.counts
    }
}

/// Whether the socket itself is of no use any more.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EBADF | Errno::ENOTSOCK | Errno::EINVAL | Errno::ENOTCONN)
    )
}
