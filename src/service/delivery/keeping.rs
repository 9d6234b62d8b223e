//! `Keeping`: what a delivery asks of its spool, each question one that is waited for beside everything else.
//!
//! Apart from the spool, which answers: here is what is under way, in which order, and what becomes of input that has no room. Without a spool the sender
//! holds all there is, and nothing is asked.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::sleep;

use crate::service::spool::{Spool, SpoolError};
use crate::service::{Batch, BoxFuture};
use crate::wire::Span;
use crate::wire::assured::{Code, Run, SessionId, Start};

/// What comes while the last write is synced is gathered up to so many bytes, and is then one write.
const GATHERED: usize = 1024 * 1024;

/// So much is read back from the spool at once: messages, and bytes of them.
const READ: (usize, usize) = (16 * 1024, 1024 * 1024);

/// After how long messages are offered again to a spool that had no room.
const AGAIN: Duration = Duration::from_secs(1);

/// The spool of a delivery, if it has one.
pub(super) struct Keeping {
    session: SessionId,
    spool: Option<Arc<Spool>>,
    directory: Option<PathBuf>,
    /// The number after the last that was accepted.
    next: u64,
    /// The last number that is final.
    settled: u64,
    /// Messages that have not been offered yet.
    gathered: Batch,
    /// The write that is under way, or the pause after one that had no room.
    accepting: Option<BoxFuture<'static, Result<Run, Rejected>>>,
    pausing: Option<BoxFuture<'static, ()>>,
    /// Whether it was told that there is no room.
    is_full: bool,
    /// What is being read back, and from which number on.
    reading: Option<(u64, BoxFuture<'static, Result<Run, SpoolError>>)>,
    asking: Option<BoxFuture<'static, Result<Answer, SpoolError>>>,
}

type Rejected = crate::service::spool::Rejected;

/// The answer to what the sender waits for.
#[derive(Debug)]
pub(super) enum Answer {
    /// The checksum of a message, if it is known.
    Checksum(Option<u32>),
    /// The message is among the dead letters.
    Kept { number: u64, code: Code, reason: String },
}

/// What has become of something that was asked.
#[derive(Debug)]
pub(super) enum Done {
    /// Messages were accepted, with these numbers.
    Accepted(Run),
    /// There is no room for what comes next, for this reason.
    Full(String),
    /// Messages were read back.
    Read(Run),
    /// What the sender waits for.
    Answer(Answer),
}

impl Keeping {
    /// Without a spool.
    pub(super) fn in_memory(session: SessionId) -> Self {
        Self::of(session, None, None, 1)
    }

    /// With a spool, which is in this directory.
    pub(super) fn in_spool(spool: Spool, directory: &Path) -> Self {
        let (session, next) = (spool.session(), spool.start().next);
        Self::of(session, Some(Arc::new(spool)), Some(directory.to_owned()), next)
    }

    fn of(session: SessionId, spool: Option<Arc<Spool>>, directory: Option<PathBuf>, next: u64) -> Self {
        Self {
            session,
            spool,
            directory,
            next,
            settled: 0,
            gathered: Batch::default(),
            accepting: None,
            pausing: None,
            is_full: false,
            reading: None,
            asking: None,
        }
    }

    pub(super) fn session(&self) -> SessionId {
        self.session.clone()
    }

    /// Where the session goes on.
    pub(super) fn start(&self) -> Start {
        match &self.spool {
            Some(spool) => spool.start(),
            None => Start { first: 1, next: 1, checksum: None },
        }
    }

    /// Where the spool is, if there is one.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The number after the last that was accepted.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the sender waits for an answer.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Whether something is not accepted yet.
    pub(super) fn has_unaccepted(&self) -> bool {
        self.accepting.is_some() || !self.gathered.spans.is_empty()
    }

    /// Whether more may be gathered, while the sender wants the message of a number.
    pub(super) fn takes_more(&self, wants: Option<u64>) -> bool {
        match self.spool {
            Some(_) => self.gathered.bytes.len() < GATHERED,
            None => wants.is_some(),
        }
    }

    /// Takes messages. Without a spool they are accepted at once.
    pub(super) fn take(&mut self, mut batch: Batch) -> Option<Run> {
        if self.spool.is_none() {
            if batch.bytes.capacity() > 2 * batch.bytes.len() {
                // A buffer for a read, with the one line in it that somebody has typed.
                batch.bytes.shrink_to_fit();
            }
            let run = batch.into_run(self.next);
            self.next = run.next();
            return Some(run);
        }
        append(&mut self.gathered, batch);
        None
    }

    /// Has messages read back, from a number on.
    pub(super) fn read(&mut self, from: u64) {
        if let (Some(spool), None) = (&self.spool, &self.reading) {
            let spool = Arc::clone(spool);
            self.reading = Some((from, Box::pin(async move { spool.read(from, READ.0, READ.1).await })));
        }
    }

    /// Asks for the checksum of a message, which the sender waits for.
    pub(super) fn ask_checksum(&mut self, number: u64) {
        let spool = self.spool.as_ref().map(Arc::clone);
        self.asking = Some(Box::pin(async move {
            Ok(Answer::Checksum(match spool {
                Some(spool) => spool.checksum(number).await?,
                None => None,
            }))
        }));
    }

