//! The table of socket options: by level, then by name.
//!
//! Apart, because it is data: a row says all that the rest of the program and the documentation know of an option.

use libc::*;

use super::Access::{Get, Set, SetGet, Take};
use super::Scope::{Any, Inet, Ipv4, Ipv6, Stream, Tcp, Udp, Udp6, Unix, Vsock};
use super::value::Kind::{
    Bytes, Choice, Fields, Flag, Group, Interface, InterfaceBigEndian, InterfaceRequest, Keepalive, Linger, List,
    Microseconds, Milliseconds, Number, Seconds, Size, Text, Timeval, Wide, WideSize,
};
use super::{Level, SocketOption};

/// Rows whose level is given once for all, and whose constant is at once its name and its number.
macro_rules! options {
    ($(
        $level:ident {
            $($name:literal $constant:ident: $kind:expr, $access:expr, $scope:expr, $source:literal, $doc:literal;)*
        }
    )*) => {
        /// Every option that has a name here, by level and name.
        ///
        /// A name stands more than once where the Internet domains or TCP and UDP have an option each for the same
        /// thing; then the rows differ in scope and take the same values.
        pub static OPTIONS: &[SocketOption] = &[$($(SocketOption {
            name: $name,
            constant: stringify!($constant),
            level: Level::$level,
            number: $constant,
            kind: $kind,
            access: $access,
            scope: $scope,
            doc: $doc,
            source: $source,
        },)*)*];
    };
}

