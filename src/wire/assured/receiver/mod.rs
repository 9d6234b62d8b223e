//! `Receiver`: the server's side of one session over one connection.
//!
//! Apart from what carries it: it is told what has come and what time it is, and says what is to be sent and applied. Rules S1 to S5 of
//! `docs/protocol.md` are kept here, together with the [store](Output::Apply).

mod calls;
mod ending;
mod time;
mod words;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use calls::{Allowance, Input, Output, ReceiverConfig};

use super::{Again, Applied, ClientFrame, Code, Denied, Grant, Open, Progress, PutOff, Run, ServerFrame, Verdict};
use words::Words;

/// The server's side of one session over one connection.
///
/// [`handle`](Self::handle) it whatever comes, and after that call [`poll`](Self::poll) until it says to wait. Read from the connection only while it
/// [wants](Self::wants_input) something, so that a client that sends more than it was granted fills no memory.
#[derive(Debug)]
pub struct Receiver {
    config: Arc<ReceiverConfig>,
    state: State,
    /// What is to be sent.
    words: Words,
    /// The opening that the store is to be asked about.
    opening: Option<Open<'static>>,
    /// The opening that was asked about: its lowest and its next number.
    asked: (u64, u64),
    /// Whether the client wants replies.
    replies: bool,
    /// The last number that is final and durable.
    applied: u64,
    /// What the client has sent beyond that, and the store has not yet been given.
    pending: Run,
    /// What the store has been given, run by run, until it answers: the last number and the bytes.
    in_hand: VecDeque<(u64, usize)>,
    /// How many bytes those are.
    in_hand_bytes: usize,
    /// How many of the next answers are of runs behind one that was put off.
    void: usize,
    /// Whether the message after the last taken was put off: all behind it are dropped until it comes again.
    put_off: bool,
    /// The numbers of the verdicts that the client was told and has not noted.
    unnoted: VecDeque<u64>,
    /// What is noted by the client, and is to be passed on.
    noted: Option<u64>,
    /// Why it comes to its end, once all in hand is done.
    ending: Option<Ending>,
    /// When something came last.
    heard: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing has come.
    New,
    /// The store is asked.
    Opening,
    Open,
    /// Nothing more is taken or applied.
    Closed,
}

/// An end in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    /// The client has said that there is nothing more.
    Theirs,
    /// The server is about to end.
    Drain,
}

impl Receiver {
    /// How many runs the store may have in hand: one that it applies, one that is ready for it.
    const IN_HAND: usize = 2;

    /// How many frames may wait to be sent before no more are read: a client that asks and does not listen fills no memory.
    const UNSENT: usize = 1024;

    /// How long a client waits that has more verdicts to note than it may have.
    const UNNOTED_PAUSE: Duration = Duration::from_secs(1);

    /// The side of a connection that has just begun.
    pub fn new(config: Arc<ReceiverConfig>, now: Instant) -> Self {
        Self {
            config,
            state: State::New,
            words: Words::default(),
            opening: None,
            asked: (1, 1),
            replies: false,
            applied: 0,
            pending: Run::new(1),
            in_hand: VecDeque::new(),
            in_hand_bytes: 0,
            void: 0,
            put_off: false,
            unnoted: VecDeque::new(),
            noted: None,
            ending: None,
            heard: now,
        }
    }

