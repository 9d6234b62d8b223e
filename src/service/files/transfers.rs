//! `Transfers`: what was sent of which file in one session, and what has become of it.
//!
//! Apart from connections, threads and files: it is told what was sent and what was answered, and says what is to be read next and which files are saved.

use std::collections::{HashMap, HashSet, VecDeque};

use super::FileFailure;
use super::digesting::{Parcel, Way};
use super::reading::Order;
use crate::wire::assured::Code;
use crate::wire::{Digest, FileAnswer};

/// The files of one session.
#[derive(Debug)]
pub(super) struct Transfers {
    /// The number of the next message.
    next: u64,
    /// What has begun and is not settled, in the order of its messages.
    attempts: VecDeque<Attempt>,
    /// The last number of messages that are on their way, and how many bytes of a file they have.
    on_the_way: VecDeque<(u64, u64)>,
    /// The files and directories of which it is not known what becomes of them.
    waiting: HashSet<usize>,
    /// Why files were refused that are sent in another way now.
    objections: HashMap<usize, (Code, String)>,
    /// What the reader is to be told.
    orders: VecDeque<Order>,
    outcomes: VecDeque<Outcome>,
    has_finished: bool,
}

/// A file that is under way, or a directory.
#[derive(Debug)]
struct Attempt {
    item: usize,
    way: Way,
    size: u64,
    /// The number of its first message.
    first: u64,
    /// Where sending has begun, once that is known.
    from: Option<u64>,
    /// How many bytes of it are acknowledged.
    sent: u64,
    /// The number of its last message, and the digest in it.
    end: Option<(u64, Digest)>,
    saved: Option<(u64, Digest)>,
    /// Whether it was told what has become of it.
    is_settled: bool,
}

/// What has become of something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// The receiver has so much of it, which is not sent again.
    Resumed {
        item: usize,
        from: u64,
    },
    Saved {
        item: usize,
        size: u64,
        digest: Digest,
        from: u64,
    },
    Made {
        item: usize,
    },
    Failed {
        item: usize,
        failure: FileFailure,
    },
}

/// How far the file is that is under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Present {
    pub(super) item: usize,
    pub(super) bytes: u64,
    pub(super) size: u64,
}

impl Transfers {
    pub(super) fn new(items: impl IntoIterator<Item = usize>) -> Self {
        let waiting: HashSet<usize> = items.into_iter().collect();
        let mut transfers = Self {
            next: 1,
            attempts: VecDeque::new(),
            on_the_way: VecDeque::new(),
            waiting,
            objections: HashMap::new(),
            orders: VecDeque::new(),
            outcomes: VecDeque::new(),
            has_finished: false,
        };
        transfers.finish_if_done();
        transfers
    }

    /// These messages are sent next.
    pub(super) fn sent(&mut self, parcel: &Parcel) {
        let first = self.next;
        self.next += parcel.batch.spans.len() as u64;
        let last = self.next - 1;
        if let Some(attempted) = parcel.begins {
            let (item, way, size) = (parcel.item, attempted.way, attempted.size);
            let (from, end, saved) = (None, None, None);
            self.attempts.push_back(Attempt { item, way, size, first, from, sent: 0, end, saved, is_settled: false });
        }
        if let Some(attempt) = self.attempts.back_mut() {
            attempt.from = attempt.from.or(parcel.from);
            attempt.end = parcel.digest.map(|digest| (last, digest));
            if let (Some(from @ 1..), Way::Asked) = (parcel.from, attempt.way) {
                self.outcomes.push_back(Outcome::Resumed { item: attempt.item, from });
            }
        }
        if parcel.bytes > 0 {
            self.on_the_way.push_back((last, parcel.bytes));
        }
    }

    /// A file could not be read, or not to its end.
    pub(super) fn failed(&mut self, item: usize, reason: String) {
        self.settle(Outcome::Failed { item, failure: FileFailure::Local(reason) });
    }

    /// A message was answered.
    pub(super) fn replied(&mut self, number: u64, reply: &[u8]) {
        let Some(attempt) = self.attempt(number) else { return };
        let (item, way) = (attempt.item, attempt.way);
        match FileAnswer::decode(reply) {
            Ok(FileAnswer::Saved(size, digest)) => attempt.saved = Some((size, digest)),
            Ok(answer) if way == Way::Asked => self.orders.push_back(Order::Answer(item, answer)),
            // Those have not waited for it.
            Ok(_) => {}
            Err(flaw) => {
                let reason = format!("what the server answers is no answer: {flaw}");
                self.give_up(number, Code::FAILED, reason);
            }
        }
    }

    /// A message was refused for good, and with it what it is about.
    pub(super) fn refused(&mut self, number: u64, code: Code, reason: String) {
        self.give_up(number, code, reason);
    }

