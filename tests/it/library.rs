//! The library as a program uses it: what must hold of a client, a server and a listener beyond one exchange.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wilco::{Client, Error, ListenConfig, Listener, Outcome, Peer, Server, ServerConfig};

async fn listen(address: &str) -> (Listener, String) {
    let listener = ListenConfig::default().listen(&address.parse().expect("an address")).await.expect("listen");
    let name = listener.names().remove(0);
    (listener, name)
}

fn own_name(test: &str) -> String {
    format!("@wilco-{test}-{}", std::process::id())
}

/// Refuses what begins with "bad", puts off what begins with "later", and answers the rest with itself.
fn picky(message: &[u8], _: &Peer) -> Outcome {
    match message {
        [b'b', b'a', b'd', ..] => Outcome::Refuse("it is bad".to_owned()),
        [b'l', b'a', b't', b'e', b'r', ..] => Outcome::Retry("I am busy".to_owned()),
        _ => Outcome::Reply(message.to_vec().into()),
    }
}

#[tokio::test]
async fn a_refusal_is_about_one_message_only() {
    let (listener, name) = listen("tcp4:127.0.0.1:0").await;
    let serving =
        tokio::spawn(Server::new(picky, ServerConfig::default()).serve(vec![listener], std::future::pending()));
    let mut client = Client::connect(&name).await.expect("connect");
    let refused = client.send("bad").await.expect_err("refused");
    assert!(matches!(&refused, Error::Refused { number: 1, reason } if reason == "it is bad"), "{refused}");
    assert_eq!(client.send("good").await.expect("a receipt").answer, b"good");
    // The futures of a client go anywhere: into a task of its own, for example.
    let sent = tokio::spawn(async move { client.send("also good").await });
    assert_eq!(sent.await.expect("no panic").expect("a receipt").answer, b"also good");
    serving.abort();
}

#[tokio::test]
async fn what_cannot_be_taken_now_is_not_acknowledged_and_says_why() {
    for address in ["tcp4:127.0.0.1:0", "udp4:127.0.0.1:0", &format!("unix-seqpacket:{}", own_name("later"))] {
        let (listener, name) = listen(address).await;
        let serving =
            tokio::spawn(Server::new(picky, ServerConfig::default()).serve(vec![listener], std::future::pending()));
        let mut client = Client::connect(&name).await.expect("connect");
        assert_eq!(client.send("now").await.expect("a receipt").answer, b"now");
        let error = client.send("later").await.expect_err("put off");
        let text = "1 of 2 messages were acknowledged, up to number 1: the other side says: I am busy";
        assert_eq!(error.to_string(), text, "{address}");
        serving.abort();
    }
}

#[tokio::test]
async fn what_has_arrived_when_a_server_stops_is_handled() {
    for address in ["tcp4:127.0.0.1:0", &format!("unix-seqpacket:{}", own_name("drain"))] {
        let (listener, name) = listen(address).await;
        let mut streams = Vec::new();
        for _ in 0..100 {
            if name.starts_with("tcp") {
                let mut stream = wilco::connect(&name).await.expect("connect");
                stream.write_all(b"hello\n").await.expect("write");
                streams.push(wilco::Connection::from(stream));
            } else {
                let packets = wilco::connect_packets(&name).await.expect("connect");
                packets.send(b"hello").await.expect("send");
                streams.push(packets.into());
            }
        }
        // Told to stop before it has looked for the first time.
        let served = Server::new(picky, ServerConfig::default()).serve(vec![listener], async {}).await.expect("served");
        assert_eq!((served.messages, served.cut_off), (100, 0), "{address}");
        for stream in streams {
            let mut answer = vec![0; 100];
            let length = match stream {
                wilco::Connection::Stream(mut stream) => stream.read(&mut answer).await.expect("read"),
                wilco::Connection::Packets(packets) => packets.recv(&mut answer).await.expect("receive").length,
            };
            assert!(answer[..length].starts_with(b"hello"), "{address}");
        }
    }
}

#[tokio::test]
async fn datagrams_that_have_arrived_when_a_server_stops_are_handled() {
    for address in ["udp4:127.0.0.1:0", &format!("unix-dgram:{}", own_name("drain-dgram"))] {
        let (listener, name) = listen(address).await;
        let client = wilco::connect_packets(&name).await.expect("connect");
        for _ in 0..10 {
            client.send(b"hello").await.expect("send");
        }
        let served = Server::new(picky, ServerConfig::default()).serve(vec![listener], async {}).await.expect("served");
        assert_eq!(served.messages, 10, "{address}");
    }
}

