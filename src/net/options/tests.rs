//! Tests of the options on real sockets: a line tests one.
//!
//! Apart, because they need sockets of every domain and say what a kernel may leave out.

use std::collections::HashSet;
use std::os::fd::AsFd;

use nix::errno::Errno;
use proptest::prelude::*;
use socket2::{Domain, Socket, Type};

use super::*;

/// Every combination that a user can write; vsock only where the kernel has it.
fn sockets() -> Vec<(Domain, Type, Socket)> {
    let combinations = [
        (Domain::IPV4, Type::STREAM),
        (Domain::IPV4, Type::DGRAM),
        (Domain::IPV6, Type::STREAM),
        (Domain::IPV6, Type::DGRAM),
        (Domain::UNIX, Type::STREAM),
        (Domain::UNIX, Type::DGRAM),
        (Domain::UNIX, Type::SEQPACKET),
        (Domain::VSOCK, Type::STREAM),
    ];
    combinations.into_iter().filter_map(|(domain, kind)| Some((domain, kind, socket(domain, kind)?))).collect()
}

fn socket(domain: Domain, kind: Type) -> Option<Socket> {
    match Socket::new(domain, kind, None) {
        Ok(socket) => Some(socket),
        Err(_) if domain == Domain::VSOCK || domain == Domain::IPV6 => None,
        Err(error) => panic!("socket: {error}"),
    }
}

#[test]
fn the_table_is_in_order() {
    let mut seen = HashSet::new();
    for option in OPTIONS {
        let SocketOption { name, constant, doc, source, .. } = option;
        assert!(seen.insert((name, option.scope.to_string())), "{name} twice for the same sockets");
        assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')), "{name}");
        assert!(doc.ends_with('.') && !doc.contains('|') && !doc.contains('\n'), "{name}: {doc}");
        assert!(source.ends_with("(7)") || source.starts_with("Linux "), "{name}: {source}");
        assert_eq!(named(constant).next().map(|option| option.constant), Some(*constant));
        for other in named(name) {
            assert_eq!(other.kind.syntax().split(':').next(), option.kind.syntax().split(':').next(), "{name}");
        }
    }
    assert!(OPTIONS.is_sorted_by_key(|option| (option.level, option.name)));
    assert!(OPTIONS.len() >= 60);
    for (alias, name) in table::ALIASES {
        assert!(OPTIONS.iter().any(|option| option.name == *name) && !OPTIONS.iter().any(|it| it.name == *alias));
    }
}

#[test]
fn no_two_rows_fit_one_socket() {
    for (domain, kind, _) in sockets() {
        let mut names = HashSet::new();
        assert!(possible(domain, kind).all(|option| names.insert(option.name)));
    }
}

/// Options that a kernel may leave out, because it is older or was built without them, and those that need a
/// privilege, a peer or a security module.
const MAY_FAIL: &[(&str, &[Errno])] = &[
    ("autoflowlabel", &[Errno::ENOPROTOOPT]),
    ("buf-lock", &[Errno::ENOPROTOOPT]),
    ("busy-poll", &[Errno::ENOPROTOOPT]),
    ("busy-poll-budget", &[Errno::ENOPROTOOPT]),
    ("delack-max", &[Errno::ENOPROTOOPT]),
    ("incoming-napi-id", &[Errno::ENOPROTOOPT]),
    ("is-mptcp", &[Errno::ENOPROTOOPT]),
    ("mtu", &[Errno::ENOTCONN]),
    ("netns-cookie", &[Errno::ENOPROTOOPT]),
    ("passpidfd", &[Errno::ENOPROTOOPT]),
    ("passrights", &[Errno::ENOPROTOOPT]),
    ("passsec", &[Errno::EOPNOTSUPP]),
    ("peergroups", &[Errno::ENODATA]),
    ("peersec", &[Errno::ENOPROTOOPT]),
    ("prefer-busy-poll", &[Errno::ENOPROTOOPT]),
    ("rcvmark", &[Errno::ENOPROTOOPT]),
    ("rcvpriority", &[Errno::ENOPROTOOPT]),
    ("recverr-rfc4884", &[Errno::ENOPROTOOPT]),
    ("reserve-mem", &[Errno::ENOPROTOOPT]),
    ("rto-max", &[Errno::ENOPROTOOPT]),
    ("rto-min", &[Errno::ENOPROTOOPT]),
    ("txrehash", &[Errno::ENOPROTOOPT]),
];

