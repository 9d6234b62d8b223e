//! Why a spool does not do what it was asked for.
//!
//! Apart from what fails, so that every failure says where, why, and what to do.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;
use thiserror::Error;

use super::record::{MAX_BODY, PREFIX};
use crate::net::plain;

/// Why a spool does not do what it was asked for.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// The system would not do something with one of its files.
    #[error("{operation} {}: {}", .path.display(), plain(.error))]
    Io {
        /// The call or the step.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process, or another part of this one, uses it.
    #[error("the spool {} is in use{}", .directory.display(), by(*.pid))]
    InUse {
        /// The spool.
        directory: PathBuf,
        /// The process, if it is known.
        pid: Option<u32>,
    },
    /// There is no directory in which that of the spool could be made.
    #[error("make the directory {}: {}", .directory.display(), Errno::ENOENT.desc().to_lowercase())]
    NoParent {
        /// The spool.
        directory: PathBuf,
        /// What is not there.
        parent: PathBuf,
    },
    /// The directory holds something else. Nothing in it was touched.
    #[error("{} is no spool: {what}", .directory.display())]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// How that is seen.
        what: String,
    },
    /// Others than this user could change what it holds. Nothing in it was touched.
    #[error("the spool {} {exposure}", .directory.display())]
    Exposed {
        /// The directory.
        directory: PathBuf,
        /// Who could.
        exposure: Exposure,
    },
    /// It was made by a later version of this program.
    #[error("the spool {} has format {version}, of which this version knows nothing", .directory.display())]
    Newer {
        /// The spool.
        directory: PathBuf,
        /// The version of its format.
        version: String,
    },
    /// What was kept cannot be read any more.
    #[error("the spool is damaged: {0}")]
    Damaged(Damage),
    /// It holds as much as it may. Nothing of what was to be added was.
    #[error("the spool is full: it may take {max} bytes on disk")]
    Full {
        /// How much it may take, in bytes.
        max: u64,
    },
    /// The disk is full, or a limit of the system is reached. Nothing of what was to be added was.
    #[error("there is no room for the spool: {}: {}", .path.display(), plain(.error))]
    NoRoom {
        /// The file that did not grow.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no room for a message, and there will be none: nothing else is in the spool that could leave it.
    #[error(
        "a message has no room in the spool, though nothing else waits in it: {needed} bytes are needed{} ({cause})",
        and_free(.free)
    )]
    NeverRoom {
        /// How many bytes it would take on disk.
        needed: u64,
        /// How many there are, if that is known.
        free: Option<u64>,
        /// What the spool says.
        cause: Box<SpoolError>,
    },
    /// A message is longer than a spool takes.
    #[error("a message has {length} bytes, and a spool takes up to {MAX_BODY}")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// It can do nothing more: what is on disk is not known since a write or a sync has failed.
    #[error("the spool has failed: {0}")]
    Failed(String),
}

/// Who could change what a directory holds. What waits in it is sent in the name of its user, who has to be able to rely on it.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum Exposure {
    /// Another user, by number.
    #[error("belongs to another user (uid {0})")]
    Owner(u32),
    /// Everybody.
    #[error("can be written to by everybody")]
    Everybody,
}

impl Exposure {
    /// Of a directory with an owner and permissions, for the user of a process. Root may use what is another's, and others what is root's; who shares a group is
    /// trusted.
    pub(super) fn of(owner: u32, mode: u32, user: u32) -> Option<Self> {
        match owner {
            _ if mode & 0o002 != 0 => Some(Self::Everybody),
            owner if owner != 0 && user != 0 && owner != user => Some(Self::Owner(owner)),
            _ => None,
        }
    }
}

/// Where something that was kept cannot be read any more.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error("{}, byte {offset}{}: {what}", .path.display(), message(*.number))]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The first byte of it that cannot be read.
    pub offset: u64,
    /// The number of the message that was there, if it is known.
    pub number: Option<u64>,
    /// How that is seen.
    pub what: String,
}

