//! `Round`: one attempt to connect to any of the places, and `Memory`, what is known of them from one to the next.
//!
//! Apart from [`Places`](super::places::Places), which is there as long as its session: a round looks names up, tries each address once in the best order, and is over.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::places::is_denied;
use crate::net::{self, ADDRESS_TIMEOUT, Addr, Connection, Endpoint, Error, ErrorKind, Raced, race, relevance};
use crate::service::BoxFuture;

/// How long look-ups hold up the connecting to addresses that are known.
pub(super) const LOOK_UP_PATIENCE: Duration = Duration::from_secs(1);

/// How long an address gets that has kept a client waiting before, while there are others that have not.
pub(super) const DOUBTFUL_TIMEOUT: Duration = Duration::from_secs(1);

/// The hosts that a name leads to, in their order, and the addresses of each; none where there are no such things as addresses.
pub(super) type Hosts = Vec<(Endpoint, Vec<Addr>)>;

/// How places are found and connected to.
pub(super) trait Ways: Send + Sync {
    /// How many were given, under whatever names.
    fn given(&self) -> usize;

    /// Where one of them leads to.
    fn look_up(&self, given: usize) -> BoxFuture<'static, net::Result<Hosts>>;

    /// Connects to a place, within a time.
    fn connect(&self, place: &Place, limit: Duration) -> BoxFuture<'static, net::Result<Connection>>;
}

/// One address of one host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// Which of those that were given has led there.
    pub(super) given: usize,
    pub(super) host: Endpoint,
    pub(super) addr: Option<Addr>,
}

/// The places that are known, in the order in which they were given and looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    known: Vec<Known>,
    /// Where the last connection was.
    at: Option<Place>,
    /// What the next round is to do about that.
    course: Course,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Course {
    /// It is tried first.
    #[default]
    Back,
    /// It is tried when the others were.
    Others,
    /// It has just been left, and is tried only if it is the only one.
    OnlyOthers,
}

#[derive(Clone, Debug)]
struct Known {
    place: Place,
    /// Whether it was of no use since a place has served.
    tried: bool,
    /// Whether it has kept a client waiting, and not served since: it is tried when there is no better one.
    doubtful: bool,
}

impl Place {
    fn is(&self, other: &Self) -> bool {
        match &self.addr {
            // The same server, whatever name has led there.
            Some(_) => self.addr == other.addr,
            None => self.given == other.given,
        }
    }

    fn shares_a_name_with(&self, other: &Self) -> bool {
        self.given == other.given && self.host == other.host
    }
}

impl Memory {
    pub(super) fn count(&self) -> usize {
        let is_first =
            |(at, known): &(usize, &Known)| !self.known[..*at].iter().any(|other| other.place.is(&known.place));
        self.known.iter().enumerate().filter(is_first).count()
    }

    /// Which of those that were given the last connection was to.
    pub(super) fn given(&self) -> usize {
        self.at.as_ref().map_or(0, |at| at.given)
    }

    /// The place of the last connection has done what it is there for.
    pub(super) fn served(&mut self) {
        self.known.iter_mut().for_each(|known| known.tried = false);
        self.mark(self.at.clone().as_ref(), |known| known.doubtful = false);
    }

    /// The last connection is over, or the last round has failed.
    pub(super) fn leave(&mut self, elsewhere: bool, was_connected: bool) {
        self.course = match (elsewhere, was_connected) {
            (false, _) => Course::Back,
            (true, false) => Course::Others,
            (true, true) => Course::OnlyOthers,
        };
        if elsewhere && was_connected {
            self.mark(self.at.clone().as_ref(), |known| known.tried = true);
        }
        if self.known.iter().all(|known| known.tried) {
            let at = self.at.as_ref().filter(|_| self.course == Course::OnlyOthers);
            self.known.iter_mut().for_each(|known| known.tried = at.is_some_and(|at| at.is(&known.place)));
        }
    }

    fn mark(&mut self, place: Option<&Place>, mark: impl Fn(&mut Known)) {
        let is = |known: &&mut Known| place.is_some_and(|place| place.is(&known.place));
        self.known.iter_mut().filter(is).for_each(mark);
    }

