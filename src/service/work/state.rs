//! `State`: how far some work over a store is, in a file of its own.
//!
//! Apart from the store, which belongs to the server: several kinds of work go over one store, each at its pace. All up to a mark was begun; of what was begun there is a row as long
//! as it is not done, and for good where it is a dead letter. So the file is as small as there is little wrong.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::Flock;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::WorkError;
use super::lock::{followed, lock, user};
use super::trouble::{StateError, failed, failed_by};
use crate::service::store::{Archive, Continuity, Selection};

/// What the header of the file begins its identity with: `WILW` (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x5749_4c57;

/// The version of the tables (`PRAGMA user_version`).
const VERSION: i32 = 1;

/// How long somebody who reads the file is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE work (                 -- one row
  store  TEXT NOT NULL,             -- what it is over
  since  INTEGER,                   -- which of it: milliseconds since 1970
  sender TEXT,
  search TEXT,
  mark   INTEGER NOT NULL,          -- the id of the last message that was begun
  sum    INTEGER,                   -- by what that is told from another
  done   INTEGER NOT NULL,          -- how many are done
  gone   INTEGER NOT NULL           -- how many were deleted from the store before they were
);
CREATE TABLE open (                 -- of what was begun: all that is not done
  id     INTEGER PRIMARY KEY,       -- of the message in its store
  state  INTEGER NOT NULL,          -- 0 it runs, 1 it is put off, 2 a dead letter
  tries  INTEGER NOT NULL,          -- how often it was begun
  due    INTEGER NOT NULL,          -- when it is tried again, or when it died: milliseconds since 1970
  reason TEXT NOT NULL
);";

const RUNS: i64 = 0;
const PUT_OFF: i64 = 1;
const DEAD: i64 = 2;

/// How far some work is. It is locked while it is used to work.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    connection: Connection,
    _lock: Option<Flock<File>>,
}

/// What has become of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// With the mark of a message that was never begun before.
    Begun {
        place: i64,
        tries: u32,
        mark: Option<u32>,
    },
    Done {
        place: i64,
    },
    Later {
        place: i64,
        tries: u32,
        due: i64,
        reason: String,
    },
    Dead {
        place: i64,
        tries: u32,
        reason: String,
    },
    Gone {
        place: i64,
    },
}

/// A message that was begun and is not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Open {
    pub(super) place: i64,
    pub(super) tries: u32,
    pub(super) due: i64,
    pub(super) was_running: bool,
}

/// How far some work is, for people.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// The place in the store of the last message that was begun.
    pub mark: i64,
    /// How many messages are done.
    pub done: u64,
    /// How many were deleted from the store before they were done.
    pub gone: u64,
    /// How many run, or ran when it ended.
    pub running: u64,
    /// How many are put off.
    pub put_off: u64,
    /// When the first of them is tried again, in milliseconds since 1970, and why it was put off.
    pub next_try: Option<(i64, String)>,
    /// How many are dead letters.
    pub dead: u64,
    /// The process that works with it.
    pub pid: Option<u32>,
}

/// A message that no command will have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadLetter {
    /// Its place in the store.
    pub place: i64,
    /// How often it was tried.
    pub tries: u32,
    /// When it died, in milliseconds since 1970.
    pub at: i64,
    /// Why.
    pub reason: String,
}

impl State {
    /// Opens it to work, over this store and what is meant of it, and makes it if it is not there.
    ///
    /// # Errors
    /// Somebody works with it, it is of other work, or it cannot be read or written.
    pub fn open(path: &Path, store: &str, selection: &Selection) -> Result<Self, StateError> {
        let path = &followed(path);
        let lock = lock(path)?;
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        opened.map_err(|error| failed(path, &error))?;
        let state = Self { path: path.to_owned(), connection: connect(path)?, _lock: Some(lock) };
        state.begin(store, selection)?;
        Ok(state)
    }

