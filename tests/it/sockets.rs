//! One test body over every kind of socket: the library's calls, the library's exchange, and the programs.
//!
//! Apart from the tests of the exchange, because here only the address differs: what holds for one kind holds for all.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wilco::net::{Domain, Type};
use wilco::{
    Batch, Client, Connection, Connector, Endpoint, Exchange, ListenConfig, Listener, Outcome, Peer, Server,
    ServerConfig, Step,
};

use crate::harness::{Launch, expect_success, skip};

/// One test for each kind of socket. `DIR` in an address is a directory of the test's own, `NAME` a name of its own.
macro_rules! every_socket {
    ($($test:ident: $address:literal, $domain:ident, $socket_type:ident;)*) => {$(
        #[test]
        fn $test() {
            every_step($address, Domain::$domain, Type::$socket_type, stringify!($test));
        }
    )*};
}

every_socket! {
    tcp_over_ipv4: "tcp4:127.0.0.1:0", IPV4, STREAM;
    tcp_over_ipv6: "tcp6:[::1]:0", IPV6, STREAM;
    tcp_over_both: "tcp:0", IPV6, STREAM;
    udp_over_ipv4: "udp4:127.0.0.1:0", IPV4, DGRAM;
    udp_over_ipv6: "udp6:[::1]:0", IPV6, DGRAM;
    udp_over_both: "udp:0", IPV6, DGRAM;
    unix_stream_by_path: "unix:DIR/s", UNIX, STREAM;
    unix_stream_by_name: "unix:@NAME", UNIX, STREAM;
    unix_datagram_by_path: "unix-dgram:DIR/s", UNIX, DGRAM;
    unix_datagram_by_name: "unix-dgram:@NAME", UNIX, DGRAM;
    unix_seqpacket_by_path: "unix-seqpacket:DIR/s", UNIX, SEQPACKET;
    unix_seqpacket_by_name: "unix-seqpacket:@NAME", UNIX, SEQPACKET;
    vsock_stream: "vsock:1:0", VSOCK, STREAM;
    vsock_seqpacket: "vsock-seqpacket:1:0", VSOCK, SEQPACKET;
}

fn every_step(address: &str, domain: Domain, socket_type: Type, test: &str) {
    if domain == Domain::VSOCK && !std::path::Path::new("/sys/module/vsock_loopback").exists() {
        return skip(test, "this kernel has no loopback for vsock (vsock_loopback)");
    }
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let own = format!("wilco-{test}-{}", std::process::id());
    let address = address.replace("DIR", &directory.path().display().to_string()).replace("NAME", &own);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        the_calls(&address, domain, socket_type).await;
        the_exchange(&address).await;
    });
    the_programs(&address);
}

async fn listen(address: &str) -> (Listener, Endpoint) {
    let listener = ListenConfig::default().listen(&address.parse().expect("an address")).await.expect("listen");
    // What a listener calls itself is what a client is told to connect to.
    let name = listener.names().remove(0).replace("[::]", "localhost");
    (listener, name.parse().expect("the name of a listener is an address"))
}

