//! `Trouble`: why a word of a file is not done.
//!
//! Apart from the files, because everything hangs on it: what is refused is never sent again, and what is put off goes on once there is room.

use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

use crate::net::plain;
use crate::wire::assured::{Code, PutOff};
use crate::wire::{FileName, is_harmless};

/// How long a client is asked to wait with what there was no room for.
pub(super) const FULL_PAUSE: Duration = Duration::from_secs(2);

/// How long a client is asked to wait with what cannot be done now for another reason.
pub(super) const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Why a word of a file is not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// It is refused for good, and what follows of the file is not taken.
    Refused(Code, String),
    /// There is no room on the disk, for the reason that the user is told.
    Full(String),
    /// Not now.
    Busy(String),
    /// A part of it is done: it goes on when it comes again.
    Unfinished,
}

impl Trouble {
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(Code::REJECTED, reason.into())
    }

    /// How what came is put off; none where it is refused.
    pub(super) fn put_off(&self) -> Option<PutOff> {
        match self {
            Self::Refused(..) => None,
            Self::Full(_) => Some(PutOff {
                code: Code::DISK_FULL,
                after: FULL_PAUSE,
                reason: "there is no room on the disk".to_owned(),
            }),
            Self::Unfinished => {
                let reason = "so much was asked for that the rest waits".to_owned();
                Some(PutOff { code: Code::OVERLOADED, after: Duration::ZERO, reason })
            }
            Self::Busy(reason) => Some(PutOff { code: Code::OVERLOADED, after: BUSY_PAUSE, reason: reason.clone() }),
        }
    }
}

/// What an error means of something that was to be done with a file.
pub(super) fn failed(what: &str, name: &FileName, error: &io::Error) -> Trouble {
    let said = format!("{what} {}: {}", Shown::of(name), plain(error));
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => Trouble::Full(said),
        // Waiting does not help: the file system, or a limit of the process (RLIMIT_FSIZE), has no longer ones.
        Some(Errno::EFBIG) => Trouble::Refused(Code::TOO_LARGE, said),
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => Trouble::Busy(said),
        Some(Errno::EACCES | Errno::EPERM | Errno::ENAMETOOLONG | Errno::EROFS) => Trouble::refused(said),
        _ => Trouble::Refused(Code::FAILED, said),
    }
}

/// A name of a peer's as it may be shown anywhere.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl<'a> Shown<'a> {
    pub(super) fn of(name: &'a FileName) -> Self {
        Self(name.as_bytes())
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match is_harmless(letter) {
                    true => write!(f, "{letter}")?,
                    false => write!(f, "{}", letter.escape_unicode())?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_without_what_a_terminal_would_obey() {
        assert_eq!(Shown("d/caf\u{e9} \u{1b}[31m\n".as_bytes()).to_string(), "d/caf\u{e9} \\u{1b}[31m\\u{a}");
        assert_eq!(Shown(b"a\xffb").to_string(), "a\\xffb");
    }

    #[test]
    fn a_full_disk_is_waited_for_and_one_that_fails_is_not() {
        let name = FileName::new("a").expect("a name");
        let trouble = |errno: Errno| failed("write", &name, &errno.into());
        for errno in [Errno::ENOSPC, Errno::EDQUOT] {
            assert_eq!(trouble(errno).put_off().expect("put off").code, Code::DISK_FULL, "{errno}");
        }
        assert_eq!(trouble(Errno::EMFILE).put_off().expect("put off").code, Code::OVERLOADED);
        assert!(matches!(trouble(Errno::EFBIG), Trouble::Refused(Code::TOO_LARGE, _)));
        assert!(matches!(trouble(Errno::EIO), Trouble::Refused(Code::FAILED, _)));
        assert!(matches!(trouble(Errno::EACCES), Trouble::Refused(Code::REJECTED, _)));
    }
}
