//! Handlers that run programs: one for each message ([`Run`]), or one for each connection ([`Exec`]).
//!
//! Apart from the other handlers, because what is started must be fed, bounded and ended, and must learn of its client only what
//! is meant for it: that is the same for both.

mod child;
mod command;
mod environment;
mod errors;
mod exec;
mod program;
mod run;

use std::time::Duration;

pub use command::Command;
pub use exec::Exec;
pub(in crate::service) use program::Program;
pub use run::Run;

/// How long a program may take for a message, unless said otherwise.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// How many programs run at once, unless said otherwise.
pub const MAX_PROCESSES: usize = 100;

/// How many bytes a program may answer to a message, unless said otherwise.
pub const MAX_OUTPUT: usize = 1024 * 1024;

/// What programs that are run for clients are held to. The default is for a program a message.
#[derive(Clone, Copy, Debug)]
pub struct ProcessLimits {
    /// How long one may take; then it is ended, with its whole process group: what it has started, unless
    /// that has made a session of its own (setsid(2)). Default [`RUN_TIMEOUT`]; `None` is for ever.
    pub timeout: Option<Duration>,
    /// How many may run at once; for more, messages and connections wait. Default [`MAX_PROCESSES`]; 0 is no limit.
    pub processes: usize,
    /// How many bytes one may answer to a message. Default [`MAX_OUTPUT`]; 0 is no limit.
    pub output: usize,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self { timeout: Some(RUN_TIMEOUT), processes: MAX_PROCESSES, output: MAX_OUTPUT }
    }
}

impl ProcessLimits {
    /// The places for so many processes at once.
    fn places(&self) -> tokio::sync::Semaphore {
        let most = tokio::sync::Semaphore::MAX_PERMITS;
        tokio::sync::Semaphore::new(if self.processes == 0 { most } else { self.processes.min(most) })
    }
}
