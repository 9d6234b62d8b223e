//! `Rule`: whom one rule is about, as it is written: `10.0.0.0/8`, `10.0.0.1-9`, `db.example.org`, `uid:alice`, `any`.
//!
//! Apart from its use, so that what is written wrongly is told before anything is looked up. Names stay names here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;

use crate::net::{Error, Result};

/// The kinds of rules, for a user who has written none of them.
const KINDS: &str = "write an address 10.0.0.1, a network 10.0.0.0/8 or fd00::/8, a range 10.0.0.1-10.0.0.9, \
                     a host's name, uid:USER, gid:GROUP, cid:NUMBER, unix, vsock or any";

/// Whom an access rule is about. `Display` gives it as it was written.
///
/// | written | is about |
/// | --- | --- |
/// | `10.0.0.1`, `fd00::1` | one address |
/// | `10.0.0.0/8`, `fd00::/8` | a network (RFC 4632), no bit set beyond the prefix |
/// | `10.0.0.1-10.0.0.9`, `10.0.0.1-9`, `fd00::1-fd00::f`, `fd00::1-f` | all addresses from the first to the last; the short form gives the end's last part |
/// | `db.example.org` | each address that the name has when the rules are loaded |
/// | `uid:1000`, `uid:alice` | a user, at a Unix socket |
/// | `gid:33`, `gid:www-data` | whose group it is, or one of the supplementary groups, at a Unix socket |
/// | `cid:2` | a machine, at a vsock |
/// | `unix`, `vsock` | whoever comes by a Unix socket, by vsock |
/// | `any` or `all` | everyone |
///
/// An IPv4 address that is written as one of IPv6 (`::ffff:10.0.0.1`) is that of IPv4. Names are looked up forward only: a pattern
/// such as `*.example.org` is refused, for whoever has an address decides what name it is said to have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    text: Box<str>,
    who: Who,
}

/// Whom a rule is about, once it is read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Who {
    Any,
    Unix,
    Vsock,
    Addresses(Addresses),
    Host(String),
    User(Id),
    Group(Id),
    Machine(u32),
}

/// Addresses of one version of IP, as numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Addresses {
    V4(RangeInclusive<u32>),
    V6(RangeInclusive<u128>),
}

/// A user or a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Id {
    Number(u32),
    Name(String),
}

impl Rule {
    pub(super) fn who(&self) -> &Who {
        &self.who
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        Ok(Self { text: text.into(), who: read(text)? })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Addresses {
    /// The addresses from `first` to `last`; `None` if there are none, or they are of two versions.
    fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        // Only where both ends are: `::/0` is about IPv6.
        let (first, last) = match (first.to_canonical(), last.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => (IpAddr::V4(first), IpAddr::V4(last)),
            _ => (first, last),
        };
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => Some(Self::V4(first.to_bits()..=last.to_bits())),
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => Some(Self::V6(first.to_bits()..=last.to_bits())),
            _ => None,
        }
    }
}

impl From<IpAddr> for Addresses {
    fn from(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self::V4(addr.to_bits()..=addr.to_bits()),
            IpAddr::V6(addr) => Self::V6(addr.to_bits()..=addr.to_bits()),
        }
    }
}

fn read(text: &str) -> Result<Who> {
    match text {
        "" => return Err(Error::usage("a rule is empty").hinting(KINDS)),
        "any" | "all" => return Ok(Who::Any),
        "unix" => return Ok(Who::Unix),
        "vsock" => return Ok(Who::Vsock),
        _ => {}
    }
    match text.split_once(':') {
        Some(("uid", user)) => return id(text, user, "uid:1000 or uid:alice").map(Who::User),
        Some(("gid", group)) => return id(text, group, "gid:33 or gid:www-data").map(Who::Group),
        Some(("cid", cid)) => return machine(text, cid),
        _ => {}
    }
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Ok(Who::Addresses(addr.into()));
    }
    if text.contains('/') {
        return network(text).map(Who::Addresses);
    }
    if let Some((first, last)) = text.split_once('-')
        && let Ok(first) = first.trim_end().parse()
    {
        return range(text, first, last.trim_start()).map(Who::Addresses);
    }
    host(text)
}

fn network(text: &str) -> Result<Addresses> {
    let Ok(network) = text.parse::<IpNet>() else {
        return Err(Error::usage(format!("`{text}` is no network"))
            .hinting("a network is an address and the length of its prefix: 10.0.0.0/8, 192.0.2.1/32, fd00::/8"));
    };
    if network.addr() != network.network() {
        let (addr, network) = (network.addr(), network.trunc());
        return Err(Error::usage(format!("`{text}` is an address in a network, and could mean either"))
            .hinting(format!("write {network} for the network, or {addr} for the address")));
    }
    // The last address is what IPv4 calls the network's broadcast address.
    Addresses::between(network.network(), network.broadcast())
        .ok_or_else(|| Error::usage(format!("`{text}` is no network")))
}

