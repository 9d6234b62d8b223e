//! The shape of the sources: who may name whom, how files begin, how long they are, and what none may contain.
//!
//! Apart from the tests of behaviour: nothing runs here, the files are read.

mod paths;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::skip;

/// Each layer with those it may use.
const LAYERS: &[(&str, &[&str])] = &[
    ("bin", &["app", "service", "net", "wire"]),
    ("app", &["service", "net", "wire"]),
    ("service", &["net", "wire"]),
    ("net", &[]),
    ("wire", &[]),
];

/// Files that are one flat table and may be longer than `LONGEST`.
const FLAT_TABLES: &[&str] = &["src/net/options/table.rs"];

/// The most lines a file may have, tests at its bottom not counted.
const LONGEST: usize = 430;

/// The most lines of one that has nothing but tests.
const LONGEST_OF_TESTS: usize = 450;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a directory of the package, as a path within the package and the text.
fn sources(directory: &str) -> Vec<(String, String)> {
    let mut directories = vec![root().join(directory)];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|error| panic!("read {}: {error}", directory.display())) {
            let path = entry.expect("read an entry of a directory").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        let name = path.strip_prefix(root()).expect("a file of the package").to_string_lossy().into_owned();
        (name, text)
    };
    files.into_iter().map(read).collect()
}

/// The layer a file belongs to and its module path, such as `net` and `[net, addr]`.
fn place(file: &str) -> Option<(&'static str, Vec<String>)> {
    let mut module: Vec<String> = file.strip_prefix("src/")?.strip_suffix(".rs")?.split('/').map(Into::into).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    let (layer, _) = LAYERS.iter().find(|(layer, _)| *layer == module[0])?;
    // A program is a crate of its own: what it calls `crate` is itself, and the library is `wilco`.
    let module = if *layer == "bin" { Vec::new() } else { module };
    Some((layer, module))
}

/// What a file names that its layer may not, a complaint each. `root` is the text of `src/lib.rs`: a name that is
/// made known there still belongs to its layer.
fn violations(file: &str, text: &str, root: &str) -> Vec<String> {
    let Some((layer, module)) = place(file) else { return Vec::new() };
    let (_, may) = LAYERS.iter().find(|(name, _)| *name == layer).expect("a file is placed in a layer of the list");
    let known = paths::reexports(root);
    let mut complaints = Vec::new();
    for path in paths::absolute_paths(text, &module) {
        let Some(first) = path.names.first() else { continue };
        let owner = known.iter().find(|(name, _)| name == first).map_or(first, |(_, owner)| owner);
        if owner != layer && !may.contains(&owner.as_str()) && LAYERS.iter().any(|(name, _)| name == owner) {
            complaints.push(format!("{file}:{}: {layer} names {} of {owner}", path.line, path.names.join("::")));
        }
    }
    complaints
}

/// The lines of a file that count: those before its tests.
fn lines_that_count(text: &str) -> usize {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count()
}

