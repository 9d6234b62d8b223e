//! The calls that no safe crate offers, each wrapped in a safe function.
//!
//! Apart, because this is the only file of the project in which the compiler's checks are lifted.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;

use libc::{c_int, c_void, socklen_t};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{SockAddr, SockAddrStorage};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdRegisterError};

/// A socket that is registered with the runtime when it is first waited for, and not before: one that is neither connected
/// nor listening would be reported as hung up, and that never be taken back.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Dropped before the socket whose descriptor it names.
    io: OnceLock<Result<AsyncFd<c_int>, c_int>>,
    socket: socket2::Socket,
}

impl Watched {
    pub(crate) fn new(socket: socket2::Socket) -> Self {
        Self { io: OnceLock::new(), socket }
    }

    pub(crate) fn socket(&self) -> &socket2::Socket {
        &self.socket
    }

    /// The registration with the runtime that this is called in.
    pub(crate) fn io(&self) -> io::Result<&AsyncFd<c_int>> {
        let registered = self.io.get_or_init(|| {
            let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR | Interest::PRIORITY;
            // SAFETY: the descriptor is that of `socket`, which is never given away, stays the same, and is closed only
            // after `io` is dropped.
            let io = unsafe { AsyncFd::register_with_interest(self.socket.as_raw_fd(), interest) };
            io.map_err(|error| io::Error::from(error).raw_os_error().unwrap_or(libc::EIO))
        });
        registered.as_ref().map_err(|errno| io::Error::from_raw_os_error(*errno))
    }
}

/// Watches a descriptor that is no socket of this layer. One that cannot be watched, such as that of a file, is given back.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>, (OwnedFd, io::Error)> {
    // SAFETY: the descriptor is owned, so that it stays the same and open until the registration is dropped with it.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(AsyncFdRegisterError::into_parts)
}

/// accept4(2) with both flags at once: without them every connection would cost two calls more.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(socket2::Socket, SockAddr)> {
    // SAFETY: `storage` and `length` are a valid address buffer and its size for the length of the call; on success
    // the kernel has written an address of `length` bytes, as `try_init` demands.
    let (fd, peer) = unsafe {
        SockAddr::try_init(|storage, length| {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            match libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(fd),
            }
        })
    }?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok((unsafe { socket2::Socket::from_raw_fd(fd) }, peer))
}

/// The most packets that one call receives or sends. With more, one peer's answers would wait for too many others.
pub(crate) const PACKETS: usize = 32;

/// Room for what the kernel tells of one packet: where it came to, and the time if the user has asked for that.
const CONTROL: usize = 128;

/// What the kernel writes of one packet beside its bytes, and where it puts those.
struct Envelope {
    name: SockAddrStorage,
    control: [u8; CONTROL],
    part: libc::iovec,
}

/// Receives packets that are there, each into a place of its own of `buffer`, and no more than there are places:
/// recvmmsg(2). The places are `distance` apart, and `size` bytes of each are used. Passes on of each packet its length on the
/// way, the sender's address, and the control messages.
pub(crate) fn recv_packets(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    distance: usize,
    size: usize,
    mut each: impl FnMut(usize, SockAddr, &[u8]),
) -> io::Result<()> {
    // Only those that are used are written to: there is mostly one packet, and clearing all would cost as much as receiving it.
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; PACKETS];
    let mut envelopes = [const { MaybeUninit::<Envelope>::uninit() }; PACKETS];
    let mut places = 0;
    for (place, (header, envelope)) in buffer.chunks_exact_mut(distance).zip(headers.iter_mut().zip(&mut envelopes)) {
        let place = &mut place[..size];
        let envelope = envelope.write(Envelope {
            name: SockAddrStorage::zeroed(),
            control: [0; CONTROL],
            part: libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: place.len() },
        });
        let header = &mut header.write(no_header()).msg_hdr;
        (header.msg_iov, header.msg_iovlen) = (&raw mut envelope.part, 1);
        (header.msg_name, header.msg_namelen) = ((&raw mut envelope.name).cast(), envelope.name.size_of());
        (header.msg_control, header.msg_controllen) = ((&raw mut envelope.control).cast(), CONTROL as _);
        places += 1;
    }
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: the first `places` headers are written, and point to a name, control messages and a part of an envelope of their
    // own, with their true sizes; the part points to a piece of `buffer` that no other has. All of them outlive the call.
    let received =
        unsafe { libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr().cast(), places, flags as _, ptr::null_mut()) };
    check(received)?;
    let received = places.min(received.unsigned_abs()) as usize;
    for (header, envelope) in headers.iter().zip(&envelopes).take(received) {
        // SAFETY: there are no more than `places`, up to which both are written.
        let (header, envelope) = unsafe { (header.assume_init_ref(), envelope.assume_init_ref()) };
        // SAFETY: the kernel has written an address of this length; if there is none the family is the zero that was there.
        let name = unsafe { SockAddr::new(ptr::read(&envelope.name), header.msg_hdr.msg_namelen) };
        #[allow(clippy::unnecessary_cast, reason = "its type differs between C libraries")]
        let told = CONTROL.min(header.msg_hdr.msg_controllen as usize);
        each(header.msg_len as usize, name, &envelope.control[..told]);
    }
    Ok(())
}

