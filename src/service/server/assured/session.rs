//! `Session`: one session over one connection: what its state machine wants of the store, the registry and the log.
//!
//! Apart from what carries the frames: a stream, packets.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::in_hand::{Appender, InHand, Next};
use super::registry::Place;
use super::{Assured, NO_ROOM, principal};
use crate::service::server::setting::Setting;
use crate::service::store::{Opened, Opening, Owner, Source, Store, StoreError};
use crate::service::workspace::SMALL_TAIL;
use crate::service::{BoxFuture, Conversation, Observed, Peer};
use crate::wire::assured::receiver::{Allowance, Input, Output};
use crate::wire::assured::{
    Again, Applied, ClientFrame, Code, Denied, FrameError, Open, PutOff, Receiver, ReceiverConfig, Run, ServerFrame,
    SessionId, Verdict,
};

/// When a client may try again whose session could not be opened for now, or whose messages a full disk did not take.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// So much of a message that is not whole any session may have in memory: a message of this length is taken however much the others hold.
const SMALL: u64 = SMALL_TAIL as u64;

/// A session over a connection.
pub(super) struct Session<'a> {
    setting: &'a Setting,
    assured: &'a Assured,
    store: &'a dyn Store,
    peer: &'a Peer,
    receiver: Receiver,
    opening: Option<(Opening, BoxFuture<'a, Result<Opened, StoreError>>)>,
    open: Option<(Place<'a>, Arc<Source>)>,
    in_hand: InHand<'a>,
    /// What the carrier has of a message that is not whole.
    unfinished: u64,
    /// What of the bytes in hand, and of those of a message that is not whole, was counted as held.
    counted: u64,
    /// Whether the client has ended its direction.
    ended: bool,
    draining: bool,
    /// What the observer is still to be told.
    events: Vec<Event>,
    /// When time runs out, unless something comes.
    due: Option<Instant>,
    pub(super) had: Conversation,
}

/// Whether there is room for more that is to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Room {
    Some,
    None,
}

/// What is to be sent.
pub(super) enum Words {
    Frame(ServerFrame<'static>),
    /// Replies, each a frame.
    Replies(Run),
}

/// What an observer is told.
enum Event {
    Opened(SessionId, Arc<Source>, u64),
    Applied(SessionId, u64, u64),
    TakenOver(SessionId),
    Refused(String),
}

impl<'a> Session<'a> {
    pub(super) fn new(
        setting: &'a Setting,
        assured: &'a Assured,
        store: &'a dyn Store,
        config: Arc<ReceiverConfig>,
        peer: &'a Peer,
    ) -> Self {
        Self {
            setting,
            assured,
            store,
            peer,
            receiver: Receiver::new(config, Instant::now().into_std()),
            opening: None,
            open: None,
            in_hand: InHand::new(store),
            unfinished: 0,
            counted: 0,
            ended: false,
            draining: false,
            events: Vec::new(),
            due: None,
            had: Conversation::default(),
        }
    }

    /// Takes a frame.
    pub(super) fn take(&mut self, frame: ClientFrame<'_>, now: Instant) {
        self.had.had_message |= matches!(frame, ClientFrame::Message { .. } | ClientFrame::TooLarge { .. });
        self.receiver.handle(Input::Frame(frame), now.into_std());
    }

    /// The messages that come next, as a decoder finds those that are allowed from a number on. Says how many bytes are done with.
    pub(super) fn take_messages(&mut self, now: Instant, find: impl FnOnce(u64, Allowance) -> (usize, Run)) -> usize {
        let (used, run) = find(self.receiver.next(), self.receiver.allows());
        if !run.is_empty() {
            self.had.had_message = true;
            self.receiver.handle(Input::Messages(run), now.into_std());
        }
        used
    }

    /// Takes what is no frame.
    pub(super) fn broken(&mut self, error: FrameError) {
        let FrameError { code, reason } = error;
        self.handle(Input::Broken(code, reason.into_owned()));
    }

    /// Takes the end of what the client says: it may still read.
    pub(super) fn ended(&mut self) {
        self.ended = true;
    }

    /// Whether frames are to be read.
    pub(super) fn wants_input(&self) -> bool {
        // Whoever has nothing in hand may always read: it is the answers to what is in hand that wake the others.
        !self.ended && self.receiver.wants_input() && (!self.has_in_hand() || self.assured.has_room())
    }

    /// Takes note that so much of a message that is not whole is in memory. Says whether more of it may be read.
    pub(super) fn holds(&mut self, unfinished: usize) -> Room {
        self.unfinished = unfinished as u64;
        self.count();
        match self.unfinished <= SMALL || self.assured.has_room_beside(self.counted) {
            true => Room::Some,
            false => Room::None,
        }
    }

    /// Whether anything is in hand, whose answer wakes this session.
    pub(super) fn has_in_hand(&self) -> bool {
        self.receiver.bytes_in_hand() > 0
    }

