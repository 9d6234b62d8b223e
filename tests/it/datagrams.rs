//! Servers and clients of datagrams: everyone is answered, large ones are whole, and one may go to many.
//!
//! Apart from the exchange that every kind of socket has, because only datagrams come from anyone and go to many.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::sync::Semaphore;
use wilco::service::BoxFuture;
use wilco::{Client, Handler, ListenConfig, Messages, Outcome, Outcomes, Peer, Server, ServerConfig};

use crate::harness::{Families, Hosts, Launch, expect_signal, expect_success};

/// Sends a message as the client program does and expects its acknowledgement.
fn acknowledged(client: Launch, message: &str) {
    let mut client = client.start();
    client.send(message);
    client.close_stdin();
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n");
}

#[test]
fn every_peer_is_answered() {
    let server = Launch::server(["udp:0", "-k", "--reply", "yes"]).start();
    let name = server.listening();
    let name = name.replace("[::]", "localhost");
    let mut clients: Vec<_> = (0..20).map(|_| Launch::client([&name]).start()).collect();
    for client in &mut clients {
        client.send("hello\n".repeat(5));
        client.close_stdin();
    }
    for client in clients {
        let done = client.wait();
        expect_success(&done);
        assert_eq!(done.stdout, "yes\n".repeat(5));
    }
}

#[test]
fn large_datagrams_come_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let unix = format!("unix-dgram:{}", directory.path().join("s").display());
    for address in ["udp4:127.0.0.1:0", &unix] {
        let server = Launch::server([address, "-k"]).start();
        let name = server.listening();
        let message = "0123456789".repeat(6_000);
        acknowledged(Launch::client([&name]), &message);
        server.signal(Signal::SIGTERM);
        let done = server.wait();
        expect_signal(&done, Signal::SIGTERM);
        assert_eq!(done.stdout, message + "\n", "{address}");
    }
}

#[test]
fn a_peer_without_a_name_is_displayed_and_noted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s");
    let server = Launch::server([format!("unix-dgram:{}", path.display()), "-k".to_owned()]).start();
    server.listening();
    let nameless = UnixDatagram::unbound().expect("a socket");
    for message in ["one", "two"] {
        nameless.send_to(message.as_bytes(), &path).expect("sent");
        server.wait_for_stdout(message);
    }
    // Others are answered as ever.
    acknowledged(Launch::client([format!("unix-dgram:{}", path.display())]), "three");
    server.signal(Signal::SIGTERM);
    let done = server.wait();
    assert_eq!(done.stdout, "one\ntwo\nthree\n");
    assert_eq!(done.stderr.matches("without a name").count(), 1, "{}", done.stderr);
}

#[test]
fn a_group_is_joined_and_its_members_answer() {
    let server = Launch::server(["udp:0?join=239.1.2.3@lo", "-k"]).start();
    let port = server.port();
    // The group is of IPv4, and so is the socket.
    assert_eq!(server.listening(), format!("udp:0.0.0.0:{port}"));
    acknowledged(Launch::client([format!("udp:239.1.2.3:{port}?multicast-if=lo")]), "hello");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().stdout, "hello\n");
}

#[test]
fn a_group_of_ipv6_is_joined_and_its_members_answer() {
    let Some(hosts) = Hosts::new("a_group_of_ipv6_is_joined_and_its_members_answer", Families::V6) else { return };
    let server = Launch::server(["udp:51717?join=ff12::717@eth0"]).on(&hosts.cheerios).start();
    assert_eq!(server.listening(), "udp:[::]:51717");
    acknowledged(Launch::client(["udp:[ff12::717%eth0]:51717"]).on(&hosts.desk), "hello");
    assert_eq!(server.wait().stdout, "hello\n");
}

#[test]
fn a_broadcast_is_sent_where_it_is_allowed_and_answered() {
    let server = Launch::server(["udp4:0", "-k"]).start();
    let port = server.port();
    acknowledged(Launch::client([format!("udp:127.255.255.255:{port}?broadcast")]), "hello");
    let refused = Launch::client([format!("udp:127.255.255.255:{port}"), "-m".into(), "hello".into()]).start().wait();
    assert_eq!(refused.status.code(), Some(3));
    assert!(refused.stderr.contains("add ?broadcast"), "{}", refused.stderr);
}

