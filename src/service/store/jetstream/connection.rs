//! `Connection`: a connection with the servers of NATS that an address names, made anew by itself, and JetStream's questions over it.
//!
//! Apart from what is asked, so that all who connect do it alike, and what goes wrong is said alike: where, why and what to do, without a secret.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, ServerError, rustls,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

use super::JetStreamAddress;
use crate::net::Error;

/// How long connecting to a server may take, each of its addresses, unless said otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a question may take, unless said otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a connection is asked whether it still is one, where nothing is heard.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What the subjects of JetStream's questions begin with.
const API: &str = "$JS.API";

/// How it is connected.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// What it is called where connections are listed, behind `wilco`.
    pub name: String,
    /// How long connecting may take, each address of a server. By default [`CONNECT_TIMEOUT`].
    pub timeout: Duration,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self { name: String::new(), timeout: CONNECT_TIMEOUT }
    }
}

/// What every answer of JetStream's may be.
#[derive(Deserialize)]
struct Outcome {
    error: Option<Refusal>,
}

/// Why not.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: u64,
    err_code: u64,
    description: String,
}

/// A connection; clones are the same one.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    /// What it is called, without secrets.
    place: String,
    /// What a server has refused last: a question that it does not allow it does not answer.
    refused: watch::Receiver<Option<String>>,
}

impl Connection {
    /// Connects to the first of the servers that answers. It is lost only when it is dropped: whenever a server is gone, it is connected to another or the same.
    ///
    /// # Errors
    /// None can be reached, or they refuse; a file that the address names cannot be read.
    pub async fn open(address: &JetStreamAddress, config: &ConnectionConfig) -> Result<Self, Error> {
        check_files(address)?;
        let scheme = if address.tls { "tls" } else { "nats" };
        let url = |server: &String| format!("{scheme}://{server}");
        let mut failed = None;
        for server in &address.servers {
            let (refuse, refused) = watch::channel(None);
            match options(address, config, refuse).await?.connect(url(server)).await {
                Ok(client) => {
                    let others = client.server_pool().await.unwrap_or_default();
                    let others = others.iter().map(|server| server.addr.as_url_str().to_owned());
                    let mut all: Vec<String> = address.servers.iter().map(url).collect();
                    all.extend(others.filter(|other| !address.servers.iter().any(|server| other.ends_with(server))));
                    // Whichever it was connected to first, the others can take its place.
                    let _ = client.set_server_pool(all).await;
                    return Ok(Self { client, place: address.to_string(), refused });
                }
                Err(error) if failed.is_none() || is_refusal(&error) => failed = Some((server, error)),
                Err(_) => {}
            }
        }
        let (server, error) = failed.ok_or_else(|| Error::usage(format!("the store {address}: no server is named")))?;
        let place = if address.servers.len() == 1 { address.to_string() } else { format!("{address} ({server})") };
        Err(described(&error, address, config.timeout).on(place))
    }

    /// The client, for messages.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks JetStream: `subject` is what follows its prefix, such as `STREAM.INFO.ORDERS`.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask<T: for<'a> Deserialize<'a>>(&self, subject: &str, question: &Value) -> Result<T, AskError> {
        let mut refused = self.refused.clone();
        refused.mark_unchanged();
        let payload = if question.is_null() { Vec::new() } else { question.to_string().into_bytes() };
        let request = async_nats::Request::new().payload(payload.into()).timeout(Some(REQUEST_TIMEOUT));
        let asked = self.client.send_request(format!("{API}.{subject}"), request);
        let denied = denial(&mut refused, subject);
        let answer = tokio::select! {
            answer = asked => answer,
            text = denied => return Err(AskError::Denied(text)),
        };
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => AskError::NoJetStream,
            RequestErrorKind::TimedOut => AskError::Silent(REQUEST_TIMEOUT),
            _ => AskError::Lost(cause(&error)),
        })?;
        let odd = |error: serde_json::Error| AskError::Odd(error.to_string());
        let outcome: Outcome = serde_json::from_slice(&answer.payload).map_err(odd)?;
        match outcome.error {
            Some(error) => Err(AskError::Refused { code: error.err_code, status: error.code, text: error.description }),
            None => serde_json::from_slice(&answer.payload).map_err(odd),
        }
    }

    /// Fails unless messages of so many bytes, with what is said of them, are taken.
    ///
    /// # Errors
    /// The server takes less.
    pub fn takes(&self, bytes: usize) -> Result<(), Error> {
        let most = self.client.max_payload();
        if most >= bytes {
            return Ok(());
        }
        let what = format!("the store {self}: the server takes {most} bytes at once, and {bytes} are needed");
        Err(Error::usage(what).hinting("raise max_payload in the server's configuration, or lower --max-message"))
    }
}

