//! `Inbox`: what a connection has read and not yet handled, and the buffers lent to it while there is something.
//!
//! Apart, because this is what makes an idle connection cheap: a buffer belongs to the thread and is held by a connection
//! only from a read until its messages are handled. Between reads a connection keeps the unfinished end of a message.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Messages, Outcomes};
use crate::wire::{self, Decoder, Framing, MOST_AT_ONCE, Span};

/// How much is read at once, in bytes.
pub const READ_SIZE: usize = 64 * 1024;

/// How many unused buffers a thread keeps.
const SPARE_WORKSPACES: usize = 16;

/// Answers are sent at the latest when there are so many bytes of them. A larger buffer was for a long reply, and is not kept.
pub(super) const MOST_ANSWERS: usize = 1024 * 1024;

/// An unfinished message up to this size is copied out, so that the buffer can be lent to others.
pub(super) const SMALL_TAIL: usize = 4 * 1024;

thread_local! {
    #[expect(clippy::vec_box, reason = "they go back and forth: as pointers, not as a hundred bytes")]
    static SPARE: RefCell<Vec<Box<Workspace>>> = const { RefCell::new(Vec::new()) };
}

/// The buffers that one read needs on its way: lent to a connection, then to the next.
#[derive(Debug)]
pub(super) struct Workspace {
    /// What was read; the first `filled` bytes count.
    pub(super) input: Vec<u8>,
    filled: usize,
    /// The messages found in it.
    spans: Vec<Span>,
    /// What became of them.
    pub(super) outcomes: Outcomes,
    /// The answers, to leave in one write.
    pub(super) output: Vec<u8>,
}

impl Workspace {
    pub(super) fn take() -> Box<Self> {
        SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| {
            Box::new(Self {
                input: vec![0; READ_SIZE],
                filled: 0,
                spans: Vec::new(),
                outcomes: Outcomes::default(),
                output: Vec::new(),
            })
        })
    }

    pub(super) fn give_back(mut self: Box<Self>) {
        // One that grew for a long message is not worth keeping.
        if self.input.len() == READ_SIZE && self.output.capacity() <= MOST_ANSWERS {
            self.filled = 0;
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_WORKSPACES {
                    spare.push(self);
                }
            });
        }
    }
}

/// The receiving side of a stream connection.
#[derive(Debug)]
pub(super) struct Inbox {
    decoder: Decoder,
    framing: Framing,
    workspace: Option<Box<Workspace>>,
    tail: Vec<u8>,
    /// Bytes at the front of the buffer whose messages were given out.
    done: usize,
    /// How many messages were handled before those that were found.
    before: u64,
}

impl Inbox {
    pub(super) fn new(framing: Framing, limit: usize) -> Self {
        Self { decoder: Decoder::new(framing, limit), framing, workspace: None, tail: Vec::new(), done: 0, before: 0 }
    }

