//! DNS records, asked of the name servers themselves.
//!
//! Apart from [hosts](super::host), which is what the system makes of a name: here no search domain is added and
//! /etc/hosts is not read, so that one sees what the DNS has.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record as Answer, RecordType};
use hickory_resolver::{Resolver, TokioResolver, system_conf};
use serde::Serialize;

use super::{Lines, display_lines};
use crate::net::{Error, Result};

/// How long a look-up takes at most, all servers and repeated questions together.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(5);

/// The types of records that can be asked for.
pub const RECORD_TYPES: [&str; 14] =
    ["A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SSHFP", "TLSA", "TXT"];

/// After this long without an answer a server is asked again, or the next one is.
const RETRY: Duration = Duration::from_millis(1500);

/// How often a question is repeated; [`DNS_TIMEOUT`] ends it in any case.
const REPEATS: usize = 2;

const OPERATION: &str = "ask the DNS for";

/// One record of the DNS (RFC 1035, section 3.2.1).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Record {
    /// The name it belongs to, with the dot of the root at its end.
    pub name: String,
    /// How long it may be kept, in seconds.
    pub ttl: u32,
    /// The type, such as `MX`.
    #[serde(rename = "type")]
    pub record_type: String,
    /// The data as a zone file has it (RFC 1035, section 5.1): `10 mail.example.com.`, `"v=spf1 -all"`.
    pub data: String,
}

impl Lines for Record {
    fn lines(&self) -> Vec<Vec<String>> {
        vec![vec![self.name.clone(), self.ttl.to_string(), self.record_type.clone(), self.data.clone()]]
    }
}

display_lines!(Record);

/// The records of a name, with the `CNAME` records that led to them.
///
/// `record_type` is one of [`RECORD_TYPES`], in any case. Without it a name is asked for `A` and `AAAA`; what one of the
/// two questions found is the answer, even if the other failed. An IP address is asked for `PTR`, under its name in
/// `in-addr.arpa` or `ip6.arpa`. `server` is asked instead of those in /etc/resolv.conf, first over UDP, then over TCP
/// if the answer is cut. The answers for `localhost` and `invalid` are fixed (RFC 6761): no server is asked.
///
/// Takes at most [`DNS_TIMEOUT`]; must be called in a runtime of tokio.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::net::ErrorKind::Usage): an unknown type, or what is no name.
/// [`ErrorKind::Lookup`](crate::net::ErrorKind::Lookup): there is no such name, or it has no record of the type, or the
/// server refuses, or none answers.
pub async fn records(name: &str, record_type: Option<&str>, server: Option<SocketAddr>) -> Result<Vec<Record>> {
    let (question, types) = question(name, record_type)?;
    let config = configuration(server)?;
    let servers: Vec<String> = config.name_servers().iter().map(|server| server.ip.to_string()).collect();
    let resolver = resolver(config)?;
    let ask = |record_type| ask(&resolver, &question, record_type);
    let answers = match types {
        Types::One(one) => ask(one).await,
        Types::Addresses => match tokio::join!(ask(RecordType::A), ask(RecordType::AAAA)) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
            // A failed question says nothing about the name.
            (Err(v4), Err(v6)) if v4.is_no_records_found() => Err(v6),
            (Err(v4), Err(_)) => Err(v4),
        },
    };
    let answers = answers.map_err(|error| explain(error, types, &servers).on(name))?;
    let mut records: Vec<Record> = Vec::with_capacity(answers.len());
    for record in answers.iter().map(Record::from) {
        // Both questions are led by the same CNAME records.
        if !records.iter().any(|known| Record { ttl: record.ttl, ..known.clone() } == record) {
            records.push(record);
        }
    }
    Ok(records)
}

/// A host that offers a service (RFC 2782).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Srv {
    /// The lowest is tried first.
    pub priority: u16,
    /// Of several with one priority: how often it is to be tried first, in relation to the others.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The name of the host, with the dot of the root at its end; that alone says that the service is decidedly not available.
    pub target: String,
}

