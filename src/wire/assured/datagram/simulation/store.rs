//! A store that loses what is not durable.
//!
//! Apart from the server, which it outlives.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::super::sessions::Opening;
use crate::wire::assured::pauses::Pauses;
use crate::wire::assured::{Applied, Code, Progress, PutOff, Run, SessionId, Verdict, checksum};

/// What is on disk of a session.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The message of each number, none where it was refused.
    pub(super) messages: Vec<Option<Vec<u8>>>,
    verdicts: Vec<(u64, Verdict)>,
    owner: u64,
}

impl Row {
    pub(super) fn acknowledged(&self) -> u64 {
        self.messages.len() as u64
    }
}

/// What the store is asked for.
#[derive(Debug)]
pub(super) enum Job {
    Open(SessionId, Opening),
    Apply(SessionId, Opening, Run),
}

/// What it says.
#[derive(Debug)]
pub(super) enum Done {
    Opened(SessionId, Opening, Progress),
    Applied(SessionId, Opening, Applied),
    TakenOver(SessionId, Opening),
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) rows: HashMap<SessionId, Row>,
    pub(super) jobs: VecDeque<Job>,
    owners: HashMap<(SessionId, Opening), u64>,
    last_owner: u64,
    /// Whether some messages are refused, and now and then there is no room.
    refuses: bool,
}

impl Store {
    pub(super) fn new(refuses: bool) -> Self {
        Self { refuses, ..Self::default() }
    }

    /// Whether the message of this number is refused by the handler.
    fn refuses(&self, number: u64) -> bool {
        self.refuses && number % 7 < 2
    }

    /// Does the first job; what it did is durable, and then it is said.
    pub(super) fn work(&mut self, chance: &mut Pauses) -> Result<Option<Done>, String> {
        Ok(match self.jobs.pop_front() {
            None => None,
            Some(Job::Open(session, opening)) => {
                self.last_owner += 1;
                self.owners.insert((session.clone(), opening), self.last_owner);
                let known = self.rows.contains_key(&session);
                let row = self.rows.entry(session.clone()).or_default();
                row.owner = self.last_owner;
                let last = row.messages.last().and_then(|body| body.as_deref());
                let progress = Progress {
                    known,
                    acknowledged: row.acknowledged(),
                    checksum: last.map(checksum),
                    verdicts: row.verdicts.clone(),
                };
                Some(Done::Opened(session, opening, progress))
            }
            Some(Job::Apply(session, opening, run)) => {
                let owner = self.owners.get(&(session.clone(), opening)).copied().unwrap_or_default();
                if self.rows.get(&session).is_none_or(|row| row.owner != owner) {
                    return Ok(Some(Done::TakenOver(session, opening)));
                }
                let applied = self.apply(&session, &run, chance)?;
                Some(Done::Applied(session, opening, applied))
            }
        })
    }

    fn apply(&mut self, session: &SessionId, run: &Run, chance: &mut Pauses) -> Result<Applied, String> {
        let end = match self.refuses && chance.bits().is_multiple_of(16) {
            true => run.first + chance.bits() % run.len() as u64,
            false => run.next(),
        };
        let refuses: Vec<bool> = (run.first..end).map(|number| self.refuses(number)).collect();
        let row = self.rows.get_mut(session).ok_or("applied to a session that was never opened")?;
        if run.first != row.acknowledged() + 1 {
            return Err(format!("the store is given {} after {}", run.first, row.acknowledged()));
        }
        let mut applied = Applied { through: end - 1, ..Applied::default() };
        for (number, refuses) in (run.first..end).zip(refuses) {
            let too_large = run.refused.iter().find(|(refused, ..)| *refused == number);
            let verdict = match too_large {
                Some((_, code, reason)) => Some(Verdict::Refused(*code, reason.clone())),
                None if refuses => Some(Verdict::Refused(Code::REJECTED, "not this one".to_owned())),
                None => None,
            };
            row.messages.push(verdict.is_none().then(|| run.message(number).to_vec()));
            applied.verdicts.extend(verdict.map(|verdict| (number, verdict)));
        }
        row.verdicts.extend(applied.verdicts.iter().cloned());
        if end < run.next() {
            let after = Duration::from_millis(chance.bits() % 3000);
            applied.put_off = Some(PutOff { code: Code::DISK_FULL, after, reason: "no room".to_owned() });
        }
        Ok(applied)
    }

    /// Forgets verdicts, which need not be durable.
    pub(super) fn note(&mut self, session: &SessionId, opening: Opening, through: u64) {
        let owner = self.owners.get(&(session.clone(), opening)).copied();
        if let Some(row) = self.rows.get_mut(session).filter(|row| Some(row.owner) == owner) {
            row.verdicts.retain(|(number, _)| *number > through);
        }
    }

    /// Another server opens the session.
    pub(super) fn take_over(&mut self, session: &SessionId) {
        self.last_owner += 1;
        if let Some(row) = self.rows.get_mut(session) {
            row.owner = self.last_owner;
        }
    }

    /// The process ends or the power fails: what is under way is done, or not.
    pub(super) fn crash(&mut self, chance: &mut Pauses) -> Result<(), String> {
        for _ in 0..chance.bits() % 3 {
            self.work(chance)?;
        }
        self.jobs.clear();
        self.owners.clear();
        Ok(())
    }
}
