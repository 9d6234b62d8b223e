//! `Server`: simulated servers: for each connection a [`Receiver`], and the store that they share.
//!
//! Apart from the world: here is what whoever drives a receiver has to do.

use std::sync::Arc;
use std::time::Instant;

use super::Mutation;
use super::network::{Direction, Item};
use super::plan::Plan;
use super::world::{Event, SECOND, World};
use crate::wire::assured::receiver::{Input, Output};
use crate::wire::assured::{Applied, Denied, Progress, Receiver, ReceiverConfig, Run, ServerFrame, SessionId};

/// A server, through all its lives.
#[derive(Default)]
pub(super) struct Server {
    pub(super) is_up: bool,
    pub(super) draining: bool,
    pub(super) life: u64,
    /// It never starts again.
    pub(super) is_gone: bool,
    /// The store answers it nothing, in all its lives.
    pub(super) hangs: bool,
    /// Until then it does nothing.
    pub(super) frozen_until: u64,
}

/// What a server does for a connection.
pub(super) struct Served {
    receiver: Receiver,
    session: Option<SessionId>,
    owner: u64,
    /// Since when it waits for room.
    stalled: Option<u64>,
    wake: u64,
}

/// What the store is asked for.
#[derive(Debug)]
pub(super) struct Operation {
    connection: usize,
    server: usize,
    life: u64,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Open(SessionId, u64),
    Append(SessionId, u64, Run),
    Note(SessionId, u64),
}

/// What the store answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Opened(Progress, u64),
    Applied(Applied),
    TakenOver,
    /// Said already.
    None,
}

impl Served {
    /// How long a client may leave what it is sent unread.
    const STALLED: u64 = 60 * SECOND;

    pub(super) fn new(plan: &Plan, server: usize, now: Instant) -> Self {
        let config = ReceiverConfig {
            server: format!("server {server}"),
            window: plan.window,
            window_bytes: plan.window_bytes,
            max_body: plan.max_body,
            ..ReceiverConfig::default()
        };
        let receiver = Receiver::new(Arc::new(config), now);
        Self { receiver, session: None, owner: 0, stalled: None, wake: 0 }
    }
}

impl World {
    pub(super) fn connections_of(&self, server: usize) -> Vec<usize> {
        let is_served = |at: &usize| self.connections[*at].server == server && self.connections[*at].served.is_some();
        (0..self.connections.len()).filter(is_served).collect()
    }

    pub(super) fn start_server(&mut self, at: usize) {
        if self.servers[at].is_up || self.servers[at].is_gone {
            return;
        }
        if self.servers.iter().all(|server| !server.is_up) {
            self.store.recover(&mut self.random);
        }
        let life = self.servers[at].life + 1;
        self.servers[at] = Server { is_up: true, life, hangs: self.servers[at].hangs, ..Server::default() };
    }

    /// A server is killed: its connections are closed for it.
    pub(super) fn stop_server(&mut self, at: usize) {
        if !self.servers[at].is_up {
            return;
        }
        for connection in self.connections_of(at) {
            self.hang_up(connection);
        }
        self.servers[at].is_up = false;
        self.servers[at].life += 1;
        if self.busy.as_ref().is_some_and(|(operation, _)| operation.server == at) {
            // What it has written stays, synced or not.
            self.busy = None;
            self.busy_number += 1;
            self.pump();
        }
    }

    pub(super) fn drain_server(&mut self, at: usize) {
        if !self.servers[at].is_up || self.servers[at].draining {
            return;
        }
        self.servers[at].draining = true;
        let now = self.instant();
        for connection in self.connections_of(at) {
            if let Some(served) = &mut self.connections[connection].served {
                served.receiver.handle(Input::Drain, now);
                self.drive_server(connection);
            }
        }
        let life = self.servers[at].life;
        self.after(SECOND / 10, 30 * SECOND, Event::DrainEnds { server: at, life });
    }

    /// The server's end of a connection is closed.
    fn hang_up(&mut self, connection: usize) {
        self.connections[connection].served = None;
        match self.connections[connection].up.inbox.is_empty() {
            true => self.send(connection, Direction::Down, Item::Fin),
            // Whoever closes with something unread resets.
            false => self.reset(connection),
        }
    }

