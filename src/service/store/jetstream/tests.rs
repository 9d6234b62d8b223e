//! A stream as a store: what every store must do, and what only one can that several share.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::super::contract::{self, Fixture, append, opening, plain, source};
use super::super::{Append, Kept, Opened, Source, Store, StoreError};
use super::draft::{Draft, Heading, refusal};
use super::record::Record;
use super::{Connection, ConnectionConfig, JetStreamAddress, JetStreamStore};
use crate::net::Addr;
use crate::service::Peer;
use crate::wire::assured::{Applied, Code, Run, Verdict, checksum};

const SID: &str = "0123456789abcdef0123456789abcdef";

/// A server of NATS with a stream of its own.
struct Nats {
    process: Child,
    directory: TempDir,
    address: JetStreamAddress,
    /// What the stores and the tests' own questions run in.
    runtime: Option<Runtime>,
    connection: Connection,
    stores: Vec<Arc<JetStreamStore>>,
}

impl Nats {
    fn with(settings: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("nats.conf");
        let store = directory.path().join("store");
        std::fs::write(&file, format!("{settings}\njetstream {{ store_dir: {store:?} }}\n")).expect("write");
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(&file).args(["-a", "127.0.0.1", "-p", "-1"]);
        let mut process =
            command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().expect("nats-server is installed");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let mut port = None;
        for line in lines.by_ref() {
            let line = line.expect("text");
            if let Some((_, at)) = line.split_once("Listening for client connections on ") {
                port = at.rsplit(':').next().and_then(|port| port.trim().parse::<u16>().ok());
            }
            if line.contains("Server is ready") {
                break;
            }
        }
        // It goes on to write there.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.expect("nats-server is ready");
        let address: JetStreamAddress = format!("nats://127.0.0.1:{port}/MESSAGES").parse().expect("an address");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let config = ConnectionConfig::default();
        let connected = apart(&runtime, Connection::open(&address, &config)).expect("connect");
        Self { process, directory, address, runtime: Some(runtime), connection: connected, stores: Vec::new() }
    }

    fn open(&mut self) -> Arc<JetStreamStore> {
        self.open_with(Duration::ZERO)
    }

    fn open_with(&mut self, loss_patience: Duration) -> Arc<JetStreamStore> {
        let config = ConnectionConfig::default();
        let opened = self.run(JetStreamStore::patient(&self.address, &config, 0, loss_patience));
        let store = Arc::new(opened.expect("open"));
        self.stores.push(Arc::clone(&store));
        store
    }

    fn run<T: Send>(&self, what: impl Future<Output = T> + Send) -> T {
        apart(self.runtime.as_ref().expect("a runtime"), what)
    }

    fn ask(&self, subject: &str, question: &Value) -> Value {
        self.run(self.connection.ask(subject, question)).unwrap_or_else(|error| panic!("{subject}: {error}"))
    }

    /// Has it take less at once.
    fn lower(&self, settings: &str, at_once: usize) {
        let file = self.directory.path().join("nats.conf");
        let written = std::fs::read_to_string(&file).expect("read");
        std::fs::write(&file, format!("{settings}\n{written}")).expect("write");
        self.signal(Signal::SIGHUP);
        let takes = |connection: Connection| connection.client().max_payload();
        // It says so to those who come then.
        while self.run(Connection::open(&self.address, &ConnectionConfig::default())).map(takes).expect("connect")
            != at_once
        {
            std::thread::yield_now();
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).expect("a signal");
    }

    fn limit(&self, bytes: i64) {
        let mut config = self.ask("STREAM.INFO.MESSAGES", &Value::Null)["config"].take();
        config["max_bytes"] = bytes.into();
        self.ask("STREAM.UPDATE.MESSAGES", &config);
    }
}

/// Runs something from a thread of its own, since the test's may not wait.
fn apart<T: Send>(runtime: &Runtime, what: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| scope.spawn(|| runtime.block_on(what)).join()).expect("done")
}

