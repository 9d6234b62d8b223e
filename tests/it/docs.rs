//! The documents: every command they show is run, and has to print what they say it prints.
//!
//! Apart, because here the text is the test. How to write it:
//!
//! - A block fenced as `console` is a piece of a bash session. A line with `$ ` before it is a command, `> ` goes on
//!   with it; the other lines are its output, standard output and error mixed. Blank lines do not count. A line `...`
//!   stands for any lines, `[..]` within a line for anything. The order of the lines of one command is free, because
//!   two programs may print at once; all of them must come before the next command runs, and no others.
//! - `$ server 51717 &` goes on in the background; what it prints during a later command belongs to that one.
//! - The blocks of a document are one session, in a directory and a network of its own; `console fresh` begins another.
//! - `console no_run` is not run but must be proper shell; the line before it says `<!-- not run: reason -->`.
//! - A block after a line `<!-- file: name.c -->` is written to that file of the session's directory.
//! - Standard input of the commands is empty: what a person would type is shown as `printf 'hello\n' | client 51717`.

mod parse;
mod run;

use std::fs;
use std::path::{Path, PathBuf};

use parse::parse;
use run::check;

/// One test for each document.
macro_rules! documents {
    ($($test:ident: $file:literal),* $(,)?) => {
        const DOCUMENTS: &[&str] = &[$($file),*];
        $(
            #[test]
            fn $test() {
                run_document(stringify!($test), $file);
            }
        )*
    };
}

documents! {
    readme: "README.md",
    recipes: "docs/recipes.md",
    protocol: "docs/protocol.md",
    guide: "docs/guide/README.md",
    guide_client_and_server: "docs/guide/01-client-and-server.md",
    guide_domains_and_types: "docs/guide/02-domains-and-types.md",
    guide_steps: "docs/guide/03-steps.md",
    guide_streams_and_datagrams: "docs/guide/04-streams-and-datagrams.md",
    guide_options_and_attributes: "docs/guide/05-options-and-attributes.md",
    guide_look_ups: "docs/guide/06-look-ups.md",
    guide_many_clients: "docs/guide/07-many-clients.md",
    guide_limits_and_groups: "docs/guide/08-limits-and-groups.md",
    guide_processes_and_threads: "docs/guide/09-processes-and-threads.md",
    guide_security: "docs/guide/10-security.md",
    guide_delivery: "docs/guide/11-delivery.md",
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run_document(test: &str, file: &str) {
    let path = root().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    if !run::is_possible(test) {
        return;
    }
    if let Err(failure) = parse(&text).and_then(|steps| check(&steps)) {
        panic!("\n{file}:{}: {}\n", failure.line, failure.what);
    }
}

#[test]
fn every_document_is_run() {
    let markdown = |directory: &str, start: &str| -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(root().join(directory)) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("read an entry of a directory").path());
        let named = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with(start) && name.ends_with(".md")
        };
        paths.filter(named).collect()
    };
    let recipes = markdown("docs", "recipes").into_iter().chain(markdown("docs/recipes", ""));
    for path in markdown("docs/guide", "").into_iter().chain(recipes).chain([root().join("README.md")]) {
        let file = path.strip_prefix(root()).expect("a file of the package").to_string_lossy().into_owned();
        assert!(DOCUMENTS.contains(&file.as_str()), "{file} is not run: add it to `documents!` in tests/it/docs.rs");
    }
}

/// Runs made-up text; `Err` is the line of the failure and what is wrong.
fn made_up(text: &str) -> Result<(), (usize, String)> {
    parse(text).and_then(|steps| check(&steps)).map_err(|failure| (failure.line, failure.what))
}

#[test]
fn right_documents_pass() {
    if !run::is_possible("right_documents_pass") {
        return;
    }
    for text in [
        "Text.\n\n```console\n$ echo hello\nhello\n```\n",
        "```console\n$ echo one; echo two >&2\ntwo\none\n```\n",
        "```console\n$ echo a; echo; echo b\na\n\nb\n$ true\n```\n",
        "```console\n$ seq 100\n1\n...\n100\n```\n",
        "```console\n$ echo pid $$ of today\npid [..] of today\n```\n",
        "```console\n$ for i in 1 2; do\n>   echo $i\n> done\n1\n2\n```\n",
        "```console\n$ cat <<END\n> a $((1 + 1))\n> END\na 2\n```\n",
        "```console\n$ name=value; mkdir -p a; cd a\n```\nand\n```console\n$ echo $name ${PWD##*/}\nvalue a\n```\n",
        "```console\n$ name=value\n```\nand\n```console fresh\n$ echo \"<$name>\"; ls\n<>\n```\n",
        "<!-- not run: it would take too long -->\n```console no_run\n$ sleep 1000\n```\n",
        "<!-- file: a.c -->\n```c\nint main(void) { return 3; }\n```\n```console\n$ cc a.c -o a; ./a; echo $?\n3\n```\n",
        "```console\n$ cat\n$ printf partial\npartial\n```\n",
        "```console\n$ nc -nlv 51717 &\nListening on [..] 51717\n$ echo hello | nc -nN 127.0.0.1 51717\nhello\n\
         Connection received on 127.0.0.1 [..]\n```\n",
        "```python\nprint(1)\n```\n\n```\n$ not a console\n```\n",
        "    indented\n\n1. A list:\n\n   ```console\n   $ echo in a list\n   in a list\n   ```\n",
    ] {
        made_up(text).unwrap_or_else(|(line, what)| panic!("line {line}: {what}\nin\n{text}"));
    }
}

#[test]
fn wrong_documents_are_reported() {
    if !run::is_possible("wrong_documents_are_reported") {
        return;
    }
    for (text, line, word) in [
        ("```console\n$ echo hello\ngoodbye\n```\n", 2, "goodbye"),
        ("\n\n```console\n$ echo hello\n```\n", 4, "hello"),
        ("```console\n$ true\n$ echo one; echo more\none\n```\n", 3, "more"),
        ("```console\n$ echo one\none\none\n```\n", 2, "one"),
        ("```console\n$ seq 10\n1\n...\n11\n```\n", 2, "11"),
        ("```console\n$ exit 3\n$ true\n```\n", 2, "ended"),
        ("```console\n$ if true\n```\n", 2, "syntax"),
        ("```console\n$ no-such-command\n```\n", 2, "no-such-command"),
        ("```console no_run\n$ sleep 1000\n```\n", 1, "not run"),
        ("<!-- not run: -->\n```console no_run\n$ sleep 1000\n```\n", 2, "not run"),
        ("<!-- not run: so it is -->\n```console no_run\n$ if true\n```\n", 3, "syntax"),
        ("```console nonsense\n$ true\n```\n", 1, "nonsense"),
        ("```console\noutput of nothing\n```\n", 2, "command"),
        ("```console\n$ true\n", 1, "end"),
        ("<!-- file: ../a -->\n```c\n```\n", 1, "../a"),
    ] {
        let (got, what) = made_up(text).expect_err(text);
        assert!(got == line && what.contains(word), "expected {word:?} at line {line}, got {got}: {what}\nin\n{text}");
    }
}