    pub(super) fn taken_over(&mut self, connection: usize) {
        let now = self.instant();
        if let Some(served) = &mut self.connections[connection].served {
            served.receiver.handle(Input::TakenOver, now);
            self.drive_server(connection);
        }
    }

    pub(super) fn answered(&mut self, connection: usize, life: u64, answer: Answer) {
        let server = self.connections[connection].server;
        if self.servers[server].life != life {
            return;
        }
        if self.servers[server].frozen_until > self.now {
            let at = self.servers[server].frozen_until;
            return self.at(at, Event::Answer { connection, life, answer });
        }
        let now = self.instant();
        let Some(served) = &mut self.connections[connection].served else { return };
        match answer {
            Answer::Opened(progress, owner) => {
                served.owner = owner;
                served.receiver.handle(Input::Opened(Ok::<_, Denied>(progress)), now);
            }
            Answer::Applied(applied) => served.receiver.handle(Input::Applied(applied), now),
            Answer::TakenOver => served.receiver.handle(Input::TakenOver, now),
            Answer::None => {}
        }
        self.drive_server(connection);
    }

    /// Does what there is to do for a connection, until it waits.
    pub(super) fn drive_server(&mut self, connection: usize) {
        let server = self.connections[connection].server;
        if self.servers[server].frozen_until > self.now {
            // Connections go on in any order then.
            let at = self.servers[server].frozen_until + self.random.within(0, 50_000);
            return self.at(at, Event::ServerWake(connection));
        }
        let Some(mut served) = self.connections[connection].served.take() else {
            // It is closed: what still comes is discarded.
            while self.read(connection, Direction::Up).is_some() {}
            return;
        };
        loop {
            let goes_on = self.serve(connection, &mut served);
            if !goes_on {
                return;
            }
            if !served.receiver.wants_input() {
                break;
            }
            let now = self.instant();
            match self.read(connection, Direction::Up) {
                Some(Item::Up(said)) => {
                    served.receiver.handle(Input::Frame(said.frame(self.plan.max_body)), now);
                    let (held, most) = (served.receiver.bytes_in_hand(), self.plan.window_bytes + self.plan.max_body);
                    if held > most {
                        self.complain(|| format!("a receiver holds {held} bytes"));
                    }
                }
                Some(_) => return self.client_is_gone(connection),
                None => break,
            }
        }
        self.connections[connection].served = Some(served);
    }

    /// What the store was not asked for yet it may never be asked for.
    fn client_is_gone(&mut self, connection: usize) {
        if self.random.once_in(2) {
            self.operations.retain(|operation| operation.connection != connection);
        }
        self.connections[connection].down.dead = true;
    }

    /// Asks a receiver what is to be done until it waits; false if that was the last.
    fn serve(&mut self, connection: usize, served: &mut Served) -> bool {
        let (server, now) = (self.connections[connection].server, self.instant());
        let life = self.servers[server].life;
        for _ in 0..5000 {
            if !self.connections[connection].down.has_room() {
                return self.stall(connection, served);
            }
            served.stalled = None;
            if self.is_stormy() && self.random.once_in(1500) {
                self.note(|| format!("server {server} is killed in the midst of it"));
                self.stop_server(server);
                self.after(SECOND / 10, 5 * SECOND, Event::StartServer(server));
                self.hang_up(connection);
                return false;
            }
            let asked = match served.receiver.poll(now) {
                Output::Wait(due) => {
                    self.wake_server(connection, served, due.map(|due| self.micros(due)));
                    return true;
                }
                Output::Close => {
                    self.send(connection, Direction::Down, Item::Fin);
                    return false;
                }
                Output::Send(frame) => {
                    self.send(connection, Direction::Down, Item::Down(frame));
                    continue;
                }
                Output::Replies(run) => {
                    for (number, body) in run.messages() {
                        let frame = ServerFrame::Reply { number, body: body.to_vec().into() };
                        self.send(connection, Direction::Down, Item::Down(frame));
                    }
                    continue;
                }
                Output::Open(open) => {
                    served.session = Some(open.session.clone());
                    Asked::Open(open.session, open.first)
                }
                Output::Apply(run) => {
                    Asked::Append(served.session.clone().expect("an open session"), served.owner, run)
                }
                Output::Note(number) => match served.session.clone() {
                    Some(session) => Asked::Note(session, number),
                    None => continue,
                },
            };
            self.operations.push_back(Operation { connection, server, life, asked });
            self.pump();
        }
        self.complain(|| format!("connection {connection} keeps its server busy without end"));
        false
    }

