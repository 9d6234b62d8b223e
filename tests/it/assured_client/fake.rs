//! A server that speaks the bytes of assured delivery by itself, so that the client is held against the protocol and not against this project's server.
//!
//! Apart from the tests, which say for each connection what it does: a script takes a connection, and what has been stored lasts through all of them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use wilco::wire::assured::checksum;

/// What a server has stored, by session.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored(Arc<Mutex<HashMap<String, Vec<String>>>>);

impl Stored {
    pub(super) fn with<T>(&self, session: &str, look: impl FnOnce(&mut Vec<String>) -> T) -> T {
        look(self.0.lock().expect("no test has failed with it").entry(session.to_owned()).or_default())
    }

    /// All messages of the only session, or of all of them.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().expect("no test has failed with it").values().flatten().cloned().collect()
    }

    /// How many sessions there are.
    pub(super) fn sessions(&self) -> usize {
        self.0.lock().expect("no test has failed with it").len()
    }
}

/// A connection to the client.
pub(super) struct Talk {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    pub(super) stored: Stored,
    pub(super) session: String,
}

impl Talk {
    /// Says lines; that nobody hears them is the script's wish.
    pub(super) fn say(&mut self, lines: &str) {
        let _ = self.writer.write_all(lines.as_bytes());
    }

    /// The next line of the client; none at its end.
    pub(super) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(read) if read > 0 => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }

    /// Reads the opening: the value of `first`, and that of `next`.
    pub(super) fn opening(&mut self) -> Option<(u64, u64)> {
        let line = self.line()?;
        let value = |key: &str| line.split(' ').find_map(|field| field.strip_prefix(key)).map(ToOwned::to_owned);
        assert!(line.starts_with("WILCO/1 OPEN "), "{line}");
        self.session = value("sid=")?;
        Some((value("first=")?.parse().ok()?, value("next=")?.parse().ok()?))
    }

    /// Opens the session as a store does that has what was stored.
    pub(super) fn open(&mut self) -> Option<(u64, u64)> {
        let (first, next) = self.opening()?;
        let (acked, crc) = self.stored.with(&self.session, |stored| {
            (stored.len() as u64, stored.last().map_or(0, |last| checksum(last.as_bytes())))
        });
        assert!(first <= acked + 1 && acked < next, "first={first} next={next}, and {acked} are stored");
        self.grant(acked, &format!("{crc:08x}"));
        Some((first, next))
    }

    /// Says that the session is open.
    pub(super) fn grant(&mut self, acked: u64, crc: &str) {
        self.say(&format!(
            "WILCO/1 OK acked={acked} crc={crc} win=64 winb=65536 max=1000 idle=60 ack=store srv=alpha\n"
        ));
    }

    /// Reads until the next message is stored, and gives its number. None once the client has nothing more, or has gone.
    pub(super) fn store(&mut self) -> Option<u64> {
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["M", number, length, ..] => {
                    let number: u64 = number.parse().expect("a number");
                    let mut body = vec![0; length.parse::<usize>().expect("a length") + 1];
                    self.reader.read_exact(&mut body).ok()?;
                    assert_eq!(body.pop(), Some(b'\n'));
                    let body = String::from_utf8(body).expect("text");
                    self.stored.with(&self.session, |stored| {
                        assert!(number <= stored.len() as u64 + 1, "{number} leaves a gap behind {}", stored.len());
                        match stored.get(number as usize - 1) {
                            Some(known) => assert_eq!(*known, body, "number {number}"),
                            None => stored.push(body),
                        }
                    });
                    return Some(number);
                }
                ["BYE"] => {
                    let stored = self.stored.with(&self.session, |stored| stored.len());
                    self.say(&format!("BYE {stored}\n"));
                    return None;
                }
                ["K", _] => {}
                ["PING", token] => self.say(&format!("PONG {token}\n")),
                _ => panic!("the client says {line}"),
            }
        }
    }

    /// Stores and acknowledges all there is.
    pub(super) fn serve(&mut self) {
        while let Some(number) = self.store() {
            self.say(&format!("A {number}\n"));
        }
    }

    /// Stores and acknowledges so many messages.
    pub(super) fn serve_some(&mut self, count: u64) {
        for _ in 0..count {
            let Some(number) = self.store() else { return };
            self.say(&format!("A {number}\n"));
        }
    }
}

/// Starts a server that treats its connections one after the other as these scripts say, the last for all that follow. Gives its port, and what it stores.
pub(super) fn start(mut scripts: Vec<fn(&mut Talk)>) -> (String, Stored) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on a free port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let stored = Stored::default();
    let shared = stored.clone();
    thread::spawn(move || {
        for writer in listener.incoming() {
            let Ok(writer) = writer else { return };
            let reader = BufReader::new(writer.try_clone().expect("a second handle"));
            let mut talk = Talk { reader, writer, stored: shared.clone(), session: String::new() };
            let script = if scripts.len() > 1 { scripts.remove(0) } else { scripts[0] };
            script(&mut talk);
        }
    });
    (port, stored)
}
