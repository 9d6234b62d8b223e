//! `Letters`: the messages that were refused for good, in a file of JSON lines that ordinary tools read.
//!
//! Apart from the spool's own files: this one is for people, and stays until they remove it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directory::{create, sync_directory};
use super::error::{Naming, SpoolError};
use crate::service::base64;
use crate::wire::assured::{Code, SessionId};
use crate::wire::is_harmless;

/// The name of the file in the spool's directory.
pub(super) const NAME: &str = "dead-letters";

/// A message that was refused for good, or given up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Letter {
    /// When that was: RFC 3339, UTC.
    pub time: String,
    /// The session that it was accepted in.
    pub session: String,
    /// Its number there.
    pub number: u64,
    /// Why, for programs.
    pub code: u16,
    /// Why, for people.
    pub reason: String,
    /// The session and number under which it was sent at first, if that was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The message, if it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The message, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl Letter {
    /// A message that is refused now.
    pub(super) fn new(
        session: &SessionId,
        number: u64,
        code: Code,
        reason: &str,
        origin: Option<String>,
        body: &[u8],
    ) -> Self {
        let text = std::str::from_utf8(body).ok().map(ToOwned::to_owned);
        Self {
            time: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            session: session.to_string(),
            number,
            code: code.0,
            reason: reason.to_owned(),
            origin,
            base64: text.is_none().then(|| base64::encoded(body)),
            text,
        }
    }

    /// The message itself.
    pub fn body(&self) -> Vec<u8> {
        match (&self.text, &self.base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(text)) => base64::decoded(text).unwrap_or_default(),
            (None, None) => Vec::new(),
        }
    }

    /// As a line that any screen may show.
    fn line(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        let mut line = String::with_capacity(json.len() + 1);
        for letter in json.chars() {
            if is_harmless(letter) {
                line.push(letter);
            } else {
                letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| line.push_str(&format!("\\u{unit:04x}")));
            }
        }
        line.push('\n');
        Ok(line)
    }
}

/// The file of dead letters, of a spool that is locked.
#[derive(Debug)]
pub(super) struct Letters {
    directory: PathBuf,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Those that are in it already, of this session.
    session: SessionId,
    known: HashSet<u64>,
    length: u64,
}

impl Letters {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), open: None }
    }

    /// Appends those letters that are not there yet, and returns once they are durable.
    pub(super) fn add(
        &mut self,
        session: &SessionId,
        letters: impl IntoIterator<Item = Letter>,
    ) -> Result<(), SpoolError> {
        let path = self.directory.join(NAME);
        let open = match self.open.take().filter(|open| open.session == *session) {
            Some(open) => open,
            None => Open::of(&self.directory, &path, session)?,
        };
        let open = self.open.insert(open);
        let mut lines = Vec::new();
        let mut added = Vec::new();
        for letter in letters {
            if !open.known.contains(&letter.number) {
                let line = letter.line().map_err(io::Error::from).naming("write", &path)?;
                lines.extend_from_slice(line.as_bytes());
                added.push(letter.number);
            }
        }
        // Those that were there may be there for a process that has died before it could sync them.
        let written = open.file.write_all(&lines).naming("write", &path);
        if let Err(error) = written.and_then(|()| open.file.sync_data().naming("sync", &path)) {
            let _ = open.file.set_len(open.length);
            self.open = None;
            return Err(error);
        }
        open.length += lines.len() as u64;
        open.known.extend(added);
        Ok(())
    }
}

impl Open {
    fn of(directory: &Path, path: &Path, session: &SessionId) -> Result<Self, SpoolError> {
        let mut file = create().read(true).truncate(false).append(true).open(path).naming("open", path)?;
        sync_directory(directory)?;
        let mut known = HashSet::new();
        let mut length = 0;
        let mut lines = BufReader::new(&file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).naming("read", path)? > 0 {
            let letter = serde_json::from_slice::<Key<'_>>(&line);
            if let Some(key) = letter.as_ref().ok().filter(|key| key.session == session.as_str()) {
                known.insert(key.number);
            }
            // A line without an end was being written when the process died, unless somebody has edited the file.
            if line.ends_with(b"\n") {
                length += line.len() as u64;
            } else if letter.is_ok() {
                (&file).write_all(b"\n").naming("write", path)?;
                length += line.len() as u64 + 1;
            } else {
                tracing::warn!("{}: a line at its end was written in part and is cut off", path.display());
                file.set_len(length).naming("truncate", path)?;
                break;
            }
            line.clear();
        }
        drop(lines);
        file.seek(SeekFrom::End(0)).naming("seek", path)?;
        Ok(Self { file, session: session.clone(), known, length })
    }
}

/// What tells a letter from others.
#[derive(Deserialize)]
struct Key<'a> {
    session: std::borrow::Cow<'a, str>,
    number: u64,
}

/// Reads the dead letters of a spool, one after the other.
#[derive(Debug)]
pub struct DeadLetters(Option<io::Lines<BufReader<File>>>);

impl DeadLetters {
    pub(super) fn of(directory: &Path) -> Result<Self, SpoolError> {
        let path = directory.join(NAME);
        match File::open(&path) {
            Ok(file) => Ok(Self(Some(BufReader::new(file).lines()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Err(error) => Err(SpoolError::of("open", &path, error)),
        }
    }
}

impl Iterator for DeadLetters {
    type Item = io::Result<Letter>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.as_mut()?.next().map(|line| Ok(serde_json::from_str(&line?)?))
    }
}
