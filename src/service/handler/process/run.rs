//! The handler that runs a program for each message: the message is its input, its output the answer, its exit status the
//! verdict.
//!
//! Apart from [`Exec`](super::Exec), which gives a program the connection itself: this one never sees a socket.

use std::borrow::Cow;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::sync::Semaphore;

use super::child::{End, Process, TooMuch};
use super::environment::{self, Carrier};
use super::errors::{Diagnostics, MAX_LINES};
use super::{Command, ProcessLimits};
use crate::net::plain;
use crate::service::handler::{BoxFuture, Handler};
use crate::service::{Messages, Outcome, Outcomes, Peer};
use crate::wire::Framing;
use crate::wire::assured::SessionId;

/// The exit status that refuses a message for good (sysexits.h, `EX_DATAERR`).
const REFUSED: i32 = 65;

/// The exit status that asks for another try (sysexits.h, `EX_TEMPFAIL`).
const NOT_NOW: i32 = 75;

/// How many characters of a reason a client is told.
const MAX_REASON: usize = 200;

/// Runs a program for each message.
///
/// The message is on its standard input: a line with its newline, as programs read lines; all else byte for byte, without a
/// delimiter. What it writes to standard output is the answer; if that is nothing, the server's usual acknowledgement is. It decides by its exit status: 0 is done, 65 refuses the message for good, 75
/// asks the client to try again. Any other status, a signal, too long a time or too much output are failures: the message
/// may be tried again, too. For 65 and 75 the client is told the last line of its standard error, else only how it ended.
#[derive(Debug)]
pub struct Run {
    command: Command,
    limits: ProcessLimits,
    places: Semaphore,
    /// Whether it was said that an answer of several lines becomes one.
    told: AtomicBool,
}

impl Run {
    /// A handler that runs `command`, within `limits`.
    pub fn new(command: Command, limits: ProcessLimits) -> Self {
        Self { command, limits, places: limits.places(), told: AtomicBool::new(false) }
    }

    async fn run(&self, message: &[u8], which: Which<'_>, peer: &Peer, framing: Option<Framing>) -> Outcome {
        // Nobody closes the places.
        let _place = self.places.acquire().await;
        let mut command = self.command.build();
        let carrier = if framing.is_some() { Carrier::Stream } else { Carrier::Packets };
        let Which { session, number, tries } = which;
        command.envs(environment::of_peer(peer, carrier));
        command.envs(environment::of_message(session, number, message.len(), tries));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = match Process::start(&mut command) {
            Ok(process) => process,
            Err(error) => {
                tracing::warn!("{peer}: {}: could not be started: {}", self.command, plain(&error));
                return Outcome::Retry("the program could not be started".to_owned());
            }
        };
        let child = process.child();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut output, mut errors) = (Vec::new(), Diagnostics::new(peer, &self.command, Some(MAX_LINES)));
        let input = input(message, framing);
        let streams = async {
            let others = async {
                tokio::join!(feed(stdin, &input), errors.read(stderr));
                Ok(())
            };
            tokio::try_join!(others, collect(stdout, self.limits.output, &mut output)).map(drop)
        };
        let end = process.finish_within(self.limits.timeout, streams).await;
        let said = errors.finish();
        if let Some(outcome) = failure(&end, said) {
            if !is_deliberate(&end) {
                tracing::warn!("{peer}: {}: {end}", self.command);
            }
            return outcome;
        }
        self.answer(output, framing)
    }

    fn answer(&self, mut output: Vec<u8>, framing: Option<Framing>) -> Outcome {
        if output.is_empty() {
            return Outcome::Done;
        }
        if joined(&mut output, framing) && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("{}: an answer of several lines is sent as one, with spaces between", self.command);
            tracing::warn!("with --framing nul or length it is sent as it is, for the client too");
        }
        Outcome::Reply(Bytes::from(output))
    }
}

/// Which message a program is run for.
#[derive(Clone, Copy)]
struct Which<'a> {
    session: Option<&'a SessionId>,
    number: u64,
    /// How often it has been given to a program, this time included.
    tries: u32,
}

impl Handler for Run {
    fn handle<'a>(&'a self, messages: Messages<'a>, peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut tries = messages.tried() + 1;
            for (number, message) in messages.numbered() {
                let which = Which { session: messages.session(), number, tries: std::mem::replace(&mut tries, 1) };
                let outcome = self.run(message, which, peer, messages.framing()).await;
                let put_off = matches!(outcome, Outcome::Retry(_));
                outcomes.push(outcome);
                if put_off {
                    return;
                }
            }
        })
    }

    fn takes_long(&self) -> bool {
        true
    }
}

/// A message as a program reads it. A line has its newline: `read` of the shell and its like take what has none for the end.
fn input(message: &[u8], framing: Option<Framing>) -> Cow<'_, [u8]> {
    match framing {
        Some(Framing::Line) => [message, b"\n"].concat().into(),
        _ => message.into(),
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

/// Makes an output one record of the framing: the delimiter at its end goes, one within becomes a space. Says whether there
/// was one within.
///
/// A client counts one answer for each message. Refusing what is more than one record would tell it that a message was not
/// taken which was.
fn joined(output: &mut Vec<u8>, framing: Option<Framing>) -> bool {
    let delimiter = match framing {
        Some(Framing::Line) => b'\n',
        Some(Framing::Nul) => 0,
        _ => return false,
    };
    output.pop_if(|last| *last == delimiter);
    let mut within = false;
    for byte in output.iter_mut().filter(|byte| **byte == delimiter) {
        *byte = b' ';
        within = true;
    }
    within
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

    #[test]
    fn an_answer_is_one_record() {
        type Row<'a> = (Option<Framing>, &'a str, &'a str, bool);
        let table: [Row<'_>; 9] = [
            (Some(Framing::Line), "one\n", "one", false),
            (Some(Framing::Line), "one", "one", false),
            (Some(Framing::Line), "\n", "", false),
            (Some(Framing::Line), "one\ntwo\n\n", "one two ", true),
            (Some(Framing::Nul), "one\ntwo\n", "one\ntwo\n", false),
            (Some(Framing::Nul), "one\0two\0", "one two", true),
            (Some(Framing::Length), "one\n", "one\n", false),
            (Some(Framing::Whole), "one\ntwo\n", "one\ntwo\n", false),
            (None, "one\n", "one\n", false),
        ];
        for (framing, output, record, several) in table {
            let mut output = output.as_bytes().to_vec();
            assert_eq!(joined(&mut output, framing), several, "{framing:?}");
            assert_eq!(String::from_utf8_lossy(&output), record, "{framing:?}");
        }
    }
}
