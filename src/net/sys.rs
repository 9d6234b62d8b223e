//! The calls that no safe crate offers: socket options by number, and the bytes that wait in a socket's queues.
//!
//! Apart, because this is the only unsafe code; what the bytes mean is known to [`options`](super::options) and
//! [`attributes`](super::attributes).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, socklen_t};

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

fn check(result: c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
