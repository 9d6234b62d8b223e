//! `Replay`: what a store holds as messages for another server, each with the session and number under which it was sent at first.
//!
//! Apart from the archive, which only reads, and from the delivery, which knows nothing of stores. With a spool it goes on, exactly, where an earlier one was: see
//! `Position` for how.

mod position;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc;

use super::delivery::Counts;
use super::spool::{Inspection, Spool, SpoolError};
use super::store::{Archive, ArchiveError, Continuity, Selection, Stored};
use super::{Batch, Source};
use crate::net;
use crate::wire::assured::{SessionId, Start, checksum};
use position::{Chosen, Position};

/// What is noted as final once nothing more is to be read.
const CLOSED: u64 = u64::MAX;

/// How long it is waited at once for something to be stored: so late it is seen that no more is wanted.
const LOOK: Duration = Duration::from_millis(250);

/// How many pages may be under way between the store and the spool: read, given and accepted.
const PAGES: usize = 3;

/// Up to where a store is sent on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Extent {
    /// What is there when it begins.
    #[default]
    Present,
    /// That, and all that is stored from then on, until it is told to [finish](Replay::finish).
    Future,
}

/// Why what a store holds cannot be sent on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// How far it is cannot be kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The spool is not one of this replay.
    #[error(transparent)]
    Usage(#[from] net::Error),
}

/// The messages of a store that are to be sent on, in its order.
///
/// It is a [`Source`] of a [`Delivery`](super::Delivery), and is to be told with [`follow`](Self::follow) what is final: with a spool the next page of messages is given
/// when one of the page before is. So neither memory nor the spool has more than two pages that no server has.
#[derive(Debug)]
pub struct Replay {
    pages: mpsc::Receiver<Batch>,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<Result<(), ReplayError>>>,
}

/// What a replay and the thread that reads for it both know.
#[derive(Debug)]
struct Shared {
    /// The last number that is final, or [`CLOSED`].
    settled: AtomicU64,
    /// Whether it ends with what is there by now.
    is_finishing: AtomicBool,
    given: Mutex<Given>,
}

/// What was given away last.
#[derive(Debug)]
struct Given {
    /// The place of the last message before the pages.
    before: i64,
    /// Of each page the number of its first message, and the places of all.
    pages: VecDeque<(u64, Vec<i64>)>,
}

/// Reads the store, on a thread of its own.
struct Reader {
    archive: Box<dyn Archive>,
    selection: Selection,
    extent: Extent,
    /// How far it has read, and how far it is to.
    after: i64,
    through: i64,
    /// Where it is kept how far it is, if it is.
    position: Option<Position>,
    shared: Arc<Shared>,
    pages: mpsc::Sender<Batch>,
}

