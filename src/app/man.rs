//! A manual page, made from the definition of a command's arguments.
//!
//! Apart from the other things that are made of it, because a page has sections where the help has a list.

use std::io;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::exit_statuses;

/// What other pages a reader may want, beside those of the other commands.
const FURTHER: [&str; 2] = ["socket(7)", "systemd.socket(5)"];

/// The name of a command's page: `wilco-lookup` for `wilco lookup`.
pub(super) fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// The page of a command that is built, given the names of all pages.
pub(super) fn page(command: &Command, pages: &[String]) -> io::Result<Vec<u8>> {
    let mut command = command.clone();
    let usage = command.render_usage().to_string();
    let command = command.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    let name = name(&command);
    let man = |command: &Command| {
        // Without something for the date, what follows it would take its place.
        let product = format!("Wilco {}", env!("CARGO_PKG_VERSION"));
        Man::new(command.clone()).title(name.to_uppercase()).date(" ").source(product).manual("Wilco")
    };
    let mut page = Vec::new();
    let whole = man(&command);
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    if command.get_positionals().next().is_some() {
        let arguments = command.clone().mut_args(|arg| if arg.is_positional() { arg } else { arg.hide(true) });
        page.extend(
            render(|to| man(&arguments).render_options_section(to))?.replace(".SH OPTIONS", ".SH ARGUMENTS").bytes(),
        );
    }
    let options = command.clone().mut_args(|arg| if arg.is_positional() { arg.hide(true) } else { arg });
    page.extend(subsections(render(|to| man(&options).render_options_section(to))?, &command).bytes());
    if command.has_subcommands() {
        whole.render_subcommands_section(&mut page)?;
    }
    let mut end = Roff::new();
    after_help(&mut end, &command);
    environment(&mut end, &command);
    see_also(&mut end, &name, pages);
    end.to_writer(&mut page)?;
    Ok(page)
}

fn render(section: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<String> {
    let mut text = Vec::new();
    section(&mut text)?;
    String::from_utf8(text).map_err(io::Error::other)
}

/// Makes the headings of groups of options, which clap_mangen has beside the options, parts of them.
fn subsections(mut section: String, command: &Command) -> String {
    for heading in command.get_arguments().filter_map(Arg::get_help_heading) {
        let capitals = heading.to_uppercase();
        for written in [format!(".SH {capitals}\n"), format!(".SH \"{capitals}\"\n")] {
            section = section.replace(&written, &format!(".SS \"{heading}\"\n"));
        }
    }
    section
}

/// What stands after the help, in sections: a heading ends with a colon, a line of a list is indented and has two columns.
fn after_help(roff: &mut Roff, command: &Command) {
    let text = command.get_after_long_help().map_or_else(exit_statuses, ToString::to_string);
    for line in text.lines().filter(|line| !line.is_empty()) {
        let columns = line.strip_prefix("  ").and_then(|line| line.split_once("  "));
        match (line.strip_suffix(':'), columns) {
            (Some(heading), _) => roff.control("SH", [heading.to_uppercase().as_str()]),
            (None, Some((term, meaning))) => {
                roff.control("TP", []).text([bold(term)]).text([roman(meaning.trim_start())])
            }
            (None, None) => roff.control("PP", []).text([roman(line)]),
        };
    }
}

/// The variables that stand for options.
fn environment(roff: &mut Roff, command: &Command) {
    let mut options: Vec<_> =
        command.get_arguments().filter_map(|arg| Some((arg.get_env()?, arg.get_long()?))).collect();
    options.sort_unstable();
    if !options.is_empty() {
        roff.control("SH", ["ENVIRONMENT"]);
    }
    for (variable, option) in options {
        roff.control("TP", []).text([bold(variable.to_string_lossy())]);
        roff.text([roman("Stands for "), bold(format!("--{option}")), roman(" where that is not given.")]);
    }
}

fn see_also(roff: &mut Roff, name: &str, pages: &[String]) {
    // What is below a command is listed in its own page, and two of the commands are programs, too.
    let is_other = |page: &&String| *page != name && page.matches('-').count() < 2;
    let is_program = |page: &&String| pages.iter().any(|other| format!("wilco-{other}") == **page);
    let others = pages.iter().filter(is_other).filter(|page| !is_program(page)).map(|page| format!("{page}(1)"));
    let list: Vec<String> = others.chain(FURTHER.map(str::to_owned)).collect();
    roff.control("SH", ["SEE ALSO"]).text([roman(list.join(", "))]);
}
