//! `DatagramSender`: the client's side of a session over datagrams.
//!
//! Apart from the sender over streams: here what is sent may be lost, doubled and overtaken, and is sent again until it is acknowledged.

mod answers;
#[cfg(test)]
mod tests;
mod time;

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

use super::broken::{Rule, is_broken};
use super::flight::Flight;
use super::round_trip::RoundTrip;
use super::window::Window;
use super::{ClientPacket, Cookie, FIRST_TIMEOUT, LARGEST_BODY, MAX_BODY, ServerPacket};
use crate::wire::assured::held::Held;
use crate::wire::assured::pauses::Pauses;
use crate::wire::assured::sender::{Input, Output, SenderConfig, Start, StopReason, Tally};
use crate::wire::assured::{Code, Level, MAX_NUMBER, Open, WINDOW_BYTES};

/// Settings of a sender over datagrams.
#[derive(Clone, Debug)]
pub struct DatagramConfig {
    /// Those of every sender. Replies cannot be had in datagrams, and are not asked for.
    pub sender: SenderConfig,
    /// The longest message that is sent, in bytes, at most [`LARGEST_BODY`]. The number of a longer one is told in its place, and the server refuses it (413).
    pub max_body: usize,
}

impl DatagramConfig {
    /// Settings with the [default](MAX_BODY) length.
    pub fn new(sender: SenderConfig) -> Self {
        Self { sender, max_body: MAX_BODY }
    }
}

/// The client's side of a session over datagrams.
///
/// It is driven as a [`Sender`](crate::wire::assured::Sender) is: [`handle`](Self::handle) it whatever comes, and after that call [`poll`](Self::poll) until it says to
/// wait. A connection is a socket that is connected to one address of a server; it is [lost](Input::Disconnected) when the system says so. A
/// datagram that is no packet is [broken](Input::Broken).
#[derive(Debug)]
pub struct DatagramSender {
    config: DatagramConfig,
    held: Held,
    flight: Flight,
    window: Window,
    trip: RoundTrip,
    pauses: Pauses,
    link: Link,
    /// What proves this client's source to the server.
    cookie: Option<Cookie>,
    /// The number of the attempt to open the session.
    attempt: u64,
    /// The number after the last that was assigned, which need not be held.
    next: u64,
    no_more: bool,
    /// The last number that is final.
    settled: u64,
    /// The longest message that the server takes.
    granted_body: u64,
    /// Refusals of numbers that have others before them which are not final.
    refusals: BTreeMap<u64, (Code, String)>,
    /// Whether the server is to be told that refusals are noted.
    note: bool,
    /// Until when nothing is sent, since the server has put messages off.
    put_off: Option<Instant>,
    /// How many timeouts there were since something was heard.
    silent: u32,
    events: VecDeque<Event>,
    /// What went wrong last, for the user.
    trouble: Option<String>,
    /// What came that was no packet, before the session was ever open.
    not_spoken: Option<String>,
    elsewhere: bool,
    was_open: bool,
    /// Whether the session was open over this connection.
    greeted: bool,
    tally: Tally,
    /// When something became final last, or began to be waited for.
    moved: Instant,
    /// When something became final last over this connection, or began to be waited for.
    waiting: Instant,
}

/// What there is of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    /// None, until this time.
    Down(Instant),
    Connecting,
    Opening(Opening),
    /// The server has said so much of the session, and the spool is asked whether it says the same.
    Proving {
        acknowledged: u64,
        checksum: u32,
        cookie: Cookie,
    },
    Open {
        since: Instant,
        cookie: Cookie,
    },
    /// It has ended for good.
    Over,
}

/// An opening that is not answered yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Opening {
    since: Instant,
    /// When it is sent next.
    again: Instant,
    /// How long the answer is waited for then.
    timeout: Duration,
}

/// What is to be told, with text of its own.
#[derive(Debug)]
enum Event {
    Disconnect,
    Checksum(u64),
    Opened { server: String, level: Level },
    Refused { number: u64, code: Code, reason: String },
    Final(u64),
    Lost { reason: String, again: Duration },
    PutOff { code: Code, reason: String, after: Duration },
    Stop(StopReason),
    Done,
}

impl DatagramSender {
    /// It wants more messages while it holds fewer than this.
    pub const HOLDS: u64 = 256;

    /// It wants more messages while those that it holds have fewer bytes than this.
    pub const HOLDS_BYTES: u64 = 2 * WINDOW_BYTES;