    /// One of those that were given leads there now, and nowhere else.
    fn learn(&mut self, given: usize, hosts: Hosts) -> Vec<Place> {
        let addrs =
            |addrs: Vec<Addr>| if addrs.is_empty() { vec![None] } else { addrs.into_iter().map(Some).collect() };
        let place = |(host, of_host): (Endpoint, Vec<Addr>)| {
            addrs(of_host).into_iter().map(move |addr| Place { given, host: host.clone(), addr })
        };
        let places: Vec<Place> = hosts.into_iter().flat_map(place).collect();
        let known = places.iter().map(|place| {
            let before = self.known.iter().find(|known| known.place.is(place));
            let (tried, doubtful) = before.map_or((false, false), |known| (known.tried, known.doubtful));
            Known { place: place.clone(), tried, doubtful }
        });
        let known: Vec<Known> = known.collect();
        self.known.retain(|known| known.place.given != given);
        self.known.extend(known);
        // In their order again: sorting is stable.
        self.known.sort_by_key(|known| known.place.given);
        places
    }

    /// The places that are known of one of those that were given.
    fn of(&self, given: usize) -> Vec<Place> {
        self.known.iter().map(|known| &known.place).filter(|place| place.given == given).cloned().collect()
    }

    /// What decides which place is tried before another.
    fn rank(&self, place: &Place) -> impl Ord + use<> {
        let at = self.at.as_ref();
        let is_there = at.is_some_and(|at| at.is(place));
        let comes_first = is_there && self.course == Course::Back;
        let has_name = at.is_some_and(|at| at.shares_a_name_with(place));
        let number = self.known.iter().position(|known| known.place == *place).unwrap_or(usize::MAX);
        let known = self.known.get(number);
        let (tried, doubtful) = known.map_or((false, false), |known| (known.tried, known.doubtful));
        // Of a name that has led there, the other addresses come first; whether to another host, its order says.
        (!comes_first, tried, doubtful, !(has_name && self.course != Course::Back), number)
    }

    /// How long each of these may take.
    fn limit(&self, places: &[Place]) -> Duration {
        let is_doubtful = |known: &Known| known.doubtful && places.iter().any(|place| place.is(&known.place));
        match self.known.iter().any(is_doubtful) {
            true if self.known.iter().any(|known| !known.doubtful) => DOUBTFUL_TIMEOUT,
            _ if self.count() > 1 => ADDRESS_TIMEOUT,
            _ => Duration::MAX,
        }
    }

    /// Takes the places out of some that are to be tried next: the addresses of one host, unless some of them are worse than others.
    fn next(&self, left: &mut Vec<Place>) -> Vec<Place> {
        let Some(best) = left.iter().min_by_key(|place| self.rank(place)).cloned() else { return Vec::new() };
        let state = |place: &Place| {
            let known = self.known.iter().find(|known| known.place == *place);
            known.map(|known| (known.tried, known.doubtful))
        };
        let goes_along = |place: &Place| {
            *place == best || (place.shares_a_name_with(&best) && place.addr.is_some() && state(place) == state(&best))
        };
        let mut together: Vec<Place> = left.iter().filter(|place| goes_along(place)).cloned().collect();
        left.retain(|place| !goes_along(place));
        together.sort_by_key(|place| self.rank(place));
        together
    }
}

/// An attempt at all places.
pub(super) struct Round {
    ways: Arc<dyn Ways>,
    memory: Memory,
    looking: JoinSet<(usize, net::Result<Hosts>)>,
    /// What is still to be tried.
    left: Vec<Place>,
    /// What was tried.
    done: Vec<Place>,
    /// The error to report.
    error: Option<Error>,
}

impl Round {
    pub(super) fn new(ways: Arc<dyn Ways>, memory: Memory) -> Self {
        Self { ways, memory, looking: JoinSet::new(), left: Vec::new(), done: Vec::new(), error: None }
    }

    /// Tries each place once.
    pub(super) async fn run(mut self) -> (Memory, net::Result<(Place, Connection)>) {
        self.look_up().await;
        loop {
            while let Some(looked) = self.looking.try_join_next() {
                self.found(looked.ok());
            }
            let together = self.next();
            if !together.is_empty() {
                if let Some((place, connection)) = self.try_each(together).await {
                    self.memory.at = Some(place.clone());
                    return (self.memory, Ok((place, connection)));
                }
            } else if let Some(looked) = self.looking.join_next().await {
                self.found(looked.ok());
            } else {
                let error = self.error.unwrap_or_else(|| Error::usage("there is no address to connect to"));
                return (self.memory, Err(error));
            }
        }
    }