/// The hosts that offer a service, as its SRV records have them and in no order: `_wilco._tcp.example.com`.
///
/// As [`records`] asks, and for as long.
///
/// # Errors
/// As those of [`records`].
pub async fn services(name: &str) -> Result<Vec<Srv>> {
    let (question, types) = question(name, Some("SRV"))?;
    let config = configuration(None)?;
    let servers: Vec<String> = config.name_servers().iter().map(|server| server.ip.to_string()).collect();
    let answers = match ask(&resolver(config)?, &question, RecordType::SRV).await {
        Ok(answers) => answers,
        // Whether there is something else under that name matters to nobody who looks for a service.
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Vec::new(),
        Err(error) => return Err(explain(error, types, &servers).on(name)),
    };
    // Of CNAME records that lead nowhere, none is left either.
    let found: Vec<Srv> = answers.iter().filter_map(Srv::of).collect();
    match found.is_empty() {
        true => Err(Error::lookup(OPERATION, "there is no SRV record of that name")
            .absent()
            .hinting("check the spelling, or write HOST:PORT, which needs no such record")
            .on(name)),
        false => Ok(found),
    }
}

impl Srv {
    fn of(answer: &Answer) -> Option<Self> {
        let RData::SRV(srv) = &answer.data else { return None };
        Some(Self { priority: srv.priority, weight: srv.weight, port: srv.port, target: srv.target.to_ascii() })
    }
}

#[derive(Clone, Copy)]
enum Types {
    One(RecordType),
    Addresses,
}

/// What to ask for `text`: the name, and the types.
fn question(text: &str, record_type: Option<&str>) -> Result<(Name, Types)> {
    let record_type = record_type.map(parse_type).transpose()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return match record_type {
            None | Some(RecordType::PTR) => Ok((address.into(), Types::One(RecordType::PTR))),
            Some(other) => Err(Error::usage(format!("an address has no {other} records"))
                .hinting("ask for PTR, its name, or give a name instead")
                .on(text)),
        };
    }
    let mut name = Name::from_str_relaxed(text).ok().filter(|_| !text.is_empty()).ok_or_else(|| {
        Error::usage(format!("{text:?} is no name of the DNS")).hinting("write it as in www.example.com")
    })?;
    name.set_fqdn(true);
    Ok((name, record_type.map_or(Types::Addresses, Types::One)))
}

fn parse_type(text: &str) -> Result<RecordType> {
    let upper = text.to_ascii_uppercase();
    let known = RECORD_TYPES.contains(&upper.as_str()).then(|| upper.parse().ok()).flatten();
    known.ok_or_else(|| {
        Error::usage(format!("unknown record type {text:?}"))
            .hinting(format!("the types are: {}", RECORD_TYPES.join(", ")))
    })
}

/// Which servers to ask, without the search domains of the system.
fn configuration(server: Option<SocketAddr>) -> Result<ResolverConfig> {
    let servers = match server {
        Some(address) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = address.port();
                connection
            });
            vec![NameServerConfig::new(address.ip(), true, connections.into())]
        }
        None => {
            let (config, _) = system_conf::read_system_conf().map_err(|error| {
                Error::lookup("read /etc/resolv.conf", error.to_string()).hinting("name a server to ask")
            })?;
            config.into_parts().2
        }
    };
    Ok(ResolverConfig::from_parts(None, Vec::new(), servers))
}

fn resolver(config: ResolverConfig) -> Result<TokioResolver> {
    let mut options = ResolverOpts::default();
    options.timeout = RETRY;
    options.attempts = REPEATS;
    options.use_hosts_file = ResolveHosts::Never;
    Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(|error| Error::lookup(OPERATION, error.to_string()))
}

async fn ask(resolver: &TokioResolver, name: &Name, record_type: RecordType) -> Result<Vec<Answer>, NetError> {
    let lookup = tokio::time::timeout(DNS_TIMEOUT, resolver.lookup(name.clone(), record_type));
    Ok(lookup.await.map_err(|_| NetError::Timeout)??.answers().to_vec())
}

