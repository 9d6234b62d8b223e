//! A server's socket for datagrams: whoever sends one is answered.
//!
//! Apart from conversations over connections: there is no beginning and no end, only messages and where they came from.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::packets::{answer_packet, packet_buffer};
use super::setting::{Setting, unless_idle};
use crate::net::{Addr, PacketSocket, plain};
use crate::service::Peer;

/// How long the peer of the one conversation must be silent for it to be over: datagrams have no end of their own.
const SILENCE: Duration = Duration::from_millis(500);

/// Serves datagrams until `stop` completes; or, for `one` conversation, until its peer is silent. Gives the number of
/// messages that were handled.
///
/// # Errors
/// The socket cannot be read any more.
pub(super) async fn serve(
    setting: &Setting,
    socket: &PacketSocket,
    one: bool,
    stop: impl Future<Output = ()>,
) -> io::Result<u64> {
    let mut stop = pin!(stop);
    let mut silence = pin!(sleep_until(Instant::now()));
    let mut first: Option<Addr> = None;
    let (mut stopping, mut handled, mut told_unnamed) = (false, 0, false);
    let mut buffer = vec![0; packet_buffer(setting.max_message)];
    let mut outcomes = Vec::new();
    loop {
        let received = tokio::select! {
            biased;
            () = &mut stop, if !stopping => {
                stopping = true;
                continue;
            }
            received = unless_idle(socket.recv_from(&mut buffer), stopping) => received,
            () = &mut silence, if first.is_some() => return Ok(handled),
        };
        let (packet, from) = match received {
            None => return Ok(handled),
            Some(Ok(received)) => received,
            // An earlier answer was refused by its receiver; that is not this socket's end.
            Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Some(Err(error)) => return Err(error),
        };
        let peer = Peer { addr: from };
        if let Some(answer) = answer_packet(setting, &buffer, packet, &peer, &mut outcomes).await {
            handled += u64::from(answer.counts);
            match answer.bytes {
                Some(_) if !peer.addr.is_named() && !told_unnamed => {
                    tracing::warn!("a client without a name has sent a message: it cannot get an answer");
                    told_unnamed = true;
                }
                Some(bytes) if peer.addr.is_named() => {
                    if let Err(error) = socket.send_to(&bytes, &peer.addr).await {
                        tracing::warn!("{peer}: the answer could not be sent: {}", plain(&error));
                    }
                }
                _ => {}
            }
        }
        if one && *first.get_or_insert_with(|| peer.addr.clone()) == peer.addr {
            silence.as_mut().reset(Instant::now() + SILENCE);
        }
    }
}
