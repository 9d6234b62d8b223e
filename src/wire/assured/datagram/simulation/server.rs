//! A server on its store, until it crashes.
//!
//! Apart from the world: here is what drives [`Sessions`], as a real server does.

use std::time::{Duration, Instant};

use super::super::sessions::{Input, Output, Sessions, SessionsConfig};
use super::super::{DatagramReceiver, MAX_BODY, Secret};
use super::store::{Done, Job, Store};
use super::world::Address;
use crate::wire::assured::pauses::Pauses;

pub(super) struct Server {
    sessions: Option<Sessions<Address>>,
    pub(super) store: Store,
}

/// What a server wants of the world.
#[derive(Default)]
pub(super) struct Wants {
    pub(super) sent: Vec<(Address, Vec<u8>)>,
    pub(super) wake: Option<Instant>,
    /// How many more jobs the store has.
    pub(super) jobs: usize,
}

impl Server {
    pub(super) fn new(store: Store) -> Self {
        Self { sessions: None, store }
    }

    fn config() -> SessionsConfig {
        let held_bytes = 8 * (MAX_BODY + DatagramReceiver::OVERHEAD);
        SessionsConfig {
            sessions: 4,
            opening: 3,
            idle: Duration::from_secs(20),
            held_bytes,
            held_bytes_in_all: 2 * held_bytes,
            ..SessionsConfig::default()
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.sessions.is_some()
    }

    pub(super) fn start(&mut self, chance: &mut Pauses, now: Instant) {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&chance.bits().to_be_bytes());
        self.sessions = Some(Sessions::new(Self::config(), Secret::new(secret), now));
    }

    pub(super) fn crash(&mut self, chance: &mut Pauses) -> Result<(), String> {
        self.sessions = None;
        self.store.crash(chance)
    }

    pub(super) fn receive(&mut self, from: Address, datagram: &[u8], now: Instant) {
        if let Some(sessions) = &mut self.sessions {
            // What is no packet is dropped.
            _ = sessions.datagram(from, &from.to_be_bytes(), datagram, now);
        }
    }

    pub(super) fn work(&mut self, chance: &mut Pauses, now: Instant) -> Result<(), String> {
        let done = self.store.work(chance)?;
        if let (Some(sessions), Some(done)) = (&mut self.sessions, done) {
            let input = match done {
                Done::Opened(session, opening, progress) => Input::Opened(session, opening, Ok(progress)),
                Done::Applied(session, opening, applied) => Input::Applied(session, opening, applied),
                Done::TakenOver(session, opening) => Input::TakenOver(session, opening),
            };
            sessions.handle(input, now);
        }
        Ok(())
    }

    /// Does all that is to be done, and checks what is in memory.
    pub(super) fn drive(&mut self, now: Instant) -> Result<Wants, String> {
        let mut wants = Wants::default();
        let Some(sessions) = &mut self.sessions else { return Ok(wants) };
        let before = self.store.jobs.len();
        loop {
            match sessions.poll(now) {
                Output::Open { opening, open, .. } => self.store.jobs.push_back(Job::Open(open.session, opening)),
                Output::Apply { session, opening, run } => self.store.jobs.push_back(Job::Apply(session, opening, run)),
                Output::Note { session, opening, through } => self.store.note(&session, opening, through),
                Output::Send { to, datagram } => wants.sent.push((to, datagram)),
                Output::Close { .. } => {}
                Output::Wait(wake) => {
                    wants.wake = wake;
                    break;
                }
            }
        }
        wants.jobs = self.store.jobs.len() - before;
        let (most, limit) = (Self::config(), DatagramReceiver::OVERHEAD + MAX_BODY);
        // Each session may always have one message waiting, and one that the store has.
        let bytes = most.held_bytes_in_all + 2 * most.sessions * limit;
        if sessions.len() > most.sessions || sessions.held_bytes() > bytes {
            return Err(format!("{} sessions with {} bytes are in memory", sessions.len(), sessions.held_bytes()));
        }
        Ok(wants)
    }
}
