//! Tests of access: who is let in, and by what rule.
//!
//! Apart for its length; the tables hold what the documentation of [`Access`] promises.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::net::{ErrorKind, Names, Type, UnixName};

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))).collect()
}

async fn access(allow: &[&str], deny: &[&str]) -> Access {
    let rules = AccessRules { allow: rules(allow), deny: rules(deny), ..AccessRules::default() };
    rules.load().await.unwrap_or_else(|error| panic!("{error:?}"))
}

fn inet(ip: &str) -> Addr {
    Addr::Inet(SocketAddr::new(ip.parse().expect(ip), 40_000))
}

fn path() -> Addr {
    Addr::Unix(UnixName::Path("/run/x".into()))
}

fn user<'a>(addr: &'a Addr, uid: u32, gid: u32, groups: &[u32]) -> Subject<'a> {
    let credentials = Some(Credentials { pid: 1, uid, gid });
    Subject { addr, credentials, groups: Some(groups.to_vec()) }
}

fn reason(access: &Access, subject: &Subject<'_>) -> String {
    access.judge(subject).map_or_else(|denial| denial.to_string(), |()| "in".to_owned())
}

#[tokio::test]
async fn holds_what_the_table_says() {
    let (ten, other, unix) = (inet("10.0.0.1"), inet("192.0.2.1"), Addr::Unix(UnixName::Unnamed));
    let vsock = Addr::Vsock { cid: 3, port: 1 };
    for (allow, deny, expected) in [
        (&[][..], &[][..], "in in in in in"),
        (&["10.0.0.0/8"], &[], "in out out out out"),
        (&["10.0.0.0/8", "unix"], &[], "in out in in out"),
        (&["10.0.0.0/8", "uid:1000"], &[], "in out in out out"),
        (&[], &["10.0.0.0/8"], "out in in in in"),
        (&[], &["uid:0"], "in in in out in"),
        (&["any"], &["192.0.2.1"], "in out in in in"),
        // Beyond the table in the documentation.
        (&["any"], &["any"], "out out out out out"),
        (&["all"], &["unix"], "in in out out in"),
        (&["vsock"], &[], "out out out out in"),
        (&["cid:3"], &["cid:2"], "out out out out in"),
        (&[], &["vsock"], "in in in in out"),
        (&["10.0.0.1"], &["10.0.0.1"], "out out out out out"),
        (&["any"], &["gid:7"], "in in out out in"),
        (&["unix"], &["gid:6"], "out out in out out"),
        (&["gid:8"], &[], "out out in out out"),
        (&["gid:9"], &[], "out out in out out"),
        (&["gid:6"], &[], "out out out out out"),
    ] {
        let access = access(allow, deny).await;
        let subjects = [
            Subject::from(&ten),
            Subject::from(&other),
            user(&unix, 1000, 7, &[8, 9]),
            Subject::from(&unix),
            Subject::from(&vsock),
        ];
        let found = subjects.each_ref().map(|who| if access.judge(who).is_ok() { "in" } else { "out" });
        assert_eq!(found.join(" "), expected, "allow {allow:?}, deny {deny:?}");
    }
}

#[tokio::test]
async fn the_log_has_the_reason_and_the_peer_has_not() {
    let access = access(&["10.0.0.0/8", "192.0.2.0/24"], &["10.1.0.0/16", "10.0.0.9", "::ffff:10.2.0.1"]).await;
    for (ip, text) in [
        ("10.0.0.8", "in"),
        ("::ffff:10.0.0.8", "in"),
        ("10.0.0.9", "10.0.0.9 is denied by 10.0.0.9"),
        ("10.1.2.3", "10.1.2.3 is denied by 10.1.0.0/16"),
        ("::ffff:10.1.2.3", "10.1.2.3 is denied by 10.1.0.0/16"),
        ("10.2.0.1", "10.2.0.1 is denied by ::ffff:10.2.0.1"),
        ("11.0.0.1", "11.0.0.1 matches no allow rule"),
        ("fd00::1", "fd00::1 matches no allow rule"),
    ] {
        let addr = inet(ip);
        assert_eq!(reason(&access, &Subject::from(&addr)), text);
    }
    let addr = path();
    let subject = user(&addr, 1000, 100, &[]);
    let denial = access.judge(&subject).expect_err("no rule for Unix");
    assert_eq!(
        denial.to_string(),
        "uid 1000 matches no allow rule: none is for Unix sockets (uid:USER, gid:GROUP, unix)"
    );
    assert_eq!(denial.word(), "not allowed");
    let closed = [Domain::UNIX, Domain::VSOCK, Domain::IPV4, Domain::IPV6].map(|domain| access.is_closed_to(domain));
    assert_eq!(closed, [true, true, false, false]);
    assert!(!Access::default().is_closed_to(Domain::UNIX));
}

