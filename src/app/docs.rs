//! `completions` and `man`: what is generated from the definitions of the arguments.

use std::io;

use anyhow::Context;

use super::args::{CompletionsArgs, ManArgs, definition};
use super::{Exit, Program, man, screen};

const PROGRAMS: [(Program, &str); 3] =
    [(Program::Wilco, "wilco"), (Program::Server, "server"), (Program::Client, "client")];

/// Prints the completions of all three programs.
pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    for (program, name) in PROGRAMS {
        clap_complete::generate(args.shell, &mut definition(program), name, &mut script);
    }
    screen::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Writes a page for each program and each command.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<Exit> {
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(&args.directory)?;
        let commands: Vec<_> =
            PROGRAMS.into_iter().flat_map(|(program, _)| with_subcommands(definition(program))).collect();
        let pages: Vec<_> = commands.iter().map(man::name).collect();
        for (command, name) in commands.iter().zip(&pages) {
            std::fs::write(args.directory.join(format!("{name}.1")), man::page(command, &pages)?)?;
        }
        Ok(())
    };
    write().with_context(|| format!("write the manual pages into {}", args.directory.display()))?;
    Ok(Exit::Done)
}

/// A command and all below it, each as it is when it is shown.
fn with_subcommands(command: clap::Command) -> Vec<clap::Command> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let below: Vec<_> = command.get_subcommands().cloned().flat_map(with_subcommands).collect();
    [vec![command], below].concat()
}
