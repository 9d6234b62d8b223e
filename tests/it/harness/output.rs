//! What a running program has printed so far, and waiting for more of it.
//!
//! Apart, because pipes, terminals and the end of the process all report into this one place: whoever waits, waits
//! here, wakes when something happened, and can say on failure everything that was seen.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before the test fails. Never reached by a test that passes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// One of the two things a program prints to; a terminal is read as standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// How many readers have not seen the end of their stream.
    pub(crate) open: usize,
    pub(crate) exited: bool,
}

impl State {
    pub(crate) fn text(&self, stream: Stream) -> String {
        let bytes = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        // A terminal turns every newline into two characters; nobody wants to write that down in a test.
        String::from_utf8_lossy(bytes).replace("\r\n", "\n")
    }

    /// True once nothing more can come.
    pub(crate) fn is_over(&self) -> bool {
        self.exited && self.open == 0
    }
}

/// Shared by the threads that read and the test that waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output(Arc<(Mutex<State>, Condvar)>);

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state as it is now.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    /// Waits until `find` finds something; `None` when the deadline has passed or nothing more can come.
    pub(crate) fn wait<T>(&self, find: impl FnMut(&State) -> Option<T>) -> Option<T> {
        self.wait_within(DEADLINE, find)
    }

    /// The same with a deadline of its own.
    pub(crate) fn wait_within<T>(&self, time: Duration, mut find: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let end = Instant::now() + time;
        let mut state = self.lock();
        loop {
            if let Some(found) = find(&state) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.is_over() {
                return None;
            }
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Reads `source` to its end in a thread of its own.
    pub(crate) fn collect(&self, stream: Stream, mut source: impl Read + Send + 'static) {
        self.change(|state| state.open += 1);
        let output = self.clone();
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                match source.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => output.change(|state| match stream {
                        Stream::Stdout => state.stdout.extend_from_slice(&buffer[..count]),
                        Stream::Stderr => state.stderr.extend_from_slice(&buffer[..count]),
                    }),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // A terminal nobody has open any more says EIO: that is its end of file.
                    Err(_) => break,
                }
            }
            output.change(|state| state.open -= 1);
        });
    }

    /// Notes that the process has ended.
    pub(crate) fn exited(&self) {
        self.change(|state| state.exited = true);
    }

    /// Everything seen so far, for the message of a failing test.
    pub(crate) fn report(&self) -> String {
        self.look(|state| {
            let ended = if state.exited { "it has ended" } else { "it is running" };
            let (stdout, stderr) = (state.text(Stream::Stdout), state.text(Stream::Stderr));
            format!("{ended}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
        })
    }
}
