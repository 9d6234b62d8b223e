//! `Directory`: the one beneath which files are saved, and the way to a place in it that never leads out of it.
//!
//! Apart from the files: whatever a client calls its file, and whoever puts links into the way meanwhile, is dealt with here. Each directory is opened in the one
//! before, and a link is never followed (openat(2), `O_NOFOLLOW`).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};

use super::lock;
use super::place::{Place, is_part_name, is_same_file, open_part};
use super::trouble::{Shown, Trouble, failed};
use crate::wire::FileName;

/// How directories are opened: each in the one before, and no link.
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// What a directory is made with, of which the umask takes its part.
const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o777);

/// Of how many directories it is remembered that a session has made them.
const MOST_MADE: usize = 64 * 1024;

/// Of how many directories it is remembered that their entries are on disk. Of more, all are synced anew.
const MOST_SYNCED: usize = 64 * 1024;

/// The directory beneath which files are saved.
#[derive(Debug)]
pub(super) struct Directory {
    opened: File,
    /// Whose entries this process has had durable. One that is there may have been made just now, or by a process that was killed before its sync.
    synced: Mutex<HashSet<Id>>,
}

/// Which directory it is: device and inode.
type Id = (u64, u64);

/// The directories that a session has made.
#[derive(Debug, Default)]
pub(super) struct Made(HashSet<Id>);

impl Made {
    /// Whether this is one of them.
    pub(super) fn has(&self, directory: &File) -> bool {
        id(directory).is_ok_and(|id| self.0.contains(&id))
    }
}

impl Directory {
    /// Opens it, once for all.
    ///
    /// # Errors
    /// It is not there, or is no directory.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let opened = File::open(path)?;
        match opened.metadata()?.is_dir() {
            true => Ok(Self { opened, synced: Mutex::default() }),
            false => Err(Errno::ENOTDIR.into()),
        }
    }

    /// Whether this process may make files in it.
    ///
    /// # Errors
    /// It may not, or the disk is one that is only read.
    pub(super) fn check(&self) -> io::Result<()> {
        let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
        Ok(faccessat(&self.opened, ".", wanted, nix::fcntl::AtFlags::AT_EACCESS)?)
    }

    /// The place of a file. The directories on the way are made where they are missing.
    pub(super) fn place(&self, name: &FileName, made: &mut Made) -> Result<Place, Trouble> {
        let mut parts: Vec<&[u8]> = name.parts().collect();
        let last = parts.pop().unwrap_or_default();
        let directory = self.enter_or_make(&parts, name, made)?;
        Ok(Place::new(directory, OsStr::from_bytes(last)))
    }

    /// A directory, which is made where it is missing, as are those on the way. Their entries are durable.
    pub(super) fn enter_or_make(&self, parts: &[&[u8]], name: &FileName, made: &mut Made) -> Result<File, Trouble> {
        // Also on the way: a directory of such a name would be in the way of a file.
        if name.parts().any(|part| is_part_name(OsStr::from_bytes(part))) {
            return Err(Trouble::refused(format!("{} is a name for what is not whole", Shown::of(name))));
        }
        let mut directory = self.opened.try_clone().map_err(|error| failed("open the directory", name, &error))?;
        for part in parts {
            let part = OsStr::from_bytes(part);
            let (entered, is_new) = match enter(&directory, part) {
                Err(Errno::ENOENT) => make(&directory, part).map_err(|errno| on_the_way("make", part, name, errno))?,
                entered => (entered.map_err(|errno| on_the_way("open", part, name, errno))?, false),
            };
            self.sync_entry(&directory, &entered, is_new.then_some(&mut *made))
                .map_err(|errno| on_the_way("sync", part, name, errno))?;
            directory = entered;
        }
        Ok(directory)
    }

    /// Has the entry of a directory durable, unless that was done. One that is new is among those that were made.
    fn sync_entry(&self, parent: &File, directory: &File, new: Option<&mut Made>) -> nix::Result<()> {
        let id = id(directory)?;
        let is_new = new.is_some();
        if let Some(Made(made)) = new.filter(|made| made.0.len() < MOST_MADE) {
            made.insert(id);
        }
        if !is_new && lock(&self.synced).contains(&id) {
            return Ok(());
        }
        nix::unistd::fsync(parent)?;
        let mut synced = lock(&self.synced);
        if synced.len() >= MOST_SYNCED {
            synced.clear();
        }
        synced.insert(id);
        Ok(())
    }

    /// Removes what is left of files that nobody has gone on with for so long. Links are not followed.
    pub(super) fn remove_parts(&self, older: Duration) -> usize {
        let mut removed = 0;
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            // It may be gone by now, or be somebody else's.
            let Ok(directory) = self.enter_all(&path) else { continue };
            let Ok(entries) = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd())) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => waiting.push(path.join(name)),
                    Ok(kind) if kind.is_file() && is_part_name(&name) => {
                        removed += usize::from(remove_part(&directory, &name, older).unwrap_or(false));
                    }
                    _ => {}
                }
            }
        }
        removed
    }

    fn enter_all(&self, path: &Path) -> io::Result<File> {
        path.iter().try_fold(self.opened.try_clone()?, |directory, part| Ok(enter(&directory, part)?))
    }
}