/// Answers with the message once it may, and may not for those that begin with "slow".
struct Slow(Arc<Semaphore>);

impl Handler for Slow {
    fn handle<'a>(&'a self, messages: Messages<'a>, _: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for message in messages.iter() {
                if message.starts_with(b"slow") {
                    self.0.acquire().await.expect("open").forget();
                }
                outcomes.push(Outcome::Reply(message.to_vec().into()));
            }
        })
    }

    fn takes_long(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_peer_whose_message_takes_long_holds_up_nobody_else() {
    let listener = ListenConfig::default().listen(&"udp4:127.0.0.1:0".parse().expect("an address")).await;
    let listener = listener.expect("listen");
    let name = listener.names().remove(0);
    let may = Arc::new(Semaphore::new(0));
    let server = Server::new(Slow(may.clone()), ServerConfig::default());
    let serving = tokio::spawn(server.serve(vec![listener], std::future::pending()));
    let slow = wilco::connect_packets(&name).await.expect("connect");
    for message in ["slow one", "two", "slow three"] {
        slow.send(message.as_bytes()).await.expect("sent");
    }
    let mut quick = Client::connect(&name).await.expect("connect");
    assert_eq!(quick.send("quick").await.expect("a receipt").answer, b"quick");
    // Each peer's are handled in their order.
    may.add_permits(2);
    let mut buffer = [0; 100];
    for message in ["slow one", "two", "slow three"] {
        let length = slow.recv(&mut buffer).await.expect("received").length;
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), message);
    }
    serving.abort();
}

/// Answers with the message and how many came with it, and puts "later" off without a look at what is behind it.
struct Counting;

impl Handler for Counting {
    fn handle<'a>(&'a self, messages: Messages<'a>, _: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for message in messages.iter() {
                let text = String::from_utf8_lossy(message);
                if text == "later" {
                    return outcomes.push(Outcome::Retry("busy".into()));
                }
                outcomes.push(Outcome::Reply(format!("{text} of {}", messages.len()).into()));
            }
        })
    }
}

/// Has two peers send before the server begins to receive, the second what `second` has, and expects these answers.
async fn answered_at_once(second: &[&str], answers: &[&str]) {
    let listener = ListenConfig::default().listen(&"udp4:127.0.0.1:0".parse().expect("an address")).await;
    let listener = listener.expect("listen");
    let name = listener.names().remove(0);
    let (one, two) = (connect(&name).await, connect(&name).await);
    one.send(b"first").await.expect("sent");
    for message in second {
        two.send(message.as_bytes()).await.expect("sent");
    }
    one.send(b"last").await.expect("sent");
    let config = ServerConfig { max_message: Some(8), ..ServerConfig::default() };
    let serving = tokio::spawn(Server::new(Counting, config).serve(vec![listener], std::future::pending()));
    let mut buffer = [0; 100];
    for (peer, answers) in [(&one, &["first of 1", "last of 1"][..]), (&two, answers)] {
        for answer in answers {
            let length = peer.recv(&mut buffer).await.expect("received").length;
            assert_eq!(String::from_utf8_lossy(&buffer[..length]), *answer, "{second:?}");
        }
    }
    serving.abort();
}

async fn connect(name: &str) -> wilco::net::PacketSocket {
    wilco::connect_packets(name).await.expect("connect")
}

#[tokio::test]
async fn what_has_come_of_several_peers_is_answered_in_its_order() {
    // The server asks for few at first: the first of the two and the next one come alone.
    answered_at_once(&["a", "b", "c"], &["a of 1", "b of 2", "c of 2"]).await;
}

#[tokio::test]
async fn one_that_is_cut_or_put_off_keeps_its_place_and_nothing_from_the_others() {
    let too_long = "wilco: refused: the message has more than 8 bytes\n";
    answered_at_once(&["a", "b", "nine byte", "d"], &["a of 1", "b of 1", too_long, "d of 1"]).await;
    answered_at_once(&["a", "later", "c", "d"], &["a of 1", "wilco: not now: busy\n", "c of 2", "d of 2"]).await;
}
