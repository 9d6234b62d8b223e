//! Tests of admission: single cases, and sequences of chance against a model that never forgets anything.
//!
//! Apart for its length.

use std::task::Waker;

use proptest::prelude::*;

use super::*;
use crate::net::UnixName;
use crate::service::limits::HANDSHAKE_TIMEOUT;

fn limits(max_connections: usize, max_per_peer: usize, rate: &str) -> Limits {
    Limits { max_connections, max_per_peer, rate: rate.parse().ok(), ..Limits::default() }
}

fn peer(number: u32) -> PeerKey {
    PeerKey::V4(Ipv4Addr::from_bits(number))
}

#[test]
fn tells_peers_apart() {
    let inet = |ip: &str| PeerKey::of(&Addr::Inet((ip.parse::<IpAddr>().expect(ip), 7).into()), None);
    let user = |uid| Some(Credentials { pid: 1, uid, gid: 2 });
    let unnamed = Addr::Unix(UnixName::Unnamed);
    for (key, text) in [
        (inet("10.0.0.1"), "10.0.0.1"),
        (inet("::ffff:10.0.0.1"), "10.0.0.1"),
        (inet("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64"),
        (inet("2001:db8:1:2::"), "2001:db8:1:2::/64"),
        (inet("2001:db8:1:3::"), "2001:db8:1:3::/64"),
        (PeerKey::of(&unnamed, user(1000)), "uid 1000"),
        (PeerKey::of(&Addr::Unix(UnixName::Path("/run/x".into())), user(1000)), "uid 1000"),
        (PeerKey::of(&unnamed, None), "Unix clients of unknown users"),
        (PeerKey::of(&Addr::Vsock { cid: 3, port: 9 }, None), "cid 3"),
    ] {
        assert_eq!(key.to_string(), text);
    }
    assert_eq!(inet("::ffff:10.0.0.1"), inet("10.0.0.1"));
    assert_ne!(inet("2001:db8:1:2::"), inet("2001:db8:1:3::"));
}

#[test]
fn refuses_with_a_word_and_gives_places_back() {
    let (admission, now) = (Admission::new(&limits(3, 2, "")), Instant::now());
    let first = admission.admit(peer(1), now).expect("a place");
    let second = admission.admit(peer(1), now).expect("a place");
    let refusal = admission.admit(peer(1), now).expect_err("two are the most");
    assert_eq!(refusal.word(), "too many connections from this address");
    assert_eq!(refusal.to_string(), "too many connections of 0.0.0.1: the limit for each peer is 2");
    let third = admission.admit(peer(2), now).expect("a place");
    let refusal = admission.admit(peer(3), now).expect_err("three are the most");
    assert_eq!((refusal.word(), refusal), ("too many connections", Refusal::Connections { limit: 3 }));
    assert_eq!(refusal.to_string(), "too many connections: the limit for all is 3");
    drop(second);
    assert_eq!((first.peer(), admission.open()), (peer(1), 2));
    let user = admission.admit(PeerKey::User(7), now).expect("a place");
    drop((first, third, user));
    assert_eq!((admission.open(), admission.tables().of_peer.len()), (0, 0));
    let refusal = Refusal::OfPeer { peer: PeerKey::User(7), limit: 1 };
    assert_eq!(refusal.word(), "too many connections of this user");
}

#[test]
fn without_limits_nobody_is_refused() {
    let (admission, now) = (Admission::new(&limits(0, 0, "")), Instant::now());
    let tickets: Vec<_> = (0..20_000).map(|_| admission.admit(peer(1), now).expect("a place")).collect();
    assert!((0..20_000).all(|_| admission.admit_datagram(peer(1), now).is_ok()));
    assert_eq!(admission.open(), tickets.len());
    assert_eq!(admission.tables().pace.young.len(), 0, "no rate, nothing to keep in mind");
}

#[test]
fn the_defaults_leave_room_for_others() {
    let (admission, now) = (Admission::new(&Limits::default()), Instant::now());
    let greedy: Vec<_> = (0..20_000).filter_map(|_| admission.admit(peer(1), now).ok()).collect();
    assert_eq!(greedy.len(), super::super::MAX_PER_PEER);
    let others: Vec<_> = (2..20_000).filter_map(|number| admission.admit(peer(number), now).ok()).collect();
    assert_eq!(greedy.len() + others.len(), super::super::MAX_CONNECTIONS);
}

#[test]
fn connections_and_datagrams_come_at_the_rate() {
    let (admission, start) = (Admission::new(&limits(0, 0, "10/m")), Instant::now());
    let after = |millis| start + Duration::from_millis(millis);
    drop(admission.admit(peer(1), start).expect("the first"));
    let refusal = admission.admit(peer(1), after(5_999)).expect_err("too early");
    assert_eq!(refusal.word(), "too fast");
    assert_eq!(refusal.to_string(), "too fast: 0.0.0.1; the limit for each peer is 10/m");
    assert!(admission.admit_datagram(peer(2), after(5_999)).is_ok(), "another");
    assert!(admission.admit_datagram(peer(1), after(6_000)).is_ok());
    assert!(admission.admit_datagram(peer(1), after(11_999)).is_err());
    // Who was refused for another reason has used nothing up.
    let full = Admission::new(&limits(1, 0, "1/h"));
    let place = full.admit(peer(1), start).expect("a place");
    assert!(full.admit(peer(2), start).is_err());
    drop(place);
    assert!(full.admit(peer(2), start).is_ok());
}

#[test]
fn who_has_gone_is_forgotten() {
    let (admission, start) = (Admission::new(&limits(0, 0, "100/s")), Instant::now());
    for number in 0..1000 {
        drop(admission.admit(peer(number), start).expect("a place"));
    }
    let mut remembered = Vec::new();
    for second in 0..=2 {
        drop(admission.admit(peer(5000), start + Duration::from_secs(second)).expect("a place"));
        let pace = &admission.tables().pace;
        remembered.push((pace.young.len(), pace.old.len()));
    }
    assert_eq!(remembered, [(1001, 0), (1, 1000), (1, 0)]);
}

#[test]
fn forged_addresses_do_not_fill_the_memory() {
    let (admission, now) = (Admission::new(&limits(0, 0, "2/s")), Instant::now());
    let forged = u32::try_from(MAX_PEERS).expect("a number") * 4;
    for number in 0..forged {
        assert!(admission.admit_datagram(peer(number), now).is_ok());
        if number % 1000 == 0 {
            let pace = &admission.tables().pace;
            assert!(pace.young.len() <= MAX_PEERS && pace.old.len() <= MAX_PEERS);
        }
    }
    // Who comes all the while is not forgotten among them.
    let (admission, honest) = (Admission::remembering(&limits(0, 0, "2/s"), 16), peer(u32::MAX));
    let taken = (0..1000).filter(|number| {
        let _ = admission.admit_datagram(peer(*number), now);
        admission.admit_datagram(honest, now).is_ok()
    });
    assert_eq!(taken.count(), 2);
}

#[test]
fn threads_never_exceed_it_and_lose_no_place() {
    let admission = Admission::new(&limits(10, 4, "1000000/s"));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let admission = admission.clone();
            scope.spawn(move || {
                let mut held = Vec::new();
                for turn in 0..2000 {
                    held.extend(admission.admit(peer((thread + turn) % 5), Instant::now()).ok());
                    let tables = admission.tables();
                    assert!(tables.open <= 10 && tables.of_peer.values().all(|open| (1..=4).contains(open)));
                    assert_eq!(tables.open, tables.of_peer.values().sum::<usize>());
                    drop(tables);
                    if held.len() > 3 || turn % 3 == 0 {
                        held.clear();
                    }
                }
            });
        }
    });
    assert_eq!((admission.open(), admission.tables().of_peer.len()), (0, 0));
}

