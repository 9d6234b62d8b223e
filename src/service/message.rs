//! `Messages`, `Peer` and `Outcome`: what travels between a connection and a handler.
//!
//! Apart from both, so that a handler knows nothing of sockets and a connection nothing of what is done with a message.

use std::fmt;
use std::iter;

use bytes::Bytes;

use crate::net::{Addr, Credentials, Socket};
use crate::wire::assured::{Run, SessionId};
use crate::wire::{Framing, Span};

/// The messages of one read, borrowed from the buffer that they were read into.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
    framing: Option<Framing>,
    /// Whether nothing but delimiters lies between the messages.
    dense: bool,
    /// The number of the first in its connection.
    first: u64,
    /// By how much that of the next is higher.
    step: u64,
    /// The assured session that numbers them, and how often the first was handled before, as far as that is known.
    session: Option<(&'a SessionId, u32)>,
}

impl<'a> Messages<'a> {
    /// Messages of a stream, as a decoder found them in `bytes`.
    pub fn of_stream(bytes: &'a [u8], spans: &'a [Span], framing: Framing) -> Self {
        Self { bytes, spans, framing: Some(framing), dense: true, first: 1, step: 1, session: None }
    }

    /// Some of the messages of a stream.
    pub fn selected(self, spans: &'a [Span]) -> Self {
        Self { dense: self.dense && spans.len() == self.spans.len(), spans, ..self }
    }

    /// Messages that were packets: spans of `bytes`.
    pub fn of_packets(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans, framing: None, dense: false, first: 1, step: 1, session: None }
    }

    /// Messages that were datagrams: there is no connection in which they would be counted, and each is the first.
    pub fn of_datagrams(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { step: 0, ..Self::of_packets(bytes, spans) }
    }

    /// The same messages, of which the first has this number in its connection. By default it is 1.
    #[must_use]
    pub fn from_number(self, first: u64) -> Self {
        Self { first, ..self }
    }

    /// The same messages as part of an assured session, which numbers them; the first was handled so often before, in vain.
    #[must_use]
    pub fn of_session(self, session: &'a SessionId, tried: u32) -> Self {
        Self { session: Some((session, tried)), ..self }
    }

    /// Messages whose bytes are told apart already, shown as those of a stream with this framing; without one as packets.
    pub fn separate(bytes: &'a [u8], spans: &'a [Span], framing: Option<Framing>) -> Self {
        Self { framing, ..Self::of_packets(bytes, spans) }
    }

    /// The assured session that they belong to. A number is then that in the session, and a message that comes again has the same.
    pub fn session(&self) -> Option<&'a SessionId> {
        self.session.map(|(session, _)| session)
    }

    /// How often the first was handled before, in vain, as far as that is known.
    pub fn tried(&self) -> u32 {
        self.session.map_or(0, |(_, tried)| tried)
    }

    /// A copy that owns its bytes.
    pub fn to_batch(&self) -> Batch {
        let mut batch = Batch { spans: Vec::with_capacity(self.len()), ..Batch::default() };
        batch.bytes.reserve_exact(self.spans.iter().map(|span| span.end - span.start).sum());
        for message in self.iter() {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(message);
            batch.spans.push(Span { start, end: batch.bytes.len() });
        }
        batch
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Each message, without its delimiter.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| span.of(bytes))
    }

    /// Each message with its number in its connection, from 1. A datagram, which has none, is always the first.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let step = self.step;
        iter::successors(Some(self.first), move |number| Some(number + step)).zip(self.iter())
    }

    /// How they were told apart in their stream; none for packets.
    pub fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// The messages as they are shown: each with its delimiter behind it. Where they came like that the bytes are
    /// handed on as they are; else they are put together in `scratch`.
    pub fn displayed(&self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        if let (true, Some(Framing::Line | Framing::Nul)) = (self.dense, self.framing)
            && let (Some(first), Some(last)) = (self.spans.first(), self.spans.last())
            && last.end < self.bytes.len()
        {
            return &self.bytes[first.start..=last.end];
        }
        scratch.clear();
        for message in self.iter() {
            scratch.extend_from_slice(message);
            scratch.extend_from_slice(self.framing.map_or(b"\n", |framing| framing.display_delimiter(message)));
        }
        scratch
    }
}