    /// Ends the session for now, where the memory is full: if all waited with a part of a message, none would ever be whole.
    pub(super) fn overloaded(&mut self) {
        let (code, again) = (Code::OVERLOADED, Again::After(AGAIN_AFTER));
        self.handle(Input::Opened(Err(Denied { code, again, reason: NO_ROOM.to_owned() })));
    }

    /// Whether it has been told that the server is to stop.
    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// When time runs out, unless something comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether there is something to [`tell`](Self::tell).
    pub(super) fn has_news(&self) -> bool {
        !self.events.is_empty()
    }

    /// Does what can be done now, with each frame that is to be sent, for as long as there is room for more. It is ready when the connection is to be closed. A frame that is under way has
    /// `grace` beyond the time that silence may take.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        grace: Duration,
        send: &mut impl FnMut(&Words) -> Room,
    ) -> Poll<()> {
        let mut now = self.hear(cx, grace);
        loop {
            match self.receiver.poll(now) {
                Output::Send(frame) => {
                    self.log(&frame);
                    if send(&Words::Frame(frame)) == Room::None {
                        return Poll::Pending;
                    }
                    continue;
                }
                Output::Replies(run) => {
                    if send(&Words::Replies(run)) == Room::None {
                        return Poll::Pending;
                    }
                    continue;
                }
                Output::Open(open) => self.ask(open),
                Output::Apply(run) => match &self.open {
                    Some((place, source)) => {
                        let (session, owner) = (place.session.clone(), place.owner);
                        self.in_hand.give(Appender { session, owner, source: source.clone() }, run);
                    }
                    None => tracing::error!("{}: messages of a session that is not open", self.peer),
                },
                Output::Note(through) => {
                    if let Some((place, _)) = &self.open {
                        self.store.note(&place.session, place.owner, through);
                    }
                }
                Output::Close => return Poll::Ready(()),
                Output::Wait(due) => {
                    self.due = due.map(|due| Instant::from_std(due) + grace);
                    self.count();
                    // Whoever has ended before the opening has said nothing that could be waited for.
                    let is_over = self.ended && !self.receiver.is_open() && self.opening.is_none();
                    return if is_over { Poll::Ready(()) } else { Poll::Pending };
                }
            }
            // What was asked for may be there at once.
            now = self.hear(cx, grace);
        }
    }

    /// Tells the observer what has happened.
    pub(super) async fn tell(&mut self) {
        for event in std::mem::take(&mut self.events) {
            let peer = self.peer;
            let observed = match &event {
                Event::Opened(session, source, acknowledged) => {
                    Observed::Opened { peer, session, name: source.name.as_deref(), acknowledged: *acknowledged }
                }
                Event::Applied(session, through, messages) => {
                    Observed::Applied { peer, session, through: *through, messages: *messages }
                }
                Event::TakenOver(session) => Observed::TakenOver { peer, session },
                Event::Refused(reason) => Observed::Refused(peer, reason),
            };
            self.setting.tell(observed).await;
        }
    }

    /// Waits until the handler has nothing of this session in hand any more, and says what it was.
    pub(super) async fn finish(mut self) -> Conversation {
        std::future::poll_fn(|cx| self.in_hand.poll_rest(cx)).await;
        std::mem::take(&mut self.had)
    }

    /// Passes on what has come from elsewhere than the client. Gives the time as it is where what is under way has so much more of it.
    fn hear(&mut self, cx: &mut Context<'_>, grace: Duration) -> std::time::Instant {
        if self.setting.terms.stop.is_set() && !self.draining {
            self.draining = true;
            self.handle(Input::Drain);
        }
        if let Some((place, _)) = &mut self.open
            && Pin::new(&mut place.told).poll(cx).is_ready()
        {
            self.taken_over();
        }
        if let Some((_, answer)) = &mut self.opening
            && let Poll::Ready(answer) = answer.as_mut().poll(cx)
            && let Some((opening, _)) = self.opening.take()
        {
            self.opened(opening, answer);
        }
        loop {
            let next = if self.draining { Next::PutOff } else { Next::GoOn };
            let Poll::Ready(answer) = self.in_hand.poll_answer(cx, next) else { break };
            self.answered(answer);
        }
        if self.ended && self.receiver.is_open() {
            self.handle(Input::Frame(ClientFrame::Bye));
        }
        let now = Instant::now();
        now.checked_sub(grace).unwrap_or(now).into_std()
    }

    fn handle(&mut self, input: Input<'_>) {
        self.receiver.handle(input, Instant::now().into_std());
    }

    /// Asks the store for the session.
    fn ask(&mut self, open: Open<'static>) {
        let Open { session, first, replies, token, name, .. } = open;
        let source = Arc::new(Source { peer: self.peer.clone(), name: name.map(Cow::into_owned) });
        let opening = Opening { session, first, principal: principal(self.peer, token.as_deref()), replies, source };
        let answer = self.store.open(opening.clone());
        self.opening = Some((opening, answer));
    }

