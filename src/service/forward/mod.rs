//! `Forward`: what a store holds, delivered to the next server for as long as this one runs.
//!
//! Apart from the replay, which ends: what fails here is tried again, on a thread of its own, so that whoever stores messages neither waits for the next server nor
//! ends with it. Whoever watches is told once of what changes.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, sleep_until};

use super::delivery::{Delivery, DeliveryConfig, News};
use super::replay::{Extent, Replay, ReplayError};
use super::spool::{Spool, SpoolConfig, SpoolError};
use super::store::{Archive, Selection};
use super::{Error, Stop, Stopper};
use crate::net::Endpoint;
use crate::wire::assured::Code;

/// After how long a server is asked again that will not have the session, such as one that keeps no messages: somebody may start another.
pub const ASK_AGAIN: Duration = Duration::from_secs(60);

/// How long it may take at the end to deliver what is stored by then, where the next server is there; the rest waits in the spool and in the store.
pub const GRACE: Duration = Duration::from_secs(5);

/// How a store is opened to be read, each time that it is begun anew; an error is said in words.
pub type OpenArchive = Box<dyn Fn() -> std::result::Result<Box<dyn Archive>, String> + Send>;

/// What a store holds, and is given from now on, for the next server.
pub struct Forward {
    /// The store.
    pub archive: OpenArchive,
    /// The first that answers is the next server, and the others are when it fails.
    pub servers: Vec<Endpoint>,
    /// How it is delivered; it is never given up.
    pub config: DeliveryConfig,
    /// Where it is kept how far it is, and what is on its way.
    pub spool: PathBuf,
}

/// What is told of a forward.
#[derive(Debug)]
pub enum Told {
    /// The next server has the session; so many messages wait to be delivered.
    Reached {
        /// What it calls itself.
        server: String,
        /// How many messages it does not have, as far as their places in the store tell: those in a stream tell nothing.
        waiting: Option<u64>,
    },
    /// It is not there, or takes nothing now. It is told once, until it is reached again and has taken something.
    Lost {
        /// Why.
        reason: String,
        /// How many messages wait, if that is known.
        waiting: Option<u64>,
    },
    /// It will not have a message, which is a dead letter in the spool now.
    Refused {
        /// The message's number in the spool.
        number: u64,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: String,
    },
    /// It cannot go on, and is tried anew after [`ASK_AGAIN`]. It is told once, while it is the same.
    Halted(Trouble),
    /// It cannot go on, and somebody has to do something.
    Ended(Trouble),
}

/// Why a forward cannot go on.
#[derive(Debug, Error)]
pub enum Trouble {
    /// The next server.
    #[error(transparent)]
    Delivery(#[from] Error),
    /// What is kept.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The store, in words.
    #[error("{0}")]
    Store(String),
}

/// A forward that is under way. Dropping it ends it at once.
#[derive(Debug)]
pub struct Forwarding {
    stopper: Stopper,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl Forward {
    /// Begins, on a thread of its own, which tells what happens.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(self, mut tell: impl FnMut(Told) + Send + 'static) -> std::io::Result<Forwarding> {
        let (stopper, stop) = Stop::new();
        let (end, ended) = tokio::sync::oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("forward".to_owned()).spawn(move || {
            runtime.block_on(self.run(&stop, &mut tell));
            // What still looks a name up is left behind.
            runtime.shutdown_background();
            let _ = end.send(());
        })?;
        Ok(Forwarding { stopper, ended })
    }

    async fn run(self, stop: &Stop, tell: &mut (impl FnMut(Told) + Send)) {
        let mut said = String::new();
        loop {
            let mut tell_anew = |told| {
                // What comes again after that is new.
                if matches!(told, Told::Reached { .. }) {
                    said.clear();
                }
                tell(told);
            };
            let Err(trouble) = self.deliver(stop, &mut tell_anew).await else { return };
            match trouble.is_final() {
                true => return tell(Told::Ended(trouble)),
                false if said == trouble.to_string() => {}
                false => {
                    said = trouble.to_string();
                    tell(Told::Halted(trouble));
                }
            }
            tokio::select! {
                () = sleep(ASK_AGAIN) => {}
                () = stop.wait() => return,
            }
        }
    }

