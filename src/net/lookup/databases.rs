//! Services, protocols and networks: names and numbers in the files services(5), protocols(5) and networks(5).
//!
//! A parser of our own, apart from the system's resolver, so that a machine without these files (a small container)
//! still knows the usual entries: a file that cannot be read is replaced by a table that is built in.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use serde::Serialize;

use super::{Lines, display_lines};
use crate::net::spelling::near;
use crate::net::{Error, Result};

const SERVICES: &str = "/etc/services";
const PROTOCOLS: &str = "/etc/protocols";
const NETWORKS: &str = "/etc/networks";

/// A service at its well-known port (services(5)).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Service {
    /// The official name.
    pub name: String,
    /// The port.
    pub port: u16,
    /// The protocol under it, such as `tcp`.
    pub protocol: String,
    /// Other names.
    pub aliases: Vec<String>,
}

/// A protocol above IP (protocols(5)).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Protocol {
    /// The official name.
    pub name: String,
    /// The number in the IP header; above 255 the kernel's own, such as 262 for `mptcp`.
    pub number: u32,
    /// Other names.
    pub aliases: Vec<String>,
}

/// A network of IPv4 (networks(5)).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Network {
    /// The official name.
    pub name: String,
    /// The address of the network, its host part 0.
    pub address: Ipv4Addr,
    /// Other names.
    pub aliases: Vec<String>,
}

/// The services of that name or at that port, over `protocol` or over all.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::net::ErrorKind::Usage): an unknown name, or a number that is no port; the hint has names
/// that are close. [`ErrorKind::Lookup`](crate::net::ErrorKind::Lookup): no service at that port.
pub fn service(name_or_port: &str, protocol: Option<&str>) -> Result<Vec<Service>> {
    services_in(Path::new(SERVICES), name_or_port, protocol)
}

/// The port of the service `name` over `protocol` (`tcp`, `udp`); `None` if there is no such service (getservbyname(3)).
pub fn service_port(name: &str, protocol: &str) -> Option<u16> {
    let find = |entry: Service| (entry.named(name) && entry.protocol == protocol).then_some(entry.port);
    read(Path::new(SERVICES)).into_iter().find_map(find)
}

/// The official name of the service at `port` over `protocol`; `None` if there is none (getservbyport(3)).
pub fn service_name(port: u16, protocol: &str) -> Option<String> {
    let find = |entry: Service| (entry.port == port && entry.protocol == protocol).then_some(entry.name);
    read(Path::new(SERVICES)).into_iter().find_map(find)
}

/// The protocol of that name or number: more than one where a number has several names.
///
/// # Errors
/// As for [`service`].
pub fn protocol(name_or_number: &str) -> Result<Vec<Protocol>> {
    protocols_in(Path::new(PROTOCOLS), name_or_number)
}

/// The network of that name or address, such as `loopback`, `127.0.0.0` or, short, `127`.
///
/// # Errors
/// As for [`service`].
pub fn network(name_or_address: &str) -> Result<Vec<Network>> {
    networks_in(Path::new(NETWORKS), name_or_address)
}

fn services_in(path: &Path, key: &str, protocol: Option<&str>) -> Result<Vec<Service>> {
    let entries: Vec<Service> = read(path);
    let over = |entry: &Service| protocol.is_none_or(|protocol| entry.protocol == protocol);
    if is_number(key) {
        let port: u16 = key
            .parse()
            .map_err(|_| Error::usage(format!("{key} is no port")).hinting("use a port number from 0 to 65535"))?;
        let missing = || Error::lookup("look up", "no service is known there").on(format!("port {key}"));
        return some(entries.into_iter().filter(|entry| entry.port == port && over(entry)).collect(), missing);
    }
    let named: Vec<Service> = entries.iter().filter(|entry| entry.named(key)).cloned().collect();
    let known: Vec<&str> = named.iter().map(|entry| entry.protocol.as_str()).collect();
    let missing = || match protocol {
        Some(protocol) if !known.is_empty() => Error::usage(format!("{key:?} is no {protocol} service"))
            .hinting(format!("it is known for {}", list(&known))),
        _ => unknown("service", key, &entries, "use a port number from 0 to 65535"),
    };
    some(named.iter().filter(|entry| over(entry)).cloned().collect(), missing)
}

