//! `Log`: how long the file `-wal` gets before what is in it is copied into the store's file itself, and written again from its beginning.
//!
//! Apart from the writer, which only says when it has committed. A log that is short is written over again and again, and that is quicker to sync than one that
//! grows: the file system need not note where its end is by now. But whatever is copied must be synced, too, so that many pages are better copied at once.

use std::time::Duration;

use rusqlite::{Connection, Statement};

use super::SqliteConfig;
use super::trouble::Trouble;

/// How many commits like the last ones a log takes at least, if it may be as long as that.
const COMMITS: i64 = 64;

/// How many bytes it has at least before it is copied, however small the commits are.
const LEAST_BYTES: u64 = 1024 * 1024;

/// By how many times what is wanted the log may grow while others read, before they are waited for.
const EXCESS: i64 = 4;

/// How long they are waited for.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) struct Log<'c> {
    connection: &'c Connection,
    config: &'c SqliteConfig,
    /// Says how many pages the log has.
    logged: Statement<'c>,
    /// How many it had after the last commit.
    last: i64,
    /// How many sixteenths of a page a commit has had of late.
    commit: i64,
    limits: Limits,
    /// At how many it is copied, where others read what is in it.
    postponed: Option<i64>,
}

/// In pages.
#[derive(Clone, Copy)]
struct Limits {
    least: i64,
    most: i64,
}

impl Limits {
    /// At how many pages a log is copied, while commits are so large.
    fn of(self, commit: i64) -> i64 {
        commit.saturating_mul(COMMITS).max(self.least).min(self.most)
    }
}

impl<'c> Log<'c> {
    pub(super) fn new(connection: &'c Connection, config: &'c SqliteConfig) -> rusqlite::Result<Self> {
        let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX) / page;
        Ok(Self {
            connection,
            config,
            logged: connection.prepare("PRAGMA wal_checkpoint(NOOP)")?,
            last: 0,
            commit: 0,
            limits: Limits { least: pages(LEAST_BYTES), most: pages(config.checkpoint_bytes) },
            postponed: None,
        })
    }

    /// Keeps the log from growing after a commit, without waiting for those who read.
    pub(super) fn committed(&mut self) -> Result<(), String> {
        let logged: i64 = self.logged.query_row([], |row| row.get(1)).map_err(|error| error.to_string())?;
        // A commit that changed nothing has no pages.
        let pages = match logged >= self.last {
            true => logged - self.last,
            // It was written from its beginning: whoever has read in it does so no more.
            false => {
                self.postponed = None;
                logged
            }
        };
        (self.last, self.commit) = (logged, pages + self.commit - self.commit / 16);
        if logged < self.postponed.unwrap_or_else(|| self.limits.of(self.commit / 16)) {
            return Ok(());
        }
        let all = self.checkpoint("PASSIVE")?;
        self.postponed = (!all).then_some(logged + self.limits.most / 4);
        if !all && logged > EXCESS * self.limits.most {
            self.connection.busy_timeout(PATIENCE).map_err(|error| error.to_string())?;
            let restarted = self.checkpoint("RESTART");
            self.connection.busy_timeout(self.config.lock_timeout).map_err(|error| error.to_string())?;
            restarted?;
        }
        Ok(())
    }

    /// Copies what there is, while there is nothing else to do. Says whether that is all of it.
    pub(super) fn idle(&mut self) -> Result<bool, String> {
        let all = self.checkpoint("PASSIVE")?;
        if all {
            self.postponed = None;
        }
        Ok(all)
    }

    /// Copies all of it and empties the file.
    pub(super) fn end(&self) -> Result<(), String> {
        self.checkpoint("TRUNCATE").map(drop)
    }

    /// Copies the log into the file, as far as nobody reads it; whether that is all of it. Where there is no room now, there may be later: what was answered is safe
    /// in the log.
    fn checkpoint(&self, how: &str) -> Result<bool, String> {
        Trouble::forget();
        let copied = self.connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| {
            let is_busy = row.get::<_, i64>(0)? != 0;
            Ok(!is_busy && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        match copied.map_err(Trouble::from) {
            Ok(all) => Ok(all),
            Err(Trouble::Fatal(why)) => Err(why),
            Err(Trouble::Full(_) | Trouble::Busy(_)) => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fs;

    use super::super::file;
    use super::*;

    #[test]
    fn small_commits_have_a_short_log_and_large_ones_a_long_one() {
        let limits = Limits { least: 128, most: 4096 };
        for (commit, pages) in [(0, 128), (1, 128), (2, 128), (4, 256), (30, 1920), (64, 4096), (1000, 4096)] {
            assert_eq!(limits.of(commit), pages, "{commit}");
        }
        let less_than_least = Limits { least: 128, most: 32 };
        assert_eq!(less_than_least.of(1), 32);
    }

    #[test]
    fn a_log_of_small_commits_is_written_over() -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("store.db");
        let config = SqliteConfig::default();
        let (connection, _held) = file::open(&path, &config)?;
        let mut log = Log::new(&connection, &config)?;
        for _ in 0..400 {
            connection.execute("INSERT INTO messages (at, source, number, body) VALUES (0, 0, 0, 'x')", [])?;
            log.committed()?;
        }
        let length = fs::metadata(directory.path().join("store.db-wal"))?.len();
        assert!((LEAST_BYTES / 2..LEAST_BYTES * 2).contains(&length), "{length}");
        Ok(())
    }

    #[test]
    fn a_log_that_had_to_grow_while_somebody_read_is_short_again_afterwards() -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("store.db");
        let config = SqliteConfig { checkpoint_bytes: 64 * 1024, ..SqliteConfig::default() };
        let (connection, _held) = file::open(&path, &config)?;
        let mut log = Log::new(&connection, &config)?;
        let write = |log: &mut Log<'_>| -> Result<(), Box<dyn Error>> {
            connection.execute("INSERT INTO messages (at, source, number, body) VALUES (0, 0, 0, 'x')", [])?;
            Ok(log.committed()?)
        };
        write(&mut log)?;
        let reader = Connection::open(&path)?;
        reader.execute_batch("BEGIN; SELECT * FROM messages")?;
        while log.postponed.is_none() {
            write(&mut log)?;
        }
        assert!(!log.idle()?, "somebody still reads");
        drop(reader);
        assert!(log.idle()?);
        assert_eq!(log.postponed, None);
        Ok(())
    }

    #[test]
    fn a_commit_that_changes_nothing_does_not_make_the_log_longer() -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let config = SqliteConfig::default();
        let (connection, _held) = file::open(&directory.path().join("store.db"), &config)?;
        let mut log = Log::new(&connection, &config)?;
        for _ in 0..20 {
            connection.execute("INSERT INTO messages (at, source, number, body) VALUES (0, 0, 0, 'x')", [])?;
            log.committed()?;
        }
        let commit = log.commit;
        for _ in 0..20 {
            connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
            log.committed()?;
        }
        assert!(log.commit <= commit, "{} sixteenths of a page, and {commit} before", log.commit);
        Ok(())
    }
}
