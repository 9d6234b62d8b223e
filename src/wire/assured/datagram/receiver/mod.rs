//! `DatagramReceiver`: the server's side of one session over datagrams.
//!
//! Apart from the receiver over streams: here messages come in any order, and what is not answered comes again. Whether a packet may be
//! believed was seen to before ([`Sessions`](super::Sessions)).

mod answers;
mod calls;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use calls::ReceiverOutput;
use waiting::Waiting;

use super::broken::{Rule, is_broken};
use super::{Cookie, ServerPacket, SessionsConfig, WINDOW};
use crate::wire::assured::{Again, Applied, Code, Denied, Level, Open, Progress, PutOff, Run, SessionId, Verdict};

/// The server's side of one session over datagrams.
#[derive(Debug)]
pub struct DatagramReceiver {
    config: Arc<SessionsConfig>,
    session: SessionId,
    /// The opening: its lowest and its next number.
    asked: (u64, u64),
    attempt: Option<u64>,
    cookie: Cookie,
    state: State,
    /// The last number that is final and durable.
    applied: u64,
    /// The checksum of that message, if it is known.
    checksum: Option<u32>,
    /// The last number that the store was given, and the checksum of that message.
    handed: (u64, Option<u32>),
    /// Whether the store has a run that it has not answered.
    in_hand: bool,
    in_hand_bytes: usize,
    /// What has come beyond that.
    waiting: Waiting,
    /// What was refused, and the client has not noted.
    refusals: VecDeque<(u64, Code, String)>,
    /// What the store is to forget.
    note: Option<u64>,
    /// Until when nothing is taken, since the store has put it off, and why.
    put_off: Option<(Instant, PutOff)>,
    /// Whether the session is to be granted, and an acknowledgement is to be sent.
    grant: bool,
    acknowledge: bool,
    packets: VecDeque<ServerPacket<'static>>,
    drains: bool,
    /// Whether the client was told that.
    said_so: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The store is asked.
    Opening,
    Open,
    /// The last word is said.
    Closed,
}

impl DatagramReceiver {
    /// What a message takes in memory beside its bytes.
    pub const OVERHEAD: usize = Waiting::OVERHEAD;

    /// A session for which the store is asked. Messages of this opening will show the cookie.
    pub fn new(config: Arc<SessionsConfig>, open: &Open<'_>, attempt: Option<u64>, cookie: Cookie) -> Self {
        Self {
            config,
            session: open.session.clone(),
            asked: (open.first, open.next),
            attempt,
            cookie,
            state: State::Opening,
            applied: 0,
            checksum: None,
            handed: (0, None),
            in_hand: false,
            in_hand_bytes: 0,
            waiting: Waiting::default(),
            refusals: VecDeque::new(),
            note: None,
            put_off: None,
            grant: false,
            acknowledge: false,
            packets: VecDeque::new(),
            drains: false,
            said_so: false,
        }
    }

    /// Whether an attempt is the one that this session has begun with, which has come again.
    pub fn is_same(&self, attempt: Option<u64>) -> bool {
        attempt.is_some() && self.attempt == attempt
    }

    /// The opening has come again: its answer was lost, perhaps.
    pub fn opened_again(&mut self, cookie: Cookie) {
        if self.state == State::Open {
            self.cookie = cookie;
            self.grant = true;
        }
    }

    /// The store has opened the session.
    pub fn opened(&mut self, opened: Result<Progress, Denied>) {
        let Progress { known, acknowledged, checksum, verdicts } = match opened {
            Ok(progress) => progress,
            Err(Denied { code, again, reason }) => return self.fail(code, again, reason),
        };
        let (first, next) = self.asked;
        if !known && first > 1 && self.config.level >= Level::Stored {
            let reason = format!("the session is not known here, and begins with message {first}");
            return self.fail(Code::UNKNOWN_SESSION, Again::Never, reason);
        }
        if acknowledged < first - 1 {
            let reason = format!("the last message here is {acknowledged}, and {} was acknowledged", first - 1);
            return self.fail(Code::SERVER_BEHIND, Again::Never, reason);
        }
        if acknowledged >= next {
            let reason = format!("the last message here is {acknowledged}, and {} was sent last", next - 1);
            return self.fail(Code::CLIENT_BEHIND, Again::Never, reason);
        }
        self.state = State::Open;
        self.grant = true;
        (self.applied, self.checksum) = (acknowledged, checksum);
        if is_broken(Rule::DuplicatesBySession) {
            self.applied = first - 1;
        }
        self.handed = (self.applied, checksum);
        if verdicts.iter().any(|(number, _)| *number < first) {
            self.note = Some(first - 1);
        }
        self.take_verdicts(verdicts.into_iter().filter(|(number, _)| *number >= first));
    }

