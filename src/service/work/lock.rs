//! The lock that whoever works holds, and who that is.
//!
//! Apart from the state, which SQLite locks for moments only.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::trouble::{StateError, failed};

/// How often, and after how long, a lock is asked for again: who looks at the file has it for a moment.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(20);

/// The file beside it that whoever works holds a lock on: on the file itself SQLite has its own.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-lock");
    name.into()
}

/// Takes the lock.
///
/// # Errors
/// Somebody has it, or its file cannot be made.
pub(super) fn lock(path: &Path) -> Result<Flock<File>, StateError> {
    let file = lock_path(path);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
    let mut opened = opened.map_err(|error: io::Error| failed(&file, &error))?;
    for _ in 0..LOOKS {
        match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // It is for people.
                let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
                return Ok(lock);
            }
            Err((file, _)) => opened = file,
        }
        // Somebody may only be looking.
        thread::sleep(LOOK);
    }
    Err(StateError::InUse { path: path.to_owned(), pid: noted(&mut opened) })
}

fn noted(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    text.trim().parse().ok()
}

/// The file itself: through any link to it its lock is the same.
pub(super) fn followed(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The process that works with it, if one does.
pub(super) fn user(path: &Path) -> Option<u32> {
    let mut file = File::open(lock_path(&followed(path))).ok()?;
    let pid = noted(&mut file)?;
    // Taken for this moment only; whoever begins just then says that it is in use.
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => None,
        Err(_) => Some(pid),
    }
}
