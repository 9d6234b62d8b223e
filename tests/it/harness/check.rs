//! How a program ended, and the judgements that many tests share.
//!
//! Apart, so that the rules for errors (one clear line, nothing on standard output) are written down once.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

/// A program that has ended, with all it printed. At a terminal, `stdout` is what the terminal showed.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    pub(crate) command: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Everything about it, for the message of a failing test.
    pub(crate) fn report(&self) -> String {
        let Finished { command, status, stdout, stderr } = self;
        format!("{command}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

/// Fails unless it ended with this exit status.
#[track_caller]
pub(crate) fn expect_status(finished: &Finished, status: i32) {
    assert_eq!(finished.status.code(), Some(status), "exit status of {}", finished.report());
}

/// Fails unless all was done.
#[track_caller]
pub(crate) fn expect_success(finished: &Finished) {
    expect_status(finished, 0);
}

/// Fails unless the shell would see that this signal ended it.
#[track_caller]
pub(crate) fn expect_signal(finished: &Finished, signal: Signal) {
    assert_eq!(finished.status.signal(), Some(signal as i32), "not ended by {signal}: {}", finished.report());
}

/// Fails unless it ended with this exit status, nothing on standard output, and one clear line on standard error in
/// which each of `words` appears (in any case).
#[track_caller]
pub(crate) fn expect_error(finished: &Finished, status: i32, words: &[&str]) {
    expect_status(finished, status);
    assert_eq!(finished.stdout, "", "an error belongs on standard error alone: {}", finished.report());
    expect_one_clear_line(finished);
    let said = finished.stderr.to_lowercase();
    for word in words {
        assert!(said.contains(&word.to_lowercase()), "{word:?} is not mentioned by {}", finished.report());
    }
}

/// Fails unless standard error is one line for a person, with at most one more that says what to do. The line that a
/// server listens is no part of it.
#[track_caller]
pub(crate) fn expect_one_clear_line(finished: &Finished) {
    let said = |line: &&str| !line.trim().is_empty() && !line.contains("listening on ");
    let lines: Vec<&str> = finished.stderr.lines().filter(said).collect();
    assert!(matches!(lines.len(), 1 | 2), "not one clear line (and at most a hint): {}", finished.report());
    // Neither a panic, nor a value as only its programmer would print it.
    for noise in ["panicked at", "RUST_BACKTRACE", "Os {", "Err(", "Error {", "Some(", "Kind(", "\u{1b}["] {
        assert!(!finished.stderr.contains(noise), "{noise:?} is not for people: {}", finished.report());
    }
}