fn explain(error: NetError, types: Types, servers: &[String]) -> Error {
    let types = match types {
        Types::One(one) => one.to_string(),
        Types::Addresses => "A or AAAA".to_owned(),
    };
    match &error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            Error::lookup(OPERATION, "there is no such name").hinting("check the spelling; no search domain is added")
        }
        NetError::Dns(DnsError::NoRecordsFound(_)) => {
            Error::lookup(OPERATION, format!("the name is known, but has no {types} record"))
                .hinting(format!("ask for another type: {}", RECORD_TYPES.join(", ")))
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            Error::lookup(OPERATION, format!("the server answers: {}", code.to_str().to_lowercase()))
                .hinting("try again, or ask another server")
        }
        NetError::Timeout | NetError::NoConnections | NetError::Io(_) | NetError::Busy => {
            let why = match &error {
                NetError::Io(error) => format!(" ({})", crate::net::plain(error)),
                _ => String::new(),
            };
            Error::lookup(OPERATION, format!("no name server answers{why}"))
                .hinting(format!("check the network, or ask another server than {}", servers.join(", ")))
        }
        other => Error::lookup(OPERATION, format!("the answer makes no sense: {other}")).hinting("ask another server"),
    }
}

impl From<&Answer> for Record {
    fn from(answer: &Answer) -> Self {
        let data = match &answer.data {
            RData::TXT(text) => text.txt_data.iter().map(|string| quoted(string)).collect::<Vec<_>>().join(" "),
            RData::CAA(rule) => format!("{} {} {}", rule.flags(), rule.tag, quoted(&rule.value)),
            data => data.to_string(),
        };
        let record_type = answer.record_type().to_string();
        Self { name: answer.name.to_ascii(), ttl: answer.ttl, record_type, data }
    }
}

