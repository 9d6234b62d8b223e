//! `Directory`: the spool's directory, whose it is, and which session in it is the one in use.
//!
//! Apart from the messages: here a session begins and takes another's place, in a way that a crash at any point leaves one of the two.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;

use super::error::{Exposure, Naming, SpoolError};
use crate::wire::assured::SessionId;

/// What the file `session` begins with, before the version of the format.
const MAGIC: &str = "wilco-spool ";

/// The version of the format.
const VERSION: &str = "1";

/// The longest file `session` that is read.
const MAX_SESSION_FILE: u64 = 4096;

/// A spool's directory, and the lock on it if this process uses it.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Which session is in use; `None` before there is one.
    pub(super) session: Option<SessionId>,
    lock: Option<Flock<File>>,
}

impl Directory {
    /// Makes the directory if it is not there, and takes the lock. There is a session in it only if it was used before.
    pub(super) fn lock(path: &Path) -> Result<Self, SpoolError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => sync_directory(&parent(path))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SpoolError::NoParent { directory: path.to_owned(), parent: parent(path) });
            }
            Err(error) => return Err(SpoolError::of("make the directory", path, error)),
        }
        // What is not a spool gets no lock, either: nothing in it is touched.
        state(path)?;
        is_own(path)?;
        let file = path.join("lock");
        let opened = create().truncate(false).read(true).open(&file).naming("open", &file)?;
        let mut lock = Flock::lock(opened, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => SpoolError::InUse { directory: path.to_owned(), pid: noted_pid(path) },
            errno => SpoolError::of("lock", &file, errno.into()),
        })?;
        // It is for people; on a full disk the spool must be usable without it, or it would never become smaller.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        let (session, leftover) = state(path)?;
        let directory = Self { path: path.to_owned(), session, lock: Some(lock) };
        if let Some(leftover) = leftover {
            directory.remove(&leftover)?;
            directory.write_state(directory.session.as_ref(), None)?;
        }
        Ok(directory)
    }

    /// Looks at a spool that another process may be using.
    pub(super) fn look(path: &Path) -> Result<Self, SpoolError> {
        let (session, _) = state(path)?;
        Ok(Self { path: path.to_owned(), session, lock: None })
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of a session's messages.
    pub(super) fn of_session(&self, session: &SessionId) -> PathBuf {
        self.path.join(session.as_str())
    }

    /// Begins a new session in the place of the one in use. What it holds at first is written by `fill` into its directory; a crash
    /// leaves either the old one or the new one, whole.
    pub(super) fn begin(
        &mut self,
        session: SessionId,
        fill: impl FnOnce(&Path) -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError> {
        debug_assert!(self.lock.is_some(), "a session begins in a spool that is locked");
        let path = self.of_session(&session);
        self.write_state(self.session.as_ref(), Some(&session))?;
        let made = DirBuilder::new().mode(0o700).create(&path).naming("make the directory", &path);
        let filled = made.and_then(|()| fill(&path)).and_then(|()| sync_directory(&path));
        if let Err(error) = filled.and_then(|()| sync_directory(&self.path)) {
            // What cannot be removed now is when the spool is next opened.
            let _ = self.remove(&session).and_then(|()| self.write_state(self.session.as_ref(), None));
            return Err(error);
        }
        self.write_state(Some(&session), self.session.as_ref())?;
        if let Some(old) = self.session.replace(session) {
            self.remove(&old)?;
            self.write_state(self.session.as_ref(), None)?;
        }
        Ok(())
    }

    /// Says durably which session is in use, and which other one may be removed.
    fn write_state(&self, session: Option<&SessionId>, leftover: Option<&SessionId>) -> Result<(), SpoolError> {
        let mut text = format!("{MAGIC}{VERSION}\n");
        for (name, session) in [("session", session), ("leftover", leftover)] {
            if let Some(session) = session {
                text += &format!("{name} {session}\n");
            }
        }
        text += &format!("crc {:08x}\n", crc32c::crc32c(text.as_bytes()));
        replace(&self.path.join("session"), text.as_bytes())?;
        sync_directory(&self.path)
    }

    /// Removes a session's directory, if it is there.
    fn remove(&self, session: &SessionId) -> Result<(), SpoolError> {
        let path = self.of_session(session);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SpoolError::of("remove", &path, error)),
            _ => sync_directory(&self.path),
        }
    }
}

