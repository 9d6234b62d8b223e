//! `Fault`: what befalls a simulated world.
//!
//! Apart from the plan: here is what each of them does.

use super::Scenario;
use super::network::{Direction, Item};
use super::world::{Event, SECOND, World};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// A connection is reset.
    Cut,
    /// Whatever a connection carries to one side vanishes from now on.
    HalfOpen(Direction),
    HalfOpenBoth,
    /// What a client has sent arrives long after the client has lost the connection.
    Zombie(u64),
    KillServer(usize),
    /// The machine of the servers and their store loses its power.
    PowerServers,
    DrainServer(usize),
    KillClient(usize),
    PowerClient(usize),
    DiskFull(u64),
    DiskEmptied,
    SlowDisk(u64),
    /// No connection can be made.
    Refuse(u64),
    /// A server does nothing for a while, and then goes on as if nothing had been.
    Freeze(usize, u64),
    /// A server is killed, and never comes again.
    Gone(usize),
    /// The store answers a server nothing any more, which goes on to answer its clients.
    Hang(usize),
    /// What is brought back later is copied now.
    Copy,
    /// The spool of a client is copied, and another client begins to work with the copy.
    Clone,
    SpoolBack,
    StoreBack,
    StoreGone,
}

impl World {
    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Cut => {
                if let Some(connection) = self.any_connection() {
                    self.reset(connection);
                }
            }
            Fault::HalfOpen(direction) => {
                if let Some(connection) = self.any_connection() {
                    self.connections[connection].pipe(direction).silent = true;
                }
            }
            Fault::HalfOpenBoth => {
                if let Some(connection) = self.any_connection() {
                    self.silence(connection);
                }
            }
            Fault::Zombie(long) => {
                if let Some(connection) = self.any_connection() {
                    self.connections[connection].up.slow = long;
                    let item = Item::Reset;
                    let direction = Direction::Down;
                    self.after(0, 2 * SECOND, Event::Arrive { connection, direction, item });
                }
            }
            Fault::KillServer(server) => {
                self.stop_server(server);
                self.after(SECOND / 10, 5 * SECOND, Event::StartServer(server));
            }
            Fault::PowerServers => self.power_servers(None),
            Fault::DrainServer(server) => self.drain_server(server),
            Fault::KillClient(client) => self.kill_client(client, false),
            Fault::PowerClient(client) => self.kill_client(client, true),
            Fault::DiskFull(long) => {
                self.store.full = true;
                self.at(self.now + long, Event::Fault(Fault::DiskEmptied));
            }
            Fault::DiskEmptied => self.store.full = false,
            Fault::SlowDisk(long) => self.slow_disk_until = self.now + long,
            Fault::Refuse(long) => self.refusing_until = self.now + long,
            Fault::Freeze(server, long) => self.servers[server].frozen_until = self.now + long,
            Fault::Gone(server) => {
                self.stop_server(server);
                self.servers[server].is_gone = true;
            }
            Fault::Hang(server) => {
                self.servers[server].hangs = true;
                self.pump();
            }
            Fault::Copy => {
                self.kept_length = self.store.length();
                self.clients[0].copy = Some(self.clients[0].disk.clone());
            }
            Fault::Clone => self.clone_client(),
            Fault::SpoolBack => self.set_spool_back(),
            Fault::StoreBack => self.power_servers(Some(self.kept_length)),
            Fault::StoreGone => self.power_servers(Some(0)),
        }
    }

    /// All servers lose their power, and their store what it had not synced, or all that came after some time.
    fn power_servers(&mut self, back_to: Option<usize>) {
        for server in 0..self.servers.len() {
            // What is still on its way from connections that are closed vanishes, too.
            for connection in 0..self.connections.len() {
                if self.connections[connection].server == server {
                    self.silence(connection);
                }
            }
            self.stop_server(server);
            self.after(SECOND / 10, 5 * SECOND, Event::StartServer(server));
        }
        match back_to {
            Some(length) => self.store.go_back(length),
            None => {
                self.store.lose_power(&mut self.random);
                self.check_after_power_loss();
            }
        }
    }

    fn silence(&mut self, connection: usize) {
        self.connections[connection].up.silent = true;
        self.connections[connection].down.silent = true;
    }

    fn any_connection(&mut self) -> Option<usize> {
        let live = |connection: &super::network::Connection| !connection.left && connection.served.is_some();
        let live: Vec<usize> = (0..self.connections.len()).filter(|at| live(&self.connections[*at])).collect();
        (!live.is_empty()).then(|| live[self.random.index(live.len())])
    }

    fn clone_client(&mut self) {
        let first = &self.clients[0];
        if !first.is_at_work() || first.in_memory {
            return;
        }
        let twin = first.twin();
        self.clients.push(twin);
        let at = self.clients.len() - 1;
        self.after(0, SECOND, Event::StartClient(at));
        self.after(SECOND, 2 * SECOND, Event::Produce(at));
    }

    fn set_spool_back(&mut self) {
        let Some(copy) = self.clients[0].copy.take() else { return };
        if !self.clients[0].is_at_work() || self.scenario != Scenario::SpoolBack {
            return;
        }
        self.kill_client(0, true);
        self.clients[0].set_back(copy);
        self.after(SECOND, 2 * SECOND, Event::Produce(0));
    }
}
