//! `Reader`: gives back what was accepted, in order, whatever the size of the spool.
//!
//! Apart from the journal, so that reading goes on while something is written; it never looks at what is not durable yet.

use std::io;
use std::path::PathBuf;

use super::error::SpoolError;
use super::segment::{self, Next, Scan};
use crate::wire::assured::{Run, SessionId, checksum};

/// How far apart the places are that are remembered of the segment that is read, in bytes.
const STRIDE: u64 = 256 * 1024;

/// What there is to read at one moment.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Where the session's files are.
    pub(super) directory: PathBuf,
    /// The session.
    pub(super) session: SessionId,
    /// The last number that is final.
    pub(super) settled: u64,
    /// The number after the last that is durable.
    pub(super) next: u64,
    /// The first number of the last segment, and up to where it is durable.
    pub(super) tail: (u64, u64),
}

/// A place in the spool that moves on with what is read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    scan: Option<(SessionId, Scan)>,
    /// Numbers of the segment that is read, with where they are.
    marks: Vec<(u64, u64)>,
}

impl Reader {
    /// The messages from a number on: up to so many of up to so many bytes, but one in any case if there is one.
    pub(super) fn read(
        &mut self,
        view: &View,
        from: u64,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Run, SpoolError> {
        let mut run = Run::new(from);
        if from <= view.settled {
            let error = io::Error::new(io::ErrorKind::InvalidInput, format!("message {from} is final, and not kept"));
            return Err(SpoolError::of("read", &view.directory, error));
        }
        if from >= view.next {
            return Ok(run);
        }
        let result = self.fill(&mut run, view, max_messages, max_bytes);
        if result.is_err() {
            self.scan = None;
        }
        result.map(|()| run)
    }

    /// The checksum of a message.
    pub(super) fn checksum(&mut self, view: &View, number: u64) -> Result<u32, SpoolError> {
        Ok(checksum(self.read(view, number, 1, 0)?.message(number)))
    }

    fn fill(&mut self, run: &mut Run, view: &View, max_messages: usize, max_bytes: usize) -> Result<(), SpoolError> {
        let mut scan = self.at(view, run.first)?;
        let mut end = end_of(&scan, view)?;
        while run.next() < view.next && (run.is_empty() || run.len() < max_messages) {
            let size = scan.next_size(end)?.unwrap_or_default();
            if !run.is_empty() && run.bytes.len() + size > max_bytes {
                break;
            }
            if !self.step(&mut scan, end, run)? {
                scan = self.open(view, scan.number)?;
                end = end_of(&scan, view)?;
            }
        }
        self.scan = Some((view.session.clone(), scan));
        Ok(())
    }

    /// Adds the next record of a segment; false at the end of the segment.
    fn step(&mut self, scan: &mut Scan, end: u64, run: &mut Run) -> Result<bool, SpoolError> {
        self.remember(scan);
        match scan.next(end)? {
            Next::Record(record) => {
                if !record.origin.is_empty() {
                    run.origins.extend(record.parsed_origin().map(|(session, there)| (record.number, session, there)));
                }
                run.push(record.body);
                Ok(true)
            }
            Next::End => Ok(false),
            Next::Bad => Err(bad(scan)),
        }
    }

    /// The segment at the place of a number: where the last call has ended, if it is that.
    fn at(&mut self, view: &View, number: u64) -> Result<Scan, SpoolError> {
        let kept = self.scan.take().filter(|(session, _)| *session == view.session).map(|(_, scan)| scan);
        let mut scan = match kept {
            Some(scan) if scan.number == number => return Ok(scan),
            Some(mut scan) if scan.first <= number && scan.number > number => {
                let mark = self.marks.iter().rev().find(|(marked, _)| *marked <= number);
                if let Some((marked, offset)) = mark {
                    scan.go_to(*marked, *offset);
                }
                scan
            }
            _ => {
                let firsts = segment::list(&view.directory)?;
                let first = firsts.iter().rev().find(|first| **first <= number);
                self.open(view, *first.unwrap_or(&number))?
            }
        };
        let mut end = end_of(&scan, view)?;
        while scan.number < number {
            self.remember(&scan);
            match scan.next(end)? {
                Next::Record(_) => {}
                Next::End => {
                    scan = self.open(view, scan.number)?;
                    end = end_of(&scan, view)?;
                }
                Next::Bad => return Err(bad(&scan)),
            }
        }
        Ok(scan)
    }

    fn open(&mut self, view: &View, first: u64) -> Result<Scan, SpoolError> {
        self.marks.clear();
        let path = || segment::path(&view.directory, first);
        Scan::open(&view.directory, &view.session, first)?
            .ok_or_else(|| SpoolError::damaged(&path(), 0, Some(first), "it is missing"))
    }

    fn remember(&mut self, scan: &Scan) {
        if self.marks.last().is_none_or(|(_, offset)| scan.offset() >= offset + STRIDE) {
            self.marks.push((scan.number, scan.offset()));
        }
    }
}

/// Up to where a segment may be read.
fn end_of(scan: &Scan, view: &View) -> Result<u64, SpoolError> {
    if scan.first == view.tail.0 { Ok(view.tail.1) } else { scan.len() }
}

fn bad(scan: &Scan) -> SpoolError {
    SpoolError::damaged(scan.path(), scan.offset(), Some(scan.number), "the record of a message cannot be read")
}
