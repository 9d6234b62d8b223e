//! Being a program: arguments, display, logging, exit statuses, signals.
//!
//! Knows how a user and a shell see it; what is done is done by [`crate::service`] and [`crate::net`]. One file a command.

mod archives;
mod args;
mod assured;
mod bench;
mod client;
mod clock;
mod docs;
mod exit;
mod files;
mod inetd;
mod json;
mod lookup;
mod man;
mod messages;
mod open_by;
mod privileges;
mod probe;
mod programs;
mod progress;
mod prompt;
mod raw;
mod records;
mod report;
mod runtime;
mod sandbox;
mod screen;
mod server;
mod spool;
mod stall;
mod stderr;
mod stdio;
mod supervisor;
mod traffic;
mod try_out;
mod work;

pub use exit::Exit;

use clap::FromArgMatches;

/// Which of the three programs was started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// `wilco COMMAND`.
    Wilco,
    /// `server`, which is `wilco server`.
    Server,
    /// `client`, which is `wilco client`.
    Client,
}

/// Runs a program with the arguments of this process, and gives the status that it ends with.
pub fn run(program: Program) -> Exit {
    match parse(program, std::env::args_os().collect()) {
        Ok(command) => exit::of(runtime::survive_file_limits().and_then(|()| dispatch(command))),
        Err(error) => report::usage(&error, args::missing(program), args::synopsis(program)),
    }
}

fn parse(program: Program, arguments: Vec<std::ffi::OsString>) -> Result<args::Command, clap::Error> {
    let mut command = args::definition(program);
    let matches = command.try_get_matches_from_mut(arguments)?;
    match program {
        Program::Wilco => args::Wilco::from_arg_matches(&matches).map(|wilco| wilco.command),
        Program::Server => args::ServerArgs::from_arg_matches(&matches).map(Box::new).map(args::Command::Server),
        Program::Client => args::ClientArgs::from_arg_matches(&matches).map(args::Command::Client),
    }
}

fn dispatch(command: args::Command) -> anyhow::Result<Exit> {
    match command {
        args::Command::Server(args) => server::run(*args),
        args::Command::Client(args) => client::run(args),
        args::Command::Lookup(args) => lookup::run(args),
        args::Command::Probe(args) => probe::run(args),
        args::Command::Bench(args) => bench::run(&args),
        args::Command::Spool(args) => spool::run(args),
        args::Command::Messages(args) => messages::run(args),
        args::Command::Work(args) => work::run(&args),
        args::Command::Try(args) => try_out::run(args),
        args::Command::Completions(args) => docs::completions(&args),
        args::Command::Man(args) => docs::man(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_arguments_are_well_defined() {
        args::Wilco::command().debug_assert();
        args::definition(Program::Server).debug_assert();
        args::definition(Program::Client).debug_assert();
    }

    #[test]
    fn help_is_no_failure() {
        let error = parse(Program::Client, vec!["client".into(), "--help".into()]).expect_err("help");
        assert_eq!(error.kind(), ErrorKind::DisplayHelp);
    }
}
