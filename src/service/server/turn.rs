//! `Turn`: what is done with the datagrams that were received at once, until their answers leave at once.
//!
//! Apart from receiving, which goes by datagrams: here those of one peer in a row are one call of the handler, and all answers one
//! call of the kernel's.

use std::future::poll_fn;
use std::mem;
use std::task::Poll;

use bytes::Bytes;

use super::Shared;
use super::packets::{Answer, answer_outcome, refused, too_long};
use crate::net::{Addr, Burst, PacketSocket, Received, plain};
use crate::service::{Messages, Observed, Outcomes, Peer};
use crate::wire::Span;

/// The datagrams of one burst, given to it in their order; the next burst is the next turn.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    socket: &'a PacketSocket,
    local: Option<Addr>,
    /// The datagrams in a row that are to be handled next, all of one peer: the number of the first, and where each lies.
    first: usize,
    spans: Vec<Span>,
    outcomes: Outcomes,
    /// What is to be sent, each with the number of the datagram that it answers.
    answers: Vec<(usize, Words)>,
    /// Messages that count, of peers that are told of when the answers are sent: by a datagram of theirs.
    handled: Vec<(usize, u64)>,
    messages: u64,
}

/// What a peer is sent.
enum Words {
    Answer(Bytes),
    /// It was not let in, whether it can be told or not.
    Refusal(String),
}

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Answer(bytes) => bytes,
            Self::Refusal(text) => text.as_bytes(),
        }
    }
}

impl<'a> Turn<'a> {
    pub(super) fn new(shared: &'a Shared, socket: &'a PacketSocket, local: Option<Addr>) -> Self {
        Self {
            shared,
            socket,
            local,
            first: 0,
            spans: Vec::new(),
            outcomes: Outcomes::default(),
            answers: Vec::new(),
            handled: Vec::new(),
            messages: 0,
        }
    }

    /// Takes a datagram of a peer that is let in.
    pub(super) async fn take(&mut self, burst: &Burst, number: usize) {
        let Received { from, packet, place, .. } = &burst.received()[number];
        let too_long = too_long(&self.shared.setting, *packet);
        let follows = number == self.first + self.spans.len() && burst.received()[self.first].from == *from;
        if !follows || too_long.is_some() {
            self.handle(burst).await;
        }
        match too_long {
            Some(reason) => {
                let answer = refused(&self.shared.setting, &self.peer(burst, number), &reason).await;
                self.answer(burst, number, answer);
            }
            None => {
                if self.spans.is_empty() {
                    self.first = number;
                }
                self.spans.push(Span { start: place.start, end: place.end });
            }
        }
    }

    /// Tells a sender that it is not let in. The sources of UDP can be forged: nobody is sent more than was sent in their name.
    pub(super) async fn refuse(&mut self, burst: &Burst, number: usize, words: &str) {
        // The sender may have been let in before.
        self.handle(burst).await;
        let Received { from, packet, .. } = &burst.received()[number];
        let words = format!("{words}\n");
        let is_proved = !matches!(from, Addr::Inet(_));
        if from.is_named() && (is_proved || words.len() <= packet.sent) {
            self.answers.push((number, Words::Refusal(words)));
        }
    }

    /// Handles what is left and sends the answers. Says how many messages counted.
    pub(super) async fn end(&mut self, burst: &Burst) -> u64 {
        self.handle(burst).await;
        self.send(burst).await;
        mem::take(&mut self.messages)
    }

    /// Handles the datagrams in a row.
    async fn handle(&mut self, burst: &Burst) {
        if self.spans.is_empty() {
            return;
        }
        let (shared, before) = (self.shared, self.messages);
        let peer = self.peer(burst, self.first);
        let (mut spans, mut outcomes) = (mem::take(&mut self.spans), mem::take(&mut self.outcomes));
        let mut done = 0;
        while done < spans.len() {
            let messages = Messages::of_datagrams(burst.bytes(), &spans[done..]);
            outcomes.clear();
            let mut handling = shared.setting.handler.handle(messages, &peer, &mut outcomes);
            match poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx))).await {
                Poll::Ready(()) => drop(handling),
                Poll::Pending => {
                    // Nobody's answer waits for what is done with another's message.
                    self.send(burst).await;
                    handling.await;
                }
            }
            outcomes.complete(messages.len());
            // Of those behind one that was put off there may be none: a datagram that follows is handled all the same.
            while let Some((outcome, times)) = outcomes.take_next() {
                for outcome in std::iter::repeat_n(outcome, times) {
                    let answer = answer_outcome(&shared.setting, &peer, outcome).await;
                    self.answer(burst, self.first + done, answer);
                    done += 1;
                }
            }
        }
        if self.messages > before && shared.setting.observer.is_some() {
            self.handled.push((self.first, self.messages - before));
        }
        spans.clear();
        (self.spans, self.outcomes) = (spans, outcomes);
    }

    fn answer(&mut self, burst: &Burst, number: usize, answer: Answer) {
        self.messages += u64::from(answer.counts);
        if let Some(bytes) = answer.bytes
            && burst.received()[number].from.is_named()
        {
            self.answers.push((number, Words::Answer(bytes)));
        }
    }

    /// Sends the answers for which there is room, and tells of what they answer.
    async fn send(&mut self, burst: &Burst) {
        let from = |number: usize| &burst.received()[number].from;
        self.socket.try_answer(burst, &self.answers, |at, error| {
            if let (number, Words::Answer(_)) = &self.answers[at] {
                tracing::warn!("{}: the answer could not be sent: {}", from(*number), plain(&error));
            }
        });
        self.answers.clear();
        for (number, messages) in mem::take(&mut self.handled) {
            self.shared.setting.tell(Observed::Acknowledged(&self.peer(burst, number), messages)).await;
        }
    }

    fn peer(&self, burst: &Burst, number: usize) -> Peer {
        Peer { addr: burst.received()[number].from.clone(), local: self.local.clone(), credentials: None }
    }
}