impl Replay {
    /// Begins to send on what is meant, of that only the last so many if it is said.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn new(
        archive: Box<dyn Archive>,
        selection: Selection,
        last: Option<usize>,
        extent: Extent,
    ) -> Result<Self, ReplayError> {
        let after = begin(&*archive, &selection, last)?;
        Self::read(archive, selection, extent, after, None, Start { first: 1, next: 1, checksum: None })
    }

    /// The same with a spool, which is in this directory and for this alone: it goes on behind the last message that the spool has ever accepted. What begins it, the time
    /// and the number of the last ones, counts the first time only.
    ///
    /// # Errors
    /// The store cannot be read, the spool is one of something else, or it cannot be kept how far it is.
    pub async fn with_spool(
        archive: Box<dyn Archive>,
        selection: Selection,
        last: Option<usize>,
        extent: Extent,
        spool: &Spool,
        directory: &Path,
    ) -> Result<Self, ReplayError> {
        let (session, start) = (spool.session(), spool.start());
        let next = start.next;
        let chosen = Chosen::new(archive.name(), &selection);
        let position = match Position::load(directory)? {
            Some(mut position) => {
                position.check(&chosen, &session, next)?;
                position.fit(&*archive, next)?;
                position
            }
            None if next > 1 => return Err(position::foreign(directory, "of a client").into()),
            None => Position::begin(directory, chosen, session, begin(&*archive, &selection, last)?)?,
        };
        let after = position.taken(next);
        if next > position.first() {
            // Numbers may be the same by chance, and messages are not.
            let own = archive.next(after - 1, after, &Selection::default())?;
            let own = own.first().map(|message| checksum(&message.body));
            let kept = spool.checksum(next - 1).await?;
            if own.zip(kept).is_some_and(|(own, kept)| own != kept) {
                return Err(position::foreign(directory, "of other messages").into());
            }
        }
        let selection = Selection { since: position.since(), ..selection };
        Self::read(archive, selection, extent, after, Some(position), start)
    }

    fn read(
        archive: Box<dyn Archive>,
        selection: Selection,
        extent: Extent,
        after: i64,
        position: Option<Position>,
        start: Start,
    ) -> Result<Self, ReplayError> {
        let through = archive.last()?;
        let shared = Arc::new(Shared {
            settled: AtomicU64::new(start.first - 1),
            is_finishing: AtomicBool::new(false),
            given: Mutex::new(Given { before: after, pages: VecDeque::new() }),
        });
        let (sender, pages) = mpsc::channel(1);
        let for_reader = Arc::clone(&shared);
        let reader = Reader { archive, selection, extent, after, through, position, shared: for_reader, pages: sender };
        let reader = thread::Builder::new().name("replay".to_owned()).spawn(move || reader.run(start.next));
        let reader = reader.map_err(|error| SpoolError::Failed(format!("there is no thread to read: {error}")))?;
        Ok(Self { pages, shared, reader: Some(reader) })
    }

    /// Whether a spool is one of a replay.
    pub fn is_of(counts: &Counts) -> bool {
        counts.spool.as_ref().is_some_and(|directory| Position::is_in(directory))
    }

    /// The place in the store of the last message that was taken from it for a replay with a spool in this directory, and is durable there; none if there was no replay.
    ///
    /// # Errors
    /// The spool cannot be looked at, or it cannot be read how far the replay is.
    pub fn taken_into(directory: &Path) -> Result<Option<i64>, SpoolError> {
        let Some(position) = Position::load(directory)? else { return Ok(None) };
        // A later one is no worse: what was noted before it has been accepted.
        let inspection = Inspection::of(directory)?;
        // Who asks may delete them.
        inspection.sync()?;
        Ok(Some(position.taken(inspection.next.max(position.first()))))
    }

    /// The place in the store of the last message that was given away, where the next has this number.
    pub fn place(&self, next: u64) -> i64 {
        let given = self.shared.given.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = given.pages.iter().flat_map(|(first, places)| (*first..).zip(places));
        messages.filter(|(number, _)| *number < next).last().map_or(given.before, |(_, place)| *place)
    }

    /// Ends, where it would go on with what is stored, once it is through with what is stored by now.
    pub fn finish(&self) {
        self.shared.is_finishing.store(true, Ordering::Release);
    }

    /// Notes the last number that is final.
    pub fn follow(&self, settled: u64) {
        self.shared.settled.fetch_max(settled, Ordering::AcqRel);
        if let Some(reader) = &self.reader {
            reader.thread().unpark();
        }
    }

    /// Takes no more from the store.
    pub fn close(&mut self) {
        self.pages.close();
        self.follow(CLOSED);
    }

    /// Why it has ended before its end, if it has. To be asked once there are no more messages.
    pub fn trouble(&mut self) -> Option<ReplayError> {
        self.close();
        let ended = self.reader.take()?.join();
        ended.unwrap_or_else(|_| Err(SpoolError::Failed("the thread that reads has ended".to_owned()).into())).err()
    }
}

impl Source for Replay {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        self.pages.poll_recv(cx)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.close();
    }
}

/// After which message it begins.
fn begin(archive: &dyn Archive, selection: &Selection, last: Option<usize>) -> Result<i64, ArchiveError> {
    last.map_or(Ok(0), |last| archive.before_last(last, selection))
}

