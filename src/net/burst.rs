//! `Burst`: the packets that one call receives, each with whom it is from, and the answers that one call sends back.
//!
//! Apart from [`PacketSocket`](super::PacketSocket), which has one packet at a time: with many peers, or many packets of one,
//! the calls cost more than all that is done with a packet (recvmmsg(2), sendmmsg(2)).

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use socket2::SockAddr;

use super::sys::{self, Outgoing, PACKETS};
use super::{Addr, Arrival, Packet, UnixName, trace};

/// How much memory the packets of one burst may take. Only what was once written to is in use.
const BURST_BYTES: usize = 2 * 1024 * 1024;

/// How far the places of two packets are apart, beyond their size: at a multiple of a page, the beginnings of all packets
/// would share a few lines of the processor's cache.
const STAGGER: usize = 64;

/// Room for the packets that are received at once, and those that were last.
pub struct Burst {
    buffer: Vec<u8>,
    /// The longest packet that is not cut.
    size: usize,
    /// From the beginning of a packet to that of the next.
    distance: usize,
    received: Vec<Received>,
    /// How many are asked for next: as many as have come lately, and more. Each costs a little even if it does not come.
    asked: usize,
}

/// What was received of one packet of a burst.
#[derive(Debug)]
pub struct Received {
    /// Whom it is from.
    pub from: Addr,
    /// How long it is.
    pub packet: Packet,
    /// Which of this machine's addresses it came to, where the kernel tells: for a listener's UDP socket that is bound to all
    /// of them.
    pub arrival: Option<Arrival>,
    /// Where its bytes are in those of the burst.
    pub place: Range<usize>,
    /// The sender's address as the kernel has it.
    name: SockAddr,
}

impl Burst {
    /// Room for packets of at most `size` bytes: longer ones are cut. The longer they may be, the fewer are received at once.
    pub fn new(size: usize) -> Self {
        let distance = size.next_multiple_of(STAGGER) + STAGGER;
        let places = (BURST_BYTES / size.max(1)).clamp(1, PACKETS);
        Self { buffer: vec![0; places * distance], size, distance, received: Vec::with_capacity(places), asked: 2 }
    }

    /// What was received last, in the order in which it came.
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// The bytes of all packets, between which others lie.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The bytes of one packet.
    pub fn bytes_of(&self, received: &Received) -> &[u8] {
        &self.buffer[received.place.clone()]
    }

    /// How many packets are received next at the most.
    pub(super) fn places(&self) -> usize {
        self.asked.min(self.buffer.len() / self.distance)
    }

    /// The longest packet that is not cut.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Receives what is there.
    pub(super) fn receive(&mut self, socket: &socket2::Socket) -> io::Result<()> {
        let end = self.places() * self.distance;
        let Self { buffer, size, distance, received, asked } = self;
        received.clear();
        sys::recv_packets(socket.as_fd(), &mut buffer[..end], *distance, *size, |sent, name, control| {
            let packet = Packet::new(sent, *size);
            let start = received.len() * *distance;
            received.push(Received {
                from: Addr::from_kernel(&name).unwrap_or(Addr::Unix(UnixName::Unnamed)),
                packet,
                arrival: Arrival::among(control),
                place: start..start + packet.length,
                name,
            });
        })?;
        *asked = (2 * received.len()).clamp(2, PACKETS);
        Ok(())
    }

    /// An answer to the packet of a number. It leaves from where that one came to.
    pub(super) fn answer<'a>(&'a self, (number, bytes): &'a (usize, impl AsRef<[u8]>)) -> Outgoing<'a> {
        let Received { name, arrival, .. } = &self.received[*number];
        Outgoing { bytes: bytes.as_ref(), to: name, control: arrival.as_ref().map_or(&[], Arrival::control) }
    }
}

impl fmt::Debug for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, received, .. } = self;
        f.debug_struct("Burst").field("size", size).field("received", received).finish_non_exhaustive()
    }
}

/// Received packets are shown with their lengths and senders.
impl trace::Shown for &Burst {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = self.received.iter().map(|Received { packet, from, .. }| format!("{} from {from}", packet.sent));
        write!(f, "{} ({})", self.received.len(), packets.collect::<Vec<_>>().join(", "))
    }
}

/// Answers that one call is given, for a trace that shows their lengths and where they go.
pub(super) struct Answers<'a, B>(pub(super) &'a Burst, pub(super) &'a [(usize, B)]);

