//! The network between the simulated client and server, what goes wrong, and what must hold in the end.
//!
//! Apart from both sides, which know nothing of each other but datagrams.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use super::super::Caller;
use super::super::{MAX_BODY, ServerPacket};
use super::client::Client;
use super::faults::Fault;
use super::server::Server;
use super::store::Store;
use crate::wire::assured::SessionId;
use crate::wire::assured::pauses::Pauses;
use crate::wire::assured::sender::Input;

pub(super) type Address = u32;

impl Caller for Address {
    type Host = Self;

    fn host(&self) -> Self {
        *self
    }
}

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    seed: u64,
    messages: u64,
    /// How many of a hundred datagrams are lost, and how many come twice.
    loss: u64,
    twice: u64,
    refuses: bool,
    crashes: bool,
    forgers: bool,
    forks: bool,
}

impl Plan {
    pub(super) fn network(seed: u64) -> Self {
        let (messages, loss) = (20 + seed % 40, seed % 4 * 10);
        Self {
            seed,
            messages,
            loss,
            twice: 10,
            refuses: seed.is_multiple_of(2),
            crashes: false,
            forgers: false,
            forks: false,
        }
    }

    pub(super) fn crashes(seed: u64) -> Self {
        Self { crashes: true, ..Self::network(seed) }
    }

    pub(super) fn forgers(seed: u64) -> Self {
        Self { forgers: true, ..Self::network(seed) }
    }

    /// Copies are told by the checksum of the last message: it must have one, and be different. So none here is refused, too large or empty.
    pub(super) fn forks(seed: u64) -> Self {
        Self { forks: true, refuses: false, twice: 30, ..Self::network(seed) }
    }
}

#[derive(Debug)]
pub(super) enum Event {
    ToServer(Address, Vec<u8>),
    ToClient(Address, Vec<u8>),
    Connected(usize),
    Wake,
    Store,
    Accept(usize),
    StartServer,
    StartClient(usize),
    Fault(Fault),
}

/// How long a run may take, in its own time.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

/// Where those send from who do not get what is sent there.
pub(super) const FORGED: Address = 90_000;

/// Where one sends from who takes what he can get.
pub(super) const HOG: Address = 80_000;