    /// A client that reads nothing is dropped after a while.
    fn stall(&mut self, connection: usize, served: &mut Served) -> bool {
        let since = *served.stalled.get_or_insert(self.now);
        self.connections[connection].down.blocked = true;
        if since + Served::STALLED <= self.now {
            self.reset(connection);
            return false;
        }
        self.at(since + Served::STALLED, Event::ServerWake(connection));
        true
    }

    fn wake_server(&mut self, connection: usize, served: &mut Served, due: Option<u64>) {
        let Some(due) = due else { return };
        if due <= self.now {
            return self.complain(|| format!("connection {connection} waits for what is past"));
        }
        if served.wake <= self.now || served.wake > due {
            served.wake = due;
            self.at(due, Event::ServerWake(connection));
        }
    }

    /// Lets the store do what it is asked for, one thing after another.
    pub(super) fn pump(&mut self) {
        while self.busy.is_none() {
            let servers = &self.servers;
            let is_asked = |server: &Server, life| server.life == life && !server.hangs;
            self.operations.retain(|operation| is_asked(&servers[operation.server], operation.life));
            let is_ready = |operation: &Operation| servers[operation.server].frozen_until <= self.now;
            let Some(at) = self.operations.iter().position(is_ready) else {
                if let Some(operation) = self.operations.front() {
                    self.at(servers[operation.server].frozen_until, Event::Stored(u64::MAX));
                }
                return;
            };
            if let Some(operation) = self.operations.remove(at) {
                self.operate(operation);
            }
        }
    }

    fn operate(&mut self, operation: Operation) {
        let (connection, life) = (operation.connection, operation.life);
        let (transactions, answer) = match &operation.asked {
            Asked::Note(session, number) => return self.store.note(session, *number),
            Asked::Open(session, first) => {
                let (transactions, owner) = self.store.open(session);
                let progress = self.store.progress(session, *first);
                self.tell_others(connection, session.clone());
                (transactions, Answer::Opened(progress, owner))
            }
            Asked::Append(session, owner, run) => {
                let fails = self.is_stormy() && self.random.once_in(12);
                let put_off = fails.then(|| self.random.within(run.first, run.last()));
                let (transactions, applied) = self.store.append(session, *owner, run, put_off);
                (transactions, applied.map_or(Answer::TakenOver, Answer::Applied))
            }
        };
        if transactions.is_empty() {
            return self.answer(connection, life, answer);
        }
        self.store.write(transactions);
        let answer = match self.mutation {
            Some(Mutation::S3) => {
                self.answer(connection, life, answer);
                Answer::None
            }
            _ => answer,
        };
        self.busy = Some((operation, answer));
        self.busy_number += 1;
        let number = self.busy_number;
        match self.slow_disk_until > self.now {
            true => self.after(SECOND, 90 * SECOND, Event::Stored(number)),
            false => self.after(100, 20_000, Event::Stored(number)),
        }
    }

    /// Answers come in the order of what was asked.
    fn answer(&mut self, connection: usize, life: u64, answer: Answer) {
        self.last_answer = self.last_answer.max(self.now + self.random.within(1, 500));
        self.at(self.last_answer, Event::Answer { connection, life, answer });
    }

    /// Those of the same process hear at once that a session has another owner.
    fn tell_others(&mut self, connection: usize, session: SessionId) {
        if self.mutation == Some(Mutation::S1) {
            return;
        }
        for other in self.connections_of(self.connections[connection].server) {
            let theirs = self.connections[other].served.as_ref().and_then(|served| served.session.as_ref());
            if other != connection && theirs == Some(&session) {
                self.after(1, 5000, Event::TakenOver(other));
            }
        }
    }

    /// The store has synced.
    pub(super) fn stored(&mut self, number: u64) {
        let done = if number == self.busy_number { self.busy.take() } else { None };
        if let Some((operation, answer)) = done {
            self.store.synced();
            self.answer(operation.connection, operation.life, answer);
        }
        self.pump();
    }
}
