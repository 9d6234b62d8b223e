//! The contract with inetd: the socket is standard input, and also standard output and standard error.
//!
//! Apart from the server, which knows its socket by an address: here it is looked for where a program writes, so that what is
//! meant for people does not go to the peer.

use std::fs::{File, metadata};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::unistd::dup2_stderr;

use crate::net::{Endpoint, Error, Target};

/// Errs if standard output is one of the sockets that are served: what is displayed would go to the client.
pub(super) fn check_display(endpoints: &[Endpoint]) -> Result<(), Error> {
    if !is_served(std::io::stdout().as_raw_fd(), endpoints) {
        return Ok(());
    }
    Err(Error::usage("standard output is the socket itself: messages would be displayed to the client")
        .hinting("send it elsewhere (`>>FILE`), or choose what else is done with a message (--reply TEXT)"))
}

/// Throws away what is written to standard error from now on, if that is one of the sockets that are served.
pub(super) fn spare_peer(endpoints: &[Endpoint]) -> anyhow::Result<()> {
    if is_served(std::io::stderr().as_raw_fd(), endpoints) {
        dup2_stderr(File::options().write(true).open("/dev/null")?)?;
    }
    Ok(())
}

fn is_served(stream: RawFd, endpoints: &[Endpoint]) -> bool {
    // What a descriptor is open for, as device and inode (proc_pid_fd(5)).
    let opened = |fd: RawFd| metadata(format!("/proc/self/fd/{fd}")).ok().map(|file| (file.dev(), file.ino()));
    let is_same = |endpoint: &Endpoint| matches!(endpoint.target, Target::Fd(fd) if opened(fd) == opened(stream));
    opened(stream).is_some() && endpoints.iter().any(is_same)
}