    /// Opens it to look at it.
    ///
    /// # Errors
    /// It is not there, is something else, or cannot be read.
    pub fn look(path: &Path) -> Result<Self, StateError> {
        if !path.exists() {
            return Err(StateError::Missing(path.to_owned()));
        }
        let state = Self { path: path.to_owned(), connection: connect(path)?, _lock: None };
        match state.is_new()? {
            true => Err(StateError::Foreign { path: path.to_owned(), what: "empty".to_owned() }),
            false => Ok(state),
        }
    }

    /// How far it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn status(&self) -> Result<Status, StateError> {
        let count = "SELECT count(*) FROM open WHERE state = ?1";
        let count = |state: i64| self.connection.query_row(count, [state], |row| natural(row, 0));
        let read = || {
            let first = "SELECT due, reason FROM open WHERE state = 1 ORDER BY due LIMIT 1";
            let mut status = self.connection.query_row("SELECT mark, done, gone FROM work", [], |row| {
                Ok(Status { mark: row.get(0)?, done: natural(row, 1)?, gone: natural(row, 2)?, ..Status::default() })
            })?;
            (status.running, status.put_off, status.dead) = (count(RUNS)?, count(PUT_OFF)?, count(DEAD)?);
            status.next_try = self.connection.query_row(first, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            Ok(status)
        };
        let status = read().map_err(|error| self.failed(&error))?;
        Ok(Status { pid: user(&self.path), ..status })
    }

