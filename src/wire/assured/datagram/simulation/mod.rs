//! Sessions over a network that loses, doubles, delays and forges, between a client and a server that crash: a run is made of one number, and takes no time.
//!
//! Apart from the tests of each part: here is what all of them together promise. `WILCO_SEED=n cargo test --lib datagram::simulation` runs the one that
//! was printed, `WILCO_RUNS=n` the first so many.

mod client;
mod faults;
mod server;
mod store;
mod world;

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use super::broken::{BROKEN, Rule};
use world::{Plan, World};

/// How many runs of each kind there are, unless `WILCO_RUNS` says how many.
const RUNS: u64 = 200;

/// Within how many runs a broken rule must be noticed.
const ENOUGH: u64 = 100;

/// Runs a seed, and says what was wrong.
fn run(plan: Plan) -> Result<(), String> {
    let result = panic::catch_unwind(AssertUnwindSafe(|| World::new(plan).run()));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

#[track_caller]
fn all(plan: impl Fn(u64) -> Plan) {
    let said = |name| std::env::var(name).ok().map(|number| number.parse().expect("a number"));
    let seeds = said("WILCO_SEED").map_or(0..said("WILCO_RUNS").unwrap_or(RUNS), |seed: u64| seed..seed + 1);
    for seed in seeds {
        if let Err(wrong) = run(plan(seed)) {
            panic!("{wrong}\nWILCO_SEED={seed} runs it again");
        }
    }
}

/// Breaks a rule and says what was noticed first.
fn noticed(rule: Rule, plan: impl Fn(u64) -> Plan) -> Option<String> {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    // Of a broken rule, overflows and the like are expected, and are not to be shown.
    let shown = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            shown(info);
        }
    }));
    QUIET.set(true);
    BROKEN.set(Some(rule));
    let found = (0..ENOUGH).find_map(|seed| run(plan(seed)).err());
    BROKEN.set(None);
    QUIET.set(false);
    found
}

#[test]
fn all_is_stored_once_and_in_order_whatever_the_network_does() {
    all(Plan::network);
}

#[test]
fn all_is_stored_once_and_in_order_whoever_crashes() {
    all(Plan::crashes);
}

#[test]
fn nobody_who_cannot_receive_is_believed_or_answered_at_length() {
    all(Plan::forgers);
}

#[test]
fn a_copied_session_loses_nothing_without_a_word() {
    all(Plan::forks);
}

/// An older life of a client had the same address and sends, or is sent, something that comes late.
mod late {
    use std::time::{Duration, Instant};

    use super::super::sessions::{Input, Output, Sessions};
    use super::super::{ClientPacket, Cookie, DatagramConfig, DatagramSender, Secret, ServerPacket, SessionsConfig};
    use super::world::Address;
    use crate::wire::assured::sender::{self, SenderConfig, Start};
    use crate::wire::assured::{Open, Progress, SessionId};

    /// Opens a session from an address, and says what it was granted.
    fn open(sessions: &mut Sessions<Address>, attempt: u64, now: Instant) -> Cookie {
        let mut cookie = None;
        loop {
            let session = SessionId::of_bits(1);
            let open = Open { session, first: 1, next: 9, level: None, replies: false, token: None, name: None };
            say(sessions, &ClientPacket::Open { open, attempt: Some(attempt), cookie }, now);
            while let Some(output) = next(sessions, now) {
                match output {
                    Output::Open { opening, open, .. } => {
                        sessions.handle(Input::Opened(open.session, opening, Ok(Progress::default())), now);
                    }
                    Output::Send { datagram, .. } => match ServerPacket::parse(&datagram).expect("a packet") {
                        ServerPacket::Challenge { cookie: given, .. } => cookie = Some(given),
                        ServerPacket::Granted { cookie, .. } => return cookie,
                        other => panic!("{other:?}"),
                    },
                    _ => {}
                }
            }
        }
    }

