//! The handler that runs a program for each message: the message is its input, its output the answer, its exit status the
//! verdict.
//!
//! Apart from [`Exec`](super::Exec), which gives a program the connection itself: this one never sees a socket.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::environment::{self, Carrier};
use super::program::Program;
use super::{Command, ProcessLimits};
use crate::service::handler::{BoxFuture, Handler};
use crate::service::{Messages, Outcome, Outcomes, Peer};
use crate::wire::Framing;
use crate::wire::assured::SessionId;

/// Runs a program for each message.
///
/// The message is on its standard input: a line with its newline, as programs read lines; all else byte for byte, without a
/// delimiter. What it writes to standard output is the answer; if that is nothing, the server's usual acknowledgement is. It decides by its exit status: 0 is done, 65 refuses the message for good, 75
/// asks the client to try again. Any other status, a signal, too long a time or too much output are failures: the message
/// may be tried again, too. For 65 and 75 the client is told the last line of its standard error, else only how it ended.
#[derive(Debug)]
pub struct Run {
    program: Program,
    /// Whether it was said that an answer of several lines becomes one.
    told: AtomicBool,
}

impl Run {
    /// A handler that runs `command`, within `limits`.
    pub fn new(command: Command, limits: ProcessLimits) -> Self {
        Self { program: Program::new(command, limits), told: AtomicBool::new(false) }
    }

    async fn run(&self, message: &[u8], which: Which<'_>, peer: &Peer, framing: Option<Framing>) -> Outcome {
        let carrier = if framing.is_some() { Carrier::Stream } else { Carrier::Packets };
        let Which { session, number, tries } = which;
        let of_message = environment::of_message(session, number, message.len(), tries);
        let of_message = of_message.map(|(name, value)| (name.to_owned(), value.into()));
        let variables = environment::of_peer(peer, carrier).into_iter().chain(of_message);
        match self.program.run(&input(message, framing), variables, peer).await {
            Ok(output) => self.answer(output, framing),
            Err(outcome) => outcome,
        }
    }

    fn answer(&self, mut output: Vec<u8>, framing: Option<Framing>) -> Outcome {
        if output.is_empty() {
            return Outcome::Done;
        }
        if joined(&mut output, framing) && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("{}: an answer of several lines is sent as one, with spaces between", self.program.command);
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
    use super::*;

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
