//! `Inspection`: what is in a spool, for people, also while a client uses it.
//!
//! Apart from the spool itself: nothing is locked, written or cut off here, and what is being written is not seen yet.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::directory::{Directory, is_own, user};
use super::error::{Damage, SpoolError};
use super::letters::DeadLetters;
use super::progress::Progress;
use super::segment::{self, Next, Scan};
use crate::wire::assured::SessionId;

/// How often a look is begun anew because a client has removed what was looked at.
const ATTEMPTS: usize = 5;

/// What is in a spool at one moment.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The spool's directory.
    pub directory: PathBuf,
    /// The session; none in a spool in which nothing was ever accepted.
    pub session: Option<SessionId>,
    /// The lowest number that is not final.
    pub first: u64,
    /// The number after the last.
    pub next: u64,
    /// How much its segments take on disk, in bytes.
    pub bytes: u64,
    /// The process that uses it, if one does and may be seen.
    pub user: Option<u32>,
    /// What cannot be read in the last segment; what is being written just now looks the same.
    pub damage: Option<Damage>,
    /// The last segment, and up to where it was read.
    tail: (u64, u64),
}

/// A message that is not final yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// Its number in the session.
    pub number: u64,
    /// When it was accepted, if that is known.
    pub accepted: Option<SystemTime>,
    /// The session and number under which it was first sent, if those are others.
    pub origin: Option<String>,
    /// The message.
    pub body: Vec<u8>,
}

impl Inspection {
    /// Looks at the spool in a directory.
    ///
    /// # Errors
    /// The directory holds no spool, or one of a later version, or cannot be read.
    pub fn of(directory: impl AsRef<Path>) -> Result<Self, SpoolError> {
        let mut attempts = 1;
        loop {
            match Self::attempt(directory.as_ref()) {
                Err(SpoolError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS => {
                    attempts += 1;
                }
                looked => return looked,
            }
        }
    }

    /// Whether nobody but its user could have changed what is shown: a client uses no other.
    ///
    /// # Errors
    /// Others could ([`SpoolError::Exposed`]).
    pub fn is_own(&self) -> Result<(), SpoolError> {
        is_own(&self.directory)
    }

    /// The messages that are not final, from the first on.
    pub fn messages(&self) -> WaitingMessages {
        WaitingMessages { inspection: self.clone(), next: self.first, scan: None, has_failed: false }
    }

    /// The dead letters.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn dead_letters(&self) -> Result<DeadLetters, SpoolError> {
        DeadLetters::of(&self.directory)
    }

    /// Makes durable what was seen: what is being written may be lost with the power until then.
    pub(crate) fn sync(&self) -> Result<(), SpoolError> {
        let Some(session) = &self.session else { return Ok(()) };
        // Others were synced before it was begun.
        let path = segment::path(&self.directory.join(session.as_str()), self.tail.0);
        match File::open(&path).and_then(|file| file.sync_data()) {
            // All of it is final.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced.map_err(|error| SpoolError::of("sync", &path, error)),
        }
    }

    fn attempt(path: &Path) -> Result<Self, SpoolError> {
        let directory = Directory::look(path)?;
        let mut inspection = Self {
            directory: path.to_owned(),
            session: directory.session.clone(),
            first: 1,
            next: 1,
            bytes: 0,
            user: user(path),
            damage: None,
            tail: (1, 0),
        };
        let Some(session) = &directory.session else { return Ok(inspection) };
        let place = directory.of_session(session);
        let mark = Progress::open(&place, false)?.mark();
        (inspection.first, inspection.next) = (mark.settled + 1, mark.settled + 1);
        for first in segment::list(&place)? {
            let Some(mut scan) = Scan::open(&place, session, first)? else { continue };
            let end = scan.len()?;
            inspection.bytes += end;
            // Only of the last it has to be known where it ends.
            if segment::list(&place)?.last() == Some(&first) {
                while let Next::Record(_) = scan.next(end)? {}
                inspection.tail = (first, scan.offset());
                inspection.next = scan.number.max(inspection.next);
                if scan.offset() < end {
                    let what = "this is no record, or it is being written".to_owned();
                    let (path, offset) = (scan.path().to_owned(), scan.offset());
                    inspection.damage = Some(Damage { path, offset, number: Some(scan.number), what });
                }
            }
        }
        Ok(inspection)
    }
}

/// Gives the messages that are not final, one after the other.
#[derive(Debug)]
pub struct WaitingMessages {
    inspection: Inspection,
    next: u64,
    scan: Option<Scan>,
    has_failed: bool,
}

impl WaitingMessages {
    fn step(&mut self) -> Result<Option<Waiting>, SpoolError> {
        let Some(session) = self.inspection.session.clone() else { return Ok(None) };
        let place = self.inspection.directory.join(session.as_str());
        while self.next < self.inspection.next {
            let Some(scan) = &mut self.scan else {
                let firsts = segment::list(&place)?;
                // What was deleted meanwhile is final.
                let first = firsts.iter().rev().find(|first| **first <= self.next).or(firsts.first());
                let Some(first) = first.filter(|first| **first < self.inspection.next) else { return Ok(None) };
                self.scan = Scan::open(&place, &session, *first)?;
                self.next = self.next.max(*first);
                continue;
            };
            let end = if scan.first == self.inspection.tail.0 { self.inspection.tail.1 } else { scan.len()? };
            let (path, offset, number) = (scan.path().to_owned(), scan.offset(), scan.number);
            match scan.next(end)? {
                Next::Record(record) if record.number < self.next => {}
                Next::Record(record) => {
                    self.next = record.number + 1;
                    return Ok(Some(Waiting {
                        number: record.number,
                        accepted: record.time(),
                        origin: (!record.origin.is_empty()).then(|| record.origin.to_owned()),
                        body: record.body.to_vec(),
                    }));
                }
                Next::End if number < self.next => {
                    return Err(SpoolError::damaged(
                        &path,
                        offset,
                        Some(number),
                        "messages that were accepted are missing",
                    ));
                }
                Next::End => self.scan = None,
                Next::Bad => {
                    return Err(SpoolError::damaged(
                        &path,
                        offset,
                        Some(number),
                        "the record of a message cannot be read",
                    ));
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for WaitingMessages {
    type Item = Result<Waiting, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let step = self.step();
        self.has_failed = step.is_err();
        step.transpose()
    }
}
