//! What the packets of a server mean to a sender.
//!
//! Apart from what it does by itself: here is every word of a server, and what becomes of it. What has no place, since it comes late, twice or from nobody knows
//! whom, is passed over.

use std::mem;
use std::time::{Duration, Instant};

use super::super::broken::{Rule, is_broken};
use super::super::flight::News;
use super::super::{Cookie, Held, ServerPacket};
use super::{DatagramSender, Event, Link};
use crate::wire::assured::agreement::{Known, forked, given_up};
use crate::wire::assured::{Again, Code, Level, checksum};

impl DatagramSender {
    /// Takes a packet of the server.
    pub(super) fn packet(&mut self, packet: ServerPacket<'_>, now: Instant) {
        // Nobody who is not on the way of the packets knows the session.
        if *packet.session() != self.config.sender.session {
            return;
        }
        match (packet, self.link) {
            (ServerPacket::Challenge { cookie, attempt, .. }, _) => self.challenged(cookie, attempt, now),
            (ServerPacket::Granted { attempt, .. }, Link::Opening(_))
                if attempt != Some(self.attempt) && !is_broken(Rule::AnswerToAttempt) => {}
            (granted @ ServerPacket::Granted { .. }, Link::Opening(_)) => self.granted(granted, now),
            // What an earlier attempt is told, or one that comes twice, was true when that was made.
            (ServerPacket::Error { attempt: Some(attempt), .. }, Link::Opening(_)) if attempt != self.attempt => {}
            (ServerPacket::Error { attempt: Some(_), code, again, reason, .. }, Link::Opening(_))
            | (ServerPacket::Error { attempt: None, code, again, reason, .. }, Link::Open { .. }) => {
                self.refused_session(code, again, reason.into_owned(), now);
            }
            (ServerPacket::Acknowledged { through, held, .. }, Link::Open { .. }) => {
                self.acknowledged(through, held, now);
            }
            (ServerPacket::Refused { number, code, reason, .. }, Link::Open { .. }) => {
                self.refused(number, code, reason.into_owned(), now);
            }
            (ServerPacket::PutOff { number, after, code, reason, .. }, Link::Open { .. }) => {
                self.put_off(number, after, code, reason.into_owned(), now);
            }
            _ => {}
        }
    }

    /// The spool has said what the checksum is of a message that is not held.
    pub(super) fn prove(&mut self, own: Option<u32>, now: Instant) {
        if let Link::Proving { acknowledged, checksum, cookie } = self.link {
            match own.is_some_and(|own| own != checksum) {
                true => self.forked(acknowledged),
                false => self.opened(acknowledged, cookie, now),
            }
        }
    }

    /// The session is to be opened with this cookie.
    fn challenged(&mut self, cookie: Cookie, attempt: Option<u64>, now: Instant) {
        match self.link {
            Link::Opening(opening) if attempt == Some(self.attempt) && self.cookie != Some(cookie) => {
                self.cookie = Some(cookie);
                self.link = Link::Opening(super::Opening { again: now, ..opening });
            }
            // Messages of an earlier opening, which were under way when this one was granted, are no reason for another.
            Link::Open { since, .. } if attempt.is_none() && now >= since + self.trip.timeout() => {
                self.cookie = Some(cookie);
                self.open(now);
            }
            _ => {}
        }
    }

    fn granted(&mut self, granted: ServerPacket<'_>, now: Instant) {
        let ServerPacket::Granted { cookie, acknowledged, checksum: theirs, window, max_body, level, server, .. } =
            granted
        else {
            return;
        };
        let before = self.settled;
        let known = Known { settled: before, next: self.next, level: self.config.sender.level };
        // What was left out for want of room is checked by the server alone.
        if let Some(objection) = known.objection(acknowledged, level) {
            return self.stop(objection);
        }
        self.window.grant(window);
        self.granted_body = max_body;
        if !mem::replace(&mut self.greeted, true) {
            self.tally.reconnects += u64::from(self.was_open);
            let (server, level) = (server.unwrap_or_default().into_owned(), level.unwrap_or(Level::Shown));
            self.events.push_back(Event::Opened { server, level });
        }
        let own = match acknowledged == before {
            true => self.held.checksum(),
            false => self.held.message(acknowledged).map(checksum),
        };
        match (theirs.filter(|_| !is_broken(Rule::CompareChecksums)), own) {
            (Some(theirs), Some(own)) if theirs != own => self.forked(acknowledged),
            (Some(checksum), None) if acknowledged > before => {
                self.link = Link::Proving { acknowledged, checksum, cookie };
                self.events.push_back(Event::Checksum(acknowledged));
            }
            _ => self.opened(acknowledged, cookie, now),
        }
    }

