//! `Plan`: what a simulated world is like, and what befalls it.
//!
//! Apart, for it is all decided before the first thing happens.

use super::client::Client;
use super::faults::Fault;
use super::network::Direction;
use super::random::Random;
use super::server::Server;
use super::world::{Event, SECOND, World};
use super::{Mutation, Scenario};

/// What a world is like.
pub(super) struct Plan {
    pub(super) clients: usize,
    pub(super) servers: usize,
    pub(super) owners_on_disk: bool,
    pub(super) window: u32,
    pub(super) window_bytes: u64,
    pub(super) max_body: u64,
    /// The longest that a frame needs, in microseconds.
    pub(super) delay: u64,
    /// From then on nothing goes wrong any more.
    pub(super) faults_until: u64,
    /// How long clients may take after that.
    pub(super) calm: u64,
    /// How many messages a client has.
    pub(super) messages: u64,
    /// A server that one day is gone for good, while another is there.
    pub(super) lost_server: Option<usize>,
    /// Whether some messages are larger than the server takes.
    pub(super) too_large: bool,
}

impl Plan {
    pub(super) fn new(random: &mut Random, scenario: Scenario, mutation: Option<Mutation>) -> Self {
        let servers = if random.once_in(3) { 2 } else { 1 };
        Self {
            clients: if scenario == Scenario::Plain { random.within(1, 3) as usize } else { 1 },
            servers,
            owners_on_disk: servers > 1 || (random.once_in(2) && mutation != Some(Mutation::S4)),
            window: [1, 2, 4, 16, 64][random.index(5)],
            window_bytes: [1, 60, 300, 4000][random.index(4)],
            max_body: 200,
            delay: [200, 5_000, 200_000][random.index(3)],
            faults_until: random.within(5, 150) * SECOND,
            // A pause of the back-off, a time-out that finds a silent connection, another with another server, and what is to be sent.
            calm: 300 * SECOND,
            messages: random.within(3, 40),
            lost_server: (servers > 1 && random.once_in(3)).then_some(0),
            too_large: scenario == Scenario::Plain,
        }
    }
}

impl World {
    /// Everybody, and what befalls them.
    pub(super) fn populate(&mut self) {
        self.servers = (0..self.plan.servers).map(|_| Server::default()).collect();
        (0..self.plan.servers).for_each(|server| self.at(0, Event::StartServer(server)));
        for at in 0..self.plan.clients {
            let in_memory = match self.mutation {
                Some(Mutation::C5) => true,
                _ => self.scenario == Scenario::Plain && self.random.once_in(4),
            };
            let client = Client::new(at, in_memory, self.plan.messages, &mut self.random);
            self.clients.push(client);
            self.after(0, SECOND, Event::StartClient(at));
            self.after(SECOND, 2 * SECOND, Event::Produce(at));
        }
        if let Some(server) = self.plan.lost_server {
            let fault = if self.random.once_in(2) { Fault::Gone(server) } else { Fault::Hang(server) };
            self.after(SECOND, self.plan.faults_until, Event::Fault(fault));
        }
        let faults = self.random.within(0, 12);
        for _ in 0..faults {
            let fault = self.any_fault();
            let at = self.random.within(0, self.plan.faults_until);
            self.at(at, Event::Fault(fault));
        }
        let (first, last) = (self.plan.faults_until / 3, self.plan.faults_until * 2 / 3);
        let early = self.random.within(0, first);
        let late = self.random.within(first, last);
        let special = match (self.scenario, self.mutation) {
            (Scenario::Plain, Some(Mutation::C4)) | (Scenario::Cloned, _) => vec![(late, Fault::Clone)],
            (Scenario::Plain, _) => vec![],
            (Scenario::SpoolBack, _) => vec![(early, Fault::Copy), (late, Fault::SpoolBack)],
            (Scenario::StoreBack, _) => vec![(early, Fault::Copy), (late, Fault::StoreBack)],
            (Scenario::StoreGone, _) => vec![(late, Fault::StoreGone)],
        };
        special.into_iter().for_each(|(at, fault)| self.at(at, Event::Fault(fault)));
    }

    fn any_fault(&mut self) -> Fault {
        let client = self.random.index(self.plan.clients);
        let server = self.random.index(self.plan.servers);
        let long = self.random.within(1, 30) * SECOND;
        match self.random.within(0, 15) {
            0 => Fault::Cut,
            1 => Fault::HalfOpen(Direction::Up),
            2 => Fault::HalfOpen(Direction::Down),
            3 => Fault::HalfOpenBoth,
            4 => Fault::Zombie(long),
            5 | 6 => Fault::KillServer(server),
            7 | 8 => Fault::PowerServers,
            9 => Fault::DrainServer(server),
            10 => Fault::KillClient(client),
            11 => Fault::PowerClient(client),
            12 => Fault::DiskFull(long),
            13 => Fault::SlowDisk(long),
            14 => Fault::Refuse(long),
            _ => Fault::Freeze(server, long),
        }
    }
}
