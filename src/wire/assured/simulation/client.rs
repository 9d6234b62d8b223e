//! `Client`: a simulated client: a spool, a process that drives a [`Sender`], and a user who has messages for it.
//!
//! Apart from the world: here is what whoever drives a sender has to do.

use std::collections::BTreeMap;

use super::Mutation;
use super::network::{Connection, Direction, Item, Pipe, Said};
use super::random::Random;
use super::server::Served;
use super::spool::Spool;
use super::world::{Event, SECOND, World};
use crate::wire::assured::sender::{Input, Output};
use crate::wire::assured::{Sender, SenderConfig, ServerFrame, SessionId, Start, StopReason};

/// A client, through all its lives.
pub(super) struct Client {
    pub(super) session: SessionId,
    /// Its messages are not on a disk: they live as long as it does.
    pub(super) in_memory: bool,
    pub(super) disk: Spool,
    pub(super) copy: Option<Spool>,
    pub(super) life: u64,
    pub(super) process: Option<Process>,
    pub(super) end: Option<End>,
    /// How many messages its user still has.
    pub(super) to_come: u64,
    /// What its user was told to be accepted: message n at n-1.
    pub(super) accepted: Vec<Vec<u8>>,
    pub(super) replies: BTreeMap<u64, Vec<u8>>,
    /// The last number that its user was told to be final.
    pub(super) told: u64,
    pub(super) wants_replies: bool,
    patience: Option<std::time::Duration>,
}

/// How a client has ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    Done,
    Stop(StopReason),
}

/// A client that runs.
pub(super) struct Process {
    sender: Sender,
    attempt: u64,
    server: usize,
    link: Option<usize>,
    /// When it will be woken.
    wake: u64,
    said_no_more: bool,
    sent: u64,
    /// The last that was refused.
    refused: u64,
    /// How many servers were left at once since a time, with nothing final but up to a number.
    left: (u64, u64, usize),
}

/// What becomes of a process that is driven.
#[derive(Eq, PartialEq)]
enum Fate {
    Waits,
    Gone,
}

impl Client {
    pub(super) fn new(at: usize, in_memory: bool, messages: u64, random: &mut Random) -> Self {
        let patience = (in_memory && random.once_in(4)).then(|| std::time::Duration::from_secs(30));
        Self {
            session: SessionId::of_bits(at as u128 + 1),
            in_memory,
            disk: Spool::default(),
            copy: None,
            life: 0,
            process: None,
            end: None,
            to_come: messages,
            accepted: Vec::new(),
            replies: BTreeMap::new(),
            told: 0,
            wants_replies: random.once_in(2),
            patience,
        }
    }

    /// Another client with a copy of its spool.
    pub(super) fn twin(&self) -> Self {
        let mut accepted = self.accepted.clone();
        accepted.truncate(self.disk.next() as usize - 1);
        Self {
            session: self.session.clone(),
            in_memory: false,
            disk: self.disk.clone(),
            copy: None,
            life: 0,
            process: None,
            end: None,
            to_come: 5,
            accepted,
            replies: self.replies.clone(),
            told: self.told,
            wants_replies: self.wants_replies,
            patience: None,
        }
    }

    /// Its spool is what it was some time ago, and its user has some more messages.
    pub(super) fn set_back(&mut self, copy: Spool) {
        // What its user has seen is seen.
        let letters = std::mem::take(&mut self.disk.dead_letters);
        self.disk = copy;
        self.disk.dead_letters.extend(letters);
        self.accepted.truncate(self.disk.next_synced() as usize - 1);
        self.told = self.told.min(self.disk.clone().start().first - 1);
        self.to_come += 5;
    }

    pub(super) fn is_at_work(&self) -> bool {
        self.end.is_none()
    }

    pub(super) fn describe(&self) -> String {
        let state = self.process.as_ref().map(|process| format!("{:?} {:?}", process.link, process.sender.tally()));
        format!("{} told {} of {}, {state:?}", self.session, self.told, self.accepted.len())
    }
}

impl World {
    pub(super) fn start_client(&mut self, at: usize) {
        let (seed, now) = (self.random.next(), self.instant());
        let server = self.random.index(self.plan.servers);
        let client = &mut self.clients[at];
        if client.end.is_some() || client.process.is_some() {
            return;
        }
        client.life += 1;
        let start = client.disk.start();
        let config = SenderConfig {
            session: client.session.clone(),
            level: None,
            replies: client.wants_replies,
            name: None,
            patience: client.patience,
            seed,
        };
        let sender = Sender::new(config, start, now);
        let (link, left) = (None, (0, 0, 0));
        client.process =
            Some(Process { sender, attempt: 0, server, link, wake: 0, said_no_more: false, sent: 0, refused: 0, left });
        self.note(|| format!("client {at} starts: {start:?}"));
        self.check_spool(at, start.next);
        self.accept(at, start.next);
        self.drive_client(at);
    }