/// Refuses a spool that others could change.
pub(super) fn is_own(path: &Path) -> Result<(), SpoolError> {
    let data = fs::metadata(path).naming("look at", path)?;
    match Exposure::of(data.uid(), data.mode(), geteuid().as_raw()) {
        Some(exposure) => Err(SpoolError::Exposed { directory: path.to_owned(), exposure }),
        None => Ok(()),
    }
}

/// A new session's name: 128 random bits.
pub(super) fn random_session() -> Result<SessionId, SpoolError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| SpoolError::Failed(format!("there are no random numbers: {error}")))?;
    Ok(SessionId::of_bits(u128::from_ne_bytes(bits)))
}

/// The process that uses a spool, if one does: it is asked for without taking the lock, which would keep a client out for that moment.
pub(super) fn user(path: &Path) -> Option<u32> {
    let inode = fs::metadata(path.join("lock")).ok()?.ino();
    let pid = noted_pid(path)?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // proc(5): `1: FLOCK  ADVISORY  WRITE 4321 08:01:98765 0 EOF`.
    let holds = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_inode = |word: &&str| word.rsplit(':').next().and_then(|inode| inode.parse().ok()) == Some(inode);
        words.get(1) == Some(&"FLOCK") && words.get(4) == Some(&&*pid.to_string()) && words.get(5).is_some_and(is_inode)
    };
    locks.lines().any(holds).then_some(pid)
}

/// Makes a file durable in its directory.
pub(super) fn sync_directory(path: &Path) -> Result<(), SpoolError> {
    File::open(path).and_then(|directory| directory.sync_all()).naming("sync", path)
}

/// Puts a file with this content in the place of another, durably but for the directory.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), SpoolError> {
    let new = path.with_extension("new");
    let mut file = create().truncate(true).open(&new).naming("make", &new)?;
    file.write_all(content).naming("write", &new)?;
    file.sync_all().naming("sync", &new)?;
    fs::rename(&new, path).naming("rename", &new)
}

/// Puts a file with this content in the place of another, durably.
pub(in crate::service) fn replace_durably(path: &Path, content: &[u8]) -> Result<(), SpoolError> {
    replace(path, content).and_then(|()| sync_directory(&parent(path)))
}

/// How files are made: for this user alone, and never where a link leads to.
pub(super) fn create() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
    options
}

fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn noted_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path.join("lock")).ok()?.trim().parse().ok()
}

/// The session in use and the one that may be removed; none in a directory where there is nothing yet.
fn state(directory: &Path) -> Result<(Option<SessionId>, Option<SessionId>), SpoolError> {
    let foreign = |what: &str| SpoolError::Foreign { directory: directory.to_owned(), what: what.to_owned() };
    let path = directory.join("session");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let entries = fs::read_dir(directory).naming("read", directory)?;
            for entry in entries {
                let name = entry.naming("read", directory)?.file_name();
                // What there may be if it was made just now, or is a file system of its own.
                if !["lock", "session.new", "lost+found"].iter().any(|known| name == *known) {
                    return Err(foreign(&format!("it holds `{}`, and no session", name.to_string_lossy())));
                }
            }
            return Ok((None, None));
        }
        Err(error) if error.raw_os_error() == Some(Errno::ENOTDIR as i32) => {
            return Err(foreign("it is no directory"));
        }
        Err(error) => return Err(SpoolError::of("open", &path, error)),
    };
    let mut text = Vec::new();
    file.take(MAX_SESSION_FILE).read_to_end(&mut text).naming("read", &path)?;
    let text = String::from_utf8_lossy(&text);
    let Some((version, _)) = text.strip_prefix(MAGIC).and_then(|rest| rest.split_once('\n')) else {
        return Err(foreign("its file `session` is none of a spool"));
    };
    if version != VERSION {
        return Err(SpoolError::Newer {
            directory: directory.to_owned(),
            version: version.escape_default().to_string(),
        });
    }
    parse_state(&text).ok_or_else(|| SpoolError::damaged(&path, 0, None, "it does not say which session there is"))
}

fn parse_state(text: &str) -> Option<(Option<SessionId>, Option<SessionId>)> {
    let at = text.rfind("crc ")?;
    if text[at..] != format!("crc {:08x}\n", crc32c::crc32c(&text.as_bytes()[..at])) {
        return None;
    }
    let (mut session, mut leftover) = (None, None);
    for line in text[..at].lines().skip(1) {
        match line.split_once(' ')? {
            ("session", name) => session = Some(name.parse().ok()?),
            ("leftover", name) => leftover = Some(name.parse().ok()?),
            _ => return None,
        }
    }
    (leftover.is_none() || leftover != session).then_some((session, leftover))
}