fn was_given_away(ticket: &mut Ticket) -> bool {
    ticket.poll_given_away(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn the_one_that_is_silent_for_the_longest_makes_room_and_only_where_there_is_none() {
    let (admission, start) = (Admission::new(&limits(3, 2, "")), Instant::now());
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut first = admission.admit(peer(1), start).expect("a place");
    let mut second = admission.admit(peer(2), after(1)).expect("a place");
    let mut third = admission.admit(peer(3), after(3600)).expect("there is room, whoever is silent");
    first.heard();
    // Whoever has said something stays, and the next one makes room.
    let mut fourth = admission.admit(peer(4), after(3600)).expect("the place of the second");
    assert_eq!([&mut first, &mut second, &mut third, &mut fourth].map(was_given_away), [false, true, false, false]);
    assert!(was_given_away(&mut second), "asked again");
    // What it says now comes too late, and no place is counted twice.
    second.heard();
    assert!(was_given_away(&mut second));
    drop(second);
    assert_eq!(admission.open(), 3);
    let refusal = admission.admit(peer(5), after(3609)).expect_err("the others have not been silent for so long");
    assert_eq!(refusal, Refusal::Connections { limit: 3 });
    drop((first, fourth));
    // A peer whose places are taken makes room itself, not another.
    let mut again = admission.admit(peer(5), after(3609)).expect("a place");
    let mut other = admission.admit(peer(5), after(3609)).expect("a place");
    assert!(admission.admit(peer(5), after(3618)).is_err());
    again.heard();
    let _last = admission.admit(peer(5), after(3619)).expect("a place of the peer's own");
    assert_eq!([&mut third, &mut again, &mut other].map(was_given_away), [false, false, true]);
}

#[test]
fn nobody_makes_room_without_a_time_for_it_nor_for_one_that_comes_too_fast() {
    let start = Instant::now();
    let later = start + Duration::from_secs(100_000);
    let patient = Admission::new(&Limits { handshake_timeout: None, ..limits(1, 0, "") });
    let mut silent = patient.admit(peer(1), start).expect("a place");
    assert!(patient.admit(peer(2), later).is_err() && !was_given_away(&mut silent));
    let strict = Admission::new(&limits(1, 0, "1/h"));
    drop(strict.admit(peer(2), later).expect("a place"));
    let mut silent = strict.admit(peer(1), start).expect("a place");
    let refusal = strict.admit(peer(2), later).expect_err("too fast");
    assert_eq!((refusal.word(), was_given_away(&mut silent)), ("too fast", false));
}

/// What happens to a server.
#[derive(Clone, Debug)]
enum Event {
    Connect(u32),
    Datagram(u32),
    /// One of those that are open says something.
    Say(prop::sample::Index),
    /// One of those that are open ends.
    End(prop::sample::Index),
    Wait(Duration),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..6u32).prop_map(Event::Connect),
        2 => (0..6u32).prop_map(Event::Datagram),
        2 => any::<prop::sample::Index>().prop_map(Event::End),
        1 => any::<prop::sample::Index>().prop_map(Event::Say),
        2 => (0..2_000_000_000u64).prop_map(|nanos| Event::Wait(Duration::from_nanos(nanos))),
        1 => (0..30u64).prop_map(|seconds| Event::Wait(Duration::from_secs(seconds))),
    ]
}