    /// Looks all up at once. Who takes long is taken at its last word for now.
    async fn look_up(&mut self) {
        let mut late: Vec<usize> = (0..self.ways.given()).collect();
        for given in late.clone() {
            let looking = self.ways.look_up(given);
            self.looking.spawn(async move { (given, looking.await) });
        }
        let until = Instant::now() + LOOK_UP_PATIENCE;
        while let Ok(Some(looked)) = timeout_at(until, self.looking.join_next()).await {
            if let Ok((given, _)) = &looked {
                late.retain(|late| late != given);
            }
            self.found(looked.ok());
        }
        for given in late {
            self.left.extend(self.memory.of(given));
        }
    }

    fn found(&mut self, looked: Option<(usize, net::Result<Hosts>)>) {
        let Some((given, hosts)) = looked else { return };
        let places = match hosts {
            Ok(hosts) => self.memory.learn(given, hosts),
            Err(error) => {
                let places = match error.is_absence() {
                    true => self.memory.learn(given, Vec::new()),
                    // Who could not be asked has not said that it is elsewhere.
                    false => self.memory.of(given),
                };
                self.fail(error);
                places
            }
        };
        self.left.retain(|place| place.given != given);
        self.left.extend(places.into_iter().filter(|place| !self.done.iter().any(|done| done.is(place))));
    }

    /// What to try next, all of it in a race; nothing if all was tried that is known.
    fn next(&mut self) -> Vec<Place> {
        if self.memory.course == Course::OnlyOthers
            && let Some(at) = &self.memory.at
            && (!self.done.is_empty() || self.left.iter().any(|place| !place.is(at)) || !self.looking.is_empty())
        {
            self.left.retain(|place| !place.is(at));
        }
        self.memory.next(&mut self.left)
    }

    async fn try_each(&mut self, places: Vec<Place>) -> Option<(Place, Connection)> {
        let limit = self.memory.limit(&places);
        let raced = match &places[..] {
            [Place { addr: None, .. }] => match self.ways.connect(&places[0], limit).await {
                Ok(connection) => Raced { winner: Some((0, connection)), failures: Vec::new() },
                Err(error) => Raced { winner: None, failures: vec![(0, error)] },
            },
            _ => {
                let addrs = places.iter().filter_map(|place| place.addr.clone()).collect();
                race(addrs, |addr| self.connecting(&places, &addr, limit)).await
            }
        };
        let Raced { winner, failures } = raced;
        let started = winner.as_ref().map_or(places.len(), |(at, _)| *at);
        for (at, place) in places.iter().enumerate().take(started) {
            // One that has not failed was slow.
            let failure = failures.iter().find(|(failed, _)| *failed == at);
            let keeps_waiting = failure.is_none_or(|(_, error)| error.kind() == ErrorKind::Timeout);
            self.memory.mark(Some(place), |known| {
                known.tried = true;
                known.doubtful |= keeps_waiting;
            });
        }
        let mut errors: Vec<Error> = failures.into_iter().map(|(_, error)| error).collect();
        errors.sort_by_key(relevance);
        self.done.extend(places.iter().cloned());
        match winner {
            Some((at, connection)) => {
                errors.iter().for_each(|error| tracing::info!("{error}"));
                Some((places[at].clone(), connection))
            }
            None => {
                errors.pop().into_iter().for_each(|error| self.fail(error));
                None
            }
        }
    }

    fn connecting(
        &self,
        places: &[Place],
        addr: &Addr,
        limit: Duration,
    ) -> impl Future<Output = net::Result<Connection>> + Send + use<> {
        let place = places.iter().find(|place| place.addr.as_ref() == Some(addr));
        let connecting = place.map(|place| self.ways.connect(place, limit));
        async move {
            match connecting {
                Some(connecting) => connecting.await,
                None => Err(Error::usage("there is no address to connect to")),
            }
        }
    }

    fn fail(&mut self, error: Error) {
        if self.ways.given() > 1 {
            tracing::info!("{error}");
        }
        self.keep(error);
    }

