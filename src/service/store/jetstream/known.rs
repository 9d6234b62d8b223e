//! `Known`: how far a session is in the stream, as far as one server knows, and what its owner was told of it.
//!
//! Apart from [`Session`](super::session::Session), which asks the stream: here nothing waits.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::super::{Append, Owner, StoreError};
use super::link::Last;
use crate::wire::assured::{Applied, Code, PutOff, Verdict};

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What waits to be stored, in its order.
pub(super) type Pending = VecDeque<(Append, Answer<Applied>)>;

/// A session that is open here.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) owner: Owner,
    pub(super) principal: Option<String>,
    /// The last number that is in the stream.
    pub(super) stored: u64,
    /// The last number that the owner was told of; behind `stored` where a record came late.
    pub(super) told: u64,
    /// The number of the last record in the stream.
    pub(super) sequence: u64,
    /// What was refused of the session and is not noted.
    pub(super) refused: Vec<(u64, Code, String)>,
    /// Whether a record may have come to the stream since.
    pub(super) is_stale: bool,
}

impl Known {
    pub(super) fn new(owner: Owner, principal: Option<String>) -> Self {
        Self { owner, principal, stored: 0, told: 0, sequence: 0, refused: Vec::new(), is_stale: false }
    }

    /// Takes over what the stream says.
    pub(super) fn adopt(&mut self, last: &Last) {
        self.stored = last.record.last;
        self.sequence = last.sequence;
        self.refused.clone_from(&last.record.refused);
        self.is_stale = false;
    }

    pub(super) fn forget(&mut self, noted: u64) {
        self.refused.retain(|(number, ..)| *number > noted);
    }

    /// What became of numbers, other than that they were stored.
    pub(super) fn verdicts(&self, from: u64, through: u64) -> Vec<(u64, Verdict)> {
        let begin = self.refused.partition_point(|(number, ..)| *number < from);
        let end = self.refused.partition_point(|(number, ..)| *number <= through);
        verdicts(&self.refused[begin..end.max(begin)])
    }

    /// Whether the stream has less than is known to have been there.
    pub(super) fn is_lost(&self, last: Option<&Last>) -> bool {
        let (sequence, stored) = last.map_or((0, 0), |last| (last.sequence, last.record.last));
        sequence < self.sequence || stored < self.stored
    }

    /// Answers all that is stored whole.
    pub(super) fn answer(&mut self, pending: &mut Pending) {
        while let Some((append, _)) = pending.front() {
            let through = append.run.last();
            if through > self.stored {
                break;
            }
            let Some((_, answer)) = pending.pop_front() else { break };
            let verdicts = self.verdicts(self.told + 1, through);
            self.told = through;
            let _ = answer.send(Ok(Applied { through, verdicts, put_off: None }));
        }
    }

    /// Puts off what is not stored; of the first some may be.
    pub(super) fn put_off(&mut self, pending: &mut Pending, put_off: &PutOff) {
        for (append, answer) in pending.drain(..) {
            let through = self.stored.min(append.run.last()).max(self.told);
            let verdicts = self.verdicts(self.told + 1, through);
            self.told = through;
            let _ = answer.send(Ok(Applied { through, verdicts, put_off: Some(put_off.clone()) }));
        }
    }
}

pub(super) fn verdicts(refused: &[(u64, Code, String)]) -> Vec<(u64, Verdict)> {
    refused.iter().map(|(number, code, why)| (*number, Verdict::Refused(*code, why.clone()))).collect()
}
