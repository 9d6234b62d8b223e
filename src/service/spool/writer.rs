//! `Writer`: the thread of a spool, which alone writes its segments.
//!
//! Apart from the journal, so that who waits and who is told is in one place: whatever was queued during a sync is one write and one sync.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::directory::Directory;
use super::error::SpoolError;
use super::journal::Journal;
use super::reader::View;
use super::{QUEUE_BYTES, Shared, SpoolConfig, Unsettled, renewal};
use crate::wire::assured::Run;

/// The answer to messages that were to be accepted: with their numbers, or as they were.
type Accepted = Result<Run, Box<(SpoolError, Run)>>;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Accept { run: Run, answer: oneshot::Sender<Accepted>, _room: Option<OwnedSemaphorePermit> },
    Settle,
    Renew { unsettled: Unsettled, answer: oneshot::Sender<Result<(), SpoolError>> },
}

/// Messages that are written with others and wait for the sync, with the number of the first.
struct Pending {
    run: Run,
    first: u64,
    answer: oneshot::Sender<Accepted>,
    _room: Option<OwnedSemaphorePermit>,
}

/// What the thread has.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) directory: Directory,
    pub(super) journal: Journal,
    pub(super) config: SpoolConfig,
    pub(super) shared: Arc<Shared>,
}

impl Writer {
    /// Works until nobody can ask for anything any more, and closes the journal.
    pub(super) fn run(mut self, mut queue: UnboundedReceiver<Job>) -> Result<(), SpoolError> {
        let mut group = Vec::new();
        let mut job = queue.blocking_recv();
        while let Some(current) = job.take() {
            match current {
                Job::Accept { run, answer, _room } => {
                    // Those that are next in the queue are of the same write, up to another kind of job.
                    let mut next = Some((run, answer, _room));
                    while let Some((run, answer, room)) = next.take() {
                        self.stage(run, answer, room, &mut group);
                        if self.journal.staged() >= QUEUE_BYTES {
                            break;
                        }
                        match queue.try_recv() {
                            Ok(Job::Accept { run, answer, _room }) => next = Some((run, answer, _room)),
                            other => job = other.ok(),
                        }
                    }
                    self.commit(&mut group);
                }
                Job::Settle => self.settle(),
                Job::Renew { unsettled, answer } => {
                    self.settle();
                    // Whoever has asked may have gone; the session is renewed all the same.
                    let _ = answer.send(self.renew(&unsettled));
                }
            }
            if job.is_none() {
                job = queue.blocking_recv();
            }
        }
        self.settle();
        self.journal.close()
    }

    fn stage(
        &mut self,
        run: Run,
        answer: oneshot::Sender<Accepted>,
        room: Option<OwnedSemaphorePermit>,
        group: &mut Vec<Pending>,
    ) {
        match self.journal.stage(&run) {
            Ok(first) => group.push(Pending { run, first, answer, _room: room }),
            Err(error) => drop(answer.send(Err(Box::new((error, run))))),
        }
    }

    /// Writes and syncs what is staged, and tells those who wait for it.
    fn commit(&mut self, group: &mut Vec<Pending>) {
        let committed = self.journal.commit();
        self.publish();
        for Pending { mut run, first, answer, .. } in group.drain(..) {
            let _ = answer.send(match &committed {
                Ok(()) => {
                    run.origins.iter_mut().for_each(|(number, ..)| *number = *number - run.first + first);
                    run.first = first;
                    Ok(run)
                }
                Err(error) => Err(Box::new((error.again(), run))),
            });
        }
    }

    fn settle(&mut self) {
        let (settled, checksum) = {
            let mut state = self.shared.state();
            state.is_settling = false;
            (state.view.settled, state.checksum)
        };
        // What is not deleted now is with the next, or when the spool is opened again.
        if let Err(error) = self.journal.settle(settled, checksum) {
            tracing::warn!("{error}");
        }
        self.publish();
    }

    fn renew(&mut self, unsettled: &Unsettled) -> Result<(), SpoolError> {
        let view = view(&self.journal);
        renewal::renew(&mut self.directory, &view, unsettled, &mut self.shared.letters())?;
        let session = self.directory.session.clone().unwrap_or(view.session);
        self.journal = Journal::open(self.directory.of_session(&session), session, self.config.clone())?;
        let mut state = self.shared.state();
        state.view = super::writer::view(&self.journal);
        state.checksum = None;
        Ok(())
    }

    /// Lets others see what is durable by now.
    fn publish(&self) {
        let mut state = self.shared.state();
        let settled = state.view.settled;
        state.view = View { settled, ..view(&self.journal) };
    }
}

/// What there is to read of a journal.
pub(super) fn view(journal: &Journal) -> View {
    let mark = journal.mark();
    View {
        directory: journal.directory().to_owned(),
        session: journal.session().clone(),
        settled: mark.settled,
        next: mark.next,
        tail: journal.tail(),
    }
}
