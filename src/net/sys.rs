//! The calls that need `unsafe`, each wrapped in a safe function.
//!
//! Apart, because this is the only file of the project in which the compiler's checks are lifted.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_int;
use socket2::SockAddr;

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

/// A buffer as the receiving calls of `socket2` take it.
pub(crate) fn uninit(buffer: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the layouts are the same, and those calls only write bytes that are initialised (socket2 says so).
    unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) }
}

/// A descriptor of one's own for one that the process was started with: fcntl(2), `F_DUPFD_CLOEXEC`.
pub(crate) fn duplicate(fd: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call takes any number and fails for one that is no descriptor.
    match unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
        new => Ok(unsafe { OwnedFd::from_raw_fd(new) }),
    }
}
