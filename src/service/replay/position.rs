//! `Position`: how far a replay is in its store, kept in its spool's directory.
//!
//! Apart from the spool, which numbers messages and knows nothing of stores. **Exactly once** comes from the order of two writes: before messages are given to the spool,
//! their places in the store are durable here, with the number that the first of them will have. The spool accepts some of them, from the first on, all or none;
//! how many is seen by the number that it would give next. So after any crash the last message that it has accepted is known.
//!
//! It is the file `replay`, a JSON object, replaced as a whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::ReplayError;
use crate::net::Error;
use crate::service::spool::{SpoolError, replace_durably};
use crate::service::store::{Archive, Continuity, Selection, Stored};
use crate::wire::assured::SessionId;

/// The name of the file.
const FILE: &str = "replay";

/// The version of the file.
const VERSION: u32 = 1;

/// Which messages are sent on.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Chosen {
    store: String,
    /// In milliseconds since 1970.
    since: Option<u64>,
    from: Option<String>,
    search: Option<String>,
}

/// How far a replay is.
#[derive(Debug)]
pub(super) struct Position {
    directory: PathBuf,
    kept: Kept,
}

#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    version: u32,
    #[serde(flatten)]
    chosen: Chosen,
    /// The spool's session.
    session: String,
    /// The number that the first of `ids` has, if it is accepted.
    first: u64,
    /// The place of the last message before them.
    after: i64,
    /// The places of messages that may have been accepted.
    ids: Vec<i64>,
    /// The [mark](Stored::mark) of the last message before them, and of each of them. Earlier versions kept none.
    #[serde(default)]
    mark: Option<u32>,
    #[serde(default)]
    marks: Vec<u32>,
}

impl Chosen {
    pub(super) fn new(store: String, selection: &Selection) -> Self {
        let milliseconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        Self {
            store,
            since: selection.since.map(milliseconds),
            from: selection.from.clone(),
            search: selection.search.clone(),
        }
    }
}

impl Position {
    /// Whether there is one in a spool's directory.
    pub(super) fn is_in(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// What was noted last, if anything was.
    pub(super) fn load(directory: &Path) -> Result<Option<Self>, SpoolError> {
        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SpoolError::of("read", &path, error)),
        };
        let kept: Kept = serde_json::from_slice(&text)
            .map_err(|error| SpoolError::damaged(&path, 0, None, format!("it does not say how far it is: {error}")))?;
        match kept.version {
            VERSION => Ok(Some(Self { directory: directory.to_owned(), kept })),
            version => {
                Err(SpoolError::Newer { directory: directory.to_owned(), version: format!("{version} ({FILE})") })
            }
        }
    }

    /// One that begins behind a place in the store, with a spool that has accepted nothing yet.
    pub(super) fn begin(directory: &Path, chosen: Chosen, session: SessionId, after: i64) -> Result<Self, SpoolError> {
        let session = session.to_string();
        let (ids, marks) = (Vec::new(), Vec::new());
        let kept = Kept { version: VERSION, chosen, session, first: 1, after, ids, mark: None, marks };
        let position = Self { directory: directory.to_owned(), kept };
        position.write()?;
        Ok(position)
    }

    /// Refuses what is no continuation: other messages, or a spool that was used otherwise.
    pub(super) fn check(&self, chosen: &Chosen, session: &SessionId, next: u64) -> Result<(), Error> {
        let Kept { chosen: own, first, ids, .. } = &self.kept;
        if (&own.from, &own.search) != (&chosen.from, &chosen.search) {
            let named = |name: &str, text: &Option<String>| {
                text.as_ref().map_or(String::new(), |text| format!(" with {name} {text:?}"))
            };
            let (from, search) = (named("--from", &own.from), named("--search", &own.search));
            return Err(foreign(&self.directory, &format!("of a replay of {}{from}{search}", own.store)));
        }
        let is_between = (*first..=first + ids.len() as u64).contains(&next);
        match is_between && self.kept.session == session.as_str() {
            true => Ok(()),
            false => Err(foreign(&self.directory, "used by something else since")),
        }
    }

    /// The number that the first of what was noted last has, if it is accepted.
    pub(super) fn first(&self) -> u64 {
        self.kept.first
    }

    /// The place of the last message that is accepted, where the next would have this number.
    pub(super) fn taken(&self, next: u64) -> i64 {
        let taken = usize::try_from(next - self.kept.first).unwrap_or(usize::MAX);
        taken.checked_sub(1).and_then(|last| self.kept.ids.get(last)).copied().unwrap_or(self.kept.after)
    }

    /// Sees that the store is the one that messages were taken from, where the next would have this number. One that has another name by now, and the same messages, was moved:
    /// that is noted.
    pub(super) fn fit(&mut self, archive: &dyn Archive, next: u64) -> Result<(), ReplayError> {
        let place = self.taken(next);
        let found = Continuity::of(archive, place, self.mark(next))?;
        let name = archive.name();
        let has_moved = self.kept.chosen.store != name;
        match found {
            Continuity::Same => {}
            Continuity::Likely if !has_moved || place == 0 => {}
            Continuity::Broken(why) if !has_moved => return Err(self.set_back(&name, &why).into()),
            _ => return Err(foreign(&self.directory, &format!("of a replay of {}", self.kept.chosen.store)).into()),
        }
        if has_moved {
            self.kept.chosen.store = name;
            self.write()?;
        }
        Ok(())
    }

    /// The mark of the last message that is accepted, where the next would have this number.
    fn mark(&self, next: u64) -> Option<u32> {
        let Kept { first, mark, marks, .. } = &self.kept;
        match usize::try_from(next - first).unwrap_or(usize::MAX).checked_sub(1) {
            Some(last) => marks.get(last).copied(),
            None => *mark,
        }
    }

    /// From when on messages are meant.
    pub(super) fn since(&self) -> Option<SystemTime> {
        self.kept.chosen.since.map(|since| UNIX_EPOCH + Duration::from_millis(since))
    }

    /// Notes durably the places of messages that are given to the spool next, and the number of the first. All that was noted before is accepted.
    pub(super) fn note(&mut self, first: u64, messages: &[Stored]) -> Result<(), SpoolError> {
        (self.kept.after, self.kept.mark) = (self.taken(first), self.mark(first));
        self.kept.first = first;
        self.kept.ids = messages.iter().map(|message| message.id).collect();
        self.kept.marks = messages.iter().map(Stored::mark).collect();
        self.write()
    }

    /// The error for a store that has less, or others, than was read of it.
    pub(super) fn set_back(&self, store: &str, why: &str) -> Error {
        let directory = self.directory.display();
        Error::usage(format!("the spool {directory} does not belong to the store {store}: {why}")).hinting(
            "put back the spool that belongs to it, or name another directory: that begins with the oldest message",
        )
    }

    fn write(&self) -> Result<(), SpoolError> {
        let path = self.directory.join(FILE);
        let text = serde_json::to_vec(&self.kept).map_err(|error| SpoolError::of("write", &path, error.into()))?;
        replace_durably(&path, &text)
    }
}

