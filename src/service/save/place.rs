//! `Place`: where a file is to be: its directory, its name there, and the name that it has while it is not whole.
//!
//! Apart from the contents: here is what is there under these names, and how one becomes the other.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat};
use nix::unistd::{LinkatFlags, UnlinkatFlags, linkat, unlinkat};
use sha2::{Digest, Sha256};

use crate::wire::MAX_NAME_PART;

/// What the name of a part begins and ends with.
const PART: (&[u8], &[u8]) = (b".", b".part");

/// How often a part is opened that others rename at the same time, before it is taken for theirs.
const ATTEMPTS: usize = 8;

/// Where a file is to be.
#[derive(Debug)]
pub(super) struct Place {
    directory: File,
    name: OsString,
    part: OsString,
}

/// What there is under a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    Nothing,
    /// A file of this length.
    File(u64),
    /// Something that nobody wants to lose or to follow: a directory, a link, a device.
    Other(&'static str),
}

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Overwrite {
    /// It stays, and another is refused.
    #[default]
    Never,
    /// It is replaced once the other is whole.
    Replace,
}

impl Place {
    pub(super) fn new(directory: File, name: &OsStr) -> Self {
        Self { directory, name: name.to_owned(), part: part_name(name.as_bytes()) }
    }

    /// What there is under its name.
    pub(super) fn entry(&self) -> nix::Result<Entry> {
        let stat = match fstatat(&self.directory, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(Entry::Nothing),
            stat => stat?,
        };
        Ok(match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Entry::File(u64::try_from(stat.st_size).unwrap_or(0)),
            SFlag::S_IFDIR => Entry::Other("a directory"),
            SFlag::S_IFLNK => Entry::Other("a link"),
            _ => Entry::Other("no file"),
        })
    }

    /// The file that has the name, to be read.
    pub(super) fn open(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.directory, self.name.as_os_str(), flags, Mode::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(Errno::EINVAL.into()),
        }
    }

    /// The part of the file that is there, or an empty one that is made, and nobody else's for as long as it is held; none if it is another's now.
    pub(super) fn open_part(&self, mode: Mode) -> io::Result<Option<Flock<File>>> {
        for _ in 0..ATTEMPTS {
            let part = open_part(&self.directory, &self.part, OFlag::O_CREAT, mode)?;
            let Ok(part) = Flock::lock(part, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
            let stat = fstat(&*part)?;
            if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() || stat.st_nlink > 1 {
                // Somebody has put it there for something else to be written to.
                return Err(Errno::EPERM.into());
            }
            // It may have got its name while it was opened: what is under that name is whole.
            if is_same_file(&stat, &self.directory, &self.part) {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// How long the part is that is there.
    pub(super) fn part_length(&self) -> Option<u64> {
        let stat = fstatat(&self.directory, self.part.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        u64::try_from(stat.st_size).ok()
    }

    /// Removes the part that was opened.
    pub(super) fn remove_part(&self, part: &File) {
        let removed = self
            .is_still(part)
            .and_then(|()| unlinkat(&self.directory, self.part.as_os_str(), UnlinkatFlags::NoRemoveDir));
        if let Err(errno) = removed {
            tracing::warn!("{} stays: {}", self.part.display(), errno.desc());
        }
    }

    /// Gives the part that was opened its name.
    ///
    /// # Errors
    /// There is something under that name (`EEXIST`), unless it may be replaced; or the part is not there any more (`ESTALE`), and what is may be another's.
    pub(super) fn rename(&self, opened: &File, overwrite: Overwrite) -> nix::Result<()> {
        self.is_still(opened)?;
        let (part, name) = (self.part.as_os_str(), self.name.as_os_str());
        match overwrite {
            Overwrite::Replace => renameat(&self.directory, part, &self.directory, name),
            Overwrite::Never => match self.rename_new() {
                // Not every file system can do that at once. A second link is made only where there is nothing, too.
                Err(Errno::EINVAL | Errno::ENOSYS) => {
                    linkat(&self.directory, part, &self.directory, name, LinkatFlags::empty())?;
                    unlinkat(&self.directory, part, UnlinkatFlags::NoRemoveDir)
                }
                renamed => renamed,
            },
        }
    }

    #[cfg(target_env = "gnu")]
    fn rename_new(&self) -> nix::Result<()> {
        use nix::fcntl::{RenameFlags, renameat2};
        let (part, name) = (self.part.as_os_str(), self.name.as_os_str());
        renameat2(&self.directory, part, &self.directory, name, RenameFlags::RENAME_NOREPLACE)
    }

    #[cfg(not(target_env = "gnu"))]
    fn rename_new(&self) -> nix::Result<()> {
        Err(Errno::ENOSYS)
    }

    /// Whether what was opened is what has the name of the part: somebody else may have removed it, and another session have made its own.
    fn is_still(&self, part: &File) -> nix::Result<()> {
        match is_same_file(&fstat(part)?, &self.directory, &self.part) {
            true => Ok(()),
            false => Err(Errno::ESTALE),
        }
    }

    /// The directory in which it has its name.
    pub(super) fn directory(&self) -> &File {
        &self.directory
    }
}

/// Whether a name is one that only parts have; on some file systems large letters are no others than small ones.
pub(super) fn is_part_name(name: &OsStr) -> bool {
    let name = name.as_bytes().to_ascii_lowercase();
    name.len() > PART.0.len() + PART.1.len() && name.starts_with(PART.0) && name.ends_with(PART.1)
}

/// Opens a part. One that its owner may not open had got the permissions of what was to come before its name.
pub(super) fn open_part(directory: &File, name: &OsStr, create: OFlag, mode: Mode) -> nix::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | create;
    let opened = openat(directory, name, flags, mode).or_else(|errno| {
        let is_closed = || {
            let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            Ok(stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits() && stat.st_nlink == 1)
        };
        if errno != Errno::EACCES || !is_closed()? {
            return Err(errno);
        }
        fchmodat(directory, name, Mode::S_IRUSR | Mode::S_IWUSR, FchmodatFlags::NoFollowSymlink)?;
        openat(directory, name, flags, mode)
    });
    opened.map(File::from)
}

/// Whether what was opened is still under its name.
pub(super) fn is_same_file(opened: &FileStat, directory: &File, name: &OsStr) -> bool {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|named| (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino))
}

/// `.NAME.part`; for a name that is too long for that its digest.
fn part_name(name: &[u8]) -> OsString {
    let whole = match name.len() + PART.0.len() + PART.1.len() <= MAX_NAME_PART {
        true => [PART.0, name, PART.1].concat(),
        false => {
            let digest = Sha256::digest(name).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            [PART.0, digest.as_bytes(), PART.1].concat()
        }
    };
    OsString::from_vec(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_a_name_of_its_own_that_is_never_too_long() {
        for length in [1, 248, 249, 250, 255] {
            let part = part_name(&vec![b'x'; length]);
            assert!(part.len() <= MAX_NAME_PART && is_part_name(&part), "{length}: {part:?}");
        }
        assert_eq!(part_name(b"copy.iso"), ".copy.iso.part");
        assert_ne!(part_name(&[b'x'; 250]), part_name(&[b'x'; 251]));
        assert!(!is_part_name(OsStr::new("a.part")) && !is_part_name(OsStr::new("..part")));
        assert!(is_part_name(OsStr::new(".copy.iso.PART")), "some file systems have no capitals");
    }
}
