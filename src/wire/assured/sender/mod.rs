//! `Sender`: the client's side of a session, through any number of connections.
//!
//! Apart from what carries it: it is told what has come and what time it is, and says when to connect, what to send and what has become
//! final. Rules C2 to C5 of `docs/protocol.md` are kept here, C1 by the spool.

mod answers;
mod calls;
mod time;

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

pub use calls::{Input, Output, SenderConfig, Start, StopReason, Tally};

use super::held::{Held, Place};
use super::pauses::Pauses;
use super::{ClientFrame, Code, Level, Open, PING_AFTER, Run, Series, ServerFrame, WINDOW_BYTES};

/// The client's side of a session.
///
/// [`handle`](Self::handle) it whatever comes, and after that call [`poll`](Self::poll) until it says to wait; [`poll_events`](Self::poll_events) instead while there is no
/// room for what it sends. Give it messages while it [wants](Self::wants) some, and frames while it [wants those](Self::wants_input).
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    /// What is not final, as far as it is held here.
    held: Held,
    /// The number after the last that was assigned, which need not be held.
    next: u64,
    /// Whether there will be no more than that.
    no_more: bool,
    link: Link,
    window: Window,
    /// The last number that is final.
    settled: u64,
    /// The last number that was sent over this connection, or need not be.
    sent: u64,
    /// The last number that may ever have been sent, also over another connection or by another process.
    ever_sent: u64,
    /// How many bytes are on their way.
    sent_bytes: u64,
    /// Where the last lay that was sent: the next is not far.
    place: Place,
    /// Since when something has been on its way without anything becoming final.
    waiting: Instant,
    /// Until when nothing is sent, since the server has put messages off.
    put_off: Option<Instant>,
    /// What is to be told, before anything else.
    events: VecDeque<Event>,
    /// What is to be sent before any message.
    words: VecDeque<ClientFrame<'static>>,
    /// The highest number that was refused or replied to: after a reconnection it comes again.
    last_verdict: u64,
    /// Whether there was one that the server is to be told of as noted.
    unnoted: bool,
    /// What went wrong last, for the user.
    trouble: Option<String>,
    pauses: Pauses,
    /// How often it was taken over in a row, with nothing becoming final.
    taken_over: u32,
    /// After how much silence it asks whether the server is there.
    ping_after: Duration,
    /// Whether the next connection is better made to another server.
    elsewhere: bool,
    was_open: bool,
    tally: Tally,
    /// When something became final last, or began to be waited for.
    moved: Instant,
    /// When something was heard last.
    heard: Instant,
    pinged: bool,
}

/// What there is of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    /// None, until this time.
    Down(Instant),
    Connecting,
    /// The opening was sent at this time.
    Opening(Instant),
    /// The server has said so much of the session, and the spool is asked whether it says the same.
    Proving {
        acknowledged: u64,
        number: u64,
        checksum: u32,
    },
    /// Open since this time.
    Open(Instant),
    /// The last word was said at this time.
    Leaving(Instant),
    /// It has ended for good.
    Over,
}

/// How much may be on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    messages: u64,
    bytes: u64,
}

/// What is to be told, with text of its own.
#[derive(Debug)]
enum Event {
    Disconnect,
    Checksum(u64),
    Opened {
        server: String,
        level: Level,
    },
    Refused {
        number: u64,
        code: Code,
        reason: String,
    },
    Replies(Run),
    /// All to this number is final.
    Final(u64),
    Lost {
        reason: String,
        again: Duration,
    },
    PutOff {
        code: Code,
        reason: String,
        after: Duration,
    },
    Stop(StopReason),
    Done,
}

impl Sender {
    /// It wants more messages while those that it holds have fewer bytes than this.
    pub const HOLDS: u64 = 2 * WINDOW_BYTES;

    /// How many words may wait to be sent before no question is answered any more: a server that asks and does not listen fills no memory.
    const UNSENT: usize = 64;

    /// The least silence after which it asks whether the server is there, however short the server's patience is.
    const LEAST_PING_AFTER: Duration = Duration::from_secs(1);

