//! `Sessions`: all sessions that come to a server by datagrams, and whose packets are whose.
//!
//! Apart from the single session: here is what a source must show before it is believed, and how many may be served at once.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broken::{Rule, is_broken};
use super::{
    COOKIE_SLOT, ClientPacket, Cookie, DatagramReceiver, HELD_BYTES, HELD_BYTES_IN_ALL, MAX_BODY, MAX_OPENING,
    MAX_SESSIONS, Malformed, OPEN_LENGTH, ReceiverOutput, SESSION_IDLE, Secret, ServerPacket, WINDOW,
};
use crate::wire::assured::{Again, Applied, Code, Denied, Level, Open, Progress, Run, SessionId};

/// Settings of a server for sessions by datagrams.
#[derive(Clone, Debug)]
pub struct SessionsConfig {
    /// What it calls itself.
    pub server: String,
    /// What its acknowledgements stand for.
    pub level: Level,
    /// How many messages of a session may be on their way, at most [`WINDOW`].
    pub window: u32,
    /// The longest message in bytes.
    pub max_body: u64,
    /// How many sessions are in memory at the most.
    pub sessions: usize,
    /// How many of them may wait for the store to open them.
    pub opening: usize,
    /// After how much silence a session is dropped from memory.
    pub idle: Duration,
    /// How many bytes of messages a session may have waiting.
    pub held_bytes: usize,
    /// How many bytes of messages all sessions may have waiting.
    pub held_bytes_in_all: usize,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            server: "wilco".to_owned(),
            level: Level::Stored,
            window: WINDOW,
            max_body: MAX_BODY as u64,
            sessions: MAX_SESSIONS,
            opening: MAX_OPENING,
            idle: SESSION_IDLE,
            held_bytes: HELD_BYTES,
            held_bytes_in_all: HELD_BYTES_IN_ALL,
        }
    }
}

/// What the sessions are told. `S` is a source, as the server's user knows it; answers to it are sent there.
#[derive(Debug)]
pub enum Input<'a, S> {
    /// A packet has come.
    Packet {
        /// Where from.
        from: S,
        /// The same in bytes, which no other source has.
        source: &'a [u8],
        /// What was said.
        packet: ClientPacket<'a>,
        /// How long the datagram was, in bytes: no answer to a source that is not proved is longer.
        length: usize,
    },
    /// The store's answer to [`Output::Open`].
    Opened(SessionId, Opening, Result<Progress, Denied>),
    /// The store's answer to [`Output::Apply`].
    Applied(SessionId, Opening, Applied),
    /// Another connection has taken the session over.
    TakenOver(SessionId, Opening),
    /// The server is about to end.
    Drain,
}

/// What the sessions want done, in this order.
#[derive(Debug)]
pub enum Output<S> {
    /// Open the session in the store, which makes this opening its only owner (rule S1); answered by [`Input::Opened`].
    Open {
        /// Which opening it is; of a session, the latest is the only one that counts.
        opening: Opening,
        /// The packet's.
        open: Open<'static>,
        /// Where it came from.
        from: S,
    },
    /// Apply the messages in one transaction with the session's progress (rule S2), and answer by [`Input::Applied`] once that is durable (S3). There is one under way for each
    /// session at a time.
    Apply {
        /// The session.
        session: SessionId,
        /// Its opening.
        opening: Opening,
        /// The messages.
        run: Run,
    },
    /// Forget refusals and replies up to this number.
    Note {
        /// The session.
        session: SessionId,
        /// Its opening.
        opening: Opening,
        /// The last number.
        through: u64,
    },
    /// Send a datagram.
    Send {
        /// Where to.
        to: S,
        /// Its bytes.
        datagram: Vec<u8>,
    },
    /// This opening is over: its owner in the store may be forgotten.
    Close {
        /// The session.
        session: SessionId,
        /// Its opening.
        opening: Opening,
    },
    /// Nothing, until something comes or it is this time.
    Wait(Option<Instant>),
}

