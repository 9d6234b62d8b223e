//! Many connections at once, each with one message at a time.
//!
//! Apart from the round trip: here a server is asked by many, and what counts is how many it answers in all.

use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::link::{LOST_AFTER, Link, RECEIVE, unanswered};
use super::{Latencies, Plan, Target, per_second};
use crate::net::Error;
use crate::service::{Result, Why};

/// How many connections a thread asks the kernel for at once.
const EVENTS: usize = 256;

/// How many threads there are at the most.
const MOST_THREADS: usize = 8;

/// What many connections had answered, each one message at a time.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// How many connections.
    pub connections: usize,
    /// Messages that were answered.
    pub answered: u64,
    /// Datagrams that were not.
    pub lost: u64,
    /// How long it took in all.
    pub elapsed: Duration,
    /// How long each message took.
    pub latencies: Latencies,
}

impl Connections {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        per_second(self.answered, self.elapsed)
    }
}

pub(super) fn measure(target: &Target, plan: &Plan) -> Result<Connections> {
    let mut buffer = vec![0; RECEIVE];
    let mut asking = Vec::new();
    for _ in 0..plan.connections {
        let link = target.open(plan.timeout)?;
        link.greet(&link.message(plan.size), &mut buffer)?;
        asking.push(Asking { link, since: Instant::now(), waits: false });
    }
    let threads = threads().min(plan.connections.max(1));
    let share = plan.connections.div_ceil(threads).max(1);
    let start = Instant::now();
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> =
            asking.chunks_mut(share).map(|share| scope.spawn(move || drive(share, plan, start))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let results: Vec<Result<Connections>> = results;
    let mut all = Connections { connections: plan.connections, elapsed: start.elapsed(), ..Connections::default() };
    for result in results {
        let result = result?;
        all.answered += result.answered;
        all.lost += result.lost;
        all.latencies.add(&result.latencies);
    }
    Ok(all)
}

/// As many threads as leave half of the machine to the server.
fn threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, MOST_THREADS)
}

/// A connection, and since when it waits for an answer.
struct Asking {
    link: Link,
    since: Instant,
    waits: bool,
}

/// Keeps a thread's connections asking until the time is up, then waits for the last answers.
fn drive(asking: &mut [Asking], plan: &Plan, start: Instant) -> Result<Connections> {
    let Some(first) = asking.first() else { return Ok(Connections::default()) };
    let (message, loses) = (first.link.message(plan.size), first.link.loses());
    let patience = if loses { LOST_AFTER } else { plan.timeout };
    let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system)?;
    let (mut events, mut buffer) = ([EpollEvent::empty(); EVENTS], vec![0; RECEIVE]);
    let (mut found, mut sent) = (Connections::default(), 0);
    let end = start + plan.duration;
    for (number, one) in asking.iter_mut().enumerate() {
        ready.add(&one.link, EpollEvent::new(EpollFlags::EPOLLIN, number as u64)).map_err(system)?;
        one.ask(&message, &mut sent, Instant::now()).map_err(|error| one.link.failed(sent, found.answered, error))?;
    }
    let mut swept = Instant::now();
    while asking.iter().any(|one| one.waits) || Instant::now() < end {
        let timeout = EpollTimeout::try_from(patience).unwrap_or(EpollTimeout::MAX);
        let count = match ready.wait(&mut events, timeout) {
            Err(nix::errno::Errno::EINTR) => continue,
            count => count.map_err(system)?,
        };
        if count == 0 && !loses {
            return Err(unanswered(sent, found.answered, Why::Timeout(plan.timeout)));
        }
        for event in &events[..count] {
            let one = &mut asking[usize::try_from(event.data()).unwrap_or_default()];
            let done = one.answered(&mut buffer).map_err(|error| one.link.failed(sent, found.answered, error))?;
            if !done {
                continue;
            }
            let now = Instant::now();
            found.latencies.record(now - one.since);
            found.answered += 1;
            if now < end {
                one.ask(&message, &mut sent, now).map_err(|error| one.link.failed(sent, found.answered, error))?;
            }
        }
        if loses && swept.elapsed() > LOST_AFTER {
            swept = Instant::now();
            for one in asking.iter_mut().filter(|one| one.waits && one.since.elapsed() > LOST_AFTER) {
                one.waits = false;
                if swept < end {
                    one.ask(&message, &mut sent, swept)
                        .map_err(|error| one.link.failed(sent, found.answered, error))?;
                }
            }
        }
    }
    found.lost = sent.saturating_sub(found.answered);
    Ok(found)
}

impl Asking {
    fn ask(&mut self, message: &[u8], sent: &mut u64, now: Instant) -> std::io::Result<()> {
        *sent += 1;
        self.waits = true;
        self.since = now;
        self.link.send(message)
    }

    /// Receives what is there, and says whether it is the end of the answer.
    fn answered(&mut self, buffer: &mut [u8]) -> std::io::Result<bool> {
        let Some(length) = self.link.receive_now(buffer)? else { return Ok(false) };
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let ended = self.waits && self.link.ends_answer(&buffer[..length]);
        self.waits &= !ended;
        Ok(ended)
    }
}

fn system(errno: nix::errno::Errno) -> Error {
    Error::system("wait for many connections", errno.into())
}
