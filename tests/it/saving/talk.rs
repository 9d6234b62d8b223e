//! A client of files by hand: what is said, word by word, and what is heard.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use sha2::{Digest, Sha256};

use crate::harness::DEADLINE;

/// A session in which somebody types.
pub(super) struct Talk {
    writer: TcpStream,
    reader: BufReader<TcpStream>,
    /// The last number that was said, and the last that was acknowledged.
    last: u64,
    acknowledged: u64,
}

pub(super) fn connect(port: &str) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a deadline");
    stream.set_nodelay(true).expect("send at once");
    stream
}

/// Opens a new session.
pub(super) fn open(port: &str, session: &str) -> Talk {
    let writer = connect(port);
    let reader = BufReader::new(writer.try_clone().expect("another of it"));
    let mut talk = Talk { writer, reader, last: 0, acknowledged: 0 };
    let open = format!("WILCO/1 OPEN sid={session} first=1 next=1 ack=save reply=1\n");
    talk.writer.write_all(open.as_bytes()).expect("open");
    let granted = talk.line();
    assert!(granted.starts_with("WILCO/1 OK acked=0 ") && granted.contains(" ack=save "), "{granted}");
    talk
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Talk {
    /// Says a word.
    pub(super) fn say(&mut self, word: impl AsRef<[u8]>) {
        self.last += 1;
        let word = word.as_ref();
        let header = format!("M {} {}\n", self.last, word.len());
        self.writer.write_all(&[header.as_bytes(), word, b"\n"].concat()).expect("say it");
    }

    /// Says a word, and hears what is answered to it.
    pub(super) fn ask(&mut self, word: &str) -> String {
        self.say(word);
        let answer = self.hear_answer();
        if !answer.starts_with("R ") {
            self.hear_acknowledged();
        }
        answer
    }

    /// Says the last word again, which was put off.
    pub(super) fn again(&mut self, word: &str) -> String {
        self.last -= 1;
        self.ask(word)
    }

    /// Says a word again that was put off.
    pub(super) fn say_again(&mut self, word: impl AsRef<[u8]>) {
        self.last -= 1;
        self.say(word);
    }

    /// Waits until all that was said is acknowledged, or until it is put off: with these words.
    pub(super) fn hear_put_off(&mut self) -> Option<String> {
        while self.acknowledged < self.last {
            let line = self.line();
            let fields: Vec<&str> = line.splitn(3, ' ').collect();
            match fields[..] {
                ["A", number] => self.acknowledged = number.parse().expect("a number"),
                ["R", _, words] => return Some(words.to_owned()),
                _ => panic!("{line:?}"),
            }
        }
        None
    }

    /// The next reply, or the words of a refusal, or that it is put off.
    pub(super) fn hear_answer(&mut self) -> String {
        loop {
            let line = self.line();
            let fields: Vec<&str> = line.splitn(3, ' ').collect();
            match fields[..] {
                ["A", number] => self.acknowledged = number.parse().expect("a number"),
                ["D", _, length] => {
                    let mut reply = vec![0; length.parse::<usize>().expect("a length") + 1];
                    self.reader.read_exact(&mut reply).expect("a reply");
                    return String::from_utf8(reply).expect("text").trim_end().to_owned();
                }
                ["N", _, words] => return words.to_owned(),
                ["R", _, words] => return format!("R {words}"),
                _ => panic!("{line:?}"),
            }
        }
    }

    /// Waits until all that was said is acknowledged.
    pub(super) fn hear_acknowledged(&mut self) {
        while self.acknowledged < self.last {
            let line = self.line();
            self.acknowledged =
                line.strip_prefix("A ").unwrap_or_else(|| panic!("{line:?}")).parse().expect("a number");
        }
    }

    /// Sends a small file, and hears what becomes of it.
    pub(super) fn send_file(&mut self, name: &str, bytes: &[u8]) -> String {
        let answer = self.ask(&format!("put {} {name}", bytes.len()));
        if !answer.starts_with("at ") {
            return answer;
        }
        self.say("from 0");
        self.say([b"data\n", bytes].concat());
        self.ask(&format!("end {}", sha256(bytes)))
    }

    /// Hears this and then the end.
    pub(super) fn expect_end(&mut self, line: &str) {
        assert_eq!(self.line(), line);
        assert_eq!(self.line(), "");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("hear a line");
        line.trim_end().to_owned()
    }
}