    /// A message has come, or the length of one that is too long for a datagram; `room` bytes are left for all sessions.
    pub fn message(
        &mut self,
        number: u64,
        body: Result<&[u8], u64>,
        origin: Option<(SessionId, u64)>,
        room: usize,
        now: Instant,
    ) {
        if self.state != State::Open {
            return;
        }
        if number <= self.handed.0 || self.waiting.contains(number) {
            // What is in hand is answered once it is durable, or now by what was before.
            self.acknowledge = true;
            return;
        }
        if self.drains {
            self.said_so = true;
            return self.say(self.farewell());
        }
        if self.is_put_off(now) {
            return;
        }
        // Of one that is too long nothing but its length is kept.
        let body = match body {
            Ok(body) if body.len() as u64 > self.config.max_body => Err(body.len() as u64),
            body => body,
        };
        let next = number == self.handed.0 + 1;
        let size = Waiting::size(body);
        let beyond = number > self.told() + 1 + u64::from(WINDOW)
            || (self.waiting.bytes() + size > self.config.held_bytes && !self.waiting.is_empty())
            || (size > room && !(next && self.waiting.is_empty()));
        if beyond && !is_broken(Rule::HoldWithinLimits) {
            return;
        }
        self.waiting.insert(number, body, origin);
        // What does not come next will not be answered soon; what does is answered once it is durable.
        self.acknowledge |= self.in_hand || !self.has_next();
        if is_broken(Rule::AcknowledgeAfterCommit) && self.has_next() {
            (self.applied, self.acknowledge) = (number, true);
        }
    }

    /// The client has noted what was refused up to this number.
    pub fn noted(&mut self, through: u64) {
        if self.state == State::Open {
            let through = through.min(self.applied);
            if self.refusals.front().is_some_and(|(number, ..)| *number <= through) {
                self.note = Some(through);
                self.refusals.retain(|(number, ..)| *number > through);
            }
            self.acknowledge = true;
        }
    }

    /// The store says what became of the run in hand.
    pub fn applied(&mut self, applied: Applied, now: Instant) {
        let Applied { through, verdicts, put_off } = applied;
        (self.in_hand, self.in_hand_bytes) = (false, 0);
        let (last, checksum) = self.handed;
        if through > self.applied || is_broken(Rule::AcknowledgeAfterCommit) {
            self.applied = through.max(self.applied);
            let refused =
                verdicts.iter().any(|(number, verdict)| *number == through && matches!(verdict, Verdict::Refused(..)));
            self.checksum = checksum.filter(|_| through == last && !refused);
        }
        self.take_verdicts(verdicts.into_iter());
        self.acknowledge = true;
        if let Some(put_off) = put_off {
            self.handed = (through, None);
            self.waiting.clear();
            self.say(self.not_now(put_off.after, &put_off));
            self.put_off = now.checked_add(put_off.after).map(|until| (until, put_off));
        }
    }

    /// The server is about to end: what has come is applied, and nothing more is taken.
    pub fn drain(&mut self) {
        self.drains = true;
    }

    /// The session is not to be opened, for this reason.
    pub fn fail(&mut self, code: Code, again: Again, reason: String) {
        self.say(ServerPacket::Error {
            session: self.session.clone(),
            attempt: self.attempt,
            code,
            again,
            reason: reason.into(),
        });
        self.state = State::Closed;
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> ReceiverOutput {
        if let Some(note) = self.note.take() {
            return ReceiverOutput::Note(note);
        }
        if mem::take(&mut self.grant) {
            // An answer to the opening says all that an acknowledgement does.
            self.acknowledge = !self.refusals.is_empty();
            return ReceiverOutput::Send(self.granted());
        }
        if mem::take(&mut self.acknowledge) {
            self.tell_refusals();
            return ReceiverOutput::Send(self.acknowledged());
        }
        if let Some(packet) = self.packets.pop_front() {
            return ReceiverOutput::Send(packet);
        }
        if self.state == State::Closed {
            return ReceiverOutput::Close;
        }
        if self.drains && !self.said_so && self.state == State::Open && self.is_quiet() {
            // A client that has nothing to send now would not hear it before it has.
            self.said_so = true;
            return ReceiverOutput::Send(self.farewell());
        }
        match !self.in_hand && self.state == State::Open && self.has_next() {
            true => ReceiverOutput::Apply(self.hand_over()),
            false => ReceiverOutput::Wait,
        }
    }

    /// How many bytes of messages it holds, with what they take beside; those that the store has are in memory, too.
    pub fn held_bytes(&self) -> usize {
        self.waiting.bytes() + self.in_hand_bytes
    }

    /// Whether the session is dropped at no cost: the store is not asked for anything.
    pub fn is_quiet(&self) -> bool {
        self.state != State::Opening && !self.in_hand && !self.has_next()
    }

    /// Whether the store is asked to open the session.
    pub fn is_opening(&self) -> bool {
        self.state == State::Opening
    }

    fn has_next(&self) -> bool {
        self.waiting.has_next(self.handed.0 + 1)
    }

    /// The client is to go on elsewhere, now.
    fn farewell(&self) -> ServerPacket<'static> {
        let (session, reason) = (self.session.clone(), "the server is about to end".into());
        ServerPacket::Error {
            session,
            attempt: None,
            code: Code::OVERLOADED,
            again: Again::After(Duration::ZERO),
            reason,
        }
    }

    /// All that follows what the store was given last.
    fn hand_over(&mut self) -> Run {
        let before = self.waiting.bytes();
        let (run, checksum) = self.waiting.take(self.handed.0 + 1);
        self.handed = (run.last(), checksum);
        (self.in_hand, self.in_hand_bytes) = (true, before - self.waiting.bytes());
        run
    }

    fn take_verdicts(&mut self, verdicts: impl Iterator<Item = (u64, Verdict)>) {
        let mut replied = false;
        for (number, verdict) in verdicts {
            match verdict {
                Verdict::Refused(code, reason) => self.refusals.push_back((number, code, reason)),
                // There is no way for it to the client.
                Verdict::Reply(_) => replied = true,
            }
        }
        if replied && self.refusals.is_empty() {
            self.note = Some(self.applied);
        }
    }
}
