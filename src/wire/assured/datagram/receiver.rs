//! `DatagramReceiver`: the server's side of one session over datagrams.
//!
//! Apart from the receiver over streams: here messages come in any order, and what is not answered comes again. Whether a packet may be
//! believed was seen to before ([`Sessions`](super::Sessions)).

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::broken::{Rule, is_broken};
use super::{Cookie, Held, ServerPacket, SessionsConfig, WINDOW};
use crate::wire::assured::{
    Again, Applied, Code, Denied, Level, Open, Progress, PutOff, Run, SessionId, Verdict, checksum,
};

/// What a receiver wants done, in this order.
#[derive(Debug)]
pub enum ReceiverOutput {
    /// Apply the messages in one transaction with the session's progress (rule S2), and say what became of them ([`DatagramReceiver::applied`]) once that is durable (S3). There is
    /// one of them under way at a time.
    Apply(Run),
    /// Forget refusals and replies up to this number.
    Note(u64),
    /// Send a packet.
    Send(ServerPacket<'static>),
    /// The session is to be dropped. This is the last.
    Close,
    /// Nothing, until something comes.
    Wait,
}

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
    held: BTreeMap<u64, Waiting>,
    held_bytes: usize,
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
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The store is asked.
    Opening,
    Open,
    /// The last word is said.
    Closed,
}

/// A message that has come, and was not yet given to the store.
#[derive(Debug)]
struct Waiting {
    body: Result<Vec<u8>, u64>,
    origin: Option<(SessionId, u64)>,
}

impl DatagramReceiver {
    /// How many refusals are told at once.
    const REFUSALS: usize = 8;

    /// What a message takes in memory beside its bytes.
    pub const OVERHEAD: usize = 128;

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
            held: BTreeMap::new(),
            held_bytes: 0,
            refusals: VecDeque::new(),
            note: None,
            put_off: None,
            grant: false,
            acknowledge: false,
            packets: VecDeque::new(),
            drains: false,
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
        if !known && first > 1 && self.config.level == Level::Stored {
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
        if number <= self.handed.0 || self.held.contains_key(&number) {
            // What is in hand is answered once it is durable, or now by what was before.
            self.acknowledge = true;
            return;
        }
        if self.drains {
            let (code, reason) = (Code::OVERLOADED, "the server is about to end".to_owned());
            return self.say(ServerPacket::Error {
                session: self.session.clone(),
                attempt: None,
                code,
                again: Again::After(Duration::ZERO),
                reason: reason.into(),
            });
        }
        if self.is_put_off(now) {
            return;
        }
        let next = number == self.handed.0 + 1;
        let size = Self::OVERHEAD + body.map_or(0, <[u8]>::len);
        let beyond = number > self.told() + 1 + u64::from(WINDOW)
            || (self.held_bytes + size > self.config.held_bytes && !self.held.is_empty())
            || (size > room && !(next && self.held.is_empty()));
        if beyond && !is_broken(Rule::HoldWithinLimits) {
            return;
        }
        let body = match body {
            Ok(body) if body.len() as u64 <= self.config.max_body => Ok(body.to_vec()),
            Ok(body) => Err(body.len() as u64),
            Err(length) => Err(length),
        };
        self.held_bytes += size;
        self.held.insert(number, Waiting { body, origin });
        // What does not come next will not be answered soon; what does is answered once it is durable.
        self.acknowledge |= self.in_hand || self.next_held().is_none();
        if is_broken(Rule::AcknowledgeAfterCommit) && self.next_held().is_some() {
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
            self.held.clear();
            self.held_bytes = 0;
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
        match !self.in_hand && self.state == State::Open && self.next_held().is_some() {
            true => ReceiverOutput::Apply(self.hand_over()),
            false => ReceiverOutput::Wait,
        }
    }

    /// How many bytes of messages it holds, with what they take beside; those that the store has are in memory, too.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes + self.in_hand_bytes
    }

    /// Whether the session is dropped at no cost: the store is not asked for anything.
    pub fn is_quiet(&self) -> bool {
        self.state != State::Opening && !self.in_hand && self.next_held().is_none()
    }

    /// Whether the store is asked to open the session.
    pub fn is_opening(&self) -> bool {
        self.state == State::Opening
    }

