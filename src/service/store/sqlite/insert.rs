//! `Insert`: messages become rows.
//!
//! Apart, because it is where the time goes: several rows a statement, their bytes handed over as they lie, and nothing allocated for one of them.

use std::str;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Result, Statement, ToSql};

use super::super::Plain;
use super::apply::integer;
use crate::wire::assured::{Run, SessionId};

/// How many rows are inserted by a statement, where there are as many. 16 are a third faster than one; more bring little.
const ROWS: usize = 16;

/// How each statement begins. `OR FAIL`, because what has failed is taken back with all of its transaction: the pages need not be copied for a statement that
/// would be taken back alone.
const INSERT: &str = "INSERT OR FAIL INTO messages";

/// What rows of the same request have in common.
#[derive(Clone, Copy)]
struct Common {
    at: i64,
    source: i64,
    port: Option<u32>,
    session: Option<i64>,
}

pub(super) struct Insert<'c> {
    /// One row.
    one: Statement<'c>,
    /// As many as there are at a time.
    many: Statement<'c>,
    /// One row, whose key is said.
    first: Statement<'c>,
    /// Gives the highest key that was ever deleted, where there is no higher.
    deleted: Statement<'c>,
    /// The key of the next row, where it must be said.
    next: Option<i64>,
}

/// A message as SQLite is given it: text where that is what it is, so that LIKE and the functions for JSON work. A NUL would end a text for many.
struct Body<'a>(&'a [u8]);

impl ToSql for Body<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let text = str::from_utf8(self.0).is_ok() && memchr::memchr(0, self.0).is_none();
        Ok(ToSqlOutput::Borrowed(if text { ValueRef::Text(self.0) } else { ValueRef::Blob(self.0) }))
    }
}

impl<'c> Insert<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self> {
        let row = |index: usize| format!("(?1, ?2, ?3, ?4, ?{}, ?{})", 5 + 2 * index, 6 + 2 * index);
        let rows = |count| (0..count).map(row).collect::<Vec<_>>().join(", ");
        let prepare =
            |rest: &str| connection.prepare(&format!("{INSERT} (at, source, port, session, number, body{rest}"));
        Ok(Self {
            one: prepare(", origin) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            many: prepare(&format!(") VALUES {}", rows(ROWS)))?,
            first: prepare(", origin, id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            deleted: connection.prepare(
                "SELECT CASE WHEN (SELECT max(id) FROM messages) >= through THEN NULL ELSE through END FROM pruned",
            )?,
            next: None,
        })
    }

    /// To be called in every transaction before the first message. SQLite gives a row the key after the highest there is; where the last were deleted that would
    /// come again, and who follows what comes would miss it.
    pub(super) fn begin(&mut self) -> Result<()> {
        // The bodies that were bound last may be large.
        self.one.clear_bindings();
        self.many.clear_bindings();
        let through: Option<i64> = self.deleted.query_row([], |row| row.get(0))?;
        self.next = through.filter(|through| *through > 0).map(|through| through + 1);
        Ok(())
    }

    pub(super) fn run(&mut self, run: &Run, source: i64, port: Option<u32>, session: i64, at: i64) -> Result<()> {
        let common = Common { at, source, port, session: Some(session) };
        if run.origins.is_empty() {
            return self.rows(common, run.messages());
        }
        let mut origins = run.origins.iter().peekable();
        for (number, body) in run.messages() {
            while origins.next_if(|(of, ..)| *of < number).is_some() {}
            let origin = origins.next_if(|(of, ..)| *of == number).map(|(_, session, there)| (session, *there));
            self.row(common, number, body, origin)?;
        }
        Ok(())
    }

    pub(super) fn plain(&mut self, plain: &Plain, source: i64, at: i64) -> Result<()> {
        let common = Common { at, source, port: plain.source.peer.addr.port(), session: None };
        self.rows(common, (plain.first..).zip(plain.messages.iter()))
    }

    fn rows<'a>(&mut self, common: Common, messages: impl Iterator<Item = (u64, &'a [u8])>) -> Result<()> {
        let mut messages = messages.peekable();
        if self.next.is_some()
            && let Some((number, body)) = messages.next()
        {
            self.row(common, number, body, None)?;
        }
        // What fills a statement only in part is bound there first, and inserted row by row.
        let mut few: [(u64, &[u8]); ROWS] = [(0, &[]); ROWS];
        bind(&mut self.many, common)?;
        while messages.peek().is_some() {
            let mut count = 0;
            for (slot, message) in few.iter_mut().zip(&mut messages) {
                *slot = message;
                count += 1;
            }
            if count < ROWS {
                for (number, body) in &few[..count] {
                    self.row(common, *number, body, None)?;
                }
                break;
            }
            for (index, (number, body)) in few.iter().enumerate() {
                self.many.raw_bind_parameter(5 + 2 * index, integer(*number))?;
                self.many.raw_bind_parameter(6 + 2 * index, Body(body))?;
            }
            self.many.raw_execute()?;
        }
        Ok(())
    }

    fn row(&mut self, common: Common, number: u64, body: &[u8], origin: Option<(&SessionId, u64)>) -> Result<()> {
        let next = self.next.take();
        let statement = if next.is_some() { &mut self.first } else { &mut self.one };
        bind(statement, common)?;
        statement.raw_bind_parameter(5, integer(number))?;
        statement.raw_bind_parameter(6, Body(body))?;
        statement.raw_bind_parameter(7, origin.map(|(session, there)| format!("{session}:{there}")))?;
        if let Some(next) = next {
            statement.raw_bind_parameter(8, next)?;
        }
        statement.raw_execute().map(drop)
    }
}

fn bind(statement: &mut Statement<'_>, common: Common) -> Result<()> {
    statement.raw_bind_parameter(1, common.at)?;
    statement.raw_bind_parameter(2, common.source)?;
    statement.raw_bind_parameter(3, common.port)?;
    statement.raw_bind_parameter(4, common.session)
}