fn no_header() -> libc::mmsghdr {
    // SAFETY: it is made of numbers and pointers, of which zero is a value.
    unsafe { mem::zeroed() }
}

/// A packet to send: its bytes, where to, and a control message, which may be empty.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) to: &'a SockAddr,
    pub(crate) control: &'a [u8],
}

/// Sends as many packets as one call takes: sendmmsg(2). Says how many were sent; the error is that of the first.
pub(crate) fn send_packets<'a>(fd: BorrowedFd<'_>, packets: impl Iterator<Item = Outgoing<'a>>) -> io::Result<usize> {
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; PACKETS];
    let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; PACKETS];
    let mut count = 0;
    for ((header, part), Outgoing { bytes, to, control }) in headers.iter_mut().zip(&mut parts).zip(packets) {
        let part = part.write(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        let header = &mut header.write(no_header()).msg_hdr;
        (header.msg_iov, header.msg_iovlen) = (&raw mut *part, 1);
        (header.msg_name, header.msg_namelen) = (to.as_ptr().cast_mut().cast(), to.len());
        if !control.is_empty() {
            (header.msg_control, header.msg_controllen) = (control.as_ptr().cast_mut().cast(), control.len() as _);
        }
        count += 1;
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the first `count` headers are written, and point to bytes, an address and a control message that live for `'a`,
    // with their true sizes. The kernel only reads those; it writes nothing but the lengths in the headers.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr().cast(), count, flags as _) };
    check(sent)?;
    usize::try_from(sent).map_err(io::Error::other)
}

/// Has a program start with this soft limit of open files (setrlimit(2), `RLIMIT_NOFILE`); the hard limit stays.
pub(crate) fn limit_open_files(program: &mut tokio::process::Command, soft: u64) {
    let limit = move || {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?)
    };
    // SAFETY: between fork and exec only what is safe in a signal handler may be done (signal-safety(7)): this is two
    // system calls, without allocation and without a lock.
    unsafe { program.pre_exec(limit) };
}

/// A buffer as the receiving calls of `socket2` take it.
pub(crate) fn uninit(buffer: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the layouts are the same, and those calls only write bytes that are initialised (socket2 says so).
    unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) }
}

/// A descriptor of one's own for one that the process was started with: fcntl(2), `F_DUPFD_CLOEXEC`. Programs that are started
/// from here do not get the other one either, unless it is a standard stream.
pub(crate) fn duplicate(fd: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call takes any number and fails for one that is no descriptor.
    match unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) } {
        -1 => Err(io::Error::last_os_error()),
        new => {
            if fd > libc::STDERR_FILENO {
                // SAFETY: as above; the flag changes nothing for this process.
                unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
            // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
            Ok(unsafe { OwnedFd::from_raw_fd(new) })
        }
    }
}

/// Has a descriptor closed in programs that are started: fcntl(2), `FD_CLOEXEC`.
pub(crate) fn close_on_exec(fd: c_int) -> io::Result<()> {
    // SAFETY: the call takes any number and fails for one that is no descriptor; the flag changes nothing in this process.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })
}

/// Reads a socket option into `buffer` and returns how many bytes of it the kernel has filled (getsockopt(2)).
pub(crate) fn getsockopt(fd: BorrowedFd<'_>, level: c_int, name: c_int, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, which is what `buffer` has, and both outlive the call.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, buffer.as_mut_ptr().cast::<c_void>(), &mut length) };
    // A few options report the length they would have needed.
    check(result).map(|()| buffer.len().min(length as usize))
}

/// Sets a socket option to the bytes of `value` (setsockopt(2)).
pub(crate) fn setsockopt(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
    let length = socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` bytes, which is what `value` has, and keeps no pointer to them.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast::<c_void>(), length) })
}

/// The bytes that can be read now; for datagrams those of the next one (`SIOCINQ`; tcp(7), udp(7), unix(7)).
pub(crate) fn bytes_queued_in(fd: BorrowedFd<'_>) -> io::Result<usize> {
    count(fd, libc::FIONREAD)
}

/// The bytes that were written and not yet taken by the peer (`SIOCOUTQ`; tcp(7), udp(7), unix(7)).
pub(crate) fn bytes_queued_out(fd: BorrowedFd<'_>) -> io::Result<usize> {
    count(fd, libc::TIOCOUTQ)
}

fn count(fd: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: both requests write one int, and `count` is one that outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, &mut count) })?;
    usize::try_from(count).map_err(io::Error::other)
}

/// How many columns a terminal has; none for what is no terminal, and for one that does not say (`TIOCGWINSZ`, ioctl_tty(2)).
pub(crate) fn terminal_columns(fd: BorrowedFd<'_>) -> Option<usize> {
    // SAFETY: four numbers, of which 0 is one.
    let mut size: libc::winsize = unsafe { mem::zeroed() };
    // SAFETY: the request writes one `winsize`, and `size` is one that outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &mut size) }).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

fn check(result: c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
