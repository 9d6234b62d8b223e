//! What addresses mean, how they print, and what is said of those that are wrong.

use proptest::prelude::*;
use socket2::Type;

use super::{Endpoint, Family, Port, SCHEMES, Target};
use crate::net::{Addr, ErrorKind, UnixName};

fn parsed(text: &str) -> Endpoint {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn each_way_of_writing_has_its_full_form() {
    let table = [
        ("51717", "tcp:51717"),
        ("ftp", "tcp:ftp"),
        ("cheerios:51717", "tcp:cheerios:51717"),
        ("[::1]:51717", "tcp:[::1]:51717"),
        ("tcp:51717", "tcp:51717"),
        ("tcp:*:51717", "tcp:51717"),
        ("tcp://cheerios:51717/", "tcp:cheerios:51717"),
        ("TCP4:10.0.0.7:http", "tcp4:10.0.0.7:http"),
        ("tcp6:[fe80::1%eth0]:80", "tcp6:[fe80::1%eth0]:80"),
        ("udp:0", "udp:0"),
        ("udp4:224.0.0.1:5000", "udp4:224.0.0.1:5000"),
        ("udp6:[ff02::1]:5000", "udp6:[ff02::1]:5000"),
        ("srv:example.com", "srv:_wilco._tcp.example.com"),
        ("srv://example.com./", "srv:_wilco._tcp.example.com"),
        ("SRV:_x._TCP.example.com?nodelay", "srv:_x._TCP.example.com?nodelay"),
        ("srv:_wilco._udp.example.com", "srv:_wilco._udp.example.com"),
        ("unix:/run/x", "unix:/run/x"),
        ("unix:///run/x", "unix:/run/x"),
        ("unix:x", "unix:x"),
        ("unix:////run/x", "unix:////run/x"),
        ("exec://bin/true", "exec://bin/true"),
        ("unix-dgram:@name", "unix-dgram:@name"),
        ("unix-seqpacket:./@name", "unix-seqpacket:./@name"),
        ("unix:%40name", "unix:%40name"),
        ("unix:/a%3Fb%00".trim_end_matches("%00"), "unix:/a%3Fb"),
        ("unix:@a%00b", "unix:@a%00b"),
        ("unix:/tmp/100%", "unix:/tmp/100%25"),
        ("vsock:2:1024", "vsock:2:1024"),
        ("vsock:1024", "vsock:any:1024"),
        ("vsock-seqpacket:any:7", "vsock-seqpacket:any:7"),
        ("fd:3", "fd:3"),
        ("systemd", "systemd"),
        ("systemd:web", "systemd:web"),
        ("-", "-"),
        ("stdio", "-"),
        ("exec:ssh host 'cat ?'", "exec:ssh host 'cat ?'"),
        ("file:/tmp/a%3Fb", "file:/tmp/a%3Fb"),
        ("51717?nodelay", "tcp:51717?nodelay"),
        ("localhost:80?6:1=1", "tcp:localhost:80?6:1=1"),
        ("tcp:db:5432?nodelay&keepalive=30s&rcvbuf=256K", "tcp:db:5432?nodelay&keepalive=30s&rcvbuf=256K"),
        ("unix:/run/x?sndbuf=65536", "unix:/run/x?sndbuf=64K"),
    ];
    for (written, full) in table {
        assert_eq!(parsed(written).to_string(), full, "{written}");
        assert_eq!(parsed(full), parsed(written), "{full}");
    }
}

#[test]
fn every_mistake_is_named_and_says_what_is_possible() {
    let table = [
        ("", "empty", "51717"),
        ("99999", "`99999` is no port", "0 to 65535"),
        ("tcp:host:-1", "`-1` is no port", "0 to 65535"),
        ("tcp:", "needs a port", "HOST:PORT"),
        ("tcp:host:", "needs a port", "HOST:PORT"),
        (":80", "the host is missing", "HOST:PORT"),
        ("::1:80", "several colons", "[::1]"),
        ("tcp:::1", "several colons", "[::1]"),
        ("[::1]", "needs a port", "HOST:PORT"),
        ("sctp:host:80", "unknown scheme `sctp:`", "udp:"),
        ("http://host", "unknown scheme `http:`", "tcp:"),
        ("/run/x", "no address by itself", "unix:/run/x"),
        ("@name", "no address by itself", "unix:@name"),
        ("tls:host:443", "not available yet", "tcp:"),
        ("tls+unix:/x", "not available yet", "unix:"),
        ("ws://host/x", "not available yet", "tcp:"),
        ("wss://host/x", "not available yet", "tcp:"),
        ("pty:bash", "not available yet", "exec:"),
        ("srv:", "needs a name", "srv:NAME"),
        ("srv:example.com:51717", "SRV records say which", "tcp:example.com:51717"),
        ("srv:192.0.2.1", "only names have SRV records", "tcp:HOST:PORT"),
        ("srv:_wilco.example.com", "no name of a service", "srv:_wilco._tcp.example.com"),
        ("srv:_wilco._udp.example.com?nodelay", "TCP", "rcvbuf"),
        ("unix:", "needs a path", "PATH or @NAME"),
        ("unix:@", "needs a path", "PATH or @NAME"),
        ("vsock:2", "", ""),
        ("vsock:x:1", "no vsock address", "vsock:CID:PORT"),
        ("vsock:2:x", "no vsock address", "vsock:CID:PORT"),
        ("fd:x", "no descriptor", "fd:3"),
        ("exec:", "needs a command", "exec:COMMAND"),
        ("exec: ", "needs a command", "exec:COMMAND"),
        ("file:", "needs a path", "file:PATH"),
        ("-?nodelay", "no socket", "leave"),
        ("tcp:h:1?nodelai", "no socket option `nodelai`", "nodelay"),
        ("tcp:h:1?rcvbuf=many", "no value for the option `rcvbuf`", "256K"),
        ("tcp:h:1?acceptconn=1", "`acceptconn`", ""),
        ("unix:/x?nodelay", "TCP", "rcvbuf"),
        ("udp:h:1?nodelay", "TCP", "rcvbuf"),
        ("tcp4:[::1]:80", "no address for tcp4:", "tcp:"),
        ("tcp:a b:80", "is no host", "cheerios"),
    ];
    for (written, what, hint) in table {
        let result = written.parse::<Endpoint>();
        if what.is_empty() && hint.is_empty() {
            assert!(result.is_ok(), "{written}");
            continue;
        }
        let error = result.expect_err(written);
        assert_eq!(error.kind(), ErrorKind::Usage, "{written}");
        assert!(error.to_string().contains(what), "{written}: {error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{written}: {:?}", error.hint());
    }
}

#[test]
fn a_unix_name_that_is_too_long_is_refused_here() {
    let path = |length| format!("unix:{}", "x".repeat(length)).parse::<Endpoint>();
    assert!(path(107).is_ok());
    assert!(path(108).is_err_and(|error| error.to_string().contains("107 bytes at the most")));
    assert!("unix:/a%00b".parse::<Endpoint>().is_err(), "a NUL in a path");
}

#[test]
fn a_source_is_written_like_its_destination() {
    let table = [
        ("tcp:h:1", "127.0.0.1", "tcp:127.0.0.1:0"),
        ("tcp:h:1", "::1", "tcp:[::1]:0"),
        ("tcp:h:1", "[::1]:5", "tcp:[::1]:5"),
        ("udp:h:1", ":5000", "udp:5000"),
        ("udp4:h:1", "10.0.0.1:5000", "udp4:10.0.0.1:5000"),
        ("unix-dgram:/x", "/run/me", "unix-dgram:/run/me"),
        ("unix:@x", "@me", "unix:@me"),
        ("vsock:2:1", "5", "vsock:any:5"),
    ];
    for (destination, source, full) in table {
        assert_eq!(parsed(destination).source(source).expect("a source").to_string(), full);
    }
    assert!(parsed("-").source("127.0.0.1").is_err());
    assert!(parsed("tcp:h:1").source("127.0.0.1:x y").is_err());
}

#[test]
fn every_scheme_is_listed_once() {
    let mut names: Vec<_> = SCHEMES.iter().map(|scheme| scheme.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SCHEMES.len());
}

fn unix_name() -> impl Strategy<Value = UnixName> {
    use std::os::unix::ffi::OsStringExt;
    prop_oneof![
        proptest::collection::vec(1u8.., 1..100)
            .prop_map(|bytes| UnixName::Path(std::ffi::OsString::from_vec(bytes).into())),
        proptest::collection::vec(any::<u8>(), 1..100).prop_map(UnixName::Abstract),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    let port = prop_oneof![
        any::<u16>().prop_map(Port::Number),
        "[a-z][a-z0-9-]{0,14}"
            .prop_filter("a scheme", |word| word != "systemd" && word != "stdio")
            .prop_map(Port::Service),
    ];
    let host = prop_oneof![
        Just(None),
        "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?".prop_map(Some),
        any::<std::net::Ipv4Addr>().prop_map(|ip| Some(ip.to_string())),
        any::<std::net::Ipv6Addr>().prop_map(|ip| Some(ip.to_string())),
    ];
    let stream_or_datagram = prop_oneof![Just(Type::STREAM), Just(Type::DGRAM)];
    let unix_type = prop_oneof![Just(Type::STREAM), Just(Type::DGRAM), Just(Type::SEQPACKET)];
    let vsock_type = prop_oneof![Just(Type::STREAM), Just(Type::SEQPACKET)];
    prop_oneof![
        (stream_or_datagram, host, port).prop_map(|(socket_type, host, port)| {
            // An address decides the version of IP; only a name leaves it open or narrows it.
            Target::Inet { socket_type, family: Family::Any, host, port }
        }),
        (unix_type, unix_name()).prop_map(|(socket_type, name)| Target::Unix { socket_type, name }),
        (vsock_type, any::<u32>(), any::<u32>()).prop_map(|(socket_type, cid, port)| Target::Vsock {
            socket_type,
            cid,
            port
        }),
        (0i32..).prop_map(Target::Fd),
        proptest::option::of("[a-z]{1,10}").prop_map(Target::Systemd),
        Just(Target::Stdio),
        "[ -~]{0,20}[!-~]".prop_map(Target::Exec),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(target in target()) {
        let endpoint = Endpoint { target, options: Vec::new() };
        let text = endpoint.to_string();
        match text.parse::<Endpoint>() {
            Ok(read) => prop_assert_eq!(read, endpoint, "{}", text),
            Err(error) => prop_assert!(false, "{}: {}", text, error),
        }
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise_than_with_an_error(text in "\\PC{0,60}") {
        crate::fuzzing::address(&text);
    }

    #[test]
    fn what_looks_like_an_address_is_read_or_refused(
        text in "(tcp|udp|unix|vsock|fd|exec|-|systemd|file|[a-z]{1,4})?:?(//)?[\\[\\]a-z0-9:@%./*-]{0,20}(\\?[a-z0-9=&%]{0,20})?"
    ) {
        crate::fuzzing::address(&text);
    }
}

#[test]
fn the_machine_of_a_vsock_address_may_be_any() {
    assert!(matches!(parsed("vsock:any:1").target, Target::Vsock { cid: Addr::CID_ANY, port: 1, .. }));
}
