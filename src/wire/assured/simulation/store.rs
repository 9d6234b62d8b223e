//! `Store`: what the simulated servers share: sessions in a database that has a log (rules S1 to S4).
//!
//! Apart from the servers: here is what a crash leaves. It follows the contract of the service's stores, one thing after another.

use std::collections::{BTreeMap, BTreeSet};

use super::Mutation;
use super::random::Random;
use crate::wire::assured::{Applied, Code, Progress, PutOff, Run, SessionId, Verdict, checksum};

/// Messages with their numbers.
type Rows = Vec<(u64, Vec<u8>)>;

/// What becomes durable as a whole.
pub(super) type Transaction = Vec<Change>;

#[derive(Clone, Debug)]
pub(super) enum Change {
    Own(SessionId, u64),
    Insert(SessionId, Rows),
    Advance { session: SessionId, through: u64, checksum: Option<u32>, verdicts: Vec<(u64, Verdict)> },
    Note(SessionId, u64),
}

/// What the database says of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    known: bool,
    owner: u64,
    pub(super) acknowledged: u64,
    checksum: Option<u32>,
    verdicts: BTreeMap<u64, Verdict>,
    /// The table of messages, in the order in which they came in.
    pub(super) messages: Rows,
    pub(super) refused: BTreeSet<u64>,
}

pub(super) type State = BTreeMap<SessionId, Session>;

fn apply(state: &mut State, transaction: &Transaction) {
    for change in transaction {
        match change.clone() {
            Change::Own(session, owner) => state.entry(session).or_default().owner = owner,
            Change::Insert(session, messages) => state.entry(session).or_default().messages.extend(messages),
            Change::Advance { session, through, checksum, verdicts } => {
                let session = state.entry(session).or_default();
                (session.known, session.acknowledged, session.checksum) = (true, through, checksum);
                for (number, verdict) in verdicts {
                    if matches!(verdict, Verdict::Refused(..)) {
                        session.refused.insert(number);
                    }
                    session.verdicts.insert(number, verdict);
                }
            }
            Change::Note(session, through) => {
                if let Some(session) = state.get_mut(&session) {
                    session.verdicts = session.verdicts.split_off(&(through + 1));
                }
            }
        }
    }
}

/// A database with a log before it.
#[derive(Default)]
pub(super) struct Store {
    log: Vec<Transaction>,
    /// What is seen: so much of the log.
    visible: usize,
    state: State,
    /// What is on the disk for good: so much of the log.
    durable: usize,
    sure: State,
    /// Who owns a session, where that is not in the database.
    owners: BTreeMap<SessionId, u64>,
    last_owner: u64,
    owners_on_disk: bool,
    pub(super) full: bool,
    mutation: Option<Mutation>,
    /// What must not happen and has.
    pub(super) complaint: Option<String>,
}

impl Store {
    /// An empty one. Owners of sessions may be in the database, which all servers see, or known to the only server.
    pub(super) fn new(owners_on_disk: bool, mutation: Option<Mutation>) -> Self {
        Self { owners_on_disk, mutation, ..Self::default() }
    }

    /// The sessions as they are on the disk.
    pub(super) fn sure(&self) -> &State {
        &self.sure
    }

    pub(super) fn length(&self) -> usize {
        self.durable
    }

    /// Makes the caller the owner of a session (rule S1).
    pub(super) fn open(&mut self, id: &SessionId) -> (Vec<Transaction>, u64) {
        self.last_owner += 1;
        match self.owners_on_disk {
            true => (vec![vec![Change::Own(id.clone(), self.last_owner)]], self.last_owner),
            false => {
                self.owners.insert(id.clone(), self.last_owner);
                (Vec::new(), self.last_owner)
            }
        }
    }

    pub(super) fn progress(&self, id: &SessionId, first: u64) -> Progress {
        let empty = Session::default();
        let session = self.state.get(id).unwrap_or(&empty);
        if self.mutation == Some(Mutation::S5) && session.acknowledged < first - 1 {
            return Progress { known: true, acknowledged: first - 1, ..Progress::default() };
        }
        Progress {
            known: session.known,
            acknowledged: session.acknowledged,
            checksum: session.checksum,
            verdicts: session.verdicts.clone().into_iter().collect(),
        }
    }

