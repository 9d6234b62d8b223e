//! The asynchronous runtime of a program, and the signals that end it or have it read its files anew.
//!
//! Apart from the commands, which are ordinary functions that call into it.

use std::fs::File;
use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;

/// Beyond so many threads a server gains nothing: they only steal work from each other.
const MOST_WORKERS: usize = 16;

/// Runs a command to its end. What still waits in a blocking call, such as a look-up or a read of the terminal, is left behind.
pub(super) fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    block_on_workers(1, command)
}

/// [`block_on`] with what the command spawns on so many threads; with one, it is all on this one.
pub(super) fn block_on_workers<T>(
    workers: usize,
    command: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = match workers {
        0 | 1 => runtime()?,
        _ => Builder::new_multi_thread().worker_threads(workers).enable_all().build()?,
    };
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

/// Runs what comes before a command, and leaves no thread behind: what is then done to the process is done to all of it.
pub(super) fn block_on_and_join<T>(preparation: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // It waits for its threads when it is dropped.
    runtime()?.block_on(preparation)
}

/// How many threads a server has unless it is told: half of the processors, since the other half is the kernel's and the
/// clients'. On two processors one thread is faster than two, between which connections would go to and fro.
pub(super) fn default_workers() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (processors / 2).clamp(1, MOST_WORKERS)
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Lets a write beyond the limit of a file's size (`ulimit -f`, setrlimit(2)) fail, so that it is treated as a disk that is full; the kernel would end the process
/// with SIGXFSZ. It is caught, not ignored: programs that are started have it as ever.
pub(super) fn survive_file_limits() -> anyhow::Result<()> {
    signal_hook::flag::register(nix::libc::SIGXFSZ, Arc::default())?;
    Ok(())
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Request {
    /// To end, and how.
    End(Exit),
    /// To read files anew.
    Reload,
}

/// The signals that ask a program to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn catch() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one of them, and gives how the program then ends.
    pub(super) async fn next(&mut self) -> Exit {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Exit::Signal(SignalKind::interrupt().as_raw_value()),
            Some(()) = self.terminate.recv() => Exit::Signal(SignalKind::terminate().as_raw_value()),
            else => std::future::pending().await,
        }
    }
}

/// What SIGHUP means to a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hangup {
    /// The end, as SIGTERM does; nothing at all if it was ignored from the start (nohup(1)).
    Ends,
    /// A supervisor, or a person, asks to read files anew. Yet when the kernel and the shell tell with it that the terminal has
    /// gone, it ends what was started there, as it ends everything else there, unless nohup(1) forbids.
    Reloads,
}

/// The signals of a server, which besides those that ask for its end understands SIGHUP.
pub(super) struct ServerSignals {
    ending: Signals,
    hangup: Option<Signal>,
    policy: Hangup,
    /// Whether it was started at a terminal, and is to end with it.
    ends_with_terminal: bool,
}

impl ServerSignals {
    pub(super) fn catch(policy: Hangup) -> anyhow::Result<Self> {
        let ignored = ignores_hangup();
        let hangup = match policy {
            Hangup::Ends if ignored => None,
            _ => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self { ending: Signals::catch()?, hangup, policy, ends_with_terminal: !ignored && has_terminal() })
    }

    /// Waits for one of them.
    pub(super) async fn next(&mut self) -> Request {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            exit = self.ending.next() => Request::End(exit),
            Some(()) = hangup => match self.policy {
                Hangup::Reloads if !self.ends_with_terminal || has_terminal() => Request::Reload,
                _ => Request::End(Exit::Signal(SignalKind::hangup().as_raw_value())),
            },
        }
    }
}

/// Whether the process has a controlling terminal, wherever its streams go to: one that hangs up is none any more (tty(4)).
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether SIGHUP was ignored when the process was started.
fn ignores_hangup() -> bool {
    let hangup = 1 << (SignalKind::hangup().as_raw_value() - 1);
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    status.is_ok_and(|status| status.sigign & hangup != 0)
}
