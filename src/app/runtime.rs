//! The asynchronous runtime of a program, and the signals that end it.
//!
//! Apart from the commands, which are ordinary functions that call into it once.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;

/// Runs a command to its end. What still waits in a blocking call, such as a look-up or a read of the terminal, is left behind.
pub(super) fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
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