    /// A client is killed, or loses its power; it is started again later. What lives in memory only is spared.
    pub(super) fn kill_client(&mut self, at: usize, power: bool) {
        let client = &mut self.clients[at];
        if client.end.is_some() || client.in_memory || client.life == 0 {
            return;
        }
        client.life += 1;
        if power {
            client.disk.lose_power(&mut self.random);
        }
        let link = client.process.take().and_then(|process| process.link);
        if let Some(connection) = link {
            self.leave(connection, power);
        }
        self.after(SECOND / 10, 5 * SECOND, Event::StartClient(at));
    }

    /// A client closes its connection, or vanishes from it.
    fn leave(&mut self, connection: usize, silently: bool) {
        self.connections[connection].left = true;
        match (silently, self.random.once_in(3)) {
            (true, _) => self.connections[connection].up.silent = true,
            (false, true) => self.reset(connection),
            (false, false) => self.send(connection, Direction::Up, Item::Fin),
        }
    }

    pub(super) fn connected(&mut self, at: usize, life: u64, attempt: u64, server: usize) {
        if !self.servers[server].is_up || self.servers[server].draining {
            return self.not_connected(at, life, attempt);
        }
        let now = self.instant();
        if self.clients[at].life != life {
            return;
        }
        let Some(process) = self.clients[at].process.as_mut().filter(|process| process.attempt == attempt) else {
            return;
        };
        process.link = Some(self.connections.len());
        let places = if self.mutation == Some(Mutation::Round) { usize::MAX } else { self.plan.servers };
        process.sender.handle(Input::Places(places), now);
        process.sender.handle(Input::Connected, now);
        let served = Some(Served::new(&self.plan, server, now));
        let (mut up, down) = <(Pipe, Pipe)>::default();
        if self.is_stormy() && self.random.once_in(10) {
            up.slow = self.random.within(0, 15 * SECOND);
        }
        let client_life = life;
        self.connections.push(Connection { client: at, client_life, server, up, down, left: false, served });
        self.drive_client(at);
    }

    pub(super) fn not_connected(&mut self, at: usize, life: u64, attempt: u64) {
        let now = self.instant();
        if self.clients[at].life != life {
            return;
        }
        if let Some(process) = self.clients[at].process.as_mut().filter(|process| process.attempt == attempt) {
            process.sender.handle(Input::NotConnected("nobody is there".to_owned()), now);
            self.drive_client(at);
        }
    }

    /// Does what there is to do for a client, until it waits.
    pub(super) fn drive_client(&mut self, at: usize) {
        let Some(mut process) = self.clients[at].process.take() else { return };
        loop {
            if self.turn(at, &mut process) == Fate::Gone {
                return;
            }
            let Some(connection) = process.link.filter(|_| process.sender.wants_input()) else { break };
            let Some(item) = self.read(connection, Direction::Down) else { break };
            let now = self.instant();
            match item {
                Item::Down(ServerFrame::Granted(mut grant)) => {
                    if self.mutation == Some(Mutation::C3) {
                        (grant.checksum, grant.last) = (None, None);
                    }
                    process.sender.handle(Input::Frame(ServerFrame::Granted(grant)), now);
                }
                Item::Down(frame) => process.sender.handle(Input::Frame(frame), now),
                Item::Fin | Item::Reset => {
                    process.link = None;
                    self.connections[connection].left = true;
                    process.sender.handle(Input::Disconnected("the end".to_owned()), now);
                }
                Item::Up(_) => {}
            }
        }
        self.clients[at].process = Some(process);
    }

    /// Asks a sender what is to be done until it waits.
    fn turn(&mut self, at: usize, process: &mut Process) -> Fate {
        for _ in 0..2000 {
            if self.is_stormy() && self.mutation != Some(Mutation::C5) && self.random.once_in(600) {
                let killable = !self.clients[at].in_memory;
                if killable {
                    let power = self.random.once_in(2);
                    self.note(|| format!("client {at} is killed in the midst of it"));
                    if let Some(connection) = process.link {
                        self.leave(connection, power);
                    }
                    self.kill_client(at, power);
                    return Fate::Gone;
                }
            }
            let room = process.link.is_none_or(|link| self.connections[link].up.has_room());
            let now = self.instant();
            let output = if room { process.sender.poll(now) } else { process.sender.poll_events(now) };
            match output {
                Output::Wait(due) => {
                    if self.feed(at, process) {
                        continue;
                    }
                    if let Some(link) = process.link.filter(|_| !room) {
                        self.connections[link].up.blocked = true;
                    }
                    self.wake_client(at, process, due.map(|due| self.micros(due)));
                    return Fate::Waits;
                }
                Output::Connect { elsewhere } => self.connect(at, process, elsewhere),
                Output::Send(frame) => {
                    let said = Said::of(frame);
                    self.say(at, process, said);
                }
                Output::Disconnect => {
                    if let Some(connection) = process.link.take() {
                        self.leave(connection, false);
                    }
                }
                Output::Checksum(number) => {
                    let own = self.clients[at].disk.record(number).map(|body| crate::wire::assured::checksum(body));
                    process.sender.handle(Input::Checksum(own), now);
                }
                Output::Opened { .. } | Output::PutOff { .. } => {}
                Output::Lost { reason, again } => {
                    self.note(|| format!("client {at}: {reason}, again in {again:?}"));
                    if reason.contains("protocol") {
                        self.complain(|| format!("client {at}: {reason}"));
                    }
                    self.check_round(at, process, again.is_zero());
                    if self.mutation == Some(Mutation::C5) {
                        self.forget(at, process);
                    }
                }
                Output::Refused { number, body, .. } => {
                    if number <= process.refused {
                        self.violation = Some(format!("client {at} is told again that {number} is refused"));
                    }
                    process.refused = number;
                    let body = body.map(<[u8]>::to_vec).or_else(|| self.clients[at].disk.record(number).cloned());
                    self.clients[at].disk.dead_letters.insert(number, body.unwrap_or_default());
                }
                Output::Replies(run) => {
                    let replies = run.messages().map(|(number, body)| (number, body.to_vec()));
                    self.clients[at].replies.extend(replies);
                }
                Output::Final { through, checksum } => {
                    self.note(|| format!("client {at}: final {through}"));
                    self.check_final(at, through);
                    self.clients[at].disk.settle(through, checksum, &mut self.random);
                }
                Output::Done => return self.end(at, process, End::Done),
                Output::Stop(reason) => return self.end(at, process, End::Stop(reason)),
            }
        }
        self.complain(|| format!("client {at} is busy without end"));
        Fate::Gone
    }