    /// A sender that has no connection yet.
    pub fn new(config: SenderConfig, start: Start, now: Instant) -> Self {
        let Start { first, next, checksum } = start;
        Self {
            held: Held::new(first, checksum),
            next,
            no_more: false,
            link: Link::Down(now),
            window: Window::default(),
            settled: first - 1,
            sent: first - 1,
            ever_sent: next - 1,
            sent_bytes: 0,
            place: Place::default(),
            waiting: now,
            put_off: None,
            events: VecDeque::new(),
            words: VecDeque::new(),
            last_verdict: 0,
            unnoted: false,
            trouble: None,
            pauses: Pauses::new(config.seed),
            taken_over: 0,
            ping_after: PING_AFTER,
            elsewhere: false,
            was_open: false,
            tally: Tally { accepted: next - first, ..Tally::default() },
            moved: now,
            heard: now,
            pinged: false,
            config,
        }
    }

    /// Takes what has come.
    pub fn handle(&mut self, input: Input<ServerFrame<'_>>, now: Instant) {
        if self.link == Link::Over {
            return;
        }
        match input {
            Input::Accepted(run) => {
                if !self.has_unsettled() {
                    // Waiting begins with what there is to wait for.
                    self.moved = now;
                }
                self.held.push(run);
                self.assigned(self.held.next());
            }
            Input::Assigned(next) => {
                if !self.has_unsettled() {
                    self.moved = now;
                }
                self.assigned(next);
            }
            Input::NoMore => self.no_more = true,
            Input::Connected if self.link == Link::Connecting => self.open(now),
            Input::Connected => {}
            Input::NotConnected(reason) => self.lose(reason, now),
            Input::Frame(frame) => {
                self.heard = now;
                self.pinged = false;
                self.frame(frame, now);
            }
            Input::Broken(reason) => self.broken(reason, now),
            Input::Disconnected(reason) => match self.link {
                Link::Leaving(_) => self.over(Event::Done),
                _ => self.lose(reason, now),
            },
            Input::Checksum(own) => self.prove(own, now),
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self, now: Instant) -> Output<'_> {
        if self.has_event(now) {
            return self.event();
        }
        match self.link {
            Link::Open(_) => {
                if let Some(word) = self.words.pop_front() {
                    return Output::Send(word);
                }
                if let Some(place) = self.may_send(now) {
                    return Output::Send(self.message(place, now));
                }
                if self.no_more && !self.has_unsettled() {
                    self.link = Link::Leaving(now);
                    return Output::Send(ClientFrame::Bye);
                }
            }
            Link::Opening(_) => {
                if let Some(word) = self.words.pop_front() {
                    return Output::Send(word);
                }
            }
            Link::Down(_) | Link::Connecting | Link::Proving { .. } | Link::Leaving(_) | Link::Over => {}
        }
        Output::Wait(self.due(now))
    }

