//! `Sources`: the row of each source, found again without asking the file.
//!
//! Apart from the writer, which has it for the batch it works on. A source has no port: a client that connects for every message would leave a row for
//! each. The port is kept with the message.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result, Statement, params};

use super::super::Source;
use crate::net::Addr;

/// How many sources are remembered; then all are forgotten, and looked up again.
pub(super) const REMEMBERED: usize = 4096;

/// What tells sources apart: address, without its port, name, user.
type Key = (Addr, Option<String>, Option<u32>);

pub(super) struct Sources<'c> {
    /// That of the last messages, which is mostly that of the next.
    last: Option<(Arc<Source>, i64)>,
    known: HashMap<Key, i64>,
    select: Statement<'c>,
    insert: Statement<'c>,
}

impl<'c> Sources<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            last: None,
            known: HashMap::new(),
            select: connection.prepare(
                "SELECT id FROM sources WHERE address = ?1 AND ifnull(name, '') = ifnull(?2, '') AND ifnull(user, -1) = ifnull(?3, -1)",
            )?,
            insert: connection.prepare("INSERT INTO sources (address, name, user) VALUES (?1, ?2, ?3) RETURNING id")?,
        })
    }

    /// The row of a source, which is made if there is none.
    pub(super) fn row(&mut self, source: &Arc<Source>) -> Result<i64> {
        if let Some((last, row)) = &self.last
            && Arc::ptr_eq(last, source)
        {
            return Ok(*row);
        }
        let key = key(source);
        let row = match self.known.get(&key) {
            Some(row) => *row,
            None => {
                let (addr, name, user) = &key;
                let address = text(addr);
                let found = self.select.query_row(params![address, name, user], |row| row.get(0)).optional()?;
                let row = match found {
                    Some(row) => row,
                    None => self.insert.query_row(params![address, name, user], |row| row.get(0))?,
                };
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(key, row);
                row
            }
        };
        self.last = Some((Arc::clone(source), row));
        Ok(row)
    }

    /// Forgets all: rows may have gone.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.known.clear();
    }
}

/// What is kept of a source beside its port.
fn key(source: &Source) -> Key {
    let addr = match source.peer.addr.clone() {
        Addr::Inet(mut addr) => {
            addr.set_port(0);
            Addr::Inet(addr)
        }
        Addr::Vsock { cid, .. } => Addr::Vsock { cid, port: 0 },
        unix @ Addr::Unix(_) => unix,
    };
    (addr, source.name.clone(), source.peer.credentials.map(|peer| peer.uid))
}

/// The address of a key as it is in the file.
fn text(addr: &Addr) -> String {
    let mut text = addr.to_string();
    if addr.port().is_some() {
        let without = text.strip_suffix(":0").map(str::len);
        text.truncate(without.unwrap_or(text.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::UnixName;
    use crate::service::Peer;

    #[test]
    fn a_source_has_no_port() {
        let inet = |text: &str| Addr::Inet(text.parse().expect("an address"));
        for (addr, address) in [
            (inet("127.0.0.1:5000"), "127.0.0.1"),
            (inet("[::1]:80"), "[::1]"),
            (inet("[::ffff:10.0.0.1]:80"), "10.0.0.1"),
            (Addr::Vsock { cid: 3, port: 3 }, "3"),
            (Addr::Unix(UnixName::Path("/run/a:1".into())), "/run/a:1"),
        ] {
            let source = Source { peer: Peer { addr, local: None, credentials: None }, name: None };
            assert_eq!(text(&key(&source).0), address);
        }
    }
}
