//! Opening a store's file: made if it is not there, refused if it is something else, and safe to speak of before the first answer.
//!
//! Apart from what is done with it once it is open.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};
use thiserror::Error;

use super::SqliteConfig;
use super::held::Held;
use super::schema::{self, Identity};
use super::trouble::Trouble;

/// The permissions of a new file, whatever the umask is: what was sent is for its owner. SQLite gives the files beside it the same.
const MODE: u32 = 0o600;

/// How many KiB of pages are kept in memory, enough for those that a batch changes: more would have to be written twice.
const CACHE: u32 = 16 * 1024;

/// Why a store's file is not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory is not there, or is none.
    #[error("open the store {}: there is no directory {}", .0.display(), .1.display())]
    NoDirectory(PathBuf, PathBuf),
    /// There is no file, and none is to be made.
    #[error("open the store {}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// The file, or its directory where it is to be made, must not be read and written by this user.
    #[error("open the store {}: permission denied", .0.display())]
    Denied(PathBuf),
    /// The file is not there, or one beside it is not, and none may be made in the directory.
    #[error("open the store {}: no file may be made in the directory {}: permission denied", .0.display(), .1.display())]
    DirectoryDenied(PathBuf, PathBuf),
    /// The file is not there, but the log that SQLite has beside it is: what was acknowledged last would be lost with a new file.
    #[error("open the store {}: it is not there, but its log {} is: put the store back beside it, or move the log away", .0.display(), .1.display())]
    Parted(PathBuf, PathBuf),
    /// It is something else than a store.
    #[error("open the store {}: it is {what}, and no store", .0.display(), what = .1)]
    NotAStore(PathBuf, &'static str),
    /// Everybody may write to this file of it: what it says of messages and sessions could be anybody's.
    #[error("open the store {}: everybody may write to {}", .0.display(), .1.display())]
    Exposed(PathBuf, PathBuf),
    /// It was made by a later version.
    #[error("open the store {}: it was made by a later version (its tables are of version {theirs}, this knows {known})", .0.display(), theirs = .1, known = schema::VERSION)]
    Newer(PathBuf, i32),
    /// Another process has it locked, or reads in it without an end.
    #[error("open the store {}: another process has locked it, probably one that reads in a transaction which it has left open", .0.display())]
    Locked(PathBuf),
    /// Another reason.
    #[error("open the store {}: {why}", .0.display(), why = .1)]
    Failed(PathBuf, String),
}

impl OpenError {
    /// Whether it is the path that is wrong, and not the moment.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Locked(_) | Self::Failed(..))
    }

    pub(super) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        let rusqlite::Error::SqliteFailure(failure, _) = error else { return Self::Failed(path, error.to_string()) };
        let directory = directory(&path);
        match failure.extended_code & 0xff {
            ffi::SQLITE_NOTADB => Self::NotAStore(path, "no database of SQLite's"),
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Self::Locked(path),
            ffi::SQLITE_PERM | ffi::SQLITE_READONLY | ffi::SQLITE_AUTH => Self::Denied(path),
            ffi::SQLITE_CANTOPEN if may_not_make(&directory) => Self::DirectoryDenied(path, directory),
            // It does not say which.
            ffi::SQLITE_CANTOPEN => {
                let what = "it, or a file that SQLite has beside it, cannot be opened or made in the directory";
                Self::Failed(path, format!("{what} {}", directory.display()))
            }
            _ => match Trouble::of(error) {
                Trouble::Full(why) => Self::Failed(path, why),
                _ => Self::Failed(path, error.to_string()),
            },
        }
    }

    pub(super) fn of_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                let directory = directory(&path);
                Self::NoDirectory(path, directory)
            }
            io::ErrorKind::IsADirectory => Self::NotAStore(path, "a directory"),
            _ => Self::Failed(path, error.to_string()),
        }
    }
}

/// Opens a store to write to it, and makes it if it is not there. What it holds is durable then.
pub(super) fn open(path: &Path, config: &SqliteConfig) -> Result<(Connection, Held), OpenError> {
    // `:memory:` is a file, too, and another working directory changes nothing.
    let path = std::path::absolute(path).map_err(|error| OpenError::of_io(path, &error))?;
    let path = path.as_path();
    whole(path)?;
    let made = make(path)?;
    let opened = open_file(path, config);
    if made == Made::Now && !matches!(opened, Ok(_) | Err(OpenError::Locked(_))) {
        remove_empty(path);
    }
    opened
}

/// Takes a file away that was made for a store and came to nothing. One that another process has begun to fill meanwhile stays, and so does one with a log.
pub fn remove_empty(path: &Path) {
    if fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == 0) && !has_log(path) {
        let _ = fs::remove_file(path);
    }
}

