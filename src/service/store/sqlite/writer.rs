//! `Writer`: the thread that alone writes to the file: one transaction for all that queued while the last one was synced.
//!
//! Apart from those who wait for it. Rules S3 and S7 of `docs/protocol.md` are kept here: nobody is answered before the commit has returned.

use std::sync::mpsc::RecvError;
use std::time::Duration;

use rusqlite::{Connection, Statement};

use super::super::{Opened, StoreError};
use super::SqliteConfig;
use super::apply::Transaction;
use super::held::Held;
use super::queue::{Queued, Request, Size, Waiting};
use super::trouble::Trouble;
use crate::wire::assured::Applied;

/// How many messages are committed at once, where as many wait.
pub const MAX_BATCH: usize = 8192;

/// How many bytes of messages are committed at once, where as many wait. One request is never divided.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// After how long a silence what was written is copied from the log into the file itself.
const IDLE: Duration = Duration::from_secs(1);

/// By how many times what is wanted the log may grow while others read, before they are waited for.
const LOG_EXCESS: i64 = 4;

/// How long they are waited for.
const LOG_PATIENCE: Duration = Duration::from_millis(100);

pub(super) struct Writer<'c> {
    connection: &'c Connection,
    config: &'c SqliteConfig,
    held: &'c Held,
    transaction: Transaction<'c>,
    begin: Statement<'c>,
    commit: Statement<'c>,
    /// Says another number once another process has changed the file.
    version: Statement<'c>,
    /// Says how many pages the log has.
    logged: Statement<'c>,
    last_version: Option<i64>,
    /// How many pages the log should have at the most.
    most_logged: i64,
    /// At how many it is copied.
    checkpoint_at: i64,
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
    pub(super) fn new(connection: &'c Connection, config: &'c SqliteConfig, held: &'c Held) -> rusqlite::Result<Self> {
        let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let most_logged = i64::try_from(config.checkpoint_bytes).unwrap_or(i64::MAX) / page;
        Ok(Self {
            connection,
            config,
            held,
            transaction: Transaction::new(connection, config)?,
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            version: connection.prepare("PRAGMA data_version")?,
            logged: connection.prepare("PRAGMA wal_checkpoint(NOOP)")?,
            last_version: None,
            most_logged,
            checkpoint_at: most_logged,
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
                    self.pending = false;
                    self.checkpoint("PASSIVE")?;
                    continue;
                }
                Err(RecvError) => break,
            }
            self.work(batch)?;
        }
        self.checkpoint("TRUNCATE").map(drop)
    }

    fn work(&mut self, batch: &mut Vec<Queued>) -> Result<(), String> {
        Trouble::forget();
        match self.attempt(batch) {
            Ok(done) => {
                // Nothing is said of what nobody else will ever see.
                self.held.check()?;
                for (queued, done) in batch.drain(..).zip(done) {
                    answer(queued.request, done);
                }
                self.pending = true;
                self.limit_log()
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
                Request::Keep(..) => Done::Kept(Err(trouble.error())),
                Request::Note(..) => Done::Noted,
            };
            answer(queued.request, done);
        }
        Ok(())
    }

    /// Keeps the log from growing, without waiting for those who read.
    fn limit_log(&mut self) -> Result<(), String> {
        let logged: i64 = self.logged.query_row([], |row| row.get(1)).map_err(|error| error.to_string())?;
        if logged < self.checkpoint_at {
            return Ok(());
        }
        let all = self.checkpoint("PASSIVE")?;
        self.checkpoint_at = if all { self.most_logged } else { logged + self.most_logged / 4 };
        if !all && logged > LOG_EXCESS * self.most_logged {
            self.connection.busy_timeout(LOG_PATIENCE).map_err(|error| error.to_string())?;
            let restarted = self.checkpoint("RESTART");
            self.connection.busy_timeout(self.config.lock_timeout).map_err(|error| error.to_string())?;
            restarted?;
        }
        Ok(())
    }

    /// Copies the log into the file, as far as nobody reads it; whether that is all of it. Where there is no room now, there may be later: what was answered is safe
    /// in the log.
    fn checkpoint(&mut self, how: &str) -> Result<bool, String> {
        Trouble::forget();
        let copied = self.connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| {
            Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        match copied.map_err(Trouble::from) {
            Ok(all) => Ok(all),
            Err(Trouble::Fatal(why)) => Err(why),
            Err(Trouble::Full(_) | Trouble::Busy(_)) => Ok(false),
        }
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

/// Tells what became of a request to whoever still waits for it.
fn answer(request: Request, done: Done) {
    match (request, done) {
        (Request::Open(_, answer), Done::Opened(opened)) => drop(answer.send(opened)),
        (Request::Append(_, answer), Done::Applied(applied)) => drop(answer.send(applied)),
        (Request::Keep(_, answer), Done::Kept(kept)) => drop(answer.send(kept)),
        _ => {}
    }
}
