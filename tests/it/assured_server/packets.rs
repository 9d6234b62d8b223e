//! The same over packets: sequenced ones, and Unix datagrams.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket};

use super::{bodies, stored};
use crate::harness::{DEADLINE, Launch, Program, expect_signal};

const SID: &str = "1123456789abcdef";

fn storing(kind: &str, directory: &Path) -> (Program, std::path::PathBuf) {
    let (path, file) = (directory.join("socket"), directory.join("messages.db"));
    let address = format!("{kind}:{}", path.display());
    let server =
        Launch::server([address.as_str(), "--name", "alpha", "--store", file.to_str().expect("a path")]).start();
    server.listening();
    (server, path)
}

/// A client with packets, of whatever kind.
trait Packets {
    fn send_packet(&self, packet: &[u8]) -> io::Result<usize>;
    fn receive_packet(&self, buffer: &mut [u8]) -> io::Result<usize>;

    fn put(&self, packet: &str) {
        self.send_packet(packet.as_bytes()).expect("send");
    }

    fn hear(&self) -> String {
        let mut buffer = vec![0; 4096];
        let length = self.receive_packet(&mut buffer).expect("receive");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[track_caller]
    fn expect_acknowledged(&self, last: u64) {
        loop {
            let heard = self.hear();
            let number: u64 =
                heard.trim_end().strip_prefix("A ").unwrap_or_else(|| panic!("{heard:?}")).parse().expect("a number");
            if number == last {
                return;
            }
        }
    }
}

struct Sequenced(std::os::fd::OwnedFd);

impl Sequenced {
    fn connect(path: &Path) -> Self {
        let own = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        connect(own.as_raw_fd(), &UnixAddr::new(path).expect("an address")).expect("connect");
        let deadline = nix::sys::time::TimeVal::new(i64::try_from(DEADLINE.as_secs()).expect("short"), 0);
        nix::sys::socket::setsockopt(&own, nix::sys::socket::sockopt::ReceiveTimeout, &deadline).expect("a deadline");
        Self(own)
    }
}

impl Packets for Sequenced {
    fn send_packet(&self, packet: &[u8]) -> io::Result<usize> {
        Ok(send(self.0.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL)?)
    }

    fn receive_packet(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), buffer, MsgFlags::empty())?)
    }
}

impl Packets for UdpSocket {
    fn send_packet(&self, packet: &[u8]) -> io::Result<usize> {
        self.send(packet)
    }

    fn receive_packet(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv(buffer)
    }
}

impl Packets for UnixDatagram {
    fn send_packet(&self, packet: &[u8]) -> io::Result<usize> {
        self.send(packet)
    }

    fn receive_packet(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv(buffer)
    }
}

fn datagrams(path: &Path, own: &str) -> UnixDatagram {
    let client = UnixDatagram::bind(path.with_file_name(own)).expect("a socket");
    client.connect(path).expect("connect");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    client
}

fn talk(client: &impl Packets, sid: &str) {
    client.put(&format!("WILCO/1 OPEN sid={sid} first=1 next=3"));
    let opened = client.hear();
    assert!(opened.starts_with("WILCO/1 OK acked=0 crc=00000000 win=8192 "), "{opened}");
    client.put("M 1 5\nhello");
    client.put("M 2 6\na\nb\nc\n\n");
    client.expect_acknowledged(2);
    client.put("PING x\n");
    assert_eq!(client.hear(), "PONG x\n");
    client.put("M 3 -\ntyped\n");
    client.expect_acknowledged(3);
}

#[test]
fn sequenced_packets_carry_a_frame_each() {
    let directory = tempfile::tempdir().expect("a directory");
    let (server, path) = storing("unix-seqpacket", directory.path());
    let client = Sequenced::connect(&path);
    talk(&client, SID);
    let plain = Sequenced::connect(&path);
    plain.put("a plain packet");
    assert_eq!(plain.hear(), "I got your message\n");
    client.put("BYE");
    assert_eq!(client.hear(), "BYE 3\n");
    assert_eq!(client.hear(), "");
    let broken = Sequenced::connect(&path);
    broken.put(&format!("WILCO/1 OPEN sid={SID} first=4 next=4\n"));
    assert!(broken.hear().starts_with("WILCO/1 OK acked=3 "));
    broken.put("M 4 2\nabc");
    assert!(broken.hear().starts_with("E 400 never "));
    let short = Sequenced::connect(&path);
    short.put("WILCO/1 OPEN sid=fedcba9876543210 first=1 next=1\n");
    assert!(short.hear().starts_with("WILCO/1 OK acked=0 "));
    short.put("M 1 3\nab");
    assert!(short.hear().starts_with("N 1 413 "));
    assert_eq!(bodies(&directory, SID), ["hello", "a\nb\nc\n", "typed"]);
    assert_eq!(stored(directory.path()).len(), 4);
    let client = Sequenced::connect(&path);
    client.put(&format!("WILCO/1 OPEN sid={SID} first=4 next=4\n"));
    assert!(client.hear().starts_with("WILCO/1 OK acked=3 "));
    server.signal(Signal::SIGTERM);
    assert_eq!(client.hear(), "BYE 3 drain\n");
}

