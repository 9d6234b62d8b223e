//! Sessions over a network that loses, doubles, delays and forges, between a client and a server that crash: a run is made of one number, and takes no time.
//!
//! Apart from the tests of each part: here is what all of them together promise. `WILCO_SEED=n cargo test --lib datagram::simulation` runs the one that
//! was printed.

mod client;
mod server;
mod store;
mod world;

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use super::broken::{BROKEN, Rule};
use world::{Plan, World};

/// How many runs of each kind there are.
const RUNS: u64 = 400;

/// Within how many runs a broken rule must be noticed.
const ENOUGH: u64 = 300;

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
    let only = std::env::var("WILCO_SEED").ok().map(|seed| seed.parse().expect("WILCO_SEED is a number"));
    let seeds = only.map_or(0..RUNS, |seed: u64| seed..seed + 1);
    for seed in seeds {
        if let Err(wrong) = run(plan(seed)) {
            panic!("{wrong}\nWILCO_SEED={seed} runs it again");
        }
    }
}

/// Breaks a rule and says in which run it was noticed first, and by what.
fn noticed(rule: Rule, plan: impl Fn(u64) -> Plan) -> Option<(u64, String)> {
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
    let found = (0..ENOUGH).find_map(|seed| run(plan(seed)).err().map(|wrong| (seed, wrong)));
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

#[test]
fn a_rule_that_is_broken_is_noticed() {
    type Kind = fn(u64) -> Plan;
    let table: [(Rule, Kind); 13] = [
        (Rule::AcknowledgeAfterCommit, Plan::crashes),
        (Rule::ApplyInOrder, Plan::network),
        (Rule::ProveSource, Plan::forgers),
        (Rule::CookieOfOpening, Plan::forks),
        (Rule::DuplicatesBySession, Plan::crashes),
        (Rule::HoldBackForRefusals, Plan::network),
        (Rule::HoldWithinLimits, Plan::forgers),
        (Rule::HeldIsNotFinal, Plan::crashes),
        (Rule::SentIsNotFinal, Plan::crashes),
        (Rule::CompareChecksums, Plan::forks),
        (Rule::BelieveOnlyWhenOpen, Plan::forks),
        (Rule::AnswerToAttempt, Plan::forks),
        (Rule::Retransmit, Plan::network),
    ];
    let mut missed = Vec::new();
    for (rule, plan) in table {
        match noticed(rule, plan) {
            Some((seed, wrong)) => eprintln!("{rule:?}: run {seed}: {wrong}"),
            None => missed.push(rule),
        }
    }
    assert!(missed.is_empty(), "not noticed within {ENOUGH} runs: {missed:?}");
}
