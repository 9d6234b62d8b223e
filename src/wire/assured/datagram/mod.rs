//! Assured delivery in datagrams: WILCO/1 over UDP, where packets are lost, doubled and overtaken by others, and a source may be forged.
//!
//! Apart from the frames of a stream, whose order somebody else sees to: here are what tells a true source from a forged one
//! ([`Secret`]), the repetition of what is lost ([`DatagramSender`]), the order of what has come ([`DatagramReceiver`]) and which packet belongs to which
//! session ([`Sessions`]). `docs/protocol.md` has the bytes, and the reasons.

mod broken;
mod cookie;
mod flight;
mod packet;
mod receiver;
mod round_trip;
mod sender;
mod sessions;
#[cfg(test)]
mod simulation;
mod window;

use std::time::Duration;

pub use cookie::{COOKIE_SLOT, Cookie, Secret};
pub use packet::{ClientPacket, Held, Malformed, ServerPacket};
pub use receiver::{DatagramReceiver, ReceiverOutput};
pub use sender::{DatagramConfig, DatagramSender};
pub use sessions::{Caller, Input as SessionsInput, Opening, Output as SessionsOutput, Sessions, SessionsConfig};

/// The longest message by default, in bytes: with all headers it fits into a frame of every usual network.
pub const MAX_BODY: usize = 1200;

/// The longest message that can be asked for, in bytes: what UDP over IPv4 carries (65,507), less the longest header of a message.
pub const LARGEST_BODY: usize = 65_507 - 10 - 65 - 33 - 19 - 5 - 64 - 1 - 19 - 1;

/// How many messages may be on their way at the most: as many as an acknowledgement can speak of.
pub const WINDOW: u32 = 64;

/// How many messages may be on their way at first.
pub const FIRST_WINDOW: u32 = 4;

/// The least length of an opening packet in bytes, so that no answer to it need be longer.
pub const OPEN_LENGTH: usize = 200;

/// How long an answer is waited for at first, times a random number from 1 to 1.5.
pub const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an answer is waited for at least.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(200);

/// How long an answer is waited for at the most, before a packet is sent again.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// How many sessions a server holds in memory by default. One more takes the place of one that is idle, or is put off.
pub const MAX_SESSIONS: usize = 1024;

/// How many of these may be of one host by default. One more takes the place of the one of its own that is idle for the longest, or is put off.
pub const MAX_SESSIONS_OF_HOST: usize = 64;

/// How many sessions may be waiting for the store to open them.
pub const MAX_OPENING: usize = 100;

/// After how much silence a server drops a session from its memory. The client need not know: it opens the session again by its next message.
pub const SESSION_IDLE: Duration = Duration::from_secs(60);

/// How many bytes of messages one session may have waiting at a server, by default. One message may always.
pub const HELD_BYTES: usize = 1024 * 1024;

/// How many bytes of messages all sessions of a server may have waiting, by default.
pub const HELD_BYTES_IN_ALL: usize = 64 * 1024 * 1024;

/// Whether a datagram is one of the protocol, and not a plain message.
pub fn is_packet(datagram: &[u8]) -> bool {
    datagram.starts_with(super::GREETING)
}