/// Messages that own their bytes: what a client is given to send.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The bytes that the messages lie in.
    pub bytes: Vec<u8>,
    /// Where they lie.
    pub spans: Vec<Span>,
    /// Where messages come from that were first sent in another session, for assured delivery, in their order: the place here, from 0, that session, and
    /// the number there.
    pub origins: Vec<(u64, SessionId, u64)>,
}

impl Batch {
    /// A batch of one message.
    pub fn of(message: impl Into<Vec<u8>>) -> Self {
        let bytes = message.into();
        Self { spans: vec![Span { start: 0, end: bytes.len() }], bytes, ..Self::default() }
    }

    /// Adds a message.
    pub fn push(&mut self, message: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        self.spans.push(Span { start, end: self.bytes.len() });
    }

    /// Each message.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.spans.iter().map(|span| span.of(&self.bytes))
    }

    /// The messages with numbers from this one on.
    pub(super) fn into_run(self, first: u64) -> Run {
        let Self { bytes, spans, mut origins } = self;
        origins.iter_mut().for_each(|(place, ..)| *place += first);
        Run { first, bytes, spans, origins, ..Run::default() }
    }

    /// The messages of a run without their numbers.
    pub(super) fn of_run(run: Run) -> Self {
        let Run { first, bytes, spans, mut origins, .. } = run;
        origins.iter_mut().for_each(|(number, ..)| *number -= first);
        Self { bytes, spans, origins }
    }
}

/// Who is at the other end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// The peer's address; a Unix client often has none.
    pub addr: Addr,
    /// The address of this end that it has reached, where the kernel tells.
    pub local: Option<Addr>,
    /// The process at the other end of a Unix connection, and its user.
    pub credentials: Option<Credentials>,
}

impl Peer {
    /// The peer of a connection.
    pub fn of(socket: &Socket, addr: Addr) -> Self {
        Self { addr, local: socket.local_addr().ok(), credentials: socket.peer_credentials().unwrap_or_default() }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}

/// What became of a message. Only the first two are acknowledgements.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Done; the server's usual acknowledgement says so.
    Done,
    /// Done, and this is the answer.
    Reply(Bytes),
    /// Refused for good: sending it again does not help.
    Refuse(String),
    /// Not done, perhaps later: the client is told that it was not, and the connection ends.
    Retry(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Decoder;

    fn displayed(framing: Framing, stream: &[u8]) -> Vec<u8> {
        let (mut decoder, mut spans) = (Decoder::new(framing, 0), Vec::new());
        let done = decoder.decode(stream, &mut spans).expect("messages");
        spans.extend(
            decoder.finish(&stream[done..]).expect("an end").map(|s| Span { start: s.start + done, end: s.end + done }),
        );
        Messages::of_stream(stream, &spans, framing).displayed(&mut Vec::new()).to_vec()
    }

    #[test]
    fn a_message_is_displayed_as_it_came_with_its_delimiter() {
        assert_eq!(displayed(Framing::Line, b"one\r\n\ntwo\n"), b"one\r\n\ntwo\n");
        assert_eq!(displayed(Framing::Line, b"one\ntwo"), b"one\ntwo\n");
        assert_eq!(displayed(Framing::Nul, b"a\nb\0c"), b"a\nb\0c\0");
        assert_eq!(displayed(Framing::Whole, b"one\ntwo"), b"one\ntwo");
        assert_eq!(displayed(Framing::Length, b"\0\0\0\x02ab\0\0\0\x01c"), b"ab\nc\n");
        assert_eq!(displayed(Framing::Read, b"hello\n"), b"hello\n");
        let spans = [Span { start: 0, end: 2 }];
        assert_eq!(Messages::of_packets(b"hi", &spans).displayed(&mut Vec::new()), b"hi\n");
    }

    #[test]
    fn messages_are_numbered_in_their_connection() {
        let spans = [0, 1].map(|start| Span { start, end: start + 1 });
        let messages = Messages::of_packets(b"ab", &spans).from_number(7);
        assert_eq!(messages.to_batch().iter().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(messages.numbered().collect::<Vec<_>>(), [(7, &b"a"[..]), (8, b"b")]);
    }

    #[test]
    fn a_datagram_is_always_the_first() {
        let spans = [0, 1, 2].map(|start| Span { start, end: start + 1 });
        let messages = Messages::of_datagrams(b"abc", &spans);
        assert_eq!(messages.numbered().collect::<Vec<_>>(), [(1, &b"a"[..]), (1, b"b"), (1, b"c")]);
    }
}