#[tokio::test]
async fn who_cannot_be_told_is_taken_for_the_worse() {
    let addr = path();
    let unknown = Subject::from(&addr);
    let without_groups = Subject { groups: None, ..user(&addr, 1000, 100, &[]) };
    let users = access(&["unix"], &["uid:0"]).await;
    let text = "a Unix client of an unknown user is denied: there are deny rules for users or groups, and theirs are not known";
    assert_eq!(reason(&users, &unknown), text);
    assert_eq!(reason(&users, &without_groups), "in");
    assert!(access(&["unix"], &["gid:0"]).await.judge(&without_groups).is_err());
    assert!(access(&["gid:100"], &[]).await.judge(&without_groups).is_ok());
    assert!(access(&["gid:100"], &[]).await.judge(&unknown).is_err());
    // Groups alone say nothing.
    let nobody = Subject { groups: Some(vec![100]), ..Subject::from(&addr) };
    assert!(access(&["gid:100"], &[]).await.judge(&nobody).is_err());
}

#[tokio::test]
async fn the_kernel_is_asked_what_the_rules_need() {
    let (one, _other) = Socket::pair(Type::STREAM).expect("a pair");
    let peer = one.peer_addr().expect("an address");
    let me = nix::unistd::geteuid().as_raw();
    for (rule, groups) in [(format!("uid:{me}"), false), ("gid:4000000000".to_owned(), true)] {
        let access = access(&[&rule, "10.0.0.1"], &[]).await;
        let subject = access.subject(&one, &peer);
        assert_eq!(subject.credentials.map(|credentials| credentials.uid), Some(me));
        assert_eq!((subject.groups.is_some(), access.judge(&subject).is_ok()), (groups, !groups), "{rule}");
    }
}

#[tokio::test]
async fn names_are_looked_up() {
    let access = access(&["localhost", "uid:root", "gid:root"], &[]).await;
    let addr = path();
    assert_eq!(reason(&access, &Subject::from(&inet("127.0.0.1"))), "in");
    assert!(access.judge(&user(&addr, 0, 5, &[])).is_ok());
    assert!(access.judge(&user(&addr, 5, 5, &[6, 0])).is_ok());
    assert!(access.judge(&user(&addr, 5, 5, &[6])).is_err());
    for (rule, names, text, kind) in [
        (
            "uid:no-such-user",
            Names::LookUp,
            "look up uid:no-such-user: there is no user no-such-user",
            ErrorKind::Lookup,
        ),
        (
            "gid:no-such-group",
            Names::LookUp,
            "look up gid:no-such-group: there is no group no-such-group",
            ErrorKind::Lookup,
        ),
        ("localhost", Names::Numeric, "localhost: a name, and names are not looked up", ErrorKind::Usage),
    ] {
        let rules = AccessRules { deny: rules(&[rule]), names, ..AccessRules::default() };
        let error = rules.load().await.expect_err(rule);
        assert_eq!((error.to_string().as_str(), error.kind()), (text, kind));
        assert!(error.hint().is_some());
    }
    let host = no_host();
    let error = AccessRules { deny: rules(&[&host]), ..AccessRules::default() }.load().await;
    let error = error.expect_err("a name that there is not");
    assert!(error.to_string().starts_with(&format!("look up {host}: ")), "{error}");
}

/// A name that no server is asked for: a part of it is longer than 63 bytes (RFC 1035).
fn no_host() -> String {
    format!("{}.invalid", "x".repeat(64))
}

fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text).expect("write");
    file
}

#[tokio::test]
async fn files_have_a_rule_a_line() {
    let deny = file(b"# the office\n\n10.0.0.0/24 # ground floor\r\n  10.0.1.0/24\nlocalhost\n");
    let loaded = AccessRules { deny_files: vec![deny.path().into()], ..AccessRules::default() }.load().await;
    let access = loaded.expect("rules");
    let at = deny.path().display();
    for (ip, text) in [
        ("10.0.0.9", format!("10.0.0.9 is denied by 10.0.0.0/24 ({at}:3)")),
        ("10.0.1.9", format!("10.0.1.9 is denied by 10.0.1.0/24 ({at}:4)")),
        ("127.0.0.1", format!("127.0.0.1 is denied by localhost ({at}:5)")),
        ("10.0.2.9", "in".to_owned()),
    ] {
        assert_eq!(reason(&access, &Subject::from(&inet(ip))), text);
    }
}

