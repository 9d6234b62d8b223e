//! What only a store in a file does, and that it does what every store does.
//!
//! Apart from the store, for their length.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::contract::{self, Fixture, append, opening, plain};
use super::super::{Kept, Source};
use super::*;
use crate::net::Addr;
use crate::service::Peer;

const SID: &str = "0123456789abcdef0123456789abcdef";

struct InFile {
    directory: TempDir,
}

impl InFile {
    fn path(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }

    fn open(&self, config: SqliteConfig) -> Arc<SqliteStore> {
        Arc::new(SqliteStore::open(self.path(), config).expect("open a store"))
    }

    fn reader(&self) -> Connection {
        Connection::open(self.path()).expect("open the file")
    }

    fn ask<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.reader().query_row(sql, [], |row| row.get(0)).expect(sql)
    }
}

impl Fixture for InFile {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn store(&mut self) -> Arc<dyn Store> {
        self.open(SqliteConfig { lock_timeout: Duration::from_millis(50), ..SqliteConfig::default() })
    }

    fn kept(&self) -> Vec<Kept> {
        let connection = self.reader();
        let mut select = connection
            .prepare("SELECT peer, name, sid, number, origin, CAST(body AS BLOB) FROM received ORDER BY id")
            .expect("a view");
        let rows = select.query_map([], |row| {
            let addr: String = row.get(0)?;
            let addr = Addr::Inet(addr.parse().expect("an address"));
            let origin: Option<String> = row.get(4)?;
            Ok(Kept {
                source: Arc::new(Source {
                    peer: Peer { addr, local: None, credentials: None },
                    name: row.get(1)?,
                }),
                session: row.get::<_, Option<String>>(2)?.map(|sid| sid.parse().expect("a session")),
                number: row.get::<_, i64>(3)?.unsigned_abs(),
                origin: origin.map(|origin| {
                    let (session, number) = origin.split_once(':').expect("an origin");
                    (session.parse().expect("a session"), number.parse().expect("a number"))
                }),
                body: row.get(5)?,
            })
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("messages")
    }

    fn full(&mut self, _full: bool) -> bool {
        // A disk that is full takes a process of its own: tests/it/storing.rs.
        false
    }
}

contract::tests!(InFile);
