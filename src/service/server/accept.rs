//! Accepting: one loop for each listener, which does nothing else and which nothing ends but the stop.
//!
//! Apart from what is done with a connection: here a client is let in, refused with a word, or kept waiting because this process
//! is short of something.

use std::fs::File;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::config::Conversations;
use super::setting::Setting;
use super::{Shared, refusal};
use crate::net::{BACKLOG, Incoming, Listener, plain};
use crate::service::Peer;
use crate::wire::plain::not_now;

/// The pause after an accept that failed for want of descriptors or memory: at first, and at the most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How often a failing accept is told of at the most.
const TELL: Duration = Duration::from_secs(10);

/// How many clients are told with care at a time that they are not served; and how many between two pauses when there are no
/// descriptors.
const REFUSED_AT_ONCE: usize = 64;

/// Accepts until the server is to stop, then waits for the conversations to end.
pub(super) async fn serve(shared: Arc<Shared>, listener: Listener) {
    let mut accepting = Accepting { shared, listener, talking: JoinSet::new(), refusing: JoinSet::new() };
    accepting.until_stop().await;
    accepting.take_the_rest().await;
    let Accepting { listener, mut talking, mut refusing, .. } = accepting;
    drop(listener);
    while talking.join_next().await.is_some() {}
    while refusing.join_next().await.is_some() {}
}

struct Accepting {
    shared: Arc<Shared>,
    listener: Listener,
    talking: JoinSet<()>,
    /// Those who are being told why they are not let in.
    refusing: JoinSet<()>,
}

impl Accepting {
    async fn until_stop(&mut self) {
        let mut shortage = Shortage::default();
        let stop = self.shared.setting.terms.stop.clone();
        let mut stopped = pin!(stop.wait());
        let many = self.shared.conversations == Conversations::Many;
        while self.listener.has_connections() {
            let accepted = tokio::select! {
                biased;
                () = &mut stopped => break,
                Some(_) = self.talking.join_next() => match self.shared.is_over() {
                    true => break,
                    false => continue,
                },
                // The one conversation is had with one client at a time, so that it is clear which was the first.
                accepted = self.listener.accept(), if many || self.talking.is_empty() => accepted,
            };
            match accepted {
                Ok(incoming) => {
                    shortage.is_over();
                    self.let_in(incoming);
                }
                Err(error) if is_about_the_peer(&error) => tracing::debug!("accept: {}", plain(&error)),
                Err(error) => {
                    shortage.note(&error);
                    shortage.refuse_some(&self.shared.setting, &self.listener, &error).await;
                    tokio::select! {
                        () = &mut stopped => break,
                        () = sleep(shortage.pause()) => {}
                    }
                }
            }
        }
    }

    /// Whoever had connected by the stop is served; whoever comes now is refused by the kernel.
    async fn take_the_rest(&mut self) {
        if !self.shared.setting.terms.stop.is_set() || self.shared.conversations == Conversations::One {
            return;
        }
        for _ in 0..BACKLOG {
            let accepted =
                self.shared.setting.terms.stop.unless_idle(self.listener.accept(), || self.listener.has_input());
            match accepted.await {
                Some(Ok(incoming)) => self.let_in(incoming),
                Some(Err(error)) if is_about_the_peer(&error) => {}
                _ => break,
            }
        }
    }

    fn let_in(&mut self, incoming: Incoming) {
        let peer = Peer::of(&incoming.socket, incoming.peer.clone());
        match self.shared.door.connection(&incoming.socket, &peer) {
            Ok(place) => drop(self.talking.spawn(self.shared.clone().converse(incoming, peer, place))),
            Err(words) => self.refuse(incoming, words),
        }
    }

    fn refuse(&mut self, incoming: Incoming, words: String) {
        while self.refusing.try_join_next().is_some() {}
        let shared = self.shared.clone();
        match self.refusing.len() < REFUSED_AT_ONCE {
            true => drop(self.refusing.spawn(async move { refusal::say(&shared.setting, incoming, &words).await })),
            // Whoever floods the server is not worth more.
            false => refusal::at_once(&shared.setting, &incoming, &words),
        }
    }
}

/// Accepting that fails for want of descriptors or memory: it is tried again after ever longer pauses, and said now and then.
struct Shortage {
    pause: Option<Duration>,
    told: Option<Instant>,
    /// A descriptor that is given up so that a client can be told why it is not served.
    reserve: Option<File>,
}

impl Default for Shortage {
    fn default() -> Self {
        Self { pause: None, told: None, reserve: reserve() }
    }
}

impl Shortage {
    fn is_over(&mut self) {
        self.pause = None;
        if self.reserve.is_none() {
            self.reserve = reserve();
        }
    }

    fn note(&mut self, error: &io::Error) {
        if self.told.is_none_or(|told| told.elapsed() > TELL) {
            tracing::warn!("accept: {}; clients are refused until it succeeds", plain(error));
            self.told = Some(Instant::now());
        }
    }

    fn pause(&mut self) -> Duration {
        *self.pause.insert(self.pause.map_or(PAUSE.0, |pause| (pause * 2).min(PAUSE.1)))
    }

    /// Takes clients with the descriptor that was kept for this, and tells them that they cannot be served.
    async fn refuse_some(&mut self, setting: &Setting, listener: &Listener, error: &io::Error) {
        if !matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE)) {
            return;
        }
        self.reserve = None;
        for _ in 0..REFUSED_AT_ONCE {
            // One that waits is accepted at once or, if another has taken the place, not at all.
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                () = std::future::ready(()) => break,
            };
            let Ok(incoming) = accepted else { break };
            refusal::at_once(setting, &incoming, &not_now("the server has as many clients as it can have"));
        }
        self.reserve = reserve();
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether an accept failed because of the connection that was to be accepted (accept(2), "Error handling").
fn is_about_the_peer(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::ECONNABORTED
                | Errno::ENETDOWN
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::EOPNOTSUPP
                | Errno::ENETUNREACH
                | Errno::EPERM
        )
    )
}
