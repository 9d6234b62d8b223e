//! `Link`: one connection to the server that is measured, and the little that is done with it: send, receive, wait.
//!
//! Apart from [`Stream`](crate::net::Stream), which is for tasks: a thread waits in the call here, so that as little as possible
//! of what is measured is our own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::time::TimeSpec;

use crate::net::{Domain, Socket, Type};
use crate::service::{Error, Result, Why};
use crate::wire::plain::Verdict;

/// How long a datagram may be under way before it counts as lost.
pub const LOST_AFTER: Duration = Duration::from_millis(200);

/// How much is received at once, in bytes.
pub(super) const RECEIVE: usize = 256 * 1024;

/// What a message and an answer are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unit {
    Line,
    Packet,
}

/// A connection whose calls wait, unless they are asked not to.
#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    pub(super) unit: Unit,
    timeout: Duration,
}

impl Link {
    pub(super) fn new(socket: Socket, unit: Unit, timeout: Duration) -> Self {
        Self { socket, unit, timeout }
    }

    /// How long an answer may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether what is sent may never arrive.
    pub(super) fn loses(&self) -> bool {
        self.socket.socket_type() == Type::DGRAM
    }

    /// Whether it leads to a socket of the Unix domain.
    pub(super) fn is_unix(&self) -> bool {
        self.socket.domain() == Domain::UNIX
    }

    /// Waits no longer for an answer than until it counts as lost, from now on.
    pub(super) fn expect_losses(&mut self) -> Result<()> {
        self.timeout = LOST_AFTER;
        Ok(self.socket.raw().set_read_timeout(Some(LOST_AFTER))?)
    }

    /// A message of so many bytes, a line with its newline.
    pub(super) fn message(&self, size: usize) -> Vec<u8> {
        let mut message: Vec<u8> = (b'a'..=b'z').cycle().take(size).collect();
        if let (Unit::Line, Some(last)) = (self.unit, message.last_mut()) {
            *last = b'\n';
        }
        message
    }

    /// Whether what was received last is the end of an answer.
    pub(super) fn ends_answer(&self, received: &[u8]) -> bool {
        self.unit == Unit::Packet || received.last() == Some(&b'\n')
    }

    /// How many answers end in what was received.
    pub(super) fn answers(&self, received: &[u8]) -> u64 {
        match self.unit {
            Unit::Packet => 1,
            Unit::Line => memchr::memchr_iter(b'\n', received).count() as u64,
        }
    }

    /// Sends a message whole.
    pub(super) fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match uninterrupted(|| send(self.socket.raw().as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what there is room for now.
    pub(super) fn send_now(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        unless_it_would_wait(uninterrupted(|| send(self.socket.raw().as_raw_fd(), bytes, flags)))
    }

    /// Receives what comes next; 0 bytes are the end.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| recv(self.socket.raw().as_raw_fd(), buffer, MsgFlags::empty()))
    }

    /// Receives what is there now.
    pub(super) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        unless_it_would_wait(uninterrupted(|| recv(self.socket.raw().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)))
    }

    /// Says that nothing more will be sent.
    pub(super) fn end(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// Waits until one of these can be done, and says whether that came in time.
    pub(super) fn wait(&self, flags: PollFlags, time: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.as_fd(), flags)];
        uninterrupted(|| ppoll(&mut fds, Some(TimeSpec::from_duration(time)), None)).map(|ready| ready > 0)
    }

    /// Sends a message and waits for its answer, which is left at the front of `buffer` if it fits; gives its length.
    ///
    /// # Errors
    /// As [`Link::failed`] has them, for the one message.
    pub(super) fn exchange(&self, message: &[u8], buffer: &mut [u8]) -> io::Result<usize> {
        self.send(message)?;
        let mut filled = 0;
        loop {
            let received = match self.receive(&mut buffer[filled..]) {
                Ok(0) if self.unit == Unit::Line => Err(io::ErrorKind::UnexpectedEof.into()),
                received => received,
            };
            let received = received.map_err(|error| if filled > 0 { unfinished(filled) } else { error })?;
            filled += received;
            if self.ends_answer(&buffer[..filled]) {
                return Ok(filled);
            }
            // Of an answer this long only the end counts.
            if filled == buffer.len() {
                filled = 0;
            }
        }
    }

    /// The first exchange of a connection, which nothing is measured of: it tells whether the server takes such messages.
    pub(super) fn greet(&self, message: &[u8], buffer: &mut [u8]) -> Result<()> {
        let length = match self.exchange(message, buffer) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                let reason = format!("{} bytes are too many for one packet", message.len());
                return Err(Error::Unsendable { number: 1, reason });
            }
            answered => answered.map_err(|error| self.failed(1, 0, error))?,
        };
        match Verdict::of(&buffer[..length]) {
            Verdict::Acknowledged => Ok(()),
            Verdict::Refused(reason) => Err(Error::Refused { number: 1, reason }),
            Verdict::NotNow(reason) => Err(unanswered(1, 0, Why::NotNow(reason))),
        }
    }

    /// What it means that a call has failed while some of the messages that were sent are not answered.
    pub(super) fn failed(&self, sent: u64, answered: u64, error: io::Error) -> Error {
        unanswered(
            sent,
            answered,
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Why::Timeout(self.timeout),
                io::ErrorKind::UnexpectedEof => Why::Closed,
                _ => Why::Lost(error),
            },
        )
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// That so many messages were not all answered, and why.
pub(super) fn unanswered(sent: u64, answered: u64, why: Why) -> Error {
    Error::Unacknowledged { sent, acknowledged: answered.min(sent), why }
}

/// That an answer has begun and not ended: what answers is no server of lines.
fn unfinished(length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes came, but no end of a line"))
}

/// Whether a call has failed because it took too long.
pub(super) fn is_late(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// How long it is until then; nothing if it was before.
pub(super) fn until(then: Instant) -> Duration {
    then.saturating_duration_since(Instant::now())
}

fn unless_it_would_wait(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if is_late(&error) => Ok(None),
        result => result.map(Some),
    }
}

/// Makes a call again that a signal has interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}
