//! `Session`: one that is remembered.
//!
//! Apart from the table of them: here is how far it came, and what its client is told of that.

use std::sync::Mutex;

use super::kept::{Kept, is_reply};
use super::{MAX_REPLIES, TRY_AGAIN_AFTER};
use crate::wire::assured::{Applied, Code, Progress, PutOff, Run, Verdict, WINDOW, checksum};

/// One session.
pub(super) struct Session {
    /// Held while the handler has messages of it.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Who has begun it.
    pub(super) principal: Option<String>,
    pub(super) state: Mutex<State>,
}

impl Session {
    /// One that goes on behind this number.
    pub(super) fn new(acknowledged: u64, principal: Option<String>, kept: Kept) -> Self {
        let state = State { owner: 0, acknowledged, checksum: None, kept, replies: false, tried: 0 };
        Self { turn: tokio::sync::Mutex::default(), principal, state: Mutex::new(state) }
    }
}

/// How far a session came.
pub(super) struct State {
    pub(super) owner: u64,
    pub(super) acknowledged: u64,
    checksum: Option<u32>,
    /// What the client has not noted: at most a window, and [`MAX_REPLIES`].
    pub(super) kept: Kept,
    /// Whether the client wants replies: else none is kept.
    replies: bool,
    /// How often the next message was put off.
    pub(super) tried: u32,
}

impl State {
    /// It has another owner, who goes on with this number.
    pub(super) fn open(&mut self, owner: u64, first: u64, replies: bool) -> Progress {
        (self.owner, self.replies) = (owner, replies);
        if self.acknowledged < first - 1 {
            // It has gone on elsewhere since.
            (self.acknowledged, self.checksum, self.tried) = (first - 1, None, 0);
            self.kept.forget(u64::MAX);
        }
        let verdicts = self.kept.to_vec();
        Progress { known: true, acknowledged: self.acknowledged, checksum: self.checksum, verdicts }
    }

    /// Nothing beyond what is acknowledged is taken now.
    pub(super) fn put_off(&self, reason: String) -> Applied {
        let put_off = PutOff { code: Code::OVERLOADED, after: TRY_AGAIN_AFTER, reason };
        Applied { through: self.acknowledged, verdicts: Vec::new(), put_off: Some(put_off) }
    }

    /// A run was handled up to this number.
    pub(super) fn advance(&mut self, run: &Run, through: u64, verdicts: &[(u64, Verdict)]) {
        if through == self.acknowledged {
            return;
        }
        self.acknowledged = through;
        self.tried = 0;
        let is_refused = run.refused.iter().any(|(number, ..)| *number == through);
        self.checksum = (!is_refused).then(|| checksum(run.message(through)));
        let replies = self.replies;
        self.kept.extend(verdicts.iter().filter(|(_, verdict)| replies || !is_reply(verdict)));
        self.kept.forget(through.saturating_sub(u64::from(WINDOW)));
        self.kept.forget_replies(MAX_REPLIES);
    }
}
