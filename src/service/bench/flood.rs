//! `Flood`: bytes as fast as a connection takes them, while what comes back is received.
//!
//! Apart from the parts that use it: pipelined messages and bulk differ in what they count, not in how they are sent. One
//! thread does both directions, so that a server whose answers are not read can never hold it up.

use std::io;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::link::{Link, RECEIVE};

/// How much is sent at once at the most, in bytes, as far as it is whole messages: enough to make the calls few, and little
/// enough to stay in the cache of a processor.
const SEND: usize = 128 * 1024;

/// How many bytes of messages may be unanswered: enough that a server never waits for more, and not so much that one which
/// relays to a command through pipes of 64 KiB stops for good, each waiting for the other to read (ncat does).
pub(super) const WINDOW: usize = 128 * 1024;

/// How long a server may be silent after the end of the bytes until nothing more is expected of it.
const QUIET: Duration = Duration::from_secs(1);

/// What is waited for after the last byte was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Aim {
    /// An answer for each message.
    Answers,
    /// The end of what the server sends, or its silence.
    TheEnd,
}

/// What was sent and received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flooded {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Answers among what was received, if they are the aim.
    pub(super) answers: u64,
    /// From the beginning until the last byte moved.
    pub(super) elapsed: Duration,
}

/// A connection that is sent a message over and over.
pub(super) struct Flood<'a> {
    link: &'a Link,
    aim: Aim,
    size: usize,
    /// The message many times.
    many: Vec<u8>,
    /// Where in it the next byte to be sent is.
    at: usize,
    is_sending: bool,
    start: Instant,
    pub(super) flooded: Flooded,
}

impl<'a> Flood<'a> {
    pub(super) fn new(link: &'a Link, message: &[u8], aim: Aim) -> Self {
        let many = message.repeat((SEND / message.len()).max(1));
        let (size, flooded) = (message.len(), Flooded::default());
        Self { link, aim, size, many, at: 0, is_sending: true, start: Instant::now(), flooded }
    }

    /// Sends for some time, then waits for what is still to come.
    ///
    /// # Errors
    /// The connection ended or was lost, or nothing could be sent or received for too long. What was done by then is in
    /// `flooded`.
    pub(super) fn run(&mut self, duration: Duration) -> io::Result<()> {
        let mut buffer = vec![0; RECEIVE];
        self.start = Instant::now();
        let end = self.start + duration;
        loop {
            let has_sent = self.is_sending && self.send(end)?;
            if !self.is_sending && self.aim == Aim::Answers && self.flooded.answers >= self.messages() {
                return Ok(());
            }
            match self.link.receive_now(&mut buffer)? {
                Some(0) if self.aim == Aim::TheEnd && !self.is_sending => return Ok(()),
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(count) => self.received(&buffer[..count]),
                None if has_sent => {}
                None if !self.wait()? => {
                    let is_over = self.aim == Aim::TheEnd && !self.is_sending;
                    return if is_over { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) };
                }
                None => {}
            }
        }
    }

    /// How many messages were sent, the last perhaps in part.
    pub(super) fn messages(&self) -> u64 {
        self.flooded.sent.div_ceil(self.size as u64)
    }

    /// Sends what there is room for, and says whether there was any.
    fn send(&mut self, end: Instant) -> io::Result<bool> {
        // When the time is up the last message is sent whole.
        let left = match Instant::now() < end {
            true if !self.has_room() => return Ok(false),
            true => (self.many.len() - self.at).min(self.room()),
            false => (self.size - self.at % self.size) % self.size,
        };
        if left == 0 {
            self.is_sending = false;
            if self.aim == Aim::TheEnd {
                self.link.end()?;
            }
            return Ok(true);
        }
        let Some(sent) = self.link.send_now(&self.many[self.at..self.at + left])? else { return Ok(false) };
        self.at = (self.at + sent) % self.many.len();
        self.flooded.sent += sent as u64;
        self.flooded.elapsed = self.start.elapsed();
        Ok(true)
    }

    /// How many bytes may be sent now.
    fn room(&self) -> usize {
        let answered = self.flooded.answers.saturating_mul(self.size as u64);
        let unanswered = usize::try_from(self.flooded.sent.saturating_sub(answered)).unwrap_or(usize::MAX);
        if self.aim == Aim::Answers { WINDOW.saturating_sub(unanswered) } else { usize::MAX }
    }

    /// Whether sending is worth a call: each is to be a large one.
    fn has_room(&self) -> bool {
        self.room() >= WINDOW / 2
    }

    fn received(&mut self, bytes: &[u8]) {
        self.flooded.received += bytes.len() as u64;
        if self.aim == Aim::Answers {
            self.flooded.answers += self.link.answers(bytes);
        }
        self.flooded.elapsed = self.start.elapsed();
    }

    /// Waits until something can be sent or received, and says whether that came in time.
    fn wait(&self) -> io::Result<bool> {
        match self.is_sending {
            true if self.has_room() => self.link.wait(PollFlags::POLLIN | PollFlags::POLLOUT, self.link.timeout()),
            true => self.link.wait(PollFlags::POLLIN, self.link.timeout()),
            false if self.aim == Aim::TheEnd => self.link.wait(PollFlags::POLLIN, QUIET),
            false => self.link.wait(PollFlags::POLLIN, self.link.timeout()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::Unit;
    use super::*;
    use crate::net::{Socket, Type};
    use crate::service::bench::SIZES;

    #[test]
    fn no_more_than_the_window_is_sent_without_an_answer() {
        let (ours, theirs) = Socket::pair(Type::STREAM).expect("a pair");
        let link = Link::new(ours, Unit::Line, Duration::from_millis(50));
        let message = link.message(100);
        let mut flood = Flood::new(&link, &message, Aim::Answers);
        let ended = flood.run(Duration::from_secs(10)).map_err(|error| error.kind());
        assert_eq!(ended, Err(io::ErrorKind::TimedOut), "nobody answers");
        let sent = flood.flooded.sent;
        assert!((WINDOW as u64 / 2..=WINDOW as u64).contains(&sent), "{sent}");
        drop(theirs);
    }

    #[test]
    fn one_answer_makes_room_for_another_of_the_longest_messages() {
        assert!(WINDOW - WINDOW / 2 >= *SIZES.end());
    }
}
