//! `Relay`: bytes both ways between two sides, until both have ended; ends are passed on, and nothing is lost unnoticed.
//!
//! Apart from messages, of which it knows nothing: this is what `client --raw` is made of. The *near* side is this program's
//! own, such as standard input and output; the *far* side is the connection.

mod ending;
mod flow;
mod side;

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::alarm::Alarm;

pub use ending::Ending;
pub use flow::{End, Passed, RELAY_BUFFER};
pub use side::{Joined, Packets, Side, Untaken};

use flow::{Failure, Flow};

/// How long a far side may be silent once one direction has ended. Proxies give up on a slow answer after a minute; this is
/// longer, so that no answer is lost that anybody waits for, and short enough that a forgotten job comes to an end.
pub const RELAY_IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The same for datagrams, which have no end: the silence is the end.
pub const DATAGRAM_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the near side may bring nothing once the far side has ended.
pub const LINGER: Duration = Duration::from_millis(500);

/// The longest packet that is made of what a near side brings: as much as nc reads at once.
pub const LONGEST_PACKET: usize = 16 * 1024;

/// The pauses between two questions whether the far side has taken everything: at first, and at the most.
const ASK_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Settings of a relay.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// How long the far side may neither bring nor take anything, once one direction has ended. While both are open there is no
    /// limit: a connection may be silent for days. Default [`RELAY_IDLE_TIMEOUT`]; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// How long the near side may bring nothing once the far side has ended; then it is left, and all is well if what it had
    /// brought was taken. Default [`LINGER`]; `None` waits for its end.
    pub linger: Option<Duration>,
    /// How much is read of the near side at once. Default [`RELAY_BUFFER`].
    pub most_at_once: usize,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self { idle_timeout: Some(RELAY_IDLE_TIMEOUT), linger: Some(LINGER), most_at_once: RELAY_BUFFER }
    }
}

/// Two sides, and the bytes between them.
#[derive(Debug)]
pub struct Relay<N, F> {
    near: N,
    far: F,
    forth: Flow,
    back: Flow,
    config: RelayConfig,
    moved: Instant,
    /// What the far side had not taken when it was last asked, and when something had last moved then.
    untaken: (Option<u64>, Option<Instant>),
    alarm: Alarm,
}

impl<N: Side, F: Side> Relay<N, F> {
    /// Joins two sides.
    pub fn new(near: N, far: F, config: RelayConfig) -> Self {
        Self {
            near,
            far,
            forth: Flow::new(config.most_at_once, Failure::Ends),
            back: Flow::new(RELAY_BUFFER, Failure::Drops),
            config,
            moved: Instant::now(),
            untaken: (None, None),
            alarm: Alarm::default(),
        }
    }

    /// Passes bytes on until both directions have ended and the far side has taken everything, or the patience is at its end.
    /// Nothing is lost if it is dropped before, and asked again.
    pub async fn run(&mut self) -> Ending {
        poll_fn(|cx| self.poll_flows(cx)).await;
        self.settle().await;
        Ending {
            forth: (self.forth.passed(), self.forth.take_end()),
            back: (self.back.passed(), self.back.take_end()),
            untaken: self.far.untaken(),
            has_end: self.far.has_end(),
        }
    }

    /// What has gone forth and back so far.
    pub fn passed(&self) -> (Passed, Passed) {
        (self.forth.passed(), self.back.passed())
    }

    /// The two sides.
    pub fn into_sides(self) -> (N, F) {
        (self.near, self.far)
    }

