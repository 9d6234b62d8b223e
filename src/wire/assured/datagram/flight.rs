//! `Flight`: what a sender has on its way, message by message.
//!
//! Apart from the messages themselves: here is when each was sent, and what is known of it since.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Held, WINDOW};

/// The numbers from the first that is not final to the last that was sent.
#[derive(Debug)]
pub(super) struct Flight {
    first: u64,
    /// Since when that is the first, if it was not from the start.
    led: Option<Instant>,
    sent: VecDeque<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    times: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// No answer has come, but is waited for.
    Flying,
    /// The server holds it.
    Held,
    /// It is to be sent again.
    Lost,
}

/// What an acknowledgement has brought.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct News {
    /// How many messages have arrived that were not known to.
    pub(super) arrived: u32,
    /// How long the latest of them took, of those that were sent once only.
    pub(super) took: Option<Duration>,
}

impl Flight {
    /// Nothing on its way; the first that will be has this number.
    pub(super) fn new(first: u64) -> Self {
        Self { first, led: None, sent: VecDeque::new() }
    }

    /// The number after the last that was sent.
    pub(super) fn next(&self) -> u64 {
        self.first + self.sent.len() as u64
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// The next number that is to be sent, of those below `end`, with so many on their way at the most.
    pub(super) fn ready(&self, end: u64, window: usize) -> Option<u64> {
        let flying = self.sent.iter().filter(|sent| sent.state == State::Flying).count();
        if flying >= window {
            return None;
        }
        let lost = self.numbered().find(|(_, sent)| sent.state == State::Lost).map(|(number, _)| number);
        lost.or_else(|| Some(self.next()).filter(|next| *next < end && self.sent.len() < WINDOW as usize))
    }

    /// Notes that a number was sent, which was [ready](Self::ready).
    pub(super) fn send(&mut self, number: u64, now: Instant) {
        match self.get(number) {
            Some(sent) => *sent = Sent { at: now, times: sent.times.saturating_add(1), state: State::Flying },
            None => self.sent.push_back(Sent { at: now, times: 1, state: State::Flying }),
        }
    }

    /// All to this number is final.
    pub(super) fn settle(&mut self, through: u64, now: Instant) -> News {
        let mut news = News::default();
        if self.first <= through {
            self.led = Some(now);
        }
        while self.first <= through
            && let Some(sent) = self.sent.pop_front()
        {
            self.first += 1;
            if sent.state != State::Held {
                news.add(sent, now);
            }
        }
        self.first = self.first.max(through + 1);
        news
    }

    /// The server holds these numbers.
    pub(super) fn hold(&mut self, acknowledged: u64, held: Held, now: Instant) -> News {
        let mut news = News::default();
        let first = self.first;
        for (number, sent) in (first..).zip(&mut self.sent) {
            if sent.state != State::Held && held.contains(acknowledged, number) {
                news.add(*sent, now);
                sent.state = State::Held;
            }
        }
        news
    }

    /// Takes what was not answered in time as lost, and says what the lowest of it is.
    pub(super) fn expire(&mut self, timeout: Duration, now: Instant) -> Option<u64> {
        let (first, led) = (self.first, self.led);
        let mut lowest = None;
        for (number, sent) in (first..).zip(&mut self.sent) {
            if sent.waits(number == first, led).is_some_and(|since| since + timeout <= now) {
                sent.state = State::Lost;
                lowest = lowest.or(Some(number));
            }
        }
        lowest
    }

    /// Takes as lost what at least `LATER` messages have overtaken that were sent after it, once for each message, and says what the lowest of it is.
    pub(super) fn overtaken(&mut self) -> Option<u64> {
        const LATER: usize = 3;
        let mut held: Vec<Instant> =
            self.sent.iter().filter(|sent| sent.state == State::Held).map(|sent| sent.at).collect();
        held.sort_unstable();
        // What was sent before this has been overtaken.
        let since = *held.get(held.len().checked_sub(LATER)?)?;
        let first = self.first;
        let mut lowest = None;
        for (number, sent) in (first..).zip(&mut self.sent) {
            if sent.state == State::Flying && sent.times == 1 && sent.at < since {
                sent.state = State::Lost;
                lowest = lowest.or(Some(number));
            }
        }
        lowest
    }

    /// Takes this number and all after it as not on their way: they were dropped by the server, or nothing is known of them any more.
    pub(super) fn drop_from(&mut self, number: u64) {
        let first = self.first;
        for (_, sent) in (first..).zip(&mut self.sent).filter(|(of, _)| *of >= number) {
            sent.state = State::Lost;
        }
    }

    /// When something has not been answered in time.
    pub(super) fn due(&self, timeout: Duration) -> Option<Instant> {
        let waits = self.numbered().filter_map(|(number, sent)| sent.waits(number == self.first, self.led));
        waits.min().map(|since| since + timeout)
    }

    fn numbered(&self) -> impl Iterator<Item = (u64, &Sent)> {
        (self.first..).zip(&self.sent)
    }

    fn get(&mut self, number: u64) -> Option<&mut Sent> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.sent.get_mut(at)
    }
}

