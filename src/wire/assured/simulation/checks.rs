//! What has to be true of a simulated world: what its users were told, and what is on the disks.
//!
//! Apart from what happens in it, so that nothing of what is checked is believed by what checks.

use super::client::End;
use super::store::{Session, reply_to};
use super::world::World;
use super::{Mutation, Scenario};
use crate::wire::assured::{Code, StopReason, Tally};

impl World {
    /// A client has started: whatever its user was told to be accepted must be there.
    pub(super) fn check_spool(&mut self, at: usize, next: u64) {
        let client = &self.clients[at];
        let accepted = client.accepted.len() as u64;
        let other = (1..=accepted).find(|number| {
            client.disk.record(*number).is_some_and(|body| *body != client.accepted[*number as usize - 1])
        });
        if accepted >= next {
            self.complain(|| format!("{accepted} were accepted, and the spool goes on with {next}"));
        } else if let Some(number) = other {
            self.complain(|| format!("message {number} was accepted, and is another in the spool"));
        }
    }

    /// A user is told that all to this number is final: it must be on the store's disk, or refused and with the dead letters.
    pub(super) fn check_final(&mut self, at: usize, through: u64) {
        let client = &self.clients[at];
        let Some(session) = self.store.sure().get(&client.session) else {
            return self.complain(|| format!("{through} are final, and the store knows nothing"));
        };
        if session.acknowledged < through {
            let durable = session.acknowledged;
            return self.complain(|| format!("{through} are final, and {durable} are on the disk"));
        }
        let wrong = (client.told + 1..=through).find_map(|number| {
            let own = client.accepted.get(number as usize - 1)?;
            // Of two with one session the one may have noted what the other has sent.
            let mut same = self.clients.iter().filter(|other| other.session == client.session);
            let missing =
                !same.clone().any(|other| other.replies.get(&number).is_some_and(|reply| *reply == reply_to(own)));
            let is_letter = same.any(|other| other.disk.dead_letters.get(&number) == Some(own));
            match session.refused.contains(&number) {
                true if !is_letter => Some(format!("{number} is no dead letter")),
                false if message(session, number) != Some(own) => Some(format!("message {number} is not stored")),
                false if client.wants_replies && own.starts_with(b"ask") && missing => {
                    Some(format!("message {number} is final, and its reply was not seen"))
                }
                _ => None,
            }
        });
        match wrong {
            Some(wrong) => self.complain(|| format!("client {at}: {wrong}")),
            None => self.clients[at].told = self.clients[at].told.max(through),
        }
    }

    pub(super) fn check_end(&mut self, at: usize, end: &End, tally: Tally) {
        let client = &self.clients[at];
        let (told, next) = (client.told, client.disk.next());
        let left = client.accepted.len() as u64 - told.min(client.accepted.len() as u64);
        let wrong = match end {
            End::Done if told + 1 != next => Some(format!("is done with {told} of {}", next - 1)),
            End::Done => None,
            End::Stop(StopReason::Patience(..)) if client.in_memory && self.mutation != Some(Mutation::C5) => {
                let said = tally.accepted - tally.settled;
                (said != left).then(|| format!("says that {said} are not final, and {left} are"))
            }
            End::Stop(StopReason::Lost(code, _)) if self.scenario.codes().contains(code) => {
                self.clients[at].told = told;
                None
            }
            End::Stop(reason) => Some(format!("stops: {reason:?}")),
        };
        if let Some(wrong) = wrong {
            self.complain(|| format!("client {at} {wrong}"));
        }
    }

    /// Whatever a user was told to be final is still there.
    pub(super) fn check_after_power_loss(&mut self) {
        self.check_order();
        if self.scenario != Scenario::Plain {
            return;
        }
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let durable = self.store.sure().get(&client.session).map_or(0, |session| session.acknowledged);
            let told = client.told;
            if durable < told {
                self.complain(|| format!("client {at} was told of {told}, and {durable} are left"));
            }
        }
    }

    /// Every session has each of its messages once and in order, but those that were refused.
    fn check_order(&mut self) {
        let wrong = self.store.sure().iter().find_map(|(id, session)| {
            let expected = (1..=session.acknowledged).filter(|number| !session.refused.contains(number));
            let stored: Vec<u64> = session.messages.iter().map(|(number, _)| *number).collect();
            (!expected.eq(stored.iter().copied())).then(|| format!("session {id} has {stored:?}"))
        });
        if let Some(wrong) = wrong {
            self.complain(|| wrong);
        }
    }

    /// All clients have ended, and the power goes once more.
    pub(super) fn check_at_the_end(&mut self) {
        if self.violation.is_some() {
            return;
        }
        self.store.lose_power(&mut self.random);
        self.check_after_power_loss();
        if self.scenario != Scenario::Plain {
            return;
        }
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let Some(End::Done) = client.end else { continue };
            let empty = Session::default();
            let session = self.store.sure().get(&client.session).unwrap_or(&empty);
            let letters: Vec<u64> = client.disk.dead_letters.keys().copied().collect();
            let refused: Vec<u64> = session.refused.iter().copied().collect();
            let same = |(number, body): &(u64, Vec<u8>)| client.accepted.get(*number as usize - 1) == Some(body);
            let (stored, accepted) = (session.acknowledged, client.accepted.len() as u64);
            if stored != accepted || letters != refused || !session.messages.iter().all(same) {
                self.complain(|| {
                    format!("client {at} is done: {stored} of {accepted}, dead letters {letters:?} of {refused:?}")
                });
            }
        }
    }
}

fn message(session: &Session, number: u64) -> Option<&Vec<u8>> {
    let mut found = session.messages.iter().filter(|(other, _)| *other == number).map(|(_, body)| body);
    found.next()
}

impl Scenario {
    /// With what codes a client may stop in it.
    fn codes(self) -> &'static [Code] {
        match self {
            Self::Plain => &[],
            Self::Cloned => &[Code::CLIENT_BEHIND, Code::TAKEN_OVER],
            Self::SpoolBack => &[Code::CLIENT_BEHIND],
            Self::StoreBack => &[Code::SERVER_BEHIND, Code::UNKNOWN_SESSION],
            Self::StoreGone => &[Code::UNKNOWN_SESSION],
        }
    }
}
