//! `Series`: messages that a client sends in one go.
//!
//! Apart from the [`Run`](super::Run) that they are a part of, and from which they are borrowed.

use super::ClientFrame;
use crate::wire::Span;

/// Messages whose numbers follow each other, none of which comes from another session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Series<'a> {
    pub(super) first: u64,
    /// What the messages lie in, and where.
    pub(super) bytes: &'a [u8],
    pub(super) spans: &'a [Span],
    /// How many bytes they have.
    pub(super) size: u64,
}

impl<'a> Series<'a> {
    /// How many messages they are.
    pub fn len(&self) -> u64 {
        self.spans.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The number of the last; none where there is none.
    pub fn last(&self) -> Option<u64> {
        (!self.is_empty()).then(|| self.first + self.len() - 1)
    }

    /// Each as a frame.
    pub fn frames(&self) -> impl Iterator<Item = ClientFrame<'a>> + use<'a> {
        let bytes = self.bytes;
        let messages = self.spans.iter().map(move |span| span.of(bytes));
        (self.first..).zip(messages).map(|(number, body)| ClientFrame::Message { number, origin: None, body })
    }
}
