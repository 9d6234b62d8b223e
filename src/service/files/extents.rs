//! `Extents`: where a file has data and where it has holes, found as it is read.
//!
//! Apart from reading: here is what lseek(2) says, and when it is not worth asking.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// A hole of fewer bytes is sent as the zeros that it reads as: a word of its own would cost more.
const LEAST_HOLE: u64 = 64 * 1024;

/// The data between two holes that are worth it is looked for no further than this.
const LONGEST_SEARCH: u64 = 64 * 1024 * 1024;

/// The unit of `st_blocks` (stat(3type)).
const BLOCK: u64 = 512;

/// The data and the holes of a file, from an offset on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extents {
    at: u64,
    size: u64,
    /// Whether it may have holes: it takes less room on the disk than it is long.
    is_sparse: bool,
}

/// What comes next in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Extent {
    /// The bytes there.
    Data(Range<u64>),
    /// So many zeros.
    Hole(u64),
}

impl Extents {
    pub(super) fn of(_file: &File, metadata: &Metadata, from: u64) -> Self {
        let size = metadata.len();
        Self { at: from, size, is_sparse: metadata.blocks().saturating_mul(BLOCK) < size }
    }

    /// What comes next; nothing at the end. The offset of the file is anywhere then.
    pub(super) fn next(&mut self, file: &File) -> io::Result<Option<Extent>> {
        let Self { at, size, is_sparse } = *self;
        if at >= size {
            return Ok(None);
        }
        if !is_sparse {
            self.at = size;
            return Ok(Some(Extent::Data(at..size)));
        }
        let data = seek(file, at, Whence::SeekData)?.map_or(size, |data| data.min(size));
        if data - at >= LEAST_HOLE {
            self.at = data;
            return Ok(Some(Extent::Hole(data - at)));
        }
        let mut end = data;
        while end < size && end - at < LONGEST_SEARCH {
            end = seek(file, end, Whence::SeekHole)?.map_or(size, |hole| hole.min(size));
            let next = seek(file, end, Whence::SeekData)?.map_or(size, |data| data.min(size));
            if next - end >= LEAST_HOLE {
                break;
            }
            end = next;
        }
        self.at = end;
        Ok(Some(Extent::Data(at..end)))
    }
}

/// Where the next data is, or the next hole; nowhere if there is only a hole to the end.
fn seek(file: &File, from: u64, whence: Whence) -> io::Result<Option<u64>> {
    let from = i64::try_from(from).map_err(io::Error::other)?;
    match lseek(file, from, whence) {
        Ok(found) => Ok(u64::try_from(found).ok().filter(|found| *found >= from as u64)),
        Err(Errno::ENXIO) => Ok(None),
        // A file system that knows of no holes has none.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) if matches!(whence, Whence::SeekData) => Ok(Some(from as u64)),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn holes_are_found_and_all_of_the_file_is_in_one_or_the_other() -> io::Result<()> {
        const MIB: u64 = 1024 * 1024;
        for (size, written, hole) in [
            (10 * MIB, vec![], true),
            (10 * MIB, vec![0], true),
            (10 * MIB, vec![3 * MIB, 9 * MIB], true),
            (10 * MIB + 7, vec![10 * MIB], true),
            (5000, vec![0], false),
            (0, vec![], false),
        ] {
            let file = tempfile::tempfile()?;
            file.set_len(size)?;
            for at in &written {
                file.write_all_at(&[1; 7], *at)?;
            }
            for from in [0, size / 2, size] {
                let mut extents = Extents::of(&file, &file.metadata()?, from);
                let (mut at, mut has_hole) = (from, false);
                while let Some(extent) = extents.next(&file)? {
                    match extent {
                        Extent::Hole(length) => {
                            assert!(!written.iter().any(|written| (at..at + length).contains(written)));
                            has_hole = true;
                            at += length;
                        }
                        Extent::Data(range) => {
                            assert_eq!(range.start, at);
                            at = range.end;
                        }
                    }
                }
                assert_eq!(at, size);
                assert!(from > 0 || has_hole == hole, "{written:?}");
            }
        }
        Ok(())
    }
}