/// A string of bytes as a zone file has it: in quotes, what is no printable text as `\DDD` (RFC 1035, section 5.1).
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\\' => text.extend(['\\', letter]),
                letter if letter.is_ascii_control() => text += &format!("\\{:03}", u32::from(letter)),
                letter => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            text += &format!("\\{byte:03}");
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;
    use crate::net::ErrorKind;

    const A: u16 = 1;
    const CNAME: u16 = 5;
    const PTR: u16 = 12;
    const MX: u16 = 15;
    const TXT: u16 = 16;
    const AAAA: u16 = 28;
    const SRV: u16 = 33;
    const CAA: u16 = 257;

    /// What the server says to a question: the code of the answer, and its records.
    type Reply = (u8, Vec<(&'static str, u16, Vec<u8>)>);

    fn encoded(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).expect("a short label"));
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        bytes
    }

    fn zone(name: &str, record_type: u16) -> Reply {
        let main = || ("www.example.com", A, vec![192, 0, 2, 1]);
        let alias = || ("alias.example.com", CNAME, encoded("www.example.com"));
        let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].to_vec();
        match (name, record_type) {
            ("www.example.com", A) => (0, vec![main()]),
            ("www.example.com", AAAA) => (0, vec![("www.example.com", AAAA, v6)]),
            ("alias.example.com", A) => (0, vec![alias(), main()]),
            ("alias.example.com", AAAA) => (0, vec![alias(), ("www.example.com", AAAA, v6)]),
            ("v4.example.com", A) => (0, vec![("v4.example.com", A, vec![192, 0, 2, 4])]),
            ("example.com", MX) => (0, vec![("example.com", MX, [vec![0, 10], encoded("mail.example.com")].concat())]),
            ("example.com", TXT) => (0, vec![("example.com", TXT, b"\x03a\"b\x04\x1b\xff\xc3\xa9".to_vec())]),
            ("example.com", CAA) => (0, vec![("example.com", CAA, b"\0\x05issueca.example.net".to_vec())]),
            ("_x._tcp.example.com", SRV) => {
                let data = [vec![0, 1, 0, 2, 0x1f, 0x90], encoded("www.example.com")].concat();
                (0, vec![("_x._tcp.example.com", SRV, data)])
            }
            ("1.2.0.192.in-addr.arpa", PTR) => (0, vec![("1.2.0.192.in-addr.arpa", PTR, encoded("www.example.com"))]),
            ("refused.example.com", _) => (5, Vec::new()),
            ("none.example.com", _) => (3, Vec::new()),
            _ => (0, Vec::new()),
        }
    }

    /// A name server on a free port that answers from [`zone`] until its runtime ends.
    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let addr = socket.local_addr().expect("its address");
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer).await {
                // RFC 1035, section 4.1: a header of 12 bytes, then the question: labels, type and class.
                let mut at = 12;
                let mut labels = Vec::new();
                while buffer[at] != 0 {
                    let end = at + 1 + usize::from(buffer[at]);
                    labels.push(String::from_utf8_lossy(&buffer[at + 1..end]).to_lowercase());
                    at = end;
                }
                let (code, records) = zone(&labels.join("."), u16::from_be_bytes([buffer[at + 1], buffer[at + 2]]));
                let count = u8::try_from(records.len()).expect("few");
                let mut answer = vec![buffer[0], buffer[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
                answer.extend(&buffer[12..at + 5]);
                for (name, record_type, data) in records {
                    answer.extend(encoded(name));
                    answer.extend(record_type.to_be_bytes());
                    answer.extend([0, 1, 0, 0, 1, 44]);
                    answer.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
                    answer.extend(data);
                }
                socket.send_to(&answer, peer).await.expect("sent");
            }
        });
        addr
    }

    #[tokio::test]
    async fn finds_records() {
        let server = server().await;
        for (name, record_type, shown) in [
            (
                "www.example.com",
                None,
                "www.example.com.  300  A     192.0.2.1\nwww.example.com.  300  AAAA  2001:db8::1",
            ),
            ("WWW.example.com.", Some("a"), "www.example.com.  300  A  192.0.2.1"),
            ("v4.example.com", None, "v4.example.com.  300  A  192.0.2.4"),
            (
                "alias.example.com",
                None,
                "alias.example.com.  300  CNAME  www.example.com.\nwww.example.com.    300  A      192.0.2.1\n\
                 www.example.com.    300  AAAA   2001:db8::1",
            ),
            ("example.com", Some("MX"), "example.com.  300  MX  10 mail.example.com."),
            ("example.com", Some("TXT"), "example.com.  300  TXT  \"a\\\"b\" \"\\027\\255\u{e9}\""),
            ("example.com", Some("CAA"), "example.com.  300  CAA  0 issue \"ca.example.net\""),
            ("_x._tcp.example.com", Some("SRV"), "_x._tcp.example.com.  300  SRV  1 2 8080 www.example.com."),
            ("192.0.2.1", None, "1.2.0.192.in-addr.arpa.  300  PTR  www.example.com."),
        ] {
            let records = records(name, record_type, Some(server)).await.expect(name);
            assert_eq!(crate::net::lookup::Aligned(&records).to_string(), shown);
        }
    }

    #[tokio::test]
    async fn tells_failures_apart() {
        let server = server().await;
        for (name, record_type, kind, text) in [
            ("none.example.com", None, ErrorKind::Lookup, "ask the DNS for none.example.com: there is no such name"),
            (
                "www.example.com",
                Some("MX"),
                ErrorKind::Lookup,
                "ask the DNS for www.example.com: the name is known, but has no MX record",
            ),
            (
                "empty.example.com",
                None,
                ErrorKind::Lookup,
                "ask the DNS for empty.example.com: the name is known, but has no A or AAAA record",
            ),
            (
                "refused.example.com",
                Some("A"),
                ErrorKind::Lookup,
                "ask the DNS for refused.example.com: the server answers: query refused",
            ),
            ("www.example.com", Some("B"), ErrorKind::Usage, "unknown record type \"B\""),
            ("192.0.2.1", Some("MX"), ErrorKind::Usage, "192.0.2.1: an address has no MX records"),
            ("", None, ErrorKind::Usage, "\"\" is no name of the DNS"),
            ("a..b", None, ErrorKind::Usage, "\"a..b\" is no name of the DNS"),
        ] {
            let error = records(name, record_type, Some(server)).await.expect_err(name);
            assert_eq!((error.to_string().as_str(), error.kind()), (text, kind));
            assert!(error.hint().is_some(), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up() {
        // Bound and never read, so that nothing refuses the questions either.
        let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let server = silent.local_addr().expect("its address");
        let error = tokio::time::timeout(DNS_TIMEOUT * 2, records("www.example.com", None, Some(server)));
        let error = error.await.expect("in time").expect_err("no answer");
        assert!(error.to_string().starts_with("ask the DNS for www.example.com: no name server answers"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("127.0.0.1")), "{error:?}");
    }

    #[test]
    fn serializes_under_stable_names() {
        let record = Record { name: "a.".into(), ttl: 300, record_type: "A".into(), data: "192.0.2.1".into() };
        assert_eq!(
            serde_json::to_string(&record).expect("JSON"),
            r#"{"name":"a.","ttl":300,"type":"A","data":"192.0.2.1"}"#
        );
    }
}
