//! The table of attributes, in the order in which they are listed.
//!
//! Apart, because it is data: listings, JSON and the documentation come from it.

use socket2::{Domain, Protocol, Type};

use super::{Addr, Attribute, Attributes};

/// A name, a unit, a source, a text, and how it is read.
macro_rules! attributes {
    ($($name:literal [$unit:literal] $source:literal: $read:expr, $doc:literal;)*) => {
        /// Every attribute, in the order in which they are listed.
        pub static ATTRIBUTES: &[Attribute] = &[$(Attribute {
            name: $name,
            unit: $unit,
            source: $source,
            doc: $doc,
            read: |socket| {
                let read: fn(&Attributes) -> Option<_> = $read;
                read(socket).map(Into::into)
            },
        },)*];
    };
}

attributes! {
    "domain" [""] "SO_DOMAIN": |it| Some(domain(it).0),
        "The address domain.";
    "domain_constant" [""] "SO_DOMAIN": |it| Some(domain(it).1),
        "What C calls it.";
    "type" [""] "SO_TYPE": |it| Some(kind(it).0),
        "The type of the socket.";
    "type_constant" [""] "SO_TYPE": |it| Some(kind(it).1),
        "What C calls it.";
    "protocol" [""] "SO_PROTOCOL": |it| Some(protocol(it).0),
        "The protocol; `default` is the only one of the domain and the type.";
    "protocol_constant" [""] "SO_PROTOCOL": |it| Some(protocol(it).1).filter(|name| !name.is_empty()),
        "What C calls it.";
    "local" [""] "getsockname": |it| it.local.as_ref().map(Addr::to_string),
        "Its own address.";
    "local_port" [""] "getsockname": |it| it.local.as_ref().and_then(Addr::port),
        "Its own port.";
    "peer" [""] "getpeername": |it| it.peer.as_ref().map(Addr::to_string),
        "The address that it is connected to.";
    "peer_port" [""] "getpeername": |it| it.peer.as_ref().and_then(Addr::port),
        "The port that it is connected to.";
    "peer_pid" [""] "SO_PEERCRED": |it| it.credentials.map(|peer| peer.pid),
        "The peer's process when it connected or listened; 0 in another namespace.";
    "peer_uid" [""] "SO_PEERCRED": |it| it.credentials.map(|peer| peer.uid),
        "The peer's user when it connected or listened.";
    "peer_gid" [""] "SO_PEERCRED": |it| it.credentials.map(|peer| peer.gid),
        "The peer's group when it connected or listened.";
    "listening" [""] "SO_ACCEPTCONN": |it| Some(it.is_listening),
        "Whether it listens for connections.";
    "backlog_used" ["connections"] "tcpi_unacked": |it| listener(it)?.unacknowledged,
        "Of a listener: connections that wait to be accepted.";
    "backlog" ["connections"] "tcpi_sacked": |it| listener(it)?.selectively_acknowledged,
        "Of a listener: how many may wait.";
    "queued_in" ["bytes"] "SIOCINQ": |it| it.queued_in,
        "Can be read now; of datagrams, the next one.";
    "queued_out" ["bytes"] "SIOCOUTQ": |it| it.queued_out,
        "Written, and not yet taken by the peer; Unix and UDP sockets count the kernel's own use too.";
    "tcp_state" [""] "tcpi_state": |it| it.tcp.as_ref()?.state,
        "The state of the connection (RFC 9293).";
    "round_trip" ["us"] "tcpi_rtt": |it| connection(it)?.round_trip,
        "The smoothed round-trip time.";
    "round_trip_variation" ["us"] "tcpi_rttvar": |it| connection(it)?.round_trip_variation,
        "The mean deviation of the round-trip time.";
    "least_round_trip" ["us"] "tcpi_min_rtt": |it| connection(it)?.least_round_trip,
        "The least round-trip time seen lately.";
    "retransmit_timeout" ["us"] "tcpi_rto": |it| connection(it)?.retransmit_timeout,
        "How long an acknowledgement is waited for before something is sent again.";
    "send_segment" ["bytes"] "tcpi_snd_mss": |it| connection(it)?.send_segment,
        "The largest segment sent.";
    "receive_segment" ["bytes"] "tcpi_rcv_mss": |it| connection(it)?.receive_segment,
        "The largest segment received, as far as the kernel can tell.";
    "path_mtu" ["bytes"] "tcpi_pmtu": |it| connection(it)?.path_mtu,
        "The largest packet of the path.";
    "congestion_window" ["segments"] "tcpi_snd_cwnd": |it| connection(it)?.congestion_window,
        "How much may be on its way at a time.";
    "slow_start_threshold" ["segments"] "tcpi_snd_ssthresh": |it| connection(it)?.slow_start_threshold,
        "Where the congestion window stops growing fast; nothing before the first loss.";
    "receive_space" ["bytes"] "tcpi_rcv_space": |it| connection(it)?.receive_space,
        "The window for receiving that the kernel aims at.";
    "peer_window" ["bytes"] "tcpi_snd_wnd": |it| connection(it)?.peer_window,
        "The window that the peer offers (Linux 5.4).";
    "bytes_sent" ["bytes"] "tcpi_bytes_sent": |it| connection(it)?.bytes_sent,
        "Sent, what was sent again included (Linux 4.19).";
    "bytes_acknowledged" ["bytes"] "tcpi_bytes_acked": |it| connection(it)?.bytes_acknowledged,
        "Acknowledged by the peer's kernel, which does not say that its program has read it.";
    "bytes_received" ["bytes"] "tcpi_bytes_received": |it| connection(it)?.bytes_received,
        "Received.";
    "bytes_retransmitted" ["bytes"] "tcpi_bytes_retrans": |it| connection(it)?.bytes_retransmitted,
        "Sent again (Linux 4.19).";
    "unsent" ["bytes"] "tcpi_notsent_bytes": |it| connection(it)?.unsent,
        "Written and not sent yet.";
    "segments_sent" ["segments"] "tcpi_segs_out": |it| connection(it)?.segments_sent,
        "Sent.";
    "segments_received" ["segments"] "tcpi_segs_in": |it| connection(it)?.segments_received,
        "Received.";
    "unacknowledged" ["segments"] "tcpi_unacked": |it| connection(it)?.unacknowledged,
        "Sent and not acknowledged.";
    "lost" ["segments"] "tcpi_lost": |it| connection(it)?.lost,
        "Held for lost.";
    "retransmits" ["times"] "tcpi_retransmits": |it| connection(it)?.retransmits,
        "How often what is due was sent again.";
    "total_retransmits" ["segments"] "tcpi_total_retrans": |it| connection(it)?.total_retransmits,
        "Sent again, all together.";
    "probes" ["probes"] "tcpi_probes": |it| connection(it)?.probes,
        "Unanswered keepalive and window probes.";
    "pacing_rate" ["bytes/s"] "tcpi_pacing_rate": |it| connection(it)?.pacing_rate,
        "The rate at which it sends.";
    "delivery_rate" ["bytes/s"] "tcpi_delivery_rate": |it| connection(it)?.delivery_rate,
        "The rate at which data arrived at the peer of late.";
    "last_sent" ["us"] "tcpi_last_data_sent": |it| connection(it)?.last_sent,
        "How long ago data was last sent, to the millisecond.";
    "last_received" ["us"] "tcpi_last_data_recv": |it| connection(it)?.last_received,
        "How long ago data was last received, to the millisecond.";
    "last_acknowledged" ["us"] "tcpi_last_ack_recv": |it| connection(it)?.last_acknowledged,
        "How long ago an acknowledgement was last received, to the millisecond.";
    "busy" ["us"] "tcpi_busy_time": |it| connection(it)?.busy,
        "How long it had something to send.";
    "limited_by_peer" ["us"] "tcpi_rwnd_limited": |it| connection(it)?.limited_by_peer,
        "How long the peer's window kept it from sending.";
    "limited_by_buffer" ["us"] "tcpi_sndbuf_limited": |it| connection(it)?.limited_by_buffer,
        "How long the buffer for sending kept it from sending.";
}