fn range(text: &str, first: IpAddr, last: &str) -> Result<Addresses> {
    let end = last.parse().ok().or_else(|| with_last_part(first, last));
    end.and_then(|end| Addresses::between(first, end)).ok_or_else(|| {
        Error::usage(format!("`{text}` is no range of addresses"))
            .hinting("a range is its first and its last address: 10.0.0.1-10.0.0.9, 10.0.0.1-9, fd00::1-fd00::f")
    })
}

/// The address with another last part: the last of four numbers, or the last 16 bits in hexadecimal.
fn with_last_part(addr: IpAddr, part: &str) -> Option<IpAddr> {
    // A sign would be taken for part of a number.
    if !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, _] = addr.octets();
            Ipv4Addr::new(a, b, c, part.parse().ok()?).into()
        }
        IpAddr::V6(addr) => {
            let mut segments = addr.segments();
            segments[7] = u16::from_str_radix(part, 16).ok()?;
            Ipv6Addr::from(segments).into()
        }
    })
}

fn host(text: &str) -> Result<Who> {
    let wrong = |what: &str| Err(Error::usage(format!("`{text}` {what}")));
    if text.starts_with(['*', '.']) {
        return wrong("is a pattern, and names are looked up only from the name to its addresses").map_err(
            |error: Error| error.hinting("name each host, or write their network, such as 10.0.0.0/8 or fd00::/8"),
        );
    }
    let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if !text.chars().all(is_name) || text.starts_with('-') {
        return wrong("is no access rule").map_err(|error: Error| error.hinting(KINDS));
    }
    // `10.1` and `010.0.0.1` would be read by the system in the old ways: as 10.0.0.1 and, in octal, 8.0.0.1.
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if is_number {
        return wrong("is neither an address nor a name").map_err(|error: Error| {
            error.hinting("an IPv4 address is four numbers from 0 to 255, without zeros in front: 10.0.0.1")
        });
    }
    Ok(Who::Host(text.to_owned()))
}

fn id(text: &str, written: &str, example: &str) -> Result<Id> {
    let wrong = |what: &str| Error::usage(format!("`{text}`: {what}")).hinting(format!("write {example}"));
    if written.bytes().all(|byte| byte.is_ascii_digit()) && !written.is_empty() {
        // The last number stands for none (chown(2)).
        let number = written.parse().ok().filter(|number| *number != u32::MAX);
        return number.map(Id::Number).ok_or_else(|| wrong("the number is too large"));
    }
    if written.is_empty() || written.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err(wrong("a number or a name is missing"));
    }
    Ok(Id::Name(written.to_owned()))
}