    /// Up to which place all is done, or a dead letter.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn through(&self) -> Result<i64, StateError> {
        let low = "SELECT ifnull((SELECT min(id) - 1 FROM open WHERE state < 2), (SELECT mark FROM work))";
        self.connection.query_row(low, [], |row| row.get(0)).map_err(|error| self.failed(&error))
    }

    /// Sees that the store is the one that was worked over so far. One that has another name by now, and the same messages, was moved: that is kept.
    ///
    /// # Errors
    /// It is another, or was set back; it or the store cannot be read.
    pub(super) fn fit(&self, archive: &dyn Archive) -> Result<(), WorkError> {
        let own = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let own = self.connection.query_row("SELECT store, mark, sum FROM work", [], own);
        let (store, mark, sum): (String, i64, Option<u32>) = own.map_err(|error| self.failed(&error))?;
        let (path, name) = (self.path.clone(), archive.name());
        match Continuity::of(archive, mark, sum)? {
            _ if store != name && mark == 0 => {}
            Continuity::Same => {}
            Continuity::Likely if store == name => {}
            Continuity::Broken(why) if store == name => {
                return Err(WorkError::SetBack { store, why });
            }
            _ => return Err(StateError::Other { path, what: store }.into()),
        }
        let renamed = self.connection.execute("UPDATE work SET store = ?1 WHERE store != ?1", [name]);
        Ok(renamed.map(drop).map_err(|error| self.failed(&error))?)
    }

    /// The dead letters after a place, in their order, at most so many.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn dead_letters(&self, after: i64, most: usize) -> Result<Vec<DeadLetter>, StateError> {
        let read = || {
            let mut rows = self
                .connection
                .prepare("SELECT id, tries, due, reason FROM open WHERE state = 2 AND id > ?1 ORDER BY id LIMIT ?2")?;
            let letter = |row: &rusqlite::Row<'_>| {
                Ok(DeadLetter { place: row.get(0)?, tries: row.get(1)?, at: row.get(2)?, reason: row.get(3)? })
            };
            rows.query_map((after, i64::try_from(most).unwrap_or(i64::MAX)), letter)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Has the dead letters tried again, from the first try on. Nobody may be working with it. Says how many there are.
    ///
    /// # Errors
    /// Somebody works with it, or it cannot be written.
    pub fn retry_dead(path: &Path) -> Result<usize, StateError> {
        let path = &followed(path);
        let lock = lock(path)?;
        let state = Self { _lock: Some(lock), ..Self::look(path)? };
        let retried = state.connection.execute("UPDATE open SET state = 1, tries = 0, due = 0 WHERE state = 2", []);
        retried.map_err(|error| state.failed(&error))
    }

    /// The place of the last message that was begun, and what of that is not done.
    pub(super) fn left(&self) -> Result<(i64, Vec<Open>), StateError> {
        let read = || {
            let mark = self.connection.query_row("SELECT mark FROM work", [], |row| row.get(0))?;
            let mut rows = self.connection.prepare("SELECT id, tries, due, state FROM open WHERE state < 2")?;
            let open = |row: &rusqlite::Row<'_>| {
                let was_running = row.get::<_, i64>(3)? == RUNS;
                Ok(Open { place: row.get(0)?, tries: row.get(1)?, due: row.get(2)?, was_running })
            };
            let open = rows.query_map([], open)?.collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((mark, open))
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Which messages are meant: the first time has decided it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn selection(&self) -> Result<Selection, StateError> {
        let selection = self.connection.query_row("SELECT since, sender, search FROM work", [], |row| {
            let since: Option<i64> = row.get(0)?;
            let since = since.map(|since| UNIX_EPOCH + Duration::from_millis(since.unsigned_abs()));
            Ok(Selection { since, from: row.get(1)?, search: row.get(2)? })
        });
        selection.map_err(|error| self.failed(&error))
    }

    /// Makes changes durable, all or none.
    pub(super) fn keep(&mut self, changes: &[Change]) -> Result<(), StateError> {
        let path = &self.path;
        let kept = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            changes.iter().try_for_each(|change| change.keep(&transaction))?;
            transaction.commit()
        });
        kept.map_err(|error| failed_by(path, &error))
    }

    fn is_new(&self) -> Result<bool, StateError> {
        let number = |pragma: &str| self.connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
        let foreign = |what: &str| StateError::Foreign { path: self.path.clone(), what: what.to_owned() };
        let read =
            || Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?, number("PRAGMA page_count")?));
        match read().map_err(|error: rusqlite::Error| self.failed(&error))? {
            (0, 0, 0) => Ok(true),
            (APPLICATION_ID, VERSION, _) => Ok(false),
            (APPLICATION_ID, version, _) => Err(foreign(&format!("of a later version ({version})"))),
            _ => Err(foreign("a database of something else")),
        }
    }

    /// Makes the tables, or sees that they are of the same work; what a crash has left unsynced is durable then.
    fn begin(&self, store: &str, selection: &Selection) -> Result<(), StateError> {
        let Selection { since, from, search } = selection;
        let is_new = self.is_new()?;
        let begin = || {
            self.connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
            if is_new {
                let milliseconds =
                    |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
                let begin = "INSERT INTO work VALUES (?1, ?2, ?3, ?4, 0, NULL, 0, 0)";
                self.connection.execute_batch(&format!(
                    "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {TABLES}"
                ))?;
                self.connection.execute(begin, (store, since.map(milliseconds), from, search))?;
                self.connection.execute_batch("COMMIT")?;
            }
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            self.connection.query_row("SELECT store, sender, search FROM work", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
        };
        let own: (String, Option<String>, Option<String>) = begin().map_err(|error| self.failed(&error))?;
        if (&own.1, &own.2) == (from, search) {
            return Ok(());
        }
        let named = |name: &str, text: &Option<String>| {
            text.as_ref().map_or(String::new(), |text| format!(" with {name} {text:?}"))
        };
        let what = format!("{}{}{}", own.0, named("--from", &own.1), named("--search", &own.2));
        Err(StateError::Other { path: self.path.clone(), what })
    }

    fn failed(&self, error: &rusqlite::Error) -> StateError {
        failed_by(&self.path, error)
    }
}

