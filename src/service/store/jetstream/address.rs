//! `JetStreamAddress`: how a user names a stream of NATS JetStream: `nats://HOST:PORT/STREAM`.
//!
//! Apart from connecting, so that a mistake is found before anything is done.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::text;
use crate::net::Error;
use crate::net::options::parse_size;
use crate::wire::is_harmless;

/// The port of NATS, unless said otherwise.
pub const PORT: u16 = 4222;

/// How it is written, for those who have written it otherwise.
const FORM: &str = "write nats://HOST:PORT/STREAM";

/// What may follow, each once.
const SETTINGS: &str = "creds, ca, cert, key, replicas, max-bytes";

/// Where a stream is and how its servers are spoken to.
///
/// `nats://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/STREAM[?SETTING=VALUE&...]`; with `tls://` the servers have to speak TLS. In users, passwords and values
/// `%40` stands for `@`, and so on.
#[derive(Clone, Eq, PartialEq)]
pub struct JetStreamAddress {
    /// `HOST:PORT` of each server that is named; the others of a cluster are learned from it.
    pub servers: Vec<String>,
    /// Whether only TLS will do.
    pub tls: bool,
    /// The name of the stream, and what its subjects begin with.
    pub stream: String,
    /// Who it connects as. A user without a password is a token.
    pub user: Option<(String, Option<String>)>,
    /// A file with the credentials of a user (`.creds`).
    pub creds: Option<PathBuf>,
    /// A file with the certificates of those that are trusted, instead of those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Files with the certificate of this client and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// On how many servers a stream is kept that is made. By default one.
    pub replicas: Option<usize>,
    /// How many bytes a stream may have that is made. By default as many as the server has room for.
    pub max_bytes: Option<i64>,
}

impl FromStr for JetStreamAddress {
    type Err = Error;

    fn from_str(whole: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::usage(format!("the store {}: {what}", without_secrets(whole))).hinting(FORM);
        let (scheme, rest) = whole.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(wrong("a store is a file, or a stream of NATS")),
        };
        let (place, settings) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, stream) = place.split_once('/').unwrap_or((place, ""));
        let fits = |stream: &str| {
            !stream.is_empty() && stream.chars().all(|c| is_harmless(c) && !c.is_whitespace() && !".*>/\\".contains(c))
        };
        if !fits(stream) {
            return Err(wrong(
                "the name of the stream is missing, or has a character that none may have (. * > / \\ or blanks)",
            ));
        }
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let plain = |text: &str| text::decoded(text).ok_or_else(|| wrong("two hexadecimal digits follow a %"));
        let user = match user.map(|user| user.split_once(':').ok_or(user)) {
            Some(Ok((user, password))) => Some((plain(user)?, Some(plain(password)?))),
            Some(Err(token)) => Some((plain(token)?, None)),
            None => None,
        };
        let servers = hosts.split(',').map(server).collect::<Option<Vec<_>>>();
        let servers = servers.ok_or_else(|| wrong("a server is named by HOST:PORT"))?;
        let mut address = Self {
            servers,
            tls,
            stream: stream.to_owned(),
            user,
            creds: None,
            ca: None,
            identity: None,
            replicas: None,
            max_bytes: None,
        };
        let (mut certificate, mut key) = (None, None);
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            let (name, value) = setting.split_once('=').ok_or_else(|| wrong("a setting is NAME=VALUE"))?;
            let path = Some(PathBuf::from(plain(value)?));
            match name {
                "creds" => address.creds = path,
                "ca" => address.ca = path,
                "cert" => certificate = path,
                "key" => key = path,
                "replicas" => {
                    let replicas = value.parse().ok().filter(|count| (1..=5).contains(count));
                    address.replicas = Some(replicas.ok_or_else(|| wrong("there are 1 to 5 replicas"))?);
                }
                "max-bytes" => {
                    let size = parse_size(value).ok().and_then(|size| i64::try_from(size).ok());
                    address.max_bytes = Some(size.ok_or_else(|| wrong("max-bytes is a size, such as 10G"))?);
                }
                _ => return Err(wrong(&format!("there is no setting {name:?}; there are {SETTINGS}"))),
            }
        }
        address.identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(wrong("cert and key go together")),
        };
        Ok(address)
    }
}

