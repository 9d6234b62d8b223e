//! Who the peer of a Unix socket is: its process, user and groups, as the kernel vouches for them.
//!
//! Apart from the other [attributes](super::attributes), because access is decided by it: here a failure is told, not left out.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use socket2::Domain;

use super::trace::{self, Shown};
use super::{Socket, sys};

/// The most supplementary groups that a process can have (`NGROUPS_MAX`, getgroups(2)).
pub const MAX_GROUPS: usize = 65_536;

/// How many groups are asked for at first: more than almost any process has.
const FEW_GROUPS: usize = 32;

/// A process, its user and its group, by their numbers (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Credentials {
    /// The process.
    pub pid: u32,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Socket {
    /// Who the peer was when it connected or listened: `SO_PEERCRED`, unix(7). `None` for other sockets than those of the Unix
    /// domain, and where there is no peer, as for datagrams from anyone.
    ///
    /// A user of another user namespace who has no number in this one is 65534, as who owns nothing
    /// (user_namespaces(7)).
    ///
    /// # Errors
    /// As getsockopt(2) has them.
    pub fn peer_credentials(&self) -> io::Result<Option<Credentials>> {
        if self.domain() != Domain::UNIX {
            return Ok(None);
        }
        let call = format_args!("getsockopt({}, SOL_SOCKET, SO_PEERCRED)", self.as_fd().as_raw_fd());
        trace::call(call, of(self.as_fd()))
    }

    /// The supplementary groups that the peer had when it connected or listened: `SO_PEERGROUPS`, socket(7). Its own group is among
    /// them only if it is listed there, too.
    ///
    /// # Errors
    /// `ENODATA` where there is no peer, `ENOPROTOOPT` on kernels before Linux 4.13.
    pub fn peer_groups(&self) -> io::Result<Vec<u32>> {
        let call = format_args!("getsockopt({}, SOL_SOCKET, SO_PEERGROUPS)", self.as_fd().as_raw_fd());
        trace::call(call, groups(self.as_fd(), FEW_GROUPS).map(Groups)).map(|Groups(groups)| groups)
    }
}

/// None where there is no peer, or none that this process can see.
pub(super) fn of(fd: BorrowedFd<'_>) -> io::Result<Option<Credentials>> {
    let mut bytes = [0; 12];
    let length = sys::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut bytes)?;
    let mut words = words(&bytes[..length]);
    Ok(match (words.next(), words.next(), words.next()) {
        (Some(pid), Some(uid), Some(gid)) if uid != u32::MAX => Some(Credentials { pid, uid, gid }),
        _ => None,
    })
}

/// Asks for `few` first, and for all only if there are more.
fn groups(fd: BorrowedFd<'_>, few: usize) -> io::Result<Vec<u32>> {
    let ask = |most: usize| {
        let mut bytes = vec![0; most * size_of::<u32>()];
        let length = sys::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERGROUPS, &mut bytes)?;
        Ok(words(&bytes[..length]).collect())
    };
    match ask(few) {
        Err(error) if is_too_short(&error) => ask(MAX_GROUPS),
        groups => groups,
    }
}

fn is_too_short(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw) == Some(Errno::ERANGE)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| u32::from_ne_bytes(*word))
}

impl Shown for Option<Credentials> {
    fn show(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Some(Credentials { pid, uid, gid }) => write!(f, "0 (pid {pid}, uid {uid}, gid {gid})"),
            None => f.write_str("0 (nobody)"),
        }
    }
}

/// Groups, for a trace that shows how many they are.
struct Groups(Vec<u32>);

impl Shown for Groups {
    fn show(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0 ({} groups)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::{getegid, geteuid, getgroups};
    use socket2::Type;

    use super::*;

    #[test]
    fn tells_who_made_a_pair() {
        for socket_type in [Type::STREAM, Type::SEQPACKET] {
            let (one, _other) = Socket::pair(socket_type).expect("a pair");
            let expected = Credentials { pid: std::process::id(), uid: geteuid().as_raw(), gid: getegid().as_raw() };
            assert_eq!(one.peer_credentials().expect("credentials"), Some(expected));
            let groups: Vec<u32> = getgroups().expect("groups").iter().map(|gid| gid.as_raw()).collect();
            assert_eq!(one.peer_groups().expect("groups"), groups);
            // As if there were too many for the first question.
            assert_eq!(super::groups(one.as_fd(), 0).expect("groups"), groups);
        }
    }

    #[test]
    fn a_socket_without_a_peer_has_none() {
        let alone = Socket::create(Domain::UNIX, Type::DGRAM).expect("a socket");
        assert_eq!(alone.peer_credentials().expect("an answer"), None);
        assert!(alone.peer_groups().is_err());
        let inet = Socket::create(Domain::IPV4, Type::STREAM).expect("a socket");
        assert_eq!(inet.peer_credentials().expect("an answer"), None);
    }

    #[test]
    fn numbers_are_read_from_the_kernels_bytes() {
        let bytes: Vec<u8> = [7u32, 0, u32::MAX].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(words(&bytes).collect::<Vec<_>>(), [7, 0, u32::MAX]);
        assert_eq!(words(&bytes[..7]).collect::<Vec<_>>(), [7]);
    }
}
