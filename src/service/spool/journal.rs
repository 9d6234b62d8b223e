//! `Journal`: the messages of one session on disk: appended, made durable, and deleted once they are final.
//!
//! Apart from the threads that use it: every step here is a call that returns when it is done, and rule C1 is kept here.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::SpoolConfig;
use super::directory::sync_directory;
use super::error::{Naming, SpoolError};
use super::progress::{Mark, Progress};
use super::record::{HEAD, MAX_BODY, PREFIX, Record};
use super::segment::{self, Next, Scan};
use crate::wire::assured::{Run, SessionId};

/// How long the last segment of a spool may be with nothing but what is final in it, before it is deleted.
pub(super) const DRAINED_BYTES: u64 = 8 * 1024 * 1024;

/// The messages of one session on disk.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    session: SessionId,
    config: SpoolConfig,
    progress: Progress,
    mark: Mark,
    /// The segments before the last: the first number and the length of each.
    full: Vec<(u64, u64)>,
    /// The last segment, if there is any.
    tail: Option<Tail>,
    /// The records that are to be written next.
    staged: Vec<u8>,
    /// The number after the last that is staged.
    staged_next: u64,
    /// Why nothing can be appended any more.
    failed: Option<String>,
}

/// The segment that is appended to.
#[derive(Debug)]
struct Tail {
    file: File,
    path: PathBuf,
    first: u64,
    /// Up to where it is durable.
    length: u64,
}

impl Journal {
    /// Makes the directory's files for a session that begins; the directory itself is to be synced.
    pub(super) fn make(directory: &Path) -> Result<(), SpoolError> {
        Progress::make(directory, Mark { settled: 0, checksum: None, next: 1 })
    }

    /// Opens what a session has left, and cuts off what was written in part: it was never accepted.
    pub(super) fn open(directory: PathBuf, session: SessionId, config: SpoolConfig) -> Result<Self, SpoolError> {
        let progress = Progress::open(&directory, true)?;
        let mark = progress.mark();
        let mut firsts = segment::list(&directory)?;
        // What is final as a whole was about to be deleted.
        while firsts.get(1).is_some_and(|second| *second <= mark.settled + 1) {
            remove(&segment::path(&directory, firsts.remove(0)))?;
        }
        let mut journal = Self {
            directory,
            session,
            config,
            progress,
            mark,
            full: Vec::new(),
            tail: None,
            staged: Vec::new(),
            staged_next: mark.next,
            failed: None,
        };
        if let Some((last, full)) = firsts.split_last() {
            check_first(&journal.directory, firsts[0], mark)?;
            for first in full {
                let scan = journal.scan(*first)?;
                journal.full.push((*first, scan.len()?));
            }
            journal.recover(*last)?;
        } else if mark.settled + 1 < mark.next {
            return Err(missing(&journal.directory, 0, mark.settled + 1));
        }
        Ok(journal)
    }

    /// How far it is.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// The session.
    pub(super) fn session(&self) -> &SessionId {
        &self.session
    }

    /// Where its files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The first number of the last segment and up to where it is durable.
    pub(super) fn tail(&self) -> (u64, u64) {
        self.tail.as_ref().map_or((self.mark.next, 0), |tail| (tail.first, tail.length))
    }

    /// Prepares messages to be written by the next [`commit`](Self::commit), under the next numbers, and says which is the first.
    pub(super) fn stage(&mut self, run: &Run) -> Result<u64, SpoolError> {
        if let Some(failed) = &self.failed {
            return Err(SpoolError::Failed(failed.clone()));
        }
        if let Some(length) = run.spans.iter().map(|span| span.end - span.start).find(|length| *length > MAX_BODY) {
            return Err(SpoolError::TooLarge { length });
        }
        self.check_room(run)?;
        let accepted = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let first = self.staged_next;
        let mut origins = run.origins.iter().peekable();
        let mut origin = String::new();
        for (number, span) in (run.first..).zip(&run.spans) {
            origin.clear();
            if let Some((_, session, there)) = origins.next_if(|(of, ..)| *of == number) {
                origin = format!("{session}:{there}");
            }
            let number = self.staged_next;
            let place = (number + 1 - self.mark.next) as u32;
            Record { number, accepted, place, origin: &origin, body: span.of(&run.bytes) }.encode(&mut self.staged);
            self.staged_next += 1;
        }
        Ok(first)
    }

