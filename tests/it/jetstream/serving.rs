//! Servers whose store is a stream: what comes in by any way is there, and what is wrong is said before anybody is served.
//!
//! Apart from the faults (`faults::jetstream`): here nothing fails.

use std::collections::HashMap;

use async_nats::jetstream::stream;
use nix::sys::signal::Signal;

use super::stage::Stage;
use crate::harness::{Launch, Nats, Program, expect_error, expect_signal, expect_success};

fn server(nats: &Nats, more: &[&str]) -> Program {
    Launch::server([&["--store", &nats.address("ORDERS")], more].concat()).start()
}

fn stop(server: Program) -> String {
    server.signal(Signal::SIGTERM);
    let done = server.wait();
    expect_signal(&done, Signal::SIGTERM);
    done.stdout
}

/// What is in the stream: session and number (none for plain messages) and text.
fn stored(nats: &Nats) -> Vec<(Option<String>, u64, String)> {
    let done = Launch::wilco(["messages", "--json", &nats.address("ORDERS")]).no_input().start().wait();
    expect_success(&done);
    let message = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let session = value["session"].as_str().map(str::to_owned);
        (session, value["number"].as_u64().expect("a number"), value["text"].as_str().expect("text").to_owned())
    };
    done.stdout.lines().map(message).collect()
}

#[test]
fn what_comes_by_any_way_is_in_the_stream() {
    let nats = Nats::start();
    let directory = tempfile::tempdir().expect("a directory");
    let socket = format!("unix-seqpacket:{}", directory.path().join("socket").display());
    let server = server(&nats, &["--json", "tcp:127.0.0.1:0", "udp:127.0.0.1:0", &socket]);
    let address = |kind: &str| {
        let line = server.wait_for_stdout(&format!("\"{kind}:127.0.0.1:"));
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        value["address"].as_str().expect("an address").to_owned()
    };
    let (tcp, udp) = (address("tcp"), address("udp"));
    for (address, assured) in
        [(&tcp, false), (&tcp, true), (&udp, false), (&udp, true), (&socket, false), (&socket, true)]
    {
        let options: &[&str] = if assured { &["--assured", "--require", "store", "--name", "pump 7"] } else { &[] };
        let mut client = Launch::client([options, &[address]].concat()).start();
        (1..=5).for_each(|number| client.send(format!("{number}\n")));
        expect_success(&client.finish());
    }
    // It may have been a mistake in the name.
    server.wait_for_stderr("/ORDERS: there was no such stream, and it was made");
    server.wait_for_stderr("the stream is on one server");
    let said = stop(server);
    assert!(said.contains("\"event\":\"stored\""), "{said}");
    let stored = stored(&nats);
    let texts: HashMap<_, Vec<&str>> = stored.iter().fold(HashMap::new(), |mut texts, (session, _, text)| {
        texts.entry(session).or_insert_with(Vec::new).push(text);
        texts
    });
    assert_eq!((texts.len(), texts[&None].len()), (4, 15));
    assert!(texts.iter().all(|(session, texts)| session.is_none() || *texts == ["1", "2", "3", "4", "5"]));
    let assured = stored.iter().filter(|(session, ..)| session.is_some());
    assert!(assured.into_iter().all(|(_, number, text)| number.to_string() == *text));
}

#[test]
fn many_clients_of_two_servers_disturb_nobody() {
    let nats = Nats::start();
    let servers = [server(&nats, &["127.0.0.1:0"]), server(&nats, &["--workers", "2", "127.0.0.1:0"])];
    let ports = servers.each_ref().map(Program::port);
    let address = |index: usize| format!("127.0.0.1:{}", ports[index % 2]);
    let start = |index: usize| {
        let mut client = Launch::client(["--assured", &address(index), &address(index + 1)]).start();
        client.send((1..=500).map(|number| format!("{index} {number}\n")).collect::<String>());
        client
    };
    let clients: Vec<_> = (0..12).map(start).collect();
    clients.into_iter().for_each(|client| expect_success(&client.finish()));
    let mut seen = HashMap::new();
    for (session, number, text) in stored(&nats) {
        let (next, index) = seen.entry(session).or_insert_with(|| (1, text.split(' ').next().map(str::to_owned)));
        assert_eq!((number, text.split_once(' ')), (*next, index.as_deref().zip(Some(&*next.to_string()))));
        *next += 1;
    }
    assert!(seen.len() == 12 && seen.values().all(|(next, _)| *next == 501));
    servers.into_iter().for_each(|server| drop(stop(server)));
}

#[test]
fn what_is_wrong_is_said_before_anybody_is_served() {
    let mut nats = Nats::start();
    let long = server(&nats, &["--max-message", "2M", "127.0.0.1:0"]).wait();
    expect_error(&long, 2, &["the server takes 1048576 bytes at once", "max_payload"]);
    let odd = Launch::server(["--store", "nats://127.0.0.1/a.b", "127.0.0.1:0"]).start().wait();
    expect_error(&odd, 2, &["a character that none may have"]);
    let address = nats.address("ORDERS");
    nats.kill();
    let alone = server(&nats, &["127.0.0.1:0"]).wait();
    expect_error(&alone, 3, &["connect", &address, "connection refused"]);
}

#[tokio::test]
async fn a_stream_that_would_lose_messages_is_none() {
    let stage = Stage::new().await;
    let config = stream::Config {
        name: "LOG".to_owned(),
        subjects: vec!["LOG.>".to_owned()],
        discard: stream::DiscardPolicy::Old,
        ..stream::Config::default()
    };
    stage.context.update_stream(config).await.expect("change it");
    let done = Launch::server(["--store", &stage.address(), "127.0.0.1:0"]).start().wait();
    expect_error(&done, 2, &["this stream would not keep what is acknowledged", "--discard=new"]);
}