    /// What is to be written to apply a run, and the answer for when that is durable; no answer if the session has another owner.
    pub(super) fn append(
        &mut self,
        id: &SessionId,
        owner: u64,
        run: &Run,
        put_off_at: Option<u64>,
    ) -> (Vec<Transaction>, Option<Applied>) {
        let empty = Session::default();
        let session = self.state.get(id).unwrap_or(&empty);
        let current = if self.owners_on_disk { session.owner } else { self.owners.get(id).copied().unwrap_or(0) };
        if current != owner && self.mutation != Some(Mutation::S1) {
            return (Vec::new(), None);
        }
        let put_off =
            |code| Some(PutOff { code, after: std::time::Duration::from_millis(300), reason: "later".into() });
        let acknowledged = session.acknowledged;
        let compares = self.mutation != Some(Mutation::S2NoCompare);
        if compares && run.first > acknowledged + 1 {
            return (
                Vec::new(),
                Some(Applied { through: acknowledged, verdicts: vec![], put_off: put_off(Code::RATE) }),
            );
        }
        if compares && run.first <= acknowledged && self.mutation != Some(Mutation::S1) {
            self.complaint = Some(format!("{acknowledged} are final, and their owner sends {} again", run.first));
        }
        if self.full {
            let through = run.first - 1;
            return (Vec::new(), Some(Applied { through, verdicts: vec![], put_off: put_off(Code::DISK_FULL) }));
        }
        let through = put_off_at.map_or(run.last(), |number| number - 1).clamp(run.first - 1, run.last());
        let answer = |verdicts| Applied {
            through,
            verdicts,
            put_off: put_off_at.filter(|_| through < run.last()).and_then(|_| put_off(Code::FAILED)),
        };
        // Those that are final already are acknowledged again.
        let from = if compares { acknowledged + 1 } else { run.first };
        if through < from {
            return (Vec::new(), Some(answer(vec![])));
        }
        let (insert, verdicts) = sort(run, from, through);
        // Of what was skipped as too large nothing is known.
        let known = run.refused.iter().all(|(number, ..)| *number != through);
        let checksum = known.then(|| checksum(run.message(through)));
        let insert = Change::Insert(id.clone(), insert);
        let advance = Change::Advance { session: id.clone(), through, checksum, verdicts: verdicts.clone() };
        let transactions = match self.mutation {
            Some(Mutation::S2TwoTransactions) => vec![vec![insert], vec![advance]],
            _ => vec![vec![insert, advance]],
        };
        (transactions, Some(answer(verdicts)))
    }

    /// Writes what is not durable yet, over what another has left behind.
    pub(super) fn write(&mut self, transactions: Vec<Transaction>) {
        self.log.truncate(self.visible);
        self.log.extend(transactions);
    }

    /// All that was written is durable, and seen.
    pub(super) fn synced(&mut self) {
        self.see(self.log.len());
        self.harden();
    }

    /// Forgets verdicts. It is seen at once, and durable with the next that is.
    pub(super) fn note(&mut self, id: &SessionId, through: u64) {
        self.write(vec![vec![Change::Note(id.clone(), through)]]);
        self.see(self.log.len());
    }

    /// A server starts, the only one: it sees whatever was written, synced or not, and makes it durable before anything else (rule S4).
    pub(super) fn recover(&mut self, random: &mut Random) {
        // A kill may have come before the last of it was written.
        let written = random.within(self.visible as u64, self.log.len() as u64) as usize;
        self.log.truncate(written);
        self.see(written);
        if self.mutation != Some(Mutation::S4) {
            self.harden();
        }
    }

    /// The power is gone: what was not synced may be there, or not.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let kept = match random.once_in(2) {
            true => self.durable,
            false => random.within(self.durable as u64, self.log.len() as u64) as usize,
        };
        self.go_back(kept);
    }

    /// The database is what it was when it was so long.
    pub(super) fn go_back(&mut self, length: usize) {
        self.log.truncate(length);
        (self.visible, self.durable) = (0, 0);
        (self.state, self.sure) = (State::new(), State::new());
        self.owners.clear();
        self.see(length);
        self.harden();
    }

    fn see(&mut self, length: usize) {
        self.log[self.visible..length].iter().for_each(|transaction| apply(&mut self.state, transaction));
        self.visible = length;
    }

    fn harden(&mut self) {
        self.log[self.durable..self.visible].iter().for_each(|transaction| apply(&mut self.sure, transaction));
        self.durable = self.visible;
    }
}

/// The messages of a run that are kept, and the verdicts on the others. What a message says decides what becomes of it.
fn sort(run: &Run, from: u64, through: u64) -> (Rows, Vec<(u64, Verdict)>) {
    let mut insert = Vec::new();
    let refused = run.refused.iter().map(|(number, code, why)| (*number, Verdict::Refused(*code, why.clone())));
    let mut verdicts: Vec<_> = refused.filter(|(number, _)| (from..=through).contains(number)).collect();
    for (number, body) in run.messages().filter(|(number, _)| (from..=through).contains(number)) {
        if body.starts_with(b"bad") {
            verdicts.push((number, Verdict::Refused(Code::REJECTED, "bad".to_owned())));
            continue;
        }
        if body.starts_with(b"ask") {
            verdicts.push((number, Verdict::Reply(reply_to(body).into())));
        }
        insert.push((number, body.to_vec()));
    }
    verdicts.sort_by_key(|(number, _)| *number);
    (insert, verdicts)
}

/// What is replied to a message that asks.
pub(super) fn reply_to(body: &[u8]) -> Vec<u8> {
    body.to_ascii_uppercase()
}
