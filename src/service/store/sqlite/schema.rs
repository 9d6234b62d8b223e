//! The tables of a store's file, and how a file is known to be one.
//!
//! Apart from what reads and writes them, because people do that, too: with `sqlite3`, in any language. `docs/operating.md`, "The file", explains it to them.

use rusqlite::{Connection, Result};

/// What the header of a store's file begins its identity with: `WILC` (`PRAGMA application_id`).
pub(super) const APPLICATION_ID: i32 = 0x5749_4c43;

/// The version of the tables (`PRAGMA user_version`). A file of a later one is refused.
pub(super) const VERSION: i32 = 1;

/// How large a page is, in bytes. With 4 KiB three messages of 1 KiB have a page and a quarter of it is wasted; with 16 KiB a lone message writes more than
/// it need.
pub(super) const PAGE_SIZE: u32 = 8192;

/// What must be said before there is any table.
const BEFORE: &str = "PRAGMA auto_vacuum = INCREMENTAL;";

/// There is no index on `messages` but its key: that a message is stored once is the doing of `sessions.acked`, which is changed in the same transaction.
/// `AUTOINCREMENT`, because a session that was forgotten must not lend its number to another.
const TABLES: &str = "
CREATE TABLE sources (              -- where messages came from
  id      INTEGER PRIMARY KEY,
  address TEXT NOT NULL,            -- without the port, which is another with every connection
  name    TEXT,                     -- what the client calls itself
  user    INTEGER                   -- the user's number, for clients of Unix sockets that connect
);
CREATE UNIQUE INDEX sources_once ON sources (address, ifnull(name, ''), ifnull(user, -1));
CREATE TABLE sessions (             -- how far each session is
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  sid       TEXT NOT NULL UNIQUE,   -- its name in the protocol
  principal TEXT,                   -- who alone may go on with it, if that is known
  owner     INTEGER NOT NULL,       -- higher each time that it is opened
  acked     INTEGER NOT NULL,       -- the last number that is final
  checksum  INTEGER,                -- CRC-32C of that message
  created   INTEGER NOT NULL,       -- milliseconds since 1970
  used      INTEGER NOT NULL,       -- when it was opened or stored a message last
  source    INTEGER NOT NULL        -- where from: sources.id
);
CREATE TABLE verdicts (             -- numbers that were refused for good, until the client has noted it
  session INTEGER NOT NULL,         -- sessions.id
  number  INTEGER NOT NULL,
  code    INTEGER NOT NULL,
  reason  TEXT NOT NULL,
  PRIMARY KEY (session, number)
) WITHOUT ROWID;
CREATE TABLE messages (
  id      INTEGER PRIMARY KEY,      -- in the order of their storing, never used again
  at      INTEGER NOT NULL,         -- when it was stored, milliseconds since 1970
  source  INTEGER NOT NULL,         -- sources.id
  port    INTEGER,                  -- the client's port, for which there is one
  session INTEGER,                  -- sessions.id, none for plain messages
  number  INTEGER NOT NULL,         -- its number in the session, or else in the connection
  origin  TEXT,                     -- SID:NUMBER, if it was first sent in another session
  body                              -- TEXT if it is UTF-8 without NUL, else BLOB
);
CREATE TABLE pruned (               -- one row: messages up to this id may have been deleted
  through INTEGER NOT NULL
);
INSERT INTO pruned VALUES (0);
CREATE VIEW received AS             -- all of it, for people
  SELECT m.id AS id,
         strftime('%Y-%m-%d %H:%M:%f', m.at / 1000.0, 'unixepoch') AS time, -- UTC
         CASE WHEN m.port IS NULL THEN s.address ELSE s.address || ':' || m.port END AS peer,
         s.name AS name,
         s.user AS user,
         CASE WHEN m.session IS NULL THEN NULL ELSE ifnull(o.sid, 'forgotten ' || m.session) END AS sid,
         m.number AS number,
         m.origin AS origin,
         m.body AS body
    FROM messages m LEFT JOIN sources s ON s.id = m.source LEFT JOIN sessions o ON o.id = m.session;
";

/// What a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Identity {
    /// It has nothing in it yet.
    Empty,
    /// A store of this version.
    Store(i32),
    /// A database of something else.
    Foreign,
}

/// Finds out what a file is.
pub(super) fn identify(connection: &Connection) -> Result<Identity> {
    let id: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (id, objects) {
        (APPLICATION_ID, 1..) => Identity::Store(version),
        (0 | APPLICATION_ID, 0) => Identity::Empty,
        _ => Identity::Foreign,
    })
}

/// Makes the tables in an empty file. Another process may do it at the same time: one of them makes them.
pub(super) fn create(connection: &Connection) -> Result<()> {
    connection.execute_batch(&format!("PRAGMA page_size = {PAGE_SIZE}; {BEFORE} PRAGMA journal_mode = WAL;"))?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    if identify(connection)? == Identity::Empty {
        connection.execute_batch(&format!(
            "{TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        ))?;
    }
    connection.execute_batch("COMMIT")
}
