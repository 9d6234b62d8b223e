//! What a file or directory has besides its contents: permissions and time.
//!
//! Apart from both, which are given them at different times.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use super::trouble::Shown;
use crate::net::plain;
use crate::wire::{Attributes, FileName};

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