fn protocols_in(path: &Path, key: &str) -> Result<Vec<Protocol>> {
    let entries: Vec<Protocol> = read(path);
    if is_number(key) {
        let missing = || Error::lookup("look up", "no protocol is known to have it").on(format!("number {key}"));
        return some(entries.into_iter().filter(|entry| key.parse() == Ok(entry.number)).collect(), missing);
    }
    let missing = || unknown("protocol", key, &entries, "use a protocol number from 0 to 255");
    some(entries.iter().filter(|entry| entry.named(key)).cloned().collect(), missing)
}

fn networks_in(path: &Path, key: &str) -> Result<Vec<Network>> {
    let entries: Vec<Network> = read(path);
    if let Some(address) = network_address(key) {
        let missing = || Error::lookup("look up", "no network of that address has a name").on(key);
        return some(entries.into_iter().filter(|entry| entry.address == address).collect(), missing);
    }
    let missing = || unknown("network", key, &entries, "use the address of a network, such as 127.0.0.0");
    some(entries.iter().filter(|entry| entry.named(key)).cloned().collect(), missing)
}

/// One line of a file: a name, its value, aliases.
trait Entry: Sized {
    /// The file's text on machines that do not have it.
    const BUILT_IN: &'static str;

    /// Makes the entry; `None` if the value is none.
    fn new(name: String, value: &str, aliases: Vec<String>) -> Option<Self>;
    fn name(&self) -> &str;
    fn aliases(&self) -> &[String];

    /// Whether `name` is its name, or one of them; letters' case counts, as it does for the system.
    fn named(&self, name: &str) -> bool {
        self.name() == name || self.aliases().iter().any(|alias| alias == name)
    }
}

impl Entry for Service {
    const BUILT_IN: &'static str = BUILT_IN_SERVICES;

    fn new(name: String, value: &str, aliases: Vec<String>) -> Option<Self> {
        let (port, protocol) = value.split_once('/')?;
        let port = port.parse().ok()?;
        (!protocol.is_empty()).then(|| Self { name, port, protocol: protocol.to_owned(), aliases })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }
}

impl Entry for Protocol {
    const BUILT_IN: &'static str = BUILT_IN_PROTOCOLS;

    fn new(name: String, value: &str, aliases: Vec<String>) -> Option<Self> {
        Some(Self { name, number: value.parse().ok()?, aliases })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }
}

impl Entry for Network {
    const BUILT_IN: &'static str = BUILT_IN_NETWORKS;

    fn new(name: String, value: &str, aliases: Vec<String>) -> Option<Self> {
        Some(Self { name, address: network_address(value)?, aliases })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }
}

fn read<T: Entry>(path: &Path) -> Vec<T> {
    match fs::read(path) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes)),
        Err(_) => parse(T::BUILT_IN),
    }
}

/// The entries in the text of a file; a line that is none is skipped, as the system's own parser does.
fn parse<T: Entry>(text: &str) -> Vec<T> {
    let entry = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (name, value) = (words.next()?, words.next()?);
        T::new(name.to_owned(), value, words.map(str::to_owned).collect())
    };
    text.lines().filter_map(entry).collect()
}

/// Reads the address of a network; zeros at its end may be left out.
fn network_address(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut at = octets.iter_mut();
    for part in text.split('.') {
        *at.next()? = part.parse().ok()?;
    }
    Some(octets.into())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn some<T>(found: Vec<T>, missing: impl FnOnce() -> Error) -> Result<Vec<T>> {
    if found.is_empty() { Err(missing()) } else { Ok(found) }
}

/// The error for a name that no entry has: proposes those that are close, or else `instead`.
fn unknown<T: Entry>(what: &str, name: &str, entries: &[T], instead: &str) -> Error {
    let names = || {
        entries.iter().flat_map(|entry| [entry.name()].into_iter().chain(entry.aliases().iter().map(String::as_str)))
    };
    let close = near(name, names());
    let hint = if close.is_empty() { instead.to_owned() } else { format!("did you mean {}?", list(&close)) };
    Error::usage(format!("unknown {what} {name:?}")).hinting(hint)
}

/// `a`, `a or b`, `a, b or c`.
fn list(names: &[&str]) -> String {
    match names {
        [names @ .., before, last] => {
            let names: String = names.iter().map(|name| format!("{name}, ")).collect();
            format!("{names}{before} or {last}")
        }
        names => names.concat(),
    }
}

impl Lines for Service {
    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![self.name.clone(), format!("{}/{}", self.port, self.protocol), self.aliases.join(" ")]]
    }
}