#[test]
fn every_option_can_be_read() {
    for (domain, kind, socket) in sockets() {
        let what = scope::describe(domain, kind);
        for (option, value) in all(socket.as_fd()).expect("a socket") {
            match value {
                Ok(Value::Bytes(bytes)) => panic!("{what}: {} is {} bytes", option.name, bytes.len()),
                Ok(_) => {}
                Err(error) => {
                    let errno = error.raw_os_error().map(Errno::from_raw).expect("an error of the kernel");
                    let known = MAY_FAIL.iter().any(|(name, errors)| *name == option.name && errors.contains(&errno));
                    assert!(known, "{what}: {}: {error}", option.name);
                }
            }
        }
    }
}

#[test]
fn what_is_no_socket_has_no_options() {
    let file = tempfile::tempfile().expect("a file");
    assert!(all(file.as_fd()).is_err());
    let error = "rcvbuf=1K".parse::<Setting>().expect("a setting").apply(file.as_fd()).expect_err("no socket");
    assert_eq!(error.errno(), Some(Errno::ENOTSOCK));
    assert!(error.to_string().starts_with("set option rcvbuf=1K: "), "{error}");
}

#[test]
fn a_missing_interface_is_said_so() {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
    let setting: Setting = "join=239.1.2.3@nosuch0".parse().expect("a setting");
    let error = setting.apply(socket.as_fd()).expect_err("no interface");
    assert_eq!(error.errno(), Some(Errno::ENODEV));
    assert!(error.hint().is_some_and(|hint| hint.contains("interface")));
}

#[test]
fn calls_are_shown() -> io::Result<()> {
    let mut shown = tempfile::NamedTempFile::new()?;
    let writer = std::sync::Arc::new(shown.reopen()?);
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(writer);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    tracing::subscriber::with_default(subscriber.finish(), || {
        "rcvbuf=8K".parse::<Setting>().and_then(|setting| setting.apply(socket.as_fd())).expect("an effective value")
    });
    let mut text = String::new();
    io::Read::read_to_string(&mut shown, &mut text)?;
    let number = socket.as_raw_fd();
    assert!(text.contains(&format!("setsockopt({number}, SOL_SOCKET, SO_RCVBUF, 8192) = 0")), "{text}");
    assert!(text.contains(&format!("getsockopt({number}, SOL_SOCKET, SO_RCVBUF, [16384]) = 0")), "{text}");
    Ok(())
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        for option in OPTIONS {
            let _ = option.kind.decode(&bytes).to_string();
        }
    }
}

/// Sets an option on a new socket and expects this value to be read back.
fn set(domain: Domain, kind: Type, setting: &str, effective: &str) {
    let Some(socket) = socket(domain, kind) else { return };
    let parsed: Setting = setting.parse().expect(setting);
    parsed.check(domain, kind).expect(setting);
    match parsed.apply(socket.as_fd()) {
        Ok(value) => assert_eq!(value.to_string(), effective, "{setting}"),
        // Without privileges, or on a kernel that leaves it out; what may fail so is listed.
        Err(error) if matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES)) => {
            assert!(error.hint().is_some_and(|hint| hint.contains("CAP_NET_")), "{setting}: {error}");
        }
        Err(error) => {
            let name = setting.split('=').next().unwrap_or_default();
            let errno = error.errno().expect("an error of the kernel");
            let known = MAY_FAIL.iter().any(|(it, errors)| *it == name && errors.contains(&errno));
            assert!(known, "{setting}: {error}");
        }
    }
}