options! {
    Socket {
        "acceptconn" SO_ACCEPTCONN: Flag, Get, Any, "socket(7)",
            "Whether it listens.";
        "bindtodevice" SO_BINDTODEVICE: Text, SetGet, Inet, "socket(7)",
            "Uses only this network interface, given by its name; an empty name ends that. CAP_NET_RAW to change it.";
        "bindtoifindex" SO_BINDTOIFINDEX: Interface, SetGet, Inet, "Linux 5.0",
            "Uses only this network interface; `any` ends that. CAP_NET_RAW to change it.";
        "bpf-extensions" SO_BPF_EXTENSIONS: Number(0, INT_MAX), Get, Any, "Linux 3.14",
            "How many extensions of packet filters the kernel knows.";
        "broadcast" SO_BROADCAST: Flag, SetGet, Udp, "socket(7)",
            "Allows datagrams to broadcast addresses; off by default.";
        "buf-lock" SO_BUF_LOCK: Number(0, 3), SetGet, Any, "Linux 5.14",
            "Which buffers the kernel does not tune by itself: 1 the one for sending, 2 the one for receiving, 3 \
             both.";
        "busy-poll" SO_BUSY_POLL: Microseconds, SetGet, Inet, "socket(7)",
            "How long a read that would wait polls the device instead. CAP_NET_ADMIN to raise it.";
        "busy-poll-budget" SO_BUSY_POLL_BUDGET: Number(0, 65_535), Set, Inet, "Linux 5.11",
            "The most packets taken at one poll of the device; 8 by default. CAP_NET_ADMIN to raise it.";
        "cookie" SO_COOKIE: Wide, Get, Any, "Linux 4.12",
            "The number that is this socket's alone while the system runs.";
        "debug" SO_DEBUG: Flag, SetGet, Any, "socket(7)",
            "Asks the kernel for debugging output. CAP_NET_ADMIN.";
        "domain" SO_DOMAIN: Choice(DOMAINS), Get, Any, "socket(7)",
            "The address domain it was created in.";
        "dontroute" SO_DONTROUTE: Flag, SetGet, Inet, "socket(7)",
            "Sends only to hosts that are directly connected, through no gateway.";
        "error" SO_ERROR: Number(0, INT_MAX), Take, Any, "socket(7)",
            "The number of the error that waits, 0 for none.";
        "incoming-cpu" SO_INCOMING_CPU: Number(-1, INT_MAX), SetGet, Inet, "socket(7)",
            "The processor that handles its packets; among listeners with `reuseport`, the one whose packets it \
             wants.";
        "incoming-napi-id" SO_INCOMING_NAPI_ID: Number(0, UINT_MAX), Get, Inet, "socket(7)",
            "The number of the device queue on which the last packet came, 0 if it is not known.";
        "keepalive" SO_KEEPALIVE: Keepalive, SetGet, Tcp, "socket(7)",
            "Probes a silent connection and ends it when nobody answers. A time, as in `keepalive=30s`, switches it \
             on and sets `keepidle`.";
        "linger" SO_LINGER: Linger, SetGet, Any, "socket(7)",
            "How long a close waits for unsent data; 0 throws it away and resets the connection; `off` by default.";
        "lock-filter" SO_LOCK_FILTER: Flag, SetGet, Any, "socket(7)",
            "Forbids any change of the socket's filter from now on; it cannot be switched off.";
        "mark" SO_MARK: Number(0, UINT_MAX), SetGet, Inet, "socket(7)",
            "The mark of its packets, for routing and packet filters. CAP_NET_ADMIN.";
        "max-pacing-rate" SO_MAX_PACING_RATE: WideSize, SetGet, Inet, "Linux 3.13",
            "The most bytes sent a second; `unlimited` by default.";
        "meminfo" SO_MEMINFO: Fields(MEMORY), Get, Any, "Linux 4.12",
            "The memory in use, in bytes, and how many packets were dropped.";
        "netns-cookie" SO_NETNS_COOKIE: Wide, Get, Inet, "Linux 5.14",
            "The number of the network namespace it is in.";
        "no-check" SO_NO_CHECK: Flag, SetGet, Udp, "Linux 2.0",
            "Sends IPv4 datagrams without a checksum.";
        "oobinline" SO_OOBINLINE: Flag, SetGet, Stream, "socket(7)",
            "Leaves urgent data in its place among the rest.";
        "passcred" SO_PASSCRED: Flag, SetGet, Unix, "unix(7)",
            "Receives the sender's process, user and group with each message.";
        "passpidfd" SO_PASSPIDFD: Flag, SetGet, Unix, "Linux 6.5",
            "Receives a descriptor of the sender's process with each message.";
        "passrights" SO_PASSRIGHTS: Flag, SetGet, Unix, "Linux 6.16",
            "Accepts descriptors that a peer passes; on by default.";
        "passsec" SO_PASSSEC: Flag, SetGet, Unix, "unix(7)",
            "Receives the sender's security label with each message.";
        "peek-off" SO_PEEK_OFF: Number(-1, INT_MAX), SetGet, Unix, "socket(7)",
            "Where the next peek begins, in bytes; -1, the default, is always the front of the queue.";
        "peercred" SO_PEERCRED: Fields(&["pid", "uid", "gid"]), Get, Unix, "unix(7)",
            "The peer's process, user and group when it connected or listened.";
        "peergroups" SO_PEERGROUPS: List, Get, Unix, "Linux 4.13",
            "The supplementary groups of the peer when it connected or listened.";
        "peersec" SO_PEERSEC: Text, Get, Unix, "unix(7)",
            "The security label of the peer.";
        "prefer-busy-poll" SO_PREFER_BUSY_POLL: Flag, SetGet, Inet, "Linux 5.11",
            "Prefers polling the device to its interrupts. CAP_NET_ADMIN to switch it on.";
        "priority" SO_PRIORITY: Number(0, INT_MAX), SetGet, Inet, "socket(7)",
            "The priority of its packets in the queues of devices; 0 by default. CAP_NET_ADMIN above 6.";
        "protocol" SO_PROTOCOL: Choice(PROTOCOLS), Get, Any, "socket(7)",
            "The protocol it was created with.";
        "rcvbuf" SO_RCVBUF: Size, SetGet, Any, "socket(7)",
            "The buffer for receiving. The kernel doubles what is set, for its own use, and stops at \
             /proc/sys/net/core/rmem_max. Before connect or listen to widen TCP's window.";
        "rcvbufforce" SO_RCVBUFFORCE: Size, Set, Any, "socket(7)",
            "As `rcvbuf`, without its limit. CAP_NET_ADMIN.";
        "rcvlowat" SO_RCVLOWAT: Size, SetGet, Any, "socket(7)",
            "How many bytes must be there before a read returns; 1 by default.";
        "rcvmark" SO_RCVMARK: Flag, SetGet, Inet, "Linux 5.19",
            "Receives the mark of each packet with it. CAP_NET_ADMIN or CAP_NET_RAW.";
        "rcvpriority" SO_RCVPRIORITY: Flag, SetGet, Inet, "Linux 6.14",
            "Receives the priority of each packet with it.";
        "rcvtimeo" SO_RCVTIMEO: Timeval, SetGet, Any, "socket(7)",
            "How long a blocking read waits; 0, the default, is without end.";
        "reserve-mem" SO_RESERVE_MEM: Size, SetGet, Inet, "Linux 5.16",
            "Memory that stays reserved for the socket; 0 by default. Needs a memory cgroup.";
        "reuseaddr" SO_REUSEADDR: Flag, SetGet, Any, "socket(7)",
            "Binds an address that a connection in TIME-WAIT, or for datagrams another such socket, still has.";
        "reuseport" SO_REUSEPORT: Flag, SetGet, Inet, "socket(7)",
            "Lets several sockets of one user that all have it share an address, and spreads the load over them.";
        "rxq-ovfl" SO_RXQ_OVFL: Flag, SetGet, Any, "socket(7)",
            "Receives with each datagram how many were dropped.";
        "select-err-queue" SO_SELECT_ERR_QUEUE: Flag, SetGet, Any, "socket(7)",
            "Reports waiting errors as exceptional conditions too.";
        "sndbuf" SO_SNDBUF: Size, SetGet, Any, "socket(7)",
            "The buffer for sending. The kernel doubles what is set, for its own use, and stops at \
             /proc/sys/net/core/wmem_max.";
        "sndbufforce" SO_SNDBUFFORCE: Size, Set, Any, "socket(7)",
            "As `sndbuf`, without its limit. CAP_NET_ADMIN.";
        "sndlowat" SO_SNDLOWAT: Size, Get, Any, "socket(7)",
            "How much room there must be before a write returns; always 1 on Linux.";
        "sndtimeo" SO_SNDTIMEO: Timeval, SetGet, Any, "socket(7)",
            "How long a blocking write or connect waits; 0, the default, is without end.";
        "timestamp" SO_TIMESTAMP: Flag, SetGet, Any, "socket(7)",
            "Receives with each datagram when it came, in microseconds.";
        "timestamping" SO_TIMESTAMPING: Number(0, INT_MAX), SetGet, Inet, "Linux 2.6.30",
            "Which times are taken and told for packets sent and received: the sum of the flags SOF_TIMESTAMPING_.";
        "timestampns" SO_TIMESTAMPNS: Flag, SetGet, Any, "socket(7)",
            "Receives with each datagram when it came, in nanoseconds.";
        "txrehash" SO_TXREHASH: Flag, SetGet, Tcp, "Linux 5.18",
            "Tries another path through the network when a connection does not get on; on by default.";
        "type" SO_TYPE: Choice(TYPES), Get, Any, "socket(7)",
            "The type it was created with.";
        "wifi-status" SO_WIFI_STATUS: Flag, SetGet, Inet, "Linux 3.3",
            "Reports whether the other station of a wireless link has acknowledged a packet.";
        "zerocopy" SO_ZEROCOPY: Flag, SetGet, Inet, "Linux 4.14",
            "Allows sending without a copy (MSG_ZEROCOPY).";
    }
    Ip {
        "bind-address-no-port" IP_BIND_ADDRESS_NO_PORT: Flag, SetGet, Inet, "ip(7)",
            "Leaves the choice of an ephemeral port to connect, so that many connections can share one.";
        "checksum" IP_CHECKSUM: Flag, SetGet, Ipv4, "Linux 4.0",
            "Receives the checksum of each datagram with it.";
        "freebind" IP_FREEBIND: Flag, SetGet, Ipv4, "ip(7)",
            "Binds an address that is not there, or not yet.";
        "join" IP_ADD_MEMBERSHIP: Group, Set, Ipv4, "ip(7)",
            "Joins a multicast group, on an interface or where the routes say; once for each group.";
        "leave" IP_DROP_MEMBERSHIP: Group, Set, Ipv4, "ip(7)",
            "Leaves a multicast group.";
        "min-ttl" IP_MINTTL: Number(0, 255), SetGet, Ipv4, "Linux 2.6.34",
            "Drops packets whose time to live, in hops, is less (RFC 5082); 0 by default.";
        "mtu" IP_MTU: Size, Get, Ipv4, "ip(7)",
            "The largest packet of the path to the peer, in bytes; known once connected.";
        "mtu-discover" IP_MTU_DISCOVER: Choice(MTU_DISCOVERY), SetGet, Ipv4, "ip(7)",
            "Whether packets may be cut on their way: `do` never, `dont` always.";
        "multicast-all" IP_MULTICAST_ALL: Flag, SetGet, Ipv4, "ip(7)",
            "Receives from every group that any socket of this system has joined, not only from its own; on by \
             default.";
        "multicast-if" IP_MULTICAST_IF: InterfaceRequest, Set, Ipv4, "ip(7)",
            "The interface that multicasts leave by.";
        "multicast-loop" IP_MULTICAST_LOOP: Flag, SetGet, Ipv4, "ip(7)",
            "Whether its multicasts also reach this system; on by default.";
        "multicast-ttl" IP_MULTICAST_TTL: Number(-1, 255), SetGet, Ipv4, "ip(7)",
            "How many hops a multicast may go; 1, the default, is this network; -1 gives the default.";
        "passsec-ip" IP_PASSSEC: Flag, SetGet, Ipv4, "ip(7)",
            "Receives the sender's security label with each datagram.";
        "pktinfo" IP_PKTINFO: Flag, SetGet, Ipv4, "ip(7)",
            "Receives with each datagram the interface and the address it came to.";
        "recv-frag-size" IP_RECVFRAGSIZE: Flag, SetGet, Ipv4, "Linux 4.11",
            "Receives with each datagram the size of its largest fragment.";
        "recv-opts" IP_RECVOPTS: Flag, SetGet, Ipv4, "ip(7)",
            "Receives the IP options of each datagram with it.";
        "recv-orig-dst" IP_RECVORIGDSTADDR: Flag, SetGet, Ipv4, "ip(7)",
            "Receives with each datagram the address it was sent to before it was redirected.";
        "recv-tos" IP_RECVTOS: Flag, SetGet, Ipv4, "ip(7)",
            "Receives the type of service of each datagram with it.";
        "recv-ttl" IP_RECVTTL: Flag, SetGet, Ipv4, "ip(7)",
            "Receives with each datagram how many hops it could still have gone.";
        "recverr" IP_RECVERR: Flag, SetGet, Ipv4, "ip(7)",
            "Queues errors with all that is known of them, and reports those of datagrams at once.";
        "recverr-rfc4884" IP_RECVERR_RFC4884: Flag, SetGet, Ipv4, "Linux 5.9",
            "Queues ICMP errors with their extensions (RFC 4884).";
        "tos" IP_TOS: Number(0, 255), SetGet, Ipv4, "ip(7)",
            "The type of service of its packets: the DSCP times 4. CAP_NET_ADMIN above 160.";
        "transparent" IP_TRANSPARENT: Flag, SetGet, Ipv4, "ip(7)",
            "Takes and binds addresses of others, for transparent proxies. CAP_NET_ADMIN or CAP_NET_RAW.";
        "ttl" IP_TTL: Number(1, 255), SetGet, Ipv4, "ip(7)",
            "How many hops a packet may go; 64 by default.";
        "unicast-if" IP_UNICAST_IF: InterfaceBigEndian, SetGet, Ipv4, "Linux 3.3",
            "The interface that its packets leave by, before the routes say so.";
    }
    Ipv6 {
        "addr-preferences" IPV6_ADDR_PREFERENCES: Choice(ADDRESS_PREFERENCES), SetGet, Ipv6, "Linux 2.6.26",
            "Which of its own addresses it prefers to send from (RFC 5014).";
        "autoflowlabel" IPV6_AUTOFLOWLABEL: Flag, SetGet, Ipv6, "Linux 3.17",
            "Gives each flow a label of its own (RFC 6438).";
        "dontfrag" IPV6_DONTFRAG: Flag, SetGet, Ipv6, "Linux 2.6.35",
            "Fails rather than cutting a datagram in fragments (RFC 3542).";
        "flowinfo" IPV6_FLOWINFO: Flag, SetGet, Ipv6, "Linux 2.2",
            "Receives the traffic class and flow label of each datagram with it.";
        "flowinfo-send" IPV6_FLOWINFO_SEND: Flag, SetGet, Ipv6, "Linux 2.2",
            "Sends with the flow label of the address that it connects to.";
        "freebind" IPV6_FREEBIND: Flag, SetGet, Ipv6, "Linux 4.15",
            "Binds an address that is not there, or not yet.";
        "join" IPV6_ADD_MEMBERSHIP: Group, Set, Ipv6, "ipv6(7)",
            "Joins a multicast group, on an interface or where the routes say; once for each group.";
        "join-anycast" IPV6_JOIN_ANYCAST: Group, Set, Ipv6, "Linux 2.6",
            "Joins an anycast group. CAP_NET_ADMIN.";
        "leave" IPV6_DROP_MEMBERSHIP: Group, Set, Ipv6, "ipv6(7)",
            "Leaves a multicast group.";
        "leave-anycast" IPV6_LEAVE_ANYCAST: Group, Set, Ipv6, "Linux 2.6",
            "Leaves an anycast group.";
        "min-ttl" IPV6_MINHOPCOUNT: Number(0, 255), SetGet, Ipv6, "Linux 2.6.35",
            "Drops packets whose hop limit is less (RFC 5082); 0 by default.";
        "mtu" IPV6_MTU: Size, SetGet, Ipv6, "ipv6(7)",
            "The largest packet, in bytes, at least 1280; that of the path to the peer can be read once connected.";
        "mtu-discover" IPV6_MTU_DISCOVER: Choice(MTU_DISCOVERY), SetGet, Ipv6, "ipv6(7)",
            "Whether packets may be cut by the sender: `do` never, `dont` always.";
        "multicast-all" IPV6_MULTICAST_ALL: Flag, SetGet, Ipv6, "Linux 4.20",
            "Receives from every group that any socket of this system has joined, not only from its own; on by \
             default.";
        "multicast-if" IPV6_MULTICAST_IF: Interface, SetGet, Ipv6, "ipv6(7)",
            "The interface that multicasts leave by.";
        "multicast-loop" IPV6_MULTICAST_LOOP: Flag, SetGet, Ipv6, "ipv6(7)",
            "Whether its multicasts also reach this system; on by default.";
        "multicast-ttl" IPV6_MULTICAST_HOPS: Number(-1, 255), SetGet, Ipv6, "ipv6(7)",
            "How many hops a multicast may go; 1, the default, is this network; -1 gives the default.";
        "pktinfo" IPV6_RECVPKTINFO: Flag, SetGet, Ipv6, "ipv6(7)",
            "Receives with each datagram the interface and the address it came to.";
        "recv-dst-opts" IPV6_RECVDSTOPTS: Flag, SetGet, Ipv6, "ipv6(7)",
            "Receives the destination options of each datagram with it.";
        "recv-frag-size" IPV6_RECVFRAGSIZE: Flag, SetGet, Ipv6, "Linux 4.11",
            "Receives with each datagram the size of its largest fragment.";
        "recv-hop-opts" IPV6_RECVHOPOPTS: Flag, SetGet, Ipv6, "ipv6(7)",
            "Receives the hop-by-hop options of each datagram with it. CAP_NET_RAW.";
        "recv-orig-dst" IPV6_RECVORIGDSTADDR: Flag, SetGet, Ipv6, "Linux 2.6.37",
            "Receives with each datagram the address it was sent to before it was redirected.";
        "recv-path-mtu" IPV6_RECVPATHMTU: Flag, SetGet, Ipv6, "Linux 2.6.35",
            "Reports when a datagram was larger than the path takes (RFC 3542).";
        "recv-rthdr" IPV6_RECVRTHDR: Flag, SetGet, Ipv6, "ipv6(7)",
            "Receives the routing header of each datagram with it.";
        "recv-tos" IPV6_RECVTCLASS: Flag, SetGet, Ipv6, "Linux 2.6.14",
            "Receives the traffic class of each datagram with it.";
        "recv-ttl" IPV6_RECVHOPLIMIT: Flag, SetGet, Ipv6, "ipv6(7)",
            "Receives with each datagram how many hops it could still have gone.";
        "recverr" IPV6_RECVERR: Flag, SetGet, Ipv6, "ipv6(7)",
            "Queues errors with all that is known of them, and reports those of datagrams at once.";
        "recverr-rfc4884" IPV6_RECVERR_RFC4884: Flag, SetGet, Ipv6, "Linux 5.9",
            "Queues ICMP errors with their extensions (RFC 4884).";
        "tos" IPV6_TCLASS: Number(0, 255), SetGet, Ipv6, "Linux 2.6.14",
            "The traffic class of its packets: the DSCP times 4.";
        "transparent" IPV6_TRANSPARENT: Flag, SetGet, Ipv6, "Linux 2.6.37",
            "Takes and binds addresses of others, for transparent proxies. CAP_NET_ADMIN or CAP_NET_RAW.";
        "ttl" IPV6_UNICAST_HOPS: Number(1, 255), SetGet, Ipv6, "ipv6(7)",
            "How many hops a packet may go; 64 by default.";
        "unicast-if" IPV6_UNICAST_IF: InterfaceBigEndian, SetGet, Ipv6, "Linux 3.3",
            "The interface that its packets leave by, before the routes say so.";
        "v6only" IPV6_V6ONLY: Flag, SetGet, Ipv6, "ipv6(7)",
            "Has nothing to do with IPv4; otherwise a listener on `::` takes IPv4 too. Before bind.";
    }
    Tcp {
        "congestion" TCP_CONGESTION: Text, SetGet, Tcp, "tcp(7)",
            "The congestion control algorithm, such as `cubic` or `bbr`. CAP_NET_ADMIN for others than those in \
             /proc/sys/net/ipv4/tcp_allowed_congestion_control.";
        "cork" TCP_CORK: Flag, SetGet, Tcp, "tcp(7)",
            "Sends only full segments, for 200 ms at most, until it is switched off.";
        "defer-accept" TCP_DEFER_ACCEPT: Seconds, SetGet, Tcp, "tcp(7)",
            "A listener accepts a connection only once it has data, or after about this long.";
        "delack-max" TCP_DELACK_MAX_US: Microseconds, SetGet, Tcp, "Linux 6.15",
            "The longest time that an acknowledgement is held back.";
        "fastopen" TCP_FASTOPEN: Number(0, INT_MAX), SetGet, Tcp, "tcp(7)",
            "A listener takes data with the first packet (RFC 7413), for so many connections that are being made.";
        "fastopen-connect" TCP_FASTOPEN_CONNECT: Flag, SetGet, Tcp, "tcp(7)",
            "A client connects with its first write and sends data with its first packet (RFC 7413). Before connect.";
        "fastopen-no-cookie" TCP_FASTOPEN_NO_COOKIE: Flag, SetGet, Tcp, "Linux 4.15",
            "Does the same without having met the peer before.";
        "inq" TCP_INQ: Flag, SetGet, Tcp, "Linux 4.18",
            "Receives with the data how many bytes are left to read.";
        "is-mptcp" TCP_IS_MPTCP: Flag, Get, Tcp, "Linux 6.4",
            "Whether the connection uses several paths (RFC 8684).";
        "keepcnt" TCP_KEEPCNT: Number(1, 127), SetGet, Tcp, "tcp(7)",
            "How many keepalive probes go unanswered before the connection ends; 9 by default.";
        "keepidle" TCP_KEEPIDLE: Seconds, SetGet, Tcp, "tcp(7)",
            "How long a connection is silent before the first keepalive probe; 2 hours by default. See `keepalive`.";
        "keepintvl" TCP_KEEPINTVL: Seconds, SetGet, Tcp, "tcp(7)",
            "The time between two keepalive probes; 75 s by default.";
        "linger2" TCP_LINGER2: Seconds, SetGet, Tcp, "tcp(7)",
            "How long a closed connection waits for the peer to close too (FIN-WAIT-2); 60 s by default.";
        "maxseg" TCP_MAXSEG: Size, SetGet, Tcp, "tcp(7)",
            "The largest segment, in bytes, from 88 to 32767. Before connect or listen.";
        "nodelay" TCP_NODELAY: Flag, SetGet, Tcp, "tcp(7)",
            "Sends small pieces of data at once instead of gathering them.";
        "notsent-lowat" TCP_NOTSENT_LOWAT: Size, SetGet, Tcp, "Linux 3.12",
            "How many bytes may wait unsent before the socket is no longer writable.";
        "quickack" TCP_QUICKACK: Flag, SetGet, Tcp, "tcp(7)",
            "Acknowledges at once instead of waiting for data to send; the kernel may change it back.";
        "rto-max" TCP_RTO_MAX_MS: Milliseconds, SetGet, Tcp, "Linux 6.15",
            "The longest time before something is sent again, from 1 s to 2 min; 2 min by default.";
        "rto-min" TCP_RTO_MIN_US: Microseconds, SetGet, Tcp, "Linux 6.15",
            "The shortest time before something is sent again; 200 ms by default.";
        "save-syn" TCP_SAVE_SYN: Flag, SetGet, Tcp, "Linux 4.2",
            "A listener keeps the first packet of each connection, see `saved-syn`.";
        "saved-syn" TCP_SAVED_SYN: Bytes, Take, Tcp, "Linux 4.2",
            "The headers of the connection's first packet, if its listener had `save-syn`.";
        "syncnt" TCP_SYNCNT: Number(1, 255), SetGet, Tcp, "tcp(7)",
            "How often connect tries again before it gives up; 6 by default.";
        "tcp-timestamp" TCP_TIMESTAMP: Number(0, UINT_MAX), Get, Tcp, "Linux 3.9",
            "The time of TCP's timestamps (RFC 7323), in milliseconds of an arbitrary clock.";
        "thin-linear-timeouts" TCP_THIN_LINEAR_TIMEOUTS: Flag, SetGet, Tcp, "Linux 2.6.34",
            "Tries again at even intervals where little is sent, instead of ever longer ones.";
        "tx-delay" TCP_TX_DELAY: Microseconds, SetGet, Tcp, "Linux 5.3",
            "Delays every packet by this much, to try a program out. Needs the queueing discipline fq.";
        "ulp" TCP_ULP: Text, SetGet, Tcp, "Linux 4.13",
            "The protocol that the kernel handles above TCP, such as `tls`. Once connected.";
        "user-timeout" TCP_USER_TIMEOUT: Milliseconds, SetGet, Tcp, "tcp(7)",
            "How long data may go unacknowledged before the connection ends; 0, the default, leaves it to the kernel.";
        "window-clamp" TCP_WINDOW_CLAMP: Size, SetGet, Tcp, "tcp(7)",
            "The largest window that is offered to the peer, in bytes.";
    }
    Udp {
        "cork" UDP_CORK: Flag, SetGet, Udp, "udp(7)",
            "Gathers all that is written into one datagram, until it is switched off.";
        "gro" UDP_GRO: Flag, SetGet, Udp, "Linux 5.0",
            "Receives several datagrams of one size in one read.";
        "no-check6-rx" UDP_NO_CHECK6_RX: Flag, SetGet, Udp6, "Linux 3.16",
            "Takes datagrams without a checksum (RFC 6936).";
        "no-check6-tx" UDP_NO_CHECK6_TX: Flag, SetGet, Udp6, "Linux 3.16",
            "Sends datagrams without a checksum (RFC 6936).";
        "segment" UDP_SEGMENT: Number(0, 65_535), SetGet, Udp, "Linux 4.18",
            "Cuts each write into datagrams of so many bytes; 0, the default, does not.";
    }
    Vsock {
        "buffer-max-size" SO_VM_SOCKETS_BUFFER_MAX_SIZE: WideSize, SetGet, Vsock, "vsock(7)",
            "The most that `buffer-size` may be; 256 KiB by default.";
        "buffer-min-size" SO_VM_SOCKETS_BUFFER_MIN_SIZE: WideSize, SetGet, Vsock, "vsock(7)",
            "The least that `buffer-size` may be; 128 bytes by default.";
        "buffer-size" SO_VM_SOCKETS_BUFFER_SIZE: WideSize, SetGet, Vsock, "vsock(7)",
            "The buffer for receiving; 256 KiB by default.";
        "connect-timeout" SO_VM_SOCKETS_CONNECT_TIMEOUT: Timeval, SetGet, Vsock, "Linux 3.9",
            "How long connect waits; 2 s by default.";
    }
}

