//! `Volatile`: a store that keeps nothing for good: it gives each message to a handler, and remembers sessions as long as the process lives.
//!
//! Apart from the stores that keep messages on disk: after a restart, and only then, a message may be handled again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Append, Opened, Opening, Owner, Plain, Source, Store, StoreError};
use crate::service::{BoxFuture, Handler, Messages, Outcome, Outcomes};
use crate::wire::assured::{Applied, Code, Level, Progress, PutOff, Run, SessionId, Verdict, WINDOW, checksum};
use crate::wire::{Framing, Span};

/// How many sessions are remembered. Of more, those go that were used least recently: if one goes on, it begins anew where its client is.
pub const MAX_SESSIONS: usize = 16 * 1024;

/// How many bytes of replies and refusals are kept for a session until its client has noted them. Of more, the oldest replies go.
pub const MAX_REPLIES: usize = 1024 * 1024;

/// How many bytes of them are kept for all sessions together. Of more, the replies go of those sessions that were used least recently; then the sessions.
pub const MAX_ALL_REPLIES: usize = 64 * 1024 * 1024;

/// What a reply or refusal takes in memory beside its text.
const VERDICT_COST: usize = size_of::<(u64, Verdict)>();

/// When a message is to be sent again that the handler has put off.
pub const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A store over a handler. A clone, which may show messages otherwise, has the same sessions.
#[derive(Clone)]
pub struct Volatile {
    handler: Arc<dyn Handler>,
    framing: Option<Framing>,
    sessions: Arc<Mutex<Sessions>>,
    owners: Arc<AtomicU64>,
    /// How many bytes of replies and refusals are kept.
    kept: Arc<AtomicUsize>,
}

impl Volatile {
    /// A store that gives messages to `handler`.
    pub fn new(handler: Arc<dyn Handler>) -> Self {
        Self { handler, framing: None, sessions: Arc::default(), owners: Arc::default(), kept: Arc::default() }
    }

    /// The same sessions, whose messages are given to the handler as if they had come in a stream of this framing.
    #[must_use]
    pub fn framed(&self, framing: Framing) -> Self {
        Self { framing: Some(framing), ..self.clone() }
    }

    /// The session of this name. One that is not known begins behind this number.
    fn session(&self, id: &SessionId, acknowledged: u64, principal: Option<&String>) -> Arc<Session> {
        lock(&self.sessions).get(id, || Session {
            turn: tokio::sync::Mutex::default(),
            principal: principal.cloned(),
            state: Mutex::new(State { acknowledged, kept: Tally::of(&self.kept), ..State::default() }),
        })
    }

    async fn open_session(&self, opening: Opening) -> Result<Opened, StoreError> {
        let Opening { session: id, first, principal, replies, .. } = opening;
        let session = self.session(&id, first - 1, principal.as_ref());
        if session.principal.is_some() && session.principal != principal {
            return Err(StoreError::Foreign);
        }
        // What the older owner has under way is applied before.
        let _turn = session.turn.lock().await;
        let mut state = lock(&session.state);
        state.owner = self.owners.fetch_add(1, Ordering::Relaxed) + 1;
        if state.acknowledged < first - 1 {
            // It has gone on elsewhere since.
            let kept = Tally::of(&self.kept);
            *state = State { acknowledged: first - 1, owner: state.owner, kept, ..State::default() };
        }
        state.replies = replies;
        let State { acknowledged, checksum, verdicts, owner, .. } = &*state;
        let verdicts = verdicts.iter().cloned().collect();
        let progress = Progress { known: true, acknowledged: *acknowledged, checksum: *checksum, verdicts };
        Ok(Opened { progress, owner: Owner(*owner) })
    }