impl Change {
    fn keep(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(sql)?.execute(values);
        const SET: &str = "UPDATE open SET state = ?2, tries = ?3, due = ?4, reason = ?5 WHERE id = ?1";
        match self {
            Self::Begun { place, tries, mark } => {
                run(
                    "INSERT INTO open VALUES (?1, 0, ?2, 0, '') ON CONFLICT (id) DO UPDATE SET state = 0, tries = ?2",
                    &[place, tries],
                )?;
                run("UPDATE work SET mark = ?1, sum = ?2 WHERE mark < ?1", &[place, mark])?;
            }
            Self::Done { place } => {
                run("DELETE FROM open WHERE id = ?1", &[place])?;
                run("UPDATE work SET done = done + 1", &[])?;
            }
            Self::Later { place, tries, due, reason } => {
                run(SET, &[place, &PUT_OFF, tries, due, reason])?;
            }
            Self::Dead { place, tries, reason } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
                run(SET, &[place, &DEAD, tries, &now, reason])?;
            }
            Self::Gone { place } => {
                run("DELETE FROM open WHERE id = ?1", &[place])?;
                run("UPDATE work SET gone = gone + 1", &[])?;
            }
        }
        Ok(())
    }
}

/// A number that is never below zero.
fn natural(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

fn connect(path: &Path) -> Result<Connection, StateError> {
    let connection = Connection::open(path).and_then(|connection| {
        connection.busy_timeout(LOCK_TIMEOUT)?;
        connection.execute_batch("PRAGMA trusted_schema = OFF")?;
        Ok(connection)
    });
    connection.map_err(|error| failed(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &Path) -> State {
        State::open(path, "/store.db", &Selection::default()).expect("a state")
    }

    #[test]
    fn what_is_not_done_is_known_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state");
        assert!(matches!(State::look(&path), Err(StateError::Missing(_))));
        let mut state = opened(&path);
        let later = |place| Change::Later { place, tries: 2, due: 77, reason: "full".to_owned() };
        state
            .keep(&[
                Change::Begun { place: 3, tries: 1, mark: None },
                Change::Done { place: 3 },
                Change::Begun { place: 4, tries: 1, mark: None },
                later(4),
                Change::Begun { place: 5, tries: 1, mark: None },
                Change::Begun { place: 6, tries: 1, mark: None },
                Change::Dead { place: 6, tries: 1, reason: "no".to_owned() },
                Change::Begun { place: 7, tries: 1, mark: None },
                Change::Gone { place: 7 },
            ])
            .expect("kept");
        drop(state);
        let state = opened(&path);
        let open = |place, tries, due, was_running| Open { place, tries, due, was_running };
        assert_eq!(state.left().expect("read"), (7, vec![open(4, 2, 77, false), open(5, 1, 0, true)]));
        assert_eq!(state.through().expect("read"), 3);
        let letters = state.dead_letters(0, 9).expect("read");
        assert_eq!(
            letters.iter().map(|letter| (letter.place, letter.reason.as_str())).collect::<Vec<_>>(),
            [(6, "no")]
        );
        let status = Status {
            mark: 7,
            done: 1,
            gone: 1,
            running: 1,
            put_off: 1,
            next_try: Some((77, "full".to_owned())),
            dead: 1,
            pid: Some(std::process::id()),
        };
        assert_eq!(State::look(&path).expect("a state").status().expect("read"), status);
        // Nobody else works with it meanwhile.
        let second = State::open(&path, "/store.db", &Selection::default()).expect_err("in use");
        assert!(second.to_string().contains(&format!("process {}", std::process::id())), "{second}");
        assert!(matches!(State::retry_dead(&path), Err(StateError::InUse { .. })));
        drop(state);
        assert_eq!(State::retry_dead(&path).expect("done"), 1);
        assert_eq!(opened(&path).left().expect("read").1.last(), Some(&open(6, 0, 0, false)));
    }

    #[test]
    fn a_state_is_of_one_kind_of_work() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state");
        drop(opened(&path));
        let other = Selection { search: Some("x".to_owned()), ..Selection::default() };
        let error = State::open(&path, "/store.db", &other).expect_err("other work");
        assert!(error.to_string().contains("of work over /store.db"), "{error}");
        for (name, text) in [("text", "no database at all, but long enough to be looked at"), ("empty", "")] {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            assert!(State::look(&path).is_err(), "{name}");
        }
    }
}
