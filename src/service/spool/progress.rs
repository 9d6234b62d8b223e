//! `Progress`: how much of a session is final, in a file of two slots that are written in turn.
//!
//! Apart from the messages, because it is written often and need not be durable each time: what it has lost the server tells again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::directory::create;
use super::error::{Naming, SpoolError};
use super::record::{u32_at, u64_at};

/// The bytes of a slot that are used.
const SLOT: usize = 36;

/// How far the slots are apart: a disk writes a sector of this size as a whole or not at all.
const SECTOR: u64 = 512;

/// How far a session is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Mark {
    /// The last number that is final.
    pub(super) settled: u64,
    /// The checksum of that message, if it is known.
    pub(super) checksum: Option<u32>,
    /// The number after the last that was durable when this was written.
    pub(super) next: u64,
}

/// The file with the slots.
#[derive(Debug)]
pub(super) struct Progress {
    file: File,
    path: PathBuf,
    generation: u64,
    mark: Mark,
}

impl Progress {
    /// The name of the file in a session's directory.
    pub(super) const NAME: &str = "progress";

    /// Makes the file of a session that begins, durably but for its directory.
    pub(super) fn make(session: &Path, mark: Mark) -> Result<(), SpoolError> {
        let path = session.join(Self::NAME);
        let file = create().truncate(true).open(&path).naming("make", &path)?;
        let mut progress = Self { file, path, generation: 0, mark: Mark::default() };
        // Both slots, so that there always are two.
        progress.write(mark)?;
        progress.write(mark)?;
        progress.sync()
    }

    /// Opens the file, for reading alone or for more.
    pub(super) fn open(session: &Path, writable: bool) -> Result<Self, SpoolError> {
        let path = session.join(Self::NAME);
        let file = File::options().read(true).write(writable).open(&path).naming("open", &path)?;
        let (generation, mark) = [0, 1]
            .into_iter()
            .filter_map(|slot| read(&file, slot))
            .max_by_key(|(generation, _)| *generation)
            .ok_or_else(|| SpoolError::damaged(&path, 0, None, "it does not say how much is final"))?;
        Ok(Self { file, path, generation, mark })
    }

    /// What was written last.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Writes how far it is. A crash of the machine may lose it.
    pub(super) fn write(&mut self, mark: Mark) -> Result<(), SpoolError> {
        let generation = self.generation + 1;
        let mut slot = [0; SLOT];
        slot[..8].copy_from_slice(&generation.to_le_bytes());
        slot[8..16].copy_from_slice(&mark.settled.to_le_bytes());
        slot[16..24].copy_from_slice(&mark.next.to_le_bytes());
        slot[24..28].copy_from_slice(&mark.checksum.unwrap_or_default().to_le_bytes());
        slot[28..32].copy_from_slice(&u32::from(mark.checksum.is_some()).to_le_bytes());
        let checksum = crc32c::crc32c(&slot[..SLOT - 4]);
        slot[SLOT - 4..].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&slot, generation % 2 * SECTOR).naming("write", &self.path)?;
        (self.generation, self.mark) = (generation, mark);
        Ok(())
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> Result<(), SpoolError> {
        self.file.sync_data().naming("sync", &self.path)
    }
}

fn read(file: &File, slot: u64) -> Option<(u64, Mark)> {
    let mut bytes = [0; SLOT];
    file.read_exact_at(&mut bytes, slot * SECTOR).ok()?;
    if crc32c::crc32c(&bytes[..SLOT - 4]) != u32_at(&bytes, SLOT - 4) {
        return None;
    }
    let (generation, settled, next) = (u64_at(&bytes, 0), u64_at(&bytes, 8), u64_at(&bytes, 16));
    let checksum = (u32_at(&bytes, 28) == 1).then(|| u32_at(&bytes, 24));
    let is_possible = generation % 2 == slot && settled < next;
    is_possible.then_some((generation, Mark { settled, checksum, next }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_torn_leaves_the_one_before() {
        let directory = crate::service::spool::tests::temporary();
        let path = directory.path();
        Progress::make(path, Mark { settled: 0, checksum: None, next: 1 }).expect("a file");
        let mut progress = Progress::open(path, true).expect("a file");
        let (one, two) =
            (Mark { settled: 3, checksum: Some(7), next: 9 }, Mark { settled: 5, checksum: None, next: 9 });
        progress.write(one).expect("written");
        progress.write(two).expect("written");
        assert_eq!(Progress::open(path, false).expect("read").mark(), two);
        let file = path.join(Progress::NAME);
        let whole = std::fs::read(&file).expect("read");
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&file, bytes).expect("written");
            let mark = Progress::open(path, false).expect("read").mark();
            assert!(mark == one || mark == two, "{bit}: {mark:?}");
        }
        std::fs::write(&file, [0; 548]).expect("written");
        assert!(matches!(Progress::open(path, false), Err(SpoolError::Damaged(_))));
    }
}
