//! Servers of one store that are restarted one after the other, under load, while no client is.
//!
//! Apart from the single steps of it: here all kinds of clients go through many restarts, and what is stored afterwards is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::name_server::NameServer;
use super::{SERVERS, Trio};
use crate::harness::{DEADLINE, Launch, Program, expect_signal, expect_success};

/// How often each server is restarted, unless `WILCO_FAULTS` or `WILCO_RUNS` says otherwise.
const ROUNDS: usize = 2;

/// How often with `WILCO_FAULTS=all`.
const ALL_ROUNDS: usize = 20;

/// How many more receipts each client has had before the next server is restarted.
const RECEIPTS: usize = 20;

/// What becomes of what a client sends: thousands of messages, a few at a time.
const AT_ONCE: u64 = 5;
const PAUSE: Duration = Duration::from_millis(10);

/// Where servers keep messages, and how it is read afterwards.
struct Store {
    /// As `--store` and `wilco messages` take it.
    address: String,
    _directory: TempDir,
    /// Who keeps it, beside the servers.
    _keeper: Option<Program>,
}

impl Store {
    fn in_a_file() -> Store {
        let directory = tempfile::tempdir().expect("a directory");
        let address = directory.path().join("store.db").display().to_string();
        Store { address, _directory: directory, _keeper: None }
    }

    /// In a stream of a server of NATS beside the three.
    fn in_a_stream(trio: &Trio) -> Store {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_str().expect("a path");
        let words = ["-a", "127.0.0.1", "-p", "4222", "-js", "-sd", path];
        let keeper = Launch::command("nats-server", words).on(&trio.host).start();
        keeper.wait_for_stderr("Server is ready");
        Store { address: "nats://127.0.0.1/ROLLING".to_owned(), _directory: directory, _keeper: Some(keeper) }
    }
}

/// A client that runs through all of it.
struct Client {
    name: &'static str,
    program: Arc<std::sync::Mutex<Option<Program>>>,
    feeding: thread::JoinHandle<u64>,
}

#[test]
fn servers_of_one_file_are_restarted_one_after_the_other_under_load() {
    let Some(trio) = Trio::new("servers_of_one_file_are_restarted_one_after_the_other_under_load") else { return };
    restart_under_load(&trio, &Store::in_a_file());
}

#[test]
fn servers_of_one_stream_are_restarted_one_after_the_other_under_load() {
    let Some(trio) = Trio::new("servers_of_one_stream_are_restarted_one_after_the_other_under_load") else { return };
    restart_under_load(&trio, &Store::in_a_stream(&trio));
}

fn rounds() -> usize {
    let asked = std::env::var("WILCO_RUNS").ok().and_then(|runs| runs.parse().ok());
    asked.unwrap_or(if std::env::var_os("WILCO_FAULTS").is_some() { ALL_ROUNDS } else { ROUNDS })
}

/// Restarts three servers in turn, each time in order and then by force, while clients of all kinds send; all of it is stored once and in order.
fn restart_under_load(trio: &Trio, store: &Store) {
    let scratch = tempfile::tempdir().expect("a directory");
    let name_server = NameServer::start(&trio.host, scratch.path());
    name_server.set("_wilco._tcp.service", &[(1, 1, 51717, "a"), (1, 1, 51717, "b"), (1, 1, 51717, "c")]);
    let start = |number: usize| {
        let (address, name) = (format!("tcp:{}:51717", SERVERS[number].1), SERVERS[number].0);
        let udp = address.replace("tcp", "udp");
        let server = Launch::server([&address, &udp, "--store", &store.address, "--name", name]).on(&trio.host).start();
        server.listening();
        server
    };
    let mut servers: Vec<Program> = (0..SERVERS.len()).map(start).collect();
    let done = Arc::new(AtomicBool::new(false));
    let spool = |name: &str| scratch.path().join(name).display().to_string();
    let clients = [
        ("list", vec!["--assured".to_owned(), "a:51717".into(), "b:51717".into(), "c:51717".into()]),
        ("name", vec!["--assured".to_owned(), "trio".into(), "51717".into()]),
        ("kept", vec!["--spool".to_owned(), spool("kept"), "trio:51717".into()]),
        ("service", vec!["--spool".to_owned(), spool("service"), "srv:service".into()]),
        ("datagrams", vec!["--assured".to_owned(), "udp:trio:51717".into()]),
        ("other", vec!["--assured".to_owned(), "c:51717".into(), "trio:51717".into()]),
    ];
    let clients = clients.map(|(name, arguments)| Client::start(trio, name, arguments, &done));
    let mut restarts = Vec::new();
    for round in 0..rounds() * 2 {
        let signal = if round % 2 == 0 { Signal::SIGTERM } else { Signal::SIGKILL };
        for number in 0..servers.len() {
            let before = clients.each_ref().map(Client::receipts);
            for (client, before) in clients.iter().zip(before) {
                client.wait_for_receipts(before + RECEIPTS);
            }
            let server = servers.remove(number);
            restarts.push((signal, milliseconds()));
            server.signal(signal);
            expect_signal(&server.wait(), signal);
            servers.insert(number, start(number));
        }
    }
    done.store(true, Ordering::Relaxed);
    let sent: BTreeMap<&str, (u64, u64)> = clients.into_iter().map(Client::finish).collect();
    check(trio, store, &sent, &restarts);
    for server in servers {
        server.signal(Signal::SIGTERM);
        expect_signal(&server.wait(), Signal::SIGTERM);
    }
}

