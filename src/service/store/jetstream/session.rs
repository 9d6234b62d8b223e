//! `Session`: what a server knows of one session in the stream, and how a run comes there exactly once.
//!
//! Apart from the store, which has many. One record is under way at a time, what comes meanwhile is the next. Each says which it follows: where that is another by now,
//! somebody else has written, or a record of ours that was thought lost, and only the stream knows.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::{Append, Opened, Opening, Owner, StoreError};
use super::doubt::Doubt;
use super::draft::{Draft, HEADER_ROOM, Heading, refusal};
use super::known::{Answer, Known, Pending, verdicts};
use super::lane::Lane;
use super::link::{Last, Link};
use super::trouble::Trouble;
use crate::service::store::BUSY_PAUSE;
use crate::wire::assured::{Applied, Code, Progress, PutOff, Run, SessionId, checksum};

/// How many bytes of a header are for what was refused and is not noted by the client. What is beyond waits until it is.
pub const REFUSED_ROOM: usize = HEADER_ROOM / 2;

/// How often a record is sent that is not known to have come to the stream, before its messages are put off.
const ATTEMPTS: usize = 3;

/// How long a stream must have less than was acknowledged before that is believed: a leader that is cut off from the others answers from what it has itself for ten
/// seconds more.
pub const LOSS_PATIENCE: Duration = Duration::from_secs(15);

/// One thing that is asked for of a session.
#[derive(Debug)]
pub(super) enum Request {
    Open(Opening, Answer<Opened>),
    Append(Append, Answer<Applied>),
}

/// What all sessions of a store have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Link,
    /// This server process, for others.
    pub(super) by: String,
    /// How many bytes a record may have beside its header, as it was at the start.
    pub(super) room: usize,
    /// How long less than was acknowledged is not believed.
    pub(super) loss_patience: Duration,
    /// The last owner of any session.
    pub(super) owners: AtomicU64,
}

/// A session of which this server knows something.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) session: SessionId,
    pub(super) lane: Lane<Request, Session>,
    /// Who owns it, in this server; 0 is nobody.
    owner: AtomicU64,
    /// Up to which number the client has noted what was refused.
    noted: AtomicU64,
    /// When it was asked for last, in requests.
    pub(super) used: AtomicU64,
}

/// What is remembered of a session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// What is known if it is open here.
    known: Option<Known>,
    doubt: Option<Doubt>,
}

/// What the stream says of a session of which more may have come there.
enum Found {
    /// All that is there is known.
    Same,
    /// A record of this server that was thought lost is there.
    More,
}

/// Why messages are not stored now.
enum Stop {
    PutOff(PutOff),
    /// The session is another's, or what was stored is lost.
    End(StoreError),
}

/// Does all that waits.
pub(super) async fn work(shared: &Shared, place: &Place) {
    let mut working = place.lane.begin();
    let at = At { shared, place };
    let (mut waiting, mut pending) = (VecDeque::new(), Pending::new());
    while working.take(&mut waiting) {
        while let Some(request) = waiting.pop_front() {
            match request {
                Request::Append(append, answer) => {
                    pending.push_back((append, answer));
                    if matches!(waiting.front(), Some(Request::Append(..))) {
                        continue;
                    }
                    while at.store(&mut working.state, &mut pending).await {
                        // What has come meanwhile goes along, up to where somebody else opens the session.
                        if waiting.is_empty() {
                            working.take_more(&mut waiting);
                        }
                        while let Some(Request::Append(..)) = waiting.front() {
                            if let Some(Request::Append(append, answer)) = waiting.pop_front() {
                                pending.push_back((append, answer));
                            }
                        }
                    }
                }
                Request::Open(opening, answer) => {
                    let opened = at.open(&mut working.state, &opening).await;
                    // Whoever has asked may have gone.
                    let _ = answer.send(opened);
                }
            }
        }
    }
}

/// A session of a store.
struct At<'a> {
    shared: &'a Shared,
    place: &'a Place,
}