    /// Reads once, and says how many bytes came; 0 is the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        let workspace = self.open();
        if workspace.filled == workspace.input.len() {
            let doubled = workspace.input.len() * 2;
            workspace.input.resize(doubled, 0);
        }
        let mut buffer = ReadBuf::new(&mut workspace.input[workspace.filled..]);
        let read = match Pin::new(stream).poll_read(cx, &mut buffer) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => {
                self.release();
                return Poll::Pending;
            }
        };
        workspace.filled += read.as_ref().copied().unwrap_or_default();
        Poll::Ready(read)
    }

    /// Finds the messages in what was read, and says whether there may be more than were looked for at once. An error
    /// comes after the messages before it: they are in the workspace.
    pub(super) fn decode(&mut self) -> wire::Result<bool> {
        if !self.tail.is_empty() {
            // What was left behind a full count may be whole messages.
            self.open();
        }
        let Self { decoder, workspace: Some(workspace), done, .. } = self else { return Ok(false) };
        workspace.spans.clear();
        *done = decoder.decode(&workspace.input[..workspace.filled], &mut workspace.spans)?;
        Ok(workspace.spans.len() == MOST_AT_ONCE)
    }

    /// Finds the last message, now that the stream has ended.
    pub(super) fn finish(&mut self) -> wire::Result<()> {
        self.open();
        let Self { decoder, workspace: Some(workspace), done, .. } = self else { return Ok(()) };
        workspace.spans.clear();
        let last = decoder.finish(&workspace.input[..workspace.filled])?;
        workspace.spans.extend(last);
        *done = workspace.filled;
        Ok(())
    }

    /// How many messages were found.
    pub(super) fn count(&self) -> usize {
        self.workspace.as_ref().map_or(0, |workspace| workspace.spans.len())
    }

    /// Some of the messages that were found, and the places for their outcomes and answers.
    pub(super) fn part(&mut self, part: Range<usize>) -> Option<(Messages<'_>, &mut Outcomes, &mut Vec<u8>)> {
        let (framing, first) = (self.framing, self.before + part.start as u64 + 1);
        let Workspace { input, filled, spans, outcomes, output } = &mut **self.workspace.as_mut()?;
        let messages = Messages::of_stream(&input[..*filled], spans.get(part)?, framing);
        Some((messages.from_number(first), outcomes, output))
    }

    /// The messages that were found, and their spans.
    pub(super) fn found(&self) -> Option<(Messages<'_>, &[Span])> {
        let workspace = self.workspace.as_ref()?;
        let messages = Messages::of_stream(&workspace.input[..workspace.filled], &workspace.spans, self.framing);
        Some((messages, &workspace.spans))
    }

    /// Drops the messages that were handled, and the buffer if nothing is left in it.
    pub(super) fn handled(&mut self) {
        if let Some(workspace) = &mut self.workspace {
            self.before += workspace.spans.len() as u64;
            workspace.spans.clear();
            if self.done > 0 {
                workspace.input.copy_within(self.done..workspace.filled, 0);
                workspace.filled -= std::mem::take(&mut self.done);
            }
        }
        self.release();
    }

    /// What was read and is not done with, for those who find messages in it by themselves.
    pub(super) fn unread(&self) -> &[u8] {
        self.workspace.as_deref().map_or(&self.tail, |workspace| &workspace.input[self.done..workspace.filled])
    }

    /// Is done with bytes at the front of [`Inbox::unread`]; [`Inbox::handled`] then drops them.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.open();
        self.done += bytes;
    }

    /// How many bytes of an unfinished message are held.
    pub(super) fn unfinished(&self) -> usize {
        self.tail.len() + self.workspace.as_ref().map_or(0, |workspace| workspace.filled)
    }

    /// How many bytes of memory are taken by what was read and is not done with.
    pub(super) fn held(&self) -> usize {
        match &self.workspace {
            Some(workspace) if workspace.filled > SMALL_TAIL => workspace.input.len(),
            Some(workspace) => workspace.filled,
            None => self.tail.len(),
        }
    }

    fn open(&mut self) -> &mut Workspace {
        self.workspace.get_or_insert_with(|| {
            let mut workspace = Workspace::take();
            workspace.filled = self.tail.len();
            workspace.input[..self.tail.len()].copy_from_slice(&self.tail);
            self.tail = Vec::new();
            workspace.spans.clear();
            workspace
        })
    }

    /// Lends the buffer to others again, unless it holds much of a message.
    fn release(&mut self) {
        if let Some(workspace) = self.workspace.take_if(|workspace| workspace.filled <= SMALL_TAIL) {
            self.tail.extend_from_slice(&workspace.input[..workspace.filled]);
            workspace.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_behind_a_full_count_is_found_without_another_read() {
        let stream = b"line\n".repeat(MOST_AT_ONCE + 363);
        let (mut inbox, mut unread) = (Inbox::new(Framing::Line, 99), &stream[..]);
        let read = std::future::poll_fn(|cx| inbox.poll_read(cx, &mut unread)).await;
        assert_eq!(read.expect("bytes"), stream.len());
        let mut found = Vec::new();
        loop {
            let more = inbox.decode().expect("messages");
            found.push(inbox.count());
            inbox.handled();
            if !more {
                break;
            }
        }
        assert_eq!((found, inbox.unfinished()), (vec![MOST_AT_ONCE, 363], 0));
    }
}
