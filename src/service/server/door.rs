//! `Door`: who is let in, by what the rules and the limits say, and what is said of those who are not.
//!
//! Apart from accepting and receiving, which ask the same questions of connections and of datagrams.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::ServerConfig;
use crate::net::{Addr, Socket};
use crate::service::access::{Access, Subject};
use crate::service::limits::{PeerKey, Ticket};
use crate::service::teller::Teller;
use crate::service::{Admission, Gate, Peer};
use crate::wire::plain::{not_now, refusal};

/// The door of a server.
pub(super) struct Door {
    gate: Gate,
    admission: Admission,
    teller: Teller,
}

/// The door at one moment.
pub(super) struct Doorway<'a> {
    door: &'a Door,
    access: Arc<Access>,
    now: Instant,
}

impl Doorway<'_> {
    /// Lets a datagram in. Else gives the word for its sender.
    pub(super) fn datagram(&self, from: &Addr) -> Result<(), String> {
        let subject = Subject::from(from);
        if let Err(denial) = self.access.judge(&subject) {
            self.door.tell(&denial);
            return Err(refusal(denial.word()));
        }
        self.door.admission.admit_datagram(PeerKey::of(from, None), self.now).map_err(|refused| {
            self.door.tell(&refused);
            not_now(refused.word())
        })
    }
}

impl Door {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self { gate: config.gate.clone(), admission: Admission::new(&config.limits), teller: Teller::default() }
    }

    /// Lets a connection in. Else gives the word for its client.
    pub(super) fn connection(&self, socket: &Socket, peer: &Peer) -> Result<Ticket, String> {
        let access = self.gate.access();
        let subject = access.subject(socket, &peer.addr);
        if let Err(denial) = access.judge(&subject) {
            self.tell(&denial);
            return Err(refusal(denial.word()));
        }
        let now = Instant::now();
        self.admission.admit(PeerKey::of(&peer.addr, peer.credentials), now).map_err(|refused| {
            self.tell(&refused);
            not_now(refused.word())
        })
    }

    /// The door as it is for datagrams that came together: the rules in force and the time are asked once for all of them.
    pub(super) fn now(&self) -> Doorway<'_> {
        Doorway { door: self, access: self.gate.access(), now: Instant::now() }
    }

    /// A flood of clients that are not let in must not become one of the log.
    fn tell(&self, why: &dyn fmt::Display) {
        self.teller.tell(|others| match others {
            0 => tracing::warn!("not let in: {why}"),
            others => tracing::warn!("not let in: {why} (and {others} others)"),
        });
    }
}
