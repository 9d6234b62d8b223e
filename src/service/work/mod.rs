//! `Work`: a command that is run for each message of a store, until all are done.
//!
//! Apart from the handler of a server, which has a client that waits: here is nobody to be told, and what fails is tried again later. Each message is begun at least once: what was
//! running when the process ended is run again, with the same id.

mod keeper;
mod lock;
mod reader;
mod schedule;
mod state;
mod trouble;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::handler::Program;
use super::store::{Archive, Selection, Stored};
use super::{Command, DRAIN_TIMEOUT, Outcome, ProcessLimits, Screen, Stop};
use keeper::Keeper;
use reader::{Came, Reader};
use schedule::{Moment, Next, Schedule};
use state::Change;

pub use keeper::MAX_UNKEPT;
pub use schedule::{MAX_PUT_OFF, MAX_TRIES, PAUSES};
pub use state::{DeadLetter, State, Status};
pub use trouble::{StateError, WorkError};

/// What is done over a store, and how.
#[derive(Debug)]
pub struct Work {
    /// The store.
    pub archive: Box<dyn Archive>,
    /// Which of its messages are meant. From when on is decided the first time.
    pub selection: Selection,
    /// Where it is kept how far it is.
    pub state: PathBuf,
    /// What is run: with the message as its standard input, and `MSG_ID` and so on in its environment. Its exit status decides, as that of
    /// [`Run`](super::Run).
    pub command: Command,
    /// What each command is held to.
    pub limits: ProcessLimits,
    /// What stands behind a message on the standard input.
    pub delimiter: &'static [u8],
    /// How many commands run at once. With one all is done in the order of the store, and what is put off holds up what is behind it; with more there is no order.
    pub workers: usize,
    /// How often a message is given to a command before it is a dead letter; none is for ever. See [`MAX_TRIES`].
    pub max_tries: Option<u32>,
    /// When it ends.
    pub end: End,
}

/// When work ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum End {
    /// When it is stopped.
    #[default]
    Stopped,
    /// When nothing is left to be done.
    Drained,
}

/// What is told of work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Told {
    /// A message is put off.
    PutOff {
        /// Its id.
        id: String,
        /// Why.
        reason: String,
        /// After how long it is tried again.
        after: Duration,
    },
    /// A message is a dead letter.
    Dead {
        /// Its id, or its place in the store where it was not read.
        id: String,
        /// Why.
        reason: String,
    },
    /// Messages were deleted from the store before they were done. It is told once.
    Gone {
        /// The place of the first.
        place: i64,
    },
    /// The store cannot be read now, and is read again and again. It is told once, until it can be.
    Away {
        /// Why.
        reason: String,
    },
    /// It cannot be kept now how far it is, and is tried again and again; nothing is begun meanwhile but some dozens. It is told once, until it can be.
    Unkept {
        /// Why.
        reason: String,
    },
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Worked {
    /// How many messages.
    pub done: u64,
    /// How many have become dead letters.
    pub dead: u64,
    /// How many were deleted before.
    pub gone: u64,
}

impl Work {
    /// Works until it is stopped, or all is done. What commands write to their standard output is shown, that of each in one piece. Once it is stopped the commands in hand
    /// are waited for; dropping it ends them, and their messages are begun again another time.
    ///
    /// # Errors
    /// It cannot go on.
    pub async fn run(self, screen: &impl Screen, mut tell: impl FnMut(Told), stop: &Stop) -> Result<Worked, WorkError> {
        let mut course = Course::begin(self, &mut tell)?;
        let worked = course.follow(screen, &mut tell, stop).await;
        if worked.is_err() {
            course.finish(screen, &mut tell).await;
        }
        // What has ended is kept, whatever else went wrong.
        let kept = course.keeper.close();
        let worked = worked?;
        kept?;
        Ok(worked)
    }
}

/// Work that is under way.
struct Course {
    program: std::sync::Arc<Program>,
    delimiter: &'static [u8],
    end: End,
    schedule: Schedule,
    reader: Reader,
    /// Whether more was asked for, and whether there was no more.
    reading: Reading,
    keeper: Keeper,
    /// None has not run.
    running: JoinSet<Option<Ended>>,
    /// Those that are read again: how often they will have been begun.
    awaited: BTreeMap<i64, u32>,
    has_told_gone: bool,
    clock: Clock,
    worked: Worked,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    Idle,
    Asked,
    Over,
}

