//! Servers whose store is one stream of NATS JetStream: killed, stopped and cut off from it; and NATS that is killed, stands still, is full or loses the stream.
//!
//! Apart from the faults of one machine: here what is durable is at the other end of a connection, and another server may be writing to it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::Pipeline;
use super::pipeline::{LONE, LONG, body};
use super::points::{Choice, tell};
use super::proxy::{Cut, How, Proxy, Towards};
use crate::harness::{DEADLINE, Launch, Nats, Program, expect_signal, expect_status, expect_success};

/// How many messages a run has in which each connection is cut somewhere.
const FEW: u64 = LONE + 6;

/// NATS, a spool, and the names of servers.
struct Stage {
    nats: Nats,
    pipeline: Pipeline,
}

impl Stage {
    fn new() -> Stage {
        Stage { nats: Nats::start(), pipeline: Pipeline::new() }
    }

    /// The address of a server, which stays the same when it is started again.
    fn address(&self, name: &str) -> String {
        format!("unix:{}", self.pipeline.path(name).display())
    }

    fn stream(&self) -> String {
        self.nats.address("ORDERS")
    }

    fn launch(&self, name: &str, stream: &str) -> Launch {
        // One that was killed has left its socket file.
        Launch::server(["-v", "--store", stream, &self.address(name)])
    }

    /// Starts a server, and waits until it listens.
    fn server(&self, name: &str) -> Program {
        self.server_by(name, &self.stream())
    }

    /// The same for one that reaches NATS by another way.
    fn server_by(&self, name: &str, stream: &str) -> Program {
        let server = self.launch(name, stream).start();
        server.listening();
        server
    }

    fn client(&self, servers: &[&str]) -> Program {
        let addresses: Vec<String> = servers.iter().map(|name| self.address(name)).collect();
        self.client_of(&addresses)
    }

    fn client_of(&self, addresses: &[String]) -> Program {
        let spool = self.pipeline.spool().to_str().expect("a path").to_owned();
        let options = ["--json", "--spool", &spool].map(str::to_owned);
        Launch::client(options.iter().chain(addresses)).start()
    }

    fn ask(&self, subject: &str, question: &Value) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let payload = if question.is_null() { String::new() } else { question.to_string() };
            let client = self.nats.client().await;
            let answer = client.request(format!("$JS.API.{subject}"), payload.into()).await.expect("an answer");
            serde_json::from_slice(&answer.payload).expect("JSON")
        })
    }

    /// Says how many bytes the stream may have beyond those that it has; without a number, as many as there is room for.
    fn limit(&self, more: Option<i64>) {
        let mut info = self.ask("STREAM.INFO.ORDERS", &Value::Null);
        let used = info["state"]["bytes"].as_i64().expect("a number");
        info["config"]["max_bytes"] = more.map_or(-1, |more| used + more).into();
        let answer = self.ask("STREAM.UPDATE.ORDERS", &info["config"]);
        assert!(answer["error"].is_null(), "{answer}");
    }

    /// Fails unless the stream has all messages up to this number once each and in order, and the spool is empty.
    #[track_caller]
    fn check(&self, through: u64) {
        self.check_stream("ORDERS", through);
        self.pipeline.check_spool(through);
    }

    #[track_caller]
    fn check_stream(&self, stream: &str, through: u64) {
        let done = Launch::wilco(["messages", "--raw", &self.nats.address(stream)]).no_input().start().wait();
        expect_success(&done);
        let number = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let numbers: Vec<String> = done.stdout.lines().map(number).collect();
        let expected: Vec<String> = (1..=through).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected, "not 1 to {through}");
        assert!(done.stdout.lines().zip(1..).all(|(line, number)| line == body(number)));
    }
}

fn feed(client: &mut Program, after: u64, through: u64) {
    let text: String = (after + 1..=through).map(|number| body(number) + "\n").collect();
    client.send(text);
}

/// Feeds, and waits until the last is acknowledged.
fn deliver(client: &mut Program, after: u64, through: u64) {
    feed(client, after, through);
    client.wait_for_stdout(&format!("\"last\":{through},"));
}

fn finish(client: Program) {
    let mut client = client;
    client.close_stdin();
    expect_success(&client.wait_within(LONG));
}