/// One opening of a session; a later one is higher.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Opening(u64);

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
    sessions: HashMap<SessionId, Entry<S>>,
    /// The number of the last opening.
    last: u64,
    /// How many sessions wait for the store to open them.
    opening: usize,
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

impl<S: Clone + Eq> Sessions<S> {
    /// How long a full table of sessions is not looked through again for some that are idle.
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
            last: 0,
            opening: 0,
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
            Input::Opened(session, opening, opened) => {
                let waits = |receiver: &DatagramReceiver| receiver.is_opening();
                if self.of(&session, opening).is_some_and(|entry| waits(&entry.receiver)) {
                    self.opening -= 1;
                    self.with(&session, |receiver| receiver.opened(opened));
                }
            }
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
                self.sessions.values_mut().for_each(|entry| entry.receiver.drain());
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
        self.sessions.len()
    }

    /// Whether none is in memory.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many bytes of messages are waiting, with what they take beside.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether all that has come was applied, so that a server that [drains](Input::Drain) may end.
    pub fn is_quiet(&self) -> bool {
        self.outputs.is_empty()
            && self.touched.is_empty()
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
        // One that was open before is left to its new opening.
        self.remove(&open.session);
        if self.sessions.len() >= self.config.sessions && self.swept + Self::SWEEP <= now {
            self.sweep(now);
        }
        if self.sessions.len() >= self.config.sessions || self.opening >= self.config.opening {
            return self.turn_away(
                asker,
                &open.session,
                attempt,
                Code::TOO_MANY,
                Self::LATER,
                "there are too many sessions",
            );
        }
        self.last += 1;
        self.opening += 1;
        let opening = Opening(self.last);
        let cookie = self.secret.cookie(asker.source, &open.session, slot, Self::cookie_number(opening));
        let receiver = DatagramReceiver::new(Arc::clone(&self.config), &open, attempt, cookie);
        let from = asker.from.clone();
        self.sessions
            .insert(open.session.clone(), Entry { opening, from: from.clone(), receiver, heard: now, touched: false });
        self.outputs.push_back(Output::Open { opening, open: owned(open), from });
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
                    let mut datagram = Vec::new();
                    // The source is proved; but only the opening is sure to be as long as this.
                    packet.encode_within(OPEN_LENGTH, &mut datagram);
                    self.outputs.push_back(Output::Send { to: entry.from.clone(), datagram });
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
            self.opening -= usize::from(entry.receiver.is_opening());
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

fn owned(open: Open<'_>) -> Open<'static> {
    let Open { session, first, next, level, replies, token, name } = open;
    let own = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned().into());
    Open { session, first, next, level, replies, token: own(token), name: own(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "0123456789abcdef";

    fn sessions(config: SessionsConfig, now: Instant) -> Sessions<u8> {
        Sessions::new(config, Secret::new([1; 32]), now)
    }

    fn outputs(sessions: &mut Sessions<u8>, now: Instant) -> Vec<Output<u8>> {
        std::iter::from_fn(|| Some(sessions.poll(now)).filter(|output| !matches!(output, Output::Wait(_)))).collect()
    }

    /// What is answered to a datagram from source 1; nothing else may be done.
    fn answer(sessions: &mut Sessions<u8>, datagram: &str, now: Instant) -> Option<String> {
        sessions.datagram(1, b"1", datagram.as_bytes(), now).expect("a packet");
        match <[Output<u8>; 1]>::try_from(outputs(sessions, now)) {
            Ok([Output::Send { datagram, .. }]) => Some(String::from_utf8(datagram).expect("text")),
            Ok([other]) => panic!("{other:?}"),
            Err(outputs) => {
                assert!(outputs.is_empty(), "{outputs:?}");
                None
            }
        }
    }

    /// Opens a session from source 1, and says what the messages are to be sent with.
    fn open(sessions: &mut Sessions<u8>, sid: &str, more: &str, now: Instant) -> (Opening, String) {
        let fill = ".".repeat(OPEN_LENGTH);
        let challenge = answer(sessions, &format!("WILCO/1 O {sid} 1 9 pad={fill}"), now).expect("a cookie");
        let cookie = challenge.split(' ').nth(3).expect("a cookie");
        let packet = format!("WILCO/1 O {sid} 1 9 cookie={cookie}{more} pad={fill}");
        sessions.datagram(1, b"1", packet.as_bytes(), now).expect("a packet");
        let opening = outputs(sessions, now).into_iter().find_map(|output| match output {
            Output::Open { opening, .. } => Some(opening),
            _ => None,
        });
        let opening = opening.expect("it is opened");
        sessions.handle(Input::Opened(sid.parse().expect("a session"), opening, Ok(Progress::default())), now);
        let granted = outputs(sessions, now).into_iter().find_map(|output| match output {
            Output::Send { datagram, .. } => String::from_utf8(datagram).ok(),
            _ => None,
        });
        let granted = granted.expect("it is granted");
        assert!(granted.contains(" 0 00000000 64 1200 ") && granted.ends_with(" ack=store srv=wilco"), "{granted}");
        (opening, granted.split(' ').nth(3).expect("a cookie").to_owned())
    }

    #[test]
    fn an_opening_costs_nothing_and_is_not_answered_by_more() {
        let now = Instant::now();
        let mut sessions = sessions(SessionsConfig::default(), now);
        for sid in [SID, &"z".repeat(64)] {
            for (length, answered) in [(0, false), (OPEN_LENGTH - 1, false), (OPEN_LENGTH, true), (1000, true)] {
                let mut packet =
                    format!("WILCO/1 O {sid} 9223372036854775807 9223372036854775807 try=9223372036854775807 pad=");
                packet.extend(std::iter::repeat_n('.', length.saturating_sub(packet.len())));
                let answer = answer(&mut sessions, &packet, now);
                assert_eq!(answer.is_some(), answered, "{length}");
                assert!(answer.is_none_or(|answer| answer.len() <= packet.len()));
            }
        }
        assert_eq!((sessions.len(), sessions.held_bytes()), (0, 0));
    }

    #[test]
    fn a_message_that_is_not_believed_is_answered_by_no_more_than_it_has() {
        let now = Instant::now();
        let mut sessions = sessions(SessionsConfig::default(), now);
        for body in 0..100 {
            let packet = format!("WILCO/1 M {SID} 00112233445566778899aabbccddeeff 1\n{}", "x".repeat(body));
            let answer = answer(&mut sessions, &packet, now);
            assert!(answer.as_ref().is_none_or(|answer| answer.len() <= packet.len()), "{packet}: {answer:?}");
            assert_eq!(answer.is_some(), body >= 9, "{body}");
        }
        let bye = format!("WILCO/1 BYE {SID} 00112233445566778899aabbccddeeff x={}", "x".repeat(200));
        assert_eq!(answer(&mut sessions, &bye, now), None);
    }

    #[test]
    fn a_message_needs_the_cookie_the_source_and_the_time() {
        let now = Instant::now();
        let mut sessions = sessions(SessionsConfig { idle: 9 * COOKIE_SLOT, ..SessionsConfig::default() }, now);
        let (opening, cookie) = open(&mut sessions, SID, "", now);
        let packet = format!("WILCO/1 M {SID} {cookie} 1\n");
        for (from, source, later, taken) in [
            (2, b"2", Duration::ZERO, false),
            (1, b"1", 2 * COOKIE_SLOT, false),
            (1, b"1", 2 * COOKIE_SLOT - Duration::from_secs(1), true),
        ] {
            sessions.datagram(from, source, packet.as_bytes(), now + later).expect("a packet");
            let outputs = outputs(&mut sessions, now + later);
            assert_eq!(outputs.iter().any(|output| matches!(output, Output::Apply { .. })), taken, "{from} {later:?}");
        }
        // Of what an opening before was told nothing counts.
        let session: SessionId = SID.parse().expect("a session");
        let applied = Applied { through: 1, ..Applied::default() };
        sessions.handle(Input::Applied(session.clone(), Opening(opening.0 + 1), applied.clone()), now);
        assert!(outputs(&mut sessions, now).is_empty());
        sessions.handle(Input::Applied(session, opening, applied), now);
        assert!(
            matches!(&outputs(&mut sessions, now)[..], [Output::Send { datagram, .. }] if datagram.ends_with(b"A 0123456789abcdef 1"))
        );
    }

    #[test]
    fn sessions_in_memory_are_limited_and_go_when_they_are_silent() {
        let now = Instant::now();
        let config = SessionsConfig { sessions: 2, ..SessionsConfig::default() };
        let mut sessions = sessions(config, now);
        open(&mut sessions, SID, "", now);
        open(&mut sessions, &"1".repeat(16), "", now);
        let sid = "2".repeat(16);
        let fill = ".".repeat(OPEN_LENGTH);
        let opening = format!("WILCO/1 O {sid} 1 9 try=5 pad={fill}");
        let challenge = answer(&mut sessions, &opening, now).expect("a cookie");
        let cookie = challenge.split(' ').nth(3).expect("a cookie");
        let opening = format!("WILCO/1 O {sid} 1 9 try=5 cookie={cookie} pad={fill}");
        let refused = answer(&mut sessions, &opening, now).expect("an answer");
        assert_eq!(refused, format!("WILCO/1 E {sid} 5 421 5000 there are too many sessions"));
        let later = now + SESSION_IDLE;
        sessions.datagram(1, b"1", opening.as_bytes(), later).expect("a packet");
        assert!(outputs(&mut sessions, later).iter().any(|output| matches!(output, Output::Open { .. })));
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn an_opening_that_comes_twice_is_granted_twice_and_asked_about_once() {
        let now = Instant::now();
        let mut sessions = sessions(SessionsConfig::default(), now);
        let (_, cookie) = open(&mut sessions, SID, " try=5", now);
        let source = Secret::new([1; 32]).cookie(b"1", &SID.parse().expect("a session"), 0, 0);
        let again = format!("WILCO/1 O {SID} 1 12 cookie={source} try=5 pad={}", ".".repeat(OPEN_LENGTH));
        let granted = answer(&mut sessions, &again, now).expect("an answer");
        assert!(granted.contains(&cookie), "{granted}");
    }

    #[test]
    fn one_who_goes_or_is_taken_over_leaves_nothing() {
        let now = Instant::now();
        let mut sessions = sessions(SessionsConfig::default(), now);
        let (_, cookie) = open(&mut sessions, SID, "", now);
        sessions.datagram(1, b"1", format!("WILCO/1 BYE {SID} {cookie}").as_bytes(), now).expect("a packet");
        assert!(matches!(&outputs(&mut sessions, now)[..], [Output::Close { .. }]) && sessions.is_empty());
        let (opening, cookie) = open(&mut sessions, SID, "", now);
        sessions.handle(Input::TakenOver(SID.parse().expect("a session"), opening), now);
        assert!(matches!(&outputs(&mut sessions, now)[..], [Output::Close { .. }]) && sessions.is_empty());
        let next = answer(&mut sessions, &format!("WILCO/1 M {SID} {cookie} 1\n{}", "x".repeat(50)), now);
        assert!(next.is_some_and(|next| next.contains(" - - ")));
    }

    #[test]
    fn a_server_that_is_about_to_end_takes_nothing_more() {
        let now = Instant::now();
        let mut sessions = sessions(SessionsConfig::default(), now);
        let (_, cookie) = open(&mut sessions, SID, "", now);
        sessions.handle(Input::Drain, now);
        let refused = answer(&mut sessions, &format!("WILCO/1 M {SID} {cookie} 1\n"), now);
        assert_eq!(refused, Some(format!("WILCO/1 E {SID} - 503 0 the server is about to end")));
        assert!(sessions.is_quiet());
    }
}