    /// How many bytes are staged.
    pub(super) fn staged(&self) -> usize {
        self.staged.len()
    }

    /// Writes what is staged, and returns once it is durable. If it fails none of it is there.
    pub(super) fn commit(&mut self) -> Result<(), SpoolError> {
        let mut written = self.write_staged();
        if matches!(written, Err(SpoolError::NoRoom { .. })) && self.mark.settled + 1 == self.mark.next {
            // All that takes room is final.
            written = self.drain().and_then(|()| self.write_staged());
        }
        self.staged.clear();
        if self.staged.capacity() > MOST_STAGED_KEPT {
            self.staged.shrink_to(MOST_STAGED_KEPT);
        }
        if written.is_err() {
            self.staged_next = self.mark.next;
        }
        self.mark.next = self.staged_next;
        written
    }

    /// Notes that all up to a number is final, and deletes the segments that are nothing else.
    pub(super) fn settle(&mut self, through: u64, checksum: Option<u32>) -> Result<(), SpoolError> {
        let through = through.min(self.mark.next - 1);
        if through <= self.mark.settled {
            return Ok(());
        }
        (self.mark.settled, self.mark.checksum) = (through, checksum);
        self.progress.write(self.mark)?;
        let firsts: Vec<u64> = self.full.iter().map(|(first, _)| *first).chain([self.tail().0]).collect();
        let done = firsts.windows(2).take_while(|pair| pair[1] <= through + 1).count();
        let is_drained = through + 1 == self.mark.next && self.tail().1 > DRAINED_BYTES;
        match (done, is_drained) {
            (0, false) => Ok(()),
            (_, true) => self.drain(),
            (done, false) => {
                // If this were lost with what is deleted, nobody would know that it was final.
                self.progress.sync()?;
                for (first, _) in self.full.drain(..done) {
                    remove(&segment::path(&self.directory, first))?;
                }
                Ok(())
            }
        }
    }

    /// Makes the progress durable; of a session with nothing left in it no segment stays.
    pub(super) fn close(&mut self) -> Result<(), SpoolError> {
        self.progress.write(self.mark)?;
        self.progress.sync()?;
        if self.failed.is_none() && self.mark.settled + 1 == self.mark.next {
            self.drain()?;
        }
        Ok(())
    }

    /// Reads a segment from its beginning.
    fn scan(&self, first: u64) -> Result<Scan, SpoolError> {
        let missing = || SpoolError::damaged(&segment::path(&self.directory, first), 0, Some(first), "it is missing");
        Scan::open(&self.directory, &self.session, first)?.ok_or_else(missing)
    }

    /// Reads the last segment, cuts off a torn end, and makes all of it durable: what a crashed process has written need not be.
    fn recover(&mut self, first: u64) -> Result<(), SpoolError> {
        let mut scan = self.scan(first)?;
        let (path, end) = (scan.path().to_owned(), scan.len()?);
        while let Next::Record(_) = scan.next(end)? {}
        let (length, next) = (scan.offset(), scan.number);
        let file = File::options().read(true).write(true).open(&path).naming("open", &path)?;
        if length < end {
            let bad = |what| Err(SpoolError::damaged(&path, length, Some(next), what));
            match scan.resume(end)? {
                _ if next < self.mark.next => return bad("the record of a message that was accepted cannot be read"),
                Some(behind) if !behind.is_torn(next) => {
                    return bad("this is no record, and there are records behind it");
                }
                _ => {}
            }
            file.set_len(length).naming("truncate", &path)?;
            tracing::warn!(
                "{}: {} bytes at its end were written in part and are cut off: what they were for was never accepted",
                path.display(),
                end - length
            );
        }
        if next < self.mark.next {
            return Err(missing(&path, length, next));
        }
        file.sync_all().naming("sync", &path)?;
        sync_directory(&self.directory)?;
        (self.mark.next, self.staged_next) = (next, next);
        self.tail = Some(Tail { file, path, first, length });
        Ok(())
    }

