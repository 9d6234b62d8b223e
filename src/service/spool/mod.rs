//! The spool: a client's messages on disk, from before they are accepted until the server has them for good.
//!
//! Apart from what sends them, so that they outlive it. Rules C1 to C4 of `docs/protocol.md` are kept here, as far as they are about files.
//!
//! # Its files
//! All integers are little-endian, all checksums CRC-32C (RFC 3720, B.4). The directory is its user's alone (0700), as are the files (0600).
//!
//! | file | holds |
//! | --- | --- |
//! | `lock` | the number of the process that uses the spool and holds an flock(2) on this file |
//! | `session` | which session is in use |
//! | `SESSION/` | a directory named by the session, with its `progress` and its segments |
//! | `dead-letters` | what was refused for good: JSON lines, see [`Letter`] |
//! | `damaged-*` | what a repair could not read |
//! | `replay` | how far in its store a [replay](super::replay) is that the spool is used by |
//!
//! **`session`** is text, replaced as a whole (written to `session.new`, synced, renamed): the line `wilco-spool 1`, whose number is the version
//! of all of this; `session NAME`; where one session is taking another's place, `leftover NAME`, which may be removed with its directory; and
//! `crc ` with the checksum of the lines before in 8 hexadecimal digits.
//!
//! **A segment** is named by the number of its first message in 20 digits, and `.seg`. Only the last is appended to; a new one is begun once it
//! has `segment_bytes` of the [`SpoolConfig`]. It is made with its head (written to `.new`, synced, renamed, the directory synced), and records follow
//! without a gap:
//!
//! | offset | bytes | in the head of a segment |
//! | --- | --- | --- |
//! | 0 | 8 | `WILCOSP1` |
//! | 8 | 8 | the number of its first message |
//! | 16 | 32 | the session |
//! | 48 | 12 | zero |
//! | 60 | 4 | the checksum of the 60 bytes before |
//!
//! | offset | bytes | in a record |
//! | --- | --- | --- |
//! | 0 | 4 | the checksum of all that follows in the record |
//! | 4 | 4 | the length n of the body, at most [`MAX_BODY`] |
//! | 8 | 8 | the number of the message: that of the record before, and 1 |
//! | 16 | 8 | when it was accepted, in milliseconds since 1970, or 0 |
//! | 24 | 4 | its place in the write that it was part of, from 1: all before that write was durable then |
//! | 28 | 1 | the length m of the origin, 0 for none |
//! | 29 | m | the origin: `SESSION:NUMBER`, under which it was sent at first |
//! | 29+m | n | the body |
//!
//! **`progress`** has a slot at 0 and another at 512, written in turn, of which the sound one of the higher generation counts:
//!
//! | offset | bytes | in a slot |
//! | --- | --- | --- |
//! | 0 | 8 | the generation: even in the first slot, odd in the second |
//! | 8 | 8 | the last number that is final |
//! | 16 | 8 | the number after the last that was durable |
//! | 24 | 4 | the checksum of the message that is the last final one |
//! | 28 | 4 | 1 if that is known, else 0 |
//! | 32 | 4 | the checksum of the 32 bytes before |
//!
//! It need not be durable: what a crash of the machine takes back, the server tells again. Before a segment is deleted it is synced.
//!
//! # After a crash
//! The last segment is read when the spool is opened. What is no record at its end was being written, and never accepted: it is cut off with a
//! warning. If there are sound records behind it, it is damage, and the spool is not opened: nothing is skipped in silence. The one exception
//! is the write that was under way when the power failed, of which later parts may have reached the disk before earlier ones: the records behind
//! say that they are of the same write, and the part that is missing is at least a sector of zeros. Segments before the last are checked when
//! they are read.

mod directory;
mod error;
mod inspection;
mod journal;
mod letters;
mod progress;
mod reader;
pub(crate) mod record;
mod renewal;
mod repair;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{Semaphore, mpsc, oneshot};

pub use error::{Damage, Exposure, SpoolError};
pub use inspection::{Inspection, Waiting, WaitingMessages};
pub use letters::{DeadLetters, Letter};
pub use record::MAX_BODY;
pub use renewal::Unsettled;
pub use repair::{Repair, repair};

use crate::service::Batch;
use crate::wire::assured::{Code, Run, SessionId, Start};
pub(super) use directory::replace_durably;
use directory::{Directory, random_session};
use journal::Journal;
use letters::Letters;
use reader::{Reader, View};
use writer::{Job, Writer};

