//! What the users of simulated clients do: they have messages, and believe what they are told to be accepted.
//!
//! Apart from the clients: what is accepted is counted here, not by those who are to keep it.

use super::Mutation;
use super::world::{Event, SECOND, World};

impl World {
    /// The user has a message.
    pub(super) fn produce(&mut self, at: usize) {
        if self.clients[at].end.is_some() || self.clients[at].to_come == 0 {
            return;
        }
        if self.clients[at].process.is_none() {
            return self.after(SECOND / 10, SECOND, Event::Produce(at));
        }
        let body = self.body();
        let now = self.now;
        let client = &mut self.clients[at];
        client.to_come -= 1;
        client.disk.careless = self.mutation == Some(Mutation::C1);
        client.disk.append(body);
        let (life, next) = (client.life, client.disk.next());
        match client.in_memory {
            true => self.spooled(at, life, next),
            false => self.after(50, 20_000, Event::Spooled { client: at, life, next }),
        }
        if self.mutation == Some(Mutation::C1) {
            self.accept(at, next);
            self.drive_client(at);
        }
        // Some come at once, and the last well before the faults end.
        let pause = self.plan.faults_until.saturating_sub(now) / (self.clients[at].to_come + 1);
        let pause = if self.random.once_in(2) { 100 } else { pause };
        self.after(0, pause, Event::Produce(at));
    }

    /// What its user has; what it says decides what becomes of it.
    fn body(&mut self) -> Vec<u8> {
        self.bodies += 1;
        let kind = ["bad", "ask", "put", "put", "put", ""][self.random.index(6)];
        let length = match self.random.within(0, 20) {
            0 if self.plan.too_large => 201,
            1 => 150,
            _ => self.random.within(0, 20) as usize,
        };
        let mut body = format!("{kind} {}", self.bodies).into_bytes();
        body.resize(length.max(body.len()), b'.');
        body
    }

    /// The disk has all before this number.
    pub(super) fn spooled(&mut self, at: usize, life: u64, next: u64) {
        if self.clients[at].life != life {
            return;
        }
        self.clients[at].disk.sync(next);
        self.accept(at, next);
        self.drive_client(at);
    }

    pub(super) fn accept(&mut self, at: usize, next: u64) {
        let client = &mut self.clients[at];
        for number in client.accepted.len() as u64 + 1..next {
            let body = client.disk.record(number).cloned().unwrap_or_default();
            client.accepted.push(body);
        }
    }
}
