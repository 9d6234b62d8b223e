//! `Delivery`: messages out over as many connections as it takes, until each is known to be final.
//!
//! Apart from [`Exchange`](super::Exchange), which has one connection and is over with it. What is to be done is decided by a [`Sender`](crate::wire::assured::Sender),
//! which knows no sockets; here it is done: connections, a spool, time.

mod assured;
mod ending;
mod events;
mod keeping;
mod link;
mod machine;
mod news;
mod packets;
mod places;
mod round;
mod stream;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

pub use assured::{Assured, AssuredClient};
pub use ending::{Counts, GaveUp, LostSession, Moved};
pub use news::News;

use super::alarm::Alarm;
use super::spool::Spool;
use super::{Result, Source};
use crate::net::{self, Connector, Endpoint};
use crate::wire::assured::sender::Output;
use crate::wire::assured::{Level, SenderConfig, SessionId, StopReason, Tally};
use keeping::Keeping;
use link::Link;
use machine::Machine;
use news::Telling;
use places::Places;

/// How long an assured delivery goes on with nothing acknowledged, unless said otherwise.
pub const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// The longest reply in bytes that is taken, unless said otherwise.
pub const MAX_REPLY: u64 = 64 * 1024 * 1024;

/// Settings of an assured delivery.
#[derive(Clone, Debug)]
pub struct DeliveryConfig {
    /// Settings of each attempt to connect. The default gives an address ten seconds, or [five](crate::net::ADDRESS_TIMEOUT) where there are several.
    pub connector: Connector,
    /// How long to go on with nothing acknowledged; `None` is for ever. Default [`PATIENCE`].
    pub patience: Option<Duration>,
    /// The least that an acknowledgement is to stand for; a server of less is left. Default anything.
    pub level: Option<Level>,
    /// What the client calls itself, for the server's user. Default nothing.
    pub name: Option<String>,
    /// The longest reply in bytes that is taken. Default [`MAX_REPLY`].
    pub max_reply: u64,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            connector: Connector::default(),
            patience: Some(PATIENCE),
            level: None,
            name: None,
            max_reply: MAX_REPLY,
        }
    }
}

/// A delivery that is under way.
///
/// ```no_run
/// # use wilco::{Batch, Delivery, DeliveryConfig, News};
/// # async fn example() -> wilco::Result<()> {
/// let servers = vec!["tcp:cheerios:51717".parse()?, "tcp:shreddies:51717".parse()?];
/// let mut delivery = Delivery::new(servers, DeliveryConfig::default())?;
/// let mut messages = Some(Batch::of("hello"));
/// loop {
///     match delivery.step(&mut messages).await? {
///         News::Acknowledged { first, last } => println!("{first} to {last} are acknowledged"),
///         News::Done => break,
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Delivery {
    sender: Machine,
    keeping: Keeping,
    places: Places,
    link: Option<Link>,
    max_reply: u64,
    /// The longest message that the server takes, once it has said.
    max_body: Option<u64>,
    telling: Telling,
    /// Whether the sender has nothing to be done, until something comes or it is the time of `due`.
    is_idle: bool,
    due: Option<Instant>,
    alarm: Alarm,
    /// Whether the source has ended, and whether the sender was told.
    source: (Flow, Told),
    reached: Reached,
    /// Where the last connection is to.
    at: String,
    /// The server that had the session open last, as it calls itself, and where that is.
    opened: Option<(String, String)>,
    /// Whether it connects only once there is something to deliver.
    is_lazy: bool,
    /// The first number that was not final at the start.
    first: u64,
    /// Why the last attempt to connect has failed.
    unreached: Option<net::Error>,
    /// How it has ended.
    over: Option<Result<(), StopReason>>,
    is_closed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    Open,
    Ended,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    NotYet,
    Told,
}

/// How far it came.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    /// Whether there ever was a connection.
    connected: bool,
    /// The last number that is final.
    settled: u64,
    /// The highest number that was sent.
    sent: u64,
}

impl Delivery {
    /// A delivery from memory: what is not acknowledged is lost with it.
    ///
    /// # Errors
    /// An address is not one of a server, or the system has no random numbers.
    pub fn new(servers: Vec<Endpoint>, config: DeliveryConfig) -> Result<Self> {
        let session = SessionId::of_bits(u128::from_ne_bytes(random()?));
        let places = Places::new(config.connector.clone(), servers)?;
        Self::of(places, config, Keeping::in_memory(session))
    }

    /// A delivery from a spool, which is in this directory: it begins with what is in there, and what it accepts is there before it is sent.
    ///
    /// # Errors
    /// As those of [`Delivery::new`].
    pub fn with_spool(servers: Vec<Endpoint>, config: DeliveryConfig, spool: Spool, directory: &Path) -> Result<Self> {
        let places = Places::new(config.connector.clone(), servers)?;
        Self::of(places, config, Keeping::in_spool(spool, directory))
    }

    /// The same delivery, which connects only once there is something to deliver: where there is nothing, no server need be there.
    #[must_use]
    pub fn once_needed(self) -> Self {
        Self { is_lazy: true, ..self }
    }

    fn of(places: Places, config: DeliveryConfig, keeping: Keeping) -> Result<Self> {
        let DeliveryConfig { patience, level, name, max_reply, .. } = config;
        let session = keeping.session();
        let seed = u64::from_ne_bytes(random()?);
        let start = keeping.start();
        let settings = SenderConfig { session, replies: true, level, name, patience, seed };
        Ok(Self {
            sender: Machine::new(places.speech(), settings, start, now()),
            keeping,
            places,
            link: None,
            max_reply,
            max_body: None,
            telling: Telling::default(),
            is_idle: false,
            due: None,
            alarm: Alarm::default(),
            source: (Flow::Open, Told::NotYet),
            unreached: None,
            first: start.first,
            at: String::new(),
            opened: None,
            is_lazy: false,
            reached: Reached { settled: start.first - 1, sent: start.first - 1, ..Reached::default() },
            over: None,
            is_closed: false,
        })
    }