    /// The last number that may be acknowledged: that before the first refusal that the client has not noted.
    fn told(&self) -> u64 {
        match self.refusals.front() {
            Some((number, ..)) if !is_broken(Rule::HoldBackForRefusals) => number - 1,
            _ => self.applied,
        }
    }

    fn next_held(&self) -> Option<&u64> {
        self.held.keys().next().filter(|number| **number == self.handed.0 + 1 || is_broken(Rule::ApplyInOrder))
    }

    /// All that follows what the store was given last, in one piece (rule S7).
    fn hand_over(&mut self) -> Run {
        let before = self.held_bytes;
        let mut run = Run::new(self.handed.0 + 1);
        while self.next_held().is_some_and(|number| *number == run.next() || is_broken(Rule::ApplyInOrder)) {
            let Some((number, waiting)) = self.held.pop_first() else { break };
            self.held_bytes -= Self::OVERHEAD + waiting.body.as_ref().map_or(0, Vec::len);
            let checksum = waiting.body.as_ref().ok().map(|body| checksum(body));
            match waiting.body {
                Ok(body) => {
                    run.push(&body);
                    run.origins.extend(waiting.origin.map(|(session, there)| (number, session, there)));
                }
                Err(length) => {
                    run.push_refused(Code::TOO_LARGE, format!("{length} bytes are too many for a datagram"));
                }
            }
            self.handed = (run.last(), checksum);
        }
        (self.in_hand, self.in_hand_bytes) = (true, before - self.held_bytes);
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

    /// Whether messages are put off; it is said.
    fn is_put_off(&mut self, now: Instant) -> bool {
        let Some((until, put_off)) = self.put_off.take_if(|(until, _)| *until > now) else {
            self.put_off = None;
            return false;
        };
        self.say(self.not_now(until - now, &put_off));
        self.put_off = Some((until, put_off));
        true
    }

    fn not_now(&self, after: Duration, put_off: &PutOff) -> ServerPacket<'static> {
        let (session, number) = (self.session.clone(), self.handed.0 + 1);
        ServerPacket::PutOff { session, number, after, code: put_off.code, reason: put_off.reason.clone().into() }
    }

