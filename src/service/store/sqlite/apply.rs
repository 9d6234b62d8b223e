//! `Transaction`: what is done in the file for each request, with everything prepared.
//!
//! Apart from the writer, which decides what is committed together and what is said afterwards. Rule S2 of `docs/protocol.md` is kept here.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Result, Row, Statement, params};

use super::super::{Append, Opened, Opening, Owner, Plain, StoreError};
use super::SqliteConfig;
use super::insert::Insert;
use super::sources::Sources;
use crate::service::store::BUSY_PAUSE;
use crate::wire::assured::{Applied, Code, Progress, PutOff, Run, SessionId, Verdict, checksum};

/// How many sessions are remembered whose rows were used last; those that are not are looked up again.
pub(super) const REMEMBERED: usize = 16_384;

/// How often sessions that are kept long enough are looked for, while there are too many, in milliseconds.
const PURGE_INTERVAL: i64 = 60_000;

/// After how long without use those sessions go of which no message is final, where there are too many, in milliseconds: all that is lost is a name.
const EMPTY_LIFETIME: i64 = 3_600_000;

/// What a session's row has been found to be.
#[derive(Clone, Copy, Debug)]
struct Known {
    row: i64,
    /// Whether there may be refused numbers that the client has not noted.
    refused: bool,
    /// When it was used last, in requests.
    turn: u64,
}

/// A session's row.
struct SessionRow {
    row: i64,
    principal: Option<String>,
    owner: u64,
    acknowledged: u64,
    checksum: Option<u32>,
}

pub(super) struct Transaction<'c> {
    connection: &'c Connection,
    config: &'c SqliteConfig,
    sources: Sources<'c>,
    insert: Insert<'c>,
    sessions: HashMap<SessionId, Known>,
    /// How many sessions there are, where that is known.
    count: Option<u64>,
    /// When sessions were purged last.
    purged: Option<i64>,
    turn: u64,
    /// Milliseconds since 1970.
    now: i64,
    find: Statement<'c>,
    begin: Statement<'c>,
    reopen: Statement<'c>,
    advance: Statement<'c>,
    refuse: Statement<'c>,
    refused: Statement<'c>,
    note: Statement<'c>,
}

impl<'c> Transaction<'c> {
    pub(super) fn new(connection: &'c Connection, config: &'c SqliteConfig) -> Result<Self> {
        Ok(Self {
            connection,
            config,
            sources: Sources::new(connection)?,
            insert: Insert::new(connection)?,
            sessions: HashMap::new(),
            count: None,
            purged: None,
            turn: 0,
            now: 0,
            find: connection.prepare("SELECT id, principal, owner, acked, checksum FROM sessions WHERE sid = ?1")?,
            begin: connection.prepare(
                "INSERT INTO sessions (sid, principal, owner, acked, created, used, source) VALUES (?1, ?2, ?3, 0, ?4, ?4, ?5)",
            )?,
            reopen: connection
                .prepare("UPDATE sessions SET owner = ?2, used = ?3, source = ?4 WHERE id = ?1")?,
            advance: connection.prepare(
                "UPDATE sessions SET acked = ?4, checksum = ?5, used = ?6, source = ?7 WHERE id = ?1 AND owner = ?2 AND acked = ?3",
            )?,
            refuse: connection.prepare("INSERT INTO verdicts (session, number, code, reason) VALUES (?1, ?2, ?3, ?4)")?,
            refused: connection
                .prepare("SELECT number, code, reason FROM verdicts WHERE session = ?1 ORDER BY number")?,
            note: connection.prepare(
                "DELETE FROM verdicts WHERE session = (SELECT id FROM sessions WHERE sid = ?1 AND owner = ?2) AND number <= ?3",
            )?,
        })
    }

