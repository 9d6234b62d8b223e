//! `Words`: what a receiver has to say to its client, in its order.
//!
//! Apart from the receiver, which decides what is said: here it is decided what is said together.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Output, Run, ServerFrame};

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Words(VecDeque<Word>);

#[derive(Debug)]
enum Word {
    /// A frame, apart from the queue, whose entries are to be as small as replies.
    Frame(Box<ServerFrame<'static>>),
    /// A reply: the message's number, and the reply, which others may have, too.
    Reply(u64, Bytes),
}

impl Words {
    /// How many bytes of replies are sent in one go, but for the last of them, and how many replies.
    const TOGETHER: (usize, usize) = (16 * 1024, 1024);

    /// How many frames they are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn say(&mut self, frame: ServerFrame<'static>) {
        self.0.push_back(Word::Frame(Box::new(frame)));
    }

    pub(super) fn reply(&mut self, number: u64, body: Bytes) {
        self.0.push_back(Word::Reply(number, body));
    }

    /// Acknowledges all up to a number: with the last word that waits to be sent, if that is one of this kind.
    pub(super) fn acknowledge(&mut self, through: u64) {
        match self.0.back_mut() {
            Some(Word::Frame(frame)) if matches!(**frame, ServerFrame::Acknowledged(_)) => {
                **frame = ServerFrame::Acknowledged(through);
            }
            _ => self.say(ServerFrame::Acknowledged(through)),
        }
    }

    /// Takes what is to be sent next: a frame, or replies whose numbers follow each other.
    pub(super) fn next(&mut self) -> Option<Output> {
        let (number, body) = match self.0.pop_front()? {
            Word::Frame(frame) => return Some(Output::Send(*frame)),
            Word::Reply(number, body) => (number, body),
        };
        let mut run = Run::new(number);
        run.push(&body);
        while run.bytes.len() < Self::TOGETHER.0
            && run.len() < Self::TOGETHER.1
            && let Some(Word::Reply(number, body)) = self.0.front()
            && *number == run.next()
        {
            run.push(body);
            self.0.pop_front();
        }
        Some(Output::Replies(run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_that_follow_each_other_are_sent_together_up_to_a_limit() {
        let (most_bytes, most) = Words::TOGETHER;
        let mut words = Words::default();
        (1..=most as u64 + 2).for_each(|number| words.reply(number, Bytes::new()));
        words.reply(most as u64 + 9, vec![b'x'; most_bytes].into());
        words.reply(most as u64 + 10, Bytes::new());
        words.acknowledge(3);
        words.acknowledge(4);
        let mut said = Vec::new();
        while let Some(output) = words.next() {
            said.push(match output {
                Output::Replies(run) => (run.first, run.len()),
                Output::Send(ServerFrame::Acknowledged(through)) => (through, 0),
                other => panic!("{other:?}"),
            });
        }
        let most_number = most as u64;
        assert_eq!(said, [(1, most), (most_number + 1, 2), (most_number + 9, 1), (most_number + 10, 1), (4, 0)]);
    }
}
