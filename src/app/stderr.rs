//! Standard error, which never holds up what the program is for: lines that nobody takes are counted and left out.
//!
//! Apart from what is said there: a log shipper that hangs, or a pager that is not scrolled, must not stop a server, nor may a client
//! fill a disk with what is said of it.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

use super::screen::{WRITABLE, is_writable};

/// How long a reader that does not read is waited for, once: until it reads again it is not.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many lines of the log may come at once, and how many more each second, unless `-v` asks for them.
const LINES_AT_ONCE: u32 = 200;
const LINES_A_SECOND: u32 = 50;

static STATE: Mutex<State> =
    Mutex::new(State { left_out: 0, is_stuck: false, lines: LINES_AT_ONCE, since: None, is_limited: false });

struct State {
    /// Lines that were not written since the last one that was.
    left_out: u64,
    is_stuck: bool,
    /// How many lines of the log may still come.
    lines: u32,
    since: Option<Instant>,
    is_limited: bool,
}

/// Limits how fast lines of the log may come.
pub(super) fn limit_log() {
    lock().is_limited = true;
}

/// Writes a line that a person is to read.
pub(super) fn say(line: &str) {
    lock().write(line.as_bytes());
}

/// Takes lines of the log: one in each write.
#[derive(Debug)]
pub(super) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = lock();
        if state.has_room(Instant::now()) {
            state.write(line);
        } else {
            state.left_out += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    /// Whether another line may come now.
    fn has_room(&mut self, now: Instant) -> bool {
        if !self.is_limited {
            return true;
        }
        let since = *self.since.get_or_insert(now);
        let more = now.saturating_duration_since(since).as_secs();
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX).saturating_mul(LINES_A_SECOND);
            self.lines = self.lines.saturating_add(more).min(LINES_AT_ONCE);
            self.since = Some(now);
        }
        let has_room = self.lines > 0;
        self.lines = self.lines.saturating_sub(1);
        has_room
    }

    fn write(&mut self, line: &[u8]) {
        if !self.waits_for_reader() {
            self.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            put(format!("({left_out} lines were left out here)\n").as_bytes());
        }
        if !put(line) {
            self.left_out = 1;
        }
    }

    fn waits_for_reader(&mut self) -> bool {
        let patience = if self.is_stuck { Duration::ZERO } else { PATIENCE };
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        self.is_stuck = !is_writable(io::stderr().as_fd(), timeout);
        !self.is_stuck
    }
}

/// Writes for as long as somebody reads; says whether all was written.
fn put(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // So much is taken without waiting by a pipe that says it takes something.
        let part = &bytes[..bytes.len().min(WRITABLE)];
        if !is_writable(io::stderr().as_fd(), PollTimeout::ZERO) && !io::stderr().is_terminal() {
            return false;
        }
        // If standard error is closed there is nowhere left to say so.
        if io::stderr().write_all(part).is_err() {
            return false;
        }
        bytes = &bytes[part.len()..];
    }
    true
}

fn lock() -> std::sync::MutexGuard<'static, State> {
    // Nothing in here panics halfway.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_comes_to_an_end() {
        let mut state = State { left_out: 0, is_stuck: false, lines: LINES_AT_ONCE, since: None, is_limited: true };
        let start = Instant::now();
        let lines = (0..10 * LINES_AT_ONCE).filter(|_| state.has_room(start)).count();
        assert_eq!(lines, LINES_AT_ONCE as usize);
        let later = start + Duration::from_secs(1);
        let lines = (0..10 * LINES_AT_ONCE).filter(|_| state.has_room(later)).count();
        assert_eq!(lines, LINES_A_SECOND as usize);
        state.is_limited = false;
        assert!(state.has_room(later));
    }
}