    /// What is done from now on is done at this time.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.now = self.config.clock.milliseconds();
        self.insert.begin()
    }

    /// Forgets what is known of the file: another process has changed it, or what was done was taken back.
    pub(super) fn forget(&mut self) {
        self.sources.forget();
        self.sessions.clear();
        self.count = None;
    }

    pub(super) fn open(&mut self, opening: &Opening) -> Result<Result<Opened, StoreError>> {
        let Some(row) = self.row(&opening.session)? else {
            return self.open_new(opening);
        };
        let foreign = row.principal.is_some() && row.principal != opening.principal;
        if foreign {
            return Ok(Err(StoreError::Foreign));
        }
        let source = self.sources.row(&opening.source)?;
        let owner = row.owner + 1;
        self.reopen.execute(params![row.row, integer(owner), self.now, source])?;
        let refused = self.refused.query_map([row.row], refusal)?;
        let verdicts = refused.collect::<Result<Vec<_>>>()?;
        self.remember(&opening.session, row.row, !verdicts.is_empty());
        let progress = Progress { known: true, acknowledged: row.acknowledged, checksum: row.checksum, verdicts };
        Ok(Ok(Opened { progress, owner: Owner(owner) }))
    }

    /// A session that is not known. It is begun only at its beginning: of one that has gone on elsewhere, or was forgotten, nothing is made up.
    fn open_new(&mut self, opening: &Opening) -> Result<Result<Opened, StoreError>> {
        if opening.first > 1 {
            return Ok(Ok(Opened { progress: Progress::default(), owner: Owner(0) }));
        }
        if !self.has_room_for_a_session()? {
            return Ok(Err(StoreError::TooManySessions));
        }
        // Whoever is turned away leaves nothing, or anybody could fill the disk with names.
        let source = self.sources.row(&opening.source)?;
        // Whoever had the session before it was forgotten may still be there, and is the older owner: of an opening each millisecond none comes near to the time.
        let owner = u64::try_from(self.now).unwrap_or_default().max(1);
        let begun = params![opening.session.as_str(), opening.principal, integer(owner), self.now, source];
        self.begin.execute(begun)?;
        self.count = self.count.map(|count| count + 1);
        let row = self.connection.last_insert_rowid();
        self.remember(&opening.session, row, false);
        Ok(Ok(Opened { progress: Progress::default(), owner: Owner(owner) }))
    }

    pub(super) fn append(&mut self, append: &Append) -> Result<Result<Applied, StoreError>> {
        let run = &append.run;
        let Some(known) = self.known(&append.session)? else {
            return Ok(Err(match append.run.first {
                // It has made room for others while nothing of it was final: the client opens it again, and nothing is lost.
                1 => StoreError::TooManySessions,
                _ => StoreError::TakenOver,
            }));
        };
        let source = self.sources.row(&append.source)?;
        let before = run.first - 1;
        let last = run.last();
        let refused_last = run.refused.last().is_some_and(|(number, ..)| *number == last);
        let sum = (!run.is_empty() && !refused_last).then(|| checksum(run.message(last)));
        let owner = integer(append.owner.0);
        let advanced = match run.is_empty() {
            true => 0,
            false => self.advance.execute(params![
                known.row,
                owner,
                integer(before),
                integer(last),
                sum,
                self.now,
                source
            ])?,
        };
        if advanced != 1 {
            return self.not_advanced(append);
        }
        self.insert.run(run, source, append.source.peer.addr.port(), known.row, self.now)?;
        let verdicts = self.refuse(run, known.row)?;
        if !verdicts.is_empty() {
            self.remember(&append.session, known.row, true);
        }
        Ok(Ok(Applied { through: last, verdicts, put_off: None }))
    }

    /// What is said of a run that does not follow what is final: it is behind one that was put off, or the session is another's.
    fn not_advanced(&mut self, append: &Append) -> Result<Result<Applied, StoreError>> {
        let run = &append.run;
        Ok(match self.row(&append.session)? {
            Some(row) if row.owner == append.owner.0 && (row.acknowledged < run.first - 1 || run.is_empty()) => {
                let put_off = (!run.is_empty()).then(|| PutOff {
                    code: Code::OVERLOADED,
                    after: BUSY_PAUSE,
                    reason: "messages before it were put off".to_owned(),
                });
                Ok(Applied { through: row.acknowledged, verdicts: Vec::new(), put_off })
            }
            _ => Err(StoreError::TakenOver),
        })
    }

    fn refuse(&mut self, run: &Run, session: i64) -> Result<Vec<(u64, Verdict)>> {
        let mut verdicts = Vec::with_capacity(run.refused.len());
        for (number, code, reason) in &run.refused {
            self.refuse.execute(params![session, integer(*number), code.0, reason])?;
            verdicts.push((*number, Verdict::Refused(*code, reason.clone())));
        }
        Ok(verdicts)
    }

    pub(super) fn keep(&mut self, plain: &Plain) -> Result<()> {
        let source = self.sources.row(&plain.source)?;
        self.insert.plain(plain, source, self.now)
    }

    pub(super) fn note(&mut self, session: &SessionId, owner: Owner, through: u64) -> Result<()> {
        if self.sessions.get(session).is_some_and(|known| !known.refused) {
            return Ok(());
        }
        self.note.execute(params![session.as_str(), integer(owner.0), integer(through)]).map(drop)
    }

    /// The last number of a session that is final; 0 for one that is not known.
    pub(super) fn acknowledged(&mut self, session: &SessionId) -> Result<u64> {
        Ok(self.row(session)?.map_or(0, |row| row.acknowledged))
    }

    fn known(&mut self, session: &SessionId) -> Result<Option<Known>> {
        self.turn += 1;
        if let Some(known) = self.sessions.get_mut(session) {
            known.turn = self.turn;
            return Ok(Some(*known));
        }
        // Whether any of its numbers were refused is not looked up: it is enough that it may be.
        let Some(row) = self.row(session)? else { return Ok(None) };
        Ok(Some(self.remember(session, row.row, true)))
    }

    fn row(&mut self, session: &SessionId) -> Result<Option<SessionRow>> {
        let read = |row: &Row<'_>| {
            Ok(SessionRow {
                row: row.get(0)?,
                principal: row.get(1)?,
                owner: number(row, 2)?,
                acknowledged: number(row, 3)?,
                checksum: row.get(4)?,
            })
        };
        self.find.query_row([session.as_str()], read).optional()
    }

    fn remember(&mut self, session: &SessionId, row: i64, refused: bool) -> Known {
        self.turn += 1;
        if self.sessions.len() >= REMEMBERED && !self.sessions.contains_key(session) {
            let mut turns: Vec<u64> = self.sessions.values().map(|known| known.turn).collect();
            let (_, middle, _) = turns.select_nth_unstable(REMEMBERED / 2);
            let middle = *middle;
            self.sessions.retain(|_, known| known.turn > middle);
        }
        let known = Known { row, refused, turn: self.turn };
        self.sessions.insert(session.clone(), known);
        known
    }

    /// Whether a session may be added, once those that were kept long enough are gone (rule S6).
    fn has_room_for_a_session(&mut self) -> Result<bool> {
        let most = self.config.max_sessions;
        if self.counted()? < most {
            return Ok(true);
        }
        if self.purged.is_some_and(|last| (0..PURGE_INTERVAL).contains(&(self.now - last))) {
            return Ok(false);
        }
        self.purged = Some(self.now);
        let lifetime = i64::try_from(self.config.session_lifetime.as_millis()).unwrap_or(i64::MAX);
        let oldest = self.now.saturating_sub(lifetime);
        self.connection
            .execute("DELETE FROM verdicts WHERE session IN (SELECT id FROM sessions WHERE used < ?1)", [oldest])?;
        let empty = self.now.saturating_sub(EMPTY_LIFETIME);
        self.connection
            .execute("DELETE FROM sessions WHERE used < ?1 OR (acked = 0 AND used < ?2)", [oldest, empty])?;
        self.count = None;
        self.sessions.clear();
        Ok(self.counted()? < most)
    }

    fn counted(&mut self) -> Result<u64> {
        if let Some(count) = self.count {
            return Ok(count);
        }
        let count = self.connection.query_row("SELECT count(*) FROM sessions", [], |row| number(row, 0))?;
        Ok(*self.count.insert(count))
    }
}

/// A number as SQLite has them: they end at 2^63-1, as those of the protocol do.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    Ok(u64::try_from(value).unwrap_or_default())
}

fn refusal(row: &Row<'_>) -> Result<(u64, Verdict)> {
    Ok((number(row, 0)?, Verdict::Refused(Code(row.get(1)?), row.get(2)?)))
}
