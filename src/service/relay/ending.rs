//! `Ending`: how a relay has ended, and what may be concluded about the bytes that went forth.
//!
//! Apart from the relay, which moves them: here is decided what was delivered, as far as bytes alone can tell.

use std::io;

use super::{End, Passed, Untaken};
use crate::service::error::{Error, Result, Why};

/// How a relay has ended.
#[derive(Debug)]
pub struct Ending {
    /// From the near side to the far side.
    pub forth: (Passed, End),
    /// From the far side to the near side.
    pub back: (Passed, End),
    /// What the far side had not taken in the end, where that is known.
    pub untaken: Option<Untaken>,
    /// Whether the far side could end at all.
    pub has_end: bool,
}

impl Ending {
    /// Whether all that the near side has brought was taken, and the far side has ended in order. "Taken" is what the
    /// kernel knows: that the other program has done something with it only an acknowledgement can tell.
    ///
    /// # Errors
    /// [`Error::Undelivered`].
    pub fn verdict(self) -> Result<()> {
        let Passed { read: sent, written } = self.forth.0;
        let left = sent - written;
        let untaken = match self.untaken {
            Some(Untaken::Bytes(queued)) => Some(left + queued),
            _ => (left > 0).then_some(left),
        };
        match self.why() {
            Some(why) => Err(Error::Undelivered { sent, untaken: untaken.filter(|untaken| *untaken > 0), why }),
            None => Ok(()),
        }
    }

    fn why(self) -> Option<Why> {
        let lost = |error: io::Error| match error.kind() {
            io::ErrorKind::BrokenPipe => Why::Closed,
            _ => Why::Lost(error),
        };
        match (self.forth.1, self.back.1) {
            (_, End::Unread(error)) | (End::Unwritten(error), _) => Some(lost(error)),
            // Of datagrams the silence is the end.
            _ if !self.has_end => None,
            (End::Late(time), _) => Some(Why::Stalled(time)),
            (_, End::Late(time)) => Some(Why::NoEnd(time)),
            (End::Left, _) => Some(Why::ClosedEarly),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_was_taken_is_delivered() {
        let reset = || io::Error::from_raw_os_error(libc::ECONNRESET);
        let closed = || io::Error::from_raw_os_error(libc::EPIPE);
        let late = Duration::from_secs(7);
        let table = [
            (End::Complete, End::Complete, 10, 0, true, ""),
            (
                End::Left,
                End::Complete,
                10,
                0,
                true,
                "10 bytes were sent, but the other side has closed the connection before the end of the input",
            ),
            (End::Complete, End::Late(late), 10, 0, false, ""),
            (End::Complete, End::Unwritten(closed()), 10, 0, true, ""),
            (
                End::Complete,
                End::Late(late),
                10,
                0,
                true,
                "10 bytes were sent, but the other side has not ended the connection within 7s",
            ),
            (End::Late(late), End::Late(late), 8, 5, true, "of 10 bytes 7 were not taken: nothing was taken for 7s"),
            (
                End::Lost,
                End::Unread(reset()),
                10,
                0,
                true,
                "10 bytes were sent, and not all of them may have been taken: connection reset by peer",
            ),
            (
                End::Unwritten(closed()),
                End::Complete,
                4,
                4,
                true,
                "of 10 bytes 10 were not taken: the other side has closed the connection",
            ),
        ];
        for (forth, back, written, queued, has_end, said) in table {
            let ending = Ending {
                forth: (Passed { read: 10, written }, forth),
                back: (Passed::default(), back),
                untaken: Some(Untaken::Bytes(queued)),
                has_end,
            };
            assert_eq!(ending.verdict().err().map(|error| error.to_string()).unwrap_or_default(), said);
        }
    }
}
