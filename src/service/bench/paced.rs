//! The round trip at a fixed rate: each message is due at its time, and how long it took is counted from then.
//!
//! Apart from [`round_trip`](super::round_trip), where a server that stalls also stops the messages that would have seen it stall
//! ("coordinated omission"): here they are sent, or count as sent, when they are due.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::link::{Link, RECEIVE, is_late, unanswered, until};
use super::{Plan, RoundTrip, Target};
use crate::service::{Result, Why};

/// How many messages may be unanswered; those after them are sent late, and their time counts all the same.
const MOST_UNANSWERED: usize = 64 * 1024;

/// How long before a message is due the thread does not sleep any more: the kernel wakes it too late for so little.
const AWAKE: Duration = Duration::from_micros(150);

pub(super) fn measure(target: &Target, plan: &Plan, rate: f64) -> Result<RoundTrip> {
    let mut link = target.open(plan.timeout)?;
    let (message, mut buffer) = (link.message(plan.size), vec![0; RECEIVE]);
    link.greet(&message, &mut buffer)?;
    let schedule = Schedule { start: Instant::now(), interval: Duration::from_secs_f64(1.0 / rate) };
    let mut found = match link.loses() {
        true => {
            link.expect_losses()?;
            one_at_a_time(&link, &message, &mut buffer, &schedule, plan.duration)?
        }
        false => Paced { link: &link, message: &message, due: VecDeque::new(), sent: 0, rest: 0 }.run(
            &mut buffer,
            &schedule,
            plan.duration,
        )?,
    };
    found.target_rate = Some(rate);
    found.elapsed = schedule.start.elapsed();
    Ok(found)
}

/// When which message is due.
struct Schedule {
    start: Instant,
    interval: Duration,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        self.start + self.interval.mul_f64(number as f64)
    }
}

/// Datagrams: one that is lost has no answer, so that answers could not be told apart if there were several on the way.
fn one_at_a_time(
    link: &Link,
    message: &[u8],
    buffer: &mut [u8],
    schedule: &Schedule,
    duration: Duration,
) -> Result<RoundTrip> {
    let mut found = RoundTrip::default();
    for number in 0.. {
        let due = schedule.due(number);
        if due >= schedule.start + duration {
            break;
        }
        sleep_until(due);
        match link.exchange(message, buffer) {
            Ok(_) => {
                found.latencies.record(due.elapsed());
                found.answered += 1;
            }
            Err(error) if is_late(&error) => found.lost += 1,
            Err(error) => return Err(link.failed(found.answered + 1, found.answered, error)),
        }
    }
    Ok(found)
}

/// Messages that nothing is lost of, so that their answers come in their order.
struct Paced<'a> {
    link: &'a Link,
    message: &'a [u8],
    /// When each of the unanswered messages was due.
    due: VecDeque<Instant>,
    /// Messages that were begun.
    sent: u64,
    /// How many bytes of the last are still to be sent.
    rest: usize,
}

impl Paced<'_> {
    fn run(mut self, buffer: &mut [u8], schedule: &Schedule, duration: Duration) -> Result<RoundTrip> {
        let mut found = RoundTrip::default();
        let end = schedule.start + duration;
        let mut last_answer = Instant::now();
        loop {
            let failed = |sent, answered, error: io::Error| self.link.failed(sent, answered, error);
            let next = schedule.due(self.sent);
            let ended = next >= end;
            if ended && self.due.is_empty() {
                return Ok(found);
            }
            let wants = self.rest > 0 || (!ended && self.due.len() < MOST_UNANSWERED);
            if wants && (self.rest > 0 || next <= Instant::now()) {
                self.send_due(next).map_err(|error| self.link.failed(self.sent, found.answered, error))?;
            }
            let received = self.link.receive_now(buffer);
            match received.map_err(|error| failed(self.sent, found.answered, error))? {
                Some(0) if self.link.unit == super::link::Unit::Line => {
                    return Err(unanswered(self.sent, found.answered, Why::Closed));
                }
                Some(length) => {
                    last_answer = Instant::now();
                    for _ in 0..self.link.answers(&buffer[..length]) {
                        if let Some(due) = self.due.pop_front() {
                            found.latencies.record(last_answer.saturating_duration_since(due));
                            found.answered += 1;
                        }
                    }
                }
                None if !self.due.is_empty() && last_answer.max(self.due[0]).elapsed() > self.link.timeout() => {
                    return Err(unanswered(self.sent, found.answered, Why::Timeout(self.link.timeout())));
                }
                None => {
                    let (flags, time) = match (self.rest > 0, wants) {
                        (true, _) => (PollFlags::POLLIN | PollFlags::POLLOUT, self.link.timeout()),
                        (_, true) => (PollFlags::POLLIN, until(next).saturating_sub(AWAKE)),
                        _ => (PollFlags::POLLIN, self.link.timeout()),
                    };
                    if !time.is_zero() {
                        self.link.wait(flags, time)?;
                    }
                }
            }
        }
    }

    /// Sends what is left of the last message, or the one that is due.
    fn send_due(&mut self, due: Instant) -> io::Result<()> {
        if self.rest == 0 {
            self.due.push_back(due);
            self.sent += 1;
            self.rest = self.message.len();
        }
        let sent = self.link.send_now(&self.message[self.message.len() - self.rest..])?;
        self.rest -= sent.unwrap_or_default();
        Ok(())
    }
}

/// Sleeps until shortly before, and looks at the clock for the rest.
fn sleep_until(due: Instant) {
    let long = until(due).saturating_sub(AWAKE);
    if !long.is_zero() {
        std::thread::sleep(long);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}