/// What should be, the simple way: all that ever came, and buckets in fractions that nobody drops.
struct Model {
    limits: Limits,
    number: u128,
    seconds: u128,
    open: Vec<Open>,
    numbers: usize,
    /// When it was last asked, in nanoseconds, and the tokens there were, in parts of `seconds` × 10⁹.
    buckets: HashMap<u32, (u128, u128)>,
}

/// A connection: its number, whose it is, and since when it has been silent if it is.
struct Open {
    number: usize,
    peer: u32,
    silent: Option<u128>,
}

impl Model {
    fn take(&mut self, peer: u32, now: u128) -> bool {
        if self.limits.rate.is_none() {
            return true;
        }
        let token = self.seconds * 1_000_000_000;
        let full = (self.number / self.seconds).max(1) * token;
        let (at, tokens) = self.buckets.get(&peer).copied().unwrap_or((now, full));
        let tokens = (tokens + (now - at) * self.number).min(full);
        let taken = tokens >= token;
        self.buckets.insert(peer, (now, if taken { tokens - token } else { tokens }));
        taken
    }

    /// The number of the connection, and of the one that makes room; or the word of the refusal.
    fn connect(&mut self, peer: u32, now: u128) -> Result<(usize, Option<usize>), &'static str> {
        let within = |limit: usize, open: usize| limit == 0 || open < limit;
        let has_room = within(self.limits.max_connections, self.open.len());
        let peer_has_room = within(self.limits.max_per_peer, self.open.iter().filter(|open| open.peer == peer).count());
        // They are in the order in which they came.
        let silent = self.open.iter().position(|open| {
            (peer_has_room || open.peer == peer)
                && open.silent.is_some_and(|since| now - since >= HANDSHAKE_TIMEOUT.as_nanos())
        });
        match (has_room, peer_has_room, silent) {
            (false, _, None) => return Err("too many connections"),
            (true, false, None) => return Err("too many connections from this address"),
            _ => {}
        }
        if !self.take(peer, now) {
            return Err("too fast");
        }
        let gone = silent.filter(|_| !has_room || !peer_has_room).map(|at| self.open.remove(at).number);
        self.open.push(Open { number: self.numbers, peer, silent: Some(now) });
        self.numbers += 1;
        Ok((self.numbers - 1, gone))
    }
}

