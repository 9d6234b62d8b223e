//! `SocketFile`: the file that a Unix socket bound to a path leaves in the file system.
//!
//! Apart, because its life is longer than the kernel's: it must be private from birth, a stale one must be replaced without
//! ever taking the address of a living server, and only our own may be removed at the end.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, OFlag, open};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat};
use nix::unistd::{Gid, Uid, fchownat, geteuid};
use socket2::{Domain, SockAddr, Type};

use super::{Addr, Error, Result, Socket, UnixName};

/// The permissions of a socket file unless others are asked for: its owner alone may connect, which takes the right to write.
pub const SOCKET_MODE: u32 = 0o600;

/// All that a socket file has until it has its owner.
const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// How long to wait for others that are replacing a stale file in the same directory.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Who may connect to a Unix socket that is bound to a path. The default is whoever has bound it, and nobody else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SocketFileOptions {
    /// The permissions; of those only that to write counts. Default [`SOCKET_MODE`].
    pub mode: u32,
    /// The number of the user whose it is. Default: that of the process.
    pub user: Option<u32>,
    /// The number of the group whose it is. Default: that of the process, or of the directory (inode(7)).
    pub group: Option<u32>,
}

impl Default for SocketFileOptions {
    fn default() -> Self {
        Self { mode: SOCKET_MODE, user: None, group: None }
    }
}

/// The file of a socket that was bound here; removed when this is dropped, if it is still the same.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Binds a socket to an address of any domain; a file that comes of it goes with the socket.
    ///
    /// # Errors
    /// As [`Socket::bind`] has them; for a path also that what is there is no socket, is in use or is not ours to replace,
    /// and that the file may not be given to that user or group.
    pub(super) async fn bind(socket: &mut Socket, addr: &Addr, options: SocketFileOptions) -> Result<()> {
        let Addr::Unix(UnixName::Path(path)) = addr else {
            return socket.bind(addr);
        };
        let failed = |error| Error::system("bind", error).at(addr);
        // The kernel gives the file the mode of the socket (less the umask): it is private before anyone can see it.
        fchmod(socket.raw(), options.first_mode()).map_err(|errno| failed(errno.into()))?;
        let path = std::path::absolute(path).map_err(failed)?;
        match socket.bind(addr) {
            Err(error) if error.errno() == Some(Errno::EADDRINUSE) => {
                let _lock = lock_directory(&path).await.map_err(|error| error.at(addr))?;
                check_stale(&path, options).map_err(|error| error.at(addr))?;
                fs::remove_file(&path).map_err(failed)?;
                socket.bind(addr)?;
            }
            bound => bound?,
        }
        // From here on the file is held, and not its name, which others may give to another file.
        let held = open(&path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
        let file = held.map_err(|errno| failed(errno.into()))?;
        let status = fstat(&file).map_err(|errno| failed(errno.into()))?;
        socket.keep(Self { path, device: status.st_dev, inode: status.st_ino });
        if options == SocketFileOptions::default() {
            return Ok(());
        }
        check_ours(&status).and_then(|()| options.apply(&file)).map_err(|error| error.at(addr))
    }
}

impl SocketFileOptions {
    /// The mode that the file is made with: nothing that was not asked for, and nothing for a group that is not the right one yet.
    fn first_mode(self) -> Mode {
        Mode::from_bits_truncate(self.mode) & PRIVATE
    }

