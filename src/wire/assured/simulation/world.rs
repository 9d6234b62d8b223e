//! `World`: clients, servers, their store and the network between them, in a time that passes only by what happens.
//!
//! Apart from those who live in it: here are time, chance and the order of things. There is no clock that could jump: all of this knows one that only goes on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::client::Client;
use super::faults::Fault;
use super::network::{Connection, Direction, Item};
use super::plan::Plan;
use super::random::Random;
use super::server::{Answer, Operation, Server};
use super::store::Store;
use super::{Mutation, Scenario};

/// What happens at some time.
#[derive(Debug)]
pub(super) enum Event {
    /// A user has a message for a client.
    Produce(usize),
    /// A client's disk has all before this number.
    Spooled {
        client: usize,
        life: u64,
        next: u64,
    },
    /// It is the time that a client waits for.
    ClientWake {
        client: usize,
        life: u64,
    },
    Connected {
        client: usize,
        life: u64,
        attempt: u64,
        server: usize,
    },
    NotConnected {
        client: usize,
        life: u64,
        attempt: u64,
    },
    Arrive {
        connection: usize,
        direction: Direction,
        item: Item,
    },
    /// There may be something to do for a server.
    ServerWake(usize),
    TakenOver(usize),
    Answer {
        connection: usize,
        life: u64,
        answer: Answer,
    },
    /// The store has synced.
    Stored(u64),
    Fault(Fault),
    StartServer(usize),
    StartClient(usize),
    DrainEnds {
        server: usize,
        life: u64,
    },
}

/// All of it.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) plan: Plan,
    pub(super) scenario: Scenario,
    pub(super) mutation: Option<Mutation>,
    pub(super) now: u64,
    base: Instant,
    events: BTreeMap<(u64, u64), Event>,
    planned: u64,
    happened: u64,
    pub(super) clients: Vec<Client>,
    pub(super) servers: Vec<Server>,
    pub(super) connections: Vec<Connection>,
    pub(super) store: Store,
    pub(super) operations: std::collections::VecDeque<Operation>,
    /// What the store does now, and its number.
    pub(super) busy: Option<(Operation, Answer)>,
    pub(super) busy_number: u64,
    pub(super) last_answer: u64,
    pub(super) slow_disk_until: u64,
    pub(super) refusing_until: u64,
    pub(super) bodies: u64,
    pub(super) kept_length: usize,
    pub(super) log: Vec<String>,
    logs: bool,
    /// The first thing that must not happen and has.
    pub(super) violation: Option<String>,
}

/// A second of this time.
pub(super) const SECOND: u64 = 1_000_000;

