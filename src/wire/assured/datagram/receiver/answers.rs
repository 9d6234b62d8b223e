//! What a receiver of datagrams says to its client.
//!
//! Apart from what it takes and hands over: here is every packet of an open session, and what it speaks of.

use std::time::{Duration, Instant};

use super::DatagramReceiver;
use crate::wire::assured::PutOff;
use crate::wire::assured::datagram::broken::{Rule, is_broken};
use crate::wire::assured::datagram::{Held, ServerPacket};

impl DatagramReceiver {
    /// How many refusals are told at once.
    const REFUSALS: usize = 8;

    /// The last number that may be acknowledged: that before the first refusal that the client has not noted.
    pub(super) fn told(&self) -> u64 {
        match self.refusals.front() {
            Some((number, ..)) if !is_broken(Rule::HoldBackForRefusals) => number - 1,
            _ => self.applied,
        }
    }

    /// Whether messages are put off; it is said.
    pub(super) fn is_put_off(&mut self, now: Instant) -> bool {
        let Some((until, put_off)) = self.put_off.take_if(|(until, _)| *until > now) else {
            self.put_off = None;
            return false;
        };
        self.say(self.not_now(until - now, &put_off));
        self.put_off = Some((until, put_off));
        true
    }

    pub(super) fn not_now(&self, after: Duration, put_off: &PutOff) -> ServerPacket<'static> {
        let (session, number) = (self.session.clone(), self.handed.0 + 1);
        ServerPacket::PutOff { session, number, after, code: put_off.code, reason: put_off.reason.clone().into() }
    }

    pub(super) fn granted(&self) -> ServerPacket<'static> {
        let acknowledged = self.told();
        let known = if acknowledged == self.applied { self.checksum } else { None };
        ServerPacket::Granted {
            session: self.session.clone(),
            cookie: self.cookie,
            attempt: self.attempt,
            acknowledged,
            checksum: if acknowledged == 0 { Some(0) } else { known },
            window: self.config.window,
            max_body: self.config.max_body,
            level: Some(self.config.level),
            server: Some(self.config.server.clone().into()),
        }
    }

    pub(super) fn acknowledged(&self) -> ServerPacket<'static> {
        let through = self.told();
        let mut held = Held::default();
        (through + 2..=self.handed.0).chain(self.waiting.numbers()).for_each(|number| held.insert(through, number));
        ServerPacket::Acknowledged { session: self.session.clone(), through, held }
    }

    /// Says what was refused, behind the acknowledgement of what was before.
    pub(super) fn tell_refusals(&mut self) {
        for (number, code, reason) in self.refusals.iter().take(Self::REFUSALS) {
            let (session, reason) = (self.session.clone(), reason.clone().into());
            self.packets.push_back(ServerPacket::Refused { session, number: *number, code: *code, reason });
        }
    }

    pub(super) fn say(&mut self, packet: ServerPacket<'static>) {
        self.packets.push_back(packet);
    }
}