impl Lines for Protocol {
    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![self.name.clone(), self.number.to_string(), self.aliases.join(" ")]]
    }
}

impl Lines for Network {
    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![self.name.clone(), self.address.to_string(), self.aliases.join(" ")]]
    }
}

display_lines!(Service, Protocol, Network);

const BUILT_IN_SERVICES: &str = "\
echo 7/tcp\necho 7/udp\ndiscard 9/tcp sink null\ndiscard 9/udp sink null\ndaytime 13/tcp\ndaytime 13/udp
chargen 19/tcp ttytst source\nchargen 19/udp ttytst source\nftp-data 20/tcp\nftp 21/tcp\nssh 22/tcp\ntelnet 23/tcp
smtp 25/tcp mail\ntime 37/tcp timserver\ntime 37/udp timserver\nwhois 43/tcp nicname\ndomain 53/tcp\ndomain 53/udp
tftp 69/udp\nfinger 79/tcp\nhttp 80/tcp www\npop3 110/tcp pop-3\nsunrpc 111/tcp portmapper\nsunrpc 111/udp portmapper
ntp 123/udp\nimap2 143/tcp imap\nsnmp 161/udp\nldap 389/tcp\nhttps 443/tcp\nhttps 443/udp\nsubmissions 465/tcp smtps
syslog 514/udp\nsubmission 587/tcp\nldaps 636/tcp\nimaps 993/tcp\npop3s 995/tcp\nsocks 1080/tcp\nmqtt 1883/tcp
nfs 2049/tcp\nmysql 3306/tcp\npostgresql 5432/tcp postgres\namqp 5672/tcp\nredis 6379/tcp\nhttp-alt 8080/tcp webcache
";

const BUILT_IN_PROTOCOLS: &str = "\
ip 0 IP\nicmp 1 ICMP\nigmp 2 IGMP\nipencap 4 IP-ENCAP\ntcp 6 TCP\nudp 17 UDP\ndccp 33 DCCP\nipv6 41 IPv6\ngre 47 GRE
esp 50 IPSEC-ESP\nah 51 IPSEC-AH\nipv6-icmp 58 IPv6-ICMP\nospf 89 OSPFIGP\nsctp 132 SCTP\nudplite 136 UDPLite
mptcp 262 MPTCP
";

