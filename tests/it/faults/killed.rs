//! Killed at any system call: the server, the client, both at random.
//!
//! Apart from disks and connections that fail: here nothing fails, processes only end, and each is followed by another.

use std::sync::{Arc, Mutex};

use super::points::{Choice, DISK, Point, TALK, counting, points, tell};
use super::{Injection, Pipeline, Server, has_strace};
use crate::harness::Launch;

/// How many messages a run has: those that are sent alone, and as many that come at once.
const MESSAGES: u64 = 24;

/// All calls that are of interest.
fn calls() -> Vec<&'static str> {
    [DISK, TALK].concat()
}

/// The launch, killed there if it is to be.
fn killed(launch: Launch, point: Option<&Point>) -> Launch {
    match point {
        Some(point) => Injection::kill(point).around(launch),
        None => launch,
    }
}

/// Every point of a server in a run.
pub(super) fn server_points(has_store: bool) -> Vec<Point> {
    let pipeline = Pipeline::new();
    if has_store {
        pipeline.make_store();
    }
    let trace = pipeline.path("calls");
    let (launch, file) = (pipeline.server(), trace.clone());
    let server = Server::start(move |_| counting(launch.clone(), &calls(), &file));
    pipeline.deliver(MESSAGES, |_| pipeline.client());
    assert_eq!(server.killed(), 0);
    pipeline.check(MESSAGES);
    points(&trace)
}

/// Every point of a client in a run.
fn client_points() -> Vec<Point> {
    let pipeline = Pipeline::new();
    let trace = pipeline.path("calls");
    let launch = pipeline.server();
    let server = Server::start(move |_| launch.clone());
    pipeline.deliver(MESSAGES, |_| counting(pipeline.client(), &calls(), &trace));
    assert_eq!(server.killed(), 0);
    pipeline.check(MESSAGES);
    points(&trace)
}

fn kill_server(test: &str, has_store: bool, some: usize) {
    if !has_strace(test) {
        return;
    }
    let (choice, all) = (Choice::of(test), server_points(has_store));
    let chosen = choice.some(some, &all);
    let mut hit = 0;
    for point in &chosen {
        tell(&format!("server killed at {point}"));
        let pipeline = Pipeline::new();
        if has_store {
            pipeline.make_store();
        }
        let (launch, at) = (pipeline.server(), point.clone());
        let server = Server::start(move |round| killed(launch.clone(), (round == 0).then_some(&at)));
        pipeline.deliver(MESSAGES, |_| pipeline.client());
        hit += server.killed();
        pipeline.check(MESSAGES);
    }
    tell(&format!("{test}: {hit} killed, at {} of {} points", chosen.len(), all.len()));
    assert!(hit * 2 > chosen.len(), "only {hit} of {} were killed", chosen.len());
}

#[test]
fn a_server_is_killed_at_every_call() {
    kill_server("a_server_is_killed_at_every_call", true, 40);
}

#[test]
fn a_server_is_killed_while_it_makes_its_store() {
    kill_server("a_server_is_killed_while_it_makes_its_store", false, 12);
}

#[test]
fn a_client_is_killed_at_every_call() {
    const TEST: &str = "a_client_is_killed_at_every_call";
    if !has_strace(TEST) {
        return;
    }
    let (choice, all) = (Choice::of(TEST), client_points());
    let chosen = choice.some(40, &all);
    let mut hit = 0;
    for point in &chosen {
        tell(&format!("client killed at {point}"));
        let pipeline = Pipeline::new();
        let launch = pipeline.server();
        let server = Server::start(move |_| launch.clone());
        hit += pipeline.deliver(MESSAGES, |round| killed(pipeline.client(), (round == 0).then_some(point))) as usize;
        assert_eq!(server.killed(), 0);
        pipeline.check(MESSAGES);
    }
    tell(&format!("{TEST}: {hit} killed, at {} of {} points", chosen.len(), all.len()));
    assert!(hit * 2 > chosen.len(), "only {hit} of {} were killed", chosen.len());
}

#[test]
fn both_are_killed_at_random_again_and_again() {
    const TEST: &str = "both_are_killed_at_random_again_and_again";
    if !has_strace(TEST) {
        return;
    }
    let choice = Choice::of(TEST);
    let (servers, clients) = (server_points(true), client_points());
    let pipeline = Pipeline::new();
    let random = Arc::new(Mutex::new(choice.random()));
    let mut killed_in_all = (0, 0);
    let mut through = 0;
    // One store and one spool through all rounds.
    for round in 0..choice.count(10, 100) {
        let draw = |from: &[Point]| random.lock().expect("no panic with it").one_of(from).clone();
        let hits: Vec<Point> = (0..3).map(|_| draw(&servers)).collect();
        let own: Vec<Point> = (0..3).map(|_| draw(&clients)).collect();
        tell(&format!("round {round}: {hits:?} {own:?}"));
        through += MESSAGES;
        let launch = pipeline.server();
        let server = Server::start(move |round| killed(launch.clone(), hits.get(round as usize)));
        killed_in_all.1 += pipeline.deliver(through, |round| killed(pipeline.client(), own.get(round as usize)));
        killed_in_all.0 += server.killed();
        pipeline.check(through);
    }
    let (servers, clients) = killed_in_all;
    tell(&format!("{TEST}: {servers} servers and {clients} clients killed, {through} messages"));
    assert!(servers > 0 && clients > 0);
}
