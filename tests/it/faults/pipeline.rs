//! A client with a spool, a server with a store, and a socket between them, over any number of processes; and what must be true afterwards.
//!
//! Apart from the faults: what feeds the client goes on where the spool is, as a user's program would, and does not know who was killed when.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use serde_json::Value;
use tempfile::TempDir;

use super::points::tell;
use crate::harness::{Finished, Launch, expect_signal, expect_success};

/// How long a process may run here, and how long a receipt may take: never reached by a test that passes.
pub(super) const LONG: Duration = Duration::from_secs(120);

/// Messages of a run that are sent one at a time, each when the one before is acknowledged; those behind them come at once.
pub(super) const LONE: u64 = 12;

/// A store, a spool, and an address.
#[derive(Debug)]
pub(super) struct Pipeline {
    directory: TempDir,
    store: PathBuf,
    spool: PathBuf,
    address: String,
}

impl Pipeline {
    /// One with nothing in it, at a Unix socket.
    pub(super) fn new() -> Pipeline {
        let directory = tempfile::tempdir().expect("a directory");
        let address = format!("unix:{}", directory.path().join("socket").display());
        Pipeline::at(directory, address)
    }

    /// One with nothing in it, whose server takes a free port.
    pub(super) fn over_tcp() -> Pipeline {
        Pipeline::at(tempfile::tempdir().expect("a directory"), "tcp:127.0.0.1:0".to_owned())
    }

    /// The same over UDP.
    pub(super) fn over_udp() -> Pipeline {
        Pipeline::at(tempfile::tempdir().expect("a directory"), "udp:127.0.0.1:0".to_owned())
    }

    fn at(directory: TempDir, address: String) -> Pipeline {
        let (store, spool) = (directory.path().join("store.db"), directory.path().join("spool"));
        Pipeline { directory, store, spool, address }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    pub(super) fn spool(&self) -> &Path {
        &self.spool
    }

    pub(super) fn server(&self) -> Launch {
        Launch::server([&self.address, "--store", text_of(&self.store)])
    }

    pub(super) fn client(&self) -> Launch {
        self.client_of(&self.address)
    }

    /// A client of another address than the server's, such as a proxy's.
    pub(super) fn client_of(&self, address: &str) -> Launch {
        Launch::client(["--json", "--spool", text_of(&self.spool), address])
    }

    /// Makes the store, as a server does that is then stopped.
    pub(super) fn make_store(&self) {
        let server = self.server().start();
        server.listening();
        server.signal(Signal::SIGTERM);
        expect_signal(&server.wait(), Signal::SIGTERM);
    }

    /// How many messages the spool has accepted so far; a spool that was never made has none.
    pub(super) fn accepted(&self) -> u64 {
        if !self.spool.exists() {
            return 0;
        }
        let spool = self.inspect();
        spool["next"].as_u64().unwrap_or_else(|| panic!("{spool}")) - 1
    }

    fn inspect(&self) -> Value {
        let done = Launch::wilco(["spool", "--json", text_of(&self.spool)]).no_input().start().wait();
        expect_success(&done);
        serde_json::from_str(done.stdout.lines().next().expect("an object")).expect("JSON")
    }

    /// Feeds messages up to this number to clients, until one has seen them all acknowledged. Gives how many were killed.
    ///
    /// `launch` is asked for each client, from 0.
    pub(super) fn deliver(&self, through: u64, launch: impl FnMut(u32) -> Launch) -> u32 {
        self.deliver_after(through, |done| expect_signal(done, Signal::SIGKILL), launch)
    }

    /// The same with clients that end in another way than by being killed.
    pub(super) fn deliver_after(
        &self,
        through: u64,
        expect: impl Fn(&Finished),
        mut launch: impl FnMut(u32) -> Launch,
    ) -> u32 {
        let mut acknowledged = 0;
        let began = self.accepted();
        for round in 0.. {
            let accepted = self.accepted();
            assert!(
                accepted >= acknowledged,
                "{acknowledged} were acknowledged, and the spool has accepted {accepted}"
            );
            let mut client = launch(round).start();
            for number in accepted + 1..=through {
                client.send(body(number) + "\n");
                if number <= began + LONE && !client.shows(&format!("\"last\":{number},"), LONG) {
                    break;
                }
            }
            client.close_stdin();
            let done = client.wait_within(LONG);
            acknowledged = receipts(&done, acknowledged);
            if done.status.code() == Some(0) {
                tell(&done.report());
                assert_eq!(acknowledged.max(self.accepted()), through, "{}", done.report());
                return round;
            }
            expect(&done);
        }
        unreachable!("the rounds are not limited");
    }

    /// Fails unless the store has all messages up to this number once each and in order, and the spool is empty. No server may be running.
    #[track_caller]
    pub(super) fn check(&self, through: u64) {
        check_store(&self.store, through);
        self.check_spool(through);
    }

    /// Fails unless the spool has had so many messages, and is empty.
    #[track_caller]
    pub(super) fn check_spool(&self, through: u64) {
        let spool = self.inspect();
        assert_eq!((&spool["waiting"], &spool["next"]), (&0.into(), &(through + 1).into()), "{spool}");
        assert_eq!(spool["dead"], 0, "{spool}");
    }
}

/// The text of a message: the lengths differ, so that writes do.
pub(super) fn body(number: u64) -> String {
    format!("{number} {}", "x".repeat(usize::try_from(number * 37 % 900).unwrap_or_default()))
}

/// Fails unless the store has all messages of one session up to this number, once each and in order.
#[track_caller]
pub(super) fn check_store(store: &Path, through: u64) {
    let connection = rusqlite::Connection::open(store).expect("open the store");
    let intact: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(intact, "ok");
    let mut rows = connection.prepare("SELECT number, body FROM received ORDER BY id").expect("a view");
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, String>(1)?));
    let stored: Vec<_> = rows.query_map([], row).expect("rows").collect::<Result<_, _>>().expect("messages");
    let numbers: Vec<u64> = stored.iter().map(|(number, _)| *number).collect();
    assert!(numbers.iter().copied().eq(1..=through), "not 1 to {through}: {numbers:?}");
    stored.iter().for_each(|(number, text)| assert_eq!(*text, body(*number)));
    let sessions: Vec<u64> = connection
        .prepare("SELECT acked FROM sessions")
        .expect("a table")
        .query_map([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("sessions");
    assert_eq!(sessions, [through]);
}

/// The last number that is acknowledged; each receipt goes on from the one before. (One that was killed may have noted what it has not told.)
fn receipts(done: &Finished, before: u64) -> u64 {
    let mut last = None;
    // One that was killed may have written half of a line.
    for line in done.stdout.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {}", done.report()));
        if event["event"] == "receipt" {
            let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("no {key}: {}", done.report()));
            assert_eq!(number("first"), last.unwrap_or(number("first") - 1) + 1, "{}", done.report());
            last = Some(number("last"));
        }
    }
    last.unwrap_or(0).max(before)
}