impl Reader {
    fn run(mut self, mut next: u64) -> Result<(), ReplayError> {
        // What waits in the spool goes before the first page.
        let mut awaited = next - 1;
        // What was deleted before it was begun is nobody's.
        let mut has_told_gone = self.after == 0;
        loop {
            let page = self.archive.next(self.after, self.through, &self.selection)?;
            if !has_told_gone && self.through > self.after && self.archive.span()?.gone > self.after {
                has_told_gone = true;
                let (store, place) = (self.archive.name(), self.after + 1);
                tracing::warn!(
                    "messages were deleted from the store {store} before they were sent on, from {place} on: they are skipped"
                );
            }
            let Some(last) = page.last() else {
                match self.awaits_more()? {
                    true => continue,
                    false => return Ok(()),
                }
            };
            self.after = last.id;
            let places: Vec<_> = page.iter().map(|message| message.id).collect();
            if let Some(position) = &mut self.position {
                // Messages are accepted before they can be final, and a page as a whole.
                if !is_final(&self.shared.settled, awaited) {
                    return Ok(());
                }
                position.note(next, &page)?;
            }
            self.shared.note(next, places);
            awaited = next;
            next += page.len() as u64;
            if self.pages.blocking_send(batch(&page)).is_err() {
                return Ok(());
            }
        }
    }
}

impl Reader {
    /// Waits until more is stored; false if no more is wanted.
    fn awaits_more(&mut self) -> Result<bool, ReplayError> {
        if self.extent == Extent::Present {
            return Ok(false);
        }
        // What is not meant is not looked at again.
        self.after = self.after.max(self.through);
        loop {
            // Asked before, so that all that is stored by then is sent on.
            let is_finishing = self.shared.is_finishing.load(Ordering::Acquire);
            let last = self.archive.last()?;
            if last > self.through {
                self.through = last;
                return Ok(true);
            }
            if last < self.after
                && let Continuity::Broken(why) = Continuity::of(&*self.archive, self.after, None)?
            {
                let name = self.archive.name();
                return Err(match &self.position {
                    Some(position) => position.set_back(&name, &why),
                    None => net::Error::usage(format!("the store {name} was set back: {why}")),
                }
                .into());
            }
            if is_finishing || self.pages.is_closed() {
                return Ok(false);
            }
            self.archive.wait(LOOK)?;
        }
    }
}

impl Shared {
    /// Notes a page that is about to be given away.
    fn note(&self, first: u64, places: Vec<i64>) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.pages.push_back((first, places));
        if given.pages.len() > PAGES
            && let Some((_, places)) = given.pages.pop_front()
        {
            given.before = places.last().copied().unwrap_or(given.before);
        }
    }
}

/// Waits until a number is final; false if that will not be.
fn is_final(settled: &AtomicU64, number: u64) -> bool {
    loop {
        match settled.load(Ordering::Acquire) {
            CLOSED => return false,
            settled if settled >= number => return true,
            _ => thread::park(),
        }
    }
}

fn batch(messages: &[Stored]) -> Batch {
    let mut batch = Batch::default();
    for (place, message) in (0..).zip(messages) {
        batch.push(&message.body);
        batch.origins.extend(origin(message).map(|(session, number)| (place, session, number)));
    }
    batch
}

/// Under which session and number a message was sent at first. One that was plain has neither, and one of a session that is forgotten its number alone.
fn origin(message: &Stored) -> Option<(SessionId, u64)> {
    match &message.origin {
        Some(origin) => {
            let (session, number) = origin.rsplit_once(':')?;
            Some((session.parse().ok()?, number.parse().ok()?))
        }
        None => Some((message.session.as_ref()?.parse().ok()?, message.number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(session: Option<&str>, origin: Option<&str>) -> Stored {
        Stored {
            id: 1,
            at: 0,
            peer: String::new(),
            name: None,
            user: None,
            session: session.map(str::to_owned),
            number: 7,
            origin: origin.map(str::to_owned),
            body: Vec::new(),
        }
    }

    #[test]
    fn the_first_session_and_number_stay() {
        let (a, b) = ("0123456789abcdef", "fedcba9876543210");
        for (session, of, expected) in [
            (None, None, None),
            (Some("forgotten 3"), None, None),
            (Some(a), None, Some((a, 7))),
            (Some(a), Some(format!("{b}:9")), Some((b, 9))),
            (Some("forgotten 3"), Some(format!("{b}:9")), Some((b, 9))),
        ] {
            let expected = expected.map(|(session, number)| (session.parse().expect("a session"), number));
            assert_eq!(origin(&stored(session, of.as_deref())), expected);
        }
    }
}