#[tokio::test]
async fn a_wrong_line_is_told_with_its_place() {
    for (text, line, start) in [
        (&b"10.0.0.1\n10.0.0.0/33\n"[..], 2, "`10.0.0.0/33` is no network"),
        (b"10.0.0.1 10.0.0.2", 1, "`10.0.0.1 10.0.0.2` is no access rule"),
        (b"\n\xff\n", 2, "`\u{fffd}` is no access rule"),
        (format!("#\n{}\n", no_host()).as_bytes(), 2, &format!("look up {}: ", no_host())),
    ] {
        let allow = file(text);
        let loaded = AccessRules { allow_files: vec![allow.path().into()], ..AccessRules::default() }.load().await;
        let error = loaded.expect_err("a wrong line").to_string();
        let expected = format!("{}:{line}: {start}", allow.path().display());
        assert!(error.starts_with(&expected), "{error} is not {expected}");
    }
    let missing = AccessRules { deny_files: vec!["/nowhere/deny.txt".into()], ..AccessRules::default() }.load().await;
    let error = missing.expect_err("no such file").to_string();
    assert_eq!(error, "the rules in /nowhere/deny.txt cannot be read: no such file or directory");
    let endless = AccessRules { deny_files: vec!["/dev/zero".into()], ..AccessRules::default() }.load().await;
    let error = endless.expect_err("too long").to_string();
    assert_eq!(error, "the rules in /dev/zero cannot be read: the file is longer than 64 MiB");
}

#[tokio::test]
async fn an_allow_file_without_rules_lets_nobody_in() {
    let empty = file(b"# later\n");
    let rules = AccessRules { allow_files: vec![empty.path().into()], ..AccessRules::default() };
    assert!(!rules.is_empty() && AccessRules::default().is_empty());
    let access = rules.load().await.expect("rules");
    assert_eq!(
        reason(&access, &Subject::from(&inet("10.0.0.1"))),
        "10.0.0.1 matches no allow rule: none is for Internet sockets (an address, a network)"
    );
    assert!(access.is_closed_to(Domain::IPV6) && access.is_closed_to(Domain::UNIX));
}

#[tokio::test]
async fn rules_are_exchanged_and_stay_where_loading_fails() {
    let mut deny = file(b"10.0.0.1\n");
    let rules = AccessRules { deny_files: vec![deny.path().into()], ..AccessRules::default() };
    let gate = Gate::from(rules.load().await.expect("rules"));
    let addr = inet("10.0.0.2");
    let lets_in = || gate.access().judge(&Subject::from(&addr)).is_ok();
    assert!(lets_in());
    deny.write_all(b"10.0.0.2\n10.0.0.").expect("write");
    assert!(rules.load().await.is_err());
    assert!(lets_in());
    deny.write_all(b"3\n").expect("write");
    let held = gate.access();
    gate.clone().replace(rules.load().await.expect("rules"));
    assert!(!lets_in());
    assert!(held.judge(&Subject::from(&addr)).is_ok(), "who holds the old rules keeps them");
}

/// Networks, ranges and addresses close to each other, so that they overlap often.
fn a_rule() -> impl Strategy<Value = String> {
    let v4 = |bits: u32| Ipv4Addr::from_bits(0x0a00_0000 | bits & 0xf_ffff);
    let v6 = |bits: u128| Ipv6Addr::from_bits(0xfd << 120 | bits & 0xf_ffff);
    prop_oneof![
        any::<u32>().prop_map(move |bits| v4(bits).to_string()),
        any::<u32>().prop_map(move |bits| format!("::ffff:{}", v4(bits))),
        (any::<u32>(), 20u8..=32).prop_map(move |(bits, prefix)| {
            ipnet::Ipv4Net::new(v4(bits), prefix).expect("a prefix").trunc().to_string()
        }),
        (any::<u32>(), 0u32..5000).prop_map(move |(bits, more)| {
            format!("{}-{}", v4(bits), Ipv4Addr::from_bits(v4(bits).to_bits() + more))
        }),
        (any::<u128>(), 108u8..=128).prop_map(move |(bits, prefix)| {
            ipnet::Ipv6Net::new(v6(bits), prefix).expect("a prefix").trunc().to_string()
        }),
    ]
}