    /// Rule C3.
    fn forked(&mut self, number: u64) {
        self.stop(forked(number));
    }

    fn opened(&mut self, acknowledged: u64, cookie: Cookie, now: Instant) {
        self.link = Link::Open { since: now, cookie };
        self.was_open = true;
        self.not_spoken = None;
        self.waiting = now;
        let first = self.first_timeout();
        self.trip.restart(first);
        // What a server held that may be another now, nobody knows.
        self.flight.drop_from(0);
        self.refusals.clear();
        self.finish(acknowledged, now);
    }

    fn acknowledged(&mut self, through: u64, held: Held, now: Instant) {
        self.silent = 0;
        // What is lower comes late, and what was not sent cannot have come.
        if through < self.settled || through >= self.flight.next() {
            return;
        }
        let mut news = self.finish(through, now);
        let more = self.flight.hold(through, held, now);
        news.arrived += more.arrived;
        news.took = more.took.or(news.took);
        self.window.arrived(news.arrived);
        if let Some(took) = news.took {
            self.trip.sample(took);
        }
        if let Some(lost) = self.flight.overtaken() {
            self.window.lost(lost, self.flight.next() - 1);
        }
        if is_broken(Rule::HeldIsNotFinal) {
            let last = (through + 2..through + 66).rfind(|number| held.contains(through, *number));
            last.map(|last| self.finish(last, now));
        }
    }

    /// All to this number is final (rule C2), and so are refusals that follow it.
    pub(super) fn finish(&mut self, through: u64, now: Instant) -> News {
        let mut last = through.max(self.settled);
        let mut told = self.settled;
        let flight = self.flight.settle(last, now);
        while let Some(refusal) = self.refusals.first_entry().filter(|refusal| *refusal.key() <= last + 1) {
            let number = *refusal.key();
            let (code, reason) = refusal.remove();
            if number <= last {
                // The server has acknowledged what it has refused: it was noted before.
                continue;
            }
            if last > told {
                self.events.push_back(Event::Final(last));
            }
            self.events.push_back(Event::Refused { number, code, reason });
            self.tally.refused += 1;
            self.note = true;
            self.flight.settle(number, now);
            self.events.push_back(Event::Final(number));
            (last, told) = (number, number);
        }
        if last > told {
            self.events.push_back(Event::Final(last));
        }
        if last > self.settled {
            (self.moved, self.waiting) = (now, now);
            self.pauses.served();
            self.tally.settled += last - self.settled;
            self.settled = last;
        }
        flight
    }

    fn refused(&mut self, number: u64, code: Code, reason: String, now: Instant) {
        self.silent = 0;
        if number <= self.settled {
            // It has not heard that this is noted.
            self.note = true;
        } else if number < self.flight.next() {
            self.refusals.insert(number, (code, reason));
            self.finish(self.settled, now);
        }
    }

    fn put_off(&mut self, number: u64, after: Duration, code: Code, reason: String, now: Instant) {
        self.silent = 0;
        // One comes for each message that was on its way.
        if number <= self.settled || number >= self.flight.next() || self.put_off.is_some_and(|until| until > now) {
            return;
        }
        self.flight.drop_from(number);
        let after = self.pauses.stretched(after);
        self.put_off = now.checked_add(after);
        self.trouble = Some(reason.clone());
        self.events.push_back(Event::PutOff { code, reason, after });
    }

    fn refused_session(&mut self, code: Code, again: Again, reason: String, now: Instant) {
        match again {
            Again::Never => self.stop(given_up(code, reason)),
            Again::After(least) => {
                self.events.push_back(Event::Disconnect);
                self.elsewhere = true;
                let again = match self.pauses.has_another() {
                    true => Duration::ZERO,
                    false => self.pauses.next().max(self.pauses.stretched(least)),
                };
                self.down(format!("the server says: {reason}"), now, again);
            }
        }
    }
}
