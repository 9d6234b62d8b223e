//! `Sessions`: all sessions that come to a server by datagrams, and whose packets are whose.
//!
//! Apart from the single session: here is what a source must show before it is believed, and how many may be served at once.

mod calls;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use calls::{Caller, Input, Opening, Output, SessionsConfig};

use super::broken::{Rule, is_broken};
use super::{
    COOKIE_SLOT, ClientPacket, Cookie, DatagramReceiver, Malformed, OPEN_LENGTH, ReceiverOutput, Secret, ServerPacket,
    WINDOW,
};
use crate::wire::assured::{Again, Code, Denied, Open, Progress, SessionId};

/// All sessions that come to a server by datagrams.
///
/// [`handle`](Self::handle) it whatever comes, and after that call [`poll`](Self::poll) until it says to wait. Handle all datagrams of a burst first: what follows each other is then
/// applied at once.
#[derive(Debug)]
pub struct Sessions<S> {
    config: Arc<SessionsConfig>,
    secret: Secret,
    /// When slot 0 of the cookies began. With another secret others count for nothing, so no clock of the wall is needed.
    began: Instant,
    /// Those that the store has opened.
    sessions: HashMap<SessionId, Entry<S>>,
    /// Those that the store is asked to open. A session that is open already goes on until then: whoever opens it anew may not be let in.
    opening: HashMap<Opening, (SessionId, Entry<S>)>,
    /// The number of the last opening.
    last: u64,
    held_bytes: usize,
    /// Sessions that have something to be done.
    touched: VecDeque<SessionId>,
    outputs: VecDeque<Output<S>>,
    swept: Instant,
    drains: bool,
}

#[derive(Debug)]
struct Entry<S> {
    opening: Opening,
    from: S,
    receiver: DatagramReceiver,
    heard: Instant,
    touched: bool,
}

impl<S: Caller> Sessions<S> {
    /// How often sessions are looked through for some that are idle, at the most.
    const SWEEP: Duration = Duration::from_secs(1);

    /// Where a full server sends a client back for.
    const LATER: Duration = Duration::from_secs(5);

    /// No sessions yet. The secret must be random, and known to nobody else.
    pub fn new(config: SessionsConfig, secret: Secret, now: Instant) -> Self {
        let config = SessionsConfig { window: config.window.min(WINDOW), ..config };
        Self {
            config: Arc::new(config),
            secret,
            began: now,
            sessions: HashMap::new(),
            opening: HashMap::new(),
            last: 0,
            held_bytes: 0,
            touched: VecDeque::new(),
            outputs: VecDeque::new(),
            swept: now,
            drains: false,
        }
    }

    /// Takes a datagram that has come.
    ///
    /// # Errors
    /// It is no packet of the protocol, and is not answered.
    pub fn datagram(&mut self, from: S, source: &[u8], datagram: &[u8], now: Instant) -> Result<(), Malformed> {
        let packet = ClientPacket::parse(datagram)?;
        self.handle(Input::Packet { from, source, packet, length: datagram.len() }, now);
        Ok(())
    }

