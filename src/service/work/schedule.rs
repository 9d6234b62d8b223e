//! `Schedule`: which message a command is run for next, and when again for one that was put off.
//!
//! Apart from processes, stores and clocks: it is told the time, and tests have a time of their own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::state::{Change, Open};
use crate::service::Outcome;
use crate::service::store::Stored;

/// The longest pause before a message is tried again: the first, which doubles every time, and the most. Each is a random part of that, so that those that were put off together
/// do not come back together.
pub const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10 * 60));

/// How often a message is given to a command before it is a dead letter, unless said otherwise: for about an hour.
pub const MAX_TRIES: u32 = 20;

/// How many messages may be put off at once, where there are several workers; no others are begun then.
pub const MAX_PUT_OFF: usize = 100_000;

/// Why a message is tried again that nothing is known of.
const ENDED: &str = "whatever ran it was ended while it ran";

/// A moment, in milliseconds since 1970.
pub(super) type Moment = i64;

/// What is not done, and what comes next.
#[derive(Debug)]
pub(super) struct Schedule {
    workers: usize,
    /// None is for ever.
    max_tries: Option<u32>,
    fresh: VecDeque<Stored>,
    running: BTreeSet<i64>,
    /// By their place: how often they were tried, and when they are due.
    later: BTreeMap<i64, (u32, Moment)>,
    due: BTreeSet<(Moment, i64)>,
}

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Run the command for the message at this place, the so manieth time. One that was put off has to be read again.
    Begin { place: i64, tries: u32, message: Option<Box<Stored>> },
    /// Read more, and wait meanwhile as with `Wait`.
    Read(Option<Moment>),
    /// Wait until a command ends, or until then.
    Wait(Option<Moment>),
}

impl Schedule {
    /// What was left of earlier: put off, or begun when it ended. Of that what was begun once is due at once, and others are put off as after any try: a message that ends whatever runs
    /// it does so less and less often. The changes of those, and of those that were tried often enough. `share` gives random numbers from 0 up to 1.
    pub(super) fn new(
        workers: usize,
        max_tries: Option<u32>,
        open: Vec<Open>,
        now: Moment,
        share: impl Fn() -> f64,
    ) -> (Self, Vec<Change>) {
        let (later, due) = (BTreeMap::new(), BTreeSet::new());
        let mut schedule = Self { workers, max_tries, fresh: VecDeque::new(), running: BTreeSet::new(), later, due };
        let mut changes = Vec::new();
        for Open { place, tries, due, was_running } in open {
            if was_running && schedule.is_last(tries) {
                changes.push(Change::Dead { place, tries, reason: ENDED.to_owned() });
                continue;
            }
            // The clock may have been set back meanwhile.
            let latest = now.saturating_add(milliseconds(PAUSES.1));
            let due = match (was_running, tries) {
                (false, _) => due.min(latest),
                (true, ..=1) => now,
                (true, _) => {
                    let due = now.saturating_add(milliseconds(longest_pause(tries).mul_f64(share())));
                    changes.push(Change::Later { place, tries, due, reason: ENDED.to_owned() });
                    due
                }
            };
            schedule.put_off(place, tries, due);
        }
        (schedule, changes)
    }

    /// What is to be done next. A message that is to be begun counts as running from then on.
    pub(super) fn next(&mut self, now: Moment) -> Next {
        if self.running.len() >= self.workers {
            return Next::Wait(None);
        }
        // One worker does all in order: what is put off holds up what is behind it.
        let first = match self.workers {
            1 => self.later.first_key_value().map(|(place, (_, due))| (*due, *place)),
            _ => self.due.first().copied(),
        };
        let is_held_up = if self.workers == 1 { first.is_some() } else { self.later.len() >= MAX_PUT_OFF };
        match first {
            Some((due, place)) if due <= now => {
                let (tries, due) = self.later.remove(&place).unwrap_or_default();
                self.due.remove(&(due, place));
                self.running.insert(place);
                Next::Begin { place, tries: tries.saturating_add(1), message: None }
            }
            first if is_held_up => Next::Wait(first.map(|(due, _)| due)),
            first => match self.fresh.pop_front() {
                Some(message) => {
                    self.running.insert(message.id);
                    Next::Begin { place: message.id, tries: 1, message: Some(Box::new(message)) }
                }
                None => Next::Read(first.map(|(due, _)| due)),
            },
        }
    }

    /// Takes messages that were never tried, in their order.
    pub(super) fn add(&mut self, messages: Vec<Stored>) {
        self.fresh.extend(messages);
    }

    /// A command has ended that was begun: what that means for its message. `share` is a random number from 0 up to 1.
    pub(super) fn ended(&mut self, place: i64, tries: u32, outcome: Outcome, now: Moment, share: f64) -> Change {
        self.running.remove(&place);
        match outcome {
            Outcome::Done | Outcome::Reply(_) => Change::Done { place },
            Outcome::Refuse(reason) => Change::Dead { place, tries, reason },
            Outcome::Retry(reason) if self.is_last(tries) => Change::Dead { place, tries, reason },
            Outcome::Retry(reason) => {
                let due = now.saturating_add(milliseconds(longest_pause(tries).mul_f64(share)));
                self.put_off(place, tries, due);
                Change::Later { place, tries, due, reason }
            }
        }
    }

    /// A message is not there any more that was to be run.
    pub(super) fn gone(&mut self, place: i64) -> Change {
        self.running.remove(&place);
        Change::Gone { place }
    }

    /// Whether nothing runs, is put off, or was read and not begun.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.later.is_empty() && self.fresh.is_empty()
    }

    fn put_off(&mut self, place: i64, tries: u32, due: Moment) {
        self.later.insert(place, (tries, due));
        self.due.insert((due, place));
    }

    fn is_last(&self, tries: u32) -> bool {
        self.max_tries.is_some_and(|most| tries >= most)
    }
}