fn enter(directory: &File, part: &OsStr) -> nix::Result<File> {
    openat(directory, part, DIRECTORY, Mode::empty()).map(File::from)
}

/// Makes a directory, and says whether it did.
fn make(directory: &File, part: &OsStr) -> nix::Result<(File, bool)> {
    let is_new = match mkdirat(directory, part, DIRECTORY_MODE) {
        Ok(()) => true,
        // Another session was faster.
        Err(Errno::EEXIST) => false,
        Err(errno) => return Err(errno),
    };
    Ok((enter(directory, part)?, is_new))
}

fn id(directory: &File) -> nix::Result<Id> {
    let stat = fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn on_the_way(what: &str, part: &OsStr, name: &FileName, errno: Errno) -> Trouble {
    let part = Shown(part.as_bytes());
    match errno {
        Errno::ELOOP => Trouble::refused(format!("{part} in {} is a link, which is not followed", Shown::of(name))),
        Errno::ENOTDIR => Trouble::refused(format!("{part} in {} is no directory", Shown::of(name))),
        errno => failed(&format!("{what} the directory {part} of"), name, &errno.into()),
    }
}

/// Removes a part that is old enough and nobody's.
fn remove_part(directory: &File, name: &OsString, older: Duration) -> nix::Result<bool> {
    let part = open_part(directory, name, OFlag::empty(), Mode::empty())?;
    let Ok(part) = Flock::lock(part, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
    let stat = fstat(&*part)?;
    // It may have the time already that its file is to have.
    let touched = (stat.st_mtime, stat.st_mtime_nsec).max((stat.st_ctime, stat.st_ctime_nsec));
    let touched = TimeSpec::new(touched.0, touched.1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let is_old = now.checked_sub(Duration::from(touched)).is_some_and(|age| age > older);
    if !is_old || !is_same_file(&stat, directory, name) {
        return Ok(false);
    }
    unlinkat(directory, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_a_directory_that_is_there_is_synced_once() -> Result<(), Box<dyn std::error::Error>> {
        let base = tempfile::tempdir()?;
        fs::create_dir(base.path().join("there"))?;
        let (directory, mut made) = (Directory::open(base.path())?, Made::default());
        let name = FileName::new("there/new")?;
        let parts: Vec<&[u8]> = name.parts().collect();
        let below = directory.enter_or_make(&parts, &name, &mut made).map_err(|trouble| format!("{trouble:?}"))?;
        let there = File::open(base.path().join("there"))?;
        assert_eq!((made.has(&there), made.has(&below)), (false, true));
        assert_eq!(*lock(&directory.synced), HashSet::from([id(&there)?, id(&below)?]));
        Ok(())
    }
}