/// Other names that people know: what they are called in the other Internet domain, or by other programs.
pub(super) static ALIASES: &[(&str, &str)] = &[
    ("hop-limit", "ttl"),
    ("interface", "bindtodevice"),
    ("membership", "join"),
    ("multicast-hops", "multicast-ttl"),
    ("recv-hop-limit", "recv-ttl"),
    ("recv-tclass", "recv-tos"),
    ("tclass", "tos"),
    ("unicast-hops", "ttl"),
];

const INT_MAX: i64 = i32::MAX as i64;
const UINT_MAX: i64 = u32::MAX as i64;

const MEMORY: &[&str] =
    &["rmem_alloc", "rcvbuf", "wmem_alloc", "sndbuf", "fwd_alloc", "wmem_queued", "optmem", "backlog", "drops"];

const DOMAINS: &[(&str, c_int)] = &[
    ("unix", AF_UNIX),
    ("ipv4", AF_INET),
    ("ipv6", AF_INET6),
    ("netlink", AF_NETLINK),
    ("packet", AF_PACKET),
    ("vsock", AF_VSOCK),
];

const TYPES: &[(&str, c_int)] =
    &[("stream", SOCK_STREAM), ("datagram", SOCK_DGRAM), ("raw", SOCK_RAW), ("seqpacket", SOCK_SEQPACKET)];