macro_rules! options {
    ($($test:ident: $domain:ident $kind:ident $setting:literal => $effective:literal,)*) => {
        $(#[test] fn $test() { set(Domain::$domain, Type::$kind, $setting, $effective); })*
    };
}

options! {
    bind_address_no_port: IPV4 STREAM "bind-address-no-port" => "on",
    bind_address_no_port_v6: IPV6 STREAM "bind-address-no-port" => "on",
    bindtodevice: IPV4 STREAM "bindtodevice=lo" => "lo",
    bindtoifindex: IPV6 DGRAM "bindtoifindex=lo" => "lo",
    broadcast: IPV4 DGRAM "broadcast" => "on",
    buf_lock: IPV4 STREAM "buf-lock=3" => "3",
    buffer_max_size: VSOCK STREAM "buffer-max-size=1M" => "1M",
    buffer_size: VSOCK STREAM "buffer-size=128K" => "128K",
    busy_poll_budget: IPV4 STREAM "busy-poll-budget=8" => "8",
    busy_poll: IPV4 STREAM "busy-poll=50us" => "50us",
    connect_timeout: VSOCK STREAM "connect-timeout=1500ms" => "1500ms",
    addr_preferences: IPV6 STREAM "addr-preferences=public" => "public",
    autoflowlabel: IPV6 STREAM "autoflowlabel=off" => "off",
    checksum: IPV4 DGRAM "checksum" => "on",
    congestion: IPV4 STREAM "congestion=reno" => "reno",
    cork: IPV6 STREAM "cork" => "on",
    cork_udp: IPV4 DGRAM "cork" => "on",
    debug: IPV4 STREAM "debug" => "on",
    delack_max: IPV4 STREAM "delack-max=40ms" => "40ms",
    dontfrag: IPV6 DGRAM "dontfrag" => "on",
    dontroute: IPV4 STREAM "dontroute" => "on",
    fastopen_connect: IPV4 STREAM "fastopen-connect" => "on",
    freebind: IPV4 STREAM "freebind" => "on",
    freebind_v6: IPV6 STREAM "freebind" => "on",
    gro: IPV4 DGRAM "gro" => "on",
    incoming_cpu: IPV4 STREAM "incoming-cpu=0" => "0",
    inq: IPV4 STREAM "inq" => "on",
    join: IPV4 DGRAM "join=239.1.2.3@lo" => "239.1.2.3@lo",
    join_by_address: IPV4 DGRAM "join=239.1.2.3@127.0.0.1" => "239.1.2.3@127.0.0.1",
    join_v6: IPV6 DGRAM "join=ff02::1:3@lo" => "ff02::1:3@lo",
    keepalive: IPV4 STREAM "keepalive" => "on",
    keepalive_with_time: IPV6 STREAM "keepalive=30s" => "30s",
    keepalive_off: IPV4 STREAM "keepalive=off" => "off",
    keepcnt: IPV4 STREAM "keepcnt=4" => "4",
    keepidle: IPV4 STREAM "keepidle=2m" => "2m",
    keepintvl: IPV4 STREAM "keepintvl=10" => "10s",
    linger: IPV4 STREAM "linger=5s" => "5s",
    linger_off: IPV4 STREAM "linger=off" => "off",
    linger_zero: UNIX STREAM "linger=0" => "0s",
    linger2: IPV4 STREAM "linger2=10s" => "10s",
    mark: IPV4 STREAM "mark=0xfffffff0" => "4294967280",
    max_pacing_rate: IPV4 STREAM "max-pacing-rate=1M" => "1M",
    max_pacing_rate_none: IPV4 STREAM "max-pacing-rate=unlimited" => "unlimited",
    max_pacing_rate_wide: IPV4 STREAM "max-pacing-rate=8G" => "8G",
    maxseg: IPV4 STREAM "maxseg=1000" => "1000",
    min_ttl: IPV4 STREAM "min-ttl=255" => "255",
    min_ttl_v6: IPV6 STREAM "min-ttl=255" => "255",
    mtu_discover: IPV4 DGRAM "mtu-discover=do" => "do",
    mtu_discover_v6: IPV6 DGRAM "mtu-discover=probe" => "probe",
    multicast_all: IPV4 DGRAM "multicast-all=off" => "off",
    multicast_if: IPV4 DGRAM "multicast-if=lo" => "lo",
    multicast_if_by_address: IPV4 DGRAM "multicast-if=127.0.0.1" => "127.0.0.1",
    multicast_if_v6: IPV6 DGRAM "multicast-if=lo" => "lo",
    multicast_loop: IPV4 DGRAM "multicast-loop=no" => "off",
    multicast_loop_v6: IPV6 DGRAM "multicast-loop=no" => "off",
    multicast_ttl: IPV4 DGRAM "multicast-ttl=7" => "7",
    multicast_ttl_v6: IPV6 DGRAM "multicast-hops=7" => "7",
    no_check: IPV4 DGRAM "no-check" => "on",
    no_check6_tx: IPV6 DGRAM "no-check6-tx" => "on",
    nodelay: IPV4 STREAM "nodelay" => "on",
    nodelay_off: IPV4 STREAM "nodelay=false" => "off",
    notsent_lowat: IPV4 STREAM "notsent-lowat=16K" => "16K",
    numbered: IPV4 STREAM "6:1=1" => "1",
    numbered_bytes: IPV4 STREAM "1:13=x0100000005000000" => "x0100000005000000",
    oobinline: IPV4 STREAM "oobinline" => "on",
    passcred: UNIX DGRAM "passcred" => "on",
    passcred_seqpacket: UNIX SEQPACKET "passcred" => "on",
    passrights: UNIX STREAM "passrights=off" => "off",
    peek_off: UNIX STREAM "peek-off=0" => "0",
    pktinfo: IPV4 DGRAM "pktinfo" => "on",
    pktinfo_v6: IPV6 DGRAM "pktinfo" => "on",
    prefer_busy_poll: IPV4 STREAM "prefer-busy-poll" => "on",
    priority: IPV4 STREAM "priority=6" => "6",
    quickack: IPV4 STREAM "quickack=off" => "off",
    rcvbuf_is_doubled: IPV4 STREAM "rcvbuf=8K" => "16K",
    rcvbuf_unix: UNIX DGRAM "rcvbuf=8K" => "16K",
    rcvbufforce: IPV4 DGRAM "rcvbufforce=8M" => "8M",
    rcvlowat: IPV4 STREAM "rcvlowat=100" => "100",
    rcvtimeo: IPV4 STREAM "rcvtimeo=1500ms" => "1500ms",
    recv_frag_size: IPV4 DGRAM "recv-frag-size" => "on",
    recv_orig_dst: IPV4 DGRAM "recv-orig-dst" => "on",
    recv_tos: IPV4 DGRAM "recv-tos" => "on",
    recv_tos_v6: IPV6 DGRAM "recv-tclass" => "on",
    recv_ttl: IPV4 DGRAM "recv-ttl" => "on",
    recv_ttl_v6: IPV6 DGRAM "recv-ttl" => "on",
    recverr: IPV4 DGRAM "recverr" => "on",
    recverr_v6: IPV6 DGRAM "recverr" => "on",
    reuseaddr: IPV4 STREAM "reuseaddr" => "on",
    reuseport: IPV6 DGRAM "reuseport" => "on",
    rto_max: IPV4 STREAM "rto-max=10s" => "10s",
    rto_min: IPV4 STREAM "rto-min=100ms" => "100ms",
    rxq_ovfl: IPV4 DGRAM "rxq-ovfl" => "on",
    save_syn: IPV4 STREAM "save-syn" => "on",
    segment: IPV4 DGRAM "segment=1200" => "1200",
    select_err_queue: IPV4 DGRAM "select-err-queue" => "on",
    sndbuf_is_doubled: UNIX STREAM "sndbuf=64K" => "128K",
    sndtimeo: UNIX STREAM "sndtimeo=2m" => "2m",
    syncnt: IPV4 STREAM "syncnt=3" => "3",
    thin_linear_timeouts: IPV4 STREAM "thin-linear-timeouts" => "on",
    timestamp: IPV4 DGRAM "timestamp" => "on",
    timestamping: IPV4 DGRAM "timestamping=24" => "24",
    timestampns: UNIX DGRAM "timestampns" => "on",
    tos: IPV4 STREAM "tos=16" => "16",
    tos_v6: IPV6 STREAM "tos=0x10" => "16",
    transparent: IPV4 STREAM "transparent" => "on",
    transparent_v6: IPV6 STREAM "transparent" => "on",
    ttl: IPV4 STREAM "ttl=33" => "33",
    ttl_v6: IPV6 STREAM "hop-limit=33" => "33",
    txrehash: IPV4 STREAM "txrehash=off" => "off",
    unicast_if: IPV4 DGRAM "unicast-if=lo" => "lo",
    unicast_if_v6: IPV6 DGRAM "unicast-if=lo" => "lo",
    user_timeout: IPV4 STREAM "user-timeout=1500ms" => "1500ms",
    v6only: IPV6 STREAM "v6only" => "on",
    window_clamp: IPV4 STREAM "window-clamp=64K" => "64K",
    zerocopy: IPV4 STREAM "zerocopy" => "on",
}
