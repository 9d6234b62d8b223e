//! Segments: the files that records are appended to, and `Scan`, which reads one from front to back.
//!
//! Apart from what is done with the records, because the journal, its readers and its repair read in the same way.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::directory::{create, sync_directory};
use super::error::{Naming, SpoolError};
use super::record::{self, HEAD, PREFIX, Record};
use crate::wire::assured::SessionId;

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// How much memory is kept for what is read.
const MOST_KEPT: usize = 4 * CHUNK;

/// The least that a disk writes as a whole.
const SECTOR: u64 = 512;

/// The end of a segment's name.
const SUFFIX: &str = ".seg";

/// The name of a segment whose first message has this number.
pub(super) fn path(session: &Path, first: u64) -> PathBuf {
    session.join(format!("{first:020}{SUFFIX}"))
}

/// The first numbers of a session's segments, in their order.
pub(super) fn list(session: &Path) -> Result<Vec<u64>, SpoolError> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(session).naming("read", session)? {
        let name = entry.naming("read", session)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|number| number.parse().ok());
        firsts.extend(number.filter(|number| path(session, *number).file_name() == Some(&*name)));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Makes a segment with its head, durably: there never is one without.
pub(super) fn make(directory: &Path, session: &SessionId, first: u64) -> Result<File, SpoolError> {
    let path = path(directory, first);
    let new = path.with_extension("new");
    let made = create().truncate(true).open(&new).naming("make", &new).and_then(|mut file| {
        file.write_all(&record::head(session, first)).naming("write", &new)?;
        file.sync_all().naming("sync", &new)?;
        fs::rename(&new, &path).naming("rename", &new)?;
        Ok(file)
    });
    let file = made.inspect_err(|_| drop(fs::remove_file(&new)))?;
    sync_directory(directory)?;
    Ok(file)
}

/// One segment, read from front to back.
#[derive(Debug)]
pub(super) struct Scan {
    file: File,
    path: PathBuf,
    /// Its first number.
    pub(super) first: u64,
    /// The number of the next record.
    pub(super) number: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    base: u64,
    /// Where in the buffer the next record begins.
    at: usize,
}

/// What is next in a segment.
#[derive(Debug)]
pub(super) enum Next<'a> {
    /// A record.
    Record(Record<'a>),
    /// Nothing more.
    End,
    /// Something else.
    Bad,
}