/// How much a spool may take on disk by default, in bytes.
pub const SPOOL_BYTES: u64 = 1024 * 1024 * 1024;

/// How long a segment becomes by default, in bytes.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// How much may wait to be written, in bytes: who has more to accept waits.
pub const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Settings of a spool.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// How much its segments may take on disk, in bytes; `None` is as much as there is. By default [`SPOOL_BYTES`].
    pub max_bytes: Option<u64>,
    /// After how many bytes another segment is begun. By default [`SEGMENT_BYTES`]; never more than an eighth of what the spool may take, so
    /// that room becomes free as messages become final.
    pub segment_bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self { max_bytes: Some(SPOOL_BYTES), segment_bytes: SEGMENT_BYTES }
    }
}

impl SpoolConfig {
    /// After how many bytes another segment is begun.
    fn longest_segment(&self) -> u64 {
        self.max_bytes.map_or(self.segment_bytes, |max| self.segment_bytes.min(max / 8)).max(1)
    }
}

/// A batch that was not accepted: nothing of it is in the spool.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Rejected {
    /// Why.
    pub error: SpoolError,
    /// The messages.
    pub batch: Box<Batch>,
}

/// A client's durable outbox: a directory that this process alone uses.
///
/// It has a thread of its own, which writes and syncs: what comes in while it does so is written and synced together next. Dropping it
/// waits for that thread, and closes it in order.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    reader: Arc<Mutex<Reader>>,
    /// How many bytes may still be queued.
    room: Arc<Semaphore>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<Result<(), SpoolError>>>,
}

/// What the spool and its thread both know.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    letters: Mutex<Letters>,
}