    /// Takes what has come.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        match input {
            Input::Frame(frame) => {
                self.heard = now;
                self.frame(frame);
            }
            Input::Messages(run) => {
                self.heard = now;
                self.messages(run);
            }
            Input::Broken(code, reason) => self.fail(code, Again::Never, reason),
            Input::Opened(Ok(progress)) => {
                // What takes the store long is not the client's silence.
                self.heard = now;
                self.opened(progress);
            }
            Input::Opened(Err(Denied { code, again, reason })) => self.fail(code, again, reason),
            Input::Applied(applied) => {
                self.heard = now;
                self.applied(applied);
            }
            Input::TakenOver => {
                self.fail(Code::TAKEN_OVER, Again::Never, "another connection has taken the session over".to_owned());
            }
            Input::Drain => _ = self.ending.get_or_insert(Ending::Drain),
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self, now: Instant) -> Output {
        if let Some(word) = self.words.next() {
            return word;
        }
        self.check_time(now);
        self.end_in_order();
        // What these two have to say.
        if let Some(word) = self.words.next() {
            return word;
        }
        if let Some(noted) = self.noted.take() {
            return Output::Note(noted);
        }
        if self.state == State::Closed {
            return Output::Close;
        }
        if let Some(opening) = self.opening.take() {
            return Output::Open(opening);
        }
        if !self.pending.is_empty() && self.in_hand.len() < Self::IN_HAND && self.void == 0 {
            let next = self.pending.next();
            let run = mem::replace(&mut self.pending, Run::new(next));
            self.in_hand.push_back((run.last(), run.bytes.len()));
            self.in_hand_bytes += run.bytes.len();
            return Output::Apply(run);
        }
        Output::Wait(self.due())
    }

    /// Whether frames are to be read now.
    pub fn wants_input(&self) -> bool {
        match self.state {
            State::New => true,
            State::Opening | State::Closed => false,
            State::Open => {
                let messages = self.taken() - self.applied;
                // What was granted is there at once with one read. Whoever sends more than that must wait.
                messages <= u64::from(self.config.window)
                    && self.bytes_in_hand() <= self.config.window_bytes
                    && self.words.len() < Self::UNSENT
            }
        }
    }

    /// How many messages may be [handed over together](Input::Messages) now, those that have the numbers from [`next`](Self::next) on.
    pub fn allows(&self) -> Allowance {
        if !self.takes_next() {
            return Allowance::default();
        }
        let messages = (u64::from(self.config.window) + 1).saturating_sub(self.taken() - self.applied);
        match self.config.window_bytes.checked_sub(self.bytes_in_hand()) {
            Some(bytes) => Allowance { messages, bytes },
            None => Allowance::default(),
        }
    }

    /// The number of the message that comes next.
    pub fn next(&self) -> u64 {
        self.pending.next()
    }

    /// Whether the session is open.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The last number that is final and durable.
    pub fn acknowledged(&self) -> u64 {
        self.applied
    }

    /// The last number that the client has sent and that was not dropped.
    fn taken(&self) -> u64 {
        self.pending.last()
    }

    /// How many bytes of messages are in memory here and in the store's hands.
    pub fn bytes_in_hand(&self) -> u64 {
        (self.in_hand_bytes + self.pending.bytes.len()) as u64
    }

    fn messages(&mut self, run: Run) {
        if run.first == self.next() && self.takes_next() {
            self.put_off = false;
            self.pending.append(run);
            return;
        }
        for (number, body) in run.messages() {
            if self.state != State::Closed {
                self.frame(ClientFrame::Message { number, origin: None, body });
            }
        }
    }

    fn frame(&mut self, frame: ClientFrame<'_>) {
        match (frame, self.state) {
            (ClientFrame::Open(open), State::New) if open.first == 0 || open.next < open.first => {
                self.protocol_error("numbers begin with 1, and the next is not below the first");
            }
            (ClientFrame::Open(open), State::New) => {
                if let Some(objection) = self.config.level.objection(open.level) {
                    return self.fail(Code::NOT_ACCEPTABLE, Again::Never, objection.to_owned());
                }
                self.asked = (open.first, open.next);
                self.replies = open.replies;
                self.opening = Some(open.into_owned());
                self.state = State::Opening;
            }
            (ClientFrame::Open(_), _) => self.protocol_error("the session is open already"),
            (ClientFrame::Ping(token), _) => self.words.say(ServerFrame::Pong(token.into_owned().into())),
            (ClientFrame::Pong(_), _) => {}
            (_, State::New | State::Opening) => self.protocol_error("a session begins with OPEN"),
            (ClientFrame::Message { number, origin, body }, _) => {
                if self.takes(number) {
                    if let Some((session, there)) = origin {
                        self.pending.origins.push((number, session, there));
                    }
                    self.pending.push(body);
                }
            }
            (ClientFrame::TooLarge { number, length }, _) => {
                if self.takes(number) {
                    let most = self.config.max_body;
                    let reason = format!("the message has {length} bytes, and {most} are the most");
                    self.pending.push_refused(Code::TOO_LARGE, reason);
                }
            }
            (ClientFrame::Noted(number), _) => {
                let through = number.min(self.applied);
                self.noted = self.noted.max(Some(through));
                let still = self.unnoted.partition_point(|number| *number <= through);
                self.unnoted.drain(..still);
            }
            (ClientFrame::Bye, _) => _ = self.ending.get_or_insert(Ending::Theirs),
        }
    }

    /// Whether the message that comes next is taken, whenever it comes.
    fn takes_next(&self) -> bool {
        self.state == State::Open && self.ending.is_none() && !self.has_too_much_to_note()
    }

    /// Whether a message of this number is the one that comes next. One that came before is acknowledged again.
    fn takes(&mut self, number: u64) -> bool {
        // What comes after the last word is not taken: the client sends it again, elsewhere or later.
        if self.ending.is_some() {
            return false;
        }
        let next = self.taken() + 1;
        if number == next {
            self.put_off = self.has_too_much_to_note();
            if self.put_off {
                let reason = "too many refusals and replies are not noted".into();
                let (code, after) = (Code::OVERLOADED, Self::UNNOTED_PAUSE);
                self.words.say(ServerFrame::PutOff { number, after, code, reason });
            }
            return !self.put_off;
        }
        if (1..=self.applied).contains(&number) {
            self.words.acknowledge(self.applied);
        } else if number == 0 || (number > next && !self.put_off) {
            self.protocol_error(&format!("message {next} comes next, and {number} came"));
        }
        false
    }

    /// Whether the client has more to note than one that notes what it hears can ever have: the store keeps it all until then, and a message that is refused costs its sender next to
    /// nothing.
    fn has_too_much_to_note(&self) -> bool {
        self.unnoted.len() as u64 > u64::from(self.config.window)
    }

    /// What the store knows decides whether client and server speak of the same session (rule S5).
    fn opened(&mut self, progress: Progress) {
        if self.state != State::Opening {
            return;
        }
        let ((first, next), acknowledged) = (self.asked, progress.acknowledged);
        if !progress.known && acknowledged < first - 1 {
            let reason = format!("this server does not know the session, and message {first} is not its first");
            return self.fail(Code::UNKNOWN_SESSION, Again::Never, reason);
        }
        if acknowledged < first - 1 {
            let reason =
                format!("this server has {acknowledged} messages of the session, and has acknowledged {}", first - 1);
            return self.fail(Code::SERVER_BEHIND, Again::Never, reason);
        }
        if acknowledged >= next {
            let last = next - 1;
            let reason =
                format!("this server has {acknowledged} messages of the session, and the client has sent {last}");
            return self.fail(Code::CLIENT_BEHIND, Again::Never, reason);
        }
        self.state = State::Open;
        // What the client knows to be final it has kept, even if it could not say so.
        self.noted = (first > 1).then_some(first - 1);
        self.applied = acknowledged;
        self.pending = Run::new(acknowledged + 1);
        let verdicts: Vec<_> = progress.verdicts.into_iter().filter(|(number, _)| *number >= first).collect();
        // What the client takes for applied must not be what was refused: that is said first.
        let told = verdicts.first().map_or(acknowledged, |(number, _)| number - 1);
        self.words.say(ServerFrame::Granted(Grant {
            acknowledged: told,
            checksum: if told == 0 { Some(0) } else { progress.checksum.filter(|_| told == acknowledged) },
            last: progress.checksum.filter(|_| told < acknowledged).map(|checksum| (acknowledged, checksum)),
            window: self.config.window,
            window_bytes: self.config.window_bytes,
            max_body: self.config.max_body,
            idle: self.config.idle_timeout,
            level: self.config.level,
            server: self.config.server.clone().into(),
        }));
        self.tell(verdicts);
        if told < acknowledged {
            self.words.acknowledge(self.applied);
        }
    }

    fn applied(&mut self, applied: Applied) {
        let Some(&(last, _)) = self.in_hand.front() else { return };
        let is_part = applied.put_off.is_none() && applied.through < last;
        if (!is_part || self.void > 0)
            && let Some((_, bytes)) = self.in_hand.pop_front()
        {
            self.in_hand_bytes -= bytes;
        }
        if self.void > 0 {
            // It was behind one that was put off.
            self.void -= 1;
            return;
        }
        let Applied { through, verdicts, put_off } = applied;
        let through = through.clamp(self.applied, last);
        self.tell(verdicts);
        if through > self.applied {
            self.applied = through;
            self.words.acknowledge(self.applied);
        }
        // Where nothing is left of the run, nothing was put off.
        if let Some(PutOff { code, after, reason }) = put_off.filter(|_| through < last) {
            let number = through + 1;
            self.pending = Run::new(number);
            self.void = self.in_hand.len();
            self.put_off = true;
            self.words.say(ServerFrame::PutOff { number, after, code, reason: reason.into() });
        }
    }

    fn tell(&mut self, verdicts: Vec<(u64, Verdict)>) {
        for (number, verdict) in verdicts {
            match verdict {
                Verdict::Refused(code, reason) => {
                    self.unnoted.push_back(number);
                    self.words.say(ServerFrame::Refused { number, code, reason: reason.into() });
                }
                Verdict::Reply(body) if self.replies => {
                    self.unnoted.push_back(number);
                    self.words.reply(number, body);
                }
                Verdict::Reply(_) => {}
            }
        }
    }
}
