//! `Diagnostics`: what a program says on its standard error, as lines of the server's own log.
//!
//! Apart, because a client's words may be in it: the log is escaped where it reaches a terminal, and here it is kept from
//! growing without end.

use std::fmt;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::Command;

/// How many bytes of a line are told; the rest of it is dropped.
const MAX_LINE: usize = 1000;

/// How many lines are told of a program that answers one message.
pub(super) const MAX_LINES: usize = 100;

/// What is said on one standard error.
#[derive(Debug)]
pub(super) struct Diagnostics<'a> {
    /// Whose message it is about.
    who: String,
    command: &'a Command,
    /// How many more lines are told; `None` is all.
    left: Option<usize>,
    line: Vec<u8>,
    last: Option<String>,
}

impl<'a> Diagnostics<'a> {
    /// What `command` says that runs for somebody: at most so many lines of it.
    pub(super) fn new(who: &dyn fmt::Display, command: &'a Command, lines: Option<usize>) -> Self {
        Self { who: who.to_string(), command, left: lines, line: Vec::new(), last: None }
    }

    /// Tells each line as it comes, to the end.
    pub(super) async fn read(&mut self, errors: Option<impl AsyncRead + Unpin>) {
        let Some(mut errors) = errors else { return };
        let mut buffer = vec![0; 1024];
        // An error is as good as the end: there is nobody to tell.
        while let Ok(read @ 1..) = errors.read(&mut buffer).await {
            for piece in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
                let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                let room = MAX_LINE.saturating_sub(self.line.len());
                self.line.extend_from_slice(&text[..text.len().min(room)]);
                if text.len() < piece.len() {
                    self.tell();
                }
            }
        }
    }

    /// Tells what is left without its end, and gives the last line that was not empty.
    pub(super) fn finish(mut self) -> Option<String> {
        self.tell();
        self.last
    }

    fn tell(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
        if line.is_empty() {
            return;
        }
        match &mut self.left {
            Some(0) => {}
            Some(left) => {
                *left -= 1;
                tracing::warn!("{}: {}: {line}", self.who, self.command);
                if *left == 0 {
                    tracing::warn!("{}: {}: the rest is not shown", self.who, self.command);
                }
            }
            None => tracing::warn!("{}: {}: {line}", self.who, self.command),
        }
        self.last = Some(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Addr, UnixName};
    use crate::service::Peer;

    #[tokio::test]
    async fn lines_are_cut_and_the_last_is_kept() {
        let peer = Peer { addr: Addr::Unix(UnixName::Unnamed), local: None, credentials: None };
        let command = Command::split("cat").expect("a command");
        let long = "x".repeat(3 * MAX_LINE);
        for (text, last) in [
            ("one\ntwo\n\n", Some("two")),
            ("one\r\ntwo", Some("two")),
            (long.as_str(), Some(&long[..MAX_LINE])),
            ("\n", None),
            ("", None),
        ] {
            let mut diagnostics = Diagnostics::new(&peer, &command, Some(1));
            diagnostics.read(Some(text.as_bytes())).await;
            assert_eq!(diagnostics.finish().as_deref(), last);
        }
    }
}
