//! `completions` and `man`: what is generated from the definitions of the arguments.

use std::io;

use anyhow::Context;

use super::args::{CompletionsArgs, ManArgs, definition};
use super::{Exit, Program, screen};

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
        for (program, _) in PROGRAMS {
            clap_mangen::generate_to(definition(program).disable_help_subcommand(true), &args.directory)?;
        }
        Ok(())
    };
    write().with_context(|| format!("write the manual pages into {}", args.directory.display()))?;
    Ok(Exit::Done)
}
