//! Frames over packets, one with its body in each; and the datagrams that speak for themselves.
//!
//! Apart from streams: a packet is sent whole or not at all, and the longest that can be is the system's choice.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use memchr::memchr;
use nix::errno::Errno;
use socket2::Type;

use super::link::{Came, plain_words, said};
use super::machine::{Heard, Said, Speech};
use crate::net::{PacketSocket, plain};
use crate::service::workspace::READ_SIZE;
use crate::wire::assured::datagram::ServerPacket;
use crate::wire::assured::{MAX_HEADER, ServerFrame};

/// Packets are put together while fewer than this wait to be sent, and fewer bytes than a read of a stream may have.
const TOGETHER: usize = 64;

/// The longest packet that is expected: Linux has sockets of the Unix domain send about 208 KiB (`net.core.wmem_default`).
const MAX_PACKET: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct OverPackets {
    socket: PacketSocket,
    speech: Speech,
    max_reply: u64,
    /// The packets that are to be sent, one behind the other; those before `sent` were.
    output: Vec<u8>,
    sent: usize,
    /// The length of each that is to be sent, and the number of the message in it.
    packets: VecDeque<(usize, Option<u64>)>,
    input: Vec<u8>,
    /// The length of the packet that has come and was not taken yet, in memory and on the way.
    came: Option<(usize, usize)>,
    has_spoken: bool,
    unsendable: Option<u64>,
    /// Why nothing can be sent any more.
    unwritable: Option<String>,
    /// Why nothing more comes.
    ended: Option<String>,
}

impl OverPackets {
    pub(super) fn new(socket: PacketSocket, speech: Speech, max_reply: u64) -> Self {
        let most = usize::try_from(max_reply).unwrap_or(usize::MAX).saturating_add(MAX_HEADER + 2);
        Self {
            socket,
            speech,
            max_reply,
            output: Vec::new(),
            sent: 0,
            packets: VecDeque::new(),
            input: vec![0; most.min(MAX_PACKET)],
            came: None,
            has_spoken: false,
            unsendable: None,
            unwritable: None,
            ended: None,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.packets.len() < TOGETHER && self.output.len() < READ_SIZE
    }

    pub(super) fn put(&mut self, said: &Said<'_>) {
        if self.unwritable.is_some() {
            return;
        }
        let start = self.output.len();
        said.encode(&mut self.output);
        self.packets.push_back((self.output.len() - start, said.number()));
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(&(length, number)) = self.packets.front() else { return Poll::Pending };
        let packet = &self.output[self.sent..self.sent + length];
        let header = match (self.speech, number) {
            (Speech::Frames, Some(_)) => memchr(b'\n', packet).map_or(length, |end| end + 1),
            _ => length,
        };
        match ready!(self.socket.poll_send(cx, packet)) {
            Ok(()) => {}
            // The server learns of a message that no packet can carry, and refuses it as one that is too long.
            Err(error) if header < length && error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => {
                self.output.drain(self.sent + header..self.sent + length);
                self.packets[0].0 = header;
                return Poll::Ready(());
            }
            Err(error) => {
                self.failed(&error, number);
                return Poll::Ready(());
            }
        }
        self.was_sent();
        Poll::Ready(())
    }

    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended.is_some() || self.came.is_some() {
            return Poll::Pending;
        }
        match ready!(self.socket.poll_recv(cx, &mut self.input)) {
            Ok(packet) if packet.sent == 0 && self.has_end() => {
                let closed = || "the server has closed the connection".to_owned();
                self.ended = Some(self.unwritable.take().unwrap_or_else(closed));
            }
            Ok(packet) => self.came = Some((packet.length, packet.sent)),
            Err(error) => self.ended = Some(plain(&error)),
        }
        Poll::Ready(())
    }

    pub(super) fn take(&mut self) -> Option<Came<'_>> {
        if let Some(number) = self.unsendable.take() {
            return Some(Came::Unsendable(number));
        }
        let Some((length, sent)) = self.came.take() else { return self.ended.clone().map(Came::Ended) };
        let packet = &self.input[..length];
        let heard = match (plain_words(packet), self.speech) {
            _ if sent > length => Err(format!("a packet of {sent} bytes is longer than expected")),
            // Whose it is nobody knows: it is not the end of anything.
            (_, Speech::Datagrams) => {
                let heard = ServerPacket::parse(packet).map(|packet| Came::Heard(Heard::Packet(packet)));
                return Some(heard.unwrap_or_else(|_| Came::Broken(said(packet))));
            }
            (Some(error), _) if !self.has_spoken => return Some(Came::Heard(Heard::Frame(error))),
            _ => ServerFrame::of_packet(packet, self.max_reply)
                .map_err(|error| if self.has_spoken { error.to_string() } else { said(packet) }),
        };
        match heard {
            Ok(frame) => {
                self.has_spoken = true;
                Some(Came::Heard(Heard::Frame(frame)))
            }
            Err(reason) => {
                self.ended.get_or_insert_with(|| reason.clone());
                Some(Came::Broken(reason))
            }
        }
    }

    /// The first packet has gone.
    fn was_sent(&mut self) {
        self.sent += self.packets.pop_front().map_or(0, |(length, _)| length);
        if self.packets.is_empty() {
            self.output.clear();
            self.output.shrink_to(MAX_PACKET);
            self.sent = 0;
        }
    }

    fn failed(&mut self, error: &std::io::Error, number: Option<u64>) {
        let errno = error.raw_os_error().map(Errno::from_raw);
        if self.speech == Speech::Datagrams && errno == Some(Errno::ENOBUFS) {
            // As good as lost on the way: it is sent again in its time.
            return self.was_sent();
        }
        match (errno, number) {
            (Some(Errno::EMSGSIZE), Some(number)) => self.unsendable = Some(number),
            // Nothing else tells that the peer of a datagram socket has gone.
            _ if !self.has_end() => self.ended = Some(plain(error)),
            _ => self.unwritable = Some(plain(error)),
        }
        self.packets.clear();
        self.output.clear();
        self.sent = 0;
    }

    /// Whether a packet of no bytes is the end of the connection.
    fn has_end(&self) -> bool {
        self.socket.socket().socket_type() != Type::DGRAM
    }
}
