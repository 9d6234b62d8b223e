//! The arguments of every command, one file a command.
//!
//! Apart from the commands, so that help, completions and manual pages are made from the same definitions; nothing below this
//! layer knows how they were given.

mod addresses;
mod bench;
mod client;
mod common;
mod limits;
mod lookup;
mod messages;
mod output;
mod probe;
mod programs;
mod server;
mod spool;
mod value;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub(super) use addresses::{client_endpoints, places, server_endpoints};
pub(super) use bench::BenchArgs;
pub(super) use client::{ClientArgs, LostSession};
pub(super) use common::Common;
pub(super) use lookup::{Lookup, LookupArgs};
pub(super) use messages::{ChoiceArgs, MessagesArgs, MessagesCommand, PruneArgs, ReplayArgs, ShowArgs};
pub(super) use output::Output;
pub(super) use probe::ProbeArgs;
pub(super) use programs::ProgramArgs;
pub(super) use server::{RunningArgs, SaveArgs, ServerArgs, SocketFileArgs};
pub(super) use spool::SpoolArgs;

use super::{Exit, Program};

/// A client and a server for every kind of socket, where delivered means acknowledged.
#[derive(Debug, Parser)]
#[command(name = "wilco", version, arg_required_else_help = false, disable_help_subcommand = true)]
pub(super) struct Wilco {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    // What is said of each is with its arguments: a doc comment here would take its place.
    Server(Box<ServerArgs>),
    Client(ClientArgs),
    Lookup(LookupArgs),
    Probe(ProbeArgs),
    Bench(Box<BenchArgs>),
    Spool(SpoolArgs),
    Messages(MessagesArgs),
    Try(TryArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// See the exchange: a server on a free port and a client at its prompt, in this terminal.
///
/// With standard input not a terminal the message is taken from there.
#[derive(Args, Debug)]
pub(super) struct TryArgs {
    /// Show each socket call of both
    #[arg(long)]
    pub(super) trace: bool,
}

/// Print the completions for a shell.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

/// Write the manual pages into a directory.
#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// The directory, which is made if it is not there
    pub(super) directory: PathBuf,
}

/// The definition of a program's arguments.
pub(super) fn definition(program: Program) -> clap::Command {
    // Of an option that is given twice the last counts, so that an alias can be overruled.
    match program {
        Program::Wilco => Wilco::command().mut_subcommands(|command| command.args_override_self(true)),
        Program::Server => of_command::<ServerArgs>("server"),
        Program::Client => of_command::<ClientArgs>("client"),
    }
}

/// How a program is called, in a line.
pub(super) fn synopsis(program: Program) -> &'static str {
    match program {
        Program::Wilco => {
            "wilco COMMAND [OPTIONS]: server, client, lookup, probe, bench, messages, spool, try, completions, man"
        }
        Program::Server => "server PORT, or server ADDRESS...",
        Program::Client => "client HOST PORT, or client ADDRESS...",
    }
}

/// What is missing where nothing was given.
pub(super) fn missing(program: Program) -> &'static str {
    match program {
        // clap says which of the command's it is.
        Program::Wilco => "",
        Program::Server => "a port or an address to listen on is missing",
        Program::Client => "a host and a port, or an address, to connect to is missing",
    }
}

/// The exit statuses, as the help and the manual end with them.
pub(super) fn exit_statuses() -> String {
    let numbers = Exit::ALL.map(|(_, number, meaning)| (number.to_string(), meaning));
    let mut rows = numbers.each_ref().map(|(number, meaning)| (number.as_str(), *meaning)).to_vec();
    rows.push(("128+N", "ended by the signal N, once what was in hand was finished (as a shell tells it)"));
    list("Exit status", &rows)
}

/// What stands after the help of a command: examples, each with what it does, and the exit statuses.
fn examples_and_statuses(examples: &[(&str, &str)]) -> String {
    format!("{}\n{}", list("Examples", examples), exit_statuses())
}

/// A list for the end of a help, in two columns; the manual makes a section of it.
fn list(heading: &str, rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(term, _)| term.len()).max().unwrap_or_default();
    let lines = rows.iter().map(|(term, meaning)| format!("  {term:width$}  {meaning}\n"));
    format!("{heading}:\n{}", lines.collect::<String>())
}

fn of_command<A: Args>(name: &'static str) -> clap::Command {
    A::augment_args(clap::Command::new(name).args_override_self(true).bin_name(name).version(env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_understood() {
        let mut count = 0;
        let mut wilco = definition(Program::Wilco);
        wilco.build();
        for command in wilco.get_subcommands() {
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let Some((_, examples)) = help.split_once("Examples:\n") else { continue };
            for line in examples.lines().take_while(|line| line.starts_with("  ")) {
                let (example, meaning) = line.trim_start().split_once("  ").expect("two columns");
                assert!(!meaning.trim().is_empty() && line.len() <= 100, "{line}");
                for part in example.split(" | ").flat_map(|part| part.split(" && ")) {
                    let words = shlex::split(part).expect("words");
                    let words: Vec<_> =
                        words.into_iter().take_while(|word| !["<", ">"].contains(&word.as_str())).collect();
                    let program = match words[0].as_str() {
                        "server" => Program::Server,
                        "client" => Program::Client,
                        "wilco" => Program::Wilco,
                        _ => continue,
                    };
                    let parsed = definition(program).try_get_matches_from(&words);
                    assert!(parsed.is_ok(), "{part}: {}", parsed.expect_err("a mistake"));
                    count += 1;
                }
            }
        }
        assert!(count >= 15, "only {count} examples were found");
    }
}