#[tokio::test]
async fn one_conversation_is_over_even_if_its_message_was_refused() {
    for address in ["udp4:127.0.0.1:0", "tcp4:127.0.0.1:0"] {
        let (listener, name) = listen(address).await;
        let config = ServerConfig { conversations: wilco::Conversations::One, ..ServerConfig::default() };
        let serving = tokio::spawn(Server::new(picky, config).serve(vec![listener], std::future::pending()));
        let mut client = Client::connect(&name).await.expect("connect");
        client.send("bad").await.expect_err("refused");
        client.close().await.expect("close");
        let served = tokio::time::timeout(Duration::from_secs(20), serving).await.expect("it ends");
        assert_eq!(served.expect("no panic").expect("served").messages, 0, "{address}");
    }
}

#[tokio::test]
async fn a_client_that_never_takes_its_answers_holds_up_no_other() {
    let address = format!("unix-dgram:{}", own_name("deaf"));
    let (listener, name) = listen(&address).await;
    let serving =
        tokio::spawn(Server::new(picky, ServerConfig::default()).serve(vec![listener], std::future::pending()));
    let deaf = wilco::connect_packets(&name).await.expect("connect");
    for _ in 0..200 {
        deaf.send(b"tell me").await.expect("send");
    }
    let mut client = Client::connect(&name).await.expect("connect");
    assert_eq!(client.send("hello").await.expect("a receipt").answer, b"hello");
    serving.abort();
}

#[tokio::test]
async fn any_number_of_tasks_may_accept() {
    let (listener, name) = listen("tcp4:127.0.0.1:0").await;
    let listener = Arc::new(listener);
    let accept = || {
        tokio::spawn({
            let listener = listener.clone();
            async move { listener.accept().await.expect("accept").peer }
        })
    };
    let tasks = [accept(), accept(), accept()];
    tokio::task::yield_now().await;
    let mut streams = Vec::new();
    for _ in &tasks {
        streams.push(wilco::connect(&name).await.expect("connect"));
    }
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(20), task).await.expect("in time").expect("no panic");
    }
}

#[tokio::test]
async fn a_host_with_several_addresses_is_listened_on_at_each() {
    // Both families where the machine has them; what counts is that every address answers, in any order.
    let (listener, _) = listen("localhost:0").await;
    let names = listener.names();
    let serving =
        tokio::spawn(Server::new(picky, ServerConfig::default()).serve(vec![listener], std::future::pending()));
    for name in names.iter().rev().chain(&names) {
        let mut client = Client::connect(name).await.expect("connect");
        assert_eq!(client.send("hello").await.expect("a receipt").answer, b"hello");
    }
    serving.abort();
}

#[tokio::test]
async fn a_datagram_is_answered_from_the_address_it_came_to() {
    for address in ["udp:0", "udp4:0"] {
        let (listener, name) = listen(address).await;
        let port = name.rsplit(':').next().expect("a port").to_owned();
        let serving =
            tokio::spawn(Server::new(picky, ServerConfig::default()).serve(vec![listener], std::future::pending()));
        // Every address of 127.0.0.0/8 is this machine's; an answer from another than was asked would be dropped.
        for host in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
            let mut client = Client::connect(&format!("udp:{host}:{port}")).await.expect("connect");
            assert_eq!(client.send("hello").await.expect("a receipt").answer, b"hello", "{address} {host}");
        }
        serving.abort();
    }
}

#[tokio::test]
async fn a_source_socket_file_goes_with_its_connection() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let (listener, name) = listen(&format!("unix:{}", directory.path().join("server").display())).await;
    let endpoint: wilco::Endpoint = name.parse().expect("an address");
    let own = directory.path().join("own");
    let local = Some(endpoint.source(&own.display().to_string()).expect("a source"));
    let connector = wilco::Connector { local, ..Default::default() };
    let connection = connector.connect(&endpoint).await.expect("connect");
    assert!(own.exists());
    assert_eq!(
        listener.accept().await.expect("accept").peer,
        wilco::Addr::Unix(wilco::net::UnixName::Path(own.clone()))
    );
    drop(connection);
    assert!(!own.exists());
}
