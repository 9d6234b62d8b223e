//! `Table`: messages for people, a line each.
//!
//! Apart from the other forms, because only this one knows of columns and of how wide a terminal is.

use std::io;
use std::os::fd::AsFd;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::app::screen::escaped;
use crate::net::terminal_columns;
use crate::service::store::Stored;

/// How wide a terminal is that does not say.
const COLUMNS: usize = 80;

/// How many characters of a session's name are shown: enough to tell it from others, and for `--from`.
const SESSION: usize = 8;

/// The least that is shown of a message, however narrow the terminal is.
const LEAST: usize = 20;

/// How many columns there are before the message.
const HEAD: usize = 4;

#[derive(Debug)]
pub(super) struct Table {
    zone: TimeZone,
    /// How wide each column is so far: they only grow.
    widths: [usize; HEAD],
    begun: bool,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { zone: TimeZone::system(), widths: [0; HEAD], begun: false }
    }

    /// Appends a line for each message, and before the first of all what the columns are.
    pub(super) fn write(&mut self, messages: &[Stored], terminal: bool, out: &mut Vec<u8>) {
        let mut rows: Vec<([String; HEAD], Vec<u8>)> = Vec::with_capacity(messages.len() + 1);
        if !std::mem::replace(&mut self.begun, true) {
            rows.push((["id", "time", "from", "number"].map(str::to_owned), b"message".to_vec()));
        }
        let width = terminal.then(|| terminal_columns(io::stdout().as_fd()).unwrap_or(COLUMNS));
        for message in messages {
            rows.push((self.head(message), line(&message.body, width)));
        }
        for (head, _) in &rows {
            for (width, cell) in self.widths.iter_mut().zip(head) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let room = width.map(|width| width.saturating_sub(self.widths.iter().sum::<usize>() + 2 * HEAD).max(LEAST));
        for (head, message) in rows {
            for (index, (width, cell)) in self.widths.iter().zip(&head).enumerate() {
                let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (before, after) = if index == 0 { (gap.as_str(), "") } else { ("", gap.as_str()) };
                out.extend_from_slice(format!("{before}{cell}{after}  ").as_bytes());
            }
            let text = String::from_utf8_lossy(&message);
            out.extend_from_slice(cut(&text, room).as_bytes());
            out.push(b'\n');
        }
    }

    fn head(&self, message: &Stored) -> [String; HEAD] {
        let time = Timestamp::from_millisecond(message.at).unwrap_or_default().to_zoned(self.zone.clone());
        let user = message.user.map_or_else(String::new, |user| format!(" uid:{user}"));
        let from = match &message.name {
            Some(name) => format!("{name} ({}{user})", message.peer),
            None => format!("{}{user}", message.peer),
        };
        let number = match &message.session {
            Some(session) => format!("{}/{}", session.chars().take(SESSION).collect::<String>(), message.number),
            None => message.number.to_string(),
        };
        let from = String::from_utf8_lossy(&line(from.as_bytes(), None)).into_owned();
        [message.id.to_string(), time.strftime("%Y-%m-%d %H:%M:%S").to_string(), from, number]
    }
}

/// A message as one line that a terminal may show. Of one that will be cut not all is looked at.
fn line(body: &[u8], width: Option<usize>) -> Vec<u8> {
    // A character has four bytes at the most.
    let body = width.map_or(body, |width| &body[..body.len().min(4 * (width + 1))]);
    let mut safe = Vec::with_capacity(body.len());
    escaped(body, &mut safe);
    let mut line = Vec::with_capacity(safe.len());
    for byte in safe {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\t' => line.extend_from_slice(b"\\t"),
            _ => line.push(byte),
        }
    }
    line
}

/// As much of a text as there is room for; that there is more is shown.
fn cut(text: &str, room: Option<usize>) -> String {
    match room {
        Some(room) if text.chars().count() > room => {
            text.chars().take(room.saturating_sub(1)).chain(['\u{2026}']).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(id: i64, name: Option<&str>, session: Option<&str>, body: &[u8]) -> Stored {
        Stored {
            id,
            at: 1_795_264_496_789,
            peer: "127.0.0.1:5000".to_owned(),
            name: name.map(str::to_owned),
            user: None,
            session: session.map(str::to_owned),
            number: 7,
            origin: None,
            body: body.to_vec(),
        }
    }

    #[test]
    fn each_message_is_a_line() {
        let mut table = Table { zone: TimeZone::UTC, ..Table::new() };
        let mut out = Vec::new();
        table.write(&[stored(9, None, None, b"one\ntwo\t\x1b[2J")], false, &mut out);
        table.write(&[stored(10, Some("pump\x07"), Some("0123456789abcdef"), &[b'x'; 200])], false, &mut out);
        let long = "x".repeat(200);
        let expected = format!(
            "id  time                 from            number  message\n \
             9  2026-11-21 12:34:56  127.0.0.1:5000  7       one\\ntwo\\t\\x1b[2J\n\
             10  2026-11-21 12:34:56  pump\\x07 (127.0.0.1:5000)  01234567/7  {long}\n"
        );
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        for (text, room, shown) in
            [("hello", None, "hello"), ("hello", Some(5), "hello"), ("hello!", Some(5), "hell\u{2026}")]
        {
            assert_eq!(cut(text, room), shown);
        }
        assert_eq!(line("\u{e9}".repeat(100_000).as_bytes(), Some(80)).len(), 324);
    }
}