/// The error for a spool that is not one of this replay.
pub(super) fn foreign(directory: &Path, what: &str) -> Error {
    Error::usage(format!("the spool {} is {what}", directory.display()))
        .hinting("give this replay a directory of its own")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> SessionId {
        text.parse().expect("a session")
    }

    fn stored(id: i64) -> Stored {
        Stored {
            id,
            at: 0,
            peer: String::new(),
            name: None,
            user: None,
            session: None,
            number: id.unsigned_abs(),
            origin: None,
            body: Vec::new(),
        }
    }

    #[test]
    fn the_last_that_was_accepted_is_known_after_any_crash() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        assert!(Position::load(path).expect("nothing is there").is_none() && !Position::is_in(path));
        let chosen = || Chosen::new("/store.db".to_owned(), &Selection::default());
        let sid = "0123456789abcdef";
        let mut position = Position::begin(path, chosen(), session(sid), 40).expect("begun");
        assert_eq!(position.taken(1), 40);
        position.note(1, &[41, 43, 50].map(stored)).expect("noted");
        let position = Position::load(path).expect("read").expect("there");
        // Nothing was accepted, some, all.
        assert_eq!([1, 2, 3, 4].map(|next| position.taken(next)), [40, 41, 43, 50]);
        assert_eq!([1, 3].map(|next| position.mark(next)), [None, Some(stored(43).mark())]);
        for (next, sid, fits) in [(1, sid, true), (4, sid, true), (5, sid, false), (4, "fedcba9876543210", false)] {
            assert_eq!(position.check(&chosen(), &session(sid), next).is_ok(), fits, "{next} {sid}");
        }
        let other = Selection { search: Some("x".to_owned()), ..Selection::default() };
        let error = position.check(&Chosen::new("/store.db".to_owned(), &other), &session(sid), 1).expect_err("others");
        assert!(error.to_string().contains("of a replay of /store.db"), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_not_gone_on_from() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(FILE), "{}").expect("written");
        assert!(matches!(Position::load(directory.path()), Err(SpoolError::Damaged(_))));
        let later = r#"{"version":2,"store":"","since":null,"from":null,"search":null,"session":"","first":1,"after":0,"ids":[]}"#;
        fs::write(directory.path().join(FILE), later).expect("written");
        assert!(matches!(Position::load(directory.path()), Err(SpoolError::Newer { .. })));
    }
}
