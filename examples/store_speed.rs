//! How fast the store is, beside a plain file that is appended to and synced with the same batching.
//!
//! `cargo run --release --example store_speed [DIRECTORY]`: the directory is to be on the disk that is asked about; by default it is the current one.
//! Absolute figures drift from machine to machine and from minute to minute; what counts is the ratio in one run.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wilco::net::{Addr, UnixName};
use wilco::service::store::{Append, Opening, Owner, Source, SqliteConfig, SqliteStore, Store, StoreError};
use wilco::service::{BoxFuture, Peer};
use wilco::wire::assured::{Run, SessionId};

/// How many messages a run has.
const RUN: usize = 1000;

/// How many runs are on their way.
const ON_THEIR_WAY: usize = 16;

/// What is measured: whatever takes runs.
trait Subject: Send + Sync {
    fn append(&self, append: Append) -> BoxFuture<'_, ()>;
}

impl Subject for SqliteStore {
    fn append(&self, append: Append) -> BoxFuture<'_, ()> {
        let applied = Store::append(self, append);
        Box::pin(async { assert_eq!(applied.await.map(|applied| applied.put_off), Ok::<_, StoreError>(None)) })
    }
}

/// A thread that appends to a file what has queued, and syncs it once.
struct Plain(mpsc::Sender<(Run, oneshot::Sender<()>)>);

impl Plain {
    fn new(path: &Path) -> Self {
        let (sender, receiver) = mpsc::channel::<(Run, oneshot::Sender<()>)>();
        let mut file = File::create(path).unwrap();
        thread::spawn(move || {
            while let Ok(first) = receiver.recv() {
                let (mut batch, mut messages) = (vec![first], 0);
                while messages < wilco::service::store::sqlite::MAX_BATCH
                    && let Ok(next) = receiver.try_recv()
                {
                    messages += next.0.len();
                    batch.push(next);
                }
                let mut bytes = Vec::new();
                for (_, body) in batch.iter().flat_map(|(run, _)| run.messages()) {
                    bytes.extend_from_slice(body);
                    bytes.push(b'\n');
                }
                file.write_all(&bytes).unwrap();
                file.sync_data().unwrap();
                for (_, answer) in batch {
                    let _ = answer.send(());
                }
            }
        });
        Self(sender)
    }
}

impl Subject for Plain {
    fn append(&self, append: Append) -> BoxFuture<'_, ()> {
        let (answer, answered) = oneshot::channel();
        self.0.send((append.run, answer)).unwrap();
        Box::pin(async { answered.await.unwrap() })
    }
}

fn source() -> Arc<Source> {
    let peer = Peer { addr: Addr::Unix(UnixName::Unnamed), local: None, credentials: None };
    Arc::new(Source { peer, name: None })
}

fn session(number: u128) -> SessionId {
    SessionId::of_bits(number)
}

fn run(first: u64, count: usize, size: usize) -> Run {
    let mut run = Run::new(first);
    let body = vec![b'x'; size];
    (0..count).for_each(|_| run.push(&body));
    run
}

/// Messages a second, of one session.
async fn pipelined(subject: &dyn Subject, session: SessionId, owner: Owner, count: usize, size: usize) -> f64 {
    let source = source();
    let template = run(1, RUN, size);
    let mut under_way = VecDeque::new();
    let began = Instant::now();
    for index in 0..count / RUN {
        let run = Run { first: (index * RUN + 1) as u64, ..template.clone() };
        under_way.push_back(subject.append(Append { session: session.clone(), owner, source: source.clone(), run }));
        if under_way.len() == ON_THEIR_WAY {
            under_way.pop_front().unwrap().await;
        }
    }
    while let Some(next) = under_way.pop_front() {
        next.await;
    }
    count as f64 / began.elapsed().as_secs_f64()
}