    /// Delivers until it is stopped, and then for a moment what is left.
    async fn deliver(&self, stop: &Stop, tell: &mut (impl FnMut(Told) + Send)) -> std::result::Result<(), Trouble> {
        let archive = (self.archive)().map_err(Trouble::Store)?;
        // Places in a stream are far from each other.
        let counted = match archive.span().map_err(ReplayError::from)?.has_gaps {
            true => None,
            false => Some((self.archive)().map_err(Trouble::Store)?),
        };
        let spool = Spool::open(&self.spool, SpoolConfig::default()).map_err(Error::from)?;
        let all = Selection::default();
        let mut replay = Replay::with_spool(archive, all, None, Extent::Future, &spool, &self.spool).await?;
        let config = DeliveryConfig { patience: None, ..self.config.clone() };
        let mut delivery = Delivery::with_spool(self.servers.clone(), config, spool, &self.spool)?;
        let course = Course { tell, counted: counted.as_deref(), state: State::Fresh, server: (String::new(), None) };
        let told = course.follow(&mut delivery, &mut replay, stop).await;
        let closed = delivery.close().await;
        told?;
        Ok(closed?)
    }
}

impl Trouble {
    /// Whether it is of no use to try again before somebody has done something.
    fn is_final(&self) -> bool {
        match self {
            // Rules C1 and C3: what is not known to be on disk, or not known to be the same, is not gone on with.
            Self::Delivery(Error::LostSession(_)) => true,
            Self::Delivery(Error::Spool(error)) | Self::Replay(ReplayError::Spool(error)) => needs_somebody(error),
            Self::Replay(ReplayError::Usage(_)) => true,
            Self::Delivery(_) | Self::Replay(ReplayError::Archive(_)) | Self::Store(_) => false,
        }
    }
}

/// Whether the spool will not be as it should be by itself. A disk that is full, a limit of the system and another process that uses it pass.
fn needs_somebody(error: &SpoolError) -> bool {
    match error {
        SpoolError::Damaged(_) | SpoolError::Newer { .. } | SpoolError::Foreign { .. } => true,
        SpoolError::Exposed { .. } | SpoolError::Failed(_) | SpoolError::TooLarge { .. } => true,
        // What could not be synced may be shown as written all the same.
        SpoolError::Io { operation, .. } => *operation == "sync",
        SpoolError::InUse { .. } | SpoolError::NoParent { .. } => false,
        SpoolError::Full { .. } | SpoolError::NoRoom { .. } | SpoolError::NeverRoom { .. } => false,
    }
}

impl Forwarding {
    /// Has it end: what is stored by now is delivered, if the next server is there, for at most [`GRACE`].
    pub fn stop(&self) {
        self.stopper.stop();
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }
}

/// A delivery that is under way, and what was told of it.
struct Course<'a, T> {
    tell: &'a mut T,
    /// The store once more, where its places can be counted.
    counted: Option<&'a dyn Archive>,
    state: State,
    /// What calls itself so has opened the session, when so many messages waited.
    server: (String, Option<u64>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing was told.
    Fresh,
    Reached,
    Lost,
}

impl<T: FnMut(Told)> Course<'_, T> {
    async fn follow(
        mut self,
        delivery: &mut Delivery,
        replay: &mut Replay,
        stop: &Stop,
    ) -> std::result::Result<(), Trouble> {
        let mut until: Option<Instant> = None;
        loop {
            let news = tokio::select! {
                news = delivery.step(replay) => news?,
                () = stop.wait(), if until.is_none() => {
                    if !delivery.is_open() {
                        return Ok(());
                    }
                    replay.finish();
                    until = Some(Instant::now() + GRACE);
                    continue;
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return Ok(()),
            };
            match news {
                News::Done => return replay.trouble().map_or(Ok(()), |error| Err(error.into())),
                News::Lost { .. } if until.is_some() => return Ok(()),
                news => self.told(news, delivery, replay),
            }
            replay.follow(delivery.settled());
        }
    }

    fn told(&mut self, news: News, delivery: &Delivery, replay: &Replay) {
        match news {
            News::Opened { server, .. } => {
                self.server = (server, self.waiting(delivery, replay));
                // One that takes nothing is not back by opening the session again and again.
                if self.state == State::Fresh || self.server.1 == Some(0) {
                    self.reached();
                }
            }
            News::Acknowledged { .. } => self.reached(),
            News::Lost { reason, .. } | News::PutOff { reason, .. } | News::Full(reason) => {
                if self.state == State::Lost {
                    return tracing::info!("{reason}");
                }
                self.state = State::Lost;
                let waiting = self.waiting(delivery, replay);
                (self.tell)(Told::Lost { reason, waiting });
            }
            News::Refused { number, code, reason } => (self.tell)(Told::Refused { number, code, reason }),
            _ => {}
        }
    }

    fn reached(&mut self) {
        if self.state != State::Reached {
            self.state = State::Reached;
            let (server, waiting) = self.server.clone();
            (self.tell)(Told::Reached { server, waiting });
        }
    }

    /// How many messages the next server does not have: those in the spool, and those behind them in the store.
    fn waiting(&self, delivery: &Delivery, replay: &Replay) -> Option<u64> {
        let last = self.counted?.last().unwrap_or_default();
        let unread = last.saturating_sub(replay.place(delivery.next_number()));
        Some(u64::try_from(unread).unwrap_or_default() + delivery.counts().waiting())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_passes_is_tried_again() {
        let io = |errno: i32| SpoolError::of("open", "/x".as_ref(), io::Error::from_raw_os_error(errno));
        let spool = |error| Trouble::Replay(ReplayError::Spool(error)).is_final();
        // ENOSPC, EMFILE, EIO.
        assert_eq!([28, 24, 5].map(|errno| spool(io(errno))), [false; 3]);
        assert!(!spool(SpoolError::Full { max: 1 }));
        assert!(!Trouble::Delivery(Error::Spool(io(28))).is_final());
        assert!(spool(SpoolError::Failed("sync".to_owned())));
        assert!(spool(SpoolError::of("sync", "/x".as_ref(), io::Error::from_raw_os_error(5))));
        assert!(spool(SpoolError::damaged("/x".as_ref(), 0, None, "gone")));
    }
}