/// A server that is started again whenever it has ended.
#[derive(Debug)]
pub(super) struct Server {
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<Vec<Finished>>>,
}

#[derive(Debug, Default)]
struct State {
    pid: Option<u32>,
    is_over: bool,
}

impl Server {
    /// Starts it; `launch` is asked for each, from 0.
    pub(super) fn start(mut launch: impl FnMut(u32) -> Launch + Send + 'static) -> Server {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let mut ended = Vec::new();
            for round in 0.. {
                let server = {
                    let mut state = shared.lock().expect("no panic with it");
                    if state.is_over {
                        break;
                    }
                    let server = launch(round).start();
                    state.pid = Some(server.pid());
                    server
                };
                let finished = server.wait_within(Duration::from_secs(3600));
                shared.lock().expect("no panic with it").pid = None;
                ended.push(finished);
            }
            ended
        });
        Server { state, thread: Some(thread) }
    }

    /// Sends a signal to the one that runs, if one does.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.state.lock().expect("no panic with it").pid {
            // It may have been killed, and not been waited for.
            let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
        }
    }

    /// Stops it; gives how each ended.
    pub(super) fn stop(mut self) -> Vec<Finished> {
        self.end();
        self.thread.take().expect("it is stopped once").join().expect("no panic")
    }

    /// Stops it; gives how many were killed. All must have been but the last, which may be while it ends.
    #[track_caller]
    pub(super) fn killed(self) -> usize {
        let ended = self.stop();
        let (last, killed) = ended.split_last().expect("there was one");
        killed.iter().for_each(|finished| expect_signal(finished, Signal::SIGKILL));
        if last.status.signal() == Some(Signal::SIGKILL as i32) {
            return ended.len();
        }
        expect_signal(last, Signal::SIGTERM);
        killed.len()
    }

    fn end(&self) {
        self.state.lock().expect("no panic with it").is_over = true;
        self.signal(Signal::SIGTERM);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.end();
            self.signal(Signal::SIGKILL);
            let _ = thread.join();
        }
    }
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
