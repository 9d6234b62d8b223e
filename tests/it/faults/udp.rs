//! A network that loses datagrams, doubles them, and lets them overtake each other: a relay that does it, and a firewall.
//!
//! Apart from connections, which the kernel mends: here all that is lost has to be sent again by the client.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use super::Pipeline;
use super::network::nft;
use super::pipeline::{LONG, body};
use super::points::{Choice, Random, tell};
use crate::harness::{Families, Hosts, Launch, Program, expect_signal, expect_success};

/// What became of the datagrams of one direction.
#[derive(Debug, Default)]
struct Fate {
    passed: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
    overtaken: AtomicU64,
}

/// A relay of datagrams between one client at a time and a server.
#[derive(Debug)]
struct Relay {
    address: SocketAddr,
    fates: [Arc<Fate>; 2],
}

impl Relay {
    fn start(server: SocketAddr, choice: &Choice) -> Relay {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let (front, back) = (Arc::new(bind()), Arc::new(bind()));
        back.connect(server).expect("connect");
        let fates: [Arc<Fate>; 2] = Default::default();
        let address = front.local_addr().expect("an address");
        let (to_client, from_server) = (Arc::clone(&front), Arc::clone(&back));
        let (there, here) = (fates.clone(), choice.random());
        let client = Arc::new(std::sync::Mutex::new(None));
        let known = Arc::clone(&client);
        let mut random = choice.random();
        thread::spawn(move || {
            let mut chance = here;
            relay(
                &there[0],
                &mut chance,
                |buffer| {
                    let (length, from) = front.recv_from(buffer).ok()?;
                    *known.lock().expect("no panic with it") = Some(from);
                    Some(length)
                },
                |datagram| drop(back.send(datagram)),
            );
        });
        let fate = Arc::clone(&fates[1]);
        thread::spawn(move || {
            random.below(1 << 30);
            relay(
                &fate,
                &mut random,
                |buffer| from_server.recv(buffer).ok(),
                |datagram| {
                    let client = *client.lock().expect("no panic with it");
                    let _ = to_client.send_to(datagram, client.expect("it has sent first"));
                },
            );
        });
        Relay { address, fates }
    }

    fn report(&self) -> String {
        let sum = |of: fn(&Fate) -> &AtomicU64| -> u64 {
            self.fates.iter().map(|fate| of(fate).load(Ordering::SeqCst)).sum()
        };
        let (passed, lost) = (sum(|fate| &fate.passed), sum(|fate| &fate.lost));
        let (doubled, overtaken) = (sum(|fate| &fate.doubled), sum(|fate| &fate.overtaken));
        assert!(lost > 0 && doubled > 0 && overtaken > 0, "{self:?}");
        format!("{passed} datagrams passed, {lost} lost, {doubled} doubled, {overtaken} overtaken")
    }
}

/// Of ten datagrams one is lost, two come twice, and one waits until another has passed (which is as good as lost where no other comes).
fn relay(fate: &Fate, random: &mut Random, mut receive: impl FnMut(&mut [u8]) -> Option<usize>, send: impl Fn(&[u8])) {
    let mut buffer = [0; 65536];
    let mut late: Option<Vec<u8>> = None;
    let count = |counter: &AtomicU64| {
        counter.fetch_add(1, Ordering::SeqCst);
    };
    while let Some(length) = receive(&mut buffer) {
        let datagram = &buffer[..length];
        match random.below(10) {
            0 => count(&fate.lost),
            1..3 => {
                send(datagram);
                send(datagram);
                count(&fate.doubled);
            }
            3 if late.is_none() => {
                late = Some(datagram.to_vec());
                count(&fate.overtaken);
                continue;
            }
            _ => {
                send(datagram);
                count(&fate.passed);
            }
        }
        if let Some(datagram) = late.take() {
            send(&datagram);
        }
    }
}

fn listen(pipeline: &Pipeline) -> (Program, SocketAddr) {
    let server = pipeline.server().start();
    let address = server.listening();
    (server, address.trim_start_matches("udp:").parse().expect("an address"))
}

/// Has so many messages delivered, and both sides end; then looks whether all are there.
fn deliver(pipeline: &Pipeline, mut client: Program, server: Program, messages: u64) {
    for number in 1..=messages {
        client.send(body(number) + "\n");
    }
    client.close_stdin();
    expect_success(&client.wait_within(LONG * 3));
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    pipeline.check(messages);
}

#[test]
fn datagrams_are_lost_doubled_and_overtaken() {
    const TEST: &str = "datagrams_are_lost_doubled_and_overtaken";
    let choice = Choice::of(TEST);
    let pipeline = Pipeline::over_udp();
    let (server, address) = listen(&pipeline);
    let relay = Relay::start(address, &choice);
    let messages = choice.count(60, 300);
    let client = pipeline.client_of(&format!("udp:{}", relay.address)).start();
    deliver(&pipeline, client, server, messages);
    tell(&format!("{TEST}: {messages} messages, {}", relay.report()));
}

#[test]
fn three_of_ten_packets_are_dropped_by_a_firewall() {
    const TEST: &str = "three_of_ten_packets_are_dropped_by_a_firewall";
    let Some(hosts) = Hosts::new(TEST, Families::V4) else { return };
    let messages = Choice::of(TEST).count(12, 60);
    let pipeline = Pipeline::over_udp();
    let store = pipeline.store().to_str().expect("a path");
    let server = Launch::server(["udp:0", "--store", store]).on(&hosts.cheerios).start();
    let address = format!("udp:cheerios:{}", server.port());
    for host in [&hosts.cheerios, &hosts.desk] {
        nft(host, "meta l4proto udp numgen random mod 10 < 3 drop");
    }
    let client = pipeline.client_of(&address).on(&hosts.desk).start();
    deliver(&pipeline, client, server, messages);
}