impl Sent {
    /// Since when an answer is waited for. The first is waited for though it was said to be held when others were before it: only that it is final ends it,
    /// and a server that was started again does not hold it any more.
    fn waits(&self, is_first: bool, led: Option<Instant>) -> Option<Instant> {
        match self.state {
            State::Flying => Some(self.at),
            State::Held if is_first => led.max(Some(self.at)),
            State::Held | State::Lost => None,
        }
    }
}

impl News {
    fn add(&mut self, sent: Sent, now: Instant) {
        self.arrived += 1;
        if sent.times == 1 {
            self.took = Some(now.saturating_duration_since(sent.at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn flight(first: u64, number: u64, now: Instant) -> Flight {
        let mut flight = Flight::new(first);
        (first..first + number).for_each(|number| flight.send(number, now));
        flight
    }

    #[test]
    fn what_is_lost_goes_before_what_is_new() {
        let now = Instant::now();
        let mut flight = flight(5, 3, now);
        assert_eq!((flight.ready(99, 3), flight.ready(99, 4), flight.ready(8, 4)), (None, Some(8), None));
        assert_eq!(flight.expire(SECOND, now), None);
        assert_eq!(flight.expire(SECOND, now + SECOND), Some(5));
        for number in [5, 6, 7, 8] {
            assert_eq!(flight.ready(99, 9), Some(number));
            flight.send(number, now + SECOND);
        }
        assert_eq!(flight.due(SECOND), Some(now + 2 * SECOND));
    }

    #[test]
    fn no_more_than_an_acknowledgement_can_speak_of_is_on_the_way() {
        let now = Instant::now();
        let mut flight = flight(1, 64, now);
        flight.hold(0, Held(u64::MAX), now);
        assert_eq!(flight.ready(999, 64), None);
        flight.settle(1, now);
        assert_eq!(flight.ready(999, 64), Some(65));
    }

    #[test]
    fn only_what_was_sent_once_says_how_long_it_took() {
        let now = Instant::now();
        let mut flight = flight(1, 4, now);
        flight.expire(SECOND, now + SECOND);
        flight.send(1, now + SECOND);
        assert_eq!(flight.settle(1, now + 2 * SECOND), News { arrived: 1, took: None });
        let mut held = Held::default();
        held.insert(1, 3);
        let took = Some(2 * SECOND);
        assert_eq!(flight.hold(1, held, now + 2 * SECOND), News { arrived: 1, took });
        assert_eq!(flight.hold(1, held, now + 2 * SECOND), News::default());
        assert_eq!(flight.settle(3, now + 2 * SECOND), News { arrived: 1, took });
        assert_eq!(flight.settle(9, now), News { arrived: 1, took: Some(Duration::ZERO) });
        assert_eq!((flight.is_empty(), flight.next()), (true, 10));
    }

    #[test]
    fn what_is_held_is_waited_for_once_it_is_the_first() {
        let now = Instant::now();
        let mut flight = flight(1, 3, now);
        let mut held = Held::default();
        [2, 3].into_iter().for_each(|number| held.insert(0, number));
        flight.hold(0, held, now);
        assert_eq!(flight.due(SECOND), Some(now + SECOND));
        // Nothing is heard after this: the server has ended, or the next acknowledgement is lost.
        flight.settle(1, now + 2 * SECOND);
        assert_eq!(flight.due(SECOND), Some(now + 3 * SECOND), "since it is the first, not since it was sent");
        assert_eq!((flight.expire(SECOND, now + 2 * SECOND), flight.ready(4, 9)), (None, None));
        assert_eq!((flight.expire(SECOND, now + 3 * SECOND), flight.ready(4, 9)), (Some(2), Some(2)));
    }

    #[test]
    fn what_three_later_ones_overtake_is_lost_and_what_is_held_is_not_sent_again() {
        let now = Instant::now();
        let mut flight = Flight::new(1);
        (1..6).for_each(|number| flight.send(number, now + SECOND * u32::try_from(number).expect("small")));
        let mut held = Held::default();
        for (number, lost) in [(3, None), (4, None), (5, Some(1))] {
            held.insert(0, number);
            flight.hold(0, held, now);
            assert_eq!(flight.overtaken(), lost, "{number}");
        }
        for number in [1, 2] {
            assert_eq!(flight.ready(0, 9), Some(number));
            flight.send(number, now);
        }
        assert_eq!((flight.ready(0, 9), flight.overtaken()), (None, None));
        flight.drop_from(4);
        assert_eq!(flight.ready(0, 9), Some(4));
    }
}