    /// Takes what has come.
    pub fn handle(&mut self, input: Input<'_, S>, now: Instant) {
        match input {
            Input::Packet { from, source, packet: ClientPacket::Open { open, attempt, cookie }, length } => {
                // A shorter one might have to be answered by more than it has.
                if length >= OPEN_LENGTH {
                    self.open(&Asker { from, source, length }, open, attempt, cookie, now);
                }
            }
            Input::Packet { from, source, packet, length } => self.packet(&Asker { from, source, length }, packet, now),
            Input::Opened(_, opening, opened) => self.opened(opening, opened, now),
            Input::Applied(session, opening, applied) => {
                if self.of(&session, opening).is_some() {
                    self.with(&session, |receiver| receiver.applied(applied, now));
                }
            }
            Input::TakenOver(session, opening) => {
                if self.of(&session, opening).is_some() {
                    // The client is not told: what it sends next is answered as if the session had never been open.
                    self.remove(&session);
                }
            }
            Input::Drain => {
                self.drains = true;
                self.opening.values_mut().for_each(|(_, entry)| entry.receiver.drain());
                let sessions: Vec<_> = self.sessions.keys().cloned().collect();
                sessions.iter().for_each(|session| self.with(session, DatagramReceiver::drain));
            }
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self, now: Instant) -> Output<S> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            match self.touched.pop_front() {
                Some(session) => self.tend(&session),
                None => break,
            }
        }
        if self.swept + self.sweeps() <= now {
            self.sweep(now);
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
        }
        Output::Wait((!self.sessions.is_empty()).then(|| self.swept + self.sweeps()))
    }

    /// How many sessions are in memory.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.opening.len()
    }

    /// Whether none is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of messages are waiting, with what they take beside.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether all that has come was applied, so that a server that [drains](Input::Drain) may end.
    pub fn is_quiet(&self) -> bool {
        self.outputs.is_empty()
            && self.touched.is_empty()
            && self.opening.is_empty()
            && self.sessions.values().all(|entry| entry.receiver.is_quiet())
    }

    fn open(
        &mut self,
        asker: &Asker<'_, S>,
        open: Open<'_>,
        attempt: Option<u64>,
        cookie: Option<Cookie>,
        now: Instant,
    ) {
        let slot = self.slot(now);
        let proved = cookie.is_some_and(|cookie| self.secret.proves(cookie, asker.source, &open.session, slot, 0));
        if !proved && !is_broken(Rule::ProveSource) {
            return self.challenge(asker, &open.session, attempt, now);
        }
        if let Some(entry) = self.sessions.get_mut(&open.session)
            && entry.from == asker.from
            && entry.receiver.is_same(attempt)
        {
            entry.heard = now;
            let number = Self::cookie_number(entry.opening);
            let cookie = self.secret.cookie(asker.source, &open.session, slot, number);
            return self.with(&open.session, |receiver| receiver.opened_again(cookie));
        }
        let is_asked = |(session, entry): &(SessionId, Entry<S>)| {
            *session == open.session && entry.from == asker.from && entry.receiver.is_same(attempt)
        };
        if self.opening.values().any(is_asked) {
            // It is answered once the store has.
            return;
        }
        if self.drains {
            return self.turn_away(
                asker,
                &open.session,
                attempt,
                Code::OVERLOADED,
                Duration::ZERO,
                "the server is about to end",
            );
        }
        if let Some(objection) = self.config.level.objection(open.level) {
            let (session, reason) = (open.session.clone(), objection.into());
            let (code, again) = (Code::NOT_ACCEPTABLE, Again::Never);
            return self.answer(asker, &ServerPacket::Error { session, attempt, code, again, reason });
        }
        if self.opening.len() >= self.config.opening || !self.makes_room(&asker.from, &open.session) {
            let reason = "there are too many sessions";
            return self.turn_away(asker, &open.session, attempt, Code::TOO_MANY, Self::LATER, reason);
        }
        self.last += 1;
        let opening = Opening(self.last);
        let cookie = self.secret.cookie(asker.source, &open.session, slot, Self::cookie_number(opening));
        let receiver = DatagramReceiver::new(Arc::clone(&self.config), &open, attempt, cookie);
        let from = asker.from.clone();
        let entry = Entry { opening, from: from.clone(), receiver, heard: now, touched: false };
        self.opening.insert(opening, (open.session.clone(), entry));
        self.outputs.push_back(Output::Open { opening, open: owned(open), from });
    }

    /// Takes the store's answer to an opening. One that it has opened takes the place of what was open before.
    fn opened(&mut self, opening: Opening, opened: Result<Progress, Denied>, now: Instant) {
        let Some((session, mut entry)) = self.opening.remove(&opening) else { return };
        let is_owner = opened.is_ok();
        entry.heard = now;
        entry.receiver.opened(opened);
        let is_newer = |(newer, (other, their)): (&Opening, &(SessionId, Entry<S>))| {
            *newer > opening && *other == session && their.from == entry.from
        };
        if self.opening.iter().any(is_newer) {
            // Who has asked again meanwhile is answered that.
            return self.outputs.push_back(Output::Close { session, opening });
        }
        if is_owner {
            self.remove(&session);
            self.sessions.insert(session.clone(), entry);
            return self.with(&session, |_| {});
        }
        // All that is left is to say so; who has the session goes on.
        while let ReceiverOutput::Send(packet) = entry.receiver.poll() {
            self.outputs.push_back(Output::Send { to: entry.from.clone(), datagram: encoded(&packet) });
        }
        self.outputs.push_back(Output::Close { session, opening });
    }

    /// Whether there is room for one more session from there. One that is quiet makes room: all of it is in the store, and it is opened again by what its client says next.
    fn makes_room(&mut self, from: &S, session: &SessionId) -> bool {
        let host = from.host();
        let opening = self.opening.values().filter(|(_, entry)| entry.from.host() == host).count();
        let open = self.sessions.values().filter(|entry| entry.from.host() == host).count();
        // Those of the same place first: nobody else is to make room for them.
        let is_theirs = opening + open >= self.config.sessions_of_host;
        if !is_theirs && self.len() < self.config.sessions {
            return true;
        }
        let may_go = |(other, entry): &(&SessionId, &Entry<S>)| {
            *other != session && entry.receiver.is_quiet() && (!is_theirs || entry.from.host() == host)
        };
        let idlest = self.sessions.iter().filter(may_go).min_by_key(|(_, entry)| entry.heard);
        let idlest = idlest.map(|(session, _)| session.clone());
        idlest.inspect(|session| self.remove(session)).is_some()
    }

    /// Takes what belongs to an open session.
    fn packet(&mut self, asker: &Asker<'_, S>, packet: ClientPacket<'_>, now: Instant) {
        let (ClientPacket::Message { session, cookie, .. }
        | ClientPacket::TooLarge { session, cookie, .. }
        | ClientPacket::Noted { session, cookie, .. }
        | ClientPacket::Bye { session, cookie }) = &packet
        else {
            return;
        };
        let (session, cookie, slot) = (session.clone(), *cookie, self.slot(now));
        let is_owner = |entry: &Entry<S>| {
            let opening = Self::cookie_number(entry.opening);
            is_broken(Rule::ProveSource)
                || (entry.from == asker.from && self.secret.proves(cookie, asker.source, &session, slot, opening))
        };
        if !self.sessions.get(&session).is_some_and(is_owner) {
            if !matches!(packet, ClientPacket::Bye { .. }) {
                self.challenge(asker, &session, None, now);
            }
            return;
        }
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.heard = now;
        }
        let room = self.config.held_bytes_in_all.saturating_sub(self.held_bytes);
        match packet {
            ClientPacket::Message { number, origin, body, .. } => {
                self.with(&session, |receiver| receiver.message(number, Ok(body), origin, room, now));
            }
            ClientPacket::TooLarge { number, length, .. } => {
                self.with(&session, |receiver| receiver.message(number, Err(length), None, room, now));
            }
            ClientPacket::Noted { through, .. } => self.with(&session, |receiver| receiver.noted(through)),
            ClientPacket::Bye { .. } => {
                if self.sessions.get(&session).is_some_and(|entry| entry.receiver.is_quiet()) {
                    self.remove(&session);
                }
            }
            ClientPacket::Open { .. } => {}
        }
    }

    /// Does what a session wants done.
    fn tend(&mut self, session: &SessionId) {
        let Some(entry) = self.sessions.get_mut(session) else { return };
        entry.touched = false;
        let opening = entry.opening;
        loop {
            let before = entry.receiver.held_bytes();
            let output = entry.receiver.poll();
            self.held_bytes -= before - entry.receiver.held_bytes();
            match output {
                ReceiverOutput::Apply(run) => {
                    self.outputs.push_back(Output::Apply { session: session.clone(), opening, run });
                }
                ReceiverOutput::Note(through) => {
                    self.outputs.push_back(Output::Note { session: session.clone(), opening, through });
                }
                ReceiverOutput::Send(packet) => {
                    self.outputs.push_back(Output::Send { to: entry.from.clone(), datagram: encoded(&packet) });
                }
                ReceiverOutput::Close => return self.remove(session),
                ReceiverOutput::Wait => return,
            }
        }
    }

    /// Tells a session something, and notes that it is to be tended.
    fn with(&mut self, session: &SessionId, tell: impl FnOnce(&mut DatagramReceiver)) {
        if let Some(entry) = self.sessions.get_mut(session) {
            let before = entry.receiver.held_bytes();
            tell(&mut entry.receiver);
            self.held_bytes = self.held_bytes - before + entry.receiver.held_bytes();
            if !mem::replace(&mut entry.touched, true) {
                self.touched.push_back(session.clone());
            }
        }
    }

    fn of(&self, session: &SessionId, opening: Opening) -> Option<&Entry<S>> {
        self.sessions.get(session).filter(|entry| entry.opening == opening)
    }

    fn remove(&mut self, session: &SessionId) {
        if let Some(entry) = self.sessions.remove(session) {
            self.held_bytes -= entry.receiver.held_bytes();
            self.outputs.push_back(Output::Close { session: session.clone(), opening: entry.opening });
        }
    }

    /// Drops the sessions that have been silent for too long and for which nothing is under way.
    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        let idle = |entry: &Entry<S>| entry.heard + self.config.idle <= now && entry.receiver.is_quiet();
        let gone: Vec<_> =
            self.sessions.iter().filter(|(_, entry)| idle(entry)).map(|(session, _)| session.clone()).collect();
        gone.iter().for_each(|session| self.remove(session));
    }

    fn sweeps(&self) -> Duration {
        self.config.idle.max(Self::SWEEP)
    }

    /// Answers with a cookie, for which nothing is kept.
    fn challenge(&mut self, asker: &Asker<'_, S>, session: &SessionId, attempt: Option<u64>, now: Instant) {
        let cookie = self.secret.cookie(asker.source, session, self.slot(now), 0);
        let (session, window, max_body) = (session.clone(), self.config.window, self.config.max_body);
        self.answer(asker, &ServerPacket::Challenge { session, cookie, attempt, window, max_body });
    }

    fn turn_away(
        &mut self,
        asker: &Asker<'_, S>,
        session: &SessionId,
        attempt: Option<u64>,
        code: Code,
        after: Duration,
        reason: &str,
    ) {
        let (session, again) = (session.clone(), Again::After(after));
        self.answer(asker, &ServerPacket::Error { session, attempt, code, again, reason: reason.into() });
    }

    /// Answers to whoever says to be the source, with no more than came from there.
    fn answer(&mut self, asker: &Asker<'_, S>, packet: &ServerPacket<'_>) {
        let mut datagram = Vec::new();
        if packet.encode_within(asker.length, &mut datagram) {
            self.outputs.push_back(Output::Send { to: asker.from.clone(), datagram });
        }
    }

    fn slot(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / COOKIE_SLOT.as_secs()
    }

    fn cookie_number(opening: Opening) -> u64 {
        if is_broken(Rule::CookieOfOpening) { 0 } else { opening.0 }
    }
}

/// Who has sent a packet.
struct Asker<'a, S> {
    from: S,
    source: &'a [u8],
    length: usize,
}

/// The source is proved; but only the opening is sure to be as long as this.
fn encoded(packet: &ServerPacket<'_>) -> Vec<u8> {
    let mut datagram = Vec::new();
    packet.encode_within(OPEN_LENGTH, &mut datagram);
    datagram
}

fn owned(open: Open<'_>) -> Open<'static> {
    let Open { session, first, next, level, replies, token, name } = open;
    let own = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned().into());
    Open { session, first, next, level, replies, token: own(token), name: own(name) }
}
