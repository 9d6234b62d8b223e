//! `Program`: a command that is run for one message at a time: its input, its environment, its verdict.
//!
//! Apart from [`Run`](super::Run), which answers a connection: what is run for stored messages is run in the same way, and answers nobody.

use std::ffi::OsStr;
use std::fmt;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::Semaphore;

use super::child::{End, Process, TooMuch};
use super::errors::{Diagnostics, MAX_LINES};
use super::{Command, ProcessLimits};
use crate::net::plain;
use crate::service::Outcome;

/// The exit status that refuses a message for good (sysexits.h, `EX_DATAERR`).
const REFUSED: i32 = 65;

/// The exit status that asks for another try (sysexits.h, `EX_TEMPFAIL`).
const NOT_NOW: i32 = 75;

/// How many characters of a reason are told.
const MAX_REASON: usize = 200;

/// A command that is run for messages, within limits.
#[derive(Debug)]
pub(in crate::service) struct Program {
    pub(super) command: Command,
    limits: ProcessLimits,
    places: Semaphore,
}

impl Program {
    pub(in crate::service) fn new(command: Command, limits: ProcessLimits) -> Self {
        Self { command, limits, places: limits.places() }
    }

    /// Runs it to its end with these variables beside those that every program gets: what it has written to its standard output, or what becomes of a message of
    /// which it has not said that it is done. What it says on its standard error is told as that of `who`.
    pub(in crate::service) async fn run(
        &self,
        input: &[u8],
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
        who: &(dyn fmt::Display + Sync),
    ) -> Result<Vec<u8>, Outcome> {
        // Nobody closes the places.
        let _place = self.places.acquire().await;
        let mut command = self.command.build();
        command.envs(variables);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = match Process::start(&mut command) {
            Ok(process) => process,
            Err(error) => {
                tracing::warn!("{who}: {}: could not be started: {}", self.command, plain(&error));
                return Err(Outcome::Retry("the program could not be started".to_owned()));
            }
        };
        let child = process.child();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut output, mut errors) = (Vec::new(), Diagnostics::new(who, &self.command, Some(MAX_LINES)));
        let streams = async {
            let others = async {
                tokio::join!(feed(stdin, input), errors.read(stderr));
                Ok(())
            };
            tokio::try_join!(others, collect(stdout, self.limits.output, &mut output)).map(drop)
        };
        let end = process.finish_within(self.limits.timeout, streams).await;
        let said = errors.finish();
        match failure(&end, said) {
            None => Ok(output),
            Some(outcome) => {
                if !is_deliberate(&end) {
                    tracing::warn!("{who}: {}: {end}", self.command);
                }
                Err(outcome)
            }
        }
    }
}

/// Gives a program its input.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        // One that does not want all of it has seen enough.
        let _ = stdin.write_all(input).await;
    }
}

/// Reads what a program answers to its end.
async fn collect(stdout: Option<impl AsyncRead + Unpin>, limit: usize, output: &mut Vec<u8>) -> Result<(), TooMuch> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    // What cannot be read any more has ended.
    while let Ok(1..) = stdout.read_buf(output).await {
        if limit > 0 && output.len() > limit {
            return Err(TooMuch(limit));
        }
    }
    Ok(())
}

/// What becomes of a message whose program has not said that it is done.
fn failure(end: &End, said: Option<String>) -> Option<Outcome> {
    let code = match end {
        End::Itself(status) => status.code(),
        _ => None,
    };
    let reason = || match said {
        Some(said) if is_deliberate(end) => said.chars().take(MAX_REASON).collect(),
        _ => end.to_string(),
    };
    match code {
        Some(0) => None,
        Some(REFUSED) => Some(Outcome::Refuse(reason())),
        _ => Some(Outcome::Retry(reason())),
    }
}

/// Whether a program has ended with a verdict. Only then are its words meant for the client: those of a failure may be about
/// what is none of the client's business.
fn is_deliberate(end: &End) -> bool {
    matches!(end, End::Itself(status) if matches!(status.code(), Some(REFUSED | NOT_NOW)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_exit_status_is_the_verdict() {
        let refuse = |reason: &str| Some(Outcome::Refuse(reason.to_owned()));
        let retry = |reason: &str| Some(Outcome::Retry(reason.to_owned()));
        let exit = |code: i32| End::Itself(ExitStatus::from_raw(code << 8));
        for (end, said, outcome) in [
            (exit(0), Some("a warning"), None),
            (exit(65), Some("no such article"), refuse("no such article")),
            (exit(65), None, refuse("exit status 65")),
            (exit(75), Some("full"), retry("full")),
            (exit(75), None, retry("exit status 75")),
            (exit(1), Some("password of db-7 is wrong"), retry("exit status 1")),
            (End::Itself(ExitStatus::from_raw(9)), Some("x"), retry("ended by SIGKILL")),
            (End::Late(Duration::from_secs(1)), None, retry("took longer than 1s and was ended")),
            (End::TooMuch(9), None, retry("wrote more than 9 bytes and was ended")),
        ] {
            assert_eq!(failure(&end, said.map(str::to_owned)), outcome, "{end}");
        }
    }
}