impl fmt::Display for Connection {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why JetStream has not answered, or not with what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers such questions.
    #[error("JetStream is not enabled at this server, or not for this account")]
    NoJetStream,
    /// The user may not ask this.
    #[error("the server does not allow it: {0}")]
    Denied(String),
    /// There was no answer; it may have been done all the same.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The question could not be sent; it may have been done all the same.
    #[error("{0}")]
    Lost(String),
    /// It was refused.
    #[error("{text} ({code})")]
    Refused {
        /// JetStream's own number of what is wrong.
        code: u64,
        /// As of HTTP.
        status: u64,
        /// What it says.
        text: String,
    },
    /// The answer is not understood.
    #[error("an answer that is not understood: {0}")]
    Odd(String),
}

impl AskError {
    /// What JetStream calls a stream that is not there.
    pub const NO_STREAM: u64 = 10059;
    /// What it calls a consumer that is not there.
    pub const NO_CONSUMER: u64 = 10014;
    /// What it calls a message that is not there.
    pub const NO_MESSAGE: u64 = 10037;
    /// What it says to who makes a stream that is there, and is another.
    pub const NAME_TAKEN: u64 = 10058;
    /// What it says where it is not enabled: not at all, or not for the account.
    const NOT_ENABLED: [u64; 2] = [10076, 10039];

    /// Whether it is this refusal.
    pub fn is(&self, wanted: u64) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }

    /// Whether it may be answered later, with nothing done about it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Silent(_) | Self::Lost(_) => true,
            Self::Refused { status, code, .. } => *status == 503 && !Self::NOT_ENABLED.contains(code),
            Self::NoJetStream | Self::Denied(_) | Self::Odd(_) => false,
        }
    }

    /// The error for the user, of what was attempted on a store.
    pub fn described(&self, operation: &'static str, store: &impl fmt::Display) -> Error {
        let not_enabled = matches!(self, Self::NoJetStream)
            || matches!(self, Self::Refused { code, .. } if Self::NOT_ENABLED.contains(code));
        match self {
            _ if not_enabled => Error::usage(format!("the store {store}: {}", Self::NoJetStream))
                .hinting("start nats-server with -js, or put jetstream {} into its configuration"),
            Self::Silent(_) => Error::timeout(operation, self.to_string()).on(store),
            Self::Denied(_) => Error::system(operation, io::Error::other(self.to_string()))
                .on(store)
                .hinting("the user needs the permission to publish to that subject, and to subscribe to _INBOX.>"),
            _ => Error::system(operation, io::Error::other(self.to_string())).on(store),
        }
    }
}

/// Waits until a question is refused from now on: what was refused before was another, even if it was the same.
async fn denial(refused: &mut watch::Receiver<Option<String>>, subject: &str) -> String {
    while refused.changed().await.is_ok() {
        // Another's refusal is not ours: the subject is in it.
        if let Some(text) = refused.borrow_and_update().as_ref().filter(|text| text.contains(subject)) {
            return text.clone();
        }
    }
    std::future::pending().await
}

/// What is said to a server, and what becomes of it later.
async fn options(
    address: &JetStreamAddress,
    config: &ConnectionConfig,
    refuse: watch::Sender<Option<String>>,
) -> Result<ConnectOptions, Error> {
    let place = address.to_string();
    let lost = Mutex::new(None);
    let mut options = ConnectOptions::new()
        .name(format!("wilco {}", config.name).trim_end())
        .connection_timeout(config.timeout)
        .ping_interval(PING_INTERVAL)
        .retain_servers_order()
        .require_tls(address.tls)
        .event_callback(move |event| {
            noted(&place, event, &refuse, &lost);
            std::future::ready(())
        });
    options = match &address.user {
        Some((user, Some(password))) => options.user_and_password(user.clone(), password.clone()),
        Some((token, None)) => options.token(token.clone()),
        None => options,
    };
    if let Some(path) = &address.creds {
        let unfit = |error: io::Error| unfit_file(address, "credentials", path, &error);
        options = options.credentials_file(path).await.map_err(unfit)?;
    }
    if let Some(path) = &address.ca {
        options = options.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &address.identity {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// Tells what becomes of a connection.
fn noted(place: &str, event: Event, refuse: &watch::Sender<Option<String>>, lost: &Mutex<Option<Instant>>) {
    let lost = || lost.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Connected => match lost().take() {
            Some(since) => {
                let seconds = since.elapsed().as_secs_f64().round();
                tracing::warn!("{place}: connected again after {seconds} s");
            }
            None => tracing::info!("{place}: connected"),
        },
        Event::Disconnected => {
            lost().get_or_insert_with(Instant::now);
            tracing::warn!("{place}: the connection is lost; it is tried again");
        }
        Event::LameDuckMode => tracing::info!("{place}: the server is about to end"),
        Event::ServerError(ServerError::Other(text)) => {
            tracing::info!("{place}: {text}");
            refuse.send_replace(Some(text));
        }
        Event::ServerError(ServerError::AuthorizationViolation) => {
            tracing::warn!("{place}: the user is refused by now")
        }
        event => tracing::debug!("{place}: {event}"),
    }
}

/// Whether a server has answered, and does not want us: that says more than another that is not there.
fn is_refusal(error: &ConnectError) -> bool {
    matches!(error.kind(), ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication)
}

/// Why it could not be connected.
fn described(error: &ConnectError, address: &JetStreamAddress, timeout: Duration) -> Error {
    let said = |text: String| Error::system("connect", io::Error::other(text));
    match error.kind() {
        ConnectErrorKind::TimedOut => Error::timeout("connect", format!("no answer within {timeout:?}")),
        ConnectErrorKind::Dns => Error::lookup("connect", cause(error)),
        ConnectErrorKind::ServerParse => Error::usage(format!("this is no host: {}", cause(error))),
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let who = match (&address.creds, &address.user) {
                (Some(_), _) => "the credentials are",
                (None, Some((_, Some(_)))) => "the user or the password is",
                (None, Some((_, None))) => "the token is",
                (None, None) => "nobody without a user is let in: it is",
            };
            said(format!("{who} refused")).hinting(
                "set WILCO_NATS_USER and WILCO_NATS_PASSWORD, or WILCO_NATS_TOKEN, or name a file of credentials with ?creds=FILE",
            )
        }
        _ => match source::<rustls::Error>(error) {
            Some(trouble) => of_tls(trouble, address),
            None => match source::<io::Error>(error).filter(|error| error.raw_os_error().is_some()) {
                Some(error) => {
                    Error::system("connect", io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0)))
                }
                None => said(cause(error)),
            },
        },
    }
}