fn stop(server: Program) {
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes a process stand still, and waits until it does.
fn pause(program: &Program) {
    program.signal(Signal::SIGSTOP);
    let state = PathBuf::from(format!("/proc/{}/stat", program.pid()));
    wait_until("it stands still", || std::fs::read_to_string(&state).is_ok_and(|stat| stat.contains(") T ")));
}

#[test]
fn the_active_of_two_servers_is_killed() {
    let stage = Stage::new();
    let (a, b) = (stage.server("a"), stage.server("b"));
    let mut client = stage.client(&["a", "b"]);
    deliver(&mut client, 0, 50);
    feed(&mut client, 50, 1000);
    a.signal(Signal::SIGKILL);
    expect_signal(&a.wait(), Signal::SIGKILL);
    client.wait_for_stdout("\"last\":1000,");
    b.wait_for_stderr("session");
    // And back again.
    let a = stage.server("a");
    feed(&mut client, 1000, 2000);
    b.signal(Signal::SIGKILL);
    expect_signal(&b.wait(), Signal::SIGKILL);
    finish(client);
    stop(a);
    stage.check(2000);
}

#[test]
fn servers_and_clients_are_killed_at_random() {
    let choice = Choice::of("servers_and_clients_are_killed_at_random");
    let mut random = choice.random();
    let stage = Stage::new();
    let mut servers = vec![stage.server("a"), stage.server("b")];
    let rounds = choice.count(8, 100);
    for round in 1..=rounds {
        let through = round * 100;
        let mut client = stage.client(&["a", "b"]);
        let accepted = stage.pipeline.accepted();
        feed(&mut client, accepted, through);
        // How far it comes is left to chance, too.
        let seen = accepted + 1 + random.below(through - accepted);
        wait_until("it has accepted some", || stage.pipeline.accepted() >= seen);
        let victim = usize::try_from(random.below(3)).expect("few");
        match servers.get(victim) {
            Some(server) => {
                server.signal(Signal::SIGKILL);
                let name = ["a", "b"][victim];
                expect_signal(&servers.remove(victim).wait(), Signal::SIGKILL);
                servers.insert(victim, stage.server(name));
                finish(client);
            }
            None => {
                client.signal(Signal::SIGKILL);
                expect_signal(&client.wait(), Signal::SIGKILL);
            }
        }
    }
    let mut client = stage.client(&["b", "a"]);
    let accepted = stage.pipeline.accepted();
    feed(&mut client, accepted, rounds * 100);
    finish(client);
    servers.into_iter().for_each(stop);
    stage.check(rounds * 100);
}

/// What it has under way when it is stopped comes to the stream; what it still wants to store when it goes on must not.
#[test]
fn a_server_that_was_stopped_while_another_took_over_stores_nothing_more() {
    let stage = Stage::new();
    let a = stage.pipeline.path("a");
    let a_server = Launch::server(["-v", "--store", &stage.stream(), "tcp:127.0.0.1:0"]).start();
    let b = stage.server("b");
    let place = a_server.listening();
    let proxy = Proxy::start(place.trim_start_matches("tcp:").parse().expect("an address"), &[]);
    let mut client = stage.client_of(&[proxy.address()]);
    deliver(&mut client, 0, 20);
    stage.nats.pause();
    let before = proxy.passed(Towards::Server);
    feed(&mut client, 20, 400);
    wait_until("the server has been sent more than one record", || proxy.passed(Towards::Server) > before + 40 * 500);
    pause(&a_server);
    client.signal(Signal::SIGKILL);
    expect_signal(&client.wait(), Signal::SIGKILL);
    stage.nats.resume();
    let through = stage.pipeline.accepted();
    let mut client = stage.client(&["b"]);
    feed(&mut client, through, 400);
    finish(client);
    stage.check(400);
    a_server.signal(Signal::SIGCONT);
    // What it has begun it finishes.
    stop(a_server);
    stop(b);
    stage.check(400);
    assert!(!a.exists());
}

#[test]
fn nats_is_killed_and_started_again() {
    let mut stage = Stage::new();
    let server = stage.server("a");
    let mut client = stage.client(&["a"]);
    deliver(&mut client, 0, 50);
    for round in 0..3 {
        feed(&mut client, 50 + round * 500, 550 + round * 500);
        stage.nats.kill();
        stage.nats.restart();
        client.wait_for_stdout(&format!("\"last\":{},", 550 + round * 500));
    }
    finish(client);
    stop(server);
    stage.check(1550);
}

/// Longer than the answer to a record is waited for: whether it was stored is looked up then.
#[test]
fn nats_stands_still() {
    let stage = Stage::new();
    let server = stage.server("a");
    let mut client = stage.client(&["a"]);
    deliver(&mut client, 0, 50);
    stage.nats.pause();
    feed(&mut client, 50, 500);
    server.wait_for_stderr("NATS has not answered within 5s");
    stage.nats.resume();
    finish(client);
    stop(server);
    stage.check(500);
}

/// Delivers through a server whose connection with NATS is cut as they say; gives the proxy, and how many bytes had passed to the server and back when it listened.
fn deliver_cut(stage: &Stage, stream: &str, cuts: &[Cut]) -> (Proxy, [u64; 2]) {
    let pipeline = Pipeline::new();
    let proxy = Proxy::start(stage.nats.server().parse().expect("an address"), cuts);
    let store = format!("nats://{}/{stream}", proxy.place());
    let server = Launch::server(["-v", "--store", &store, &pipeline.address()]).start();
    server.listening();
    let begun = [Towards::Server, Towards::Client].map(|towards| proxy.passed(towards));
    assert_eq!(pipeline.deliver(FEW, |_| pipeline.client()), 0);
    stop(server);
    stage.check_stream(stream, FEW);
    pipeline.check_spool(FEW);
    (proxy, begun)
}

fn cut_everywhere(test: &str, how: How) {
    let (choice, stage) = (Choice::of(test), Stage::new());
    let (whole, begun) = deliver_cut(&stage, "WHOLE", &[]);
    let (mut tried, mut hit) = (0, 0);
    for (towards, begun) in [Towards::Server, Towards::Client].into_iter().zip(begun) {
        let step = if towards == Towards::Server { 47 } else { 7 };
        let all: Vec<u64> = (begun + 1..whole.passed(towards)).step_by(step).collect();
        for after in choice.some(8, &all) {
            tell(&format!("{how:?} after {after} bytes towards the {towards:?}"));
            let (proxy, _) = deliver_cut(&stage, &format!("CUT_{tried}"), &[Cut { towards, after, how }]);
            tried += 1;
            hit += proxy.hit();
        }
    }
    tell(&format!("{test}: {hit} connections cut, in {tried} runs"));
    assert!(hit >= tried * 8 / 10, "only {hit} cuts in {tried} runs");
}

/// What is cut off towards the client are confirmations: whether they are lost, or what they confirm, the server cannot know.
#[test]
fn connections_with_nats_end_at_any_byte() {
    cut_everywhere("connections_with_nats_end_at_any_byte", How::End);
}

#[test]
fn connections_with_nats_are_reset_at_any_byte() {
    cut_everywhere("connections_with_nats_are_reset_at_any_byte", How::Reset);
}

/// The connection is there for long, and nothing passes: clients are sent to a server that is better off.
#[test]
fn a_server_that_is_cut_off_from_nats_is_left_for_another() {
    let stage = Stage::new();
    let cut = Cut { towards: Towards::Client, after: 9000, how: How::Silence };
    let proxy = Proxy::start(stage.nats.server().parse().expect("an address"), &[cut]);
    let a = stage.server_by("a", &format!("nats://{}/ORDERS", proxy.place()));
    let b = stage.server("b");
    let mut client = stage.client(&["a", "b"]);
    for number in 0..200 {
        feed(&mut client, number, number + 1);
        assert!(client.shows(&format!("\"last\":{},", number + 1), LONG));
    }
    finish(client);
    assert_eq!(proxy.hit(), 1);
    stop(b);
    stop(a);
    stage.check(200);
}

#[test]
fn a_stream_without_room_takes_more_once_it_has_some() {
    let stage = Stage::new();
    let server = stage.server("a");
    let mut client = stage.client(&["a"]);
    deliver(&mut client, 0, 20);
    stage.limit(Some(2000));
    feed(&mut client, 20, 300);
    let said = server.wait_for_stderr("no room on the disk");
    assert!(said.contains("the stream is full: maximum bytes exceeded"), "{said}");
    let mut plain = Launch::client([stage.address("a")]).start();
    plain.send("x".repeat(10_000) + "\n");
    expect_status(&plain.finish(), 4);
    stage.limit(None);
    finish(client);
    stop(server);
    stage.check(300);
}

#[test]
fn a_stream_that_is_deleted_ends_the_server() {
    let stage = Stage::new();
    let server = stage.server("a");
    let mut client = stage.client(&["a"]);
    deliver(&mut client, 0, 20);
    assert_eq!(stage.ask("STREAM.DELETE.ORDERS", &json!({}))["success"], true);
    feed(&mut client, 20, 21);
    let done = server.wait();
    expect_status(&done, 1);
    assert!(done.stderr.contains("the store has failed") && done.stderr.contains("the stream was deleted"), "{done:?}");
}

/// Nothing is acknowledged on a stream that has less than it had.
#[test]
fn a_stream_that_has_lost_what_was_acknowledged_ends_the_session() {
    let stage = Stage::new();
    let server = stage.server("a");
    let mut client = stage.client(&["a"]);
    deliver(&mut client, 0, 20);
    assert_eq!(stage.ask("STREAM.PURGE.ORDERS", &json!({}))["success"], true);
    feed(&mut client, 20, 21);
    let done = client.finish();
    expect_status(&done, 6);
    server.wait_for_stderr("the stream has lost what was acknowledged");
    stop(server);
    stage.check_stream("ORDERS", 0);
}