fn machine(text: &str, written: &str) -> Result<Who> {
    let digits = written.bytes().all(|byte| byte.is_ascii_digit());
    let cid = written.parse().ok().filter(|cid| digits && *cid != u32::MAX);
    cid.map(Who::Machine).ok_or_else(|| {
        Error::usage(format!("`{text}` names no machine"))
            .hinting("write its number: cid:2 is the host; or vsock for all")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn who(text: &str) -> Who {
        text.parse::<Rule>().unwrap_or_else(|error| panic!("{text}: {error:?}")).who
    }

    fn v4(first: &str, last: &str) -> Who {
        let bits = |text: &str| text.parse::<Ipv4Addr>().expect(text).to_bits();
        Who::Addresses(Addresses::V4(bits(first)..=bits(last)))
    }

    fn v6(first: &str, last: &str) -> Who {
        let bits = |text: &str| text.parse::<Ipv6Addr>().expect(text).to_bits();
        Who::Addresses(Addresses::V6(bits(first)..=bits(last)))
    }

    #[test]
    fn reads_what_users_write() {
        for (text, expected) in [
            ("10.0.0.1", v4("10.0.0.1", "10.0.0.1")),
            (" 10.0.0.1\r", v4("10.0.0.1", "10.0.0.1")),
            ("10.0.0.0/8", v4("10.0.0.0", "10.255.255.255")),
            ("0.0.0.0/0", v4("0.0.0.0", "255.255.255.255")),
            ("192.0.2.1/32", v4("192.0.2.1", "192.0.2.1")),
            ("10.0.0.1-10.0.1.9", v4("10.0.0.1", "10.0.1.9")),
            ("10.0.0.1-9", v4("10.0.0.1", "10.0.0.9")),
            ("10.0.0.1 - 10.0.0.9", v4("10.0.0.1", "10.0.0.9")),
            ("10.0.0.7-7", v4("10.0.0.7", "10.0.0.7")),
            ("fd00::1", v6("fd00::1", "fd00::1")),
            ("fd00::/8", v6("fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
            ("::/0", v6("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
            ("fd00::1-fd00::1:f", v6("fd00::1", "fd00::1:f")),
            ("fd00::1-f", v6("fd00::1", "fd00::f")),
            ("fd00::1-10", v6("fd00::1", "fd00::10")),
            ("::ffff:10.0.0.1", v4("10.0.0.1", "10.0.0.1")),
            ("::ffff:10.0.0.0/104", v4("10.0.0.0", "10.255.255.255")),
            ("::ffff:10.0.0.1-::ffff:10.0.0.9", v4("10.0.0.1", "10.0.0.9")),
            ("::fffe:0:0/95", v6("::fffe:0:0", "::ffff:ffff:ffff")),
            ("db.example.org", Who::Host("db.example.org".into())),
            ("db-1", Who::Host("db-1".into())),
            ("1and1.de.", Who::Host("1and1.de.".into())),
            ("uid:1000", Who::User(Id::Number(1000))),
            ("uid:alice", Who::User(Id::Name("alice".into()))),
            ("gid:33", Who::Group(Id::Number(33))),
            ("gid:www-data", Who::Group(Id::Name("www-data".into()))),
            ("cid:2", Who::Machine(2)),
            ("unix", Who::Unix),
            ("vsock", Who::Vsock),
            ("any", Who::Any),
            ("all", Who::Any),
        ] {
            assert_eq!(who(text), expected, "{text}");
            assert_eq!(text.parse::<Rule>().expect(text).to_string(), text.trim());
        }
    }

    #[test]
    fn says_what_to_write_instead() {
        for (text, error, hint) in [
            ("", "a rule is empty", "uid:USER"),
            ("10.0.0.1/8", "could mean either", "write 10.0.0.0/8 for the network, or 10.0.0.1 for the address"),
            ("fd00::1/64", "could mean either", "write fd00::/64 for"),
            ("10.0.0.0/33", "is no network", "length of its prefix"),
            ("10.0.0.0/255.0.0.0", "is no network", "length of its prefix"),
            ("fe80::1%lo/64", "is no network", "length of its prefix"),
            ("10.0.0.9-1", "is no range", "first and its last"),
            ("10.0.0.1-256", "is no range", "first and its last"),
            ("10.0.0.1-+9", "is no range", "first and its last"),
            ("10.0.0.1-", "is no range", "first and its last"),
            ("10.0.0.1-fd00::1", "is no range", "first and its last"),
            ("*.example.org", "is a pattern", "name each host"),
            (".example.org", "is a pattern", "name each host"),
            ("10.0.0.*", "is no access rule", "10.0.0.0/8"),
            ("tcp:db:80", "is no access rule", "a host's name"),
            ("cert:db", "is no access rule", "a host's name"),
            ("a b", "is no access rule", "a host's name"),
            ("fe80::1%lo", "is no access rule", "a host's name"),
            ("10.1", "neither an address nor a name", "four numbers"),
            ("010.0.0.1", "neither an address nor a name", "without zeros"),
            ("0x7f.0x1", "neither an address nor a name", "four numbers"),
            ("2130706433", "neither an address nor a name", "four numbers"),
            ("10.0.0.256", "neither an address nor a name", "from 0 to 255"),
            ("10.", "neither an address nor a name", "four numbers"),
            ("uid:", "a number or a name is missing", "uid:1000 or uid:alice"),
            ("uid:4294967295", "too large", "uid:1000"),
            ("gid:99999999999", "too large", "gid:33"),
            ("cid:x", "names no machine", "cid:2"),
            ("cid:+2", "names no machine", "cid:2"),
            ("cid:", "names no machine", "cid:2"),
        ] {
            let found = text.parse::<Rule>().expect_err(text);
            assert!(found.to_string().contains(error), "{text}: {found}");
            assert!(found.hint().is_some_and(|found| found.contains(hint)), "{text}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_rule_or_a_mistake(text in "\\PC*|[0-9a-fx:./%*-]{0,30}|[ugc]id:\\PC*") {
            if let Ok(rule) = text.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse::<Rule>().expect("its own text"), rule);
            }
        }
    }
}
