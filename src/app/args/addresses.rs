//! The words that name addresses: those of a server, and those of a client or a probe, which may be the tutorial's host and port.

use std::ffi::OsString;

use crate::net::{Endpoint, Error};
use crate::service::Place;

/// The endpoints of a server.
pub(in crate::app) fn server_endpoints(words: &[OsString]) -> Result<Vec<Endpoint>, Error> {
    if let Some((host, port)) = host_and_port(words)? {
        return Err(Error::usage(format!("`{host} {port}` is how a client is told where to connect"))
            .hinting(format!("write {host}:{port} to listen on an address of that host, or {port} to listen on all")));
    }
    endpoints(words)
}

/// The endpoints of a client: the tutorial's two words, or any number of addresses.
pub(in crate::app) fn client_endpoints(words: &[OsString]) -> Result<Vec<Endpoint>, Error> {
    if let [_, _, message @ ..] = words
        && !message.is_empty()
        && let Some((host, port)) = host_and_port(&words[..2])?
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        let message: Vec<_> = message.iter().map(|word| word.to_string_lossy()).collect();
        return Err(Error::usage(format!("`{}` is no address", message.join(" ")))
            .hinting(format!("a message is given with -m, as in {host} {port} -m '{}'", message.join(" "))));
    }
    check_order(words)?;
    match host_and_port(words)? {
        Some((host, port)) => Ok(vec![Endpoint::from_host_and_port(host, port)?]),
        None => endpoints(words),
    }
}

/// What a probe asks about: a host and any number of ports, and addresses.
pub(in crate::app) fn places(words: &[OsString]) -> Result<Vec<Place>, Error> {
    check_order(words)?;
    match words {
        [first, port, ..] if host_and_port(&[first.clone(), port.clone()])?.is_some() => {
            let host = text(first)?;
            let place = |word| {
                let word = text(word)?;
                if is_port(word) { Place::at(host, word) } else { word.parse() }
            };
            words[1..].iter().map(place).collect()
        }
        _ => words.iter().map(|word| text(word)?.parse()).collect(),
    }
}

/// Two words in the wrong order are a port that stands before its host.
fn check_order(words: &[OsString]) -> Result<(), Error> {
    if let [port, host] = words
        && port.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
        && host_and_port(&[host.clone(), port.clone()])?.is_some()
    {
        let (host, port) = (host.to_string_lossy(), port.to_string_lossy());
        return Err(Error::usage(format!("`{host}` is no address by itself"))
            .hinting(format!("the host comes first: {host} {port}")));
    }
    Ok(())
}

fn endpoints(words: &[OsString]) -> Result<Vec<Endpoint>, Error> {
    words.iter().map(|word| text(word)?.parse()).collect()
}

fn host_and_port(words: &[OsString]) -> Result<Option<(&str, &str)>, Error> {
    let [host, port] = words else { return Ok(None) };
    let (host, port) = (text(host)?, text(port)?);
    Ok((is_port(port) && is_host(host)).then_some((host, port)))
}

/// Whether a word is the second of the two: a port or a service, and no address by itself.
fn is_port(word: &str) -> bool {
    !word.split('?').next().unwrap_or_default().contains([':', '/', '@'])
}

/// Whether a word is the host of the two: a name or an IP address, and no address by itself.
fn is_host(word: &str) -> bool {
    let bare = word.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(word);
    let is_ipv6 = bare.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    // Digits and dashes are a port or a range of ports.
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let is_name = !word.contains([':', '/', '@', '?']) && !is_number;
    is_ipv6 || is_name
}

fn text(word: &OsString) -> Result<&str, Error> {
    word.to_str().ok_or_else(|| {
        Error::usage(format!("`{}` is not UTF-8", word.to_string_lossy()))
            .hinting("write bytes that are not as %XX: unix:/tmp/%FF")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_are_a_host_and_a_port() {
        let table: [(&[&str], &[&str]); 9] = [
            (&["cheerios", "51717"], &["tcp:cheerios:51717"]),
            (&["::1", "51717"], &["tcp:[::1]:51717"]),
            (&["[::1]", "ftp"], &["tcp:[::1]:ftp"]),
            (&["fe80::1%eth0", "80"], &["tcp:[fe80::1%eth0]:80"]),
            (&["10.0.0.7", "80?nodelay"], &["tcp:10.0.0.7:80?nodelay"]),
            (&["51717"], &["tcp:51717"]),
            (&["51717", "51718"], &["tcp:51717", "tcp:51718"]),
            (&["a:1", "b:2"], &["tcp:a:1", "tcp:b:2"]),
            (&["unix:/run/x", "b:2", "udp:53"], &["unix:/run/x", "tcp:b:2", "udp:53"]),
        ];
        for (words, endpoints) in table {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            let parsed = client_endpoints(&words).expect("endpoints");
            assert_eq!(parsed.iter().map(ToString::to_string).collect::<Vec<_>>(), endpoints);
        }
    }

    #[test]
    fn a_host_may_have_many_ports() {
        let table: [(&[&str], &[&str]); 6] = [
            (
                &["cheerios", "22", "http", "8000-8010"],
                &["tcp:cheerios:22", "tcp:cheerios:http", "tcp:cheerios:8000-8010"],
            ),
            (&["::1", "1-2"], &["tcp:[::1]:1-2"]),
            (&["10.0.0.7", "22", "b:443", "unix:1-2"], &["tcp:10.0.0.7:22", "tcp:b:443", "unix:1-2"]),
            (&["a:1-2", "b:3"], &["tcp:a:1-2", "tcp:b:3"]),
            (&["22", "80-81"], &["tcp:22", "tcp:80-81"]),
            (&["80-81", "443"], &["tcp:80-81", "tcp:443"]),
        ];
        for (words, shown) in table {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            let parsed = places(&words).expect("places");
            assert_eq!(parsed.iter().map(ToString::to_string).collect::<Vec<_>>(), shown);
        }
    }
}
