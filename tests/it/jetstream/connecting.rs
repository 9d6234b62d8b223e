//! Connecting to NATS: who is let in, what TLS demands, and what is said where it fails; and whether a stream is fit to be a store.
//!
//! Apart from what is then read or written: every command connects alike.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use async_nats::jetstream::{self, stream};
use tempfile::TempDir;
use wilco::service::store::jetstream::{Connection, ConnectionConfig, JetStreamAddress, Stream};

use crate::harness::{Finished, Launch, Nats, NatsConfig, expect_error};

/// What must never be shown.
const SECRET: &str = "s3cr/t@";
const CODED: &str = "s3cr%2Ft%40";

fn show(address: &str, variables: &[(&str, &str)]) -> Finished {
    let launch = Launch::wilco(["messages", address]).no_input();
    let launch = variables.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
    let done = launch.start().wait();
    assert!(!done.stderr.contains(SECRET) && !done.stderr.contains(CODED), "a secret is shown: {}", done.stderr);
    done
}

/// Somebody who is let in finds no stream; that is enough.
#[track_caller]
fn expect_let_in(address: &str, variables: &[(&str, &str)]) {
    expect_error(&show(address, variables), 2, &["there is no such stream"]);
}

#[test]
fn nobody_is_there() {
    let mut nats = Nats::start();
    let (address, server) = (nats.address("LOG"), nats.server());
    nats.kill();
    expect_error(&show(&address, &[]), 3, &["connect", &address, "connection refused"]);
    let two = format!("nats://{server},127.0.0.1:1/LOG");
    expect_error(&show(&two, &[]), 3, &["connect", &two, &format!("({server})"), "connection refused"]);
    expect_error(&show("nats://no-such-host.invalid/LOG", &[]), 3, &["no-such-host.invalid"]);
}

#[test]
fn of_several_servers_one_is_enough() {
    let nats = Nats::start();
    expect_let_in(&format!("nats://127.0.0.1:1,{}/LOG", nats.server()), &[]);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = format!("nats://{}/LOG", listener.local_addr().expect("an address"));
    expect_error(&show(&address, &[]), 3, &["connect", &address, "no answer within 5s"]);
}

#[test]
fn a_server_without_jetstream_is_named() {
    let nats = Nats::with(&NatsConfig { jetstream: None, ..NatsConfig::default() });
    let address = nats.address("LOG");
    expect_error(&show(&address, &[]), 2, &[&address, "JetStream is not enabled", "nats-server with -js"]);
}

#[test]
fn users_and_passwords_are_heeded() {
    let more = format!("authorization {{ users: [{{ user: ann, password: {SECRET:?} }}] }}");
    let nats = Nats::with(&NatsConfig { more, ..NatsConfig::default() });
    let (server, address) = (nats.server(), nats.address("LOG"));
    expect_let_in(&format!("nats://ann:{CODED}@{server}/LOG"), &[]);
    expect_let_in(&address, &[("WILCO_NATS_USER", "ann"), ("WILCO_NATS_PASSWORD", SECRET)]);
    expect_let_in(&format!("nats://ann@{server}/LOG"), &[("WILCO_NATS_PASSWORD", SECRET)]);
    // What the address says counts.
    expect_let_in(
        &format!("nats://ann:{CODED}@{server}/LOG"),
        &[("WILCO_NATS_USER", "bob"), ("WILCO_NATS_PASSWORD", "x")],
    );
    expect_error(&show(&address, &[]), 3, &["connect", &address, "nobody without a user", "WILCO_NATS_USER"]);
    let wrong = format!("nats://ann:{CODED}x@{server}/LOG");
    expect_error(&show(&wrong, &[]), 3, &["connect", &address, "the user or the password is refused"]);
    expect_error(&show(&address, &[("WILCO_NATS_TOKEN", SECRET)]), 3, &["the token is refused"]);
    expect_error(&show(&address, &[("WILCO_NATS_PASSWORD", SECRET)]), 2, &["there is a password, and no user"]);
    let unreadable = format!("nats://ann:{CODED}@{server}/no.such/stream");
    expect_error(&show(&unreadable, &[]), 2, &[&server, "the name of the stream"]);
}

#[test]
fn tokens_are_heeded() {
    let more = format!("authorization {{ token: {SECRET:?} }}");
    let nats = Nats::with(&NatsConfig { more, ..NatsConfig::default() });
    expect_let_in(&format!("nats://{CODED}@{}/LOG", nats.server()), &[]);
    expect_let_in(&nats.address("LOG"), &[("WILCO_NATS_TOKEN", SECRET)]);
}

#[test]
fn what_a_user_may_not_do_is_said() {
    let more = "authorization { users: [{ user: ann, password: x, permissions: { publish: \"LOG.>\", subscribe: \"_INBOX.>\" } }] }";
    let nats = Nats::with(&NatsConfig { more: more.to_owned(), ..NatsConfig::default() });
    let address = format!("nats://ann:x@{}/LOG", nats.server());
    expect_error(
        &show(&address, &[]),
        3,
        &["Permissions Violation", "$JS.API.STREAM.INFO.LOG", "permission to publish"],
    );
}