/// The longest pause after so many tries.
fn longest_pause(tries: u32) -> Duration {
    let doubled = 2_u32.checked_pow(tries.saturating_sub(1)).and_then(|times| PAUSES.0.checked_mul(times));
    doubled.map_or(PAUSES.1, |pause| pause.min(PAUSES.1))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(place: i64) -> Stored {
        Stored {
            id: place,
            at: 0,
            peer: String::new(),
            name: None,
            user: None,
            session: None,
            number: 1,
            origin: None,
            body: Vec::new(),
        }
    }

    fn schedule(workers: usize, max_tries: Option<u32>, messages: i64) -> Schedule {
        let (mut schedule, changes) = Schedule::new(workers, max_tries, Vec::new(), 0, || 0.5);
        assert!(changes.is_empty());
        schedule.add((1..=messages).map(message).collect());
        schedule
    }

    fn retry() -> Outcome {
        Outcome::Retry("not now".to_owned())
    }

    /// The place and the try of what is begun next.
    fn begun(next: Next) -> Option<(i64, u32)> {
        match next {
            Next::Begin { place, tries, .. } => Some((place, tries)),
            _ => None,
        }
    }

    #[test]
    fn one_worker_does_all_in_order() {
        let mut schedule = schedule(1, None, 2);
        assert_eq!(begun(schedule.next(0)), Some((1, 1)));
        assert_eq!(schedule.next(0), Next::Wait(None));
        let change = schedule.ended(1, 1, retry(), 0, 0.5);
        assert_eq!(change, Change::Later { place: 1, tries: 1, due: 500, reason: "not now".to_owned() });
        // What is behind it waits.
        assert_eq!(schedule.next(499), Next::Wait(Some(500)));
        assert_eq!(schedule.next(500), Next::Begin { place: 1, tries: 2, message: None });
        assert_eq!(schedule.ended(1, 2, Outcome::Done, 500, 0.5), Change::Done { place: 1 });
        assert_eq!(begun(schedule.next(500)), Some((2, 1)));
        assert_eq!(schedule.ended(2, 1, Outcome::Refuse("no".to_owned()), 500, 0.5), dead(2, 1, "no"));
        assert_eq!(schedule.next(500), Next::Read(None));
        assert!(schedule.is_empty());
    }

    fn dead(place: i64, tries: u32, reason: &str) -> Change {
        Change::Dead { place, tries, reason: reason.to_owned() }
    }

    #[test]
    fn several_workers_go_on_beside_what_is_put_off() {
        let mut schedule = schedule(2, None, 4);
        assert_eq!([schedule.next(0), schedule.next(0)].map(begun), [Some((1, 1)), Some((2, 1))]);
        assert_eq!(schedule.next(0), Next::Wait(None));
        schedule.ended(1, 1, retry(), 0, 0.9);
        assert_eq!(begun(schedule.next(0)), Some((3, 1)));
        schedule.ended(3, 1, Outcome::Done, 10, 0.9);
        // What is due goes before what was never tried.
        assert_eq!(begun(schedule.next(900)), Some((1, 2)));
        schedule.ended(1, 2, retry(), 900, 0.5);
        assert_eq!(begun(schedule.next(901)), Some((4, 1)));
        schedule.ended(2, 1, Outcome::Done, 901, 0.5);
        assert_eq!(schedule.next(902), Next::Read(Some(1900)));
    }

    #[test]
    fn pauses_double_to_their_limit_and_tries_come_to_an_end() {
        for (tries, seconds) in [(1, 1), (2, 2), (5, 16), (10, 512), (11, 600), (40, 600), (u32::MAX, 600)] {
            assert_eq!(longest_pause(tries), Duration::from_secs(seconds), "{tries}");
        }
        let mut schedule = schedule(1, Some(3), 1);
        for tries in 1..=3 {
            assert_eq!(begun(schedule.next(0)), Some((1, tries)));
            let change = schedule.ended(1, tries, retry(), 0, 0.0);
            assert_eq!(change == dead(1, 3, "not now"), tries == 3);
        }
        assert!(schedule.is_empty());
    }

    #[test]
    fn what_was_left_goes_first() {
        let open = |place, tries, due, was_running| Open { place, tries, due, was_running };
        let left = vec![open(3, 2, 1000, false), open(5, 1, 0, true), open(7, 4, 0, true), open(8, 1, i64::MAX, false)];
        let (mut one, changes) = Schedule::new(1, Some(4), left.clone(), 100, || 0.5);
        assert_eq!(changes, [dead(7, 4, "whatever ran it was ended while it ran")]);
        one.add(vec![message(9)]);
        assert_eq!(one.next(100), Next::Wait(Some(1000)));
        assert_eq!(begun(one.next(1000)), Some((3, 3)));
        let (mut two, changes) = Schedule::new(2, None, left, 100, || 0.5);
        // What was begun again and again is put off like what fails.
        let later = Change::Later { place: 7, tries: 4, due: 4100, reason: ENDED.to_owned() };
        assert_eq!(changes, [later]);
        assert_eq!([two.next(100), two.next(100)].map(begun), [Some((5, 2)), None]);
        two.ended(5, 2, Outcome::Done, 100, 0.0);
        assert_eq!([two.next(1000), two.next(4100)].map(begun), [Some((3, 3)), Some((7, 5))]);
        two.ended(3, 3, Outcome::Done, 4100, 0.0);
        two.ended(7, 5, Outcome::Done, 4100, 0.0);
        // A clock that was set back does not put it off for ever.
        assert_eq!(begun(two.next(100 + 600_000)), Some((8, 2)));
    }
}
