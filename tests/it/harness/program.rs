//! A program that runs: talking to it, waiting for what it says, and its end.
//!
//! Apart from the launch, because this part owns the process: whatever happens in the test, it is gone afterwards.

use std::fs::File;
use std::io::Write;
use std::process::{Child, ChildStdin};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::check::Finished;
use super::output::{DEADLINE, Output, Stream};

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    line: String,
    child: Child,
    stdin: Option<ChildStdin>,
    screen: Option<File>,
    output: Output,
    watcher: Option<JoinHandle<()>>,
}

impl Program {
    pub(super) fn new(line: String, mut child: Child, output: Output, screen: Option<File>) -> Program {
        let (pid, ended) = (Pid::from_raw(child.id().cast_signed()), output.clone());
        let watcher = thread::spawn(move || {
            // The process stays a zombie, so that its number is nobody else's until the owner has seen the status.
            while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(nix::errno::Errno::EINTR) {}
            ended.exited();
        });
        let stdin = child.stdin.take();
        Program { line, child, stdin, screen, output, watcher: Some(watcher) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input: the terminal if that is one. A program that no longer reads is not a failure.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let result = match (&mut self.stdin, &mut self.screen) {
            (Some(stdin), _) => stdin.write_all(bytes).and_then(|()| stdin.flush()),
            (None, Some(screen)) => screen.write_all(bytes),
            (None, None) => panic!("the standard input of {} is closed", self.line),
        };
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(error) => panic!("write to {}: {error}", self.line),
        }
    }

    /// Types a line at its terminal, with the key a keyboard has for it.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.send(format!("{line}\r"));
    }

    /// Ends its standard input: closes the pipe, or types Control-D at the terminal.
    pub(crate) fn close_stdin(&mut self) {
        if self.stdin.take().is_none() && self.screen.is_some() {
            self.send("\x04");
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).unwrap_or_else(|error| panic!("send {signal} to {}: {error}", self.line));
    }

    /// Waits for a line on standard error that contains `text`, and returns the whole line.
    pub(crate) fn wait_for_stderr(&self, text: &str) -> String {
        self.wait_for_line(Stream::Stderr, text)
    }

    /// Waits for a line on standard output that contains `text`, and returns the whole line.
    pub(crate) fn wait_for_stdout(&self, text: &str) -> String {
        self.wait_for_line(Stream::Stdout, text)
    }

    /// Waits until `text`, which may be part of a line or several, has appeared on its terminal or standard output.
    pub(crate) fn wait_for_screen(&self, text: &str) {
        let found = self.output.wait(|state| state.text(Stream::Stdout).contains(text).then_some(()));
        found.unwrap_or_else(|| self.fail(&format!("never showed {text:?}")));
    }

    /// Waits until `text` has appeared this many times on its terminal or standard output.
    pub(crate) fn wait_for_count(&self, text: &str, count: usize) {
        let found = self.output.wait(|state| (state.text(Stream::Stdout).matches(text).count() >= count).then_some(()));
        found.unwrap_or_else(|| self.fail(&format!("never showed {text:?} {count} times")));
    }

    /// Waits until `text` has appeared on its standard output, or it has ended: false then.
    pub(crate) fn shows(&self, text: &str, time: Duration) -> bool {
        let found = self.output.wait_within(time, |state| match state.text(Stream::Stdout).contains(text) {
            true => Some(true),
            false => state.is_over().then_some(false),
        });
        found.unwrap_or_else(|| self.fail(&format!("never showed {text:?}")))
    }

    /// Waits until it listens, or has ended: false then.
    pub(crate) fn listens(&self) -> bool {
        self.says("listening on ")
    }

    /// Waits until `text` has appeared on its standard error, or it has ended: false then.
    pub(crate) fn says(&self, text: &str) -> bool {
        let found = self.output.wait(|state| match state.text(Stream::Stderr).contains(text) {
            true => Some(true),
            false => state.is_over().then_some(false),
        });
        found.unwrap_or_else(|| self.fail(&format!("neither says {text:?} nor ends")))
    }

    /// What its terminal shows, or what is on its standard output so far.
    pub(crate) fn screen(&self) -> String {
        self.output.look(|state| state.text(Stream::Stdout))
    }

    /// What is on its standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.output.look(|state| state.text(Stream::Stderr))
    }

    /// Waits until it listens and returns the address it says, such as `tcp:[::]:51717`.
    pub(crate) fn listening(&self) -> String {
        const BANNER: &str = "listening on ";
        let line = if self.screen.is_some() && self.stderr().is_empty() {
            self.either_line(BANNER)
        } else {
            self.wait_for_stderr(BANNER)
        };
        let (_, rest) = line.split_once(BANNER).expect("the line was found by these words");
        rest.split_whitespace().next().unwrap_or_else(|| self.fail("listens on nothing")).to_owned()
    }

    /// Waits until it listens and returns the port.
    pub(crate) fn port(&self) -> String {
        let address = self.listening();
        let port = address.rsplit(':').next().unwrap_or(&address);
        assert!(port.parse::<u16>().is_ok(), "no port in {address:?}");
        port.to_owned()
    }

    /// Waits for its end. A program that does not end is killed, and the test fails with all it has printed.
    pub(crate) fn wait(self) -> Finished {
        self.wait_within(DEADLINE)
    }

    /// The same with a deadline of its own, for one that is to run for long.
    pub(crate) fn wait_within(mut self, time: Duration) -> Finished {
        if self.output.wait_within(time, |state| state.exited.then_some(())).is_none() {
            self.fail::<()>(&format!("did not end within {time:?}"));
        }
        self.stdin = None;
        if self.output.wait(|state| state.is_over().then_some(())).is_none() {
            self.fail::<()>("has ended, yet something it started still has its output open");
        }
        let status = self.child.wait().unwrap_or_else(|error| panic!("wait for {}: {error}", self.line));
        self.output.look(|state| Finished {
            command: self.line.clone(),
            status,
            stdout: state.text(Stream::Stdout),
            stderr: state.text(Stream::Stderr),
        })
    }

    /// Waits until it has ended, while something it started may still hold its output open.
    pub(crate) fn wait_for_exit(&self) {
        if self.output.wait(|state| state.exited.then_some(())).is_none() {
            self.fail::<()>(&format!("did not end within {DEADLINE:?}"));
        }
    }

    /// Closes its standard input and waits for its end.
    pub(crate) fn finish(mut self) -> Finished {
        self.close_stdin();
        self.wait()
    }

    fn wait_for_line(&self, stream: Stream, text: &str) -> String {
        let found = self.output.wait(|state| line_with(&state.text(stream), text));
        found.unwrap_or_else(|| self.fail(&format!("never wrote {text:?} on {stream:?}")))
    }

    fn either_line(&self, text: &str) -> String {
        let found = self.output.wait(|state| {
            line_with(&state.text(Stream::Stderr), text).or_else(|| line_with(&state.text(Stream::Stdout), text))
        });
        found.unwrap_or_else(|| self.fail(&format!("never wrote {text:?}")))
    }

    fn fail<T>(&self, what: &str) -> T {
        panic!("{} {what}; {}", self.line, self.output.report())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both are harmless when it has ended: the standard library knows whether it has seen the status.
        let _ = self.child.kill();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
        let _ = self.child.wait();
    }
}

/// The first complete line with `text` in it.
fn line_with(all: &str, text: &str) -> Option<String> {
    all.split_inclusive('\n').filter(|line| line.ends_with('\n')).find(|line| line.contains(text)).map(|line| {
        let line = line.trim_end_matches('\n');
        line.to_owned()
    })
}