/// A command that has ended.
struct Ended {
    place: i64,
    tries: u32,
    id: String,
    outcome: Outcome,
}

impl Course {
    fn begin(work: Work, tell: &mut impl FnMut(Told)) -> Result<Self, WorkError> {
        let Work { archive, selection, state, command, limits, delimiter, workers, max_tries, end } = work;
        let state = State::open(&state, &archive.name(), &selection)?;
        state.fit(&*archive)?;
        let selection = state.selection()?;
        let (mark, open) = state.left()?;
        let clock = Clock::start();
        let (schedule, changes) = Schedule::new(workers.max(1), max_tries, open, clock.now(), random_share);
        let mut course = Self {
            program: Program::new(command, ProcessLimits { processes: workers, ..limits }).into(),
            delimiter,
            end,
            schedule,
            reader: Reader::new(archive, selection, mark, end)?,
            reading: Reading::Idle,
            keeper: Keeper::new(state)?,
            running: JoinSet::new(),
            awaited: BTreeMap::new(),
            has_told_gone: false,
            clock,
            worked: Worked::default(),
        };
        for change in changes {
            if let Change::Dead { place, reason, .. } = &change {
                tell(Told::Dead { id: of_place(*place), reason: reason.clone() });
                course.worked.dead += 1;
            }
            course.keeper.put(change);
        }
        Ok(course)
    }

    async fn follow(
        &mut self,
        screen: &impl Screen,
        tell: &mut impl FnMut(Told),
        stop: &Stop,
    ) -> Result<Worked, WorkError> {
        loop {
            let due = if stop.is_set() { None } else { self.act() };
            let is_drained = self.end == End::Drained && self.reading == Reading::Over && self.schedule.is_empty();
            if is_drained || (stop.is_set() && self.running.is_empty()) {
                return Ok(self.worked);
            }
            tokio::select! {
                Some(ended) = self.running.join_next() => {
                    // It panics only if this program is wrong.
                    self.ended(ended.map_err(std::io::Error::other)?, screen, tell).await?;
                }
                came = self.reader.came() => self.came(came?, tell),
                changed = self.keeper.changed() => {
                    if let Some(reason) = changed? {
                        tell(Told::Unkept { reason });
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = stop.wait(), if !stop.is_set() => {}
            }
        }
    }

    /// Waits for the commands in hand where it cannot go on, so that what they have done is not done again.
    async fn finish(&mut self, screen: &impl Screen, tell: &mut impl FnMut(Told)) {
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                if let Ok(ended) = ended {
                    // That it cannot go on is told already.
                    let _ = self.ended(ended, screen, tell).await;
                }
            }
        };
        let _ = timeout(DRAIN_TIMEOUT, all).await;
    }

    /// Begins all that can be, and says until when there is nothing more to be begun.
    fn act(&mut self) -> Option<Instant> {
        while self.keeper.has_room() {
            match self.schedule.next(self.clock.now()) {
                Next::Begin { place, tries, message: Some(message) } => self.start(place, tries, &message),
                Next::Begin { place, tries, message: None } => {
                    self.awaited.insert(place, tries);
                    self.reader.ask_one(place);
                }
                Next::Read(due) => {
                    if self.reading == Reading::Idle {
                        self.reading = Reading::Asked;
                        self.reader.ask_more();
                    }
                    return due.map(|due| self.clock.at(due));
                }
                Next::Wait(due) => return due.map(|due| self.clock.at(due)),
            }
        }
        None
    }

    fn came(&mut self, came: Came, tell: &mut impl FnMut(Told)) {
        match came {
            Came::More(messages) => {
                let is_over = messages.is_empty() && self.end == End::Drained;
                self.reading = if is_over { Reading::Over } else { Reading::Idle };
                self.schedule.add(messages);
            }
            Came::One(place, message) => match (self.awaited.remove(&place), message) {
                (Some(tries), Some(message)) => self.start(place, tries, &message),
                (Some(_), None) => {
                    self.gone(place, tell);
                    self.worked.gone += 1;
                    let change = self.schedule.gone(place);
                    self.keeper.put(change);
                }
                (None, _) => {}
            },
            Came::Gone(after) => self.gone(after + 1, tell),
            Came::Away(reason) => tell(Told::Away { reason }),
        }
    }

    fn gone(&mut self, place: i64, tell: &mut impl FnMut(Told)) {
        if !std::mem::replace(&mut self.has_told_gone, true) {
            tell(Told::Gone { place });
        }
    }

