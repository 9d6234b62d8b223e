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
        let (line, default) = match (&args.run, &args.exec) {
            (Some(line), _) => (line, ProcessLimits::default()),
            (_, Some(line)) => {
                check_connections(endpoints)?;
                (line, ProcessLimits { timeout: None, ..ProcessLimits::default() })
            }
            (None, None) => return Ok(None),
        };
        let command = command(line, args.sh)?;
        let command = account.map_or(command.clone(), |account| account.command(command));
        let limits = ProcessLimits {
            processes: args.max_processes.unwrap_or(default.processes),
            ..limits(args.process_timeout, args.max_output, default)
        };
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

/// What a line asks to be run: by the shell, or its words as they are.
///
/// # Errors
/// There is no such program.
pub(super) fn command(line: &str, by_shell: bool) -> Result<Command> {
    let command = if by_shell { Command::shell(line)? } else { Command::split(line)? };
    tell_of_operator(&command);
    Ok(command)
}

/// What a program is held to that is run for a message; a time of 0 is no limit.
pub(super) fn limits(timeout: Option<Duration>, output: Option<usize>, default: ProcessLimits) -> ProcessLimits {
    let timeout = timeout.map(|limit| (limit > Duration::ZERO).then_some(limit));
    ProcessLimits { timeout: timeout.unwrap_or(default.timeout), output: output.unwrap_or(default.output), ..default }
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
