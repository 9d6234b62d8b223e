//! Standard input and output as one side of a relay: bytes as they come, escaped only where a terminal would obey them.
//!
//! Apart from the screen for messages, because here nothing has a beginning or an end: what can be read is read, what can be
//! written is written, and nothing blocks the runtime's thread.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::net::watch;
use crate::service::relay::Side;

use super::screen::{WRITABLE, escaped, non_blocking};

/// The two of them.
pub(super) struct Stdio {
    input: Descriptor,
    output: Descriptor,
    /// How much may be written at once without blocking.
    most: usize,
    /// What is shown of the bytes that are being written, if a terminal shows it.
    shown: Option<Shown>,
}

impl Stdio {
    pub(super) fn open() -> io::Result<Self> {
        let input = Descriptor::new(io::stdin().as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        let stdout = io::stdout();
        let shared = || stdout.as_fd().try_clone_to_owned();
        let (output, most) = match Descriptor::new(shared()?, Interest::WRITABLE)? {
            // A file has one place where the next byte goes, which is the description's.
            file @ Descriptor::File(_) => (file, usize::MAX),
            watched => match non_blocking(stdout.as_fd()) {
                Ok(own) => (Descriptor::new(own, Interest::WRITABLE)?, usize::MAX),
                // A socket, or somebody else's terminal.
                Err(_) => (watched, WRITABLE),
            },
        };
        Ok(Self { input, output, most, shown: stdout.is_terminal().then(Shown::default) })
    }

    /// Whether a person is at the keyboard.
    pub(super) fn is_typed(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn poll_output(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(self.most)];
        self.output.poll_when(cx, PollFlags::POLLOUT, |fd| Ok(nix::unistd::write(fd, bytes)?))
    }

    fn poll_shown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.shown.as_ref().map(Shown::waiting).filter(|bytes| !bytes.is_empty()) {
            let written = ready!(self.poll_output(cx, bytes))?;
            if let Some(shown) = &mut self.shown {
                shown.written += written;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Side for Stdio {}

impl AsyncRead for Stdio {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let space = buffer.initialize_unfilled();
        let read = self.input.poll_when(cx, PollFlags::POLLIN, |fd| Ok(nix::unistd::read(fd, space)?));
        Poll::Ready(ready!(read).map(|read| buffer.advance(read)))
    }
}

impl AsyncWrite for Stdio {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(shown) = &mut self.shown else { return self.poll_output(cx, bytes) };
        // Asked again with the same bytes until all that is shown of them is written.
        if shown.waiting().is_empty() && shown.taken == 0 {
            shown.take(bytes);
        }
        let written = ready!(self.poll_shown(cx));
        let taken = self.shown.as_mut().map_or(0, |shown| std::mem::take(&mut shown.taken));
        Poll::Ready(written.map(|()| taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(shown) = &mut self.shown {
            shown.take_rest();
        }
        self.poll_shown(cx)
    }
}

/// One of the two descriptors.
enum Descriptor {
    /// A pipe, a terminal, a socket: it may have to be waited for.
    Watched(AsyncFd<OwnedFd>),
    /// A file or the null device, which never keeps anybody waiting and cannot be watched (epoll_ctl(2), `EPERM`).
    File(OwnedFd),
}

impl Descriptor {
    fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        match watch(fd, interest) {
            Ok(watched) => Ok(Self::Watched(watched)),
            Err((fd, error)) if error.raw_os_error() == Some(Errno::EPERM as i32) => Ok(Self::File(fd)),
            Err((_, error)) => Err(error),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Watched(watched) => watched.get_ref().as_fd(),
            Self::File(fd) => fd.as_fd(),
        }
    }

    /// Makes a call when it will not block. The kernel is asked each time: the descriptor may be a blocking one, which
    /// others have open too, so that what the runtime has heard of it is not enough.
    fn poll_when<T>(
        &self,
        cx: &mut Context<'_>,
        what: PollFlags,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if self.is_ready(what) {
                match call(self.fd()) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            }
            let Self::Watched(watched) = self else { continue };
            let ready = match what {
                PollFlags::POLLIN => watched.poll_read_ready(cx),
                _ => watched.poll_write_ready(cx),
            };
            ready!(ready)?.clear_ready();
        }
    }

    fn is_ready(&self, what: PollFlags) -> bool {
        let Self::Watched(watched) = self else { return true };
        let mut fds = [PollFd::new(watched.get_ref().as_fd(), what)];
        // An end and an error are told by the call.
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

/// Bytes on their way to a terminal, which gets nothing that it obeys.
#[derive(Default)]
struct Shown {
    bytes: Vec<u8>,
    written: usize,
    /// How many bytes of what was to be written they stand for.
    taken: usize,
    /// The beginning of a letter whose rest has not come yet.
    rest: Vec<u8>,
}

impl Shown {
    fn waiting(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() - unfinished(&self.rest);
        self.show(whole);
        self.taken = bytes.len();
    }

    fn take_rest(&mut self) {
        if self.waiting().is_empty() {
            self.show(self.rest.len());
        }
    }

    fn show(&mut self, length: usize) {
        self.bytes.clear();
        self.written = 0;
        escaped(&self.rest[..length], &mut self.bytes);
        self.rest.drain(..length);
    }
}

/// How many bytes at the end may belong to a letter, or an end of line, whose rest is still to come.
fn unfinished(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\r") {
        return 1;
    }
    match bytes.utf8_chunks().last() {
        Some(last) if std::str::from_utf8(last.invalid()).is_err_and(|error| error.error_len().is_none()) => {
            last.invalid().len()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_may_come_in_two_parts() {
        let table: [(&[&[u8]], &str); 5] = [
            (&[b"caf\xc3", b"\xa9\n"], "caf\u{e9}\n"),
            (&[b"\xe2", b"\x80", b"\xae"], "\\u{202e}"),
            (&[b"one\r", b"\ntwo"], "one\ntwo"),
            (&[b"\x1b", b"[2J\r"], "\\x1b[2J\\x0d"),
            (&[b"\xff", b"\xc3"], "\\xff\\xc3"),
        ];
        for (parts, expected) in table {
            let (mut shown, mut all) = (Shown::default(), Vec::new());
            for part in parts {
                shown.take(part);
                all.extend_from_slice(shown.waiting());
                shown.written = shown.bytes.len();
            }
            shown.take_rest();
            all.extend_from_slice(shown.waiting());
            assert_eq!(String::from_utf8_lossy(&all), expected);
        }
    }
}
