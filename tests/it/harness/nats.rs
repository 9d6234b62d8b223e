//! A NATS server with JetStream: one that a test has for itself, and may kill, stop and start again.
//!
//! Apart from other programs, because it comes back at the same place with what it had: its port and directory outlive the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{DEADLINE, Launch, Program};

/// What it says once clients are served.
const READY: &str = "Server is ready";

/// What it says where it listens.
const LISTENING: &str = "Listening for client connections on ";

/// How a NATS server is to be.
#[derive(Clone, Debug)]
pub(crate) struct NatsConfig {
    /// Settings of JetStream, such as `max_file_store: 1M`; none without JetStream.
    pub(crate) jetstream: Option<String>,
    /// Other settings: `authorization {...}`, `tls {...}`, `max_payload: 4K`.
    pub(crate) more: String,
}

impl Default for NatsConfig {
    fn default() -> NatsConfig {
        NatsConfig { jetstream: Some(String::new()), more: String::new() }
    }
}

/// A NATS server on 127.0.0.1; gone with all that it has stored when this is dropped.
#[derive(Debug)]
pub(crate) struct Nats {
    program: Option<Program>,
    port: u16,
    directory: TempDir,
}

impl Nats {
    /// Starts one with JetStream and nothing else.
    pub(crate) fn start() -> Nats {
        Nats::with(&NatsConfig::default())
    }

    /// Starts one with these settings beside its address and directory.
    pub(crate) fn with(config: &NatsConfig) -> Nats {
        let directory = tempfile::tempdir().expect("a directory");
        let mut nats = Nats { program: None, port: 0, directory };
        nats.configure(config);
        nats.restart();
        nats
    }

    /// Writes its settings, which count from the next start on.
    pub(crate) fn configure(&self, config: &NatsConfig) {
        let mut text = config.more.clone();
        if let Some(jetstream) = &config.jetstream {
            text += &format!("\njetstream {{ store_dir: {:?}\n{jetstream}\n}}\n", self.store());
        }
        fs::write(self.settings(), text).expect("write the settings of nats-server");
    }

    /// The port, which stays the same.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `nats://127.0.0.1:PORT/STREAM`.
    pub(crate) fn address(&self, stream: &str) -> String {
        format!("nats://{}/{stream}", self.server())
    }

    /// Where it keeps its streams.
    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// A directory for what a test needs beside it.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn settings(&self) -> PathBuf {
        self.directory.path().join("nats.conf")
    }

    /// What it has logged since it was started last.
    pub(crate) fn log(&self) -> String {
        self.program.as_ref().map_or_else(String::new, Program::stderr)
    }

    /// A client of it, without a user.
    pub(crate) async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.server()).await.unwrap_or_else(|error| panic!("connect to {}: {error}", self.server()))
    }

    /// Kills it: what it has not written is lost to it.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::SIGTERM);
    }

    fn end(&mut self, signal: Signal) {
        let program = self.program.take().expect("nats-server is running");
        program.signal(signal);
        program.wait();
    }

    /// Makes it stand still: connections stay, and nothing is answered.
    pub(crate) fn pause(&self) {
        let program = self.program.as_ref().expect("nats-server is running");
        program.signal(Signal::SIGSTOP);
        let state = format!("/proc/{}/stat", program.pid());
        let end = Instant::now() + DEADLINE;
        // The signal counts once the kernel has stopped every thread.
        while !fs::read_to_string(&state).is_ok_and(|stat| stat.contains(") T ")) {
            assert!(Instant::now() < end, "nats-server does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Has it go on.
    pub(crate) fn resume(&self) {
        self.program.as_ref().expect("nats-server is running").signal(Signal::SIGCONT);
    }

    /// Starts it again, at the same place and with what it has stored.
    pub(crate) fn restart(&mut self) {
        self.program = None;
        let end = Instant::now() + DEADLINE;
        loop {
            let program = self.launch();
            if program.says(READY) {
                let line = program.wait_for_stderr(LISTENING);
                let port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok());
                self.port = port.unwrap_or_else(|| panic!("no port in {line:?}"));
                self.program = Some(program);
                return;
            }
            // Somebody may have its port for a moment, as the near end of a connection.
            let done = program.wait();
            assert!(self.port != 0 && Instant::now() < end, "nats-server does not start: {}", done.report());
        }
    }

    fn launch(&self) -> Program {
        // -1 has the kernel choose.
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let settings = self.settings();
        let settings = settings.to_str().expect("a path of text");
        Launch::command("nats-server", ["-c", settings, "-a", "127.0.0.1", "-p", &port]).no_input().start()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // A program that stands still could not end; a kill needs no answer.
        self.program = None;
    }
}