    async fn apply(&self, append: Append) -> Result<Applied, StoreError> {
        let Append { session: id, owner, source, run } = append;
        let session = self.session(&id, run.first - 1, None);
        let _turn = session.turn.lock().await;
        let tried = {
            let mut state = lock(&session.state);
            if state.owner > owner.0 {
                return Err(StoreError::TakenOver);
            }
            // Of a session that was forgotten meanwhile the owner goes on with what it has.
            state.owner = owner.0;
            if run.first != state.acknowledged + 1 {
                return Ok(state.put_off("it is behind one that was put off".to_owned()));
            }
            state.tried
        };
        let mut progress = Applying { run: &run, through: run.first - 1, verdicts: Vec::new(), put_off: None };
        let handling = Handling { id: &id, source: &source, tried };
        self.handle_all(&handling, &mut progress).await;
        let Applying { through, verdicts, put_off, .. } = progress;
        let applied = {
            let mut state = lock(&session.state);
            state.advance(&run, through, &verdicts);
            match put_off {
                None => Applied { through, verdicts, put_off: None },
                Some(reason) => {
                    state.tried += 1;
                    Applied { verdicts, ..state.put_off(reason) }
                }
            }
        };
        if self.kept.load(Ordering::Relaxed) > MAX_ALL_REPLIES {
            lock(&self.sessions).forget_replies(&self.kept);
        }
        Ok(applied)
    }

    /// Gives the handler what is not refused anyway, piece by piece, until one is put off.
    async fn handle_all(&self, handling: &Handling<'_>, progress: &mut Applying<'_>) {
        let run = progress.run;
        let mut outcomes = Outcomes::default();
        let mut refused = run.refused.iter().peekable();
        while progress.through < run.last() && progress.put_off.is_none() {
            let next = progress.through + 1;
            if let Some((number, code, reason)) = refused.next_if(|(number, ..)| *number == next) {
                progress.verdicts.push((*number, Verdict::Refused(*code, reason.clone())));
                progress.through = next;
                continue;
            }
            let end = refused.peek().map_or(run.next(), |(number, ..)| *number);
            let spans = spans(run, next, end);
            let tried = if next == run.first { handling.tried } else { 0 };
            let messages =
                Messages::separate(&run.bytes, spans, self.framing).from_number(next).of_session(handling.id, tried);
            outcomes.clear();
            self.handler.handle(messages, &handling.source.peer, &mut outcomes).await;
            outcomes.complete(spans.len());
            progress.take(&mut outcomes);
        }
    }
}

/// Whose messages are being handled.
struct Handling<'a> {
    id: &'a SessionId,
    source: &'a Source,
    tried: u32,
}

/// How far the handler is with a run.
struct Applying<'a> {
    run: &'a Run,
    through: u64,
    verdicts: Vec<(u64, Verdict)>,
    put_off: Option<String>,
}

impl Applying<'_> {
    fn take(&mut self, outcomes: &mut Outcomes) {
        while let Some((outcome, times)) = outcomes.take_next() {
            let numbers = self.through + 1..=self.through + times as u64;
            match outcome {
                Outcome::Done => {}
                Outcome::Reply(reply) => {
                    self.verdicts.extend(numbers.map(|number| (number, Verdict::Reply(reply.clone()))));
                }
                Outcome::Refuse(reason) => {
                    let refused = Verdict::Refused(Code::REJECTED, reason);
                    self.verdicts.extend(numbers.map(|number| (number, refused.clone())));
                }
                Outcome::Retry(reason) => {
                    self.put_off = Some(reason);
                    return;
                }
            }
            self.through += times as u64;
        }
    }
}

impl Store for Volatile {
    fn level(&self) -> Level {
        self.handler.level()
    }

    fn one_by_one(&self) -> bool {
        self.handler.takes_long()
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(self.open_session(opening))
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Result<Applied, StoreError>> {
        Box::pin(self.apply(append))
    }

    fn note(&self, session: &SessionId, owner: Owner, through: u64) {
        let known = lock(&self.sessions).known.get(session).map(|(session, _)| session.clone());
        if let Some(session) = known {
            let mut state = lock(&session.state);
            if state.owner == owner.0 {
                state.forget(through);
            }
        }
    }

    fn keep(&self, plain: Plain) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let Plain { source, first, messages } = plain;
            let given = Messages::separate(&messages.bytes, &messages.spans, self.framing).from_number(first);
            self.handler.handle(given, &source.peer, &mut Outcomes::default()).await;
            Ok(())
        })
    }

    fn failed(&self) -> BoxFuture<'_, String> {
        Box::pin(std::future::pending())
    }
}