fn of_tls(error: &rustls::Error, address: &JetStreamAddress) -> Error {
    use rustls::{CertificateError, Error as Tls};
    let said = |text: String| Error::system("connect", io::Error::other(format!("TLS: {text}")));
    match error {
        Tls::InvalidMessage(_) => said("the server does not speak it".to_owned()).hinting("write nats:// instead"),
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            let whom = match &address.ca {
                Some(path) => format!("by none of those in {}", path.display()),
                None => "by nobody whom the system trusts".to_owned(),
            };
            said(format!("the server's certificate is issued {whom}")).hinting("name who has issued it with ?ca=FILE")
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => said("the server's certificate is for another name".to_owned())
            .hinting("write the host as its certificate has it"),
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            said("the server's certificate has expired".to_owned())
        }
        Tls::AlertReceived(alert) => {
            said(format!("the server refuses: {alert:?}")).hinting("a certificate is given with ?cert=FILE&key=FILE")
        }
        error => said(error.to_string()),
    }
}

/// Looks at the files before anything is done: a mistake in their names is the user's.
fn check_files(address: &JetStreamAddress) -> Result<(), Error> {
    let (certificate, key) = address.identity.as_ref().map(|(certificate, key)| (certificate, key)).unzip();
    for (what, path, is_secret) in [
        ("credentials", address.creds.as_ref(), true),
        ("certificates", address.ca.as_ref(), false),
        ("certificate", certificate, false),
        ("key", key, true),
    ] {
        let Some(path) = path else { continue };
        let text = std::fs::read(path).map_err(|error| unfit_file(address, what, path, &error))?;
        // Of a file without any, nobody would be trusted, and nothing said.
        if !text.windows(10).any(|bytes| bytes == b"-----BEGIN") {
            return Err(unfit_file(address, what, path, &io::Error::other("there are none in it")));
        }
        let mode = std::fs::metadata(path).map_or(0, |of| of.permissions().mode());
        if is_secret && mode & 0o077 != 0 {
            tracing::warn!("{} is a secret, and others may read it: chmod 600 would change that", path.display());
        }
    }
    Ok(())
}

fn unfit_file(address: &JetStreamAddress, what: &str, path: &Path, error: &io::Error) -> Error {
    Error::usage(format!("the store {address}: the {what} in {}: {}", path.display(), crate::net::plain(error)))
}

/// The innermost reason, which says most.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.downcast_ref::<io::Error>().map_or_else(|| cause.to_string(), crate::net::plain)
}

/// The reason of this kind, if there is one, also inside of an error of the system.
fn source<T: std::error::Error + 'static>(error: &ConnectError) -> Option<&T> {
    let mut next = error.source();
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        let found = cause.downcast_ref::<T>().or_else(|| inner.and_then(|inner| inner.downcast_ref::<T>()));
        if found.is_some() {
            return found;
        }
        next = cause.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_refused_once_is_not_refused_for_ever() {
        let (refuse, refused) = watch::channel(None);
        refuse.send_replace(Some("Permissions Violation for Publish to \"$JS.API.STREAM.INFO.X\"".to_owned()));
        let mut later = refused.clone();
        later.mark_unchanged();
        let refusing = async {
            tokio::task::yield_now().await;
            refuse.send_replace(Some("Permissions Violation for Publish to \"Y\"".to_owned()));
            tokio::task::yield_now().await;
            refuse.send_replace(Some("and now STREAM.INFO.X".to_owned()));
        };
        let (text, ()) = tokio::join!(denial(&mut later, "STREAM.INFO.X"), refusing);
        assert_eq!(text, "and now STREAM.INFO.X");
    }
}
