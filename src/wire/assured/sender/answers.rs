//! What the words of a server mean to a sender.
//!
//! Apart from what it does by itself: here is every frame of a server, and what becomes of it.

use std::time::{Duration, Instant};

use super::{Event, Link, Sender, StopReason, Window};
use crate::wire::assured::agreement::{Known, forked, given_up};
use crate::wire::assured::{Again, ClientFrame, Code, Grant, PING_AFTER, Run, ServerFrame, TAKE_OVERS, checksum};

impl Sender {
    /// Takes replies whose numbers follow each other, as they came: the same as [each of them](super::Input::Frame), one after the other.
    pub fn replies(&mut self, run: Run, now: Instant) {
        if self.link == Link::Over {
            return;
        }
        self.heard = now;
        self.pinged = false;
        let are_new = run.first > self.last_verdict.max(self.settled) && run.last() <= self.last_sent();
        if self.is_open() && are_new && !run.is_empty() {
            self.unnoted = true;
            self.last_verdict = run.last();
            self.events.push_back(Event::Replies(run));
            return;
        }
        for (number, body) in run.messages() {
            self.frame(ServerFrame::Reply { number, body: body.into() }, now);
        }
    }

    /// Takes a frame of the server.
    pub(super) fn frame(&mut self, frame: ServerFrame<'_>, now: Instant) {
        match (frame, self.link) {
            // All is final: how the connection ends is of no concern any more.
            (ServerFrame::Bye { .. } | ServerFrame::Error { .. }, Link::Leaving(_)) => self.over(Event::Done),
            // What was under way when the connection was left.
            (_, Link::Down(_) | Link::Leaving(_) | Link::Over) => {}
            (ServerFrame::Error { code, again, reason }, Link::Opening(_) | Link::Proving { .. } | Link::Open(_)) => {
                self.refused_session(code, again, reason.into_owned(), now);
            }
            (ServerFrame::Bye { acknowledged, drain }, Link::Open(_)) => self.sent_away(acknowledged, drain, now),
            (ServerFrame::Ping(token), Link::Open(_)) => {
                if self.words.len() < Self::UNSENT {
                    self.words.push_back(ClientFrame::Pong(token.into_owned().into()));
                }
            }
            (ServerFrame::Pong(_), Link::Open(_) | Link::Opening(_)) => {}
            (ServerFrame::Granted(grant), Link::Opening(_)) => self.granted(&grant, now),
            (ServerFrame::Acknowledged(number), Link::Open(_)) => self.acknowledged(number, now),
            (ServerFrame::Refused { number, .. } | ServerFrame::Reply { number, .. }, Link::Open(_))
                if !(1..=self.last_sent()).contains(&number) =>
            {
                self.broken(format!("it speaks of message {number}, which was not sent"), now);
            }
            (ServerFrame::Refused { number, code, reason }, Link::Open(_)) => {
                if self.is_new_verdict(number) {
                    self.tally.refused += 1;
                    self.events.push_back(Event::Refused { number, code, reason: reason.into_owned() });
                }
            }
            (ServerFrame::Reply { number, body }, Link::Open(_)) => {
                if self.is_new_verdict(number) {
                    let mut run = Run::new(number);
                    run.push(&body);
                    self.events.push_back(Event::Replies(run));
                }
            }
            (ServerFrame::PutOff { number, after, code, reason }, Link::Open(_)) => {
                self.put_off(number, after, code, reason.into_owned(), now);
            }
            (ServerFrame::Window { messages, bytes }, Link::Open(_)) => {
                self.window = Window { messages: messages.into(), bytes };
            }
            _ => self.broken("it said something that has no place there".to_owned(), now),
        }
    }

    /// What came is not of the protocol.
    pub(super) fn broken(&mut self, reason: String, now: Instant) {
        match self.link {
            // Whoever has said something of the protocol before may have been cut short.
            Link::Opening(_) if !self.was_open => self.stop(StopReason::NotSpoken(reason)),
            Link::Opening(_) | Link::Proving { .. } | Link::Open(_) => {
                self.drop_link(format!("the server does not keep to the protocol: {reason}"), now);
            }
            _ => {}
        }
    }

    /// The spool has said what the checksum is of a message that is not held.
    pub(super) fn prove(&mut self, own: Option<u32>, now: Instant) {
        if let Link::Proving { acknowledged, number, checksum } = self.link {
            match own.is_some_and(|own| own != checksum) {
                true => self.forked(number),
                false => self.opened(acknowledged, now),
            }
        }
    }

