//! `Kept`: the replies and refusals of a session that its client has not noted.
//!
//! Apart from the session, for their bytes: they are counted for it, and for all together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::wire::assured::Verdict;

/// What a reply or refusal takes in memory beside its text.
const VERDICT_COST: usize = size_of::<(u64, Verdict)>();

/// What is kept of a session, in the order of the numbers.
pub(super) struct Kept {
    verdicts: VecDeque<(u64, Verdict)>,
    /// How many bytes those are.
    tally: Tally,
}

impl Kept {
    /// Nothing, of which the bytes will count for all sessions too.
    pub(super) fn of(all: &Arc<AtomicUsize>) -> Self {
        Self { verdicts: VecDeque::new(), tally: Tally { bytes: 0, all: all.clone() } }
    }

    pub(super) fn extend<'a>(&mut self, verdicts: impl Iterator<Item = &'a (u64, Verdict)> + Clone) {
        self.tally.add(verdicts.clone().map(|(_, verdict)| size(verdict)).sum());
        self.verdicts.extend(verdicts.cloned());
    }

    pub(super) fn to_vec(&self) -> Vec<(u64, Verdict)> {
        self.verdicts.iter().cloned().collect()
    }

    /// Forgets all up to this number.
    pub(super) fn forget(&mut self, through: u64) {
        let noted = self.verdicts.partition_point(|(number, _)| *number <= through);
        let bytes = self.verdicts.drain(..noted).map(|(_, verdict)| size(&verdict)).sum();
        self.tally.subtract(bytes);
        self.shrink();
    }

    /// Forgets the oldest replies beyond so many bytes. A reply may get lost; that a message was refused may not, or its client would take it for handled.
    pub(super) fn forget_replies(&mut self, most: usize) {
        if self.tally.bytes <= most {
            return;
        }
        let tally = &mut self.tally;
        self.verdicts.retain(|(_, verdict)| {
            let stays = tally.bytes <= most || !is_reply(verdict);
            if !stays {
                tally.subtract(size(verdict));
            }
            stays
        });
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.verdicts.is_empty() {
            // What took many bytes for a moment should not do so for ever.
            self.verdicts.shrink_to_fit();
        }
    }
}

/// How many bytes are kept of a session, which count for all.
struct Tally {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Tally {
    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

pub(super) fn is_reply(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Reply(_))
}

fn size(verdict: &Verdict) -> usize {
    VERDICT_COST
        + match verdict {
            Verdict::Refused(_, reason) => reason.len(),
            Verdict::Reply(reply) => reply.len(),
        }
}