impl Shared {
    /// How many bytes a record may have beside its header: servers of NATS may take less by now.
    pub(super) fn room(&self) -> usize {
        self.room.min(self.link.at_once().saturating_sub(HEADER_ROOM))
    }
}

impl Place {
    pub(super) fn new(session: SessionId) -> Self {
        Self { session, lane: Lane::new(), owner: AtomicU64::new(0), noted: AtomicU64::new(0), used: AtomicU64::new(0) }
    }

    /// Forgets what was refused up to a number, if it is the owner who says so.
    pub(super) fn note(&self, owner: Owner, through: u64) {
        if self.owner.load(Ordering::Relaxed) == owner.0 {
            self.noted.fetch_max(through, Ordering::Relaxed);
        }
    }
}

impl At<'_> {
    async fn open(&self, state: &mut Session, opening: &Opening) -> Result<Opened, StoreError> {
        let last = self.shared.link.last(self.place.session.as_str()).await.map_err(|trouble| trouble.error())?;
        let is_lost = state.known.as_ref().is_some_and(|known| known.is_lost(last.as_ref()));
        let is_less = last.as_ref().map_or(0, |last| last.record.last) < opening.first.saturating_sub(1);
        self.believe(&mut state.doubt, is_lost || is_less, last.as_ref()).map_err(|trouble| trouble.error())?;
        let foreign = |principal: &Option<String>| principal.is_some() && *principal != opening.principal;
        let begun = last.as_ref().map(|last| &last.record.principal);
        if begun.or(state.known.as_ref().map(|known| &known.principal)).is_some_and(foreign) {
            return Err(StoreError::Foreign);
        }
        if is_lost && let Some(known) = &state.known {
            self.tell_lost(known, last.as_ref());
        }
        let Some(last) = last else {
            // It is begun only at its beginning: of one that has gone on elsewhere nothing is made up.
            let owner = self.owner(opening.first == 1);
            self.place.noted.store(0, Ordering::Relaxed);
            state.known = (opening.first == 1).then(|| Known::new(owner, opening.principal.clone()));
            return Ok(Opened { progress: Progress::default(), owner });
        };
        let owner = self.owner(true);
        let mut known = Known::new(owner, last.record.principal.clone());
        known.adopt(&last);
        known.told = known.stored;
        // A number that is not there yet was noted in another life of the stream.
        self.place.noted.fetch_min(known.stored, Ordering::Relaxed);
        known.forget(self.place.noted.load(Ordering::Relaxed));
        let verdicts = verdicts(&known.refused);
        let checksum = last.record.last_body(&last.payload).map(checksum);
        let progress = Progress { known: true, acknowledged: known.stored, checksum, verdicts };
        state.known = Some(known);
        Ok(Opened { progress, owner })
    }

    /// A higher owner than any before, also of this program before it was started again: 0 is nobody.
    fn owner(&self, is_one: bool) -> Owner {
        if !is_one {
            self.place.owner.store(0, Ordering::Relaxed);
            return Owner(0);
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2);
        let next = |last: u64| Some(now.max(last + 1));
        let last = self.shared.owners.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        let owner = now.max(last + 1);
        self.place.owner.store(owner, Ordering::Relaxed);
        Owner(owner)
    }

    /// Stores one record of what waits, and answers what that settles. Says whether anything is left.
    async fn store(&self, state: &mut Session, pending: &mut Pending) -> bool {
        self.sift(state, pending);
        if pending.is_empty() {
            return false;
        }
        let stop = match &mut state.known {
            Some(known) => match self.advance(known, &mut state.doubt, pending).await {
                Ok(()) => None,
                Err(stop) => Some((stop, known)),
            },
            None => return false,
        };
        match stop {
            None => {
                if let Some(known) = &mut state.known {
                    known.answer(pending);
                }
            }
            Some((Stop::PutOff(put_off), known)) => {
                known.answer(pending);
                known.put_off(pending, &put_off);
            }
            Some((Stop::End(error), _)) => {
                state.known = None;
                pending.drain(..).for_each(|(_, answer)| drop(answer.send(Err(error.clone()))));
            }
        }
        !pending.is_empty()
    }

    /// Answers what cannot be stored: another's, what is final already, what is behind a gap.
    fn sift(&self, state: &Session, pending: &mut Pending) {
        let mut next = None;
        let mut kept = Pending::with_capacity(pending.len());
        for (append, answer) in pending.drain(..) {
            let known = state.known.as_ref().filter(|known| known.owner == append.owner);
            let run = &append.run;
            let Some(known) = known.filter(|known| run.is_empty() || run.first > known.told) else {
                let _ = answer.send(Err(StoreError::TakenOver));
                continue;
            };
            let through = known.told;
            if run.is_empty() {
                let _ = answer.send(Ok(Applied { through, ..Applied::default() }));
            } else if run.first != next.unwrap_or(through + 1) {
                let put_off = PutOff {
                    code: Code::OVERLOADED,
                    after: BUSY_PAUSE,
                    reason: "messages before it were put off".to_owned(),
                };
                let _ = answer.send(Ok(Applied { through, verdicts: Vec::new(), put_off: Some(put_off) }));
            } else {
                next = Some(run.next());
                kept.push_back((append, answer));
            }
        }
        *pending = kept;
    }

    /// Brings the next record into the stream.
    async fn advance(&self, known: &mut Known, doubt: &mut Option<Doubt>, pending: &Pending) -> Result<(), Stop> {
        let mut why = None;
        for _ in 0..ATTEMPTS {
            if known.is_stale {
                match self.look(known, doubt).await? {
                    Found::Same => {}
                    Found::More => return Ok(()),
                }
            }
            let Some((headers, payload, record)) = self.draft(known, pending)? else { return Ok(()) };
            let published =
                self.shared.link.publish(self.shared.link.subject(self.place.session.as_str()), headers, payload);
            match published.await {
                Ok(sequence) => {
                    known.sequence = sequence;
                    known.stored = record.last;
                    known.refused = record.refused;
                    return Ok(());
                }
                Err(trouble @ (Trouble::Behind | Trouble::Unknown(_))) => {
                    known.is_stale = true;
                    why = Some(trouble);
                }
                Err(trouble) => return Err(self.stop(&trouble)),
            }
        }
        let passing = Trouble::Busy("NATS does not store what follows its last record".to_owned());
        Err(self.stop(why.as_ref().filter(|why| **why != Trouble::Behind).unwrap_or(&passing)))
    }

    /// Looks up what is in the stream.
    async fn look(&self, known: &mut Known, doubt: &mut Option<Doubt>) -> Result<Found, Stop> {
        let last = self.shared.link.last(self.place.session.as_str()).await.map_err(|trouble| self.stop(&trouble))?;
        let is_lost = known.is_lost(last.as_ref());
        self.believe(doubt, is_lost, last.as_ref()).map_err(|trouble| self.stop(&trouble))?;
        if is_lost {
            self.tell_lost(known, last.as_ref());
            return Err(Stop::End(StoreError::TakenOver));
        }
        match last {
            Some(last) if last.sequence != known.sequence => {
                if last.record.by != self.shared.by {
                    return Err(Stop::End(StoreError::TakenOver));
                }
                known.adopt(&last);
                known.forget(self.place.noted.load(Ordering::Relaxed));
                Ok(Found::More)
            }
            _ => {
                known.is_stale = false;
                Ok(Found::Same)
            }
        }
    }

    /// Fails while the stream has less than it should, and that has not been so for long.
    fn believe(&self, doubt: &mut Option<Doubt>, is_less: bool, last: Option<&Last>) -> Result<(), Trouble> {
        let sequence = last.map_or(0, |last| last.sequence);
        match is_less && !Doubt::is_over(doubt, sequence, self.shared.loss_patience) {
            true => Err(Trouble::Busy("the stream has less than was acknowledged, as far as it says now".to_owned())),
            false if !is_less => {
                *doubt = None;
                Ok(())
            }
            false => Ok(()),
        }
    }

    /// Why messages are not stored.
    fn stop(&self, trouble: &Trouble) -> Stop {
        match (trouble, trouble.put_off()) {
            (Trouble::Busy(why) | Trouble::Unknown(why), _) if self.shared.link.is_away() => {
                Stop::End(StoreError::Unreachable(why.clone()))
            }
            (_, Some(put_off)) => Stop::PutOff(put_off),
            (_, None) => Stop::End(trouble.error()),
        }
    }

    /// What was acknowledged is not there: nobody may be told anything more of this session but what is.
    fn tell_lost(&self, known: &Known, last: Option<&Last>) {
        let has = last.map_or(0, |last| last.record.last);
        tracing::error!(
            "session {}: the stream has lost what was acknowledged: message {} was its last, and now {has} is; the session ends",
            self.place.session,
            known.stored,
        );
    }

    /// The record that follows what is stored. None if all of it is.
    fn draft(
        &self,
        known: &Known,
        pending: &Pending,
    ) -> Result<Option<(async_nats::HeaderMap, bytes::Bytes, Next)>, Stop> {
        let Some((front, _)) = pending.front() else { return Ok(None) };
        let noted = self.place.noted.load(Ordering::Relaxed);
        let mut refused: Vec<_> = known.refused.iter().filter(|(number, ..)| *number > noted).cloned().collect();
        let mut said = String::new();
        refused.iter().for_each(|(number, code, reason)| refusal(&mut said, *number, *code, reason));
        let expected = pending.iter().map(|(append, _)| append.run.bytes.len() + append.run.len()).sum();
        let room = self.shared.room();
        let mut draft = Draft::new(known.stored + 1, room, expected);
        for (append, _) in pending {
            if !fill(&mut draft, &append.run, &mut refused, &mut said, room) {
                break;
            }
        }
        if draft.is_empty() {
            if pending.back().is_some_and(|(append, _)| append.run.last() <= known.stored) {
                return Ok(None);
            }
            return Err(Stop::PutOff(PutOff {
                code: Code::OVERLOADED,
                after: BUSY_PAUSE,
                reason: "the client has not noted what was refused before".to_owned(),
            }));
        }
        let heading = Heading {
            by: &self.shared.by,
            source: &front.source,
            principal: known.principal.as_deref(),
            refused: &said,
        };
        let last = draft.next() - 1;
        let (headers, payload) = draft.of_session(&self.place.session, known.sequence, heading);
        Ok(Some((headers, payload, Next { last, refused })))
    }
}

