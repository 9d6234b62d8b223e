//! Pipelined: one connection, messages one behind the other without waiting, answers counted as they come.
//!
//! Apart from the round trip, which shows how long one message takes: this shows how many a server can take at all.

use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::flood::{Aim, Flood, WINDOW};
use super::link::{LOST_AFTER, Link, RECEIVE, Unit, unanswered};
use super::{Plan, Target, per_second};
use crate::service::{DATAGRAM_WINDOW, Result, Why};

/// How many datagrams may be on their way over Unix sockets: no more than the queue of such a socket has room for
/// (unix(7), `net.unix.max_dgram_qlen`).
const UNIX_WINDOW: u64 = 8;

/// How many packets of a connection may be on their way.
const PACKET_WINDOW: u64 = 256;

/// How many messages one behind the other were answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pipelined {
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that were answered.
    pub answered: u64,
    /// How many may be on their way at once.
    pub window: u64,
    /// How long it took in all.
    pub elapsed: Duration,
}

impl Pipelined {
    /// Answered messages a second.
    pub fn rate(&self) -> f64 {
        per_second(self.answered, self.elapsed)
    }

    /// Datagrams that were not answered.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.answered)
    }
}

pub(super) fn measure(target: &Target, plan: &Plan) -> Result<Pipelined> {
    let link = target.open(plan.timeout)?;
    let message = link.message(plan.size);
    link.greet(&message, &mut vec![0; RECEIVE])?;
    match link.unit {
        Unit::Line => lines(&link, &message, plan.duration),
        Unit::Packet => packets(&link, &message, plan.duration),
    }
}

fn lines(link: &Link, message: &[u8], duration: Duration) -> Result<Pipelined> {
    let mut flood = Flood::new(link, message, Aim::Answers);
    let ended = flood.run(duration);
    let (sent, flooded) = (flood.messages(), flood.flooded);
    let window = (WINDOW / message.len()) as u64;
    ended.map_err(|error| link.failed(sent, flooded.answers, error))?;
    Ok(Pipelined { sent, answered: flooded.answers, window, elapsed: flooded.elapsed })
}

fn packets(link: &Link, message: &[u8], duration: Duration) -> Result<Pipelined> {
    let window = match (link.loses(), link.is_unix()) {
        (true, true) => UNIX_WINDOW,
        (true, false) => DATAGRAM_WINDOW,
        (false, _) => PACKET_WINDOW,
    };
    let patience = if link.loses() { LOST_AFTER } else { link.timeout() };
    let mut buffer = vec![0; RECEIVE];
    let mut found = Pipelined { window, ..Pipelined::default() };
    let start = Instant::now();
    let end = start + duration;
    let mut on_the_way = 0;
    loop {
        let failed = |found: &Pipelined, error| link.failed(found.sent, found.answered, error);
        let is_sending = Instant::now() < end;
        let mut has_moved = false;
        while is_sending && on_the_way < window {
            match link.send_now(message).map_err(|error| failed(&found, error))? {
                Some(_) => (found.sent, on_the_way, has_moved) = (found.sent + 1, on_the_way + 1, true),
                None => break,
            }
        }
        while let Some(length) = link.receive_now(&mut buffer).map_err(|error| failed(&found, error))? {
            if length == 0 && !link.loses() {
                return Err(unanswered(found.sent, found.answered, Why::Closed));
            }
            found.answered += 1;
            // One that counted as lost may come after all.
            on_the_way = on_the_way.saturating_sub(1);
            has_moved = true;
            found.elapsed = start.elapsed();
        }
        if !is_sending && on_the_way == 0 {
            return Ok(found);
        }
        if !has_moved {
            let has_room = is_sending && on_the_way < window;
            let flags = if has_room { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
            if !link.wait(flags, patience)? {
                if !link.loses() {
                    return Err(unanswered(found.sent, found.answered, Why::Timeout(patience)));
                }
                on_the_way = 0;
            }
        }
    }
}
