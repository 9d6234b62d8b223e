//! `Keeping`: what a delivery asks of its spool, each question one that is waited for beside everything else.
//!
//! Apart from the spool, which answers: here is what is under way, in which order, and what becomes of input that has no room. Without a spool the sender
//! holds all there is, and nothing is asked.

use std::fmt;
use std::future::poll_fn;
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
    /// How many messages are offered at once: all there are, until so many had no room.
    together: usize,
    /// Whether nothing else was in the spool when the write under way was begun.
    is_alone: bool,
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
        Self::of(session, None, None, Start { first: 1, next: 1, checksum: None })
    }

    /// With a spool, which is in this directory.
    pub(super) fn in_spool(spool: Spool, directory: &Path) -> Self {
        let (session, start) = (spool.session(), spool.start());
        Self::of(session, Some(Arc::new(spool)), Some(directory.to_owned()), start)
    }

    fn of(session: SessionId, spool: Option<Arc<Spool>>, directory: Option<PathBuf>, start: Start) -> Self {
        Self {
            session,
            spool,
            directory,
            next: start.next,
            settled: start.first - 1,
            gathered: Batch::default(),
            accepting: None,
            pausing: None,
            is_full: false,
            together: usize::MAX,
            is_alone: false,
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
        self.pausing = None;
        let accepted = loop {
            match poll_fn(|cx| self.poll_offered(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(Rejected { error, .. })) => break Err(error),
                None => break Ok(()),
            }
        };
        (self.reading, self.asking, self.pausing) = (None, None, None);
        let closed = match self.spool.take().and_then(Arc::into_inner) {
            Some(spool) => spool.close().await,
            None => Ok(()),
        };
        accepted.and(closed)
    }

    fn poll_accepted(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, SpoolError>> {
        loop {
            if let Some(pausing) = &mut self.pausing {
                ready!(pausing.as_mut().poll(cx));
                self.pausing = None;
            }
            let rejected = match ready!(self.poll_offered(cx)) {
                None => return Poll::Pending,
                Some(Ok(run)) => return Poll::Ready(Ok(Done::Accepted(run))),
                Some(Err(rejected)) => rejected,
            };
            let Rejected { error, batch } = rejected;
            let needed = batch.spans.first().map_or(0, |span| span.end - span.start);
            // Nothing that was taken later may be accepted before it.
            prepend(&mut self.gathered, *batch);
            if !error.is_for_want_of_room() {
                return Poll::Ready(Err(error));
            }
            if self.is_alone {
                // There is nothing whose end could make room.
                return Poll::Ready(Err(error.for_good(needed, self.directory.as_deref())));
            }
            self.pausing = Some(Box::pin(sleep(AGAIN)));
            if !std::mem::replace(&mut self.is_full, true) {
                return Poll::Ready(Ok(Done::Full(error.to_string())));
            }
        }
    }

    /// Offers what was gathered to the spool, in halves if it has no room for all; `None` if there is nothing. What it rejects for want of room is one message.
    fn poll_offered(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Run, Rejected>>> {
        let Some(spool) = &self.spool else { return Poll::Ready(None) };
        loop {
            if self.accepting.is_none() {
                if self.gathered.spans.is_empty() {
                    return Poll::Ready(None);
                }
                let (spool, batch) = (Arc::clone(spool), take_first(&mut self.gathered, self.together));
                self.is_alone = self.settled + 1 == self.next;
                self.accepting = Some(Box::pin(async move { spool.accept(batch).await }));
            }
            let Some(accepting) = &mut self.accepting else { return Poll::Pending };
            let accepted = ready!(accepting.as_mut().poll(cx));
            self.accepting = None;
            match accepted {
                Ok(run) => {
                    self.next = run.next();
                    self.is_full = false;
                    self.together = self.together.saturating_mul(2);
                    return Poll::Ready(Some(Ok(run)));
                }
                Err(Rejected { error, batch }) if error.is_for_want_of_room() && batch.spans.len() > 1 => {
                    self.together = batch.spans.len() / 2;
                    prepend(&mut self.gathered, *batch);
                }
                Err(rejected) => return Poll::Ready(Some(Err(rejected))),
            }
        }
    }
}

/// Takes so many messages from the front.
fn take_first(batch: &mut Batch, most: usize) -> Batch {
    if batch.spans.len() <= most {
        return std::mem::take(batch);
    }
    let (mut first, mut rest) = (Batch::default(), Batch::default());
    for (at, message) in batch.iter().enumerate() {
        if at < most { first.push(message) } else { rest.push(message) }
    }
    for (of, session, there) in std::mem::take(&mut batch.origins) {
        match of.checked_sub(most as u64) {
            None => first.origins.push((of, session, there)),
            Some(of) => rest.origins.push((of, session, there)),
        }
    }
    *batch = rest;
    first
}

/// Puts messages before others.
fn prepend(batch: &mut Batch, first: Batch) {
    let later = std::mem::replace(batch, first);
    append(batch, later);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::spool::SpoolConfig;

    fn gathered(keeping: &mut Keeping, lengths: &[usize]) {
        let mut batch = Batch::default();
        lengths.iter().for_each(|length| batch.push(&vec![b'x'; *length]));
        assert!(keeping.take(batch).is_none());
    }

    async fn done(keeping: &mut Keeping) -> Result<Done, SpoolError> {
        poll_fn(|cx| keeping.poll(cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_room_together_is_accepted_in_parts_and_the_rest_waits_for_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = SpoolConfig { max_bytes: Some(1000), ..SpoolConfig::default() };
        let spool = Spool::open(directory.path().join("box"), config).expect("a spool");
        let mut keeping = Keeping::in_spool(spool, directory.path());
        gathered(&mut keeping, &[100; 20]);
        let (mut next, mut waits, mut together) = (1, 0, 0);
        while next <= 20 {
            match done(&mut keeping).await.expect("room in the end") {
                Done::Accepted(run) => {
                    assert_eq!(run.first, next);
                    next = run.next();
                    together = together.max(run.len());
                }
                Done::Full(_) => {
                    assert!(next > 1, "something has room");
                    waits += 1;
                    keeping.settle(next - 1, None);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(waits > 1 && together > 1, "{waits} {together}");
        // What never has room is no reason to wait, once there is nothing that could make some.
        gathered(&mut keeping, &[10, 2000]);
        assert!(matches!(done(&mut keeping).await, Ok(Done::Full(_) | Done::Accepted(_))));
        loop {
            keeping.settle(keeping.next() - 1, None);
            match done(&mut keeping).await {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(keeping.next(), 22);
                    let text = error.to_string();
                    assert!(matches!(error, SpoolError::NeverRoom { needed: 2029, free: Some(1000), .. }), "{text}");
                    assert!(text.contains("2029 bytes are needed, and 1000 are free"), "{text}");
                    break;
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_accepted_behind_what_had_no_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("box");
        let config = SpoolConfig { max_bytes: Some(1000), ..SpoolConfig::default() };
        let spool = Spool::open(&path, config.clone()).expect("a spool");
        let mut keeping = Keeping::in_spool(spool, directory.path());
        gathered(&mut keeping, &[2000, 10]);
        assert!(matches!(done(&mut keeping).await, Err(SpoolError::NeverRoom { .. })));
        assert!(keeping.close().await.is_err());
        assert_eq!(Spool::open(&path, config).expect("a spool").start().next, 1);
    }
}