/// `HOST:PORT` of what may be without a port.
fn server(text: &str) -> Option<String> {
    let bare =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty() && (!host.contains(':') || host.ends_with(']')));
    match bare {
        Some((_, port)) => port.parse::<u16>().ok().map(|_| text.to_owned()),
        None if text.is_empty() || (text.contains(':') && !text.ends_with(']')) => None,
        None => Some(format!("{text}:{PORT}")),
    }
}

/// The address as it may be shown.
fn without_secrets(text: &str) -> String {
    let shown: String = text.chars().filter(|letter| is_harmless(*letter)).collect();
    let Some((scheme, rest)) = shown.split_once("://") else { return shown };
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}://...@{rest}"),
        None => shown,
    }
}

impl fmt::Display for JetStreamAddress {
    /// Without secrets, and without settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        write!(f, "{scheme}://{}/{}", self.servers.join(","), self.stream)
    }
}

impl fmt::Debug for JetStreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<JetStreamAddress, String> {
        text.parse().map_err(|error: Error| error.to_string())
    }

    #[test]
    fn what_is_written_is_what_is_meant() {
        let lone = address("nats://cheerios/ORDERS").expect("an address");
        assert_eq!(
            (lone.servers.as_slice(), lone.stream.as_str(), lone.tls),
            (&["cheerios:4222".to_owned()][..], "ORDERS", false)
        );
        let all =
            "tls://ann:s3:cret@a:1,b,[::1]:3,[::2]/X?creds=/c&ca=ca.pem&cert=c.pem&key=k.pem&replicas=3&max-bytes=2K";
        let all = address(all).expect("an address");
        assert_eq!(all.servers, ["a:1", "b:4222", "[::1]:3", "[::2]:4222"]);
        assert_eq!(all.user, Some(("ann".to_owned(), Some("s3:cret".to_owned()))));
        assert_eq!((all.creds, all.ca), (Some("/c".into()), Some("ca.pem".into())));
        assert_eq!(all.identity, Some(("c.pem".into(), "k.pem".into())));
        assert_eq!((all.replicas, all.max_bytes, all.tls), (Some(3), Some(2048), true));
        let coded = address("nats://a%3Ann:p%2f%3f%40%25@h/X?creds=/a%20b").expect("an address");
        assert_eq!(coded.user, Some(("a:nn".to_owned(), Some("p/?@%".to_owned()))));
        assert_eq!(coded.creds, Some("/a b".into()));
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = address("nats://ann:secret@cheerios/X").expect("an address").to_string();
        assert_eq!(shown, "nats://cheerios:4222/X");
        let error = address("nats://ann:secret@cheerios").expect_err("no stream");
        assert!(!error.contains("secret") && error.contains("cheerios"), "{error}");
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, what) in [
            ("http://cheerios/X", "a store is a file, or a stream of NATS"),
            ("nats://cheerios", "the name of the stream is missing"),
            ("nats://cheerios/a.b", "has a character that none may have"),
            ("nats://cheerios:http/X", "a server is named by HOST:PORT"),
            ("nats://::1/X", "a server is named by HOST:PORT"),
            ("nats:///X", "a server is named by HOST:PORT"),
            ("nats://cheerios/X?replicas=0", "1 to 5 replicas"),
            ("nats://cheerios/X?max-bytes=lots", "max-bytes is a size"),
            ("nats://cheerios/X?cert=c.pem", "cert and key go together"),
            ("nats://ann:%4@cheerios/X", "two hexadecimal digits follow a %"),
            ("nats://ann:%+1@cheerios/X", "two hexadecimal digits follow a %"),
            ("nats://cheerios/X?colour=red", "there is no setting \"colour\""),
        ] {
            let error = address(text).expect_err(text);
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