    /// The messages that it would have sent next, one by one, if it had been polled again after one: as many as lie together, and no more once there are `enough` bytes. There may be none.
    pub fn series(&mut self, enough: u64) -> Series<'_> {
        let has_sent = self.sent > self.settled && self.put_off.is_none();
        let may_send = has_sent && self.is_open() && self.events.is_empty() && self.words.is_empty();
        let place = self.held.find(self.sent + 1, self.place).filter(|_| may_send);
        // Where the first was longer than the window, nothing follows it, however short.
        let Some((place, bytes)) = place.zip(self.window.bytes.checked_sub(self.sent_bytes)) else {
            return Series::default();
        };
        let messages = self.window.messages.saturating_sub(self.sent - self.settled);
        let series = self.held.series(place, self.sent + 1, messages, bytes, enough);
        self.place = place;
        self.sent += series.len();
        self.ever_sent = self.ever_sent.max(self.sent);
        self.sent_bytes += series.size;
        series
    }

    /// The same without anything that is to be sent, for as long as there is no room for it: what comes is told, and what is due is done.
    pub fn poll_events(&mut self, now: Instant) -> Output<'_> {
        match self.has_event(now) {
            true => self.event(),
            false => Output::Wait(self.due(now)),
        }
    }

    /// Whether frames are to be handled now: not between [`Output::Checksum`] and [`Input::Checksum`].
    pub fn wants_input(&self) -> bool {
        !matches!(self.link, Link::Proving { .. })
    }

    /// The number of the next message that it would take; none while it holds enough.
    pub fn wants(&self) -> Option<u64> {
        (self.held.bytes() < Self::HOLDS).then(|| self.held.next())
    }

    /// How far it is.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether the session is open over a connection.
    pub fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    /// Whether anything that was accepted is not final.
    pub fn has_unsettled(&self) -> bool {
        self.settled + 1 < self.next
    }

    fn assigned(&mut self, next: u64) {
        self.tally.accepted += next.saturating_sub(self.next);
        self.next = self.next.max(next);
    }

    fn open(&mut self, now: Instant) {
        self.link = Link::Opening(now);
        self.heard = now;
        self.pinged = false;
        self.words.clear();
        self.words.push_back(ClientFrame::Open(Open {
            session: self.config.session.clone(),
            first: self.settled + 1,
            next: self.next,
            level: self.config.level,
            replies: self.config.replies,
            token: None,
            name: self.config.name.clone().map(Into::into),
        }));
    }

    /// Whether there is something to be told or done, other than sending.
    fn has_event(&mut self, now: Instant) -> bool {
        if !self.events.is_empty() {
            return true;
        }
        self.check_time(now);
        if matches!(self.link, Link::Down(_)) && self.no_more && !self.has_unsettled() {
            self.over(Event::Done);
        }
        !self.events.is_empty() || matches!(self.link, Link::Down(at) if at <= now)
    }

    fn event(&mut self) -> Output<'_> {
        match self.events.pop_front() {
            Some(event) => self.tell(event),
            None => {
                self.link = Link::Connecting;
                Output::Connect { elsewhere: mem::take(&mut self.elsewhere) }
            }
        }
    }

    /// Where the next message lies, if it may be sent now.
    fn may_send(&self, now: Instant) -> Option<Place> {
        let on_the_way = self.sent - self.settled;
        if on_the_way >= self.window.messages || self.put_off.is_some_and(|until| until > now) {
            return None;
        }
        let place = self.held.find(self.sent + 1, self.place)?;
        // One message may always be on its way, however large, unless the server has paused.
        let fits = on_the_way == 0 || self.sent_bytes + place.size <= self.window.bytes;
        fits.then_some(place)
    }

    fn message(&mut self, place: Place, now: Instant) -> ClientFrame<'_> {
        let was_put_off = self.put_off.take().is_some();
        if self.sent == self.settled || was_put_off {
            self.waiting = now;
        }
        self.place = place;
        self.sent += 1;
        self.ever_sent = self.ever_sent.max(self.sent);
        self.sent_bytes += place.size;
        let (origin, body) = self.held.take_from(place, self.sent);
        ClientFrame::Message { number: self.sent, origin, body }
    }

    /// The connection is lost, or there is none to be had: another is made after a pause.
    fn lose(&mut self, reason: String, now: Instant) {
        if matches!(self.link, Link::Down(_) | Link::Over) {
            return;
        }
        let pause = self.pause(now);
        // One that was not even opened may be of no use.
        self.elsewhere |= !self.is_open();
        self.down(reason, now, pause);
    }

    /// The pause before the next connection.
    fn pause(&mut self, now: Instant) -> Duration {
        match self.link {
            Link::Open(since) => self.pauses.after_use(now.saturating_duration_since(since)),
            _ => self.pauses.next(),
        }
    }

    fn down(&mut self, reason: String, now: Instant, again: Duration) {
        self.words.clear();
        self.put_off = None;
        self.link = Link::Down(now + again);
        self.trouble = Some(reason.clone());
        self.events.push_back(Event::Lost { reason, again });
    }

    /// The connection is given up from this side, and there is one.
    fn drop_link(&mut self, reason: String, now: Instant) {
        self.events.push_back(Event::Disconnect);
        self.lose(reason, now);
    }

    fn over(&mut self, last: Event) {
        if matches!(
            self.link,
            Link::Connecting | Link::Opening(_) | Link::Proving { .. } | Link::Open(_) | Link::Leaving(_)
        ) {
            self.events.push_back(Event::Disconnect);
        }
        self.link = Link::Over;
        self.events.push_back(last);
    }

    fn stop(&mut self, reason: StopReason) {
        self.over(Event::Stop(reason));
    }

    fn tell(&mut self, event: Event) -> Output<'_> {
        match event {
            Event::Disconnect => Output::Disconnect,
            Event::Checksum(number) => Output::Checksum(number),
            Event::Opened { server, level } => Output::Opened { server, level },
            Event::Refused { number, code, reason } => {
                Output::Refused { number, code, reason, body: self.held.message(number) }
            }
            Event::Replies(run) => Output::Replies(run),
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