    fn granted(&self) -> ServerPacket<'static> {
        let acknowledged = self.told();
        let known = if acknowledged == self.applied { self.checksum } else { None };
        ServerPacket::Granted {
            session: self.session.clone(),
            cookie: self.cookie,
            attempt: self.attempt,
            acknowledged,
            checksum: if acknowledged == 0 { Some(0) } else { known },
            window: self.config.window,
            max_body: self.config.max_body,
            level: Some(self.config.level),
            server: Some(self.config.server.clone().into()),
        }
    }

    fn acknowledged(&self) -> ServerPacket<'static> {
        let through = self.told();
        let mut held = Held::default();
        (through + 2..=self.handed.0).chain(self.held.keys().copied()).for_each(|number| held.insert(through, number));
        ServerPacket::Acknowledged { session: self.session.clone(), through, held }
    }

    /// Says what was refused, behind the acknowledgement of what was before.
    fn tell_refusals(&mut self) {
        for (number, code, reason) in self.refusals.iter().take(Self::REFUSALS) {
            let (session, reason) = (self.session.clone(), reason.clone().into());
            self.packets.push_back(ServerPacket::Refused { session, number: *number, code: *code, reason });
        }
    }

    fn say(&mut self, packet: ServerPacket<'static>) {
        self.packets.push_back(packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::assured::datagram::Secret;

    const SID: &str = "0123456789abcdef";

    fn receiver(first: u64, next: u64, config: SessionsConfig) -> DatagramReceiver {
        let session: SessionId = SID.parse().expect("a session");
        let cookie = Secret::new([1; 32]).cookie(b"", &session, 0, 1);
        let open = Open { session, first, next, level: None, replies: false, token: None, name: None };
        DatagramReceiver::new(Arc::new(config), &open, Some(1), cookie)
    }

    fn opened(acknowledged: u64) -> DatagramReceiver {
        let mut receiver = receiver(1, 99, SessionsConfig::default());
        receiver.opened(Ok(Progress { known: true, acknowledged, checksum: Some(7), verdicts: Vec::new() }));
        said(&mut receiver);
        receiver
    }

    /// What it wants done, a line each: packets as they are sent, without the session.
    fn said(receiver: &mut DatagramReceiver) -> Vec<String> {
        let line = |output| match output {
            ReceiverOutput::Send(packet) => {
                let mut datagram = Vec::new();
                packet.encode(&mut datagram);
                String::from_utf8(datagram).expect("text").replace("WILCO/1 ", "").replace(&format!(" {SID}"), "")
            }
            ReceiverOutput::Apply(run) => format!("apply {}..={}", run.first, run.last()),
            ReceiverOutput::Note(through) => format!("note {through}"),
            ReceiverOutput::Close => "close".to_owned(),
            ReceiverOutput::Wait => String::new(),
        };
        let mut lines = Vec::new();
        loop {
            lines.push(line(receiver.poll()));
            if lines.last().is_some_and(|line| line.is_empty() || line == "close") {
                break;
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }

    fn message(receiver: &mut DatagramReceiver, number: u64, now: Instant) {
        receiver.message(number, Ok(b"body"), None, usize::MAX, now);
    }

    fn applied(through: u64) -> Applied {
        Applied { through, ..Applied::default() }
    }

    fn refused(number: u64) -> (u64, Verdict) {
        (number, Verdict::Refused(Code::REJECTED, "no".to_owned()))
    }

    #[test]
    fn messages_are_applied_in_order_and_acknowledged_once_they_are_durable() {
        let (now, mut receiver) = (Instant::now(), opened(0));
        for (number, said_then) in [
            (3, vec!["A 0 4"]),
            (2, vec!["A 0 c"]),
            (1, vec!["apply 1..=3"]),
            (1, vec!["A 0 c"]),
            (4, vec!["A 0 e"]),
            (5, vec!["A 0 f"]),
            // An acknowledgement could not speak of it.
            (66, vec![]),
            (65, vec!["A 0 f000000000000001"]),
        ] {
            message(&mut receiver, number, now);
            assert_eq!(said(&mut receiver), said_then as Vec<&str>, "{number}");
        }
        receiver.applied(applied(3), now);
        assert_eq!(said(&mut receiver), ["A 3 8000000000000008", "apply 4..=5"]);
        receiver.applied(applied(5), now);
        assert_eq!(said(&mut receiver), ["A 5 000000000000002"]);
        message(&mut receiver, 2, now);
        assert_eq!(said(&mut receiver), ["A 5 000000000000002"]);
    }

    #[test]
    fn a_refusal_holds_the_acknowledgement_back_until_it_is_noted() {
        let (now, mut receiver) = (Instant::now(), opened(0));
        (1..=5).for_each(|number| message(&mut receiver, number, now));
        said(&mut receiver);
        receiver.applied(Applied { verdicts: vec![refused(2), refused(4)], ..applied(5) }, now);
        assert_eq!(said(&mut receiver), ["A 1 e", "N 2 422 no", "N 4 422 no"]);
        message(&mut receiver, 5, now);
        assert_eq!(said(&mut receiver).len(), 3);
        for (noted, said_then) in [
            (1, vec!["A 1 e", "N 2 422 no", "N 4 422 no"]),
            (2, vec!["note 2", "A 3 8", "N 4 422 no"]),
            (99, vec!["note 5", "A 5"]),
        ] {
            receiver.noted(noted);
            let said = said(&mut receiver);
            assert_eq!(said.len(), said_then.len(), "{noted}: {said:?}");
            assert_eq!(said.last().map(String::as_str), said_then.last().copied(), "{noted}");
        }
    }

    #[test]
    fn what_was_refused_before_is_told_again_unless_the_client_is_beyond_it() {
        let mut receiver = receiver(3, 99, SessionsConfig::default());
        let verdicts = vec![refused(2), refused(4), (5, Verdict::Reply(bytes::Bytes::new()))];
        receiver.opened(Ok(Progress { known: true, acknowledged: 5, checksum: Some(7), verdicts }));
        let said = said(&mut receiver);
        assert_eq!(said[0], "note 2");
        assert!(said[1].starts_with("C ") && said[1].contains(" 3 - 64 1200 try=1"), "{}", said[1]);
        assert_eq!(said[2..], ["A 3 8", "N 4 422 no"]);
    }

    #[test]
    fn what_was_put_off_is_dropped_until_its_time() {
        let (now, mut receiver) = (Instant::now(), opened(0));
        (1..=3).for_each(|number| message(&mut receiver, number, now));
        assert_eq!(said(&mut receiver), ["apply 1..=3"]);
        message(&mut receiver, 4, now);
        let put_off = PutOff { code: Code::DISK_FULL, after: Duration::from_secs(2), reason: "full".to_owned() };
        receiver.applied(Applied { put_off: Some(put_off), ..applied(1) }, now);
        assert_eq!(said(&mut receiver), ["A 1", "R 2 2000 507 full"]);
        message(&mut receiver, 2, now + Duration::from_secs(1));
        assert_eq!(said(&mut receiver), ["R 2 1000 507 full"]);
        message(&mut receiver, 2, now + Duration::from_secs(2));
        assert_eq!(said(&mut receiver), ["apply 2..=2"]);
    }

    #[test]
    fn client_and_server_must_agree_on_what_there_was() {
        let known = |acknowledged| Progress { known: true, acknowledged, ..Progress::default() };
        for (first, next, level, progress, code) in [
            (5, 9, Level::Stored, known(4), None),
            (5, 9, Level::Stored, known(8), None),
            (5, 9, Level::Stored, known(3), Some(Code::SERVER_BEHIND)),
            (5, 9, Level::Stored, known(9), Some(Code::CLIENT_BEHIND)),
            (5, 9, Level::Stored, Progress::default(), Some(Code::UNKNOWN_SESSION)),
            (1, 9, Level::Stored, Progress::default(), None),
            (5, 9, Level::Shown, Progress { acknowledged: 4, ..Progress::default() }, None),
        ] {
            let mut receiver = receiver(first, next, SessionsConfig { level, ..SessionsConfig::default() });
            receiver.opened(Ok(progress));
            let said = said(&mut receiver);
            match code {
                None => assert!(said[0].starts_with('C'), "{said:?}"),
                Some(code) => {
                    assert!(said[0].starts_with(&format!("E 1 {code} never")) && said[1] == "close", "{said:?}")
                }
            }
        }
    }

    #[test]
    fn what_waits_is_limited_but_one_message_may() {
        let now = Instant::now();
        let size = DatagramReceiver::OVERHEAD + 4;
        let mut receiver = receiver(1, 99, SessionsConfig { held_bytes: 2 * size, ..SessionsConfig::default() });
        receiver.opened(Ok(Progress::default()));
        for number in [5, 6, 7, 8] {
            message(&mut receiver, number, now);
        }
        assert_eq!(receiver.held_bytes(), 2 * size);
        let mut receiver = opened(0);
        receiver.message(2, Ok(b"body"), None, 0, now);
        assert_eq!(receiver.held_bytes(), 0);
        receiver.message(1, Ok(b"body"), None, 0, now);
        assert_eq!((receiver.held_bytes(), said(&mut receiver)), (size, vec!["apply 1..=1".to_owned()]));
        // The store may take its time, and others would have the room again and again.
        assert_eq!(receiver.held_bytes(), size);
        receiver.applied(Applied { through: 1, verdicts: Vec::new(), put_off: None }, now);
        assert_eq!(receiver.held_bytes(), 0);
    }

    #[test]
    fn a_message_that_is_too_large_has_a_number_and_is_refused() {
        let (now, mut receiver) = (Instant::now(), opened(0));
        receiver.message(2, Err(70_000), None, usize::MAX, now);
        receiver.message(3, Ok(&[0; 1201]), None, usize::MAX, now);
        message(&mut receiver, 1, now);
        let ReceiverOutput::Send(_) = receiver.poll() else { panic!("what is held is said") };
        let ReceiverOutput::Apply(run) = receiver.poll() else { panic!("it is applied") };
        assert_eq!(
            run.refused.iter().map(|(number, code, _)| (*number, code.0)).collect::<Vec<_>>(),
            [(2, 413), (3, 413)]
        );
    }
}