fn domain(socket: &Attributes) -> (&'static str, &'static str) {
    match socket.domain {
        Domain::IPV4 => ("Internet v4", "AF_INET"),
        Domain::IPV6 => ("Internet v6", "AF_INET6"),
        Domain::UNIX => ("Unix", "AF_UNIX"),
        Domain::VSOCK => ("vsock", "AF_VSOCK"),
        Domain::PACKET => ("packet", "AF_PACKET"),
        _ => ("other", "AF_UNSPEC"),
    }
}

fn kind(socket: &Attributes) -> (&'static str, &'static str) {
    match socket.kind {
        Type::STREAM => ("stream", "SOCK_STREAM"),
        Type::DGRAM => ("datagram", "SOCK_DGRAM"),
        Type::SEQPACKET => ("packet", "SOCK_SEQPACKET"),
        Type::RAW => ("raw", "SOCK_RAW"),
        _ => ("other", "0"),
    }
}

fn protocol(socket: &Attributes) -> (&'static str, &'static str) {
    match socket.protocol {
        None => ("default", ""),
        Some(Protocol::TCP) => ("tcp", "IPPROTO_TCP"),
        Some(Protocol::UDP) => ("udp", "IPPROTO_UDP"),
        Some(Protocol::MPTCP) => ("mptcp", "IPPROTO_MPTCP"),
        Some(Protocol::SCTP) => ("sctp", "IPPROTO_SCTP"),
        Some(Protocol::ICMPV4) => ("icmp", "IPPROTO_ICMP"),
        Some(Protocol::ICMPV6) => ("icmp6", "IPPROTO_ICMPV6"),
        Some(_) => ("other", ""),
    }
}

/// What TCP knows of a connection: a listener's and an unconnected socket's fields mean other things or nothing.
fn connection(socket: &Attributes) -> Option<&super::TcpInfo> {
    socket.tcp.as_ref().filter(|_| socket.peer.is_some())
}

fn listener(socket: &Attributes) -> Option<&super::TcpInfo> {
    socket.tcp.as_ref().filter(|_| socket.is_listening)
}