    /// Sends and receives until there is something to tell. Nothing is lost if it is dropped before, and asked again.
    ///
    /// # Errors
    /// It has ended, and not all is acknowledged: see [`Error`](super::Error) from `GaveUp` on. Or an
    /// address cannot be one. It is over then, whatever the error.
    pub async fn step(&mut self, source: &mut impl Source) -> Result<News> {
        let step = poll_fn(|cx| self.poll_step(cx, source)).await;
        if let Ok(Some(news)) = step {
            return Ok(news);
        }
        let closed = self.close().await;
        step?;
        // What was not accepted is not among the counts: then that is what there is to say.
        closed?;
        match self.over.clone() {
            Some(Err(reason)) => Err(self.failure(reason)),
            _ => Ok(News::Done),
        }
    }

    /// How far it is.
    pub fn tally(&self) -> Tally {
        self.sender.tally()
    }

    /// The number that the next message will have which it takes from a source.
    pub fn next_number(&self) -> u64 {
        self.keeping.next()
    }

    /// The last number that is final; 0 if none is.
    pub fn settled(&self) -> u64 {
        self.reached.settled
    }

    /// The highest number that was sent over any connection.
    pub fn sent(&self) -> u64 {
        self.reached.sent
    }

    /// Whether the session is open over a connection.
    pub fn is_open(&self) -> bool {
        self.sender.is_open()
    }

    /// The longest message in bytes that the server takes which has opened the session last; none before one has, and over UDP.
    pub fn max_body(&self) -> Option<u64> {
        self.max_body
    }

    /// Ends what is under way and lets the spool go; what waits in it is for another time.
    ///
    /// # Errors
    /// It could not be made durable how much is final: it will be sent again, and the server will know that it has it.
    pub async fn close(&mut self) -> Result<()> {
        self.link = None;
        self.places.stop();
        if !std::mem::replace(&mut self.is_closed, true) {
            self.keeping.close().await?;
        }
        Ok(())
    }

    /// `None` once it is over.
    fn poll_step(&mut self, cx: &mut Context<'_>, source: &mut impl Source) -> Poll<Result<Option<News>>> {
        let mut now = now();
        loop {
            while self.may_act() {
                self.act(now);
            }
            if self.over.is_none() && !self.keeping.is_asking() && self.take_frame(now)? {
                while self.sender.takes_more() && self.take_frame(now)? {}
                continue;
            }
            if let Some(news) = self.telling.fetch() {
                return Poll::Ready(Ok(Some(news)));
            }
            if self.over.is_some() || self.is_closed {
                return Poll::Ready(Ok(None));
            }
            if !self.poll_events(cx, source)? {
                return Poll::Pending;
            }
            now = self::now();
        }
    }

    /// Whether the sender is to be asked what it wants done: not while it waits for the spool.
    fn may_act(&self) -> bool {
        self.over.is_none() && !self.is_idle && !self.keeping.is_asking() && !self.awaits_the_first()
    }

    /// Whether nobody need be connected to yet.
    fn awaits_the_first(&self) -> bool {
        self.is_lazy && self.source.1 == Told::NotYet && self.keeping.next() == self.first
    }

    /// Does the next thing that the sender wants done.
    fn act(&mut self, now: std::time::Instant) {
        let Self { sender, link, keeping, places, reached, telling, at, opened, .. } = self;
        let has_room = link.as_ref().is_none_or(Link::has_room);
        match if has_room { sender.poll(now) } else { sender.poll_events(now) } {
            Output::Send(said) => {
                let number = said.number();
                if let Some(link) = link {
                    link.put(&said);
                }
                if let Some(number) = number {
                    let series = sender.series(link.as_ref().map_or(0, Link::room));
                    if let Some(link) = link {
                        link.put_series(&series);
                    }
                    reached.sent = reached.sent.max(series.last().unwrap_or(number));
                }
            }
            Output::Wait(due) => {
                self.is_idle = true;
                self.due = due.map(Instant::from_std);
            }
            Output::Connect { elsewhere } => places.connect(elsewhere),
            Output::Disconnect => {
                *link = None;
                places.stop();
            }
            Output::Checksum(number) => keeping.ask_checksum(number),
            Output::Opened { server, level } => {
                *opened = Some((server.clone(), at.clone()));
                telling.tell(News::Opened { server, level });
            }
            Output::Refused { number, code, reason, body } => keeping.keep_refused(number, code, reason, body),
            Output::Replies(run) => telling.tell(News::Replies(run)),
            Output::Final { through, checksum } => {
                places.served();
                keeping.settle(through, checksum);
                telling.tell(News::Acknowledged { first: reached.settled + 1, last: through });
                reached.settled = through;
            }
            Output::Lost { reason, again } => telling.tell(News::Lost { reason, again }),
            Output::PutOff { code, reason, after } => telling.tell(News::PutOff { code, reason, after }),
            Output::Stop(reason) => self.over = Some(Err(reason)),
            Output::Done => self.over = Some(Ok(())),
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bits = [0; N];
    getrandom::fill(&mut bits)
        .map_err(|error| std::io::Error::other(format!("there are no random numbers: {error}")))?;
    Ok(bits)
}
