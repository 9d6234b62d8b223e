//! `Session`: one that files come in: its owner, how far it is, and the thread that does its work in the order of the calls.
//!
//! Apart from the words, which may block: a call is put into a queue, and a thread that ends when nothing comes any more takes it from there. A call that nobody waits for any more is done all
//! the same.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::lock;
use super::shared::Shared;
use super::trouble::BUSY_PAUSE;
use super::words::{Sender, Words};
use crate::service::store::{Append, Opened, Opening, Owner, Source, StoreError};
use crate::wire::assured::{Applied, Code, Progress, PutOff, Verdict, WINDOW, checksum};

/// How long the thread of a session waits for more.
const LINGER: Duration = Duration::from_secs(1);

/// Enough for what a thread does: what it reads is elsewhere.
const STACK: usize = 512 * 1024;

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// Who has begun it.
    principal: Option<String>,
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    filled: Condvar,
    state: Mutex<State>,
    /// Used by whoever has taken a call from the queue.
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Whether there is a thread.
    has_thread: bool,
    /// Whether the thread does something.
    is_busy: bool,
    /// Whether it is forgotten, and nothing is done any more.
    is_closed: bool,
    /// Since when it was seen to have no connection.
    alone: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    owner: u64,
    is_known: bool,
    acknowledged: u64,
    checksum: Option<u32>,
    verdicts: VecDeque<(u64, Verdict)>,
    /// How many bytes those are.
    told: usize,
    /// Whose connection it is: gone with it.
    source: Weak<Source>,
}