impl Client {
    fn start(trio: &Trio, name: &'static str, arguments: Vec<String>, done: &Arc<AtomicBool>) -> Client {
        let fixed = ["--json", "--name", name].map(str::to_owned);
        let program = Launch::client(fixed.into_iter().chain(arguments)).on(&trio.host).start();
        let program = Arc::new(std::sync::Mutex::new(Some(program)));
        let (feeds, done) = (Arc::clone(&program), Arc::clone(done));
        let feeding = thread::spawn(move || {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                let lines: String = (sent + 1..=sent + AT_ONCE).map(|number| format!("{name} {number}\n")).collect();
                sent += AT_ONCE;
                if let Some(program) = &mut *feeds.lock().expect("the program") {
                    program.send(lines);
                }
                thread::sleep(PAUSE);
            }
            sent
        });
        Client { name, program, feeding }
    }

    fn receipts(&self) -> usize {
        let program = self.program.lock().expect("the program");
        program.as_ref().map_or(0, |program| program.screen().matches("\"receipt\"").count())
    }

    /// Not with the lock held, which whoever feeds it needs.
    fn wait_for_receipts(&self, count: usize) {
        let started = std::time::Instant::now();
        while self.receipts() < count {
            assert!(started.elapsed() < DEADLINE, "{} has no more receipts than {}", self.name, self.receipts());
            thread::sleep(PAUSE);
        }
    }

    /// What it has sent, and how often it has connected again.
    fn finish(self) -> (&'static str, (u64, u64)) {
        let sent = self.feeding.join().expect("the messages");
        let program = self.program.lock().expect("the program").take().expect("it runs");
        let finished = program.finish();
        expect_success(&finished);
        let last = finished.stdout.lines().last().expect("an event");
        let last: Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(
            (&last["event"], &last["acknowledged"]),
            (&Value::from("done"), &Value::from(sent)),
            "{}",
            self.name
        );
        (self.name, (sent, last["reconnects"].as_u64().expect("a number")))
    }
}

/// Each session has all that its client has sent, once and in order. Tells how long clients stood still.
fn check(trio: &Trio, store: &Store, sent: &BTreeMap<&str, (u64, u64)>, restarts: &[(Signal, u64)]) {
    let listed = Launch::wilco(["messages", "--json", &store.address]).on(&trio.host).no_input().start().wait();
    expect_success(&listed);
    let mut stored: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut sessions: BTreeMap<String, String> = BTreeMap::new();
    for line in listed.stdout.lines() {
        let message: Value = serde_json::from_str(line).expect("JSON");
        let text = message["text"].as_str().expect("a text");
        let (name, number) = text.split_once(' ').expect("a client and a number");
        let times = stored.entry(name.to_owned()).or_default();
        times.push(at(message["time"].as_str().expect("a time")));
        assert_eq!(message["number"].to_string(), number, "{line}");
        assert_eq!(number, times.len().to_string(), "{line}");
        let session = message["session"].as_str().expect("a session").to_owned();
        assert_eq!(*sessions.entry(name.to_owned()).or_insert_with(|| session.clone()), session, "{line}");
    }
    let mut told = String::new();
    for (name, (count, reconnects)) in sent {
        let times = &stored[*name];
        assert_eq!(times.len() as u64, *count, "{name}");
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let lost = |(_, when): &&(Signal, u64)| standstill(times, *when);
            let mut lost: Vec<u64> =
                restarts.iter().filter(|(with, _)| *with == signal).map(|restart| lost(&restart)).collect();
            lost.sort_unstable();
            let (middle, most) = (lost[lost.len() / 2], lost[lost.len() - 1]);
            told +=
                &format!("{name}: {count} messages, {reconnects} reconnects; {signal}: {middle} ms (most {most} ms)\n");
        }
    }
    tell(&told);
}

#[allow(
    clippy::print_stderr,
    reason = "how long clients stood still is not asserted, and whoever runs the test by hand is told"
)]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// The longest time in which nothing of a client was stored in the second after a restart began.
fn standstill(times: &[u64], restart: u64) -> u64 {
    let gaps = times.windows(2).filter(|pair| pair[1] >= restart && pair[0] <= restart + 1000);
    gaps.map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0)
}

fn milliseconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// The milliseconds of a time of today, such as `2026-01-01T12:00:00.123Z`.
fn at(time: &str) -> u64 {
    let of_day = time.trim_end_matches('Z').split('T').nth(1).expect("a time of the day");
    let seconds = of_day.split(':').fold(0.0, |seconds, part| seconds * 60.0 + part.parse::<f64>().expect("digits"));
    let day_in_ms = 24 * 60 * 60 * 1000;
    milliseconds() / day_in_ms * day_in_ms + (seconds * 1000.0).round() as u64
}
