//! Hosts: from a name to its addresses and back, by the system's resolver.
//!
//! Apart from [DNS records](super::records), because the system asks more than the DNS, in the order of nsswitch.conf(5):
//! hosts(5), its own names, search domains.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind};
use nix::net::if_::if_nameindex;
use serde::Serialize;

use super::{Lines, display_lines};
use crate::net::{Error, Result};

/// The static table of hosts (hosts(5)), read for the aliases of a host, which getaddrinfo(3) does not tell.
const HOSTS: &str = "/etc/hosts";

/// What the system knows of a host's name.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Host {
    /// The name that was asked for.
    pub name: String,
    /// Its official name: where aliases of hosts(5) and `CNAME` records lead to; for an address the address itself.
    pub canonical_name: String,
    /// Other names that hosts(5) has for one of its addresses.
    pub aliases: Vec<String>,
    /// Its addresses, each once, the one to try first in front (RFC 6724).
    pub addresses: Vec<IpAddr>,
}

impl Lines for Host {
    fn lines(&self) -> Vec<Vec<String>> {
        let others = || {
            let canonical = (self.canonical_name != self.name).then_some(&self.canonical_name);
            canonical.into_iter().chain(&self.aliases).map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        let first = |number: usize| if number == 0 { others() } else { String::new() };
        let line = |(number, address): (usize, &IpAddr)| vec![self.name.clone(), address.to_string(), first(number)];
        self.addresses.iter().enumerate().map(line).collect()
    }
}

display_lines!(Host);

/// Looks a host up by its name, or by an address in digits.
///
/// Takes as long as resolv.conf(5) allows, by default 10 s for each server that does not answer (getaddrinfo(3)).
/// Must be called in a runtime of tokio: it waits on a thread for blocking work.
///
/// # Errors
/// [`ErrorKind::Lookup`](crate::net::ErrorKind::Lookup): there is no such host, it has no address, or no server could
/// be asked just now. [`ErrorKind::Usage`](crate::net::ErrorKind::Usage): what is no name.
pub async fn host(name: &str) -> Result<Host> {
    look_up(name, 0).await
}

/// As [`host`], of addresses in digits only: no file is read for the address and no server is asked.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::net::ErrorKind::Usage): a name.
pub async fn numeric_host(name: &str) -> Result<Host> {
    look_up(name, libc::AI_NUMERICHOST).await
}

/// The name of the host that has `address`; `None` if it has none (getnameinfo(3) with `NI_NAMEREQD`).
///
/// # Errors
/// [`ErrorKind::Lookup`](crate::net::ErrorKind::Lookup): no server could be asked just now.
pub async fn reverse(address: IpAddr) -> Result<Option<String>> {
    let name = blocking(move || {
        dns_lookup::getnameinfo(&SocketAddr::new(address, 0), libc::NI_NAMEREQD | libc::NI_NUMERICSERV)
    });
    match name.await.map_err(|error| error.on(address))? {
        Ok((name, _)) => Ok(Some(name)),
        Err(error) if matches!(error.kind(), LookupErrorKind::NoName | LookupErrorKind::NoData) => Ok(None),
        Err(error) => Err(explain(error).on(address)),
    }
}

/// Reads an address in digits, with the zone that an IPv6 address may have: `192.0.2.1`, `::1`, `fe80::1%eth0`,
/// `fe80::1%2`. `None` if the text is none.
///
/// The zone is an interface, by name or by number; it becomes the scope id (RFC 4007, section 11).
///
/// # Errors
/// [`ErrorKind::Usage`](crate::net::ErrorKind::Usage): the machine has no such interface.
pub fn literal(text: &str, port: u16) -> Result<Option<SocketAddr>> {
    if let Ok(address) = text.parse() {
        return Ok(Some(SocketAddr::new(address, port)));
    }
    let Some((Ok(address), zone)) = text.split_once('%').map(|(address, zone)| (address.parse(), zone)) else {
        return Ok(None);
    };
    Ok(Some(SocketAddrV6::new(address, port, 0, scope_id(zone).map_err(|error| error.on(text))?).into()))
}

async fn look_up(name: &str, flag: i32) -> Result<Host> {
    if name.is_empty() || name.contains('\0') {
        return Err(Error::usage("a host name has at least one character and no NUL").on(format!("{name:?}")));
    }
    // An unknown interface would read as an unknown host.
    literal(name, 0)?;
    let asked = name.to_owned();
    // One socket type, or each address would come once for every type.
    let hints =
        AddrInfoHints { flags: libc::AI_CANONNAME | flag, socktype: libc::SOCK_STREAM, ..AddrInfoHints::default() };
    let found = blocking(move || {
        let entries = dns_lookup::getaddrinfo(Some(&asked), None, Some(hints))?.collect::<io::Result<Vec<_>>>()?;
        let mut host = Host { canonical_name: asked.clone(), name: asked, aliases: Vec::new(), addresses: Vec::new() };
        for entry in entries {
            if let Some(name) = entry.canonname {
                host.canonical_name = name;
            }
            let address = entry.sockaddr.ip();
            if !host.addresses.contains(&address) {
                host.addresses.push(address);
            }
        }
        if flag & libc::AI_NUMERICHOST == 0 {
            let table = std::fs::read(HOSTS).unwrap_or_default();
            host.aliases = aliases(&String::from_utf8_lossy(&table), &host);
        }
        Ok::<_, LookupError>(host)
    });
    found.await.map_err(|error| error.on(name))?.map_err(|error| match error.kind() {
        LookupErrorKind::NoName if flag & libc::AI_NUMERICHOST != 0 => {
            Error::usage("no address in digits, and names are not looked up")
                .hinting("write an address such as 192.0.2.1 or 2001:db8::1, or allow names (without -n)")
                .on(name)
        }
        _ => explain(error).on(name),
    })
}

/// Runs a call that blocks, on a thread for such.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(call).await.map_err(|_| Error::lookup("look up", "the look-up was ended"))
}