    fn opened(&mut self, opening: Opening, answer: Result<Opened, StoreError>) {
        let Opening { session, source, .. } = opening;
        match answer {
            Ok(Opened { progress, owner }) => {
                let acknowledged = progress.acknowledged;
                self.open_place(session, owner, source);
                self.handle(Input::Opened(Ok(progress)));
                if let Some((place, source)) = &self.open
                    && self.receiver.is_open()
                {
                    let name = source.name.as_ref().map(|name| format!(" of {name:?}")).unwrap_or_default();
                    tracing::info!("{}: session {}{name}, after message {acknowledged}", self.peer, place.session);
                    self.note(Event::Opened(place.session.clone(), source.clone(), acknowledged));
                }
            }
            Err(error) => self.handle(Input::Opened(Err(denial(&error)))),
        }
    }

    fn open_place(&mut self, session: SessionId, owner: Owner, source: Arc<Source>) {
        self.open = Some((self.assured.registry.claim(&session, owner), source));
    }

    fn answered(&mut self, answer: Result<Applied, StoreError>) {
        let applied = match answer {
            Ok(applied) => applied,
            Err(StoreError::TakenOver) => return self.taken_over(),
            Err(error @ (StoreError::Full(_) | StoreError::Busy(_))) => put_off(&error, self.receiver.acknowledged()),
            Err(error) => return self.handle(Input::Opened(Err(denial(&error)))),
        };
        let refused = |(_, verdict): &&(u64, Verdict)| matches!(verdict, Verdict::Refused(..));
        let refused = applied.verdicts.iter().filter(refused).count() as u64;
        let before = self.receiver.acknowledged();
        self.handle(Input::Applied(applied));
        let through = self.receiver.acknowledged();
        let messages = (through - before).saturating_sub(refused);
        self.had.messages += messages;
        if let Some((place, _)) = &self.open
            && messages > 0
        {
            self.note(Event::Applied(place.session.clone(), through, messages));
        }
    }

    fn taken_over(&mut self) {
        if let Some((place, _)) = self.open.take() {
            self.note(Event::TakenOver(place.session.clone()));
        }
        self.handle(Input::TakenOver);
    }

    fn note(&mut self, event: Event) {
        if self.setting.observer.is_some() {
            self.events.push(event);
        }
    }

    /// Counts what is in memory.
    fn count(&mut self) {
        let bytes = self.receiver.bytes_in_hand() + self.unfinished;
        if bytes != self.counted {
            self.assured.held.fetch_add(bytes.wrapping_sub(self.counted), Ordering::Relaxed);
            self.counted = bytes;
        }
    }

    /// Says what the user should know of what the client is told.
    fn log(&mut self, frame: &ServerFrame<'_>) {
        let peer = self.peer;
        match frame {
            ServerFrame::Refused { number, reason, .. } => {
                tracing::warn!("{peer}: refused: message {number}: {reason}");
                self.note(Event::Refused(reason.clone().into_owned()));
            }
            ServerFrame::PutOff { code: Code::DISK_FULL, reason, .. } => self.assured.full.tell(|_| {
                tracing::error!("no room on the disk: {reason}; messages are not acknowledged until there is some");
            }),
            ServerFrame::PutOff { number, reason, .. } => {
                tracing::info!("{peer}: message {number} is not acknowledged: {reason}");
            }
            ServerFrame::Error { code, reason, .. } => {
                let words = format!("{code} {reason}");
                match *code {
                    Code::TAKEN_OVER | Code::TIMEOUT | Code::OVERLOADED => tracing::info!("{peer}: {words}"),
                    // Messages are lost, or will be unless somebody looks.
                    Code::CLIENT_BEHIND | Code::UNKNOWN_SESSION | Code::SERVER_BEHIND => {
                        tracing::error!("{peer}: the session ends: {words}");
                    }
                    _ => tracing::warn!("{peer}: the session ends: {words}"),
                }
                self.had.trouble = Some(words);
            }
            _ => {}
        }
    }
}

/// What a client is told whose session the store will not, or cannot, have.
pub(super) fn denial(error: &StoreError) -> Denied {
    let again = match error {
        StoreError::Foreign | StoreError::TakenOver | StoreError::Unwanted(_) => Again::Never,
        _ => Again::After(AGAIN_AFTER),
    };
    Denied { code: error.code(), again, reason: said(error) }
}

/// What a client is told whose messages the store cannot take now, after one that is final.
pub(super) fn put_off(error: &StoreError, through: u64) -> Applied {
    let put_off = PutOff { code: error.code(), after: AGAIN_AFTER, reason: said(error) };
    Applied { through, verdicts: Vec::new(), put_off: Some(put_off) }
}

/// What a client is told. What exactly is wrong here is none of its business.
fn said(error: &StoreError) -> String {
    match error {
        StoreError::Full(_) => "there is no room on the disk".to_owned(),
        StoreError::Busy(_) => "the store cannot be written to now".to_owned(),
        StoreError::Failed(_) => "the store has failed".to_owned(),
        other => other.to_string(),
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.assured.held.fetch_sub(self.counted, Ordering::Relaxed);
    }
}