const BUILT_IN_NETWORKS: &str = "default 0.0.0.0\nloopback 127.0.0.0\nlink-local 169.254.0.0\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ErrorKind;

    const TEXT: &str = "# comment\n\nhttp\t\t80/tcp\twww web # WorldWideWeb\r\nhttp 80/udp\n  ssh 22/tcp\n\
        junk\nno-port tcp\nbig 65536/tcp\nbare 7/\n#off 1/tcp\ndomain 53/udp";

    fn entry(name: &str, port: u16, protocol: &str, aliases: &[&str]) -> Service {
        let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
        Service { name: name.into(), port, protocol: protocol.into(), aliases }
    }

    fn temporary(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn parses_a_file_and_skips_junk() {
        assert_eq!(
            parse::<Service>(TEXT),
            [
                entry("http", 80, "tcp", &["www", "web"]),
                entry("http", 80, "udp", &[]),
                entry("ssh", 22, "tcp", &[]),
                entry("domain", 53, "udp", &[])
            ]
        );
        let shown = |text| parse::<Protocol>(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown("tcp\t6\tTCP\t# x\nbad six\nmptcp 262 MPTCP\r\n"), ["tcp  6  TCP", "mptcp  262  MPTCP"]);
    }

    #[test]
    fn finds_services_by_name_alias_and_port() {
        let file = temporary(TEXT);
        for (key, protocol, found) in [
            ("http", None, "http  80/tcp  www web\nhttp  80/udp"),
            ("www", None, "http  80/tcp  www web"),
            ("80", Some("udp"), "http  80/udp"),
            ("22", None, "ssh  22/tcp"),
        ] {
            let services = services_in(file.path(), key, protocol).expect(key);
            assert_eq!(super::super::Aligned(&services).to_string(), found);
        }
        for (key, protocol, text, hint, kind) in [
            ("99999", None, "99999 is no port", Some("use a port number from 0 to 65535"), ErrorKind::Usage),
            ("htp", None, "unknown service \"htp\"", Some("did you mean http?"), ErrorKind::Usage),
            ("zzzz", None, "unknown service \"zzzz\"", Some("use a port number from 0 to 65535"), ErrorKind::Usage),
            ("", None, "unknown service \"\"", Some("use a port number from 0 to 65535"), ErrorKind::Usage),
            ("ssh", Some("udp"), "\"ssh\" is no udp service", Some("it is known for tcp"), ErrorKind::Usage),
            ("http", Some("x"), "\"http\" is no x service", Some("it is known for tcp or udp"), ErrorKind::Usage),
            ("81", None, "look up port 81: no service is known there", None, ErrorKind::Lookup),
        ] {
            let error = services_in(file.path(), key, protocol).expect_err(key);
            assert_eq!((error.to_string().as_str(), error.hint(), error.kind()), (text, hint, kind));
        }
    }

    #[test]
    fn knows_the_usual_entries_without_files() {
        let none = Path::new("/nonexistent/file");
        let all = parse::<Service>(BUILT_IN_SERVICES);
        assert_eq!(all.len(), BUILT_IN_SERVICES.lines().count());
        for (name, port) in [("echo", 7), ("telnet", 23), ("www", 80), ("imap", 143), ("https", 443)] {
            assert_eq!(services_in(none, name, Some("tcp")).expect(name)[0].port, port);
        }
        assert_eq!(parse::<Protocol>(BUILT_IN_PROTOCOLS).len(), BUILT_IN_PROTOCOLS.lines().count());
        for (key, line) in [("icmp", "icmp  1  ICMP"), ("SCTP", "sctp  132  SCTP"), ("58", "ipv6-icmp  58  IPv6-ICMP")]
        {
            assert_eq!(protocols_in(none, key).expect(key)[0].to_string(), line);
        }
        assert_eq!(protocols_in(none, "tpc").expect_err("unknown").hint(), Some("did you mean tcp?"));
        assert_eq!(protocols_in(none, "xyz").expect_err("unknown").hint(), Some("use a protocol number from 0 to 255"));
        assert_eq!(protocols_in(none, "300").expect_err("none").kind(), ErrorKind::Lookup);
    }

    #[test]
    fn finds_networks_by_name_and_address() {
        let file = temporary("loopback 127\nlab 10.1.0 testing\nbad 1.2.3.4.5\nworse 300\n");
        for (key, line) in [
            ("loopback", "loopback  127.0.0.0"),
            ("127.0.0.0", "loopback  127.0.0.0"),
            ("127", "loopback  127.0.0.0"),
            ("testing", "lab  10.1.0.0  testing"),
        ] {
            assert_eq!(networks_in(file.path(), key).expect(key)[0].to_string(), line);
        }
        assert_eq!(networks_in(file.path(), "10.2").expect_err("none").kind(), ErrorKind::Lookup);
        assert_eq!(networks_in(file.path(), "lopback").expect_err("none").hint(), Some("did you mean loopback?"));
    }

    #[test]
    fn asks_this_machine() {
        assert_eq!(service_port("http", "tcp"), Some(80));
        assert_eq!(service_port("no-such-service", "tcp"), None);
        assert_eq!(service_name(443, "tcp").as_deref(), Some("https"));
        assert_eq!(service("ssh", None).expect("ssh")[0].port, 22);
        assert_eq!(protocol("tcp").expect("tcp")[0].number, 6);
        assert_eq!(network("loopback").expect("loopback")[0].address, Ipv4Addr::new(127, 0, 0, 0));
    }

    #[test]
    fn serializes_under_stable_names() {
        assert_eq!(
            serde_json::to_string(&entry("http", 80, "tcp", &["www"])).expect("JSON"),
            r#"{"name":"http","port":80,"protocol":"tcp","aliases":["www"]}"#
        );
    }
}
