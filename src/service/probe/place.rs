//! `Place`: what is probed: one address, or a range of ports at one host.
//!
//! Apart from [`Endpoint`], which is one address only: nobody connects to a range, or listens on one.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::net::{Endpoint, Error, Port, Result, Target};

/// The largest port of the Internet domain.
const MAX_PORT: u16 = u16::MAX;

/// Something that may be there: an address, or the ports of a range at one host.
///
/// It is written as an address is, with `FIRST-LAST` for the port of a range: `cheerios:8000-8010`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The address; of a range that of its first port.
    endpoint: Endpoint,
    range: Option<RangeInclusive<u16>>,
}

impl Place {
    /// A place of the two words `cheerios 8000-8010`: TCP, a host, and a port, a service or a range of ports.
    ///
    /// # Errors
    /// As for parsing one.
    pub fn at(host: &str, port: &str) -> Result<Self> {
        let (ports, options) = port.split_at(port.find('?').unwrap_or(port.len()));
        match range(ports)? {
            None => Endpoint::from_host_and_port(host, port)?.try_into(),
            Some(range) => Ok(Self::of_range(Endpoint::from_host_and_port(host, &format!("1{options}"))?, range)),
        }
    }

    /// The address; of a range that of its first port.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it is a range of ports, be it of one.
    pub fn is_range(&self) -> bool {
        self.range.is_some()
    }

    /// How many addresses it has: one, or as many as the range has ports.
    pub fn size(&self) -> usize {
        self.range.as_ref().map_or(1, |range| usize::from(range.end() - range.start()) + 1)
    }

    /// Its addresses one by one, the first being 0.
    pub(super) fn nth(&self, number: usize) -> Endpoint {
        let mut endpoint = self.endpoint.clone();
        if let (Target::Inet { port, .. }, Some(range)) = (&mut endpoint.target, &self.range) {
            let number = u16::try_from(number).unwrap_or(MAX_PORT);
            *port = Port::Number(range.start().saturating_add(number));
        }
        endpoint
    }

    /// One address that is known to be of those that can be probed.
    pub(super) fn of_one(endpoint: Endpoint) -> Self {
        Self { endpoint, range: None }
    }

    /// A range at the host of an endpoint, whatever its port.
    fn of_range(endpoint: Endpoint, range: RangeInclusive<u16>) -> Self {
        let place = Self { endpoint, range: Some(range) };
        Self { endpoint: place.nth(0), ..place }
    }
}

impl TryFrom<Endpoint> for Place {
    type Error = Error;

    fn try_from(endpoint: Endpoint) -> Result<Self> {
        match &endpoint.target {
            Target::Inet { .. } | Target::Srv { .. } | Target::Unix { .. } | Target::Vsock { .. } => {
                Ok(Self::of_one(endpoint))
            }
            Target::Fd(_) | Target::Systemd(_) | Target::Stdio | Target::Exec(_) | Target::File(_) => {
                Err(Error::usage(format!("`{}` is no address where something may be or not", endpoint.name()))
                    .hinting("there are tcp:, unix:, unix-seqpacket:, unix-dgram:, vsock: and udp:"))
            }
        }
    }
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (body, options) = text.split_at(text.find('?').unwrap_or(text.len()));
        let body = body.strip_suffix('/').unwrap_or(body);
        let (before, ports) = body.split_at(body.rfind(':').map_or(0, |colon| colon + 1));
        // With a port instead of the range it shows whether this is an address that has ports: `unix:1-2` is a path.
        let endpoint = format!("{before}1{options}").parse::<Endpoint>();
        match endpoint {
            Ok(endpoint) if matches!(endpoint.target, Target::Inet { .. }) => match range(ports)? {
                Some(range) => Ok(Self::of_range(endpoint, range)),
                None => text.parse::<Endpoint>()?.try_into(),
            },
            _ => text.parse::<Endpoint>()?.try_into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut target = self.endpoint.target.clone();
        if let (Target::Inet { port, .. }, Some(range)) = (&mut target, &self.range) {
            *port = Port::Service(format!("{}-{}", range.start(), range.end()));
        }
        write!(f, "{target}")
    }
}

/// Reads `FIRST-LAST`; `None` for what is no range, such as a port or a service.
fn range(text: &str) -> Result<Option<RangeInclusive<u16>>> {
    let written = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b"-,".contains(&b))
    };
    if !written(text) || !text.contains(['-', ',']) {
        return Ok(None);
    }
    let wrong = |what: &str, instead: &str| Err(Error::usage(format!("`{text}` {what}")).hinting(instead));
    let numbers: Vec<Option<u32>> = text.split('-').map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [Some(first), Some(last)] => match (u16::try_from(first), u16::try_from(last)) {
            (Ok(0), _) => wrong("begins with port 0, which nothing can be at", &format!("write 1-{last}")),
            (Ok(first), Ok(last)) if first <= last => Ok(Some(first..=last)),
            (Ok(first), Ok(last)) => wrong("is a range that runs backwards", &format!("write {last}-{first}")),
            _ => wrong("has a port above 65535, the last there is", "write FIRST-LAST, such as 8000-8010"),
        },
        _ => wrong(
            "is no port and no range of ports",
            "write ports one by one and a range as FIRST-LAST: 22 80 8000-8010",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_a_range_of_ports() {
        for (text, shown, size) in [
            ("cheerios:8000-8010", "tcp:cheerios:8000-8010", 11),
            ("22-22", "tcp:22-22", 1),
            ("1-65535", "tcp:1-65535", 65_535),
            ("tcp://[::1]:1-2/?nodelay", "tcp:[::1]:1-2", 2),
            ("udp6:cheerios:5-6", "udp6:cheerios:5-6", 2),
            ("cheerios:22", "tcp:cheerios:22", 1),
            ("cheerios:ftp-data", "tcp:cheerios:ftp-data", 1),
            ("unix:1-2", "unix:1-2", 1),
            ("unix:/run/a:9-8", "unix:/run/a:9-8", 1),
            ("unix-seqpacket:@8-9", "unix-seqpacket:@8-9", 1),
            ("vsock:1:9", "vsock:1:9", 1),
        ] {
            let place: Place = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((place.to_string().as_str(), place.size()), (shown, size), "{text}");
        }
        let place = Place::at("cheerios", "8000-8010?nodelay").expect("a place");
        assert_eq!(place.nth(10).to_string(), "tcp:cheerios:8010?nodelay");
        assert_eq!(place.endpoint(), &place.nth(0));
        assert_eq!("a:5-6".parse::<Place>().expect("a place").endpoint().to_string(), "tcp:a:5");
    }

    #[test]
    fn a_mistake_says_what_to_write() {
        for (text, hint) in [
            ("cheerios:90-80", "write 80-90"),
            ("0-80", "write 1-80"),
            ("1-65536", "FIRST-LAST"),
            ("1-99999999999", "FIRST-LAST"),
            ("80-", "FIRST-LAST"),
            ("22,80", "one by one"),
            ("1-2-3", "FIRST-LAST"),
            ("70000", "65535"),
            ("exec:true", "tcp:"),
            ("fd:3", "tcp:"),
            ("-", "tcp:"),
        ] {
            let error = text.parse::<Place>().expect_err(text);
            assert!(error.hint().is_some_and(|given| given.contains(hint)), "{text}: {error:?}");
        }
    }
}
