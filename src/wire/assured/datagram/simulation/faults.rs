//! What goes wrong in a simulated world, and those who mean no good.
//!
//! Apart from the world, which goes its way between them.

use super::super::{ClientPacket, Cookie, MAX_BODY, ServerPacket};
use super::world::{Address, Event, FORGED, HOG, World};
use crate::wire::assured::{Open, SessionId};

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Server,
    Client,
    /// The client's address is another from now on, and the client does not know.
    Rebind,
    /// Another server opens the session in the same store.
    TakeOver,
    Forge,
    Replay,
    /// Somebody with a true address sends far more than was granted.
    Hog,
    /// There is a second client with the same spool, or with what it was once.
    Copy,
    /// The client is the one that it was once.
    SetBack,
}

impl World {
    pub(super) fn fail(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Server if self.server.is_up() => {
                self.server.crash(&mut self.chance)?;
                let down = self.below(4000);
                self.after(down, Event::StartServer);
            }
            Fault::Client => {
                let Self { clients, chance, .. } = self;
                clients[0].crash(chance);
                self.rebind(0);
                let down = self.below(4000);
                self.after(down, Event::StartClient(0));
            }
            Fault::Server => {}
            Fault::Rebind => {
                let which = self.pick(self.clients.len());
                self.rebind(which);
            }
            Fault::TakeOver => self.server.store.take_over(&self.session),
            Fault::Forge => self.forge(),
            Fault::Replay => {
                let Some(at) = self.heard.len().checked_sub(1) else { return Ok(()) };
                let at = self.pick(at + 1);
                let datagram = self.heard[at].clone();
                self.send_forged(datagram);
            }
            Fault::Hog => {
                let open = Open { next: 1, ..self.opening(self.hog.clone()) };
                self.say(HOG, &ClientPacket::Open { open, attempt: None, cookie: None });
            }
            Fault::Copy | Fault::SetBack => self.copy(fault),
        }
        Ok(())
    }

    /// The client's spool is copied, or set back, to a state that it may have had.
    fn copy(&mut self, fault: Fault) {
        let client = &self.clients[0];
        let last = usize::try_from(client.is_final()).expect("small");
        let (least, most) = (last.saturating_sub(1), client.bodies.len().min(last + 5));
        let messages = least + self.pick(most - least + 1);
        match fault {
            Fault::SetBack => {
                // It may well have the same port again.
                let address = self.clients[0].address;
                self.clients[0] = self.clients[0].copy(address, messages);
                let down = self.below(100);
                self.after(down, Event::StartClient(0));
                self.after(down + 1, Event::Accept(0));
            }
            _ => {
                let address = self.address();
                let copy = self.clients[0].copy(address, messages);
                let which = self.clients.len();
                self.clients.push(copy);
                self.after(1, Event::StartClient(which));
                self.after(2, Event::Accept(which));
            }
        }
    }

    /// Somebody sends from addresses that are not his, knowing the session but no cookie.
    fn forge(&mut self) {
        let session = match self.below(2) {
            0 => self.session.clone(),
            _ => SessionId::of_bits(self.chance.bits().into()),
        };
        let mut bits = || self.chance.bits();
        let cookie: Cookie = format!("{:016x}{:016x}", bits(), bits()).parse().expect("a cookie");
        let number = self.server.store.rows.get(&session).map_or(0, |row| row.acknowledged()) + 1 + bits() % 3;
        let evil = b"evil, and long enough to be answered ..........................................".as_slice();
        let body = &evil[..if bits().is_multiple_of(2) { 4 } else { evil.len() }];
        let packet = match bits() % 5 {
            0 => ClientPacket::Open { open: self.opening(session), attempt: Some(1), cookie: None },
            1 => ClientPacket::Open { open: self.opening(session), attempt: Some(1), cookie: Some(cookie) },
            2 => ClientPacket::Noted { session, cookie, through: number },
            3 => ClientPacket::Bye { session, cookie },
            _ => ClientPacket::Message { session, cookie, number, origin: None, body },
        };
        let mut datagram = Vec::new();
        packet.encode(&mut datagram);
        if self.below(4) == 0 {
            datagram.truncate(100);
        }
        self.send_forged(datagram);
    }

    fn send_forged(&mut self, datagram: Vec<u8>) {
        // The true address of the client, or that of somebody who has nothing to do with it.
        let from = match self.below(2) {
            0 => self.clients[0].address,
            _ => FORGED + u32::try_from(self.below(3)).expect("small"),
        };
        if from >= FORGED {
            self.forged.entry(from).or_default().0 += datagram.len();
        }
        self.after(1, Event::ToServer(from, datagram));
    }

    /// One who can receive opens a session, and sends as much as he likes in an order that makes the server wait.
    pub(super) fn hog(&mut self, datagram: &[u8]) {
        match ServerPacket::parse(datagram) {
            Ok(ServerPacket::Challenge { session, cookie, .. }) => {
                let open = self.opening(session);
                self.say(HOG, &ClientPacket::Open { open, attempt: None, cookie: Some(cookie) });
            }
            Ok(ServerPacket::Granted { session, cookie, acknowledged, .. }) => {
                let body = [b'h'; MAX_BODY];
                for number in acknowledged + 2..acknowledged + 60 {
                    let (session, body) = (session.clone(), &body[..]);
                    self.say(HOG, &ClientPacket::Message { session, cookie, number, origin: None, body });
                }
            }
            _ => {}
        }
    }

    fn opening(&self, session: SessionId) -> Open<'static> {
        Open { session, first: 1, next: 1000, level: None, replies: false, token: None, name: None }
    }

    fn say(&mut self, from: Address, packet: &ClientPacket<'_>) {
        let mut datagram = Vec::new();
        packet.encode(&mut datagram);
        self.after(1, Event::ToServer(from, datagram));
    }
}