    /// All messages up to a number are final.
    pub(super) fn acknowledged(&mut self, through: u64) {
        while let Some(&(last, bytes)) = self.on_the_way.front().filter(|(last, _)| *last <= through) {
            self.on_the_way.pop_front();
            if let Some(attempt) = self.attempt(last) {
                attempt.sent += bytes;
            }
        }
        while let Some(attempt) = self.attempts.front() {
            let is_over = match (attempt.way, attempt.end, self.attempts.get(1)) {
                (Way::Directory, ..) => through >= attempt.first,
                (_, Some((end, _)), _) => through >= end,
                // It was broken off.
                (_, None, Some(next)) => through + 1 >= next.first,
                (_, None, None) => false,
            };
            if !is_over {
                break;
            }
            if let Some(attempt) = self.attempts.pop_front().filter(|attempt| !attempt.is_settled) {
                self.settle(attempt.outcome());
            }
        }
    }

    /// What the reader is to be told next.
    pub(super) fn order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// What is to be told next.
    pub(super) fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// The file that is under way.
    pub(super) fn present(&self) -> Option<Present> {
        let is_file = |attempt: &&Attempt| !attempt.is_settled && attempt.way != Way::Directory;
        self.attempts.iter().find(is_file).map(Attempt::present)
    }

    /// All files that are under way.
    pub(super) fn under_way(&self) -> impl Iterator<Item = Present> {
        self.attempts
            .iter()
            .filter(|attempt| !attempt.is_settled && attempt.way != Way::Directory)
            .map(Attempt::present)
    }

    /// Which are not settled.
    pub(super) fn waiting(&self) -> impl Iterator<Item = usize> {
        self.waiting.iter().copied()
    }

    fn attempt(&mut self, number: u64) -> Option<&mut Attempt> {
        let after = self.attempts.partition_point(|attempt| attempt.first <= number);
        self.attempts.get_mut(after.checked_sub(1)?).filter(|attempt| !attempt.is_settled)
    }

    fn give_up(&mut self, number: u64, code: Code, reason: String) {
        let Some(attempt) = self.attempt(number) else { return };
        let (item, way) = (attempt.item, attempt.way);
        attempt.is_settled = true;
        let objection = match (way, self.objections.remove(&item)) {
            // There is one of that name. It may be the very same.
            (Way::Straight, None) => return self.again(item, Way::Assumed, (code, reason)),
            (Way::Assumed, None) => return self.again(item, Way::Straight, (code, reason)),
            // That it is not the same is no reason.
            (Way::Assumed, Some(objection)) => objection,
            (Way::Asked, _) => {
                self.orders.push_back(Order::Stop(item));
                (code, reason)
            }
            (Way::Straight | Way::Directory, _) => (code, reason),
        };
        let (code, reason) = objection;
        self.settle(Outcome::Failed { item, failure: FileFailure::Refused { code, reason } });
    }

    fn again(&mut self, item: usize, way: Way, objection: (Code, String)) {
        self.objections.insert(item, objection);
        self.orders.push_back(Order::Again(item, way));
    }

    fn settle(&mut self, outcome: Outcome) {
        let (Outcome::Saved { item, .. }
        | Outcome::Made { item }
        | Outcome::Failed { item, .. }
        | Outcome::Resumed { item, .. }) = outcome;
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.item == item) {
            attempt.is_settled = true;
        }
        let is_news = self.waiting.remove(&item);
        // What is said of a directory at the end may be refused, too.
        if is_news || matches!(outcome, Outcome::Failed { .. }) {
            self.outcomes.push_back(outcome);
        }
        self.finish_if_done();
    }

    fn finish_if_done(&mut self) {
        if self.waiting.is_empty() && !std::mem::replace(&mut self.has_finished, true) {
            self.orders.push_back(Order::Finish);
        }
    }
}

impl Attempt {
    fn present(&self) -> Present {
        Present { item: self.item, bytes: self.from.unwrap_or(0) + self.sent, size: self.size }
    }

    /// What has become of it, now that all of it is acknowledged.
    fn outcome(&self) -> Outcome {
        let (item, from) = (self.item, self.from.unwrap_or(0));
        let confused = |reason: &str| Outcome::Failed {
            item,
            failure: FileFailure::Refused { code: Code::FAILED, reason: reason.to_owned() },
        };
        match (self.way, self.end, self.saved) {
            (Way::Directory, ..) => Outcome::Made { item },
            (_, Some((_, ours)), Some((size, theirs))) if (size, theirs) == (self.size, ours) => {
                Outcome::Saved { item, size, digest: ours, from }
            }
            (_, _, Some(_)) => confused("what the server says that it saved has another digest"),
            (_, _, None) => confused("the server did not say that it saved it"),
        }
    }
}