    fn poll_flows(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let forth = self.forth.poll_step(cx, &mut self.near, &mut self.far);
            let back = self.back.poll_step(cx, &mut self.far, &mut self.near);
            self.pass_on_ends();
            if self.forth.end.is_some() && self.back.is_over() {
                return Poll::Ready(());
            }
            if forth.is_ready() || back.is_ready() {
                self.moved = Instant::now();
                continue;
            }
            let Some(wait) = self.wait() else { return Poll::Pending };
            if self.untaken.1 != Some(self.moved) {
                self.far_takes();
            }
            if self.alarm.poll(cx, self.moved.checked_add(wait.time())).is_pending() {
                return Poll::Pending;
            }
            self.ring(wait);
        }
    }

    /// A far side that is lost ends both directions; one that has only ended its own may still take what comes.
    fn pass_on_ends(&mut self) {
        if let Some(End::Unread(_) | End::Late(_)) = self.back.end {
            self.forth.end(|| End::Lost);
        }
    }

    /// What is waited for now, if not for ever.
    fn wait(&self) -> Option<Wait> {
        if self.forth.end.is_none() && !self.forth.is_pending() {
            return self.config.linger.filter(|_| self.back.is_over()).map(Wait::Near);
        }
        let one_has_ended = self.forth.end.is_some() || self.back.is_over();
        // What the near side does not take is its own affair, such as that of a person who reads.
        self.config.idle_timeout.filter(|_| one_has_ended && !self.back.is_pending()).map(Wait::Far)
    }

    fn ring(&mut self, wait: Wait) {
        match wait {
            Wait::Near(_) => self.forth.end(|| End::Left),
            Wait::Far(_) if self.far_takes() => self.moved = Instant::now(),
            Wait::Far(time) => {
                self.forth.end(|| End::Late(time));
                self.back.end(|| End::Late(time));
            }
        }
    }

    /// Whether the far side has taken something since this was last asked. One that reads slowly is not idle.
    fn far_takes(&mut self) -> bool {
        let untaken = self.far.untaken().map(Untaken::measure);
        let (before, _) = std::mem::replace(&mut self.untaken, (untaken, Some(self.moved)));
        untaken.zip(before).is_some_and(|(now, before)| now < before)
    }

    /// Waits until the far side has taken what was written: an end that came before that says nothing of it.
    async fn settle(&mut self) {
        let is_known =
            |end: &Option<End>| matches!(end, Some(End::Unread(_) | End::Unwritten(_) | End::Lost | End::Late(_)));
        if self.forth.passed().written == 0 || is_known(&self.forth.end) || is_known(&self.back.end) {
            return;
        }
        self.moved = Instant::now();
        self.far_takes();
        let mut pause = ASK_PAUSE.0;
        loop {
            let untaken = self.far.untaken();
            if let Some(error) = self.far.take_error() {
                self.forth.end = Some(End::Unwritten(error));
                return;
            }
            // Where nobody takes what the far side says it may be stuck with that; what its program was to read is there for it.
            let is_there = self.back.is_dropping() && matches!(untaken, Some(Untaken::Something(_)));
            if untaken.is_none_or(Untaken::is_nothing) || is_there {
                return;
            }
            if self.far_takes() {
                self.moved = Instant::now();
            }
            if let Some(time) = self.config.idle_timeout.filter(|time| self.moved.elapsed() >= *time) {
                self.forth.end = Some(End::Late(time));
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(ASK_PAUSE.1);
        }
    }
}

/// What a relay waits for, and how long.
#[derive(Clone, Copy)]
enum Wait {
    Near(Duration),
    Far(Duration),
}

impl Wait {
    fn time(self) -> Duration {
        match self {
            Self::Near(time) | Self::Far(time) => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::timeout;

    use super::*;
    use crate::net::Stream;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A relay of the default settings, with what is at the other ends of its two sides.
    fn relay() -> (Relay<DuplexStream, Stream>, DuplexStream, Stream) {
        let ((near, user), (far, peer)) = (tokio::io::duplex(10), Stream::pair(10));
        (Relay::new(near, far, RelayConfig::default()), user, peer)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_lost_and_ends_are_passed_on() {
        let (mut relay, mut user, mut peer) = relay();
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let echo = async {
            let (mut got, mut part) = (Vec::new(), [0; 7]);
            loop {
                match peer.read(&mut part).await.expect("read") {
                    0 => break,
                    read => got.extend_from_slice(&part[..read]),
                }
            }
            peer.write_all(&got).await.expect("write");
            peer.shutdown().await.expect("end");
        };
        let talk = async {
            user.write_all(&bytes).await.expect("write");
            user.shutdown().await.expect("end");
            let mut back = Vec::new();
            user.read_to_end(&mut back).await.expect("read");
            back
        };
        let (ending, (), back) = tokio::join!(relay.run(), echo, talk);
        assert!(back == bytes);
        assert_eq!((ending.forth.0.written, ending.back.0.written), (100_000, 100_000));
        ending.verdict().expect("all was taken");
    }

    #[tokio::test(start_paused = true)]
    async fn while_both_are_open_there_is_no_limit() {
        let (mut relay, _user, _peer) = relay();
        timeout(DAY, relay.run()).await.expect_err("it still runs");
    }

    #[tokio::test(start_paused = true)]
    async fn a_far_side_is_waited_for_so_long_and_no_longer() {
        let (mut relay, mut user, _peer) = relay();
        user.shutdown().await.expect("end");
        let started = Instant::now();
        let ending = relay.run().await;
        assert!(matches!(ending.back.1, End::Late(RELAY_IDLE_TIMEOUT)));
        assert_eq!(started.elapsed().as_secs(), RELAY_IDLE_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_may_take_longer_to_read() {
        let (mut relay, mut user, mut peer) = relay();
        user.shutdown().await.expect("end");
        // More than fits between the relay and the person.
        let talk = async { peer.write_all(b"sixteen bytes...").await.expect("write") };
        let (running, ()) = tokio::join!(timeout(DAY, relay.run()), talk);
        running.expect_err("it still runs");
    }

    #[tokio::test(start_paused = true)]
    async fn a_near_side_is_left_when_the_far_side_has_ended() {
        let (mut relay, _user, mut peer) = relay();
        peer.shutdown().await.expect("end");
        let started = Instant::now();
        let ending = relay.run().await;
        assert!(matches!(ending.forth.1, End::Left));
        assert_eq!(started.elapsed().as_millis(), LINGER.as_millis());
        ending.verdict().expect_err("what else the user would have sent is not known");
    }
}