pub(super) struct World {
    plan: Plan,
    pub(super) chance: Pauses,
    began: Instant,
    pub(super) now: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: HashMap<u64, Event>,
    last: u64,
    pub(super) session: SessionId,
    pub(super) server: Server,
    pub(super) clients: Vec<Client>,
    next_address: Address,
    /// What clients have sent, for those who listen.
    pub(super) heard: Vec<Vec<u8>>,
    /// What was sent from and to forged addresses, in bytes.
    pub(super) forged: BTreeMap<Address, (usize, usize)>,
    pub(super) hog: SessionId,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let mut chance = Pauses::new(plan.seed);
        let session = SessionId::of_bits(u128::from(chance.bits()));
        let began = Instant::now();
        let server = Server::new(Store::new(plan.refuses));
        let clients = vec![Client::new(session.clone(), 1000)];
        let mut world = Self {
            plan,
            chance,
            began,
            now: began,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            last: 0,
            session,
            server,
            clients,
            next_address: 1001,
            heard: Vec::new(),
            forged: BTreeMap::new(),
            hog: SessionId::of_bits(9),
        };
        world.after(0, Event::StartServer);
        world.after(0, Event::StartClient(0));
        world.after(0, Event::Accept(0));
        world.plan_faults();
        world
    }

    fn plan_faults(&mut self) {
        let Plan { crashes, forgers, forks, .. } = self.plan;
        let kinds: [(bool, &[Fault]); 3] = [
            (crashes, &[Fault::Server, Fault::Client, Fault::Rebind, Fault::TakeOver]),
            (forgers, &[Fault::Forge, Fault::Replay, Fault::Forge, Fault::Hog]),
            (forks, &[Fault::Copy, Fault::SetBack, Fault::Server, Fault::Rebind]),
        ];
        for (_, faults) in kinds.into_iter().filter(|(is_on, _)| *is_on) {
            let number = if forks { 1 + self.below(4) } else { 3 + self.below(10) };
            for at in 0..number {
                let fault = match forks && at == 0 {
                    true => faults[self.pick(2)],
                    false => faults[self.pick(faults.len())],
                };
                let fault = if forks && at > 0 && matches!(fault, Fault::Copy | Fault::SetBack) {
                    Fault::Rebind
                } else {
                    fault
                };
                let at = self.below(if forks { 5000 } else { 12_000 });
                self.after(at, Event::Fault(fault));
            }
        }
    }

    pub(super) fn run(mut self) -> Result<(), String> {
        let mut at_once = 0;
        while let Some(Reverse((at, number))) = self.queue.pop() {
            at_once = if at > self.now { 0 } else { at_once + 1 };
            self.now = at;
            if at_once > 20_000 {
                return Err("time stands still".to_owned());
            }
            if at > self.began + LONGEST {
                return Err(self.not_drained());
            }
            let Some(event) = self.events.remove(&number) else { continue };
            self.happen(event)?;
            self.drive()?;
            if self.clients.iter().all(|client| client.end.is_some()) {
                break;
            }
        }
        self.check()
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::ToServer(from, datagram) => self.server.receive(from, &datagram, self.now),
            Event::ToClient(to, datagram) => {
                if let Some(client) = self.clients.iter_mut().find(|client| client.address == to) {
                    client.receive(&datagram, self.now);
                } else if to == HOG {
                    self.hog(&datagram);
                }
            }
            Event::Connected(which) => match self.chance.bits() % 8 {
                0 => self.tell(which, Input::NotConnected("no route".to_owned())),
                same => {
                    if same > 2 {
                        self.rebind(which);
                    }
                    self.tell(which, Input::Connected);
                }
            },
            Event::Wake => {}
            Event::Store => self.server.work(&mut self.chance, self.now)?,
            Event::Accept(which) => self.accept(which),
            Event::StartServer if !self.server.is_up() => self.server.start(&mut self.chance, self.now),
            Event::StartClient(which) if !self.clients[which].is_up() => {
                let Self { clients, chance, now, .. } = self;
                clients[which].start(chance, *now);
            }
            Event::StartServer | Event::StartClient(_) => {}
            Event::Fault(fault) => self.fail(fault)?,
        }
        Ok(())
    }

    /// Lets everybody do what is to be done.
    fn drive(&mut self) -> Result<(), String> {
        let wants = self.server.drive(self.now)?;
        for _ in 0..wants.jobs {
            let took = if self.chance.bits().is_multiple_of(20) { 2000 } else { 30 };
            let took = self.below(took);
            self.after(took, Event::Store);
        }
        for (to, datagram) in wants.sent {
            if to >= FORGED {
                self.forged.entry(to).or_default().1 += datagram.len();
            }
            self.carry(move |copy: &[u8]| Event::ToClient(to, copy.to_vec()), &datagram);
        }
        self.wake(wants.wake);
        for which in 0..self.clients.len() {
            let Self { clients, server, chance, now, session, .. } = self;
            let wants = clients[which].drive(server.store.rows.get(session), chance, *now)?;
            let from = clients[which].address;
            for datagram in wants.sent {
                // The system tells that nobody is there, sometimes.
                if !self.server.is_up() && self.chance.bits().is_multiple_of(4) {
                    self.tell(which, Input::Disconnected("connection refused".to_owned()));
                    self.after(0, Event::Wake);
                }
                self.heard.push(datagram.clone());
                self.carry(move |copy: &[u8]| Event::ToServer(from, copy.to_vec()), &datagram);
            }
            if wants.connect {
                let took = self.below(10);
                self.after(took, Event::Connected(which));
            }
            self.wake(wants.wake);
        }
        for (address, (from, to)) in &self.forged {
            if to > from {
                return Err(format!("{from} bytes that {address} has not sent were answered by {to}"));
            }
        }
        Ok(())
    }

    /// Carries a datagram as this network does.
    fn carry(&mut self, event: impl Fn(&[u8]) -> Event, datagram: &[u8]) {
        let copies = if self.below(100) < self.plan.twice { 2 } else { 1 };
        for _ in 0..copies {
            if self.below(100) >= self.plan.loss {
                let slow = self.below(if self.plan.forks { 8 } else { 40 });
                let most = if slow == 0 { 6000 } else { 60 };
                let delay = 1 + self.below(most);
                self.after(delay, event(datagram));
            }
        }
    }

    fn accept(&mut self, which: usize) {
        let number = self.clients[which].bodies.len() as u64 + 1;
        if number > self.plan.messages {
            return self.clients[which].finish(self.now);
        }
        let length = match self.below(50) {
            0 if !self.plan.forks => MAX_BODY + 1 + self.pick(100),
            1 => MAX_BODY,
            // What is too short to be answered with a cookie.
            2..10 if !self.plan.forks => 0,
            _ => 30 + self.pick(30),
        };
        let mut body = format!("{which} {number} {}", self.chance.bits()).into_bytes();
        body.resize(length, b'.');
        self.clients[which].accept(body);
        let pause = if self.below(3) == 0 { self.below(1000) } else { 0 };
        self.after(pause, Event::Accept(which));
    }

    pub(super) fn rebind(&mut self, which: usize) {
        // A router may well give the same address again.
        let back = self.below(3) == 0 && self.clients.len() == 1;
        let address = self.address();
        self.clients[which].address = if back { 1000 } else { address };
    }

    pub(super) fn address(&mut self) -> Address {
        self.next_address += 1;
        self.next_address
    }

    fn tell(&mut self, which: usize, input: Input<ServerPacket<'_>>) {
        self.clients[which].tell(input, self.now);
    }

    pub(super) fn after(&mut self, milliseconds: u64, event: Event) {
        self.at(self.now + Duration::from_millis(milliseconds), event);
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.last += 1;
        self.queue.push(Reverse((at, self.last)));
        self.events.insert(self.last, event);
    }

    fn wake(&mut self, wake: Option<Instant>) {
        let planned = self.queue.peek().map(|Reverse((at, _))| *at);
        // Whatever happens before asks for it again.
        if let Some(at) = wake.filter(|at| planned.is_none_or(|planned| *at < planned)) {
            self.at(at.max(self.now), Event::Wake);
        }
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.chance.bits() % end.max(1)
    }

    pub(super) fn pick(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).expect("below a usize")
    }

    /// What must hold once the clients have come to their end.
    fn check(&self) -> Result<(), String> {
        for client in &self.clients {
            match &client.end {
                Some(Ok(())) if client.is_final() == self.plan.messages => {}
                Some(Err(_)) if self.plan.forks => {}
                Some(Err(stop)) => return Err(format!("the client stopped: {stop:?}")),
                _ => return Err(self.not_drained()),
            }
        }
        let row = self.server.store.rows.get(&self.session).ok_or("nothing was stored")?;
        if !self.plan.forks && row.acknowledged() != self.plan.messages {
            return Err(format!("{} of {} messages are stored", row.acknowledged(), self.plan.messages));
        }
        // What the copies sent is theirs: each was checked against its own when it was final.
        let sent = |body: &Vec<u8>| self.clients.iter().any(|client| client.bodies.contains(body));
        if !self.plan.forks && !row.messages.iter().flatten().all(sent) {
            return Err("something is stored that the client has not sent".to_owned());
        }
        let others = self.server.store.rows.keys().filter(|session| **session != self.session && **session != self.hog);
        match others.count() {
            0 => Ok(()),
            number => Err(format!("{number} sessions were opened by those who cannot receive")),
        }
    }

    fn not_drained(&self) -> String {
        let finals: Vec<u64> = self.clients.iter().map(Client::is_final).collect();
        format!("not drained after {:?}: {finals:?} of {} are final", self.now - self.began, self.plan.messages)
    }
}
