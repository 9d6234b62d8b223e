//! `FrameError`: why what has come is no frame.
//!
//! Apart from the errors of plain messages: this one has a code, and is told to the other side as it is.

use std::borrow::Cow;

use thiserror::Error;

use super::Code;

/// Why what has come is no frame. After it, nothing of the same connection can be read.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error("{reason}")]
pub struct FrameError {
    /// For programs.
    pub code: Code,
    /// For people; nothing in it comes from the other side.
    pub reason: Cow<'static, str>,
}

impl FrameError {
    /// It is no frame of the protocol ([`Code::BAD_FRAME`]).
    pub(super) fn bad(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Code::BAD_FRAME, reason: reason.into() }
    }
}