impl SpoolError {
    /// What to do about it, if anything can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged(_) => {
                Some("wilco spool DIR --repair keeps what can be read, and says what is lost".to_owned())
            }
            Self::Foreign { .. } => Some("name a directory that is empty or not there yet".to_owned()),
            Self::NoParent { parent, .. } => Some(format!("mkdir -p {}", parent.display())),
            Self::Exposed { directory, exposure: Exposure::Everybody } => {
                Some(format!("chmod o-w {}, once you know what is in it", directory.display()))
            }
            Self::Exposed { exposure: Exposure::Owner(_), .. } => {
                Some("run this as that user, or give it to this one with chown -R".to_owned())
            }
            Self::InUse { .. } => Some("a spool has one client at a time".to_owned()),
            Self::Full { .. } | Self::NoRoom { .. } => {
                Some("nothing that was accepted is lost: it becomes smaller as the server acknowledges".to_owned())
            }
            Self::NeverRoom { .. } => {
                Some("make room, or name a spool where there is more; what had no room was not accepted".to_owned())
            }
            Self::Io { path, error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                fs::metadata(path).ok().and_then(|data| of_another(data.uid(), geteuid().as_raw()))
            }
            _ => None,
        }
    }

    /// Whether it is for want of room, so that less may be accepted, or the same later.
    pub(crate) fn is_for_want_of_room(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::NoRoom { .. })
    }

    /// The same of a message of so many bytes for which there will be no room.
    pub(crate) fn for_good(self, length: usize, directory: Option<&Path>) -> Self {
        let free = match (&self, directory) {
            (Self::Full { max }, _) => Some(*max),
            (_, Some(directory)) => statvfs(directory).ok().map(|disk| disk.blocks_available() * disk.fragment_size()),
            _ => None,
        };
        Self::NeverRoom { needed: (length + PREFIX) as u64, free, cause: Box::new(self) }
    }

    /// The failure of a call on a file: one for want of room is told from all others.
    pub(in crate::service) fn of(operation: &'static str, path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => Self::NoRoom { path, error },
            _ => Self::Io { operation, path, error },
        }
    }

    /// The same, for another who has waited for the same write.
    pub(super) fn again(&self) -> Self {
        let same =
            |error: &io::Error| error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
        match self {
            Self::Io { operation, path, error } => Self::Io { operation, path: path.clone(), error: same(error) },
            Self::NoRoom { path, error } => Self::NoRoom { path: path.clone(), error: same(error) },
            Self::Full { max } => Self::Full { max: *max },
            Self::Failed(why) => Self::Failed(why.clone()),
            other => Self::Failed(other.to_string()),
        }
    }

    pub(in crate::service) fn damaged(path: &Path, offset: u64, number: Option<u64>, what: impl Into<String>) -> Self {
        Self::Damaged(Damage { path: path.to_owned(), offset, number, what: what.into() })
    }
}

/// Names the call and the file of a failure.
pub(super) trait Naming<T> {
    fn naming(self, operation: &'static str, path: &Path) -> Result<T, SpoolError>;
}

impl<T> Naming<T> for io::Result<T> {
    fn naming(self, operation: &'static str, path: &Path) -> Result<T, SpoolError> {
        self.map_err(|error| SpoolError::of(operation, path, error))
    }
}

fn and_free(bytes: &Option<u64>) -> String {
    bytes.map(|bytes| format!(", and {bytes} are free")).unwrap_or_default()
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(|| " by another process".to_owned(), |pid| format!(" by process {pid}"))
}

/// What to do about a file that must not be used, by its owner and the user of this process.
fn of_another(owner: u32, user: u32) -> Option<String> {
    (owner != user).then(|| format!("its files belong to another user (uid {owner}): run this as that user, or give them to this one with chown -R"))
}

fn message(number: Option<u64>) -> String {
    number.map(|number| format!(", message {number}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_owns_what_must_not_be_used_is_named() {
        for (owner, user, is_said) in [(0, 1000, true), (1001, 1000, true), (1000, 1000, false)] {
            let hint = of_another(owner, user);
            assert_eq!(hint.is_some(), is_said, "{owner} {user}");
            assert!(hint.is_none_or(|hint| hint.contains(&format!("uid {owner}"))));
        }
        let path = PathBuf::from("/");
        let io = |kind: io::ErrorKind| SpoolError::Io { operation: "open", path: path.clone(), error: kind.into() };
        assert_eq!(io(io::ErrorKind::NotFound).hint(), None);
        assert_eq!(io(io::ErrorKind::PermissionDenied).hint(), of_another(0, geteuid().as_raw()));
    }

    #[test]
    fn a_spool_is_its_users_alone_but_for_root_and_a_group() {
        for (owner, mode, user, exposure) in [
            (1000, 0o40700, 1000, None),
            (1000, 0o40775, 1000, None),
            (1000, 0o40777, 1000, Some(Exposure::Everybody)),
            (0, 0o41777, 0, Some(Exposure::Everybody)),
            (1001, 0o40770, 1000, Some(Exposure::Owner(1001))),
            (0, 0o40770, 1000, None),
            (1000, 0o40700, 0, None),
            (1000, 0o40702, 0, Some(Exposure::Everybody)),
        ] {
            assert_eq!(Exposure::of(owner, mode, user), exposure, "{owner} {mode:o} {user}");
        }
    }
}