#[test]
fn datagrams_of_unix_sockets_carry_a_frame_each_and_addresses_are_kept_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let (server, path) = storing("unix-dgram", directory.path());
    let (one, two) = (datagrams(&path, "one"), datagrams(&path, "two"));
    talk(&one, SID);
    two.put("a plain one");
    assert_eq!(two.hear(), "I got your message\n");
    talk(&two, "2123456789abcdef");
    // Whoever opens it from elsewhere has it; the same address may begin anew.
    two.put(&format!("WILCO/1 OPEN sid={SID} first=4 next=5\n"));
    assert!(one.hear().starts_with("E 423 never "));
    loop {
        let heard = two.hear();
        if heard.starts_with("WILCO/1 OK acked=3 ") {
            break;
        }
        // The session that it had before ends in order.
        assert!(heard.starts_with("BYE 3"), "{heard}");
    }
    two.put("M 4 4\nfour");
    two.expect_acknowledged(4);
    // Without a session it is a message like any other.
    one.put("M 9 4\nnine");
    assert_eq!(one.hear(), "I got your message\n");
    let unnamed = UnixDatagram::unbound().expect("a socket");
    unnamed.send_to(b"WILCO/1 OPEN sid=3123456789abcdef first=1 next=1\n", &path).expect("send");
    assert_eq!(bodies(&directory, SID), ["hello", "a\nb\nc\n", "typed", "four"]);
    assert_eq!(bodies(&directory, "2123456789abcdef").len(), 3);
    server.signal(Signal::SIGTERM);
    assert_eq!(two.hear(), "BYE 4 drain\n");
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn datagrams_of_udp_need_a_cookie_and_may_come_in_any_order_and_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("messages.db");
    let file = file.to_str().expect("a path");
    let server = Launch::server(["udp:127.0.0.1:0", "--json", "--name", "alpha", "--store", file]).start();
    let port = server.port();
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.connect(format!("127.0.0.1:{port}")).expect("connect");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let fill = ".".repeat(200);
    client.put(&format!("WILCO/1 O {SID} 1 4 pad={fill}"));
    let challenge = client.hear();
    let cookie = challenge.split(' ').nth(3).expect("a cookie");
    client.put(&format!("WILCO/1 O {SID} 1 4 cookie={cookie} pad={fill}"));
    let granted = client.hear();
    assert!(granted.contains(" 0 00000000 64 1200 ") && granted.ends_with(" ack=store srv=alpha"), "{granted}");
    let cookie = granted.split(' ').nth(3).expect("a cookie");
    client.put("a plain one");
    assert_eq!(client.hear(), "I got your message\n");
    for (number, body) in [(3, "three"), (2, "two"), (3, "three"), (1, "one"), (1, "one")] {
        client.put(&format!("WILCO/1 M {SID} {cookie} {number}\n{body}"));
    }
    let heard = |wanted: &str| while client.hear().trim_end() != wanted {};
    heard(&format!("WILCO/1 A {SID} 3"));
    // Whoever does not know the cookie is not believed.
    let forger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    forger
        .send_to(format!("WILCO/1 M {SID} {cookie} 4\nforged").as_bytes(), format!("127.0.0.1:{port}"))
        .expect("send");
    client.put(&format!("WILCO/1 M {SID} {cookie} 4\nfour"));
    heard(&format!("WILCO/1 A {SID} 4"));
    assert_eq!(bodies(&directory, SID), ["one", "two", "three", "four"]);
    assert_eq!(stored(directory.path()).len(), 5);
    let event = server.wait_for_stdout("\"through\":4");
    assert!(event.contains("\"event\":\"stored\""), "{event}");
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn a_user_of_this_machine_is_known_without_a_token() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_server, path) = storing("unix", directory.path());
    let mut client = std::os::unix::net::UnixStream::connect(&path).expect("connect");
    let mut heard = String::new();
    io::Write::write_all(&mut client, format!("WILCO/1 OPEN sid={SID} first=1 next=1\nBYE\n").as_bytes())
        .expect("send");
    io::Read::read_to_string(&mut client, &mut heard).expect("hear");
    assert!(heard.ends_with("BYE 0\n"), "{heard}");
    let store = rusqlite::Connection::open(directory.path().join("messages.db")).expect("open the store");
    let principal: String = store.query_row("SELECT principal FROM sessions", [], |row| row.get(0)).expect("a session");
    assert_eq!(principal, format!("uid:{}", nix::unistd::getuid()));
}