    /// The owners first, then the mode, so that no moment has more rights than the end.
    fn apply(self, file: &OwnedFd) -> Result<()> {
        if self.user.is_some() || self.group.is_some() {
            let (user, group) = (self.user.map(Uid::from_raw), self.group.map(Gid::from_raw));
            fchownat(file, "", user, group, AtFlags::AT_EMPTY_PATH).map_err(|errno| {
                let failed = Error::system("give the socket file to its owner", errno.into());
                match errno {
                    Errno::EPERM if self.user.is_some() => failed.hinting("only root may give a file to another user"),
                    Errno::EPERM => failed.hinting("only a member of the group, or root, may give it a file"),
                    _ => failed,
                }
            })?;
        }
        // chmod(2) takes no descriptor of this kind, but the name that it has in /proc (proc_pid_fd(5)).
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        fchmodat(AT_FDCWD, name.as_str(), Mode::from_bits_truncate(self.mode), FchmodatFlags::FollowSymlink)
            .map_err(|errno| Error::system("set the permissions of the socket file", errno.into()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = |file: &fs::Metadata| (file.dev(), file.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|file| ours(&file)) {
            // Whoever removed it in between has done what was wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Two servers that both find a stale file must not both remove one: the second would remove that of the first.
async fn lock_directory(path: &Path) -> Result<Flock<File>> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let failed = |error| Error::system("lock the directory", error).on(directory.display());
    let mut file = File::open(directory).map_err(failed)?;
    let give_up = tokio::time::Instant::now() + LOCK_TIMEOUT;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((again, Errno::EWOULDBLOCK)) if tokio::time::Instant::now() < give_up => file = again,
            Err((_, errno)) => return Err(failed(errno.into())),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Errs unless the file can be the one just made. In a directory that others may write to, it could be any by now.
fn check_ours(file: &FileStat) -> Result<()> {
    let is_socket = SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK;
    if is_socket && file.st_nlink == 1 && file.st_uid == geteuid().as_raw() {
        return Ok(());
    }
    Err(Error::system("bind", Errno::ESTALE.into())
        .hinting("somebody else has put another file in the place of the socket: choose a directory of your own"))
}

/// Errs unless the file is a socket of ours, or of the user that it was given to, on which nobody listens.
fn check_stale(path: &Path, options: SocketFileOptions) -> Result<()> {
    let in_use = || Error::system("bind", io::Error::from_raw_os_error(Errno::EADDRINUSE as i32));
    let file = fs::symlink_metadata(path).map_err(|error| Error::system("bind", error))?;
    if !file.file_type().is_socket() {
        return Err(in_use().hinting("there is a file of that name which is no socket: choose another path"));
    }
    if !matches!(probe(path), Err(error) if error.raw_os_error() == Some(Errno::ECONNREFUSED as i32)) {
        return Err(in_use());
    }
    if file.uid() != geteuid().as_raw() && Some(file.uid()) != options.user {
        return Err(in_use().hinting(format!(
            "the socket file is left over and belongs to the user with the number {}: remove it, or choose another path",
            file.uid()
        )));
    }
    Ok(())
}

/// Connects a datagram socket to the path, which no server notices: it succeeds for datagrams, the type is wrong
/// (`EPROTOTYPE`) for the others, and it is refused if nobody is there (unix(7)).
pub(super) fn probe(path: &Path) -> io::Result<()> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::DGRAM.nonblocking().cloexec(), None)?;
    socket.connect(&SockAddr::unix(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bind(path: &Path) -> Result<Socket> {
        bind_with(path, SocketFileOptions::default()).await
    }

    async fn bind_with(path: &Path, options: SocketFileOptions) -> Result<Socket> {
        let mut socket = Socket::create(Domain::UNIX, Type::STREAM)?;
        SocketFile::bind(&mut socket, &Addr::Unix(UnixName::Path(path.into())), options).await?;
        socket.listen(1)?;
        Ok(socket)
    }

    #[tokio::test]
    async fn is_private_from_birth_and_gone_at_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let bound = bind(&path).await.expect("bound");
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn is_never_born_with_more_than_it_will_have() {
        for (mode, first) in
            [(0o600, 0o600), (0o666, 0o600), (0o660, 0o600), (0o060, 0), (0o200, 0o200), (0o777, 0o600)]
        {
            let options = SocketFileOptions { mode, ..SocketFileOptions::default() };
            assert_eq!(options.first_mode().bits(), first, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn has_the_permissions_that_were_asked_for_whatever_the_umask() {
        let dir = tempfile::tempdir().expect("a directory");
        for mode in [0o666, 0o660, 0o620, 0o000, 0o777] {
            let path = dir.path().join(format!("{mode:o}"));
            let options = SocketFileOptions { mode, ..SocketFileOptions::default() };
            let _bound = bind_with(&path, options).await.expect("bound");
            assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o7777, mode);
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_given_away_does_not_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let options = SocketFileOptions { user: Some(u32::MAX - 1), ..SocketFileOptions::default() };
        let bound = bind_with(&path, options).await;
        if !geteuid().is_root() {
            let error = bound.expect_err("not allowed");
            assert!(error.hint().is_some_and(|hint| hint.contains("root")), "{error:?}");
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn only_the_file_that_was_made_is_taken_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, link) = (dir.path().join("s"), dir.path().join("link"));
        let _bound = bind(&path).await.expect("bound");
        let status = || nix::sys::stat::lstat(&path).expect("a file");
        check_ours(&status()).expect("the very one");
        fs::hard_link(&path, link).expect("another name");
        assert!(check_ours(&status()).is_err(), "it has another name, too");
        assert!(check_ours(&nix::sys::stat::lstat(dir.path()).expect("a directory")).is_err(), "no socket");
    }

    #[tokio::test]
    async fn a_stale_file_is_replaced_and_a_living_server_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let socket = bind(&path).await.expect("bound");
        let error = bind(&path).await.expect_err("in use");
        assert_eq!(error.errno(), Some(Errno::EADDRINUSE));
        drop(socket);
        // A server that dies does not remove its file.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        let _socket = bind(&path).await.expect("replaced");
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        fs::write(&path, "precious").expect("written");
        let error = bind(&path).await.expect_err("refused");
        assert!(error.hint().is_some_and(|hint| hint.contains("no socket")), "{error}");
        assert_eq!(fs::read(&path).expect("still there"), b"precious");
    }

    #[tokio::test]
    async fn a_file_that_another_server_has_made_meanwhile_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let first = bind(&path).await.expect("bound");
        fs::remove_file(&path).expect("removed by hand");
        let _second = bind(&path).await.expect("bound again");
        drop(first);
        assert!(path.exists(), "the second server's file");
    }
}