/// Certificates as an operator makes them.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Certificates {
        let certificates = Certificates(tempfile::tempdir().expect("a directory"));
        for authority in ["ca", "other"] {
            certificates.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {authority}.key -out {authority}.pem -days 30 \
                 -subj /CN={authority} -addext basicConstraints=critical,CA:TRUE"
            ));
        }
        for (name, names) in [("server", "IP:127.0.0.1"), ("elsewhere", "DNS:elsewhere"), ("client", "DNS:client")] {
            certificates.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name} \
                 -CA ca.pem -CAkey ca.key -addext subjectAltName={names} -addext basicConstraints=critical,CA:FALSE"
            ));
        }
        certificates
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl").args(arguments.split_whitespace()).current_dir(self.0.path()).output();
        let done = done.expect("run openssl, which these tests need");
        assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn nats(&self, name: &str, more: &str) -> Nats {
        let (certificate, key, ca) =
            (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")), self.path("ca.pem"));
        let more = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, {more} }}");
        Nats::with(&NatsConfig { more, ..NatsConfig::default() })
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn tls_is_verified() {
    let certificates = Certificates::new();
    let nats = certificates.nats("server", "");
    let (ca, other) = (certificates.path("ca.pem"), certificates.path("other.pem"));
    let address = |scheme, ca: &Path| format!("{scheme}://{}/LOG?ca={}", nats.server(), text(ca));
    expect_let_in(&address("tls", &ca), &[]);
    // The server demands it of everybody.
    expect_let_in(&address("nats", &ca), &[]);
    expect_error(
        &show(&address("tls", &other), &[]),
        3,
        &["TLS", "issued by none of those in", text(&other), "?ca=FILE"],
    );
    let system = format!("tls://{}/LOG", nats.server());
    expect_error(&show(&system, &[]), 3, &["connect", &system, "TLS", "?ca=FILE"]);
    let elsewhere = certificates.nats("elsewhere", "");
    let wrong = format!("tls://{}/LOG?ca={}", elsewhere.server(), text(&ca));
    expect_error(&show(&wrong, &[]), 3, &["TLS", "for another name"]);
    let plain = Nats::start();
    let without = format!("tls://{}/LOG?ca={}", plain.server(), text(&ca));
    expect_error(&show(&without, &[]), 3, &["TLS", "does not speak it", "write nats://"]);
}

#[test]
fn a_server_may_want_a_certificate() {
    let certificates = Certificates::new();
    let nats = certificates.nats("server", "verify: true");
    let ca = certificates.path("ca.pem");
    let (certificate, key) = (certificates.path("client.pem"), certificates.path("client.key"));
    let address = format!("tls://{}/LOG?ca={}", nats.server(), text(&ca));
    let with = format!("{address}&cert={}&key={}", text(&certificate), text(&key));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("change permissions");
    expect_let_in(&with, &[]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("change permissions");
    let warned = show(&with, &[]);
    assert!(warned.stderr.contains("client.key is a secret, and others may read it: chmod 600"), "{}", warned.report());
    expect_error(&show(&address, &[]), 3, &["TLS", "refuses", "?cert=FILE&key=FILE"]);
}

#[test]
fn files_that_are_not_there_are_a_mistake() {
    let directory = tempfile::tempdir().expect("a directory");
    let empty = directory.path().join("empty.pem");
    fs::write(&empty, "").expect("write a file");
    for (settings, words) in [
        ("creds=/no/such.creds".to_owned(), ["the credentials in /no/such.creds", "no such file"]),
        ("ca=/no/such.pem".to_owned(), ["the certificates in /no/such.pem", "no such file"]),
        (format!("cert={0}&key={0}", text(&empty)), ["the certificate in", "there are none in it"]),
    ] {
        expect_error(&show(&format!("nats://127.0.0.1:1/LOG?{settings}"), &[]), 2, &words);
    }
    expect_error(&show("nats://127.0.0.1:1/LOG", &[("WILCO_NATS_CREDS", "/no/such.creds")]), 2, &["/no/such.creds"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_made_as_it_has_to_be() {
    let nats = Nats::with(&NatsConfig { more: "max_payload: 65536".to_owned(), ..NatsConfig::default() });
    let address: JetStreamAddress = format!("{}?max-bytes=1M", nats.address("LOG")).parse().expect("an address");
    let connection = Connection::open(&address, &ConnectionConfig::default()).await.expect("connect");
    assert!(connection.takes(64 * 1024).is_ok());
    let error = connection.takes(64 * 1024 + 1).expect_err("more than the server takes");
    assert!(error.to_string().contains("the server takes 65536 bytes at once, and 65537 are needed"), "{error}");
    // The second finds what the first has made.
    for _ in 0..2 {
        let made = Stream::prepare(&connection, &address, 1024).await.expect("a stream");
        assert_eq!((made.config.max_bytes, made.config.discard.as_str()), (1024 * 1024, "new"));
    }
    let three: JetStreamAddress = format!("{}?replicas=3", nats.address("THREE")).parse().expect("an address");
    let error = Stream::prepare(&connection, &three, 1024).await.expect_err("one server");
    assert!(error.to_string().contains("replicas > 1 not supported in non-clustered mode"), "{error}");

    let context = jetstream::new(nats.client().await);
    let config = stream::Config {
        name: "OLD".to_owned(),
        subjects: vec!["OLD.>".to_owned()],
        discard: stream::DiscardPolicy::Old,
        max_messages_per_subject: 5,
        ..stream::Config::default()
    };
    context.create_stream(config).await.expect("make a stream");
    let old: JetStreamAddress = nats.address("OLD").parse().expect("an address");
    let error = Stream::prepare(&connection, &old, 1024).await.expect_err("an unfit stream");
    let said = error.to_string();
    assert!(said.contains("its discard is old, and has to be new; its max_msgs_per_subject is 5"), "{error}");
    assert_eq!(error.hint(), Some("nats stream edit OLD --discard=new --max-msgs-per-subject=-1"));
}