    fn check_room(&mut self, run: &Run) -> Result<(), SpoolError> {
        let Some(max) = self.config.max_bytes else { return Ok(()) };
        let bodies: usize = run.spans.iter().map(|span| span.end - span.start).sum();
        let origins = run.origins.iter().map(|(_, session, _)| session.as_str().len() + 20).sum::<usize>();
        let wanted = (self.staged.len() + bodies + origins + run.len() * PREFIX) as u64;
        let used = |journal: &Self| journal.full.iter().map(|(_, length)| length).sum::<u64>() + journal.tail().1;
        if used(self) + wanted > max && self.mark.settled + 1 == self.mark.next {
            self.drain()?;
        }
        if used(self) + wanted > max { Err(SpoolError::Full { max }) } else { Ok(()) }
    }

    fn write_staged(&mut self) -> Result<(), SpoolError> {
        if self.staged.is_empty() {
            return Ok(());
        }
        if self.tail.as_ref().is_none_or(|tail| tail.length >= self.config.longest_segment()) {
            self.begin_segment()?;
        }
        let Some(tail) = &mut self.tail else { return Err(SpoolError::Failed("there is no segment".to_owned())) };
        if let Err(error) = tail.file.write_all_at(&self.staged, tail.length) {
            if let Err(cut) = tail.file.set_len(tail.length) {
                self.failed = Some(format!("{} cannot be cut back: {cut}", tail.path.display()));
            }
            return Err(SpoolError::of("write", &tail.path, error));
        }
        match tail.file.sync_data() {
            Ok(()) => {
                tail.length += self.staged.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What the system still shows of this may never reach the disk, and a second sync would not tell (fsync(2)).
                let _ = tail.file.set_len(tail.length);
                let why = format!("sync {}: {}", tail.path.display(), crate::net::plain(&error));
                self.failed = Some(why.clone());
                Err(SpoolError::Failed(why))
            }
        }
    }

    fn begin_segment(&mut self) -> Result<(), SpoolError> {
        let first = self.mark.next;
        let file = segment::make(&self.directory, &self.session, first)?;
        let path = segment::path(&self.directory, first);
        let old = self.tail.replace(Tail { file, path, first, length: HEAD as u64 });
        self.full.extend(old.map(|tail| (tail.first, tail.length)));
        Ok(())
    }

    /// Deletes all segments: nothing in them is needed any more.
    fn drain(&mut self) -> Result<(), SpoolError> {
        self.progress.write(self.mark)?;
        self.progress.sync()?;
        for (first, _) in self.full.drain(..) {
            remove(&segment::path(&self.directory, first))?;
        }
        match self.tail.take() {
            Some(tail) => remove(&tail.path),
            None => Ok(()),
        }
    }
}

/// Numbers that were accepted are not there: they must not be given to other messages.
fn missing(path: &Path, offset: u64, number: u64) -> SpoolError {
    SpoolError::damaged(path, offset, Some(number), "messages that were accepted are missing")
}

/// How much memory is kept for what is staged.
const MOST_STAGED_KEPT: usize = 8 * 1024 * 1024;

/// The first segment must have the first message that is not final.
fn check_first(directory: &Path, first: u64, mark: Mark) -> Result<(), SpoolError> {
    let wanted = mark.settled + 1;
    if first <= wanted {
        return Ok(());
    }
    Err(SpoolError::damaged(&segment::path(directory, wanted), 0, Some(wanted), "it is missing"))
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SpoolError::of("remove", path, error)),
        _ => Ok(()),
    }
}
