//! A new session in the place of one that the server has lost.
//!
//! Apart from the journal, which knows one session: here what is left of one moves into another, whole or not at all.

use super::directory::{Directory, random_session};
use super::error::SpoolError;
use super::journal::Journal;
use super::letters::{Letter, Letters};
use super::reader::{Reader, View};
use super::{QUEUE_BYTES, SpoolConfig};
use crate::wire::assured::{Code, Run, SessionId};

/// What becomes of messages that are not final when a new session begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unsettled {
    /// They are sent in the new session, with the session and the number that they had as their origin.
    Resend,
    /// They become dead letters, for this reason.
    Skip(Code, String),
}

/// Begins a new session with what is not final in the old one, or without it.
pub(super) fn renew(
    directory: &mut Directory,
    old: &View,
    unsettled: &Unsettled,
    letters: &mut Letters,
) -> Result<(), SpoolError> {
    let session = random_session()?;
    if let Unsettled::Skip(code, reason) = unsettled {
        each_run(old, |run| {
            let letters_of = run.messages().map(|(number, body)| {
                let origin = run.origins.iter().find(|(of, ..)| *of == number);
                let origin = origin.map(|(_, session, there)| format!("{session}:{there}"));
                Letter::new(&old.session, number, *code, reason, origin, body)
            });
            letters.add(&old.session, letters_of)
        })?;
        return directory.begin(session, Journal::make);
    }
    directory.begin(session.clone(), |path| {
        Journal::make(path)?;
        let config = SpoolConfig { max_bytes: None, ..SpoolConfig::default() };
        let mut journal = Journal::open(path.to_owned(), session, config)?;
        each_run(old, |mut run| {
            with_origins(&mut run, &old.session);
            journal.stage(&run)?;
            journal.commit()
        })
    })
}

/// Gives every message an origin: the one that it has, or its number in this session.
pub(super) fn with_origins(run: &mut Run, session: &SessionId) {
    let mut known = std::mem::take(&mut run.origins).into_iter().peekable();
    for number in run.first..run.next() {
        let origin = known.next_if(|(of, ..)| *of == number);
        run.origins.push(origin.unwrap_or_else(|| (number, session.clone(), number)));
    }
}

/// Reads all that is not final.
fn each_run(view: &View, mut take: impl FnMut(Run) -> Result<(), SpoolError>) -> Result<(), SpoolError> {
    let (mut reader, mut next) = (Reader::default(), view.settled + 1);
    while next < view.next {
        let run = reader.read(view, next, usize::MAX, QUEUE_BYTES)?;
        next = run.next();
        take(run)?;
    }
    Ok(())
}