    /// Of all errors the first is reported; but one that may come to be better is worth waiting for.
    fn keep(&mut self, error: Error) {
        if self.error.as_ref().is_none_or(|first| is_denied(first) && !is_denied(&error)) {
            self.error = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::net::Stream;

    /// What a look-up of `name=a,b` or an address does: an address is a digit.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Manner {
        Answers,
        Refuses,
        /// Packets get lost.
        Silent,
    }

    /// Names that lead to addresses, each with a manner; and which were connected to.
    #[derive(Default)]
    struct World {
        /// Of each name: its addresses, and how long it takes to say so.
        names: Vec<(&'static str, Duration)>,
        manners: Vec<(char, Manner)>,
        tried: String,
    }

    #[derive(Clone, Default)]
    struct Test(Arc<Mutex<World>>);

    impl Test {
        fn new(names: &[&'static str]) -> Self {
            let test = Self::default();
            test.with(|world| world.names = names.iter().map(|name| (*name, Duration::ZERO)).collect());
            test
        }

        fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
            look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }

        fn is(&self, at: char, manner: Manner) {
            self.with(|world| {
                world.manners.retain(|(other, _)| *other != at);
                world.manners.push((at, manner));
            });
        }

        /// Connects, after the last place was left in some way; says what was tried.
        async fn connect(&self, memory: &mut Memory) -> String {
            let (after, _) = Round::new(Arc::new(self.clone()), memory.clone()).run().await;
            *memory = after;
            self.with(|world| std::mem::take(&mut world.tried))
        }
    }

    impl Ways for Test {
        fn given(&self) -> usize {
            self.with(|world| world.names.len())
        }

        fn look_up(&self, given: usize) -> BoxFuture<'static, net::Result<Hosts>> {
            let (addresses, takes) = self.with(|world| world.names[given]);
            let addrs = addresses.bytes().map(|name| Addr::Inet(SocketAddr::from(([192, 0, 2, name], 1)))).collect();
            let host = format!("tcp:name{given}:1").parse();
            Box::pin(async move {
                tokio::time::sleep(takes).await;
                match addresses {
                    "" => Err(Error::lookup("look up", "no such host").absent()),
                    "?" => Err(Error::lookup("look up", "no answer from a name server for now")),
                    _ => Ok(vec![(host?, addrs)]),
                }
            })
        }

        fn connect(&self, place: &Place, limit: Duration) -> BoxFuture<'static, net::Result<Connection>> {
            let Some(Addr::Inet(SocketAddr::V4(addr))) = &place.addr else { panic!("{place:?} has no address") };
            let name = char::from(addr.ip().octets()[3]);
            let test = self.clone();
            Box::pin(async move {
                let manner = test.with(|world| {
                    world.tried.push(name);
                    world
                        .manners
                        .iter()
                        .find(|(other, _)| *other == name)
                        .map_or(Manner::Answers, |(_, manner)| *manner)
                });
                match manner {
                    Manner::Answers => Ok(Stream::pair(1).0.into()),
                    Manner::Refuses => {
                        let refused = nix::errno::Errno::ECONNREFUSED as i32;
                        Err(Error::system("connect", std::io::Error::from_raw_os_error(refused)))
                    }
                    Manner::Silent => {
                        tokio::time::sleep(limit).await;
                        Err(Error::timeout("connect", "no answer"))
                    }
                }
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_name_the_other_addresses_come_first_and_what_was_left_comes_last() {
        let test = Test::new(&["ab", "c"]);
        let mut memory = Memory::default();
        let mut course = test.connect(&mut memory).await;
        for _ in 0..6 {
            memory.leave(true, true);
            course += &test.connect(&mut memory).await;
        }
        // Nobody has served, so that it goes round; and each time at the first that was not just left.
        assert_eq!(course, "abcabac");
        assert_eq!(memory.count(), 3);
        // It comes back to where it was.
        memory.served();
        memory.leave(false, true);
        assert_eq!(test.connect(&mut memory).await, "c");
        test.is('c', Manner::Refuses);
        memory.leave(false, true);
        assert_eq!(test.connect(&mut memory).await, "ca");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_just_left_is_not_tried_while_there_is_another() {
        let test = Test::new(&["a", "b"]);
        let mut memory = Memory::default();
        test.connect(&mut memory).await;
        test.is('b', Manner::Refuses);
        memory.served();
        memory.leave(true, true);
        assert_eq!(test.connect(&mut memory).await, "b");
        // When that was nothing, it is.
        memory.leave(true, false);
        assert_eq!(test.connect(&mut memory).await, "a");
        // And if it is the only one.
        test.with(|world| world.names.truncate(1));
        memory = Memory::default();
        for _ in 0..3 {
            assert_eq!(test.connect(&mut memory).await, "a");
            memory.leave(true, true);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_swallows_packets_costs_its_time_once_and_comes_last_then() {
        let test = Test::new(&["a", "b", "c"]);
        test.is('a', Manner::Silent);
        let mut memory = Memory::default();
        let started = Instant::now();
        assert_eq!(test.connect(&mut memory).await, "ab");
        assert_eq!(started.elapsed(), ADDRESS_TIMEOUT);
        for next in ["c", "b", "c"] {
            memory.served();
            memory.leave(true, true);
            assert_eq!(test.connect(&mut memory).await, next);
        }
        assert_eq!(started.elapsed(), ADDRESS_TIMEOUT);
        // Where the others are nothing it gets another chance, a short one.
        test.is('b', Manner::Refuses);
        test.is('c', Manner::Refuses);
        memory.served();
        memory.leave(true, true);
        assert_eq!(test.connect(&mut memory).await, "ba");
        assert_eq!(started.elapsed(), ADDRESS_TIMEOUT + DOUBTFUL_TIMEOUT);
        // One that has got well is as good as any, once it has served.
        test.is('a', Manner::Answers);
        memory.leave(true, false);
        assert_eq!(test.connect(&mut memory).await, "cba");
        memory.served();
        memory.leave(true, true);
        assert_eq!(test.connect(&mut memory).await, "bc");
    }

    #[tokio::test(start_paused = true)]
    async fn of_the_addresses_of_a_name_a_silent_one_is_not_waited_for() {
        let test = Test::new(&["ab"]);
        test.is('a', Manner::Silent);
        let mut memory = Memory::default();
        let started = Instant::now();
        assert_eq!(test.connect(&mut memory).await, "ab");
        assert_eq!(started.elapsed(), net::ATTEMPT_DELAY);
        test.is('b', Manner::Refuses);
        memory.leave(false, true);
        assert_eq!(test.connect(&mut memory).await, "ba");
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_anew_and_hold_up_nobody_else() {
        let test = Test::new(&["a", "b"]);
        let mut memory = Memory::default();
        assert_eq!(test.connect(&mut memory).await, "a");
        // The name leads elsewhere now.
        test.with(|world| world.names[0].0 = "d");
        test.is('b', Manner::Refuses);
        memory.served();
        memory.leave(false, true);
        assert_eq!(test.connect(&mut memory).await, "d");
        assert_eq!(memory.count(), 2);
        // A name server that takes its time: what it said last is good enough for now.
        test.with(|world| world.names[0] = ("e", Duration::from_secs(9)));
        let started = Instant::now();
        memory.leave(false, true);
        assert_eq!(test.connect(&mut memory).await, "d");
        assert_eq!(started.elapsed(), LOOK_UP_PATIENCE);
        // What it says at last is tried, too.
        test.is('d', Manner::Refuses);
        memory.leave(false, true);
        assert_eq!(test.connect(&mut memory).await, "dbe");
        // One that fails at once has not said that the name leads elsewhere.
        test.is('d', Manner::Answers);
        test.with(|world| world.names[0] = ("de", Duration::ZERO));
        memory = Memory::default();
        assert_eq!(test.connect(&mut memory).await, "d");
        test.with(|world| world.names[0] = ("?", Duration::ZERO));
        test.is('d', Manner::Refuses);
        memory.leave(false, true);
        assert_eq!(test.connect(&mut memory).await, "de");
        assert_eq!(memory.count(), 3);
        // A name that is gone leads nowhere.
        test.with(|world| world.names[0] = ("", Duration::ZERO));
        memory.leave(false, true);
        assert_eq!(test.connect(&mut memory).await, "b");
        assert_eq!(memory.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_under_two_names_is_one() {
        let test = Test::new(&["a", "a", "b"]);
        let mut memory = Memory::default();
        assert_eq!(test.connect(&mut memory).await, "a");
        assert_eq!(memory.count(), 2);
        memory.leave(true, true);
        assert_eq!(test.connect(&mut memory).await, "b");
    }
}
