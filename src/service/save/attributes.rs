//! What a file or directory has besides its contents: permissions and time.
//!
//! Apart from both, which are given them at different times.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use nix::fcntl::Flock;
use nix::sys::stat::{Mode, fchmod};

use super::place::Place;
use super::trouble::Shown;
use crate::net::plain;
use crate::wire::{Attributes, FileName};

/// What a file is made with, of which the umask takes its part.
const FILE_MODE: u32 = 0o666;

/// Keeps what is not contents, where the file system can do that. Of a directory its owner keeps all permissions, without which nothing more could be saved in it.
pub(super) fn keep_attributes(file: &File, attributes: Attributes, name: &FileName) {
    let Attributes { mode, modified } = attributes;
    let keep_mode = |mode| {
        let kept = match file.metadata()? {
            directory if directory.is_dir() => directory.permissions().mode() & 0o7000 | 0o700,
            _ => 0,
        };
        file.set_permissions(PermissionsExt::from_mode(mode & 0o777 | kept))
    };
    let mode = mode.map_or(Ok(()), keep_mode);
    let time = modified.and_then(|time| SystemTime::UNIX_EPOCH.checked_add(time));
    let time = time.map_or(Ok(()), |time| file.set_modified(time));
    for (what, kept) in [("permissions", mode), ("time", time)] {
        if let Err(error) = kept {
            tracing::warn!("the {what} of {} cannot be kept: {}", Shown::of(name), plain(&error));
        }
    }
}

/// The part of a file, which only its owner can read if it is to have permissions of its own in the end.
pub(super) fn part(place: &Place, attributes: Attributes) -> io::Result<Option<Flock<File>>> {
    let private = Mode::S_IRUSR | Mode::S_IWUSR;
    let part = place.open_part(attributes.mode.map_or(Mode::from_bits_truncate(FILE_MODE), |_| private))?;
    if let (Some(part), Some(_)) = (&part, attributes.mode) {
        // What was begun without permissions is gone on with here, too. Where the file system has none it is said at the end.
        let _ = fchmod(&**part, private);
    }
    Ok(part)
}