fn open_file(path: &Path, config: &SqliteConfig) -> Result<(Connection, Held), OpenError> {
    writable(path)?;
    // SQLite takes the log away when it closes what it has opened.
    guarded(path)?;
    let sqlite = |error: rusqlite::Error| OpenError::of(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(config.lock_timeout).map_err(sqlite)?;
    match schema::identify(&connection).map_err(sqlite)? {
        Identity::Empty => {
            fill(&connection, path).map_err(sqlite)?;
            guarded(path)?;
        }
        Identity::Store(version) if version <= schema::VERSION => {}
        Identity::Store(version) => return Err(OpenError::Newer(path.to_owned(), version)),
        Identity::Foreign => return Err(OpenError::NotAStore(path.to_owned(), "a database of something else")),
    }
    prepare(&connection, config).map_err(sqlite)?;
    barrier(&connection, path)?;
    let held = Held::of(path).map_err(|error| OpenError::of_io(path, &error))?;
    Ok((connection, held))
}

/// Makes the tables. A file that was there already gets the permissions of one that is made; what cannot be a store is left as it was.
fn fill(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let before = fs::metadata(path).map(|data| data.permissions());
    // It may be somebody else's who lets this user write to it: then they stay.
    let _ = fs::set_permissions(path, Permissions::from_mode(MODE));
    schema::create(connection).inspect_err(|_| {
        let _ = before.map(|before| fs::set_permissions(path, before));
    })
}

/// Refuses what is no file, and what cannot be one of SQLite's.
pub(super) fn is_file(path: &Path) -> Result<(), OpenError> {
    let data = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if directory(path).is_dir() => OpenError::Missing(path.to_owned()),
        _ => OpenError::of_io(path, &error),
    })?;
    match data.is_file() {
        true => Ok(()),
        false if data.is_dir() => Err(OpenError::NotAStore(path.to_owned(), "a directory")),
        false => Err(OpenError::NotAStore(path.to_owned(), "no file")),
    }
}

/// Refuses a log whose store is not there. An empty store may have one: whoever made it was killed. The log is looked at first, since another process may be
/// making both.
fn whole(path: &Path) -> Result<(), OpenError> {
    match has_log(path) && fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        true => Err(OpenError::Parted(path.to_owned(), log(path))),
        false => Ok(()),
    }
}

/// Whether there is something in the log that SQLite has beside a file.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(log(path)).is_ok_and(|log| log.len() > 0)
}

fn log(path: &Path) -> PathBuf {
    let [_, log, _] = files(path);
    log
}

/// Whether a file had to be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Made {
    Now,
    Before,
}

/// Makes an empty file if there is none.
fn make(path: &Path) -> Result<Made, OpenError> {
    let failed = |error: io::Error| OpenError::of_io(path, &error);
    match OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(path) {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(MODE)).map_err(failed)?;
            File::open(directory(path)).and_then(|directory| directory.sync_all()).map_err(failed)?;
            Ok(Made::Now)
        }
        // A link to nothing is there, too.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => is_file(path).map(|()| Made::Before),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && may_not_make(&directory(path)) => {
            Err(OpenError::DirectoryDenied(path.to_owned(), directory(path)))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Refuses a file that cannot be written to: SQLite would open it for reading. It is asked for and not tried, since whoever closes a file gives up all locks that
/// this process has on it (fcntl(2)), those of another store's connection, too.
pub(super) fn writable(path: &Path) -> Result<(), OpenError> {
    access(path, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|error| OpenError::of_io(path, &error.into()))
}

/// Refuses a file that must not be read.
pub(super) fn readable(path: &Path) -> Result<(), OpenError> {
    access(path, AccessFlags::R_OK).map_err(|error| OpenError::of_io(path, &error.into()))
}

/// Refuses a store that everybody may write to, or a file that SQLite has beside it. Who shares a group is trusted: it may be there to delete what is old. A file with
/// nothing in it says nothing, and gets other permissions once it is filled.
fn guarded(path: &Path) -> Result<(), OpenError> {
    let failed = |error: io::Error| OpenError::of_io(path, &error);
    // Those beside it are beside what a link leads to.
    for file in files(&fs::canonicalize(path).map_err(failed)?) {
        match fs::metadata(&file) {
            Ok(data) if data.len() > 0 && data.permissions().mode() & 0o002 != 0 => {
                return Err(OpenError::Exposed(path.to_owned(), file));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether it is a directory in which this user may make no file.
fn may_not_make(directory: &Path) -> bool {
    access(directory, AccessFlags::X_OK).is_ok() && access(directory, AccessFlags::W_OK) == Err(Errno::EACCES)
}

fn prepare(connection: &Connection, config: &SqliteConfig) -> rusqlite::Result<()> {
    // The files beside the store stay when it is closed: a server in a sandbox could not make them again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {}; PRAGMA cache_size = -{CACHE}; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;",
        2 * config.checkpoint_bytes
    ))?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let busy = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None);
    if mode == "wal" { Ok(()) } else { Err(busy()) }
}

/// Rule S4 of `docs/protocol.md`: after a process was killed SQLite shows what it had committed and not yet synced. All there is is brought to
/// the disk before anybody is told of it.
fn barrier(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let row = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok((row.get(1)?, row.get(2)?)));
    let (logged, copied): (i64, i64) = row.map_err(|error| OpenError::of(path, &error))?;
    // Somebody who reads may keep the log from being emptied, but not from being copied and synced, unless he began to read before the last
    // was written to it.
    if logged == copied { Ok(()) } else { Err(OpenError::Locked(path.to_owned())) }
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    }
}

/// The files of a store: itself, and the two that SQLite has beside it. A server must be able to write to all of them while it has it open, and makes no other.
pub fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = OsString::from(path);
        name.push(suffix);
        name.into()
    })
}