    fn say(sessions: &mut Sessions<Address>, packet: &ClientPacket<'_>, now: Instant) {
        let mut datagram = Vec::new();
        packet.encode(&mut datagram);
        sessions.datagram(7, b"seven", &datagram, now).expect("a packet");
    }

    fn next(sessions: &mut Sessions<Address>, now: Instant) -> Option<Output<Address>> {
        Some(sessions.poll(now)).filter(|output| !matches!(output, Output::Wait(_)))
    }

    /// Whether a message that was sent before the session was opened again is not taken for one that was sent since.
    pub(super) fn message_is_not_taken() -> bool {
        let now = Instant::now();
        let mut sessions = Sessions::new(SessionsConfig::default(), Secret::new([1; 32]), now);
        let cookie = open(&mut sessions, 1, now);
        let current = open(&mut sessions, 2, now);
        let mut applied = |cookie| {
            let session = SessionId::of_bits(1);
            say(&mut sessions, &ClientPacket::Message { session, cookie, number: 1, origin: None, body: b"one" }, now);
            std::iter::from_fn(|| next(&mut sessions, now)).any(|output| matches!(output, Output::Apply { .. }))
        };
        !applied(cookie) && applied(current)
    }

    /// Whether a client does not go by what another attempt was answered.
    pub(super) fn answer_is_not_believed() -> bool {
        let now = Instant::now();
        let session = SessionId::of_bits(1);
        let config =
            SenderConfig { session: session.clone(), replies: false, level: None, name: None, patience: None, seed: 1 };
        let start = Start { first: 1, next: 9, checksum: None };
        let mut sender = DatagramSender::new(DatagramConfig::new(config), start, now);
        assert!(matches!(sender.poll(now), sender::Output::Connect { .. }));
        sender.handle(sender::Input::Connected, now);
        let sender::Output::Send(ClientPacket::Open { attempt, .. }) = sender.poll(now) else { panic!("no opening") };
        let mut is_open_by = |attempt| {
            let packet = ServerPacket::Granted {
                session: session.clone(),
                cookie: Secret::new([1; 32]).cookie(b"", &session, 0, 1),
                attempt,
                acknowledged: 0,
                checksum: Some(0),
                window: 64,
                max_body: 1200,
                level: None,
                server: None,
            };
            sender.handle(sender::Input::Frame(packet), now + Duration::from_secs(1));
            sender.is_open()
        };
        !is_open_by(attempt.map(|attempt| attempt - 1)) && !is_open_by(None) && is_open_by(attempt)
    }
}

#[test]
fn what_comes_late_is_not_taken_for_what_is_said_now() {
    for (rule, holds) in [
        (Rule::CookieOfOpening, late::message_is_not_taken as fn() -> bool),
        (Rule::AnswerToAttempt, late::answer_is_not_believed),
    ] {
        assert!(holds(), "{rule:?}");
        BROKEN.set(Some(rule));
        assert!(!holds(), "{rule:?} is broken");
        BROKEN.set(None);
    }
}

#[test]
fn a_rule_that_is_broken_is_noticed() {
    type Kind = fn(u64) -> Plan;
    let table: [(Rule, Kind); 10] = [
        (Rule::AcknowledgeAfterCommit, Plan::crashes),
        (Rule::ApplyInOrder, Plan::network),
        (Rule::ProveSource, Plan::forgers),
        (Rule::DuplicatesBySession, Plan::crashes),
        (Rule::HoldBackForRefusals, Plan::network),
        (Rule::HoldWithinLimits, Plan::forgers),
        (Rule::HeldIsNotFinal, Plan::crashes),
        (Rule::SentIsNotFinal, Plan::crashes),
        (Rule::CompareChecksums, Plan::forks),
        (Rule::Retransmit, Plan::network),
    ];
    let missed: Vec<Rule> =
        table.into_iter().filter(|(rule, plan)| noticed(*rule, plan).is_none()).map(|row| row.0).collect();
    assert!(missed.is_empty(), "not noticed within {ENOUGH} runs: {missed:?}");
}
