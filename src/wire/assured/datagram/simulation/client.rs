//! A client on its spool, until it crashes.
//!
//! Apart from the world: here is what drives [`DatagramSender`], as a real client does, and what a client may believe.

use std::collections::BTreeSet;
use std::time::Instant;

use super::super::{ClientPacket, DatagramConfig, DatagramSender, MAX_BODY, ServerPacket};
use super::store::Row;
use super::world::Address;
use crate::wire::assured::pauses::Pauses;
use crate::wire::assured::sender::{Input, Output, SenderConfig, Start, StopReason};
use crate::wire::assured::{Run, SessionId, checksum};

pub(super) struct Client {
    session: SessionId,
    sender: Option<DatagramSender>,
    /// Where its packets come from.
    pub(super) address: Address,
    /// The spool: what was accepted, durably.
    pub(super) bodies: Vec<Vec<u8>>,
    /// What is refused and was kept elsewhere, durably.
    dead: BTreeSet<u64>,
    /// The last number that has left the spool, and what of that is durable.
    settled: u64,
    settled_on_disk: u64,
    no_more: bool,
    pub(super) end: Option<Result<(), StopReason>>,
}

/// What a client wants of the world.
#[derive(Default)]
pub(super) struct Wants {
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) connect: bool,
    pub(super) wake: Option<Instant>,
}

impl Client {
    pub(super) fn new(session: SessionId, address: Address) -> Self {
        Self {
            session,
            sender: None,
            address,
            bodies: Vec::new(),
            dead: BTreeSet::new(),
            settled: 0,
            settled_on_disk: 0,
            no_more: false,
            end: None,
        }
    }

    /// The same spool, as it was after so many messages.
    pub(super) fn copy(&self, address: Address, messages: usize) -> Self {
        let settled = self.settled_on_disk.min(messages as u64);
        Self {
            session: self.session.clone(),
            sender: None,
            address,
            bodies: self.bodies[..messages].to_vec(),
            dead: self.dead.clone(),
            settled,
            settled_on_disk: settled,
            no_more: false,
            end: None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.sender.is_some()
    }

    pub(super) fn is_final(&self) -> u64 {
        self.settled
    }

    pub(super) fn start(&mut self, chance: &mut Pauses, now: Instant) {
        let before = self.settled.checked_sub(1).and_then(|at| self.bodies.get(usize::try_from(at).expect("small")));
        let start = Start {
            first: self.settled + 1,
            next: self.bodies.len() as u64 + 1,
            checksum: before.map(|body| checksum(body)),
        };
        let (session, seed) = (self.session.clone(), chance.bits());
        let config = SenderConfig { session, replies: false, level: None, name: None, patience: None, seed };
        let mut sender = DatagramSender::new(DatagramConfig::new(config), start, now);
        if self.no_more {
            sender.handle(Input::NoMore, now);
        }
        self.sender = Some(sender);
    }

    /// The process ends, or the power fails: what has left the spool may be there again.
    pub(super) fn crash(&mut self, chance: &mut Pauses) {
        self.sender = None;
        self.settled -= chance.bits() % (self.settled - self.settled_on_disk + 1);
        self.settled_on_disk = self.settled;
    }

    pub(super) fn accept(&mut self, body: Vec<u8>) {
        self.bodies.push(body);
    }

    pub(super) fn finish(&mut self, now: Instant) {
        self.no_more = true;
        self.tell(Input::NoMore, now);
    }

    pub(super) fn tell(&mut self, input: Input<ServerPacket<'_>>, now: Instant) {
        if let Some(sender) = self.sender.as_mut().filter(|_| self.end.is_none()) {
            sender.handle(input, now);
        }
    }

    pub(super) fn receive(&mut self, datagram: &[u8], now: Instant) {
        match ServerPacket::parse(datagram) {
            Ok(packet) => self.tell(Input::Frame(packet), now),
            Err(malformed) => self.tell(Input::Broken(malformed.to_string()), now),
        }
    }

    /// Does all that is to be done, and checks what the client takes as final against what is stored.
    pub(super) fn drive(&mut self, row: Option<&Row>, chance: &mut Pauses, now: Instant) -> Result<Wants, String> {
        let mut wants = Wants::default();
        let Some(sender) = self.sender.as_mut().filter(|_| self.end.is_none()) else { return Ok(wants) };
        loop {
            if let Some(number) = sender.wants().filter(|number| *number <= self.bodies.len() as u64) {
                let mut run = Run::new(number);
                let from = usize::try_from(number - 1).expect("small");
                self.bodies[from..].iter().take(10).for_each(|body| run.push(body));
                sender.handle(Input::Accepted(run), now);
                continue;
            }
            match sender.poll(now) {
                Output::Connect { .. } => wants.connect = true,
                Output::Send(packet) => {
                    if let ClientPacket::Message { number, body, .. } = &packet
                        && (body.len() > MAX_BODY || *body != self.bodies[usize::try_from(number - 1).expect("small")])
                    {
                        return Err(format!("message {number} is sent with another body"));
                    }
                    let mut datagram = Vec::new();
                    packet.encode(&mut datagram);
                    wants.sent.push(datagram);
                }
                Output::Checksum(number) => {
                    let own = checksum(&self.bodies[usize::try_from(number - 1).expect("small")]);
                    sender.handle(Input::Checksum(Some(own)), now);
                }
                Output::Refused { number, .. } => _ = self.dead.insert(number),
                Output::Final { through, .. } => {
                    let row = row.ok_or("something is final that never came to the store")?;
                    for number in self.settled + 1..=through {
                        check(number, &self.bodies, &self.dead, row)?;
                    }
                    self.settled = self.settled.max(through);
                    if chance.bits().is_multiple_of(2) {
                        self.settled_on_disk = self.settled;
                    }
                }
                Output::Stop(reason) => {
                    self.end = Some(Err(reason));
                    break;
                }
                Output::Done => {
                    self.end = Some(Ok(()));
                    break;
                }
                Output::Wait(wake) => {
                    wants.wake = wake;
                    break;
                }
                Output::Disconnect
                | Output::Opened { .. }
                | Output::Replies(_)
                | Output::Lost { .. }
                | Output::PutOff { .. } => {}
            }
        }
        Ok(wants)
    }
}

/// What the client takes as final is stored as the client has it, or was refused and is kept by the client.
fn check(number: u64, bodies: &[Vec<u8>], dead: &BTreeSet<u64>, row: &Row) -> Result<(), String> {
    let at = usize::try_from(number - 1).expect("small");
    match row.messages.get(at) {
        None => Err(format!("message {number} is final for the client, and the store has {}", row.acknowledged())),
        Some(None) if dead.contains(&number) => Ok(()),
        Some(None) => Err(format!("message {number} was refused, and the client was not told")),
        Some(Some(stored)) if *stored == bodies[at] => Ok(()),
        Some(Some(_)) => Err(format!("message {number} is final for the client, and the store has another")),
    }
}