impl World {
    pub(super) fn new(seed: u64, scenario: Scenario, mutation: Option<Mutation>, logs: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random, scenario, mutation);
        let mut world = Self {
            scenario,
            mutation,
            now: 0,
            base: Instant::now(),
            events: BTreeMap::new(),
            planned: 0,
            happened: 0,
            clients: Vec::new(),
            servers: Vec::new(),
            connections: Vec::new(),
            store: Store::new(plan.owners_on_disk, mutation),
            operations: Default::default(),
            busy: None,
            busy_number: 0,
            last_answer: 0,
            slow_disk_until: 0,
            refusing_until: 0,
            bodies: 0,
            kept_length: 0,
            log: Vec::new(),
            logs,
            violation: None,
            random,
            plan,
        };
        world.populate();
        world
    }

    /// Lets things happen until all clients have ended, and returns what was wrong.
    pub(super) fn run(&mut self) -> Option<String> {
        let last = self.plan.faults_until + self.plan.calm;
        while self.violation.is_none() && self.clients.iter().any(Client::is_at_work) {
            let Some(((at, number), event)) = self.events.pop_first() else {
                self.violation = Some("nothing will ever happen again, and clients have not ended".to_owned());
                break;
            };
            if at > last {
                let open = self.clients.iter().filter(|client| client.is_at_work()).map(Client::describe);
                self.violation = Some(format!("not drained: {}", open.collect::<Vec<_>>().join("; ")));
                break;
            }
            self.happened += 1;
            if self.happened > 1_000_000 {
                self.violation = Some("too much happens".to_owned());
                break;
            }
            self.now = at;
            self.note(|| format!("#{number} {event:?}"));
            self.happen(event);
            if let Some(complaint) = self.store.complaint.take() {
                self.complain(|| complaint);
            }
        }
        self.check_at_the_end();
        self.violation.clone()
    }

    pub(super) fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now)
    }

    pub(super) fn micros(&self, at: Instant) -> u64 {
        // Rounded up: what is due is not due a moment before.
        at.saturating_duration_since(self.base).as_nanos().div_ceil(1000) as u64
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        // What is planned later for the same time happens later.
        self.planned += 1;
        self.events.insert((time.max(self.now), self.planned), event);
    }

    pub(super) fn after(&mut self, least: u64, most: u64, event: Event) {
        let time = self.now + self.random.within(least, most);
        self.at(time, event);
    }

    /// Whether there are still faults.
    pub(super) fn is_stormy(&self) -> bool {
        self.now < self.plan.faults_until
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.logs {
            let seconds = self.now as f64 / SECOND as f64;
            self.log.push(format!("{seconds:11.6} {}", line()));
        }
    }

    pub(super) fn complain(&mut self, complaint: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let complaint = complaint();
            self.note(|| format!("VIOLATION {complaint}"));
            self.violation = Some(complaint);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Produce(client) => self.produce(client),
            Event::Spooled { client, life, next } => self.spooled(client, life, next),
            Event::ClientWake { client, life } => {
                if self.clients[client].life == life {
                    self.drive_client(client);
                }
            }
            Event::Connected { client, life, attempt, server } => self.connected(client, life, attempt, server),
            Event::NotConnected { client, life, attempt } => self.not_connected(client, life, attempt),
            Event::Arrive { connection, direction, item } => self.arrive(connection, direction, item),
            Event::ServerWake(connection) => self.drive_server(connection),
            Event::TakenOver(connection) => self.taken_over(connection),
            Event::Answer { connection, life, answer } => self.answered(connection, life, answer),
            Event::Stored(number) => self.stored(number),
            Event::Fault(fault) => self.strike(fault),
            Event::StartServer(server) => self.start_server(server),
            Event::StartClient(client) => self.start_client(client),
            Event::DrainEnds { server, life } => {
                if self.servers[server].life == life && self.servers[server].is_up {
                    self.stop_server(server);
                    self.after(SECOND / 10, 3 * SECOND, Event::StartServer(server));
                }
            }
        }
    }

    /// Sends something over a connection.
    pub(super) fn send(&mut self, connection: usize, direction: Direction, item: Item) {
        let delay = self.random.within(50, self.plan.delay);
        let (now, is_stormy) = (self.now, self.is_stormy());
        let pipe = self.connections[connection].pipe(direction);
        pipe.slow = if is_stormy { pipe.slow } else { 0 };
        if let Some(at) = pipe.send(now, delay) {
            self.at(at, Event::Arrive { connection, direction, item });
        }
    }

    fn arrive(&mut self, connection: usize, direction: Direction, item: Item) {
        let pipe = self.connections[connection].pipe(direction);
        match item {
            Item::Reset => {
                pipe.inbox.clear();
                pipe.dead = true;
                pipe.inbox.push_back(Item::Reset);
            }
            _ if pipe.dead || pipe.silent => return,
            item => pipe.inbox.push_back(item),
        }
        match direction {
            Direction::Up => self.drive_server(connection),
            Direction::Down => {
                let Connection { client, client_life, left, .. } = self.connections[connection];
                if !left && self.clients[client].life == client_life {
                    self.drive_client(client);
                }
            }
        }
    }

    /// Reads what has arrived, which makes room for what waits to be sent.
    pub(super) fn read(&mut self, connection: usize, direction: Direction) -> Option<Item> {
        let pipe = self.connections[connection].pipe(direction);
        let item = pipe.read();
        if item.is_some() && pipe.blocked && pipe.has_room() {
            pipe.blocked = false;
            let Connection { client, client_life, .. } = self.connections[connection];
            let wake = match direction {
                Direction::Up => Event::ClientWake { client, life: client_life },
                Direction::Down => Event::ServerWake(connection),
            };
            self.after(1, 200, wake);
        }
        item
    }

    /// A connection is reset: what was not read is gone, and both ends hear of it, if at all, some time later.
    pub(super) fn reset(&mut self, connection: usize) {
        for direction in [Direction::Up, Direction::Down] {
            let pipe = self.connections[connection].pipe(direction);
            if !pipe.dead {
                pipe.dead = true;
                pipe.inbox.clear();
                self.after(50, SECOND / 10, Event::Arrive { connection, direction, item: Item::Reset });
            }
        }
    }
}
