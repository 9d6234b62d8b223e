//! `Process`: a program that runs, in a process group of its own, until it has ended or is ended.
//!
//! Apart from what it is for: whatever happens to the one who has started it, it and what it has started do not stay behind.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a process that was asked to end (SIGTERM) may take before it is killed.
const KILL_AFTER: Duration = Duration::from_secs(5);

/// How often it is looked whether what a process had started has ended, too.
const LOOK: Duration = Duration::from_millis(20);

/// How long the output of a process that has ended may still be held open by something that it has started.
const OUTPUT_AFTER_END: Duration = Duration::from_millis(500);

/// A running process. When it is dropped before its end it is killed, with all of its group.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Pid,
    ended: bool,
}

/// How a process came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// By itself, or by somebody else's signal.
    Itself(ExitStatus),
    /// It took longer than this.
    Late(Duration),
    /// It has written more than this.
    TooMuch(usize),
    /// The kernel does not tell.
    Unknown(io::Error),
}

/// More bytes than there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooMuch(pub(super) usize);

impl Process {
    /// Starts a program as the first of a new process group.
    ///
    /// # Errors
    /// As fork(2) and execve(2) have them.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = id.map(Pid::from_raw).ok_or_else(|| io::Error::other("the process has no number"))?;
        Ok(Self { child, group, ended: false })
    }

    /// The process, for its standard streams.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Moves what is on its standard `streams` until both these and the process have ended. What it has started and left
    /// behind may hold the streams open, but not for long.
    pub(super) async fn finish(&mut self, streams: impl Future<Output = Result<(), TooMuch>>) -> End {
        let mut streams = pin!(streams);
        let ended = tokio::select! {
            moved = &mut streams => match moved {
                Ok(()) => self.wait().await,
                Err(TooMuch(limit)) => return End::TooMuch(limit),
            },
            status = self.wait() => match timeout(OUTPUT_AFTER_END, streams).await {
                Ok(Err(TooMuch(limit))) => return End::TooMuch(limit),
                _ => status,
            },
        };
        ended.map_or_else(End::Unknown, End::Itself)
    }

    /// [`Process::finish`] within a time; else ends it, as also if it writes too much.
    pub(super) async fn finish_within(
        &mut self,
        limit: Option<Duration>,
        streams: impl Future<Output = Result<(), TooMuch>>,
    ) -> End {
        let end = match limit {
            None => self.finish(streams).await,
            Some(limit) => timeout(limit, self.finish(streams)).await.unwrap_or(End::Late(limit)),
        };
        if !matches!(end, End::Itself(_)) {
            self.end().await;
        }
        end
    }

    /// Ends it and all of its group: asks first, and kills what has not ended after [`KILL_AFTER`].
    pub(super) async fn end(&mut self) {
        if self.ended {
            return;
        }
        self.signal(Signal::SIGTERM);
        let gone = async {
            let _ = self.child.wait().await;
            // What it has started may take longer.
            while killpg(self.group, None).is_ok() {
                sleep(LOOK).await;
            }
        };
        if timeout(KILL_AFTER, gone).await.is_err() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait().await;
        }
        self.ended = true;
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        // Its number may be another's from now on.
        self.ended = true;
        status
    }

    fn signal(&self, signal: Signal) {
        // They may all have gone by now.
        let _ = killpg(self.group, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::SIGKILL);
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself(status) => match (status.code(), status.signal().map(Signal::try_from)) {
                (Some(code), _) => write!(f, "exit status {code}"),
                (_, Some(Ok(signal))) => write!(f, "ended by {signal}"),
                _ => write!(f, "{status}"),
            },
            Self::Late(limit) => write!(f, "took longer than {limit:?} and was ended"),
            Self::TooMuch(limit) => write!(f, "wrote more than {limit} bytes and was ended"),
            Self::Unknown(error) => write!(f, "its end is not known: {}", crate::net::plain(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        for (raw, words) in [(0, "exit status 0"), (65 << 8, "exit status 65"), (9, "ended by SIGKILL")] {
            assert_eq!(End::Itself(ExitStatus::from_raw(raw)).to_string(), words);
        }
        assert_eq!(End::Late(Duration::from_secs(60)).to_string(), "took longer than 60s and was ended");
    }
}