/// The other names in the lines of hosts(5) that give `host` one of its addresses.
fn aliases(table: &str, host: &Host) -> Vec<String> {
    let mut aliases: Vec<String> = Vec::new();
    let is = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    for line in table.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        let names: Vec<&str> = words.collect();
        if !address.is_some_and(|address| host.addresses.contains(&address))
            || !names.iter().any(|name| is(name, &host.name))
        {
            continue;
        }
        for name in names {
            let known = [&host.name, &host.canonical_name].into_iter().chain(&aliases).any(|known| is(known, name));
            if !known {
                aliases.push(name.to_owned());
            }
        }
    }
    aliases
}

fn explain(error: LookupError) -> Error {
    const OPERATION: &str = "look up";
    match error.kind() {
        LookupErrorKind::NoName => Error::lookup(OPERATION, "no such host")
            .absent()
            .hinting("check the spelling; the names of this machine's own network are in /etc/hosts"),
        LookupErrorKind::NoData => Error::lookup(OPERATION, "the host has no address")
            .absent()
            .hinting("the name is known, but not as a host's; look at its DNS records"),
        LookupErrorKind::Again => Error::lookup(OPERATION, "no answer from a name server for now")
            .hinting("try again; if it stays so, check the network and the servers in /etc/resolv.conf"),
        LookupErrorKind::System => Error::system(OPERATION, error.into()),
        _ => {
            let text = error.to_string();
            Error::lookup(OPERATION, text.rsplit(": ").next().unwrap_or(&text))
        }
    }
}

/// The scope id of a zone: the index of the interface that it names or numbers.
fn scope_id(zone: &str) -> Result<u32> {
    let interfaces = interfaces();
    let named = |(index, name): &&(u32, String)| name == zone || zone.parse() == Ok(*index);
    match interfaces.iter().find(named) {
        Some((index, _)) => Ok(*index),
        None => {
            let names: Vec<&str> = interfaces.iter().map(|(_, name)| name.as_str()).collect();
            Err(Error::usage(format!("there is no network interface {zone:?}"))
                .hinting(format!("the interfaces are: {}", names.join(", "))))
        }
    }
}