/// The median of single messages, each sent once the last is answered.
async fn lone(subject: &dyn Subject, session: SessionId, owner: Owner, count: u64) -> Duration {
    let source = source();
    let mut times = Vec::new();
    for number in 1..=count {
        let run = run(number, 1, 64);
        let began = Instant::now();
        subject.append(Append { session: session.clone(), owner, source: source.clone(), run }).await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// Messages a second of 64 sessions, each of which waits for every answer.
async fn concurrent(subject: Arc<dyn Subject>, owners: Vec<(SessionId, Owner)>, each: u64) -> f64 {
    let began = Instant::now();
    let count = owners.len() as u64 * each;
    let tasks: Vec<_> = owners
        .into_iter()
        .map(|(session, owner)| {
            let subject = Arc::clone(&subject);
            tokio::spawn(async move {
                let source = source();
                for number in 1..=each {
                    let run = run(number, 1, 64);
                    subject.append(Append { session: session.clone(), owner, source: source.clone(), run }).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    count as f64 / began.elapsed().as_secs_f64()
}

async fn open(store: &SqliteStore, number: u128) -> (SessionId, Owner) {
    let opening = Opening { session: session(number), first: 1, principal: None, replies: false, source: source() };
    (session(number), Store::open(store, opening).await.unwrap().owner)
}

async fn measure(directory: &Path) {
    let store = Arc::new(SqliteStore::open(directory.join("store.db"), SqliteConfig::default()).unwrap());
    let file = Arc::new(Plain::new(&directory.join("plain")));
    println!("{:32}{:>12}{:>20}{:>8}", "", "store", "append+fdatasync", "ratio");
    let mut number = 0;
    for (what, count, size) in [("pipelined 64 B, k/s", 2_000_000, 64), ("pipelined 1 KiB, k/s", 300_000, 1024)] {
        for _ in 0..3 {
            number += 1;
            let (session, owner) = open(&store, number).await;
            let ours = pipelined(&*store, session.clone(), owner, count, size).await / 1e3;
            let plain = pipelined(&*file, session, owner, count, size).await / 1e3;
            println!("{what:32}{ours:12.0}{plain:20.0}{:8.2}", ours / plain);
        }
    }
    for _ in 0..3 {
        number += 1;
        let (session, owner) = open(&store, number).await;
        let ours = lone(&*store, session.clone(), owner, 2000).await.as_secs_f64() * 1e6;
        let plain = lone(&*file, session, owner, 2000).await.as_secs_f64() * 1e6;
        println!("{:32}{ours:12.0}{plain:20.0}{:8.2}", "lone message p50, us", ours / plain);
    }
    let mut owners = Vec::new();
    for index in 0..64 {
        owners.push(open(&store, 1000 + index).await);
    }
    let ours = concurrent(store, owners.clone(), 1000).await / 1e3;
    let plain = concurrent(file, owners, 1000).await / 1e3;
    println!("{:32}{ours:12.0}{plain:20.0}{:8.2}", "64 sessions, k/s", ours / plain);
}

/// How a store does that knows many sessions.
async fn many_sessions(directory: &Path, count: u32) {
    let path = directory.join("many.db");
    drop(SqliteStore::open(&path, SqliteConfig::default()).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    let rows = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO sessions (sid, owner, acked, created, used, source)
        SELECT lower(hex(randomblob(16))), 1, n, 0, 0, 1 FROM n";
    connection.execute(rows, [count]).unwrap();
    let known: Vec<SessionId> = connection
        .prepare("SELECT sid FROM sessions LIMIT 2000")
        .unwrap()
        .query_map([], |row| Ok(row.get::<_, String>(0)?.parse().unwrap()))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    drop(connection);
    let began = Instant::now();
    let config = SqliteConfig { max_sessions: 2 * u64::from(count), ..SqliteConfig::default() };
    let store = SqliteStore::open(&path, config).unwrap();
    println!("{count} sessions: started in {:?}", began.elapsed());
    for (what, sessions) in [("known", known), ("new", (0..2000).map(session).collect())] {
        let mut times = Vec::new();
        for session in sessions {
            let began = Instant::now();
            let opening = Opening { session, first: 1, principal: None, replies: false, source: source() };
            Store::open(&store, opening).await.unwrap();
            times.push(began.elapsed());
        }
        let first = times[0];
        times.sort_unstable();
        println!("open of a {what} one: first {first:?}, p50 {:?}, p99 {:?}", times[1000], times[1980]);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let base = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let directory = Path::new(&base).join(format!("store-speed-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    measure(&directory).await;
    many_sessions(&directory, 1_000_000).await;
    fs::remove_dir_all(directory).unwrap();
}
