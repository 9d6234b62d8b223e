//! Simulation: whole worlds of clients, servers, disks and networks in which everything goes wrong, in a time of their own.
//!
//! Apart from the tests of single rules: here thousands of worlds are run, each from a seed that decides all of it, and each rule is broken once on purpose
//! to see that it would be found. `WILCO_SEEDS=n` runs more of them; `WILCO_SEED=n cargo test --lib simulation -- --nocapture` runs one and prints all that happens in it.

mod checks;
mod client;
mod faults;
mod network;
mod plan;
mod random;
mod server;
mod spool;
mod store;
mod user;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use client::End;
use world::World;

use crate::wire::assured::StopReason;

/// What kind of world it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scenario {
    /// Everything goes wrong that assured delivery is to withstand: all must be delivered.
    Plain,
    /// A spool is copied, and two clients work with the same session.
    Cloned,
    /// A spool is set back to what it was.
    SpoolBack,
    /// The store is set back to what it was.
    StoreBack,
    /// The store is deleted.
    StoreGone,
}

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mutation {
    /// Messages are accepted before they are synced.
    C1,
    /// What was written to the connection leaves the spool.
    C2,
    /// Checksums are not compared.
    C3,
    /// No lock: a second process works with the spool.
    C4,
    /// Without a spool, what was sent is forgotten when the connection is lost.
    C5,
    /// There is always another server to go to at once.
    Round,
    /// An older owner's messages are applied.
    S1,
    /// A run is applied whatever came before it.
    S2NoCompare,
    /// Messages and progress are two transactions.
    S2TwoTransactions,
    /// Acknowledged before it is durable.
    S3,
    /// Nothing is made durable at the start.
    S4,
    /// A session is gone on with whatever the client has.
    S5,
}

/// How a world ended.
struct Outcome {
    violation: Option<String>,
    /// Whether a client stopped since the session was lost.
    lost: bool,
    log: Vec<String>,
}

fn simulate(seed: u64, scenario: Scenario, mutation: Option<Mutation>, logs: bool) -> Outcome {
    let mut world = World::new(seed, scenario, mutation, logs);
    let run = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = run.unwrap_or_else(|_| Some("something has panicked".to_owned()));
    let is_lost = |end: &Option<End>| matches!(end, Some(End::Stop(StopReason::Lost(..))));
    let lost = world.clients.iter().any(|client| is_lost(&client.end));
    Outcome { violation, lost, log: world.log }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs worlds of a kind, and returns in how many of them a session was lost.
fn survey(scenario: Scenario, seeds: u64) -> u64 {
    if let Some(seed) = number("WILCO_SEED") {
        let outcome = simulate(seed, scenario, None, true);
        println(&format!("{scenario:?}, seed {seed}\n{}", outcome.log.join("\n")));
        assert_eq!(outcome.violation, None, "{scenario:?}, seed {seed}");
        return 1;
    }
    let seeds = number("WILCO_SEEDS").unwrap_or(seeds);
    let (mut lost, mut failed) = (0, Vec::new());
    for seed in 0..seeds {
        let outcome = simulate(seed, scenario, None, false);
        lost += u64::from(outcome.lost);
        failed.extend(outcome.violation.map(|violation| format!("{scenario:?}, seed {seed}: {violation}\n")));
        if failed.len() > 9 {
            break;
        }
    }
    let how = "All that happens in one: WILCO_SEED=<seed> cargo test --lib simulation -- --nocapture";
    assert!(failed.is_empty(), "\n{}{how}", failed.concat());
    lost
}

#[test]
fn all_is_delivered_once_and_in_order_whatever_happens() {
    survey(Scenario::Plain, 3000);
}

#[test]
fn a_session_that_was_copied_or_set_back_is_never_lost_silently() {
    for (scenario, seeds) in
        [(Scenario::Cloned, 600), (Scenario::SpoolBack, 800), (Scenario::StoreBack, 800), (Scenario::StoreGone, 500)]
    {
        let lost = survey(scenario, seeds);
        assert!(lost > 0, "{scenario:?}: no session was lost, so nothing was tested");
    }
}

/// In which kind of world a broken rule shows, and within how many of them.
const MUTATIONS: [(Mutation, Scenario, u64); 12] = [
    (Mutation::C1, Scenario::Plain, 200),
    (Mutation::C2, Scenario::Plain, 200),
    (Mutation::C3, Scenario::SpoolBack, 400),
    (Mutation::C4, Scenario::Plain, 200),
    (Mutation::C5, Scenario::Plain, 200),
    (Mutation::Round, Scenario::Plain, 400),
    (Mutation::S1, Scenario::Cloned, 400),
    (Mutation::S2NoCompare, Scenario::Plain, 200),
    (Mutation::S2TwoTransactions, Scenario::Plain, 200),
    (Mutation::S3, Scenario::Plain, 200),
    (Mutation::S4, Scenario::Plain, 400),
    (Mutation::S5, Scenario::StoreBack, 200),
];

#[test]
fn each_rule_that_is_broken_is_found() {
    let mut unfound = Vec::new();
    for (mutation, scenario, seeds) in MUTATIONS {
        let found = (0..seeds).find_map(|seed| {
            simulate(seed, scenario, Some(mutation), false).violation.map(|violation| (seed, violation))
        });
        match found {
            Some((seed, violation)) => println(&format!("{mutation:?} is found with seed {seed}: {violation}")),
            None => unfound.push(mutation),
        }
    }
    assert!(unfound.is_empty(), "not found: {unfound:?}");
}

#[allow(clippy::print_stdout, reason = "whoever runs a test by hand is told; otherwise it is kept from the screen")]
fn println(line: &str) {
    println!("{line}");
}