/// Those that are remembered, each with when it was used: a count of uses.
#[derive(Default)]
struct Sessions {
    known: HashMap<SessionId, (Arc<Session>, u64)>,
    uses: u64,
}

impl Sessions {
    fn get(&mut self, id: &SessionId, new: impl FnOnce() -> Session) -> Arc<Session> {
        self.uses += 1;
        if let Some((session, used)) = self.known.get_mut(id) {
            *used = self.uses;
            return session.clone();
        }
        if self.known.len() >= MAX_SESSIONS {
            self.forget_some();
        }
        let session = Arc::new(new());
        self.known.insert(id.clone(), (session.clone(), self.uses));
        session
    }

    /// Forgets replies, of those first that were used least recently; and some at once, so that not each reply costs a look at all. Where refusals are too
    /// many, the sessions themselves go: a client must not take for handled what was refused.
    fn forget_replies(&mut self, kept: &AtomicUsize) {
        let is_enough = || kept.load(Ordering::Relaxed) <= MAX_ALL_REPLIES / 16 * 15;
        let mut oldest: Vec<_> =
            self.known.iter().map(|(id, (session, used))| (*used, id.clone(), session.clone())).collect();
        oldest.sort_unstable_by_key(|(used, ..)| *used);
        for (_, _, session) in &oldest {
            if is_enough() {
                return;
            }
            lock(&session.state).forget_replies(0);
        }
        for (_, id, session) in oldest {
            if is_enough() {
                return;
            }
            self.known.remove(&id);
            drop(session);
        }
    }

    /// Forgets some at once, so that not every new one costs a look at all.
    fn forget_some(&mut self) {
        let mut uses: Vec<_> = self.known.values().map(|(_, used)| *used).collect();
        let (_, oldest, _) = uses.select_nth_unstable(MAX_SESSIONS / 16);
        let oldest = *oldest;
        self.known.retain(|_, (_, used)| *used > oldest);
    }
}

/// One session.
struct Session {
    /// Held while the handler has messages of it.
    turn: tokio::sync::Mutex<()>,
    /// Who has begun it.
    principal: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    owner: u64,
    acknowledged: u64,
    checksum: Option<u32>,
    /// What the client has not noted: at most a window, and [`MAX_REPLIES`].
    verdicts: VecDeque<(u64, Verdict)>,
    /// How many bytes those are.
    kept: Tally,
    /// Whether the client wants replies: else none is kept.
    replies: bool,
    /// How often the next message was put off.
    tried: u32,
}

impl State {
    fn put_off(&self, reason: String) -> Applied {
        let put_off = PutOff { code: Code::OVERLOADED, after: TRY_AGAIN_AFTER, reason };
        Applied { through: self.acknowledged, verdicts: Vec::new(), put_off: Some(put_off) }
    }

    fn advance(&mut self, run: &Run, through: u64, verdicts: &[(u64, Verdict)]) {
        if through == self.acknowledged {
            return;
        }
        self.acknowledged = through;
        self.tried = 0;
        let is_refused = run.refused.iter().any(|(number, ..)| *number == through);
        self.checksum = (!is_refused).then(|| checksum(run.message(through)));
        let replies = self.replies;
        let kept = verdicts.iter().filter(|(_, verdict)| replies || !is_reply(verdict));
        self.kept.add(kept.clone().map(|(_, verdict)| size(verdict)).sum());
        self.verdicts.extend(kept.cloned());
        self.forget(through.saturating_sub(u64::from(WINDOW)));
        self.forget_replies(MAX_REPLIES);
    }

    /// Forgets the oldest replies beyond so many bytes. A reply may get lost; that a message was refused may not, or its client would take it for handled.
    fn forget_replies(&mut self, most: usize) {
        if self.kept.bytes <= most {
            return;
        }
        let kept = &mut self.kept;
        self.verdicts.retain(|(_, verdict)| {
            let stays = kept.bytes <= most || !is_reply(verdict);
            if !stays {
                kept.subtract(size(verdict));
            }
            stays
        });
        self.shrink();
    }

