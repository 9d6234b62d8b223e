//! `Command`: a program with its arguments, found and known to be executable before anybody connects.
//!
//! Apart from running it: a mistake in it is the user's, and is told when the server starts, not to its clients.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

use super::environment::Environment;
use crate::net::{Error, Result, open_files};

/// The shell that command lines are given to (POSIX `sh`).
const SHELL: &str = "/bin/sh";

/// Where programs are looked for if the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The variables that are about the user.
const USER: [&str; 3] = ["HOME", "USER", "LOGNAME"];

/// How many characters of a command are shown where it is spoken of.
const SHOWN: usize = 40;

/// Words by themselves that mean something to a shell only.
const OPERATORS: [&str; 9] = ["|", "||", "&", "&&", ";", "<", ">", ">>", "2>&1"];

/// A program that exists, and the arguments that it is started with.
#[derive(Clone, Debug)]
pub struct Command {
    path: PathBuf,
    /// The name it was called by, then its arguments.
    words: Vec<OsString>,
    line: String,
    environment: Environment,
}

impl Command {
    /// A program and its arguments, split as a shell splits words: with its quotation marks, and nothing else of it. The
    /// program is looked for in PATH, unless there is a slash in its name.
    ///
    /// # Errors
    /// A quotation mark is not closed, or there is no such program.
    pub fn split(line: &str) -> Result<Self> {
        let words = shlex::split(line)
            .ok_or_else(|| Error::usage(format!("`{line}` is no command")).hinting("a quotation mark is not closed"))?;
        let Some(name) = words.first() else {
            return Err(
                Error::usage("there is no command").hinting("give the name of a program, and its arguments after it")
            );
        };
        let path = find(name, std::env::var_os("PATH"))?;
        Ok(Self::new(path, words.into_iter().map(OsString::from).collect(), line))
    }

    /// A line for the shell: `/bin/sh -c`.
    ///
    /// # Errors
    /// The line is empty, or there is no shell.
    pub fn shell(line: &str) -> Result<Self> {
        if line.trim().is_empty() {
            return Err(Error::usage("there is no command").hinting("give a line as a shell reads it"));
        }
        let path = find(SHELL, None)?;
        Ok(Self::new(path, ["sh", "-c", line].map(OsString::from).to_vec(), line))
    }

    /// The same with the home and the name of another user in its environment: for a process that becomes that user.
    #[must_use]
    pub fn of_user(mut self, name: &str, home: &Path) -> Self {
        for (variable, value) in USER.iter().zip([home.as_os_str(), name.as_ref(), name.as_ref()]) {
            self.environment.set(variable, value);
        }
        self
    }

    /// The same without a home and a name: for a process that becomes a user of whom nothing but the number is known.
    #[must_use]
    pub fn of_unknown_user(mut self) -> Self {
        USER.iter().for_each(|variable| self.environment.remove(variable));
        self
    }

    /// Whether it can be started by this process as it is now: one that has become another user may have lost the right.
    ///
    /// # Errors
    /// The file is not there any more, or may not be executed.
    pub fn check(&self) -> Result<()> {
        eaccess(&self.path, AccessFlags::X_OK).map_err(|_| {
            let name = self.path.display();
            Error::usage(format!("`{name}` may not be executed by the user that this process has become"))
                .hinting("that user needs the right to execute it, and to search the directories above it")
        })
    }

    /// The first of its arguments that would mean something to a shell, and means nothing to the program.
    pub fn operator(&self) -> Option<&'static str> {
        if self.path == Path::new(SHELL) {
            return None;
        }
        let is_word = |operator: &&&str| self.words.iter().any(|word| word == OsStr::new(**operator));
        OPERATORS.iter().find(is_word).copied()
    }

    /// What is to be started, with the environment that every program gets and no other.
    pub(super) fn build(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.path);
        command.arg0(&self.words[0]).args(&self.words[1..]);
        command.env_clear().envs(self.environment.iter());
        open_files::restore_in(&mut command);
        command
    }

    fn new(path: PathBuf, words: Vec<OsString>, line: &str) -> Self {
        Self { path, words, line: line.trim().to_owned(), environment: Environment::inherited() }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line.char_indices().nth(SHOWN) {
            None => f.write_str(&self.line),
            Some((end, _)) => write!(f, "{} ...", self.line[..end].trim_end()),
        }
    }
}