/// What in a file is a place on somebody's machine, a complaint each.
fn machine_paths(file: &str, text: &str) -> Vec<String> {
    // Put together here, for this file is read too.
    let places = ["work", "root"].map(|name| format!("/{name}"));
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for place in &places {
            for (start, _) in line.match_indices(place.as_str()) {
                let before = line[..start].chars().next_back();
                let after = line[start + place.len()..].chars().next();
                let part_of_more = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | ')' | '*');
                let ends = after.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.')));
                if ends && !before.is_some_and(part_of_more) {
                    complaints.push(format!("{file}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    complaints
}

#[track_caller]
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn no_layer_names_one_to_its_left() {
    let root = fs::read_to_string(root().join("src/lib.rs")).expect("read src/lib.rs");
    let complaints: Vec<String> =
        sources("src").iter().flat_map(|(file, text)| violations(file, text, &root)).collect();
    expect_none(&complaints);
}

#[test]
fn every_file_says_what_it_is() {
    let mut complaints = Vec::new();
    for (file, text) in sources("src").into_iter().chain(sources("tests")) {
        if !text.starts_with("//! ") {
            complaints.push(format!("{file}:1: does not begin with `//!`"));
        }
    }
    expect_none(&complaints);
}

#[test]
fn no_file_is_too_long() {
    let mut complaints = Vec::new();
    for (file, text) in sources("src").into_iter().chain(sources("tests")) {
        let is_tests = file.starts_with("tests/") || file.ends_with("/tests.rs");
        let (lines, most) = (lines_that_count(&text), if is_tests { LONGEST_OF_TESTS } else { LONGEST });
        match FLAT_TABLES.contains(&file.as_str()) {
            false if lines > most => {
                complaints.push(format!("{file}: {lines} lines before its tests, at most {most} are wanted"));
            }
            true if lines <= most => {
                complaints.push(format!("{file}: {lines} lines, for which it need not be allowed more"))
            }
            _ => {}
        }
    }
    let is_gone = |table: &&&str| !root().join(table).exists();
    complaints.extend(
        FLAT_TABLES.iter().filter(is_gone).map(|table| format!("{table}: is allowed more lines, and is not there")),
    );
    expect_none(&complaints);
}

#[test]
fn no_file_knows_a_machine() {
    let git = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Some(git) = git.ok().filter(|git| git.status.success()) else {
        skip("no_file_knows_a_machine", "not a git checkout, so no file is tracked");
        return;
    };
    let mut complaints = Vec::new();
    for file in String::from_utf8_lossy(&git.stdout).split_terminator('\0') {
        // What is no text, or deleted and not yet committed, has no lines to complain about.
        if let Ok(text) = fs::read_to_string(root().join(file)) {
            complaints.extend(machine_paths(file, &text));
        }
    }
    expect_none(&complaints);
}

#[test]
fn made_up_violations_are_caught() {
    let root = "pub mod net;\npub use service::{Server, client::Client as Sender};\npub use net::Endpoint;";
    for (file, text) in [
        ("src/net/addr.rs", "use crate::service::Server;"),
        ("src/net/addr.rs", "use crate::{net::Endpoint, wire::{Frame, VERSION}};"),
        ("src/net/addr.rs", "use crate::Server;"),
        ("src/net/addr.rs", "fn f() -> crate::Sender { todo() }"),
        ("src/net/addr.rs", "use super::super::wire::Frame;"),
        ("src/net/mod.rs", "use super::wire::Frame;"),
        ("src/net/addr.rs", "mod tests { use super::super::super::wire::Frame; }"),
        ("src/wire/frame.rs", "// no\nuse\n  crate :: net :: Endpoint;"),
        ("src/service/store/mod.rs", "fn f() { crate::app::exit::status() }"),
        ("src/app/args.rs", "use crate::bin::main;"),
        ("src/wire/sender.rs", "let x = wilco::net::Endpoint::new();"),
        ("src/wire/sender.rs", "use self::super::super::{seq, net};"),
    ] {
        assert!(!violations(file, text, root).is_empty(), "in {file}: {text}");
    }
}

#[test]
fn what_is_allowed_is_not_complained_about() {
    let root = "pub use service::Server;\npub use net::Endpoint;";
    for (file, text) in [
        ("src/net/addr.rs", "use crate::net::Endpoint; use super::error::Error; use crate::Endpoint;"),
        ("src/net/addr.rs", "// crate::service is told of it\n/* crate::wire */ let s = \"crate::app\";"),
        ("src/net/addr.rs", "use std::net::IpAddr; use tokio::net::wire; mod tests { use super::super::wire; }"),
        ("src/service/server.rs", "use crate::{net::Endpoint, wire::{Frame, VERSION}}; use super::client;"),
        ("src/app/server.rs", "use crate::Server; use crate::service::{self, Client};"),
        ("src/bin/server.rs", "fn main() { wilco::app::main() }"),
        ("src/lib.rs", "pub use app::run; pub use crate::service::Server;"),
    ] {
        expect_none(&violations(file, text, root));
    }
    assert_eq!(lines_that_count("//! A.\n\nfn a() {}\n#[cfg(test)]\nmod tests {}\n"), 3);
}

#[test]
fn made_up_machine_paths_are_caught() {
    let place = |name: &str| format!("/{name}");
    for line in ["see WORK/notes", "\"WORK\"", "cd ROOT/.cargo", "open(\"ROOT/x\")", "file://WORK/a"] {
        let line = line.replace("WORK", &place("work")).replace("ROOT", &place("root"));
        assert_eq!(machine_paths("a.md", &line).len(), 1, "{line}");
    }
    for line in ["docs/WORKers", "a/b.WORK", "src/WORK", "/var/ROOT/x", "http://host/WORKflow"] {
        let line = line.replace("/WORK", &place("work")).replace("/ROOT", &place("root"));
        expect_none(&machine_paths("a.md", &line));
    }
}