proptest! {
    #[test]
    fn agrees_with_a_model_that_forgets_nothing(
        (max_connections, max_per_peer) in (0..8usize, 0..4usize),
        rate in prop_oneof![
            Just((0u32, 1u32, "")),
            (1..5u32).prop_map(|number| (number, 1, "s")),
            (1..200u32).prop_map(|number| (number, 60, "m")),
            (1..9000u32).prop_map(|number| (number, 3600, "h")),
        ],
        events in proptest::collection::vec(event(), 1..200),
    ) {
        let (number, seconds, unit) = rate;
        let limits = limits(max_connections, max_per_peer, &format!("{number}/{unit}"));
        prop_assert_eq!(limits.rate.is_some(), number > 0);
        let admission = Admission::new(&limits);
        let mut model = Model {
            limits, number: number.into(), seconds: seconds.into(), open: Vec::new(), numbers: 0, buckets: HashMap::new(),
        };
        let (start, mut now) = (Instant::now(), Duration::ZERO);
        let mut tickets = Vec::new();
        for event in events {
            match event {
                Event::Connect(number) => {
                    let ticket = admission.admit(peer(number), start + now);
                    match (ticket, model.connect(number, now.as_nanos())) {
                        (Ok(ticket), Ok((number, gone))) => {
                            for (number, ticket) in &mut tickets {
                                prop_assert_eq!(was_given_away(ticket), gone == Some(*number));
                            }
                            tickets.retain(|(number, _)| gone != Some(*number));
                            tickets.push((number, ticket));
                        }
                        (ticket, expected) => {
                            let found = ticket.map(|_| (0, None)).map_err(|refusal| refusal.word());
                            prop_assert_eq!(found, expected);
                        }
                    }
                }
                Event::Datagram(number) => {
                    let taken = admission.admit_datagram(peer(number), start + now).is_ok();
                    prop_assert_eq!(taken, model.take(number, now.as_nanos()));
                }
                Event::End(which) if !tickets.is_empty() => {
                    let at = which.index(tickets.len());
                    let (number, _) = tickets.remove(at);
                    model.open.retain(|open| open.number != number);
                }
                Event::Say(which) if !tickets.is_empty() => {
                    let at = which.index(tickets.len());
                    tickets[at].1.heard();
                    let number = tickets[at].0;
                    model.open.iter_mut().filter(|open| open.number == number).for_each(|open| open.silent = None);
                }
                Event::End(_) | Event::Say(_) => {}
                Event::Wait(time) => now += time,
            }
            let tables = admission.tables();
            prop_assert_eq!(tables.open, model.open.len());
            prop_assert_eq!(tables.of_peer.values().sum::<usize>(), model.open.len());
        }
        drop(tickets);
        prop_assert_eq!((admission.open(), admission.tables().of_peer.len()), (0, 0));
    }
}