impl<B: AsRef<[u8]>> fmt::Display for Answers<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (number, bytes)) in self.1.iter().take(PACKETS).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} bytes to {}", bytes.as_ref().len(), self.0.received[*number].from)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Connection, Connector, ListenConfig, PacketSocket};

    async fn listen(address: &str) -> (PacketSocket, String) {
        let endpoint = address.parse().expect("an address");
        let mut listener = ListenConfig::default().listen(&endpoint).await.expect("listen");
        let name = listener.names().remove(0).to_string();
        (listener.take_packets().remove(0), name)
    }

    async fn connect(address: &str) -> PacketSocket {
        match Connector::default().connect(&address.parse().expect("an address")).await.expect("connect") {
            Connection::Packets(packets) => packets,
            Connection::Stream(_) => panic!("{address} is of packets"),
        }
    }

    /// A socket of each domain, where to reach it, and whether the kernel tells where a packet came to.
    fn sockets(directory: &std::path::Path) -> [(String, &'static str, bool); 5] {
        [
            ("udp:127.0.0.1:0".to_owned(), "127.0.0.1", false),
            ("udp4:0".to_owned(), "127.0.0.2", true),
            ("udp6:0".to_owned(), "[::1]", true),
            // One that is for both versions of IP tells of IPv4, too.
            ("udp:0".to_owned(), "127.0.0.2", true),
            (format!("unix-dgram:{}", directory.join("s").display()), "", false),
        ]
    }

    #[tokio::test]
    async fn packets_of_several_peers_come_at_once_and_each_is_answered() {
        let directory = tempfile::tempdir().expect("a directory");
        for (address, host, tells) in sockets(directory.path()) {
            let (server, name) = listen(&address).await;
            let port = name.rsplit(':').next().expect("a port");
            let reached = if host.is_empty() { name.clone() } else { format!("udp:{host}:{port}") };
            let peers = [connect(&reached).await, connect(&reached).await];
            let sent = ["a", "to be cut", "b", "", "c"];
            for (number, text) in sent.iter().enumerate() {
                peers[number % 2].send(text.as_bytes()).await.expect("sent");
            }
            let (mut burst, mut came, mut calls) = (Burst::new(4), Vec::new(), 0);
            while came.len() < sent.len() {
                server.recv_burst(&mut burst).await.expect("a burst");
                calls += 1;
                let mut answers = Vec::new();
                for (number, received) in burst.received().iter().enumerate() {
                    let text = String::from_utf8_lossy(burst.bytes_of(received)).into_owned();
                    assert_eq!(received.arrival.is_some(), tells, "{address}");
                    answers.push((number, format!("{text}!")));
                    came.push((text, received.packet.sent, received.packet.is_cut()));
                }
                server.try_answer(&burst, &answers, |at, error| panic!("{address}: answer {at}: {error}"));
            }
            // It begins with few, and asks for more when they come.
            assert!(calls < sent.len(), "{address}: {calls} calls");
            let whole = |text: &str| (text.to_owned(), text.len(), false);
            assert_eq!(
                came,
                [whole("a"), ("to b".to_owned(), 9, true), whole("b"), whole(""), whole("c")],
                "{address}"
            );
            let mut buffer = [0; 100];
            // A peer is connected: what came from another address than it asked would not reach it.
            for (peer, answers) in [(0, vec!["a!", "b!", "c!"]), (1, vec!["to b!", "!"])] {
                for answer in answers {
                    let length = peers[peer].recv(&mut buffer).await.expect("an answer").length;
                    assert_eq!(String::from_utf8_lossy(&buffer[..length]), answer, "{address}");
                }
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_sent_does_not_keep_the_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let (server, name) = listen(&format!("unix-dgram:{}", directory.path().join("s").display())).await;
        let (gone, stays) = (connect(&name).await, connect(&name).await);
        for (peer, text) in [(&stays, "1"), (&gone, "2"), (&stays, "3"), (&gone, "4"), (&stays, "5")] {
            peer.send(text.as_bytes()).await.expect("sent");
        }
        drop(gone);
        let (mut burst, mut came, mut failed) = (Burst::new(100), 0, Vec::new());
        while came < 5 {
            server.recv_burst(&mut burst).await.expect("a burst");
            let received = burst.received();
            let answers: Vec<_> =
                (0..received.len()).map(|number| (number, burst.bytes_of(&received[number]))).collect();
            server.try_answer(&burst, &answers, |at, _| failed.push(came + at + 1));
            came += received.len();
        }
        assert_eq!(failed, [2, 4]);
        let mut buffer = [0; 100];
        for text in ["1", "3", "5"] {
            let length = stays.recv(&mut buffer).await.expect("an answer").length;
            assert_eq!(String::from_utf8_lossy(&buffer[..length]), text);
        }
    }

    #[tokio::test]
    async fn the_refusal_of_an_earlier_answer_does_not_keep_the_next() {
        let (server, name) = listen("udp4:127.0.0.1:0?recverr").await;
        let (gone, stays) = (connect(&name).await, connect(&name).await);
        gone.send(b"1").await.expect("sent");
        stays.send(b"2").await.expect("sent");
        drop(gone);
        let mut burst = Burst::new(100);
        server.recv_burst(&mut burst).await.expect("a burst");
        for number in [0, 1, 0, 1] {
            server.try_answer(&burst, &[(number, "yes")], |_, error| panic!("answer {number}: {error}"));
        }
        for _ in 0..2 {
            assert_eq!(stays.recv(&mut [0; 10]).await.expect("an answer").length, 3);
        }
    }

    #[test]
    fn the_longer_packets_may_be_the_fewer_come_at_once() {
        for (size, places) in
            [(1, PACKETS), (64 * 1024, PACKETS), (100 * 1024, 20), (1024 * 1024, 2), (4 * 1024 * 1024, 1)]
        {
            let burst = Burst::new(size);
            assert_eq!(burst.buffer.len() / burst.distance, places, "{size}");
        }
    }
}
