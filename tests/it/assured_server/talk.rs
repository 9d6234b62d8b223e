//! A client by hand: what is said, byte for byte, and what is heard, line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use wilco::wire::assured::checksum;

use crate::harness::DEADLINE;

/// A connection at which somebody types.
pub(super) struct Talk {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
    granted: String,
}

pub(super) fn stream(port: &str) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a deadline");
    stream.set_nodelay(true).expect("send at once");
    stream
}

pub(super) fn connect(port: &str) -> Talk {
    let writer = stream(port);
    let reader = BufReader::new(writer.try_clone().expect("another of it"));
    Talk { writer, reader, granted: String::new() }
}

/// Opens a session, and hears that it is open.
pub(super) fn open(port: &str, sid: &str, first: u64, next: u64) -> Talk {
    open_with(port, sid, first, next, "")
}

/// The same with more in the opening.
pub(super) fn open_with(port: &str, sid: &str, first: u64, next: u64, more: &str) -> Talk {
    let mut talk = connect(port);
    talk.say(format!("WILCO/1 OPEN sid={sid} first={first} next={next}{more}\n"));
    talk.granted = talk.hear();
    assert!(talk.granted.starts_with("WILCO/1 OK "), "{:?}", talk.granted);
    talk
}

impl Talk {
    pub(super) fn say(&mut self, text: impl AsRef<[u8]>) {
        self.writer.write_all(text.as_ref()).expect("send");
    }

    /// What was granted: the first two of its fields.
    pub(super) fn granted(&self) -> String {
        self.granted.split(' ').skip(2).take(2).collect::<Vec<_>>().join(" ")
    }

    /// The next line; nothing at the end.
    pub(super) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("hear a line");
        line.trim_end().to_owned()
    }

    #[track_caller]
    pub(super) fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line);
    }

    #[track_caller]
    pub(super) fn expect_start(&mut self, start: &str) -> String {
        let line = self.hear();
        assert!(line.starts_with(start), "{line:?}");
        line
    }

    /// Hears acknowledgements up to this number, and nothing else.
    #[track_caller]
    pub(super) fn expect_acknowledged(&mut self, last: u64) {
        loop {
            let line = self.expect_start("A ");
            let number: u64 = line[2..].parse().expect("a number");
            assert!(number <= last, "{line}");
            if number == last {
                return;
            }
        }
    }

    #[track_caller]
    pub(super) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // The server may have closed with something of ours unread.
        let _ = self.reader.read_to_end(&mut rest);
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Goes as one whose machine has lost all that it knew of the connection.
    pub(super) fn reset(self) {
        socket2::SockRef::from(&self.writer).set_linger(Some(std::time::Duration::ZERO)).expect("no lingering");
    }

    /// Another writer to the same connection.
    pub(super) fn writer(&self) -> TcpStream {
        self.writer.try_clone().expect("another of it")
    }

    /// So many bytes, and the end of the line.
    pub(super) fn hear_body(&mut self, length: usize) -> Vec<u8> {
        let mut body = vec![0; length + 1];
        self.reader.read_exact(&mut body).expect("hear a body");
        assert_eq!(body.pop(), Some(b'\n'));
        body
    }
}

/// Says all in pieces of so many bytes and ends its direction; what is heard to the end.
pub(super) fn exchange(port: &str, bytes: &[u8], size: usize) -> String {
    String::from_utf8_lossy(&exchange_bytes(port, bytes, size)).into_owned()
}

pub(super) fn exchange_bytes(port: &str, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut stream = stream(port);
    for piece in bytes.chunks(size) {
        // One that has heard enough may have closed.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("hear to the end");
    heard
}

pub(super) fn hex_crc(body: &str) -> String {
    format!("{:08x}", checksum(body.as_bytes()))
}