    /// After how many timeouts with nothing heard it opens the session anew: the server may have forgotten it, and a message may be too short to be answered so.
    const SILENT: u32 = 2;

    /// A sender that has no connection yet.
    pub fn new(config: DatagramConfig, start: Start, now: Instant) -> Self {
        let Start { first, next, checksum } = start;
        let mut pauses = Pauses::new(config.sender.seed);
        let config = DatagramConfig { max_body: config.max_body.min(LARGEST_BODY), ..config };
        Self {
            held: Held::new(first, checksum),
            flight: Flight::new(first),
            window: Window::new(),
            trip: RoundTrip::new(FIRST_TIMEOUT + pauses.part_of(FIRST_TIMEOUT / 2)),
            link: Link::Down(now),
            cookie: None,
            // Of another process, attempts have other numbers.
            attempt: pauses.bits() & (MAX_NUMBER >> 1),
            pauses,
            next,
            no_more: false,
            settled: first - 1,
            granted_body: u64::MAX,
            refusals: BTreeMap::new(),
            note: false,
            put_off: None,
            silent: 0,
            events: VecDeque::new(),
            trouble: None,
            not_spoken: None,
            elsewhere: false,
            was_open: false,
            greeted: false,
            tally: Tally { accepted: next - first, ..Tally::default() },
            moved: now,
            waiting: now,
            config,
        }
    }

    /// Takes what has come.
    pub fn handle(&mut self, input: Input<ServerPacket<'_>>, now: Instant) {
        if self.link == Link::Over {
            return;
        }
        match input {
            Input::Accepted(run) => {
                self.held.push(run);
                self.assigned(self.held.next(), now);
            }
            Input::Assigned(next) => self.assigned(next, now),
            Input::NoMore => self.no_more = true,
            Input::Places(count) => self.pauses.know(count),
            Input::Connected if self.link == Link::Connecting => {
                self.cookie = None;
                self.greeted = false;
                self.open(now);
            }
            Input::Connected => {}
            Input::NotConnected(reason) => {
                self.elsewhere = true;
                self.pauses.left_all();
                self.lose(reason, now);
            }
            Input::Disconnected(reason) => {
                self.elsewhere = true;
                self.lose(reason, now);
            }
            Input::Frame(packet) => self.packet(packet, now),
            // Anybody may send anything to a port: it matters only if nothing better comes.
            Input::Broken(reason) => self.not_spoken = Some(reason),
            Input::Checksum(own) => self.prove(own, now),
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self, now: Instant) -> Output<'_, ClientPacket<'_>> {
        self.check_time(now);
        let finished = self.no_more && self.was_open && !self.has_unsettled() && self.events.is_empty();
        if finished && !matches!(self.link, Link::Open { .. } | Link::Over) {
            self.over(Event::Done);
        }
        if let Some(event) = self.events.pop_front() {
            return self.tell(event);
        }
        match self.link {
            Link::Down(at) if at <= now => {
                self.link = Link::Connecting;
                return Output::Connect { elsewhere: mem::take(&mut self.elsewhere) };
            }
            Link::Opening(opening) if opening.again <= now => {
                let timeout = (opening.timeout * 2).min(super::MAX_TIMEOUT);
                self.link = Link::Opening(Opening { again: now + opening.timeout, timeout, ..opening });
                return Output::Send(self.opening());
            }
            Link::Open { cookie, .. } => {
                if mem::take(&mut self.note) {
                    let (session, through) = (self.config.sender.session.clone(), self.settled);
                    return Output::Send(ClientPacket::Noted { session, cookie, through });
                }
                if finished {
                    self.over(Event::Done);
                    return Output::Send(ClientPacket::Bye { session: self.config.sender.session.clone(), cookie });
                }
                if let Some(number) = self.ready(now) {
                    return Output::Send(self.message(number, cookie, now));
                }
            }
            _ => {}
        }
        Output::Wait(self.due(now))
    }

    /// The number of the next message that it would take; none while it holds enough.
    pub fn wants(&self) -> Option<u64> {
        let more = self.held.len() < Self::HOLDS && self.held.bytes() < Self::HOLDS_BYTES;
        (more && !self.no_more_to_hold()).then(|| self.held.next().max(self.settled + 1))
    }

    /// How far it is.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether the session is open.
    pub fn is_open(&self) -> bool {
        matches!(self.link, Link::Open { .. })
    }

    /// Whether anything that was accepted is not final.
    pub fn has_unsettled(&self) -> bool {
        self.settled + 1 < self.next
    }

    fn no_more_to_hold(&self) -> bool {
        self.no_more && self.held.next() >= self.next
    }

    fn assigned(&mut self, next: u64, now: Instant) {
        if !self.has_unsettled() {
            // Waiting begins with what there is to wait for.
            self.moved = now;
        }
        self.tally.accepted += next.saturating_sub(self.next);
        self.next = self.next.max(next);
    }

    /// Begins an attempt to open the session.
    fn open(&mut self, now: Instant) {
        let timeout = self.first_timeout();
        self.attempt += 1;
        self.silent = 0;
        self.link = Link::Opening(Opening { since: now, again: now, timeout });
    }

    fn first_timeout(&mut self) -> Duration {
        FIRST_TIMEOUT + self.pauses.part_of(FIRST_TIMEOUT / 2)
    }

    fn opening(&self) -> ClientPacket<'static> {
        let open = Open {
            session: self.config.sender.session.clone(),
            first: self.settled + 1,
            next: self.next,
            level: self.config.sender.level,
            replies: false,
            token: None,
            // Nothing of this is said to a source that is not proved: the server would not look at it.
            name: self.cookie.and(self.config.sender.name.clone()).map(Into::into),
        };
        ClientPacket::Open { open, attempt: Some(self.attempt), cookie: self.cookie }
    }