/// What is so once a record is stored.
struct Next {
    last: u64,
    refused: Vec<(u64, Code, String)>,
}

/// Adds to a record what of a run follows it. Says whether all of it had room.
fn fill(
    draft: &mut Draft,
    run: &Run,
    refused: &mut Vec<(u64, Code, String)>,
    said: &mut String,
    longest: usize,
) -> bool {
    let mut refusals = run.refused.iter().peekable();
    let mut origins = run.origins.iter().peekable();
    for (number, span) in (run.first..).zip(&run.spans) {
        let origin = origins.next_if(|(of, ..)| *of == number);
        let verdict = refusals.next_if(|(of, ..)| *of == number);
        if number < draft.next() {
            continue;
        }
        let body = span.of(&run.bytes);
        let too_long = (body.len() > longest).then(|| (number, Code::TOO_LARGE, "too long for the stream".to_owned()));
        let Some(verdict) = verdict.cloned().or(too_long) else {
            if !draft.push(Some(body), origin) {
                return false;
            }
            continue;
        };
        let before = said.len();
        refusal(said, verdict.0, verdict.1, &verdict.2);
        if (said.len() > REFUSED_ROOM && !refused.is_empty()) || !draft.push(None, None) {
            said.truncate(before);
            return false;
        }
        refused.push(verdict);
    }
    true
}