/// The file of a program: the first of its name in `path` that can be executed.
fn find(name: &str, path: Option<OsString>) -> Result<PathBuf> {
    if name.contains('/') {
        // The server may go to another directory later.
        let file = std::path::absolute(name).map_err(|error| Error::system("find", error).on(name))?;
        return is_executable(&file).map(|()| file);
    }
    let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
    let mut there = None;
    for file in std::env::split_paths(&path).map(|directory| directory.join(name)) {
        match is_executable(&file) {
            Ok(()) => return std::path::absolute(&file).map_err(|error| Error::system("find", error).on(name)),
            Err(error) if file.is_file() => there = there.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(there.unwrap_or_else(|| {
        Error::usage(format!("there is no program `{name}` in PATH"))
            .hinting("give its path; what only a shell knows, such as `cd` and pipes, needs --sh")
    }))
}

fn is_executable(file: &Path) -> Result<()> {
    let name = file.display();
    if !file.exists() {
        return Err(Error::usage(format!("there is no program `{name}`"))
            .hinting("give a path, or a name that is in PATH; a line for the shell needs --sh"));
    }
    if !file.is_file() {
        return Err(Error::usage(format!("`{name}` is no program")).hinting("give the path of a file"));
    }
    eaccess(file, AccessFlags::X_OK)
        .map_err(|_| Error::usage(format!("`{name}` may not be executed")).hinting(format!("chmod +x {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<&str> {
        command.words.iter().map(|word| word.to_str().expect("UTF-8")).collect()
    }

    #[test]
    fn words_are_split_as_a_shell_quotes() {
        let command = Command::split(r#" tr 'a b' "c d" e\ f "#).expect("a command");
        assert_eq!(words(&command), ["tr", "a b", "c d", "e f"]);
        assert!(command.path.is_absolute() && command.path.ends_with("tr"), "{command:?}");
        assert_eq!(words(&Command::shell("echo $HOME").expect("a command")), ["sh", "-c", "echo $HOME"]);
    }

    #[test]
    fn a_command_that_cannot_be_run_is_told_with_what_to_do() {
        for (line, what, hint) in [
            ("no-such-program x", "no program `no-such-program` in PATH", "--sh"),
            ("/no/such/program", "no program `/no/such/program`", "PATH"),
            ("/etc", "`/etc` is no program", "file"),
            ("/etc/passwd", "may not be executed", "chmod +x /etc/passwd"),
            ("cat 'x", "no command", "quotation mark"),
            (" ", "no command", "name of a program"),
        ] {
            let error = Command::split(line).expect_err(line);
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.hint().is_some_and(|text| text.contains(hint)), "{error:?}");
        }
        assert!(Command::shell(" ").is_err());
    }

    #[test]
    fn a_program_is_told_of_no_user_but_its_own() {
        let told = |command: Command| {
            let about_user = command.environment.iter().filter(|(name, _)| USER.iter().any(|user| name == user));
            about_user.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
        };
        let command = Command::split("cat").expect("a command").of_user("alice", Path::new("/home/alice"));
        assert_eq!(told(command.clone()), ["/home/alice", "alice", "alice"]);
        assert!(told(command.of_unknown_user()).is_empty());
    }

    #[test]
    fn a_long_command_is_named_by_its_beginning() {
        assert_eq!(Command::split(" tr a b ").expect("a command").to_string(), "tr a b");
        let line = format!("echo {}", "\u{e9}".repeat(SHOWN));
        assert_eq!(Command::split(&line).expect("a command").to_string(), format!("{} ...", &line[..SHOWN * 2 - 5]));
    }

    #[test]
    fn what_is_meant_for_a_shell_is_noticed() {
        let operator = |line| Command::split(line).expect("a command").operator();
        assert_eq!(operator("cat | tr a b"), Some("|"));
        assert_eq!(operator("echo a && echo b"), Some("&&"));
        assert_eq!(operator("grep 'a|b'"), None);
        assert_eq!(Command::shell("cat | tr a b").expect("a command").operator(), None);
    }
}
