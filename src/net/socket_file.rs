//! `SocketFile`: the file that a Unix socket bound to a path leaves in the file system.
//!
//! Apart, because its life is longer than the kernel's: it must be private from birth, a stale one must be replaced without
//! ever taking the address of a living server, and only our own may be removed at the end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use socket2::{Domain, SockAddr, Type};

use super::{Addr, Error, Result, Socket, UnixName};

/// The permissions of a new socket file: its owner alone may connect.
const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// How long to wait for others that are replacing a stale file in the same directory.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// As [`Socket::bind`] has them; for a path also that what is there is no socket, is in use or is not ours to replace.
    pub(super) async fn bind(socket: &mut Socket, addr: &Addr) -> Result<()> {
        let Addr::Unix(UnixName::Path(path)) = addr else {
            return socket.bind(addr);
        };
        let failed = |error| Error::system("bind", error).at(addr);
        // The kernel gives the file the mode of the socket (less the umask): it is private before anyone can see it.
        fchmod(socket.raw(), PRIVATE).map_err(|errno| failed(errno.into()))?;
        let path = std::path::absolute(path).map_err(failed)?;
        match socket.bind(addr) {
            Err(error) if error.errno() == Some(Errno::EADDRINUSE) => {
                let _lock = lock_directory(&path).await.map_err(|error| error.at(addr))?;
                check_stale(&path).map_err(|error| error.at(addr))?;
                fs::remove_file(&path).map_err(failed)?;
                socket.bind(addr)?;
            }
            bound => bound?,
        }
        let file = fs::symlink_metadata(&path).map_err(failed)?;
        socket.keep(Self { path, device: file.dev(), inode: file.ino() });
        Ok(())
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

/// Errs unless the file is a socket of ours on which nobody listens.
fn check_stale(path: &Path) -> Result<()> {
    let in_use = || Error::system("bind", io::Error::from_raw_os_error(Errno::EADDRINUSE as i32));
    let file = fs::symlink_metadata(path).map_err(|error| Error::system("bind", error))?;
    if !file.file_type().is_socket() {
        return Err(in_use().hinting("there is a file of that name which is no socket: choose another path"));
    }
    if !matches!(probe(path), Err(error) if error.raw_os_error() == Some(Errno::ECONNREFUSED as i32)) {
        return Err(in_use());
    }
    if file.uid() != geteuid().as_raw() {
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
        let mut socket = Socket::create(Domain::UNIX, Type::STREAM)?;
        SocketFile::bind(&mut socket, &Addr::Unix(UnixName::Path(path.into()))).await?;
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