    fn ready(&mut self, now: Instant) -> Option<u64> {
        if self.put_off.is_some_and(|until| until > now) {
            return None;
        }
        if self.put_off.take().is_some() {
            self.waiting = now;
        }
        let ready = self.flight.ready(self.held.next(), self.window.size());
        ready.filter(|number| *number >= self.flight.next() || !is_broken(Rule::Retransmit))
    }

    fn message(&mut self, number: u64, cookie: Cookie, now: Instant) -> ClientPacket<'_> {
        if self.flight.is_empty() {
            self.waiting = now;
        }
        self.flight.send(number, now);
        if is_broken(Rule::SentIsNotFinal) {
            self.finish(number, now);
        }
        let session = self.config.sender.session.clone();
        let body = self.held.message(number).unwrap_or_default();
        let length = body.len() as u64;
        match length > self.granted_body.min(self.config.max_body as u64) {
            true => ClientPacket::TooLarge { session, cookie, number, length },
            false => ClientPacket::Message { session, cookie, number, origin: self.held.origin(number), body },
        }
    }

    /// The connection is lost, or there is none to be had: another is made, elsewhere at once or after a pause.
    fn lose(&mut self, reason: String, now: Instant) {
        let pause = match self.link {
            Link::Down(_) | Link::Over => return,
            _ if self.elsewhere && self.pauses.has_another() => Duration::ZERO,
            Link::Open { since, .. } => self.pauses.after_use(now.saturating_duration_since(since)),
            _ => self.pauses.next(),
        };
        self.down(reason, now, pause);
    }

    /// The connection is dropped.
    fn drop_link(&mut self, reason: String, now: Instant) {
        self.events.push_back(Event::Disconnect);
        self.elsewhere = true;
        self.lose(reason, now);
    }

    fn down(&mut self, reason: String, now: Instant, again: Duration) {
        self.link = Link::Down(now + again);
        self.trouble = Some(reason.clone());
        self.events.push_back(Event::Lost { reason, again });
    }

    fn stop(&mut self, reason: StopReason) {
        if matches!(self.link, Link::Opening(_) | Link::Proving { .. } | Link::Open { .. }) {
            self.events.push_back(Event::Disconnect);
        }
        self.over(Event::Stop(reason));
    }

    fn over(&mut self, last: Event) {
        self.link = Link::Over;
        self.events.push_back(last);
    }

    fn tell(&mut self, event: Event) -> Output<'_, ClientPacket<'_>> {
        match event {
            Event::Disconnect => Output::Disconnect,
            Event::Checksum(number) => Output::Checksum(number),
            Event::Opened { server, level } => Output::Opened { server, level },
            Event::Refused { number, code, reason } => {
                Output::Refused { number, code, reason, body: self.held.message(number) }
            }
            Event::Final(through) => {
                self.held.settle(through);
                Output::Final { through, checksum: self.held.checksum() }
            }
            Event::Lost { reason, again } => Output::Lost { reason, again },
            Event::PutOff { code, reason, after } => Output::PutOff { code, reason, after },
            Event::Stop(reason) => Output::Stop(reason),
            Event::Done => Output::Done,
        }
    }
}
