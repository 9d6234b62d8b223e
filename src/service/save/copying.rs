//! `Copying`: the beginning of a file that is to be replaced, on its way into the part that replaces it.
//!
//! Apart from what comes: it is done in steps, each of which is answered, since it may be long; and what is copied is compared with what was hashed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::unistd::{Whence, lseek};
use sha2::{Digest, Sha256};

use super::hashing::update_zeros;
use super::words::MOST_AT_ONCE;

/// How much is copied at a time.
const PIECE: usize = 256 * 1024;

/// A file that is copied, and how far.
#[derive(Debug)]
pub(super) struct Copying {
    from: File,
    pub(super) part: Flock<File>,
    done: u64,
    pub(super) digest: Sha256,
}

impl Copying {
    /// Begins with an empty part.
    pub(super) fn new(from: &File, part: Flock<File>) -> io::Result<Self> {
        part.set_len(0)?;
        Ok(Self { from: from.try_clone()?, part, done: 0, digest: Sha256::new() })
    }

    /// Copies some more of all before an offset, holes as holes. Says whether that was all.
    pub(super) fn step(&mut self, until: u64) -> io::Result<bool> {
        if self.from.metadata()?.len() < until || self.done > until {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (end, mut piece) = (until.min(self.done + MOST_AT_ONCE), vec![0; PIECE]);
        while self.done < end {
            let data = self.next_data()?.min(end);
            update_zeros(&mut self.digest, data - self.done);
            self.done = data;
            let wanted = usize::try_from(end - data).map_or(PIECE, |rest| rest.min(PIECE));
            let read = match self.from.read_at(&mut piece[..wanted], data) {
                Ok(0) if wanted > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.part.write_all_at(&piece[..read], data)?;
            self.digest.update(&piece[..read]);
            self.done += read as u64;
        }
        self.part.set_len(self.done)?;
        Ok(self.done == until)
    }

    /// Where the next bytes are that are no hole.
    fn next_data(&self) -> io::Result<u64> {
        let here = i64::try_from(self.done).map_err(io::Error::other)?;
        match lseek(&self.from, here, Whence::SeekData) {
            Ok(data) => u64::try_from(data).map_err(io::Error::other),
            Err(Errno::ENXIO) => Ok(u64::MAX),
            // Not every file system knows of holes.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(self.done),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use nix::fcntl::FlockArg;

    use super::*;

    #[test]
    fn a_beginning_is_copied_in_steps_and_holes_are_none_of_the_room() -> io::Result<()> {
        let (from, part) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let (last, until) = (MOST_AT_ONCE + 5_000_000, MOST_AT_ONCE + 5_000_003);
        from.write_all_at(b"first", 0)?;
        from.write_all_at(b"last", last)?;
        from.set_len(until + 10_000_000)?;
        let mut digest = Sha256::new();
        digest.update(b"first");
        update_zeros(&mut digest, last - 5);
        digest.update(b"las");
        let part = Flock::lock(part, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
        let mut copying = Copying::new(&from, part)?;
        assert!(!copying.step(until)?);
        assert_eq!(copying.part.metadata()?.len(), MOST_AT_ONCE);
        assert!(copying.step(until)?);
        assert_eq!(copying.digest.clone().finalize(), digest.finalize());
        let mut end = [0; 4];
        assert_eq!(copying.part.read_at(&mut end, last - 1)?, 4);
        assert_eq!((&end, copying.part.metadata()?.blocks() * 512 < 1_000_000), (b"\0las", true));
        from.set_len(3)?;
        assert!(copying.step(until).is_err(), "it has become shorter");
        assert!(copying.step(3).is_err(), "more is copied already");
        Ok(())
    }
}