/// Create, bind, listen, accept; create, connect; write and read both ways; attributes; close.
async fn the_calls(address: &str, domain: Domain, socket_type: Type) {
    let (mut listener, endpoint) = listen(address).await;
    let client = Connector::default().connect(&endpoint).await.expect("connect");
    let socket = client.socket().expect("a kernel socket");
    assert_eq!(socket.socket_type(), socket_type);
    let attributes = socket.attributes().expect("attributes");
    let named = |name| attributes.iter().find(|(known, _)| known.name == name).map(|(_, value)| value.to_string());
    assert!(named("type").is_some_and(|text| !text.is_empty()), "{attributes:?}");
    assert!(named("local").is_some() || domain == Domain::UNIX, "{attributes:?}");
    match client {
        Connection::Stream(mut client) => {
            let mut server: wilco::Stream = listener.accept().await.expect("accept").socket.into();
            client.write_all(b"there").await.expect("write");
            let mut bytes = [0; 5];
            server.read_exact(&mut bytes).await.expect("read");
            assert_eq!(&bytes, b"there");
            // A half-close is seen at the other end, which can still answer.
            client.shutdown().await.expect("shutdown");
            assert_eq!(server.read(&mut bytes).await.expect("read the end"), 0);
            server.write_all(b"and back").await.expect("write");
            drop(server);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("read to the end");
            assert_eq!(answer, b"and back");
        }
        Connection::Packets(client) if listener.has_connections() => {
            let server: wilco::PacketSocket = listener.accept().await.expect("accept").socket.into();
            let mut bytes = [0; 4];
            for packet in ["one", "longer"] {
                client.send(packet.as_bytes()).await.expect("send");
                let received = server.recv(&mut bytes).await.expect("receive");
                assert_eq!((received.sent, received.is_cut()), (packet.len(), packet.len() > bytes.len()));
                assert_eq!(&bytes[..received.length], &packet.as_bytes()[..received.length]);
            }
            server.send(b"back").await.expect("send");
            client.recv(&mut bytes).await.expect("receive");
            assert_eq!(&bytes, b"back");
            drop(server);
            assert_eq!(client.recv(&mut bytes).await.expect("receive the end").sent, 0);
        }
        Connection::Packets(client) => {
            let server = listener.take_packets().remove(0);
            let mut bytes = [0; 4];
            for packet in ["one", "longer", ""] {
                client.send(packet.as_bytes()).await.expect("send");
                let (received, from) = server.recv_from(&mut bytes).await.expect("receive");
                assert_eq!((received.sent, received.is_cut()), (packet.len(), packet.len() > bytes.len()));
                server.send_to(b"back", &from).await.expect("answer");
                assert_eq!(client.recv(&mut bytes).await.expect("receive").length, 4);
                assert_eq!(&bytes, b"back");
            }
        }
    }
}

/// A server with a handler, a client that waits for each message, and one that does not.
async fn the_exchange(address: &str) {
    let (listener, endpoint) = listen(address).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let seen = seen.clone();
        move |message: &[u8], _: &Peer| {
            seen.lock().expect("not poisoned").push(message.to_vec());
            Outcome::Reply(message.to_ascii_uppercase().into())
        }
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(Server::new(handler, ServerConfig::default()).serve(vec![listener], async {
        // Dropping the sender says so too.
        let _ = stopped.await;
    }));
    let connect = || async { Connector::default().connect(&endpoint).await.expect("connect") };
    let mut client = Client::new(connect().await, Default::default());
    for message in ["one", "two"] {
        let receipt = client.send(message).await.expect("a receipt");
        assert_eq!(receipt.answer, message.to_ascii_uppercase().as_bytes());
    }
    client.close().await.expect("close");
    let mut exchange = Exchange::new(connect().await, Default::default());
    let (sender, mut messages) = tokio::sync::mpsc::channel(100);
    for number in 0..100 {
        sender.try_send(Batch::of(format!("message {number}"))).expect("room for all");
    }
    drop(sender);
    let mut answers = Vec::new();
    while exchange.step(&mut messages).await.expect("an exchange") == Step::Answers {
        answers.extend(exchange.answers().iter().map(<[u8]>::to_vec));
    }
    assert_eq!(answers, (0..100).map(|number| format!("MESSAGE {number}").into_bytes()).collect::<Vec<_>>());
    exchange.close().await.expect("close");
    drop(stop);
    let served = serving.await.expect("no panic").expect("served");
    assert_eq!(served.messages, 102);
    assert_eq!(seen.lock().expect("not poisoned").len(), 102);
}

/// `server ADDRESS` and `client ADDRESS`: three messages, displayed and acknowledged.
fn the_programs(address: &str) {
    let server = Launch::server([address]).start();
    let name = server.listening().replace("[::]", "localhost");
    let client = Launch::client([name.as_str(), "-m", "one", "-m", "two", "-m", "three"]).no_input().start().wait();
    expect_success(&client);
    assert_eq!(client.stdout, "I got your message\n".repeat(3));
    let done = server.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "one\ntwo\nthree\n");
}
