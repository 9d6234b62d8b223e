//! What `--run` and `--exec` ask for, as handlers; and what is wrong with it, before anybody connects.
//!
//! Apart from the server, which only chooses among handlers.

use std::time::Duration;

use crate::net::{Endpoint, Error, Result, Type};
use crate::service::{Command, Exec, ProcessLimits, Run};

use super::args::ProgramArgs;
use super::privileges::Account;
use super::report;

/// What is run.
pub(super) struct Programs {
    pub(super) handler: ProgramHandler,
    command: Command,
}

pub(super) enum ProgramHandler {
    ForMessages(Run),
    ForConnections(Exec),
}

impl Programs {
    /// What the arguments ask for; nothing if they ask for no program.
    ///
    /// # Errors
    /// The program cannot be run, or not for sockets of that kind.
    pub(super) fn asked_for(
        args: &ProgramArgs,
        endpoints: &[Endpoint],
        account: Option<&Account>,
    ) -> Result<Option<Self>> {
        let command = |line: &str| {
            let command = if args.sh { Command::shell(line)? } else { Command::split(line)? };
            Ok::<_, Error>(account.map_or(command.clone(), |account| account.command(command)))
        };
        let (line, default) = match (&args.run, &args.exec) {
            (Some(line), _) => (line, ProcessLimits::default()),
            (_, Some(line)) => {
                check_connections(endpoints)?;
                (line, ProcessLimits { timeout: None, ..ProcessLimits::default() })
            }
            (None, None) => return Ok(None),
        };
        let command = command(line)?;
        tell_of_operator(&command);
        let limits = limits(args, default);
        let handler = match args.run {
            Some(_) => ProgramHandler::ForMessages(Run::new(command.clone(), limits)),
            None => ProgramHandler::ForConnections(Exec::new(command.clone(), limits)),
        };
        Ok(Some(Self { handler, command }))
    }

    /// Whether this process may still run it, whatever it has become.
    pub(super) fn check(&self) -> Result<()> {
        self.command.check()
    }
}

fn limits(args: &ProgramArgs, default: ProcessLimits) -> ProcessLimits {
    let timeout = args.process_timeout.map(|limit| (limit > Duration::ZERO).then_some(limit));
    ProcessLimits {
        timeout: timeout.unwrap_or(default.timeout),
        processes: args.max_processes.unwrap_or(default.processes),
        output: args.max_output.unwrap_or(default.output),
    }
}

fn check_connections(endpoints: &[Endpoint]) -> Result<()> {
    match endpoints.iter().find(|endpoint| endpoint.socket_type() == Some(Type::DGRAM)) {
        None => Ok(()),
        Some(endpoint) => Err(Error::usage(format!("{} has no connections to run a program for", endpoint.name()))
            .hinting("with --run a program is run for each datagram")),
    }
}

/// A pipe that is an argument is hardly what was meant.
fn tell_of_operator(command: &Command) {
    if let Some(operator) = command.operator() {
        report::notice(&format!(
            "`{operator}` is only an argument of the program; with --sh a shell reads the command"
        ));
    }
}
