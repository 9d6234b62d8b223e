//! `Held`: the files that a store has open, and whether they are still those at their paths.
//!
//! Apart from the writer: SQLite goes on writing to a file that was deleted, and says that all is well.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::file::files;

/// What a file is known by, whatever its path: device and inode.
type Inode = (u64, u64);

#[derive(Debug)]
pub(super) struct Held(Vec<(PathBuf, Inode)>);

impl Held {
    /// The files of a store that has just been opened. Those that SQLite has beside it are beside what a link leads to.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let inode = |path: PathBuf| fs::metadata(&path).map(|data| (path, inode(&data)));
        let beside = files(&fs::canonicalize(path)?);
        let all = std::iter::once(path.to_owned()).chain(beside.into_iter().skip(1));
        all.map(inode).collect::<io::Result<Vec<_>>>().map(Self)
    }

    /// The file alone, for who only reads: those beside it come and go with whoever writes.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        Ok(Self(vec![(path.to_owned(), inode(&fs::metadata(path)?))]))
    }

    /// Asks whether each of them is where it was: what was written is there for others only then. A directory that this user may not search by
    /// now tells nothing.
    ///
    /// # Errors
    /// One was deleted or replaced, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.gone() {
            Some(path) => Err(format!("the file {} was deleted or replaced while the server used it", path.display())),
            None => Ok(()),
        }
    }

    /// One that was deleted or replaced.
    pub(super) fn gone(&self) -> Option<&Path> {
        let is_there = |path: &Path, held: Inode| match fs::metadata(path) {
            Ok(data) => inode(&data) == held,
            Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        };
        self.0.iter().find(|(path, held)| !is_there(path, *held)).map(|(path, _)| path.as_path())
    }
}

fn inode(data: &fs::Metadata) -> Inode {
    (data.dev(), data.ino())
}