/// The network interfaces with their indices, those of other network namespaces left out (if_nameindex(3)).
fn interfaces() -> Vec<(u32, String)> {
    let Ok(interfaces) = if_nameindex() else { return Vec::new() };
    interfaces.iter().map(|each| (each.index(), each.name().to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ErrorKind;

    fn localhost() -> Host {
        Host {
            name: "localhost".into(),
            canonical_name: "localhost".into(),
            aliases: vec!["loghost".into()],
            addresses: vec!["127.0.0.1".parse().expect("an address"), "::1".parse().expect("an address")],
        }
    }

    #[tokio::test]
    async fn finds_this_machine_and_its_name() {
        let host = host("localhost").await.expect("localhost");
        assert!(host.addresses.iter().all(IpAddr::is_loopback), "{host:?}");
        assert!(!host.addresses.is_empty());
        assert!(reverse("127.0.0.1".parse().expect("an address")).await.expect("an answer").is_some());
    }

    #[tokio::test]
    async fn takes_addresses_in_digits() {
        for text in ["192.0.2.1", "2001:db8::1"] {
            let host = numeric_host(text).await.expect(text);
            assert_eq!((host.addresses, host.canonical_name.as_str()), (vec![text.parse().expect(text)], text));
        }
        let error = numeric_host("localhost").await.expect_err("a name");
        assert_eq!(error.to_string(), "localhost: no address in digits, and names are not looked up");
        assert_eq!(error.kind(), ErrorKind::Usage);
    }

    #[tokio::test]
    async fn what_is_no_name_is_a_mistake() {
        for name in ["", "a\0b"] {
            assert_eq!(host(name).await.expect_err(name).kind(), ErrorKind::Usage);
        }
    }

    #[test]
    fn tells_a_missing_host_from_a_missing_server() {
        for (number, text) in [
            (libc::EAI_NONAME, "look up db: no such host"),
            (libc::EAI_NODATA, "look up db: the host has no address"),
            (libc::EAI_AGAIN, "look up db: no answer from a name server for now"),
        ] {
            let error = explain(LookupError::new(number)).on("db");
            assert_eq!((error.to_string().as_str(), error.kind()), (text, ErrorKind::Lookup));
            assert!(error.hint().is_some());
            assert_eq!(error.is_absence(), number != libc::EAI_AGAIN);
        }
        assert_eq!(
            explain(LookupError::new(libc::EAI_FAIL)).to_string(),
            "look up: Non-recoverable failure in name resolution"
        );
    }

    #[test]
    fn reads_zones() {
        let index = nix::net::if_::if_nametoindex("lo").expect("the loopback interface");
        let zoned =
            |scope| Some(SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().expect("an address"), 7, 0, scope)));
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1:7".parse().expect("an address"))),
            ("::1", Some("[::1]:7".parse().expect("an address"))),
            ("fe80::1", zoned(0)),
            ("fe80::1%lo", zoned(index)),
            (&format!("fe80::1%{index}"), zoned(index)),
            ("192.0.2.1%lo", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(literal(text, 7).expect(text), expected, "{text}");
        }
        for text in ["fe80::1%none0", "fe80::1%", "fe80::1%4294967295"] {
            let error = literal(text, 7).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.hint().is_some_and(|hint| hint.contains("lo")), "{error:?}");
        }
    }

    #[test]
    fn finds_aliases_in_the_table() {
        let table = "127.0.0.1\tLocalhost loghost # x\r\n::1 localhost ip6-loopback\n192.0.2.1 localhost other\njunk\n";
        assert_eq!(aliases(table, &Host { aliases: Vec::new(), ..localhost() }), ["loghost", "ip6-loopback"]);
    }

    #[test]
    fn shows_one_address_a_line() {
        assert_eq!(localhost().to_string(), "localhost  127.0.0.1  loghost\nlocalhost  ::1");
        assert_eq!(
            serde_json::to_string(&localhost()).expect("JSON"),
            r#"{"name":"localhost","canonical_name":"localhost","aliases":["loghost"],"addresses":["127.0.0.1","::1"]}"#
        );
    }
}
