//! The network between the simulated client and server, what goes wrong, and what must hold in the end.
//!
//! Apart from both sides, which know nothing of each other but datagrams.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use super::super::chance::Chance;
use super::super::{ClientPacket, Cookie, MAX_BODY, ServerPacket};
use super::client::Client;
use super::server::Server;
use super::store::Store;
use crate::wire::assured::sender::Input;
use crate::wire::assured::{Open, SessionId};

pub(super) type Address = u32;

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
        Self { seed, messages, loss, twice: 10, refuses: seed % 2 == 0, crashes: false, forgers: false, forks: false }
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
enum Event {
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

#[derive(Clone, Copy, Debug)]
enum Fault {
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

/// How long a run may take, in its own time.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

/// Where those send from who do not get what is sent there.
const FORGED: Address = 90_000;

/// Where one sends from who takes what he can get.
const HOG: Address = 80_000;

pub(super) struct World {
    plan: Plan,
    chance: Chance,
    began: Instant,
    now: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: HashMap<u64, Event>,
    last: u64,
    session: SessionId,
    server: Server,
    clients: Vec<Client>,
    next_address: Address,
    /// What clients have sent, for those who listen.
    heard: Vec<Vec<u8>>,
    /// What was sent from and to forged addresses, in bytes.
    forged: BTreeMap<Address, (usize, usize)>,
    hog: SessionId,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
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
            let took = if self.chance.bits() % 20 == 0 { 2000 } else { 30 };
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
                if !self.server.is_up() && self.chance.bits() % 4 == 0 {
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

    fn fail(&mut self, fault: Fault) -> Result<(), String> {
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
        let body = &evil[..if bits() % 2 == 0 { 4 } else { evil.len() }];
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
    fn hog(&mut self, datagram: &[u8]) {
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

    fn rebind(&mut self, which: usize) {
        // A router may well give the same address again.
        let back = self.below(3) == 0 && self.clients.len() == 1;
        let address = self.address();
        self.clients[which].address = if back { 1000 } else { address };
    }

    fn address(&mut self) -> Address {
        self.next_address += 1;
        self.next_address
    }

    fn tell(&mut self, which: usize, input: Input<ServerPacket<'_>>) {
        self.clients[which].tell(input, self.now);
    }

    fn after(&mut self, milliseconds: u64, event: Event) {
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

    fn below(&mut self, end: u64) -> u64 {
        self.chance.bits() % end.max(1)
    }

    fn pick(&mut self, end: usize) -> usize {
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
