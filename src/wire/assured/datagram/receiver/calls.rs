//! What a receiver of datagrams wants done.
//!
//! Apart from the receiver: these are the words between it and [`Sessions`](crate::wire::assured::datagram::Sessions), which has one for each session.

use crate::wire::assured::Run;
use crate::wire::assured::datagram::ServerPacket;

/// What a receiver wants done, in this order.
#[derive(Debug)]
pub enum ReceiverOutput {
    /// Apply the messages in one transaction with the session's progress (rule S2), and say what became of them ([`applied`](super::DatagramReceiver::applied)) once that is durable (S3). There is
    /// one of them under way at a time.
    Apply(Run),
    /// Forget refusals and replies up to this number.
    Note(u64),
    /// Send a packet.
    Send(ServerPacket<'static>),
    /// The session is to be dropped. This is the last.
    Close,
    /// Nothing, until something comes.
    Wait,
}