impl Scan {
    /// Opens the segment of a session that begins with this number; `None` if it is not there.
    pub(super) fn open(directory: &Path, session: &SessionId, first: u64) -> Result<Option<Self>, SpoolError> {
        let path = path(directory, first);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SpoolError::of("open", &path, error)),
        };
        let mut head = [0; HEAD];
        match file.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(SpoolError::of("read", &path, error));
            }
            _ if head != record::head(session, first) => {
                return Err(SpoolError::damaged(
                    &path,
                    0,
                    Some(first),
                    "it does not begin as a segment of this session",
                ));
            }
            _ => {}
        }
        Ok(Some(Self { file, path, first, number: first, buffer: Vec::new(), base: HEAD as u64, at: 0 }))
    }

    /// Opens a segment whatever its head is, for a repair.
    pub(super) fn open_anyhow(directory: &Path, first: u64) -> Result<Self, SpoolError> {
        let path = path(directory, first);
        let file = File::open(&path).naming("open", &path)?;
        Ok(Self { file, path, first, number: first, buffer: Vec::new(), base: HEAD as u64, at: 0 })
    }

    /// Its file's name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its length now.
    pub(super) fn len(&self) -> Result<u64, SpoolError> {
        Ok(self.file.metadata().naming("stat", &self.path)?.len())
    }

    /// Where the next record begins.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Goes to where a record of this number is known to begin.
    pub(super) fn go_to(&mut self, number: u64, offset: u64) {
        (self.number, self.base, self.at) = (number, offset, 0);
        self.buffer.clear();
    }

    /// The next record of the part before `end`.
    pub(super) fn next(&mut self, end: u64) -> Result<Next<'_>, SpoolError> {
        let Some(size) = self.next_size(end)? else {
            return Ok(if self.offset() >= end { Next::End } else { Next::Bad });
        };
        match Record::decode(&self.buffer[self.at..self.at + size]) {
            Some(record) if record.number == self.number => {
                self.at += size;
                self.number += 1;
                Ok(Next::Record(record))
            }
            _ => Ok(Next::Bad),
        }
    }

    /// The size of the next record, which is then in the buffer; `None` if there is no whole one.
    pub(super) fn next_size(&mut self, end: u64) -> Result<Option<usize>, SpoolError> {
        if !self.fill(PREFIX, end)? {
            return Ok(None);
        }
        match record::size(&self.buffer[self.at..]) {
            Some(size) => Ok(self.fill(size, end)?.then_some(size)),
            None => Ok(None),
        }
    }

    /// Has so many bytes in the buffer, if there are so many before `end`. A length is not believed before that.
    fn fill(&mut self, wanted: usize, end: u64) -> Result<bool, SpoolError> {
        let here = self.offset();
        if self.buffer.len() - self.at >= wanted {
            return Ok(here + wanted as u64 <= end);
        }
        if here + wanted as u64 > end {
            return Ok(false);
        }
        self.buffer.drain(..self.at);
        // A long message must not cost its memory for good.
        if self.buffer.capacity() > MOST_KEPT {
            self.buffer.shrink_to(CHUNK);
        }
        (self.base, self.at) = (here, 0);
        let held = self.buffer.len();
        let most = usize::try_from(end - here).unwrap_or(usize::MAX).min(wanted.max(CHUNK));
        self.buffer.resize(most, 0);
        let mut filled = held;
        while filled < most {
            match self.file.read_at(&mut self.buffer[filled..], here + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.truncate(held);
                    return Err(SpoolError::of("read", &self.path, error));
                }
            }
        }
        self.buffer.truncate(filled);
        Ok(filled >= wanted)
    }

    /// Looks behind something that is no record for the next one that is. This reads all the rest into memory.
    pub(super) fn resume(&self, end: u64) -> Result<Option<Resumption>, SpoolError> {
        let start = self.offset();
        let mut rest = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or_default()];
        self.file.read_exact_at(&mut rest, start).naming("read", &self.path)?;
        // Each record that is missing has taken a prefix at least.
        let highest = self.number.saturating_add(rest.len() as u64 / PREFIX as u64 + 1);
        let sector = |index: u64| {
            let from = (index * SECTOR - start) as usize;
            rest[from..from + SECTOR as usize].iter().all(|byte| *byte == 0)
        };
        let mut found: Option<Resumption> = None;
        let mut at = 1;
        while let Some(number) = record::number(&rest[at.min(rest.len())..]) {
            let is_possible = (self.number..=highest).contains(&number);
            let Some(record) = is_possible.then(|| Record::decode(&rest[at..])).flatten() else {
                at += 1;
                continue;
            };
            let durable = number.saturating_sub(u64::from(record.place));
            let offset = start + at as u64;
            at += record.size();
            match &mut found {
                Some(found) => found.durable = found.durable.max(durable),
                None => {
                    let has_hole = (start.div_ceil(SECTOR)..offset / SECTOR).any(sector);
                    found = Some(Resumption { offset, number, durable, has_hole });
                }
            }
        }
        Ok(found)
    }
}

/// The first record behind something that is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resumption {
    /// Where it begins.
    pub(super) offset: u64,
    /// Its number.
    pub(super) number: u64,
    /// The last number that was durable when this or anything behind it was written.
    pub(super) durable: u64,
    /// Whether what lies before it has a whole sector of zeros: what a file system leaves for a part of a write that has not reached the disk.
    pub(super) has_hole: bool,
}

impl Resumption {
    /// Whether this is of a write that was under way when the power failed, in the place of whose message `wanted` nothing has reached the disk: no
    /// message of it was accepted.
    pub(super) fn is_torn(&self, wanted: u64) -> bool {
        self.durable < wanted && self.has_hole
    }
}