    /// Servers that are of no use are each left at once, but not again and again.
    fn check_round(&mut self, at: usize, process: &mut Process, at_once: bool) {
        let Client { told, .. } = self.clients[at];
        let (settled, since, left) = process.left;
        let goes_on = at_once && settled == told && self.now < since + 10 * SECOND;
        process.left = if goes_on { (settled, since, left + 1) } else { (told, self.now, usize::from(at_once)) };
        // One more is the first that has ended in order when all were tried.
        if process.left.2 > self.plan.servers + 1 {
            self.complain(|| format!("client {at} goes on to another server again and again without a pause"));
        }
    }

    fn end(&mut self, at: usize, process: &Process, end: End) -> Fate {
        self.note(|| format!("client {at} ends: {end:?}"));
        if process.link.is_some() {
            self.complain(|| format!("client {at} ends with a connection"));
        }
        self.check_end(at, &end, process.sender.tally());
        self.clients[at].end = Some(end);
        Fate::Gone
    }

    /// Gives the sender what it wants. Whether there was anything.
    fn feed(&mut self, at: usize, process: &mut Process) -> bool {
        let now = self.instant();
        let client = &self.clients[at];
        if let Some(number) = process.sender.wants() {
            let run = client.disk.run(number, self.random.within(1, 8));
            if !run.is_empty() {
                process.sender.handle(Input::Accepted(run), now);
                return true;
            }
            if client.to_come == 0 && number == client.disk.next() && !process.said_no_more {
                process.said_no_more = true;
                process.sender.handle(Input::NoMore, now);
                return true;
            }
        }
        false
    }

    fn wake_client(&mut self, at: usize, process: &mut Process, due: Option<u64>) {
        let Some(due) = due else { return };
        if due <= self.now {
            return self.complain(|| format!("client {at} waits for what is past"));
        }
        if process.wake <= self.now || process.wake > due {
            process.wake = due;
            self.at(due, Event::ClientWake { client: at, life: self.clients[at].life });
        }
    }

    fn connect(&mut self, at: usize, process: &mut Process, elsewhere: bool) {
        process.attempt += 1;
        process.server = (process.server + usize::from(elsewhere)) % self.plan.servers;
        let (life, attempt, server) = (self.clients[at].life, process.attempt, process.server);
        match self.refusing_until > self.now {
            true => self.after(5 * SECOND, 5 * SECOND, Event::NotConnected { client: at, life, attempt }),
            false => self.after(100, self.plan.delay + 100, Event::Connected { client: at, life, attempt, server }),
        }
    }

    fn say(&mut self, at: usize, process: &mut Process, said: Said) {
        if let Said::Message(number, ..) = &said {
            let number = *number;
            process.sent = process.sent.max(number);
            let (told, window) = (self.clients[at].told, u64::from(self.plan.window));
            if number > told + window && self.scenario == super::Scenario::Plain {
                self.complain(|| format!("message {number} is sent, {told} are final and the window is {window}"));
            }
            if self.mutation == Some(Mutation::C2) {
                self.clients[at].disk.settle(number, None, &mut self.random);
            }
        }
        match process.link {
            Some(connection) => self.send(connection, Direction::Up, Item::Up(said)),
            None => self.complain(|| format!("client {at} sends without a connection")),
        }
    }

    /// The client forgets what it has sent, which breaks rule C5.
    fn forget(&mut self, at: usize, process: &mut Process) {
        let client = &self.clients[at];
        let config = SenderConfig {
            session: client.session.clone(),
            level: None,
            replies: client.wants_replies,
            name: None,
            patience: None,
            seed: 1,
        };
        let start = Start { first: process.sent.max(client.told) + 1, next: client.disk.next(), checksum: None };
        process.sender = Sender::new(config, start, self.instant());
        process.said_no_more = false;
    }
}
