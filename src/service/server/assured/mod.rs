//! Assured sessions on a server's connections: what they have in common.
//!
//! Apart from plain messages, which have no numbers: here a state machine ([`Receiver`](crate::wire::assured::Receiver)) decides, a
//! [`Store`] applies, and one file for each kind of connection carries the frames.

mod datagrams;
mod in_hand;
mod link;
mod packets;
mod registry;
mod session;
mod stream;
mod udp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::config::ServerConfig;
use crate::service::Peer;
use crate::service::store::{FULL, Store};
use crate::service::teller::Teller;
use crate::wire::assured::{Detected, IDLE_TIMEOUT, MAX_BODY, ReceiverConfig, datagram, detect};
use registry::Registry;

pub(super) use datagrams::Callers;
pub(super) use packets::converse as converse_packets;
pub(super) use stream::converse as converse_stream;
pub(super) use udp::Udp;

/// How many bytes of messages all sessions together may hold in memory, those that are not whole yet included. Then nothing more is read of those that
/// have given any to the store; and those end, to come again later, whose message is not whole.
const MOST_HELD: u64 = 256 * 1024 * 1024;

/// Why a session ends for which there is no room in memory.
const NO_ROOM: &str = "there is no room in memory for more messages";

/// The shortest time that a client may be told to be silent at the most: it is told in seconds.
const LEAST_IDLE: Duration = Duration::from_secs(1);

/// The longest message where there is no limit.
const UNLIMITED: u64 = u32::MAX as u64;

/// The longest header of a message in a packet, with its end: two numbers, and where it comes from.
const PACKET_HEADER: usize = 256;

/// How many bytes of a peer are read at the most after the connection was ended (rule S8).
const CLOSE_DISCARD: usize = 64 * 1024;

/// What the assured sessions of a server have in common.
pub(super) struct Assured {
    /// Where messages go that come in streams, and in packets: the same sessions.
    streams: Arc<dyn Store>,
    packets: Arc<dyn Store>,
    config: Arc<ReceiverConfig>,
    /// The longest message over UDP: what fits into a frame of every usual network, unless a limit was asked for.
    udp_body: u64,
    registry: Registry,
    held: AtomicU64,
    /// Tells of a disk without room.
    full: Teller,
}

impl Assured {
    /// Sessions whose messages go to these stores, which know the same sessions.
    pub(super) fn new(streams: Arc<dyn Store>, packets: Arc<dyn Store>, config: &ServerConfig) -> Self {
        let max_body = match config.max_message {
            None => MAX_BODY as u64,
            Some(0) => UNLIMITED,
            Some(most) => most as u64,
        };
        let udp_body = config.max_message.map_or(datagram::MAX_BODY as u64, |_| max_body);
        let config = ReceiverConfig {
            server: config.name.clone(),
            level: streams.level(),
            max_body,
            idle_timeout: config.limits.idle_timeout.map_or(IDLE_TIMEOUT, |idle| idle.clamp(LEAST_IDLE, IDLE_TIMEOUT)),
            ..ReceiverConfig::default()
        };
        Self {
            streams,
            packets,
            config: Arc::new(config),
            udp_body: udp_body.min(datagram::LARGEST_BODY as u64),
            registry: Registry::default(),
            held: AtomicU64::new(0),
            full: Teller::every(FULL),
        }
    }

    /// Whether there is room in memory for more messages.
    fn has_room(&self) -> bool {
        self.has_room_beside(0)
    }

    /// Whether there is room for more of what holds so much: one alone may be longer than all together, where messages may.
    fn has_room_beside(&self, own: u64) -> bool {
        self.held.load(Ordering::Relaxed).saturating_sub(own) < MOST_HELD
    }
}

/// Whether a packet begins a session.
pub(super) fn begins_session(packet: &[u8]) -> bool {
    detect(packet) == Detected::Assured
}

/// What is granted where a packet has at most so many bytes.
fn packet_config(config: &ReceiverConfig, size: usize) -> Arc<ReceiverConfig> {
    let max_body = config.max_body.min(size.saturating_sub(PACKET_HEADER) as u64);
    Arc::new(ReceiverConfig { max_body, ..config.clone() })
}

/// Who a client is, as far as that is known: a user of this machine by the kernel's word, else whoever knows the token, which itself is not kept.
fn principal(peer: &Peer, token: Option<&str>) -> Option<String> {
    match (peer.credentials, token) {
        (Some(credentials), _) => Some(format!("uid:{}", credentials.uid)),
        (None, Some(token)) => {
            let digest = Sha256::digest(token.as_bytes());
            Some(digest.iter().fold("token:".to_owned(), |text, byte| text + &format!("{byte:02x}")))
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Addr;

    #[test]
    fn a_user_is_known_by_the_kernel_and_others_by_what_they_know() {
        let mut peer = Peer { addr: Addr::Inet(([127, 0, 0, 1], 1).into()), local: None, credentials: None };
        assert_eq!(principal(&peer, None), None);
        let known = principal(&peer, Some("abc")).expect("a principal");
        // FIPS 180-2, B.1.
        assert_eq!(known, "token:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        peer.credentials = Some(crate::net::Credentials { pid: 1, uid: 7, gid: 8 });
        assert_eq!(principal(&peer, Some("abc")).as_deref(), Some("uid:7"));
    }
}