    fn granted(&mut self, grant: &Grant<'_>, now: Instant) {
        let acknowledged = grant.acknowledged;
        let before = self.settled;
        let known = Known { settled: before, next: self.next, level: self.config.level };
        if let Some(objection) = known.objection(acknowledged, Some(grant.level)) {
            return self.stop(objection);
        }
        self.window = Window { messages: grant.window.into(), bytes: grant.window_bytes };
        self.ping_after = (grant.idle / 3).clamp(Self::LEAST_PING_AFTER, PING_AFTER);
        self.events.push_back(Event::Opened { server: grant.server.clone().into_owned(), level: grant.level });
        // The last message that it has, where it says its checksum.
        let proof = grant.last.or(grant.checksum.map(|checksum| (acknowledged, checksum)));
        // Where it is the client's own, a copy of the spool has sent it.
        self.ever_sent = self.ever_sent.max(proof.map_or(acknowledged, |(number, _)| number));
        match proof.map(|(number, theirs)| (number, theirs, self.own_checksum(number))) {
            Some((number, ..)) if number < acknowledged || number >= self.next => self.forked(number),
            Some((number, theirs, Some(own))) if theirs != own => self.forked(number),
            Some((number, checksum, None)) if number > before => {
                self.link = Link::Proving { acknowledged, number, checksum };
                self.events.push_back(Event::Checksum(number));
            }
            _ => self.opened(acknowledged, now),
        }
    }

    fn own_checksum(&self, number: u64) -> Option<u32> {
        match number == self.settled {
            true => self.held.checksum(),
            false => self.held.message(number).map(checksum),
        }
    }

    /// Rule C3.
    fn forked(&mut self, number: u64) {
        self.stop(forked(number));
    }

    fn opened(&mut self, acknowledged: u64, now: Instant) {
        self.link = Link::Open(now);
        self.tally.reconnects += u64::from(self.was_open);
        self.was_open = true;
        (self.sent, self.sent_bytes) = (self.settled, 0);
        self.finish(acknowledged, now);
    }

    fn acknowledged(&mut self, number: u64, now: Instant) {
        match number > self.last_sent() {
            // It cannot have what was not sent.
            true => self.broken(format!("it acknowledges message {number}, which was not sent"), now),
            false => self.finish(number, now),
        }
    }

    /// The last number of which a server may speak.
    fn last_sent(&self) -> u64 {
        self.ever_sent.max(self.settled)
    }

    /// All to this number is final (rule C2).
    fn finish(&mut self, through: u64, now: Instant) {
        if through > self.settled {
            (self.moved, self.waiting) = (now, now);
            self.taken_over = 0;
            self.tally.settled += through - self.settled;
            self.sent_bytes -= self.held.size_of(self.settled + 1..=through.min(self.sent));
            // What was acknowledged before the connection was lost need not be sent again.
            self.sent = self.sent.max(through);
            self.settled = through;
            self.events.push_back(Event::Final(through));
        }
        if self.unnoted && through >= self.last_verdict {
            self.unnoted = false;
            match self.words.back_mut() {
                Some(ClientFrame::Noted(number)) => *number = through,
                _ => self.words.push_back(ClientFrame::Noted(through)),
            }
        }
    }

    fn is_new_verdict(&mut self, number: u64) -> bool {
        self.unnoted = true;
        let is_new = number > self.last_verdict && number > self.settled;
        self.last_verdict = self.last_verdict.max(number);
        is_new
    }

    fn put_off(&mut self, number: u64, after: Duration, code: Code, reason: String, now: Instant) {
        if number <= self.settled || number > self.sent {
            return self.broken(format!("it puts off message {number}, which is not on its way"), now);
        }
        self.sent = number - 1;
        self.sent_bytes = self.held.size_of(self.settled + 1..=self.sent);
        let after = self.pauses.stretched(after);
        self.put_off = Some(now + after);
        self.trouble = Some(reason.clone());
        self.events.push_back(Event::PutOff { code, reason, after });
    }

    /// The server ends the connection, and the session goes on over another.
    fn sent_away(&mut self, acknowledged: u64, drain: bool, now: Instant) {
        self.acknowledged(acknowledged, now);
        match (drain, self.link) {
            (true, Link::Open(since)) => {
                self.elsewhere = true;
                let pause = self.pauses.after_order(now.saturating_duration_since(since));
                self.events.push_back(Event::Disconnect);
                self.down("the server is about to end".to_owned(), now, pause);
            }
            (false, Link::Open(_)) => self.drop_link("the server has ended the connection".to_owned(), now),
            _ => {}
        }
    }

    fn refused_session(&mut self, code: Code, again: Again, reason: String, now: Instant) {
        match again {
            Again::Never if code == Code::TAKEN_OVER && self.taken_over < TAKE_OVERS => {
                // It may have been an earlier connection of this very session, whose opening came late. A real other has sent other messages, and is found by those.
                self.taken_over += 1;
                self.drop_link(reason, now);
            }
            Again::Never => self.stop(given_up(code, reason)),
            Again::After(least) => {
                self.events.push_back(Event::Disconnect);
                self.elsewhere = true;
                let again = self.pause(now).max(self.pauses.stretched(least));
                self.down(format!("the server says: {reason}"), now, again);
            }
        }
    }
}
