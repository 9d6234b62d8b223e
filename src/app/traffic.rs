//! `--hex` and `--dump`: what passes through the connections, with direction, time and place, as a dump that people read.
//!
//! Apart from the screen, which shows messages: here is every byte, whatever it means.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::net::{Direction, Error, Passage, Tap, plain};

use super::screen::escaped;
use super::{clock, report};

/// How many bytes a row has.
const ROW: usize = 16;

/// Where the traffic is shown.
#[derive(Debug)]
pub(super) struct Traffic {
    on_standard_error: bool,
    file: Option<Mutex<Dump>>,
}

/// A file that the traffic is written to.
#[derive(Debug)]
struct Dump {
    path: PathBuf,
    file: File,
    has_failed: bool,
}

impl Traffic {
    /// A tap for what the user wants to see; none if that is nothing. The file is made for its owner alone, and added to.
    pub(super) fn tap(hex: bool, dump: Option<&Path>) -> Result<Option<Arc<dyn Tap>>, Error> {
        if !hex && dump.is_none() {
            return Ok(None);
        }
        let open = |path: &Path| {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|error| {
                Error::usage(format!("--dump {}: {}", path.display(), plain(&error)))
                    .hinting("name a file that can be written")
            })?;
            Ok::<_, Error>(Mutex::new(Dump { path: path.to_owned(), file, has_failed: false }))
        };
        Ok(Some(Arc::new(Self { on_standard_error: hex, file: dump.map(open).transpose()? })))
    }
}

impl Tap for Traffic {
    fn pass(&self, passage: &Passage<'_>) {
        let record = record(&clock::now(), passage);
        if self.on_standard_error {
            report::record(&record);
        }
        if let Some(dump) = &self.file {
            dump.lock().unwrap_or_else(PoisonError::into_inner).write(&record);
        }
    }
}

impl Dump {
    /// A dump that cannot be written is said once; the traffic goes on.
    fn write(&mut self, record: &str) {
        let written: io::Result<()> = self.file.write_all(record.as_bytes());
        if let Err(error) = written
            && !std::mem::replace(&mut self.has_failed, true)
        {
            tracing::warn!("{}: {}", self.path.display(), plain(&error));
        }
    }
}

/// A line that says what passed, then its bytes in rows: where in the connection, in hexadecimal, and as text.
fn record(time: &str, passage: &Passage<'_>) -> String {
    let Passage { direction, connection, offset, bytes } = passage;
    let mark = match direction {
        Direction::Sent => '>',
        Direction::Received => '<',
    };
    let mut name = Vec::new();
    escaped(connection.as_bytes(), &mut name);
    let name = String::from_utf8_lossy(&name).replace('\n', "\\n");
    let last = (offset + bytes.len() as u64).saturating_sub(1);
    let mut text = String::with_capacity(100 + bytes.len() * 5);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{mark} {time} {name} length={} from={offset} to={last}", bytes.len());
    for (row, at) in bytes.chunks(ROW).zip((*offset..).step_by(ROW)) {
        let _ = write!(text, "{at:08x} ");
        for place in 0..ROW {
            text.push_str(if place == ROW / 2 { "  " } else { " " });
            let _ = match row.get(place) {
                Some(byte) => write!(text, "{byte:02x}"),
                None => write!(text, "  "),
            };
        }
        text.push_str("  |");
        text.extend(row.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' }));
        text.push_str("|\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_what_passed_and_its_bytes() {
        let bytes = b"hello, world\r\n\x1b[2Jx";
        let passage = Passage { direction: Direction::Sent, connection: "tcp:10.0.0.7:5432", offset: 32, bytes };
        let expected = "\
> 2026-11-21T12:34:56.123456Z tcp:10.0.0.7:5432 length=19 from=32 to=50
00000020  68 65 6c 6c 6f 2c 20 77  6f 72 6c 64 0d 0a 1b 5b  |hello, world...[|
00000030  32 4a 78                                          |2Jx|
";
        assert_eq!(record("2026-11-21T12:34:56.123456Z", &passage), expected);
    }
}
