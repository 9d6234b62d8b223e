//! `Writer`: the thread that alone writes to the file: one transaction for all that queued while the last one was synced.
//!
//! Apart from those who wait for it. Rules S3 and S7 of `docs/protocol.md` are kept here: nobody is answered before the commit has returned.

use std::sync::mpsc::RecvError;
use std::task::Waker;
use std::time::Duration;

use rusqlite::{Connection, Statement};

use super::super::{Opened, StoreError};
use super::SqliteConfig;
use super::answer::Herald;
use super::apply::Transaction;
use super::held::Held;
use super::log::Log;
use super::queue::{Queued, Request, Size, Waiting};
use super::trouble::Trouble;
use crate::wire::assured::Applied;

/// How many messages are committed at once, where as many wait.
pub const MAX_BATCH: usize = 8192;

/// How many bytes of messages are committed at once, where as many wait. One request is never divided.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// After how long a silence what was written is copied from the log into the file itself.
const IDLE: Duration = Duration::from_secs(1);

pub(super) struct Writer<'c> {
    connection: &'c Connection,
    held: &'c Held,
    herald: &'c Herald,
    /// Whoever is to be woken.
    woken: Vec<Waker>,
    transaction: Transaction<'c>,
    begin: Statement<'c>,
    commit: Statement<'c>,
    /// Says another number once another process has changed the file.
    version: Statement<'c>,
    last_version: Option<i64>,
    log: Log<'c>,
    /// Whether there is something in the log that was not copied yet.
    pending: bool,
}

/// What became of a request.
enum Done {
    Opened(Result<Opened, StoreError>),
    Applied(Result<Applied, StoreError>),
    Kept(Result<(), StoreError>),
    Noted,
}

impl<'c> Writer<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        config: &'c SqliteConfig,
        held: &'c Held,
        herald: &'c Herald,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            held,
            herald,
            woken: Vec::new(),
            transaction: Transaction::new(connection, config)?,
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            version: connection.prepare("PRAGMA data_version")?,
            last_version: None,
            log: Log::new(connection, config)?,
            pending: false,
        })
    }

    /// Does what is asked for until nobody can ask any more. What is left in the batch was not done.
    ///
    /// # Errors
    /// What is on disk is not known any more, in words. Nothing may be done with the file then.
    pub(super) fn run(&mut self, waiting: &Waiting, batch: &mut Vec<Queued>) -> Result<(), String> {
        loop {
            match waiting.wait(self.pending.then_some(IDLE)) {
                Ok(Some(first)) => collect(first, waiting, batch),
                Ok(None) => {
                    self.pending = !self.log.idle()?;
                    continue;
                }
                Err(RecvError) => break,
            }
            self.work(batch)?;
        }
        self.log.end()
    }

    fn work(&mut self, batch: &mut Vec<Queued>) -> Result<(), String> {
        Trouble::forget();
        match self.attempt(batch) {
            Ok(done) => {
                // Nothing is said of what nobody else will ever see.
                self.held.check()?;
                self.woken.extend(batch.drain(..).zip(done).filter_map(|(queued, done)| answer(queued.request, done)));
                self.herald.wake(&mut self.woken);
                self.pending = true;
                self.log.committed()
            }
            Err(trouble) => self.take_back(batch, &trouble),
        }
    }

    fn attempt(&mut self, batch: &[Queued]) -> Result<Vec<Done>, Trouble> {
        self.begin.raw_execute()?;
        let version = self.version.query_row([], |row| row.get(0))?;
        if self.last_version.replace(version) != Some(version) {
            self.transaction.forget();
        }
        self.transaction.begin()?;
        let mut done = Vec::with_capacity(batch.len());
        for queued in batch {
            done.push(match &queued.request {
                Request::Open(opening, _) => Done::Opened(self.transaction.open(opening)?),
                Request::Append(append, _) => Done::Applied(self.transaction.append(append)?),
                Request::Keep(plain, _) if plain.chain.is_broken() => {
                    Done::Kept(Err(StoreError::Busy("messages before these were put off".to_owned())))
                }
                Request::Keep(plain, _) => {
                    self.transaction.keep(plain)?;
                    Done::Kept(Ok(()))
                }
                Request::Note(session, owner, through) => {
                    self.transaction.note(session, *owner, *through)?;
                    Done::Noted
                }
            });
        }
        self.commit.raw_execute()?;
        Ok(done)
    }

    /// Nothing of the batch is in the file. Those who can are asked to come again.
    fn take_back(&mut self, batch: &mut Vec<Queued>, trouble: &Trouble) -> Result<(), String> {
        if let Trouble::Fatal(why) = trouble {
            return Err(why.clone());
        }
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK").map_err(|error| error.to_string())?;
        }
        self.transaction.forget();
        for queued in batch.drain(..) {
            let done = match &queued.request {
                Request::Open(..) => Done::Opened(Err(trouble.error())),
                Request::Append(append, _) => Done::Applied(match trouble.put_off() {
                    // A run behind another of the batch must not make that one count as applied.
                    Some(put_off) => match self.transaction.acknowledged(&append.session) {
                        Ok(through) => Ok(Applied { through, verdicts: Vec::new(), put_off: Some(put_off) }),
                        Err(error) => Err(Trouble::of(&error).error()),
                    },
                    None => Err(trouble.error()),
                }),
                Request::Keep(plain, _) => {
                    plain.chain.break_off();
                    Done::Kept(Err(trouble.error()))
                }
                Request::Note(..) => Done::Noted,
            };
            self.woken.extend(answer(queued.request, done));
        }
        self.herald.wake(&mut self.woken);
        Ok(())
    }
}

/// Adds what waits to the first, as far as it is to be committed at once.
fn collect(first: Queued, waiting: &Waiting, batch: &mut Vec<Queued>) {
    let Size { mut messages, mut bytes } = first.request.size();
    batch.push(first);
    while messages < MAX_BATCH && bytes < MAX_BATCH_BYTES {
        let Some(next) = waiting.next() else { break };
        let size = next.request.size();
        messages += size.messages;
        bytes += size.bytes;
        batch.push(next);
    }
}

/// Gives the answer to a request. Whoever waits for it is still to be woken.
fn answer(request: Request, done: Done) -> Option<Waker> {
    match (request, done) {
        (Request::Open(_, answer), Done::Opened(opened)) => answer.give(opened),
        (Request::Append(_, answer), Done::Applied(applied)) => answer.give(applied),
        (Request::Keep(_, answer), Done::Kept(kept)) => answer.give(kept),
        _ => None,
    }
}
