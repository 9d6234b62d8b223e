//! Finds the paths in a Rust source that lead through the root of the crate: `crate::a::b`, `super::super::a`,
//! `use crate::{a, b::{c, d}}`.
//!
//! Apart from the rules, because this knows a little of the language and nothing of layers.

/// A path from the root of the crate, without the word for the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) line: usize,
    pub(super) names: Vec<String>,
}

/// A word or a sign of the source; comments, strings and characters are left out.
#[derive(Debug)]
struct Token {
    line: usize,
    text: String,
}

fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let (mut at, mut line) = (0, 1);
    let mut found = Vec::new();
    while at < bytes.len() {
        let start = at;
        let rest = &text[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = hashes + 2;
            at += rest[body..].find(&end).map_or(rest.len(), |length| body + length + end.len());
        } else if bytes[at] == b'"' {
            at += 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            at = (at + 1).min(bytes.len());
        } else if bytes[at] == b'\'' {
            at += quoted(rest);
        } else if is_word(bytes[at]) {
            while at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
            found.push(Token { line, text: text[start..at].to_owned() });
        } else {
            at += if rest.starts_with("::") { 2 } else { 1 };
            if !bytes[start].is_ascii_whitespace() {
                found.push(Token { line, text: text[start..at].to_owned() });
            }
        }
        line += text.as_bytes()[start..at.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count();
    }
    found
}

/// How many `#` the raw string has that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.bytes().take_while(|byte| *byte == b'#').count();
    (rest.as_bytes().get(1 + hashes) == Some(&b'"')).then_some(hashes)
}

/// The length of the character that begins here, or of the sign alone when it is a lifetime.
fn quoted(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => rest[3.min(rest.len())..].find('\'').map_or(1, |end| end + 4),
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// All paths through the root in a source whose module is `module`.
pub(super) fn absolute_paths(text: &str, module: &[String]) -> Vec<Found> {
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    // The modules opened within the file, each with the depth of braces inside it.
    let (mut inner, mut depth): (Vec<usize>, usize) = (Vec::new(), 0);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "{" => {
                depth += 1;
                if at >= 2 && word(at - 2) == "mod" {
                    inner.push(depth);
                }
            }
            "}" => {
                if inner.last() == Some(&depth) {
                    inner.pop();
                }
                depth = depth.saturating_sub(1);
            }
            "crate" | "wilco" if word(at + 1) == "::" => {
                at = tree(&tokens, at + 2, &[], &mut found);
                continue;
            }
            "super" if word(at + 1) == "::" => {
                let mut ups = 0;
                while word(at) == "super" && word(at + 1) == "::" {
                    (ups, at) = (ups + 1, at + 2);
                }
                // Modules within the file first, then those that the file is in.
                let above = module.len() + inner.len();
                let left = above.saturating_sub(ups).min(module.len());
                at = tree(&tokens, at, &module[..left], &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the path or the group of paths that begins at `at`; returns where it ends.
fn tree(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Found>) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut names = before.to_vec();
    loop {
        if word(at) == "{" {
            at += 1;
            while at < tokens.len() && word(at) != "}" {
                let start = at;
                at = tree(tokens, at, &names, found);
                if word(at) == "as" {
                    at += 2;
                }
                if word(at) == "," || at == start {
                    at += 1;
                }
            }
            return at + 1;
        }
        let Some(token) = tokens.get(at).filter(|_| word(at) != "}") else { return at };
        names.push(token.text.clone());
        at += 1;
        if word(at) != "::" {
            found.push(Found { line: token.line, names });
            return at;
        }
        at += 1;
    }
}

/// What the root makes known under its own name, each with the module it comes from.
pub(super) fn reexports(root: &str) -> Vec<(String, String)> {
    let tokens = tokens(root);
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut known = Vec::new();
    for at in 0..tokens.len() {
        if word(at) == "use" {
            let start = if matches!(word(at + 1), "crate" | "self") { at + 3 } else { at + 1 };
            let mut found = Vec::new();
            let end = tree(&tokens, start, &[], &mut found);
            for path in found {
                if let [first, .., last] = path.names.as_slice() {
                    known.push((last.clone(), first.clone()));
                }
            }
            // `as` gives a name of its own.
            let renamed = (start..=end).filter(|at| word(*at) == "as").map(|at| word(at + 1).to_owned());
            known.extend(renamed.map(|name| (name, word(start).to_owned())));
        }
    }
    known
}
