//! `Spool`: what a simulated client has on its disk (rule C1), or in its memory where it has none.
//!
//! Apart from the client: here is what a crash leaves. A kill leaves all that was written, a power loss what was synced.

use std::collections::BTreeMap;

use super::random::Random;
use crate::wire::assured::{Run, Start, checksum};

/// The messages of one session that are not final, in the order of their numbers.
#[derive(Clone, Default)]
pub(super) struct Spool {
    /// The number of the first record that is there, less one.
    dropped: u64,
    records: Vec<Vec<u8>>,
    /// How many of the records are on the disk for good.
    synced: usize,
    /// The last number that is known to be final, with its checksum. It is written without a sync.
    progress: (u64, Option<u32>),
    progress_synced: (u64, Option<u32>),
    /// Those that were refused. Each is synced when it is written, and has its number: what comes again is the same letter.
    pub(super) dead_letters: BTreeMap<u64, Vec<u8>>,
    /// Whether it hands out what is not synced, which breaks rule C1.
    pub(super) careless: bool,
}

impl Spool {
    /// The number after the last.
    pub(super) fn next(&self) -> u64 {
        self.dropped + self.records.len() as u64 + 1
    }

    /// The number after the last that is accepted.
    pub(super) fn next_synced(&self) -> u64 {
        self.dropped + self.synced as u64 + 1
    }

    pub(super) fn append(&mut self, body: Vec<u8>) {
        self.records.push(body);
    }

    /// All to this number are on the disk.
    pub(super) fn sync(&mut self, next: u64) {
        self.synced = self.synced.max(((next - 1).saturating_sub(self.dropped) as usize).min(self.records.len()));
    }

    pub(super) fn record(&self, number: u64) -> Option<&Vec<u8>> {
        let at = number.checked_sub(self.dropped + 1)?;
        self.records.get(at as usize)
    }

    /// Up to so many accepted messages from this number on.
    pub(super) fn run(&self, first: u64, most: u64) -> Run {
        let mut run = Run::new(first);
        let next = if self.careless { self.next() } else { self.next_synced() };
        for number in first..next.min(first + most) {
            run.push(self.record(number).map_or(&[], Vec::as_slice));
        }
        run
    }

    /// All to this number is final. Records leave the disk some time later.
    pub(super) fn settle(&mut self, through: u64, checksum: Option<u32>, random: &mut Random) {
        if through > self.progress.0 {
            self.progress = (through, checksum);
        }
        if random.once_in(3) {
            self.progress_synced = self.progress;
        }
        if random.once_in(4) {
            // Whole files leave, and the one that is written to does not.
            let gone = self.progress.0.min(self.next_synced().saturating_sub(2)).saturating_sub(self.dropped);
            let gone = random.within(0, gone) as usize;
            self.records.drain(..gone);
            self.synced -= gone;
            self.dropped += gone as u64;
        }
    }

    /// Where the session goes on after a start. What was written and not synced is synced before.
    pub(super) fn start(&mut self) -> Start {
        self.synced = self.records.len();
        let (settled, known) = if self.progress.0 >= self.dropped { self.progress } else { (self.dropped, None) };
        let own = self.record(settled).map(|body| checksum(body));
        Start { first: settled + 1, next: self.next(), checksum: own.or(known) }
    }

    /// What is left after the power was gone.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let kept = random.within(self.synced as u64, self.records.len() as u64) as usize;
        self.records.truncate(kept);
        if random.once_in(2) {
            self.progress = if random.once_in(3) { (0, None) } else { self.progress_synced };
        }
        self.progress_synced = self.progress;
    }
}
