//! Runs the steps of a document in bash and compares what is printed with what is expected.
//!
//! Apart from the reading, because this part has to do with processes: a session is a shell in a network and a process
//! namespace of its own, so that fixed ports collide with nobody's and nothing outlives it.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use super::parse::{Command, Failure, Step, fits};
use crate::harness::{DEADLINE, is_root, skip};

/// Begins the mark that the shell prints after every command: then come the processes it still has in the
/// background, then `MARK_END`. No program prints these.
const MARK: &str = "\u{1e}done ";
const MARK_END: u8 = 0x1f;

/// True if sessions can be had here; else the test is skipped.
pub(super) fn is_possible(test: &str) -> bool {
    let possible = unshare().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !possible {
        skip(test, "this system lets nobody but root make a network namespace");
    }
    possible
}

fn unshare() -> Process {
    let mut unshare = Process::new("unshare");
    if !is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare
}

/// Runs all steps; the first that goes wrong is the failure.
pub(super) fn check(steps: &[Step]) -> Result<(), Failure> {
    let mut session = None;
    for step in steps {
        match step {
            Step::Fresh => session = None,
            Step::Write { line, name, text } => {
                let session = session.get_or_insert_with(Session::new);
                let path = session.directory.path().join(name);
                let parent = path.parent().unwrap_or(Path::new("."));
                let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
                written.map_err(|error| Failure { line: *line, what: format!("write {name}: {error}") })?;
            }
            Step::Look(command) => check_syntax(command)?,
            Step::Run(command) => {
                check_syntax(command)?;
                session.get_or_insert_with(Session::new).run(command)?;
            }
        }
    }
    Ok(())
}

fn check_syntax(command: &Command) -> Result<(), Failure> {
    let bash = Process::new("bash").args(["-n", "-c", &command.script]).output().expect("run bash");
    let told = String::from_utf8_lossy(&bash.stderr);
    // An unfinished here-document is a mere warning to bash.
    if bash.status.success() && told.is_empty() {
        return Ok(());
    }
    Err(Failure { line: command.line, what: format!("syntax of `{}`: {}", command.script, told.trim()) })
}

struct Session {
    shell: Child,
    commands: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What has been printed and belongs to no command yet.
    pending: Vec<u8>,
    directory: tempfile::TempDir,
}

impl Session {
    fn new() -> Session {
        let directory = tempfile::tempdir().expect("make the directory of a session");
        let programs = Path::new(env!("CARGO_BIN_EXE_wilco")).parent().expect("programs are in a directory");
        let path = std::env::var("PATH").unwrap_or_default();
        // The shell reads commands from its standard input, which they themselves do not get. Both outputs are one
        // pipe, made by the shell, so that lines come in the order in which they were written.
        let mut shell = unshare()
            .args(["bash", "-c", "exec 2>&1; ip link set lo up; exec bash --noprofile --norc"])
            .current_dir(directory.path())
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("EXAMPLES", programs.join("examples"))
            .env("HOME", directory.path())
            .env("TERM", "dumb")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("BASH_ENV")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the shell of a session");
        let commands = shell.stdin.take().expect("the shell has a standard input");
        let mut source = shell.stdout.take().expect("the shell has a standard output");
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Session { shell, commands, output, pending: Vec::new(), directory }
    }

    /// Runs one command and waits until it has ended, or is in the background, and all that is expected has come.
    fn run(&mut self, command: &Command) -> Result<(), Failure> {
        let failure = |what: String| Failure { line: command.line, what: format!("`{}`: {what}", command.script) };
        let script = format!("{{ {}\n}} </dev/null\nprintf '{MARK}%s\\037' \"$(jobs -rp)\"\n", command.script);
        // A shell that has ended cannot be written to; its output, which ends too, tells.
        let _ = self.commands.write_all(script.as_bytes()).and_then(|()| self.commands.flush());

        let end = Instant::now() + DEADLINE;
        // Whether the command has ended, and whether anything is left that could print.
        let (mut done, mut may_come) = (false, true);
        loop {
            if let Some(alone) = self.cut_mark() {
                (done, may_come) = (true, !alone);
            }
            let text = String::from_utf8_lossy(&self.pending).into_owned();
            let difference = Difference::of(&command.expected, &text);
            if done && difference.missing.is_empty() {
                self.pending.clear();
                return if difference.extra.is_empty() {
                    Ok(())
                } else {
                    Err(failure(difference.tell(command, &text)))
                };
            }
            if done && !may_come {
                return Err(failure(difference.tell(command, &text)));
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(more) => self.pending.extend(more),
                Err(RecvTimeoutError::Timeout) if done => return Err(failure(difference.tell(command, &text))),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(failure(format!("did not end in {DEADLINE:?}; {}", difference.tell(command, &text))));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(failure(format!("ended the shell; {}", difference.tell(command, &text))));
                }
            }
        }
    }

    /// Takes the mark out of what was printed, which may be in the middle of a line another program was just writing.
    /// `Some(true)` if there was one and it says that nothing is left in the background.
    fn cut_mark(&mut self) -> Option<bool> {
        let start = self.pending.windows(MARK.len()).position(|part| part == MARK.as_bytes())?;
        let body = start + MARK.len();
        let length = self.pending[body..].iter().position(|byte| *byte == MARK_END)?;
        self.pending.drain(start..=body + length);
        Some(length == 0)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of `unshare` is the end of the first process in the namespace, and with it of all others.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// How what was printed differs from what is expected.
struct Difference {
    missing: Vec<String>,
    extra: Vec<String>,
}

impl Difference {
    fn of(expected: &[String], text: &str) -> Difference {
        let mut missing: Vec<String> = expected.iter().filter(|line| *line != "...").cloned().collect();
        // Lines that leave nothing open choose first, so that `[..]` takes only what nobody else wants.
        let mut extra: Vec<String> = Vec::new();
        let printed = text.lines().filter(|line| !line.trim().is_empty());
        for line in printed {
            match missing.iter().position(|expected| !expected.contains("[..]") && fits(expected, line)) {
                Some(at) => drop(missing.remove(at)),
                None => extra.push(line.to_owned()),
            }
        }
        extra.retain(|line| match missing.iter().position(|expected| fits(expected, line)) {
            Some(at) => {
                missing.remove(at);
                false
            }
            None => true,
        });
        if expected.iter().any(|line| line == "...") {
            extra.clear();
        }
        Difference { missing, extra }
    }

    fn tell(&self, command: &Command, text: &str) -> String {
        let list = |lines: &[String]| lines.iter().map(|line| format!("\n    {line}")).collect::<String>();
        let got: Vec<String> = text.lines().map(str::to_owned).collect();
        format!(
            "missing:{}\n  not expected:{}\n  expected:{}\n  got:{}",
            list(&self.missing),
            list(&self.extra),
            list(&command.expected),
            list(&got)
        )
    }
}