    fn forget(&mut self, through: u64) {
        let noted = self.verdicts.partition_point(|(number, _)| *number <= through);
        let bytes = self.verdicts.drain(..noted).map(|(_, verdict)| size(&verdict)).sum();
        self.kept.subtract(bytes);
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.verdicts.is_empty() {
            // What took many bytes for a moment should not do so for ever.
            self.verdicts.shrink_to_fit();
        }
    }
}

/// How many bytes are kept of a session, which count for all.
#[derive(Default)]
struct Tally {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Tally {
    fn of(all: &Arc<AtomicUsize>) -> Self {
        Self { bytes: 0, all: all.clone() }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn is_reply(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Reply(_))
}

fn size(verdict: &Verdict) -> usize {
    VERDICT_COST
        + match verdict {
            Verdict::Refused(_, reason) => reason.len(),
            Verdict::Reply(reply) => reply.len(),
        }
}

/// Where the messages lie of the numbers from `first` to the one before `end`.
fn spans(run: &Run, first: u64, end: u64) -> &[Span] {
    let at = |number: u64| usize::try_from(number - run.first).unwrap_or(usize::MAX);
    run.spans.get(at(first)..at(end)).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::net::Addr;
    use crate::service::Peer;

    fn source() -> Arc<Source> {
        let addr = Addr::Inet(([127, 0, 0, 1], 1).into());
        Arc::new(Source { peer: Peer { addr, local: None, credentials: None }, name: None })
    }

    fn opening(session: u128, first: u64) -> Opening {
        Opening { session: SessionId::of_bits(session), first, principal: None, replies: true, source: source() }
    }

    fn append(owner: Owner, first: u64, bodies: &[&str]) -> Append {
        let mut run = Run::new(first);
        bodies.iter().for_each(|body| run.push(body.as_bytes()));
        Append { session: SessionId::of_bits(1), owner, source: source(), run }
    }

    /// Answers with the message itself, and puts off what is "later" the first time.
    fn store() -> Volatile {
        let put_off = AtomicBool::new(false);
        Volatile::new(Arc::new(move |message: &[u8], _: &Peer| match message {
            b"later" if !put_off.swap(true, Ordering::Relaxed) => Outcome::Retry("busy".to_owned()),
            b"bad" => Outcome::Refuse("no".to_owned()),
            b"ok" => Outcome::Done,
            _ => Outcome::Reply(message.to_vec().into()),
        }))
    }

    async fn open(store: &Volatile, first: u64) -> (Owner, Progress) {
        let Opened { progress, owner } = store.open(opening(1, first)).await.expect("a session");
        (owner, progress)
    }

    #[tokio::test]
    async fn outcomes_become_verdicts_and_what_is_behind_one_that_was_put_off_is_too() {
        let store = store();
        let (owner, progress) = open(&store, 1).await;
        assert_eq!((progress.known, progress.acknowledged), (true, 0));
        let mut first = append(owner, 1, &["ok", "bad"]);
        first.run.push_refused(Code::TOO_LARGE, "large".to_owned());
        ["x", "later", "ok"].iter().for_each(|body| first.run.push(body.as_bytes()));
        let Applied { through, verdicts, put_off } = store.append(first).await.expect("applied");
        assert_eq!((through, put_off.map(|put_off| put_off.reason).as_deref()), (4, Some("busy")));
        let no = |code, reason: &str| Verdict::Refused(code, reason.to_owned());
        let expected =
            [(2, no(Code::REJECTED, "no")), (3, no(Code::TOO_LARGE, "large")), (4, Verdict::Reply("x".into()))];
        assert_eq!(verdicts, expected);
        let behind = store.append(append(owner, 7, &["ok"])).await.expect("an answer");
        assert_eq!((behind.through, behind.put_off.is_some()), (4, true));
        let again = store.append(append(owner, 5, &["later", "ok"])).await.expect("applied");
        assert_eq!((again.through, again.put_off), (6, None));
        // What was not noted is told to whoever opens the session again.
        store.note(&SessionId::of_bits(1), owner, 2);
        let (_, progress) = open(&store, 3).await;
        assert_eq!(progress.verdicts.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!((progress.acknowledged, progress.checksum), (6, Some(checksum(b"ok"))));
    }

    #[tokio::test]
    async fn the_last_who_opens_is_the_owner() {
        let store = store();
        let (older, _) = open(&store, 1).await;
        let (newer, _) = open(&store, 1).await;
        assert_eq!(store.append(append(older, 1, &["ok"])).await, Err(StoreError::TakenOver));
        assert_eq!(store.append(append(newer, 1, &["ok"])).await.expect("applied").through, 1);
        store.note(&SessionId::of_bits(1), older, 9);
        let mut owned = opening(2, 1);
        owned.principal = Some("uid:1".to_owned());
        store.open(owned.clone()).await.expect("a session");
        assert_eq!(store.open(opening(2, 1)).await.map(|_| ()), Err(StoreError::Foreign));
        store.open(owned).await.expect("the same");
    }

    #[tokio::test]
    async fn a_session_begins_where_its_client_is() {
        let store = store();
        assert_eq!(open(&store, 70).await.1.acknowledged, 69);
        // It may have gone on elsewhere.
        let (owner, progress) = open(&store, 80).await;
        assert_eq!((progress.acknowledged, progress.checksum), (79, None));
        assert_eq!(store.append(append(owner, 80, &["ok"])).await.expect("applied").through, 80);
        assert_eq!(open(&store, 70).await.1.acknowledged, 80);
    }

    #[tokio::test]
    async fn a_refusal_is_not_forgotten_for_replies() {
        let store = store();
        let (owner, _) = open(&store, 1).await;
        let large = "x".repeat(MAX_REPLIES / 2);
        store.append(append(owner, 1, &["bad", &large, &large, "bad", &large])).await.expect("applied");
        let (_, progress) = open(&store, 1).await;
        let remembered: Vec<_> = progress.verdicts.iter().map(|(number, _)| *number).collect();
        assert_eq!(remembered, [1, 4, 5]);
    }

    #[tokio::test]
    async fn replies_are_kept_for_those_who_want_them_and_not_too_many_for_all_together() {
        let store = store();
        let body = "x".repeat(MAX_REPLIES / 2);
        let answered = async |session: u128, replies: bool| {
            let wanted = Opening { replies, ..opening(session, 1) };
            let owner = store.open(wanted).await.expect("a session").owner;
            let append = Append { session: SessionId::of_bits(session), ..append(owner, 1, &["bad", &body]) };
            store.append(append).await.expect("applied").verdicts.len()
        };
        let remembered = async |session: u128| {
            let progress = store.open(opening(session, 2)).await.expect("a session").progress;
            progress.verdicts.iter().map(|(number, _)| *number).collect::<Vec<_>>()
        };
        assert_eq!((answered(1, false).await, remembered(1).await), (2, vec![1]));
        let most = (MAX_ALL_REPLIES / body.len()) as u128;
        for session in 2..=most + 10 {
            answered(session, true).await;
            assert!(store.kept.load(Ordering::Relaxed) <= MAX_ALL_REPLIES);
        }
        // Refusals stay.
        assert_eq!((remembered(2).await, remembered(most + 10).await), (vec![1], vec![1, 2]));
        lock(&store.sessions).known.clear();
        assert_eq!(store.kept.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_remembered_has_limits() {
        let store = store();
        let (owner, _) = open(&store, 1).await;
        let large = "x".repeat(MAX_REPLIES / 2 - 200);
        let applied = store.append(append(owner, 1, &[&large, &large, &large])).await.expect("applied");
        assert_eq!(applied.verdicts.len(), 3);
        assert_eq!(open(&store, 1).await.1.verdicts.len(), 2);
        for session in 2..=MAX_SESSIONS as u128 + 1 {
            store.open(opening(session, 1)).await.expect("a session");
        }
        assert!(lock(&store.sessions).known.len() <= MAX_SESSIONS);
        // The owner of one that was forgotten goes on all the same.
        let (owner, _) = open(&store, 4).await;
        lock(&store.sessions).known.clear();
        assert_eq!(store.append(append(owner, 4, &["ok"])).await.expect("applied").through, 4);
    }
}