    fn start(&mut self, place: i64, tries: u32, message: &Stored) {
        self.keeper.put(Change::Begun { place, tries, mark: (tries == 1).then(|| message.mark()) });
        // That it is not the first time is to be known whatever happens while it runs.
        let kept = (tries > 1).then(|| self.keeper.kept());
        let id = id(message);
        let who =
            message.name.as_ref().map_or_else(|| message.peer.clone(), |name| format!("{name} ({})", message.peer));
        let variables = variables(message, &id, tries);
        let input = [&message.body, self.delimiter].concat();
        let program = self.program.clone();
        self.running.spawn(async move {
            if let Some(kept) = kept
                && !kept.await
            {
                return None;
            }
            let outcome = match program.run(&input, variables, &who).await {
                Ok(output) => Outcome::Reply(output.into()),
                Err(outcome) => outcome,
            };
            Some(Ended { place, tries, id, outcome })
        });
    }

    async fn ended(
        &mut self,
        ended: Option<Ended>,
        screen: &impl Screen,
        tell: &mut impl FnMut(Told),
    ) -> Result<(), WorkError> {
        let Some(Ended { place, tries, id, mut outcome }) = ended else { return Ok(()) };
        let output =
            if let Outcome::Reply(output) = &mut outcome { std::mem::take(output) } else { Default::default() };
        let change = self.schedule.ended(place, tries, outcome, self.clock.now(), random_share());
        match &change {
            Change::Done { .. } => self.worked.done += 1,
            Change::Dead { reason, .. } => {
                self.worked.dead += 1;
                tell(Told::Dead { id, reason: reason.clone() });
            }
            Change::Later { due, reason, .. } => {
                let after = Duration::from_millis((due - self.clock.now()).max(0).unsigned_abs());
                tell(Told::PutOff { id, reason: reason.clone(), after });
            }
            Change::Begun { .. } | Change::Gone { .. } => {}
        }
        // Before its output is shown: what is done is done, whoever reads that or does not.
        self.keeper.put(change);
        if !output.is_empty() {
            screen.show(&output).await?;
        }
        Ok(())
    }
}

/// What a message is known by, however often it comes: `SID:NUMBER` where it was first sent, or its place in the store, for one that was plain.
fn id(message: &Stored) -> String {
    match (&message.origin, &message.session) {
        (Some(origin), _) => origin.clone(),
        // That of a session that is forgotten says nothing.
        (None, Some(session)) if !session.contains(' ') => format!("{session}:{}", message.number),
        _ => of_place(message.id),
    }
}

fn of_place(place: i64) -> String {
    format!("place:{place}")
}

/// What a command finds in its environment, beside what every program gets.
fn variables(message: &Stored, id: &str, tries: u32) -> Vec<(&'static str, String)> {
    let at = Duration::from_millis(u64::try_from(message.at).unwrap_or_default());
    let mut variables = vec![
        ("MSG_ID", id.to_owned()),
        ("MSG_SEQ", message.number.to_string()),
        ("MSG_LEN", message.body.len().to_string()),
        ("MSG_TRY", tries.to_string()),
        ("MSG_PLACE", message.id.to_string()),
        ("MSG_TIME", format!("{}.{:03}", at.as_secs(), at.subsec_millis())),
        ("MSG_PEER", message.peer.replace(['\n', '\0'], "?")),
    ];
    if let Ok(addr) = message.peer.parse::<SocketAddr>() {
        variables.push(("NCAT_REMOTE_ADDR", addr.ip().to_canonical().to_string()));
        variables.push(("NCAT_REMOTE_PORT", addr.port().to_string()));
    }
    variables.extend(message.user.map(|user| ("UNIXREMOTEUID", user.to_string())));
    variables
}

/// A number from 0 up to 1 that nobody needs to be unable to guess.
fn random_share() -> f64 {
    let bits = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// The time as it was when this began, and what has passed since: a clock that is set meanwhile puts nothing off.
struct Clock {
    began: Moment,
    at: Instant,
}

impl Clock {
    fn start() -> Self {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { began: i64::try_from(began).unwrap_or_default(), at: Instant::now() }
    }

    fn now(&self) -> Moment {
        self.began + i64::try_from(self.at.elapsed().as_millis()).unwrap_or_default()
    }

    fn at(&self, moment: Moment) -> Instant {
        self.at + Duration::from_millis(u64::try_from(moment - self.began).unwrap_or_default())
    }
}
