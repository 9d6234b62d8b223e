//! Assured delivery: the protocol WILCO/1, by which a message is applied exactly once and in order, whatever happens to either side.
//!
//! Apart from plain messages, which carry no numbers. Nothing here reads, writes or looks at a clock: [`Sender`] and [`Receiver`] are told
//! what has come and what time it is, and say what is to be done. `docs/protocol.md` has the bytes.

mod agreement;
pub mod datagram;
mod decoder;
mod detection;
mod encode;
mod error;
mod fields;
mod frame;
mod header;
mod held;
#[cfg(test)]
mod moments;
mod packet;
mod pauses;
mod progress;
#[cfg(test)]
mod properties;
pub mod receiver;
mod run;
pub mod sender;
mod series;
mod session;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod together;

use std::time::Duration;

pub use decoder::FrameDecoder;
pub use detection::{Detected, MAX_TARGET, detect};
pub use error::FrameError;
pub use frame::{Again, ClientFrame, Code, Grant, Level, Open, ServerFrame};
pub use progress::{Applied, Denied, Progress, PutOff, Verdict};
pub use receiver::{Receiver, ReceiverConfig};
pub use run::{Run, checksum};
pub use sender::{Sender, SenderConfig, Start, StopReason, Tally};
pub use series::Series;
pub use session::SessionId;

/// What every frame of a client's first packet, and its first line on a stream, begins with.
pub const GREETING: &[u8] = b"WILCO/1 ";

/// The longest header line in bytes, its end not counted.
pub const MAX_HEADER: usize = 1024;

/// The highest number of a message.
pub const MAX_NUMBER: u64 = i64::MAX as u64;

/// The longest body of a message by default, in bytes.
pub const MAX_BODY: usize = super::framing::MAX_BODY;

/// How many messages a client may have on their way, by default.
pub const WINDOW: u32 = 8192;

/// How many bytes of messages a client may have on their way, by default.
pub const WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// How long a server waits for the opening of a session, and a client for the answer to it.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// After how much silence a client asks whether the server is there.
pub const PING_AFTER: Duration = Duration::from_secs(20);

/// After how much silence a server closes the connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client waits with nothing acknowledged, before it tries another connection.
pub const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The pauses before a client connects again: at first, and at the most. Each is a random part of what doubles every time.
pub const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The longest pause that a client makes because a server asks for it; what a server says is not to stop a client for good.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How often in a row, with nothing becoming final, a session may be taken over before its client takes another to be at work with it (code 423). Up to that it may have
/// been an earlier connection of its own, whose opening has come late.
pub const TAKE_OVERS: u32 = 3;

/// How long a connection must have been of use for the pauses to begin anew.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(10);