    /// Has a message kept among the dead letters, which the sender waits for.
    pub(super) fn keep_refused(&mut self, number: u64, code: Code, reason: String, body: Option<&[u8]>) {
        let spool = self.spool.as_ref().map(Arc::clone);
        // Without a spool there is nothing to keep it in.
        let body = body.filter(|_| spool.is_some()).map(<[u8]>::to_vec);
        self.asking = Some(Box::pin(async move {
            if let Some(spool) = spool {
                spool.dead_letter(number, code, &reason, body.as_deref()).await?;
            }
            Ok(Answer::Kept { number, code, reason })
        }));
    }

    /// Notes that all up to a number is final.
    pub(super) fn settle(&mut self, through: u64, checksum: Option<u32>) {
        self.settled = through;
        if let Some(spool) = &self.spool {
            spool.settle(through, checksum);
            // There may be room now.
            self.pausing = None;
        }
    }

    /// Ready when something that was asked is done.
    ///
    /// # Errors
    /// The spool can do nothing more, or what was kept cannot be read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, SpoolError>> {
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(answer) = asking.as_mut().poll(cx)
        {
            self.asking = None;
            return Poll::Ready(answer.map(Done::Answer));
        }
        if let Some((from, reading)) = &mut self.reading
            && let Poll::Ready(read) = reading.as_mut().poll(cx)
        {
            let is_final = *from <= self.settled;
            self.reading = None;
            return Poll::Ready(match read {
                // It has left the spool while it was read.
                Err(_) if is_final => Ok(Done::Read(Run::default())),
                read => read.map(Done::Read),
            });
        }
        self.poll_accepted(cx)
    }

    /// Has what was taken accepted, if there is room for it, and closes the spool.
    ///
    /// # Errors
    /// It could not be made durable how much is final, or what was taken is not in the spool.
    pub(super) async fn close(&mut self) -> Result<(), SpoolError> {
        let mut accepted = match self.accepting.take() {
            Some(accepting) => self.note(accepting.await),
            None => Ok(()),
        };
        if let (Some(spool), false) = (&self.spool, self.gathered.spans.is_empty()) {
            let offered = spool.accept(std::mem::take(&mut self.gathered)).await;
            accepted = self.note(offered);
        }
        (self.reading, self.asking, self.pausing) = (None, None, None);
        let closed = match self.spool.take().and_then(Arc::into_inner) {
            Some(spool) => spool.close().await,
            None => Ok(()),
        };
        accepted.and(closed)
    }

    fn note(&mut self, accepted: Result<Run, Rejected>) -> Result<(), SpoolError> {
        match accepted {
            Ok(run) => self.next = run.next(),
            Err(Rejected { error, batch }) => {
                self.put_back(*batch);
                return Err(error);
            }
        }
        Ok(())
    }

    fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, SpoolError>> {
        let Some(spool) = &self.spool else { return Poll::Pending };
        if let Some(pausing) = &mut self.pausing {
            ready!(pausing.as_mut().poll(cx));
            self.pausing = None;
        }
        if self.accepting.is_none() && self.gathered.spans.is_empty() {
            return Poll::Pending;
        }
        let accepting = self.accepting.get_or_insert_with(|| {
            let (spool, batch) = (Arc::clone(spool), std::mem::take(&mut self.gathered));
            Box::pin(async move { spool.accept(batch).await })
        });
        let accepted = ready!(accepting.as_mut().poll(cx));
        self.accepting = None;
        match accepted {
            Ok(run) => {
                self.next = run.next();
                self.is_full = false;
                Poll::Ready(Ok(Done::Accepted(run)))
            }
            Err(Rejected { error: error @ (SpoolError::Full { .. } | SpoolError::NoRoom { .. }), batch }) => {
                self.put_back(*batch);
                self.pausing = Some(Box::pin(sleep(AGAIN)));
                match std::mem::replace(&mut self.is_full, true) {
                    true => self.poll_accepted(cx),
                    false => Poll::Ready(Ok(Done::Full(error.to_string()))),
                }
            }
            Err(Rejected { error, batch }) => {
                self.put_back(*batch);
                Poll::Ready(Err(error))
            }
        }
    }

    /// Takes back what was not accepted: nothing that was taken later may be accepted before it.
    fn put_back(&mut self, batch: Batch) {
        let later = std::mem::replace(&mut self.gathered, batch);
        append(&mut self.gathered, later);
    }
}

/// Puts messages behind others.
fn append(batch: &mut Batch, more: Batch) {
    if batch.spans.is_empty() {
        *batch = more;
        return;
    }
    let (at, place) = (batch.bytes.len(), batch.spans.len() as u64);
    batch.origins.extend(more.origins.into_iter().map(|(of, session, there)| (of + place, session, there)));
    batch.bytes.extend_from_slice(&more.bytes);
    batch.spans.extend(more.spans.iter().map(|span| Span { start: span.start + at, end: span.end + at }));
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, spool, next, .. } = self;
        f.debug_struct("Keeping")
            .field("session", session)
            .field("spool", spool)
            .field("next", next)
            .finish_non_exhaustive()
    }
}