/// Whether a rule is about an address: by reading its text once more, another way.
fn is_about(rule: &str, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let rule = rule.trim_start_matches("::ffff:");
    if let Some((first, last)) = rule.split_once('-') {
        return first.parse::<IpAddr>().expect(rule) <= ip && ip <= last.parse::<IpAddr>().expect(rule);
    }
    match rule.parse::<ipnet::IpNet>() {
        Ok(network) => network.contains(&ip),
        Err(_) => rule.parse::<IpAddr>().expect(rule) == ip,
    }
}

fn asked() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0x0a00_0000u32..0x0a11_0000).prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        (0x0a00_0000u32..0x0a11_0000).prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped().into()),
        (0u128..0x11_0000).prop_map(|bits| Ipv6Addr::from_bits(0xfd << 120 | bits).into()),
    ]
}

fn loaded(allow: &[String], deny: &[String]) -> Access {
    let resolved = |texts: &[String]| {
        let rule = |text: &String| {
            let rule: Rule = text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"));
            let rule::Who::Addresses(addresses) = rule.who().clone() else { panic!("{text} is no address") };
            Resolved { rule: Placed { rule, place: None }, found: Found::Addresses(addresses) }
        };
        texts.iter().map(rule).collect::<Vec<_>>()
    };
    Access::new((!allow.is_empty()).then(|| resolved(allow)), resolved(deny))
}

/// Rules and the addresses that are asked for, against looking at each rule.
fn agree(allow: &[String], deny: &[String], ips: &[IpAddr]) {
    let access = loaded(allow, deny);
    for ip in ips {
        let some = |rules: &[String]| rules.iter().any(|rule| is_about(rule, *ip));
        let expected = !some(deny) && (allow.is_empty() || some(allow));
        let addr = Addr::Inet(SocketAddr::new(*ip, 1));
        assert_eq!(access.judge(&Subject::from(&addr)).is_ok(), expected, "{ip}: allow {allow:?}, deny {deny:?}");
    }
}

proptest! {
    #[test]
    fn agrees_with_looking_at_each_rule(
        allow in proptest::collection::vec(a_rule(), 0..20),
        deny in proptest::collection::vec(a_rule(), 0..20),
        ips in proptest::collection::vec(asked(), 1..50),
    ) {
        agree(&allow, &deny, &ips);
    }
}

#[test]
fn a_hundred_thousand_rules_are_no_problem() {
    // Numbers that look like chance, the same each time (Knuth's multiplier).
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(state >> 32).expect("32 bits")
    };
    let (v4, v6) = (|bits| IpAddr::from(Ipv4Addr::from_bits(bits)), |bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
    // Each with its first and its last address.
    let rules: Vec<(String, IpAddr, IpAddr)> = (0..100_000u32)
        .map(|number| match (number % 3, next()) {
            (0, bits) => (v4(bits).to_string(), v4(bits), v4(bits)),
            (1, bits) => (format!("{}/24", v4(bits & !0xff)), v4(bits & !0xff), v4(bits | 0xff)),
            (_, bits) => {
                let (first, last) = (v6(u128::from(bits) << 64), v6(u128::from(bits) << 64 | u128::from(next())));
                (format!("{first}-{last}"), first, last)
            }
        })
        .collect();
    let deny: Vec<String> = rules.iter().map(|(text, ..)| text.clone()).collect();
    let access = loaded(&[], &deny);
    let mut ips: Vec<IpAddr> = (0..100).flat_map(|_| [v4(next()), v6(u128::from(next()) << 64)]).collect();
    ips.extend(rules.iter().step_by(1001).flat_map(|(_, first, last)| [*first, *last]));
    let mut found = [0, 0];
    for ip in &ips {
        let is_denied = rules.iter().any(|(_, first, last)| first <= ip && ip <= last);
        let addr = Addr::Inet(SocketAddr::new(*ip, 1));
        assert_eq!(access.judge(&Subject::from(&addr)).is_err(), is_denied, "{ip}");
        found[usize::from(is_denied)] += 1;
    }
    assert!(found.iter().all(|count| *count > 50), "{found:?}");
    // Asked as often as by an attack: to look at each rule would take minutes.
    let addr = Addr::Inet(SocketAddr::new(ips[0], 1));
    let subject = Subject::from(&addr);
    let verdict = access.judge(&subject).is_ok();
    assert!((0..100_000).all(|_| access.judge(&subject).is_ok() == verdict));
}