/// A call, and who waits for what comes of it.
#[derive(Debug)]
pub(super) enum Job {
    Open(Opening, oneshot::Sender<Result<Opened, StoreError>>),
    Append(Append, Handle, oneshot::Sender<Result<Applied, StoreError>>),
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, principal: Option<String>, source: &Arc<Source>) -> Arc<Self> {
        let state = State { source: Arc::downgrade(source), ..State::default() };
        let words = Mutex::new(Words::new(shared.clone()));
        let (queue, filled) = (Mutex::default(), Condvar::new());
        Arc::new(Self { principal, shared, queue, filled, state: Mutex::new(state), words })
    }

    /// Has a call done behind those before it. Says whether it is: nothing is in a session that is forgotten.
    pub(super) fn push(self: &Arc<Self>, job: Job) -> bool {
        let mut queue = lock(&self.queue);
        if queue.is_closed {
            return false;
        }
        queue.jobs.push_back(job);
        self.filled.notify_one();
        if !queue.has_thread {
            let session = self.clone();
            let thread = std::thread::Builder::new().name("save".to_owned()).stack_size(STACK);
            queue.has_thread = thread.spawn(move || session.work()).is_ok();
            if !queue.has_thread {
                queue.jobs.drain(..).for_each(Job::cannot_be_done);
            }
        }
        true
    }

    /// Forgets what became of messages up to this number.
    pub(super) fn note(&self, owner: Owner, through: u64) {
        let mut state = lock(&self.state);
        if state.owner == owner.0 {
            self.forget(&mut state, through);
        }
    }

    /// Ends it if it has had no connection for so long, and nothing under way. Says whether it has.
    pub(super) fn end_if_alone(&self, longer: Duration) -> bool {
        let mut queue = lock(&self.queue);
        if queue.is_busy || !queue.jobs.is_empty() || lock(&self.state).source.strong_count() > 0 {
            queue.alone = None;
            return false;
        }
        let since = *queue.alone.get_or_insert_with(Instant::now);
        if since.elapsed() < longer {
            return false;
        }
        queue.is_closed = true;
        lock(&self.words).close();
        self.forget(&mut lock(&self.state), u64::MAX);
        true
    }

    /// Ends it once what is under way is done: nothing else is any more.
    pub(super) fn end(&self) {
        let mut queue = lock(&self.queue);
        queue.is_closed = true;
        queue.jobs.clear();
        self.filled.notify_one();
        if !queue.is_busy {
            lock(&self.words).close();
        }
    }

    fn work(self: Arc<Self>) {
        while let Some(job) = self.next() {
            match job {
                Job::Open(opening, waits) => {
                    let opened = self.open(opening);
                    self.is_done();
                    // Nobody may wait any more.
                    let _ = waits.send(opened);
                }
                Job::Append(append, runtime, waits) => {
                    let applied = self.append(append, &runtime);
                    self.is_done();
                    let _ = waits.send(applied);
                }
            }
        }
    }

    /// The thread has nothing in hand. That is so before anybody hears what came of it.
    fn is_done(&self) {
        let mut queue = lock(&self.queue);
        queue.is_busy = false;
        if queue.is_closed {
            lock(&self.words).close();
        }
    }

    /// The next call; none if there was none for a while.
    fn next(&self) -> Option<Job> {
        let queue = lock(&self.queue);
        let waited = self.filled.wait_timeout_while(queue, LINGER, |queue| queue.jobs.is_empty() && !queue.is_closed);
        let (mut queue, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = queue.jobs.pop_front();
        match next {
            Some(_) => queue.is_busy = true,
            None => {
                queue.has_thread = false;
                lock(&self.words).rest();
            }
        }
        next
    }

    fn open(&self, opening: Opening) -> Result<Opened, StoreError> {
        if self.principal.is_some() && self.principal != opening.principal {
            return Err(StoreError::Foreign);
        }
        let owner = self.shared.next_owner();
        let mut state = lock(&self.state);
        (state.owner, state.source) = (owner.0, Arc::downgrade(&opening.source));
        let progress = Progress {
            known: std::mem::replace(&mut state.is_known, true),
            acknowledged: state.acknowledged,
            checksum: state.checksum,
            verdicts: state.verdicts.iter().cloned().collect(),
        };
        Ok(Opened { progress, owner })
    }

    fn append(&self, append: Append, runtime: &Handle) -> Result<Applied, StoreError> {
        let Append { owner, source, run, .. } = append;
        let (acknowledged, told) = {
            let state = lock(&self.state);
            if state.owner != owner.0 || run.first <= state.acknowledged {
                return Err(StoreError::TakenOver);
            }
            (state.acknowledged, state.told)
        };
        let waits = match () {
            () if run.first > acknowledged + 1 => Some("it is behind one that was put off"),
            () if self.shared.has_told_enough(told) => Some("too much was answered that nobody has noted"),
            () => None,
        };
        if let Some(reason) = waits {
            let put_off = PutOff { code: Code::OVERLOADED, after: BUSY_PAUSE, reason: reason.to_owned() };
            return Ok(Applied { through: acknowledged, verdicts: Vec::new(), put_off: Some(put_off) });
        }
        let run = Arc::new(run);
        let applied = lock(&self.words).apply(&run, &Sender { source: &source, runtime });
        let mut state = lock(&self.state);
        if applied.through > state.acknowledged {
            state.acknowledged = applied.through;
            state.checksum = Some(checksum(run.message(applied.through)))
                .filter(|_| !run.refused.iter().any(|(number, ..)| *number == applied.through));
            state.verdicts.extend(applied.verdicts.iter().cloned());
            let told = applied.verdicts.iter().map(size).sum();
            state.told += told;
            self.shared.told.fetch_add(told, Ordering::Relaxed);
            self.forget(&mut state, applied.through.saturating_sub(u64::from(WINDOW)));
        }
        Ok(applied)
    }

    /// Keeps no answers to messages up to this number.
    fn forget(&self, state: &mut State, through: u64) {
        let noted = state.verdicts.partition_point(|(number, _)| *number <= through);
        let told = state.verdicts.drain(..noted).map(|verdict| size(&verdict)).sum();
        state.told -= told;
        self.shared.told.fetch_sub(told, Ordering::Relaxed);
        if state.verdicts.is_empty() {
            state.verdicts.shrink_to_fit();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.forget(&mut lock(&self.state), u64::MAX);
    }
}

/// How many bytes an answer takes that is kept.
fn size((_, verdict): &(u64, Verdict)) -> usize {
    let text = match verdict {
        Verdict::Reply(reply) => reply.len(),
        Verdict::Refused(_, reason) => reason.len(),
    };
    size_of::<(u64, Verdict)>() + text
}

impl Job {
    /// Says that there are too many threads.
    fn cannot_be_done(self) {
        let busy = || StoreError::Busy("there are too many threads".to_owned());
        match self {
            Self::Open(_, waits) => drop(waits.send(Err(busy()))),
            Self::Append(.., waits) => drop(waits.send(Err(busy()))),
        }
    }
}