impl Drop for Nats {
    fn drop(&mut self) {
        // One that stands still is killed all the same.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Fixture for Nats {
    fn new() -> Self {
        Self::with("")
    }

    fn store(&mut self) -> Arc<dyn Store> {
        self.open()
    }

    fn kept(&self) -> Vec<Kept> {
        let state = self.ask("STREAM.INFO.MESSAGES", &Value::Null)["state"].take();
        let number = |name: &str| state[name].as_u64().expect("a number");
        let mut kept = Vec::new();
        // An empty one has 0 for both.
        for sequence in number("first_seq").max(1)..=number("last_seq") {
            let found = self.ask("STREAM.MSG.GET.MESSAGES", &json!({ "seq": sequence }));
            let raw = serde_json::from_value::<RawMessage>(found["message"].clone()).expect("a message");
            let message = StreamMessage::try_from(raw).expect("a message");
            let record = Record::decode("MESSAGES", &message.subject, &message.headers, &message.payload);
            let record = record.expect("a record");
            let addr = Addr::Inet(record.peer.parse().expect("an address"));
            let peer = Peer { addr, local: None, credentials: None };
            let source = Arc::new(Source { peer, name: record.name.clone() });
            kept.extend(record.messages(&message.payload).map(|(_, number, body)| Kept {
                source: Arc::clone(&source),
                session: record.session.clone(),
                number,
                origin: record.origin(number).map(|(session, there)| (session.clone(), there)),
                body: body.to_vec(),
            }));
        }
        kept
    }

    fn full(&mut self, full: bool) -> bool {
        let used = self.ask("STREAM.INFO.MESSAGES", &Value::Null)["state"]["bytes"].as_i64().expect("a number");
        self.limit(if full { used + 5_000 } else { -1 });
        true
    }

    fn keeps_openings(&self) -> bool {
        false
    }
}

contract::tests!(Nats);

async fn open(store: &JetStreamStore) -> Opened {
    store.open(opening(SID, 1)).await.expect("open")
}

fn through(number: u64) -> Result<Applied, StoreError> {
    Ok(Applied { through: number, ..Applied::default() })
}

fn stored(nats: &Nats) -> Vec<(u64, String)> {
    let text = |body| String::from_utf8(body).expect("text");
    nats.kept().into_iter().map(|kept| (kept.number, text(kept.body))).collect()
}

fn numbered(bodies: &[&str]) -> Vec<(u64, String)> {
    (1..).zip(bodies).map(|(number, body)| (number, (*body).to_owned())).collect()
}

#[tokio::test]
async fn of_two_servers_the_one_that_has_written_goes_on() {
    let mut nats = Nats::new();
    let (a, b) = (nats.open(), nats.open());
    let at_a = open(&a).await;
    assert_eq!(a.append(append(SID, at_a.owner, 1, &["one"])).await, through(1));
    let at_b = open(&b).await;
    assert_eq!((at_b.progress.acknowledged, at_b.progress.checksum), (1, Some(checksum(b"one"))));
    // Of other messages than the other wants to store: what is the same in all JetStream may know for a duplicate.
    assert_eq!(b.append(append(SID, at_b.owner, 2, &["two", "three"])).await, through(3));
    assert_eq!(a.append(append(SID, at_a.owner, 2, &["two"])).await, Err(StoreError::TakenOver));
    assert_eq!(a.append(append(SID, at_a.owner, 2, &["two"])).await, Err(StoreError::TakenOver));
    assert_eq!(b.append(append(SID, at_b.owner, 4, &["four"])).await, through(4));
    assert_eq!(stored(&nats), numbered(&["one", "two", "three", "four"]));
}

#[tokio::test]
async fn of_two_servers_that_begin_a_session_one_does() {
    let mut nats = Nats::new();
    let (a, b) = (nats.open(), nats.open());
    let (at_a, at_b) = (open(&a).await, open(&b).await);
    let by_a = a.append(append(SID, at_a.owner, 1, &["one"]));
    let by_b = b.append(append(SID, at_b.owner, 1, &["one", "two"]));
    match (by_a.await, by_b.await) {
        (Ok(one), Err(StoreError::TakenOver)) => assert_eq!((one.through, stored(&nats)), (1, numbered(&["one"]))),
        (Err(StoreError::TakenOver), Ok(two)) => {
            assert_eq!((two.through, stored(&nats)), (2, numbered(&["one", "two"])));
        }
        answers => panic!("{answers:?}"),
    }
}

#[tokio::test]
async fn a_run_that_is_too_long_for_one_record_becomes_several() {
    let mut nats = Nats::with("max_payload: 65536");
    let store = nats.open();
    assert_eq!(store.longest(), 65536 - super::HEADER_ROOM);
    let owner = open(&store).await.owner;
    let long = "x".repeat(store.longest());
    let bodies: Vec<&str> = vec![&long, "a", &long, &long[1..], "b", "c"];
    assert_eq!(store.append(append(SID, owner, 1, &bodies)).await, through(6));
    let many: Vec<String> = (7..30_000).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(store.append(append(SID, owner, 7, &many)).await, through(29_999));
    assert_eq!(stored(&nats), numbered(&[bodies, many].concat()));
    assert_eq!(store.keep(plain(&[&long, &long, "end"])).await, Ok(()));
    assert_eq!(nats.kept().iter().filter(|kept| kept.session.is_none()).count(), 3);
}

#[tokio::test]
async fn what_was_refused_waits_until_the_client_notes_it_where_it_is_too_much() {
    let mut nats = Nats::new();
    let store = nats.open();
    let owner = open(&store).await.owner;
    let mut run = Run::new(1);
    (0..1000).for_each(|_| run.push_refused(Code::REJECTED, "x".repeat(100)));
    let append = |run| Append { session: SID.parse().expect("a session"), owner, source: source(None), run };
    let applied = store.append(append(run.clone())).await.expect("an answer");
    let done = applied.through;
    assert!((10..1000).contains(&done) && applied.put_off.is_some() && applied.verdicts.len() as u64 == done);
    store.note(&SID.parse().expect("a session"), owner, done);
    let mut rest = Run::new(done + 1);
    (0..5).for_each(|_| rest.push_refused(Code::REJECTED, "x".repeat(100)));
    let applied = store.append(append(rest)).await.expect("an answer");
    assert_eq!((applied.through, applied.verdicts.len()), (done + 5, 5));
    assert_eq!(open(&nats.open()).await.progress.verdicts.len(), 5, "what was noted is not in the next record");
}

#[tokio::test]
async fn what_the_stream_has_lost_ends_the_session() {
    let mut nats = Nats::new();
    let store = nats.open();
    let owner = open(&store).await.owner;
    assert_eq!(store.append(append(SID, owner, 1, &["one", "two"])).await, through(2));
    nats.ask("STREAM.PURGE.MESSAGES", &json!({}));
    assert_eq!(store.append(append(SID, owner, 3, &["three"])).await, Err(StoreError::TakenOver));
    let opened = open(&store).await;
    assert_eq!((opened.progress.known, opened.progress.acknowledged), (false, 0), "which the client is told then");
    assert_eq!(nats.kept(), []);
}

/// A leader that is cut off answers as if it were one; the next knows better.
#[tokio::test]
async fn what_the_stream_seems_to_have_lost_is_not_believed_at_once() {
    let mut nats = Nats::new();
    let store = nats.open_with(Duration::from_secs(3600));
    let owner = open(&store).await.owner;
    assert_eq!(store.append(append(SID, owner, 1, &["one"])).await, through(1));
    nats.ask("STREAM.PURGE.MESSAGES", &json!({}));
    let applied = store.append(append(SID, owner, 2, &["two"])).await.expect("an answer");
    let put_off = applied.put_off.expect("it is put off");
    assert!(applied.through == 1 && put_off.reason.contains("less than was acknowledged"), "{put_off:?}");
    assert!(matches!(store.open(opening(SID, 2)).await, Err(StoreError::Busy(_))));
    // Of what the client alone knows, too.
    let other = nats.open_with(Duration::from_secs(3600));
    assert!(matches!(other.open(opening(SID, 2)).await, Err(StoreError::Busy(_))));
    assert!(other.open(opening(SID, 1)).await.is_ok());
}

/// NATS may be set to take less while servers run.
#[tokio::test]
async fn what_nats_takes_no_more_is_refused() {
    let mut nats = Nats::new();
    let store = nats.open();
    let owner = open(&store).await.owner;
    nats.lower("max_payload: 65536", 65536);
    let (long, short) = ("x".repeat(100_000), "y".repeat(20_000));
    let bodies: [&str; 3] = [&long, &short, &short];
    let applied = loop {
        // The first breaks the connection, by which its client learns of it.
        let applied = store.append(append(SID, owner, 1, &bodies)).await.expect("an answer");
        if applied.put_off.is_none() {
            break applied;
        }
        assert_eq!(applied.through, 0);
    };
    let verdicts = vec![(1, Verdict::Refused(Code::TOO_LARGE, "too long for the stream".to_owned()))];
    assert_eq!(applied, Applied { through: 3, verdicts, put_off: None });
}

#[tokio::test]
async fn a_stream_that_is_deleted_ends_the_server() {
    let mut nats = Nats::new();
    let store = nats.open();
    let owner = open(&store).await.owner;
    nats.ask("STREAM.DELETE.MESSAGES", &Value::Null);
    let applied = store.append(append(SID, owner, 1, &["one"])).await;
    assert!(matches!(&applied, Err(StoreError::Failed(why)) if why.contains("deleted")), "{applied:?}");
    let reason = tokio::time::timeout(Duration::from_secs(10), store.failed()).await.expect("it has failed");
    assert!(reason.contains("MESSAGES: the stream was deleted"), "{reason}");
    assert!(matches!(store.keep(plain(&["one"])).await, Err(StoreError::Failed(_))));
}

/// Such as one that NATS was too slow to confirm: a part of what the owner sends again is in it, and only the rest is stored.
#[tokio::test]
async fn a_record_of_this_server_that_comes_late_is_found() {
    let mut nats = Nats::new();
    let store = nats.open();
    let owner = open(&store).await.owner;
    assert_eq!(store.append(append(SID, owner, 1, &["one"])).await, through(1));
    let first = nats.ask("STREAM.MSG.GET.MESSAGES", &json!({ "seq": 1 }));
    let raw = serde_json::from_value::<RawMessage>(first["message"].clone()).expect("a message");
    let by = StreamMessage::try_from(raw).expect("a message").headers.get("Wilco-By").expect("a server").to_string();
    let source = source(None);
    let mut draft = Draft::new(2, 1000, 0);
    assert!(draft.push(Some(b"two"), None) && draft.push(None, None) && draft.push(Some(b"four"), None));
    let mut refused = String::new();
    refusal(&mut refused, 3, Code::REJECTED, "no");
    let heading = Heading { by: &by, source: &source, principal: None, refused: &refused };
    let (headers, payload) = draft.of_session(&SID.parse().expect("a session"), 1, heading);
    nats.run(async {
        let sent = nats.connection.client().request_with_headers(format!("MESSAGES.{SID}"), headers, payload).await;
        assert!(sent.expect("an answer").payload.ends_with(b"\"seq\":2}"));
    });
    // What is beyond what was asked for is there, and is not said before it is asked for.
    assert_eq!(store.append(append(SID, owner, 2, &["two"])).await, through(2));
    let applied = store.append(append(SID, owner, 3, &["three", "four", "five"])).await.expect("an answer");
    let verdicts = vec![(3, Verdict::Refused(Code::REJECTED, "no".to_owned()))];
    assert_eq!(applied, Applied { through: 5, verdicts, put_off: None });
    assert_eq!(store.append(append(SID, owner, 6, &["six"])).await, through(6));
    let expected = [(1, "one"), (2, "two"), (4, "four"), (5, "five"), (6, "six")];
    assert_eq!(stored(&nats), expected.map(|(number, body)| (number, body.to_owned())));
}

/// Until it is answered again, whoever knows another server is sent there; nothing is stored twice.
#[tokio::test]
async fn a_server_that_nats_does_not_answer_says_so() {
    let mut nats = Nats::new();
    let store = nats.open();
    let owner = open(&store).await.owner;
    nats.signal(Signal::SIGSTOP);
    let (applied, kept) =
        tokio::join!(store.append(append(SID, owner, 1, &["one", "two"])), store.keep(plain(&["plain"])));
    assert!(matches!(&applied, Err(StoreError::Unreachable(why)) if why.contains("has not answered")), "{applied:?}");
    assert!(matches!(kept, Err(StoreError::Busy(_))));
    nats.signal(Signal::SIGCONT);
    let opened = open(&store).await;
    assert_eq!(opened.progress.acknowledged, 2, "it was stored all the same");
    assert_eq!(store.append(append(SID, opened.owner, 3, &["three"])).await, through(3));
    let of_session = nats.kept().into_iter().filter(|kept| kept.session.is_some());
    assert!(of_session.map(|kept| kept.number).eq(1..=3));
}

#[tokio::test]
async fn what_somebody_else_has_published_there_is_not_taken_for_ours() {
    let mut nats = Nats::new();
    let store = nats.open();
    let owner = open(&store).await.owner;
    nats.run(async {
        let client = nats.connection.client();
        client.request(format!("MESSAGES.{SID}"), "hello".into()).await.expect("published");
    });
    let applied = store.append(append(SID, owner, 1, &["one"])).await.expect("an answer");
    let put_off = applied.put_off.expect("it is put off");
    assert!(applied.through == 0 && put_off.reason.contains("was not stored by a server"), "{put_off:?}");
    assert!(matches!(store.open(opening(SID, 1)).await, Err(StoreError::Busy(_))));
}

/// Three servers of NATS that keep one stream; addresses of the loopback network that no other process takes.
fn cluster() -> Vec<Nats> {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let listen = |number: u16| format!("127.{}.{middle}.{low}:{}", 64 + high % 64, 6222 + number);
    let routes: Vec<_> = (0..3).map(|number| format!("nats://{}", listen(number))).collect();
    let settings = |number| {
        format!(
            "server_name: n{number}\ncluster {{ name: c, listen: {:?}, routes: [{}] }}",
            listen(number),
            routes.iter().map(|route| format!("{route:?}")).collect::<Vec<_>>().join(", ")
        )
    };
    (0..3).map(|number| Nats::with(&settings(number))).collect()
}

/// A cluster compares what a record follows before it has agreed on it, and both may get that far.
#[tokio::test]
async fn of_two_that_follow_the_same_a_cluster_keeps_one() {
    let mut servers = cluster();
    servers.iter_mut().for_each(|nats| nats.address.replicas = Some(3));
    // It takes its time to agree on who leads.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = servers[0].run(JetStreamStore::open(&servers[0].address, &ConnectionConfig::default(), 0)) {
        assert!(std::time::Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let info = servers[0].ask("STREAM.INFO.MESSAGES", &Value::Null);
    let leader = info["cluster"]["leader"].as_str().and_then(|name| name[1..].parse::<usize>().ok()).expect("a leader");
    let mut leader = servers.remove(leader);
    let (a, b) = (leader.open(), leader.open());
    let at_a = open(&a).await;
    assert_eq!(a.append(append(SID, at_a.owner, 1, &["one"])).await, through(1));
    let at_b = open(&b).await;
    servers.iter().for_each(|follower| follower.signal(Signal::SIGSTOP));
    let go_on = async {
        // Both are at the leader by then; if one is not, there is only less to see.
        tokio::time::sleep(Duration::from_secs(1)).await;
        servers.iter().for_each(|follower| follower.signal(Signal::SIGCONT));
    };
    let by_a = a.append(append(SID, at_a.owner, 2, &["two"]));
    let by_b = b.append(append(SID, at_b.owner, 2, &["two", "three"]));
    let (by_a, by_b, ()) = tokio::join!(by_a, by_b, go_on);
    let expected = match (&by_a, &by_b) {
        (Ok(_), Err(StoreError::TakenOver)) => numbered(&["one", "two"]),
        (Err(StoreError::TakenOver), Ok(_)) => numbered(&["one", "two", "three"]),
        answers => panic!("{answers:?}"),
    };
    assert_eq!(stored(&leader), expected);
}
