//! A server of the library over a store that the test makes: one that is slow, and one that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, oneshot};
use wilco::service::BoxFuture;
use wilco::service::store::{Append, MemoryStore, Opened, Opening, Owner, Plain, Store, StoreError};
use wilco::wire::assured::{Applied, SessionId};
use wilco::{Server, ServerConfig};

/// A store that does nothing before it is let.
struct Slow {
    store: MemoryStore,
    places: Semaphore,
    /// How many runs it has in hand, at the most.
    in_hand: AtomicU64,
    most: AtomicU64,
    came: Notify,
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            store: MemoryStore::as_if_lasting(),
            places: Semaphore::new(0),
            in_hand: AtomicU64::new(0),
            most: AtomicU64::new(0),
            came: Notify::new(),
        })
    }
}

impl Store for Slow {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Opened, StoreError>> {
        self.store.open(opening)
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Result<Applied, StoreError>> {
        let now = self.in_hand.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.came.notify_one();
        Box::pin(async move {
            self.places.acquire().await.expect("it stays open").forget();
            self.in_hand.fetch_sub(1, Ordering::SeqCst);
            self.store.append(append).await
        })
    }

    fn note(&self, session: &SessionId, owner: Owner, through: u64) {
        self.store.note(session, owner, through);
    }

    fn keep(&self, plain: Plain) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.keep(plain)
    }

    fn failed(&self) -> BoxFuture<'_, String> {
        self.store.failed()
    }
}

async fn serve(
    store: Arc<dyn Store>,
) -> (String, oneshot::Sender<()>, tokio::task::JoinHandle<std::io::Result<wilco::service::Served>>) {
    let listener = wilco::listen("tcp4:127.0.0.1:0").await.expect("listen");
    let port = listener.names()[0].rsplit(':').next().expect("a port").to_owned();
    let (stop, stopped) = oneshot::channel();
    let server = Server::storing(store, ServerConfig::default());
    let serving = tokio::spawn(server.serve(vec![listener], async { _ = stopped.await }));
    (port, stop, serving)
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn open(port: &str) -> Self {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("connect");
        let mut client = Self(BufReader::new(stream));
        client.say("WILCO/1 OPEN sid=0123456789abcdef first=1 next=1\n").await;
        assert!(client.hear().await.starts_with("WILCO/1 OK acked=0 "));
        client
    }

    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.expect("send");
    }

    async fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.expect("hear");
        line.trim_end().to_owned()
    }
}

#[tokio::test]
async fn a_store_that_is_slow_keeps_nothing_else_waiting() {
    let store = Slow::new();
    let (port, stop, serving) = serve(store.clone()).await;
    let mut client = Client::open(&port).await;
    client.say("M 1 1\na\n").await;
    store.came.notified().await;
    for number in 2..=1024 {
        client.say(&format!("M {number} 1\nb\nPING {number}\n")).await;
        assert_eq!(client.hear().await, format!("PONG {number}"), "nothing is acknowledged before it is stored");
    }
    assert!(store.store.kept().is_empty());
    stop.send(()).expect("it serves");
    store.places.add_permits(2000);
    let mut last = 0;
    loop {
        let line = client.hear().await;
        match line.strip_prefix("A ") {
            Some(number) => last = number.parse().expect("a number"),
            None => {
                assert_eq!(line, format!("BYE {last} drain"));
                break;
            }
        }
    }
    assert_eq!(last, 1024);
    assert_eq!(store.most.load(Ordering::SeqCst), 2, "the next is ready when one is done, and no more");
    drop(client);
    let served = serving.await.expect("a task").expect("served");
    assert_eq!((served.messages, served.conversations), (1024, 1));
    assert_eq!(store.store.kept().len(), 1024);
}

#[tokio::test]
async fn a_client_that_sends_more_than_it_was_granted_waits() {
    let store = Slow::new();
    let (port, _stop, _serving) = serve(store.clone()).await;
    let client = Client::open(&port).await;
    let (mut reader, mut writer) = client.0.into_inner().into_split();
    let body = "x".repeat(1024 * 1024);
    // Far more than the kernel holds on the way.
    let sending = tokio::spawn(async move {
        for number in 1..=64 {
            writer.write_all(format!("M {number} {}\n{body}\n", body.len()).as_bytes()).await.expect("send");
        }
        writer
    });
    let before = resident();
    store.came.notified().await;
    // Whether more is taken in can only be seen by giving it time: on every machine it must stay below.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!sending.is_finished(), "64 MiB were taken in");
    let grown = resident().saturating_sub(before);
    assert!(grown < 40 * 1024, "{grown} KiB");
    store.places.add_permits(1000);
    let writer = sending.await.expect("all is sent");
    let mut said = String::new();
    drop(writer);
    tokio::io::AsyncReadExt::read_to_string(&mut reader, &mut said).await.expect("hear");
    assert!(said.ends_with("A 64\nBYE 64\n"), "{said}");
}

fn resident() -> u64 {
    let status = procfs::process::Process::myself().and_then(|process| process.status()).expect("the status");
    status.vmrss.expect("a size")
}

#[tokio::test]
async fn a_store_that_fails_ends_the_server() {
    let store = Arc::new(MemoryStore::as_if_lasting());
    let (port, _stop, serving) = serve(store.clone()).await;
    let mut client = Client::open(&port).await;
    client.say("M 1 1\na\n").await;
    assert_eq!(client.hear().await, "A 1");
    store.fail("the disk is broken");
    let line = client.hear().await;
    assert!(line == "BYE 1 drain" || line.starts_with("E 503 "), "{line}");
    drop(client);
    let error = serving.await.expect("a task").expect_err("it has failed");
    assert_eq!(error.to_string(), "the store has failed: the disk is broken");
}
