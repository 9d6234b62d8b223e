//! Reads a document as a sequence of steps: files to write, commands to run with the output that is expected.
//!
//! Apart from the running, because what is wrong with the text alone is found without running anything.

/// What is wrong, and at which line of the document.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) line: usize,
    pub(super) what: String,
}

/// One thing to do, with the line of the document that asks for it.
#[derive(Debug)]
pub(super) enum Step {
    /// Begin a session: another directory, another network, another shell.
    Fresh,
    Write {
        line: usize,
        name: String,
        text: String,
    },
    Run(Command),
    /// Look at the syntax only.
    Look(Command),
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) line: usize,
    pub(super) script: String,
    pub(super) expected: Vec<String>,
}

fn failure<T>(line: usize, what: impl Into<String>) -> Result<T, Failure> {
    Err(Failure { line, what: what.into() })
}

/// The text of a comment such as `<!-- file: name -->`, given the word before the colon.
fn comment<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let inner = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    Some(inner.strip_prefix(word)?.strip_prefix(':')?.trim())
}

/// Reads a whole document.
pub(super) fn parse(text: &str) -> Result<Vec<Step>, Failure> {
    let mut steps = vec![Step::Fresh];
    let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    // The last line that was not blank, for the comments that say something about the block after them.
    let mut before = (0, "");
    while let Some((start, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = (start, line);
            }
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut body = Vec::new();
        loop {
            let Some((number, line)) = lines.next() else { return failure(start, "this block has no end") };
            if line.trim() == "```" {
                break;
            }
            // A block within a list is indented as a whole.
            let blank = indent.min(line.len() - line.trim_start().len());
            body.push((number, &line[blank..]));
        }
        let words: Vec<&str> = language.split_whitespace().collect();
        if let Some(name) = comment(before.1, "file") {
            let plain = |part: &str| !matches!(part, "" | "." | "..");
            if !name.split('/').all(plain) {
                return failure(before.0, format!("{name:?} is no name for a file of the session's directory"));
            }
            let text = body.iter().map(|(_, line)| format!("{line}\n")).collect();
            steps.push(Step::Write { line: start, name: name.to_owned(), text });
        } else if words.first() == Some(&"console") {
            match words[1..] {
                [] => steps.extend(commands(&body)?.into_iter().map(Step::Run)),
                ["fresh"] => {
                    steps.push(Step::Fresh);
                    steps.extend(commands(&body)?.into_iter().map(Step::Run));
                }
                ["no_run"] => {
                    if comment(before.1, "not run").is_none_or(str::is_empty) {
                        return failure(start, "the line before must say why: `<!-- not run: reason -->`");
                    }
                    steps.extend(commands(&body)?.into_iter().map(Step::Look));
                }
                _ => return failure(start, format!("only `fresh` and `no_run` go with `console`: {language:?}")),
            }
        }
        before = (start, "");
    }
    Ok(steps)
}

/// Splits a block into commands, each with the output after it.
fn commands(body: &[(usize, &str)]) -> Result<Vec<Command>, Failure> {
    let mut commands: Vec<Command> = Vec::new();
    for (number, line) in body {
        if let Some(script) = line.strip_prefix("$ ") {
            commands.push(Command { line: *number, script: script.to_owned(), expected: Vec::new() });
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        let Some(command) = commands.last_mut() else {
            return failure(*number, "output before the first command (commands begin with `$ `)");
        };
        let more = line.strip_prefix("> ").or_else(|| (*line == ">").then_some(""));
        match more.filter(|_| command.expected.is_empty()) {
            Some(more) => command.script += &format!("\n{more}"),
            None => command.expected.push((*line).to_owned()),
        }
    }
    Ok(commands)
}

/// True if an expected line, in which `[..]` stands for anything, fits this line.
pub(super) fn fits(expected: &str, line: &str) -> bool {
    let mut parts = expected.trim_end().split("[..]");
    let line = line.trim_end();
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn anything_within_a_line() {
        for (expected, line) in [("a", "a"), ("a[..]", "abc"), ("[..]", ""), ("a[..]c", "abc"), ("a[..]b[..]", "a b")] {
            assert!(fits(expected, line), "{expected} {line}");
        }
        for (expected, line) in [("a", "ab"), ("a[..]c", "ab"), ("a[..]b[..]c", "acb"), ("a[..]a", "a")] {
            assert!(!fits(expected, line), "{expected} {line}");
        }
    }
}