/// How far the spool is.
#[derive(Debug)]
struct State {
    /// What can be read.
    view: View,
    /// The checksum of the last final message.
    checksum: Option<u32>,
    /// Whether the thread has yet to be told how much is final.
    is_settling: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool {
    /// Opens the spool in a directory, which is made if it is not there, with a session if it has none. It blocks while it reads the last segment.
    ///
    /// # Errors
    /// Another process uses it; others could change what it holds ([`Exposure`]); the directory holds something else, or a spool of a later version; what is in it is damaged; or the system will
    /// not have it.
    pub fn open(directory: impl AsRef<Path>, config: SpoolConfig) -> Result<Self, SpoolError> {
        let mut directory = Directory::lock(directory.as_ref())?;
        let session = match &directory.session {
            Some(session) => session.clone(),
            None => {
                let session = random_session()?;
                directory.begin(session.clone(), Journal::make)?;
                session
            }
        };
        let journal = Journal::open(directory.of_session(&session), session, config.clone())?;
        let state = State { view: writer::view(&journal), checksum: journal.mark().checksum, is_settling: false };
        let letters = Mutex::new(Letters::new(directory.path()));
        let shared = Arc::new(Shared { state: Mutex::new(state), letters });
        let (jobs, queue) = mpsc::unbounded_channel();
        let writer = Writer { directory, journal, config, shared: Arc::clone(&shared) };
        let thread = thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run(queue));
        let thread = thread.map_err(|error| SpoolError::Failed(format!("there is no thread for it: {error}")))?;
        Ok(Self {
            shared,
            reader: Arc::default(),
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.shared.state().view.session.clone()
    }

    /// Where the session goes on.
    pub fn start(&self) -> Start {
        let state = self.shared.state();
        Start { first: state.view.settled + 1, next: state.view.next, checksum: state.checksum }
    }

    /// Accepts messages: gives them the next numbers, and returns them once they are durable. They are accepted in the order of the calls. A call that
    /// is dropped may have accepted them.
    ///
    /// # Errors
    /// There is no room for them, or the spool has failed. Nothing of them is accepted then.
    pub async fn accept(&self, batch: Batch) -> Result<Run, Rejected> {
        self.accept_run(batch.into_run(0)).await.map_err(|rejected| {
            let (error, run) = *rejected;
            Rejected { error, batch: Box::new(Batch::of_run(run)) }
        })
    }

    /// Accepts messages that come from another session: as [`accept`](Self::accept), with their origins. The run's numbers are replaced.
    ///
    /// # Errors
    /// As those of [`accept`](Self::accept); with the run.
    pub async fn accept_run(&self, run: Run) -> Result<Run, Box<(SpoolError, Run)>> {
        let bytes = (run.bytes.len() + run.len() * record::PREFIX).min(QUEUE_BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes as u32).await;
        let (answer, answered) = oneshot::channel();
        let job = Job::Accept { run, answer, _room: room.ok() };
        self.submit(job);
        answered.await.unwrap_or_else(|_| Err(Box::new((gone(), Run::default()))))
    }

    /// Reads messages from a number on, durable ones alone: up to so many, of up to so many bytes, but one in any case. None if there is none of
    /// this number yet. The next call is quick if it begins where this one ends.
    ///
    /// # Errors
    /// The number is final already; or what was kept cannot be read.
    pub async fn read(&self, from: u64, max_messages: usize, max_bytes: usize) -> Result<Run, SpoolError> {
        let view = self.shared.state().view.clone();
        if from >= view.next {
            return Ok(Run::new(from));
        }
        let reader = Arc::clone(&self.reader);
        let read = move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.read(&view, from, max_messages, max_bytes)
        };
        off_the_runtime(read).await
    }

    /// The checksum of a message: that of the last final one, if it is known, and those of all that are kept.
    ///
    /// # Errors
    /// What was kept cannot be read.
    pub async fn checksum(&self, number: u64) -> Result<Option<u32>, SpoolError> {
        let (view, checksum) = {
            let state = self.shared.state();
            (state.view.clone(), state.checksum)
        };
        match number {
            _ if number == view.settled => Ok(checksum),
            _ if number < view.settled || number >= view.next => Ok(None),
            // With a place of its own, so that the one of those who read on stays.
            _ => off_the_runtime(move || Reader::default().checksum(&view, number).map(Some)).await,
        }
    }

    /// Notes that all messages up to a number are final, with the checksum of that one if it is known: they leave the spool. It returns at once and need not
    /// be durable.
    pub fn settle(&self, through: u64, checksum: Option<u32>) {
        let mut state = self.shared.state();
        let through = through.min(state.view.next - 1);
        if through > state.view.settled {
            (state.view.settled, state.checksum) = (through, checksum);
            if !std::mem::replace(&mut state.is_settling, true) {
                self.submit(Job::Settle);
            }
        }
    }

    /// Keeps a message that was refused for good among the dead letters, and returns once that is durable. It is there once, however often this is
    /// called. The message itself is the one in the spool; `body` is used where that is not there any more.
    ///
    /// # Errors
    /// It cannot be read or written. The message is not to be settled then.
    pub async fn dead_letter(
        &self,
        number: u64,
        code: Code,
        reason: &str,
        body: Option<&[u8]>,
    ) -> Result<(), SpoolError> {
        let (shared, reason, body) = (Arc::clone(&self.shared), reason.to_owned(), body.map(<[u8]>::to_vec));
        let view = shared.state().view.clone();
        let write = move || {
            let is_kept = number > view.settled && number < view.next;
            let run = if is_kept { Reader::default().read(&view, number, 1, 0)? } else { Run::new(number) };
            let origin = run.origins.first().map(|(_, session, there)| format!("{session}:{there}"));
            let body = if is_kept { run.message(number) } else { body.as_deref().unwrap_or_default() };
            let letter = Letter::new(&view.session, number, code, &reason, origin, body);
            shared.letters().add(&view.session, [letter])
        };
        off_the_runtime(write).await
    }

    /// Begins a new session, since the server has lost the old one: what is not final is in it from number 1 on, or among the dead letters. A crash
    /// leaves the old session or the new one.
    ///
    /// # Errors
    /// It cannot be read or written. The old session goes on then.
    pub async fn renew(&self, unsettled: Unsettled) -> Result<SessionId, SpoolError> {
        let (answer, answered) = oneshot::channel();
        self.submit(Job::Renew { unsettled, answer });
        answered.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(self.session())
    }

    /// Closes it: all that was accepted and how much of it is final is durable then, and another process may use it.
    ///
    /// # Errors
    /// It could not be made durable how much is final.
    pub async fn close(mut self) -> Result<(), SpoolError> {
        self.jobs = None;
        let thread = self.thread.take();
        off_the_runtime(move || thread.map_or(Ok(()), join)).await
    }

    fn submit(&self, job: Job) {
        // If the thread has gone, the job's answer says so by not coming.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(Err(error)) = self.thread.take().map(join) {
            tracing::warn!("{error}");
        }
    }
}

fn join(thread: JoinHandle<Result<(), SpoolError>>) -> Result<(), SpoolError> {
    thread.join().unwrap_or_else(|_| Err(gone()))
}

fn gone() -> SpoolError {
    SpoolError::Failed("its thread has ended".to_owned())
}

/// Does what may wait for a disk where nobody else waits for it.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(gone()))
}