const PROTOCOLS: &[(&str, c_int)] = &[
    ("default", 0),
    ("icmp", IPPROTO_ICMP),
    ("tcp", IPPROTO_TCP),
    ("udp", IPPROTO_UDP),
    ("icmp6", IPPROTO_ICMPV6),
    ("sctp", IPPROTO_SCTP),
    ("udplite", IPPROTO_UDPLITE),
    ("mptcp", IPPROTO_MPTCP),
];

const MTU_DISCOVERY: &[(&str, c_int)] = &[
    ("dont", IP_PMTUDISC_DONT),
    ("want", IP_PMTUDISC_WANT),
    ("do", IP_PMTUDISC_DO),
    ("probe", IP_PMTUDISC_PROBE),
    ("interface", IP_PMTUDISC_INTERFACE),
    ("omit", IP_PMTUDISC_OMIT),
];

/// What the kernel tells has one of two answers to each of two questions; a name stands for both.
const ADDRESS_PREFERENCES: &[(&str, c_int)] = &[
    ("default", IPV6_PREFER_SRC_PUBTMP_DEFAULT | IPV6_PREFER_SRC_HOME),
    ("temporary", IPV6_PREFER_SRC_TMP | IPV6_PREFER_SRC_HOME),
    ("public", IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_HOME),
    ("care-of", IPV6_PREFER_SRC_PUBTMP_DEFAULT | IPV6_PREFER_SRC_COA),
];

// Not in libc: asm-generic/socket.h, linux/in.h, linux/in6.h, linux/tcp.h, linux/vm_sockets.h.
const IP_RECVERR_RFC4884: c_int = 26;
const IPV6_RECVERR_RFC4884: c_int = 31;
const SO_PASSRIGHTS: c_int = 83;
const SO_RCVPRIORITY: c_int = 82;
const TCP_TX_DELAY: c_int = 37;
const TCP_IS_MPTCP: c_int = 43;
const TCP_RTO_MAX_MS: c_int = 44;
const TCP_RTO_MIN_US: c_int = 45;
const TCP_DELACK_MAX_US: c_int = 46;
const SO_VM_SOCKETS_BUFFER_SIZE: c_int = 0;
const SO_VM_SOCKETS_BUFFER_MIN_SIZE: c_int = 1;
const SO_VM_SOCKETS_BUFFER_MAX_SIZE: c_int = 2;
/// The one with the kernel's own `struct timeval`, as long as `time_t` is.
const SO_VM_SOCKETS_CONNECT_TIMEOUT: c_int = 6;
