//! The words that name addresses: those of a server, and those of a client, which may be the tutorial's host and port.

use std::ffi::OsString;

use crate::net::{Endpoint, Error};

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
    if let [port, host] = words
        && port.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
        && host_and_port(&[host.clone(), port.clone()])?.is_some()
    {
        let (host, port) = (host.to_string_lossy(), port.to_string_lossy());
        return Err(Error::usage(format!("`{host}` is no address by itself"))
            .hinting(format!("the host comes first: {host} {port}")));
    }
    match host_and_port(words)? {
        Some((host, port)) => Ok(vec![Endpoint::from_host_and_port(host, port)?]),
        None => endpoints(words),
    }
}

fn endpoints(words: &[OsString]) -> Result<Vec<Endpoint>, Error> {
    words.iter().map(|word| text(word)?.parse()).collect()
}

fn host_and_port(words: &[OsString]) -> Result<Option<(&str, &str)>, Error> {
    let [host, port] = words else { return Ok(None) };
    let (host, port) = (text(host)?, text(port)?);
    let is_port = !port.split('?').next().unwrap_or_default().contains([':', '/', '@']);
    Ok((is_port && is_host(host)).then_some((host, port)))
}

/// Whether a word is the host of the two: a name or an IP address, and no address by itself.
fn is_host(word: &str) -> bool {
    let bare = word.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(word);
    let is_ipv6 = bare.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name =
        !word.contains([':', '/', '@', '?']) && word != "-" && word.bytes().any(|byte| !byte.is_ascii_digit());
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
}
