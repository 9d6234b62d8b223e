//! `Memory`: an outbox without a disk, which lasts as long as its process (rule C5).
//!
//! Apart from the spool, whose calls it has, so that what sends need not know which of the two it is.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::directory::random_session;
use super::error::SpoolError;
use super::{Rejected, Unsettled};
use crate::service::Batch;
use crate::wire::assured::{Run, SessionId, Start, checksum};

/// How many bytes of messages are held in memory by default.
pub const MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// A client's outbox in memory.
#[derive(Debug)]
pub struct Memory {
    max_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    session: SessionId,
    settled: u64,
    checksum: Option<u32>,
    next: u64,
    /// All that is not final, and perhaps some before.
    runs: VecDeque<Run>,
}

impl Held {
    /// What the messages take.
    fn bytes(&self) -> usize {
        self.runs.iter().map(bytes).sum()
    }
}

impl Memory {
    /// A new session that may hold so many bytes; [`MEMORY_BYTES`] is usual.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(max_bytes: usize) -> Result<Self, SpoolError> {
        let held = Held { session: random_session()?, settled: 0, checksum: None, next: 1, runs: VecDeque::new() };
        Ok(Self { max_bytes, held: Mutex::new(held) })
    }

    /// As [`Spool::session`](super::Spool::session).
    pub fn session(&self) -> SessionId {
        self.held().session.clone()
    }

    /// As [`Spool::start`](super::Spool::start).
    pub fn start(&self) -> Start {
        let held = self.held();
        Start { first: held.settled + 1, next: held.next, checksum: held.checksum }
    }

    /// As [`Spool::accept`](super::Spool::accept).
    ///
    /// # Errors
    /// It holds as much as it may.
    pub fn accept(&self, batch: Batch) -> Result<Run, Rejected> {
        let mut held = self.held();
        let run = batch.into_run(held.next);
        if held.bytes() + bytes(&run) > self.max_bytes {
            let error = SpoolError::Full { max: self.max_bytes as u64 };
            return Err(Rejected { error, batch: Box::new(Batch::of_run(run)) });
        }
        held.next = run.next();
        held.runs.push_back(run.clone());
        Ok(run)
    }

    /// As [`Spool::read`](super::Spool::read). Of a number that is final there is nothing.
    pub fn read(&self, from: u64, max_messages: usize, max_bytes: usize) -> Run {
        let (held, mut read) = (self.held(), Run::new(from));
        for run in held.runs.iter().filter(|run| run.next() > from) {
            for number in run.first.max(from)..run.next() {
                let body = run.message(number);
                let is_enough = read.len() >= max_messages || read.bytes.len() + body.len() > max_bytes;
                if !read.is_empty() && is_enough {
                    return read;
                }
                read.push(body);
            }
        }
        read
    }

    /// As [`Spool::checksum`](super::Spool::checksum).
    pub fn checksum(&self, number: u64) -> Option<u32> {
        let held = self.held();
        match number {
            _ if number == held.settled => held.checksum,
            _ if number < held.settled => None,
            _ => {
                let run = held.runs.iter().find(|run| (run.first..run.next()).contains(&number))?;
                Some(checksum(run.message(number)))
            }
        }
    }

    /// As [`Spool::settle`](super::Spool::settle).
    pub fn settle(&self, through: u64, checksum: Option<u32>) {
        let mut held = self.held();
        let through = through.min(held.next - 1);
        if through > held.settled {
            (held.settled, held.checksum) = (through, checksum);
            while held.runs.front().is_some_and(|run| run.last() <= through) {
                held.runs.pop_front();
            }
        }
    }

    /// As [`Spool::renew`](super::Spool::renew), with nowhere to keep what is skipped.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn renew(&self, unsettled: &Unsettled) -> Result<SessionId, SpoolError> {
        let session = random_session()?;
        let first = self.start().first;
        let old = self.read(first, usize::MAX, usize::MAX);
        let mut held = self.held();
        let mut new = Run { first: 1, ..old };
        if matches!(unsettled, Unsettled::Skip(..)) {
            new = Run::new(1);
        }
        *held = Held { session: session.clone(), settled: 0, checksum: None, next: new.next(), runs: [new].into() };
        Ok(session)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a run takes, roughly.
fn bytes(run: &Run) -> usize {
    run.bytes.len() + std::mem::size_of_val(run.spans.as_slice())
}
