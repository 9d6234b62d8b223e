//! The way out of a spool that is damaged: what can be read goes on, what cannot is put aside, and what is lost is said.
//!
//! Apart from opening it, which never does any of this by itself.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::SpoolConfig;
use super::directory::{Directory, create, random_session, sync_directory};
use super::error::{Naming, SpoolError};
use super::journal::Journal;
use super::progress::{Mark, Progress};
use super::record::Record;
use super::segment::{self, Next, Scan};
use crate::wire::assured::{Run, SessionId};

/// How many bytes are copied to the new session between two syncs.
const PIECE: usize = 4 * 1024 * 1024;

/// What a repair has done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Repair {
    /// The session that takes the damaged one's place; none if nothing was damaged, and nothing was done.
    pub session: Option<SessionId>,
    /// How many messages that are not final could be read: they are in the new session, from number 1 on.
    pub kept: u64,
    /// The numbers, in the old session, of the messages that are lost.
    pub lost: Vec<RangeInclusive<u64>>,
    /// The files with what could not be read.
    pub files: Vec<PathBuf>,
}

/// Repairs the spool in a directory, if it is damaged.
///
/// The numbers of a session have no gaps, so that a session of which a message is lost cannot go on: what can be read is sent in a new one, each
/// message with its old session and number as its origin. Those that the server had already, without the client knowing it, come twice.
///
/// # Errors
/// It is in use, is none, or cannot be read or written. It is then as it was.
pub fn repair(directory: impl AsRef<Path>) -> Result<Repair, SpoolError> {
    let mut directory = Directory::lock(directory.as_ref())?;
    let Some(old) = directory.session.clone() else { return Ok(Repair::default()) };
    let place = directory.of_session(&old);
    let (mark, mut is_sound) = match Progress::open(&place, false) {
        Ok(progress) => (progress.mark(), true),
        Err(_) => (Mark::default(), false),
    };
    let salvage = Salvage::of(&place, &old, mark)?;
    is_sound &= salvage.pieces.is_empty() && salvage.lost.is_empty();
    if is_sound {
        return Ok(Repair::default());
    }
    let session = random_session()?;
    let files = salvage.put_aside(directory.path())?;
    let mut kept = 0;
    directory.begin(session.clone(), |path| {
        Journal::make(path)?;
        let config = SpoolConfig { max_bytes: None, ..SpoolConfig::default() };
        let mut journal = Journal::open(path.to_owned(), session.clone(), config)?;
        let mut run = Run::default();
        salvage.each(|record| {
            let (origin, there) = record.parsed_origin().unwrap_or_else(|| (old.clone(), record.number));
            run.origins.push((run.next(), origin, there));
            run.push(record.body);
            kept += 1;
            if run.bytes.len() < PIECE {
                return Ok(());
            }
            let full = std::mem::take(&mut run);
            journal.stage(&full)?;
            journal.commit()
        })?;
        journal.stage(&run)?;
        journal.commit()
    })?;
    Ok(Repair { session: Some(session), kept, lost: salvage.lost, files })
}

/// What can be read of a session, and what cannot.
struct Salvage {
    place: PathBuf,
    session: SessionId,
    settled: u64,
    /// The parts of segments with sound records: the segment, the number of the first, from where to where.
    sound: Vec<(u64, u64, u64, u64)>,
    /// The other parts: the segment, from where to where.
    pieces: Vec<(u64, u64, u64)>,
    lost: Vec<RangeInclusive<u64>>,
}

impl Salvage {
    fn of(place: &Path, session: &SessionId, mark: Mark) -> Result<Self, SpoolError> {
        let mut salvage = Self {
            place: place.to_owned(),
            session: session.clone(),
            settled: mark.settled,
            sound: Vec::new(),
            pieces: Vec::new(),
            lost: Vec::new(),
        };
        let firsts = segment::list(place)?;
        // Without a progress all that is there counts.
        let mut next = if mark.next == 0 { firsts.first().copied().unwrap_or(1) } else { mark.settled + 1 };
        for (index, first) in firsts.iter().enumerate() {
            let is_last = index + 1 == firsts.len();
            next = salvage.look_through(*first, next, is_last.then_some(mark.next))?;
        }
        salvage.lose(next, mark.next);
        Ok(salvage)
    }

    /// Notes that the numbers from `next` up to the one before `found` are not there.
    fn lose(&mut self, next: u64, found: u64) {
        let first = next.max(self.settled + 1);
        if first < found {
            self.lost.push(first..=found - 1);
        }
    }

    /// Goes through a segment, where the number `next` is wanted, and says which one is wanted after it. `durable` is given for the last segment:
    /// what is torn at its end is no damage, unless it was durable.
    fn look_through(&mut self, first: u64, mut next: u64, durable: Option<u64>) -> Result<u64, SpoolError> {
        let mut scan = Scan::open_anyhow(&self.place, first)?;
        if Scan::open(&self.place, &self.session, first).is_err() {
            self.pieces.push((first, 0, scan.offset()));
        }
        let end = scan.len()?;
        loop {
            let (number, from) = (scan.number, scan.offset());
            while let Next::Record(_) = scan.next(end)? {}
            let (behind, to) = (scan.number, scan.offset());
            if to > from {
                self.lose(next, number);
                self.sound.push((first, number, from, to));
                next = next.max(behind);
            }
            if to >= end {
                return Ok(next);
            }
            match scan.resume(end)? {
                Some(resumption) if durable.is_some_and(|durable| behind >= durable) && resumption.is_torn(behind) => {
                    return Ok(next);
                }
                Some(resumption) => {
                    self.pieces.push((first, to, resumption.offset));
                    scan.go_to(resumption.number, resumption.offset);
                }
                None => {
                    if durable.is_none_or(|durable| behind < durable) {
                        self.pieces.push((first, to, end));
                    }
                    return Ok(next);
                }
            }
        }
    }

    /// Copies what cannot be read into files of the spool's directory, durably.
    fn put_aside(&self, directory: &Path) -> Result<Vec<PathBuf>, SpoolError> {
        let mut files = Vec::new();
        for (first, from, to) in &self.pieces {
            let source = segment::path(&self.place, *first);
            let path = directory.join(format!("damaged-{}-{first}-{from}", self.session));
            let mut piece = File::open(&source).naming("open", &source)?;
            piece.seek(SeekFrom::Start(*from)).naming("seek", &source)?;
            let mut bytes = Vec::new();
            piece.take(to - from).read_to_end(&mut bytes).naming("read", &source)?;
            let mut file = create().truncate(true).open(&path).naming("make", &path)?;
            file.write_all(&bytes).naming("write", &path)?;
            file.sync_all().naming("sync", &path)?;
            files.push(path);
        }
        sync_directory(directory)?;
        Ok(files)
    }

    /// Reads all messages that are there and not final, in the order of their numbers.
    fn each(&self, mut take: impl FnMut(Record<'_>) -> Result<(), SpoolError>) -> Result<(), SpoolError> {
        let mut next = self.settled + 1;
        for (first, number, from, to) in &self.sound {
            let mut scan = Scan::open_anyhow(&self.place, *first)?;
            scan.go_to(*number, *from);
            while let Next::Record(record) = scan.next(*to)? {
                if record.number >= next {
                    next = record.number + 1;
                    take(record)?;
                }
            }
        }
        Ok(())
    }
}
