//! Connections that are cut at a chosen byte, reset, ended on one side, or simply silent; and packets that a firewall drops.
//!
//! Apart from processes that are killed: here both live, and each has to find out what the other has got.

use std::net::SocketAddr;
use std::process::Command;

use nix::sys::signal::Signal;

use super::Pipeline;
use super::pipeline::{LONE, LONG, body};
use super::points::{Choice, tell};
use super::proxy::{Cut, How, Proxy, Towards};
use crate::harness::{Families, Host, Hosts, Launch, Program, expect_signal, expect_status, expect_success};

/// How many messages a run has: some alone, some that come at once.
const MESSAGES: u64 = LONE + 6;

/// The server of a pipeline over TCP, and where it is.
fn listen(pipeline: &Pipeline) -> (Program, SocketAddr) {
    let server = pipeline.server().start();
    let address = server.listening();
    let address = address.trim_start_matches("tcp:").parse().expect("an address");
    (server, address)
}

/// Delivers through a proxy; gives the proxy.
fn deliver(cuts: &[Cut]) -> Proxy {
    let pipeline = Pipeline::over_tcp();
    let (server, address) = listen(&pipeline);
    let proxy = Proxy::start(address, cuts);
    assert_eq!(pipeline.deliver(MESSAGES, |_| pipeline.client_of(&proxy.address())), 0);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    pipeline.check(MESSAGES);
    proxy
}

fn cut_everywhere(test: &str, how: How) {
    let choice = Choice::of(test);
    let whole = deliver(&[]);
    let (mut tried, mut hit, mut bytes) = (0, 0, 0);
    for towards in [Towards::Server, Towards::Client] {
        // An opening that is cut before it can be told from a line is a line, and kept as one.
        let all: Vec<u64> = (9..whole.passed(towards)).collect();
        // A body has many bytes that are alike: of those towards the server the complete sweep has every 47th.
        let step = if towards == Towards::Server { 47 } else { 1 };
        let all: Vec<u64> = all.into_iter().step_by(step).collect();
        bytes += all.len();
        for after in choice.some(9, &all) {
            tell(&format!("{how:?} after {after} bytes towards the {towards:?}"));
            // The next connection is cut there, too, where it comes so far.
            let cut = Cut { towards, after, how };
            let proxy = deliver(&[cut, cut]);
            tried += 1;
            hit += proxy.hit();
        }
    }
    tell(&format!("{test}: {hit} connections cut, in {tried} runs, at {tried} of {bytes} places"));
    assert!(hit >= tried * 9 / 10, "only {hit} cuts in {tried} runs");
}

#[test]
fn connections_end_at_any_byte() {
    cut_everywhere("connections_end_at_any_byte", How::End);
}

#[test]
fn connections_are_reset_at_any_byte() {
    cut_everywhere("connections_are_reset_at_any_byte", How::Reset);
}

#[test]
fn one_direction_of_connections_ends_at_any_byte() {
    cut_everywhere("one_direction_of_connections_ends_at_any_byte", How::HalfEnd);
}

/// Sends to a client whose patience ends while the connection is silent, and then to another one; the server still has the connection of the first.
#[test]
fn a_client_that_has_left_a_silent_connection_goes_on_with_another() {
    const TEST: &str = "a_client_that_has_left_a_silent_connection_goes_on_with_another";
    let pipeline = Pipeline::over_tcp();
    let (server, address) = listen(&pipeline);
    for (towards, after) in [(Towards::Server, 700), (Towards::Client, 30)] {
        let cut = Cut { towards, after, how: How::Silence };
        let proxy = Proxy::start(address, &[cut]);
        let through = pipeline.accepted() + MESSAGES;
        let mut client = patient(&pipeline, &proxy.address(), "1s").start();
        feed(&mut client, through - MESSAGES, through);
        let done = client.finish();
        expect_status(&done, 4);
        assert!(done.stderr.contains("wait in the spool"), "{}", done.report());
        assert_eq!((proxy.hit(), pipeline.accepted()), (1, through));
        expect_success(&patient(&pipeline, &proxy.address(), "20s").start().finish());
    }
    tell(TEST);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    pipeline.check(2 * MESSAGES);
}

/// The times of the protocol are waited for only where all is tried: it takes a minute.
#[test]
fn a_silent_connection_is_left_for_another_by_itself() {
    let choice = Choice::of("a_silent_connection_is_left_for_another_by_itself");
    if choice.count(0, 1) == 1 {
        let cut = Cut { towards: Towards::Client, after: 130, how: How::Silence };
        assert_eq!(deliver(&[cut]).hit(), 1);
    }
}

fn patient(pipeline: &Pipeline, address: &str, time: &str) -> Launch {
    let spool = pipeline.spool().to_str().expect("a path");
    Launch::client(["--json", "--spool", spool, "--timeout", time, address])
}

fn feed(client: &mut Program, after: u64, through: u64) {
    for number in after + 1..=through {
        client.send(body(number) + "\n");
    }
}

/// A firewall of a host: what happens to packets that come.
pub(super) fn nft(host: &Host, rule: &str) {
    let chain = format!("chain come {{\ntype filter hook input priority 0\n{rule}\n}}");
    let table = format!("table inet faults\ndelete table inet faults\ntable inet faults {{\n{chain}\n}}\n");
    let done = Command::new("ip").args(["netns", "exec", host.namespace(), "nft", &table]).output().expect("run nft");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn packets_are_dropped_silently() {
    const TEST: &str = "packets_are_dropped_silently";
    let Some(hosts) = Hosts::new(TEST, Families::V4) else { return };
    let pipeline = Pipeline::over_tcp();
    let store = pipeline.store().to_str().expect("a path");
    let server = Launch::server(["-k", "0", "--store", store]).on(&hosts.cheerios).start();
    let address = format!("tcp:cheerios:{}", server.port());
    // Two of ten are lost: the kernel sends again, and all comes.
    nft(&hosts.cheerios, "numgen random mod 10 < 2 drop");
    let mut client = patient(&pipeline, &address, "0").on(&hosts.desk).start();
    feed(&mut client, 0, MESSAGES);
    client.close_stdin();
    expect_success(&client.wait_within(LONG));
    // Then all of them, in the middle: neither side is told.
    nft(&hosts.cheerios, "");
    let mut client = patient(&pipeline, &address, "1s").on(&hosts.desk).start();
    feed(&mut client, MESSAGES, MESSAGES + 1);
    client.wait_for_stdout(&format!("\"last\":{}", MESSAGES + 1));
    nft(&hosts.cheerios, "drop");
    feed(&mut client, MESSAGES + 1, 2 * MESSAGES);
    let done = client.finish();
    expect_status(&done, 4);
    nft(&hosts.cheerios, "");
    expect_success(&patient(&pipeline, &address, "20s").on(&hosts.desk).start().finish());
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    pipeline.check(2 * MESSAGES);
}
