//! How a program is to be started: which, with what arguments, at a terminal or on pipes, here or on another host.
//!
//! Apart from the running program, because a test says all of this before there is one.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

use super::output::{Output, Stream};
use super::{Host, Program, compile_fixture};

/// Which of the three standard streams are a terminal; the others are pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Terminal {
    pub(crate) const NONE: Terminal = Terminal { stdin: false, stdout: false, stderr: false };
    pub(crate) const ALL: Terminal = Terminal { stdin: true, stdout: true, stderr: true };
    /// A terminal to type at, output into pipes.
    pub(crate) const STDIN: Terminal = Terminal { stdin: true, stdout: false, stderr: false };
    /// A terminal to read from, input from a pipe.
    pub(crate) const STDOUT: Terminal = Terminal { stdin: false, stdout: true, stderr: false };
}

/// A program about to be started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    through: Vec<OsString>,
    terminal: Terminal,
    namespace: Option<String>,
    no_input: bool,
    input: Option<Arc<OwnedFd>>,
}

impl Launch {
    /// Any program, by its path or by a name to look for in PATH.
    pub(crate) fn command<I>(program: impl AsRef<Path>, arguments: I) -> Launch
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Launch {
            program: program.as_ref().to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            variables: Vec::new(),
            directory: None,
            through: Vec::new(),
            terminal: Terminal::NONE,
            namespace: None,
            no_input: false,
            input: None,
        }
    }

    /// The `wilco` of this build.
    pub(crate) fn wilco<I>(arguments: I) -> Launch
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Launch::command(env!("CARGO_BIN_EXE_wilco"), arguments)
    }

    /// The `server` of this build.
    pub(crate) fn server<I>(arguments: I) -> Launch
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Launch::command(env!("CARGO_BIN_EXE_server"), arguments)
    }

    /// The `client` of this build.
    pub(crate) fn client<I>(arguments: I) -> Launch
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Launch::command(env!("CARGO_BIN_EXE_client"), arguments)
    }

    /// A program of `tests/fixtures/c`, compiled if need be, that tells the port it listens on.
    pub(crate) fn fixture<I>(name: &str, arguments: I) -> Launch
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        Launch::command(compile_fixture(name), arguments).env("FIXTURE_ANNOUNCE", "1")
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Launch {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Launch {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Starts it by way of another program, such as strace, which these words call.
    pub(crate) fn through<I>(mut self, words: I) -> Launch
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.through = words.into_iter().map(Into::into).collect();
        self
    }

    /// Starts it at a pseudo-terminal; what appears there is read as its standard output.
    pub(crate) fn terminal(mut self, terminal: Terminal) -> Launch {
        self.terminal = terminal;
        self
    }

    /// Starts it on another host.
    pub(crate) fn on(mut self, host: &Host) -> Launch {
        self.namespace = Some(host.namespace().to_owned());
        self
    }

    /// Starts it with nothing to read: standard input is `/dev/null`.
    pub(crate) fn no_input(mut self) -> Launch {
        self.no_input = true;
        self
    }

    /// Starts it with this as its standard input, as inetd passes a socket.
    pub(crate) fn input(mut self, input: impl Into<OwnedFd>) -> Launch {
        self.input = Some(Arc::new(input.into()));
        self
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Program {
        let mut command = self.build();
        let output = Output::default();
        let screen = (self.terminal != Terminal::NONE).then(|| {
            let (master, slave) = open_terminal();
            let side = |chosen, otherwise: fn() -> Stdio| {
                if chosen { Stdio::from(slave.try_clone().expect("duplicate the terminal")) } else { otherwise() }
            };
            command.stdin(side(self.terminal.stdin, Stdio::piped));
            command.stdout(side(self.terminal.stdout, Stdio::piped));
            command.stderr(side(self.terminal.stderr, Stdio::piped));
            File::from(master.as_fd().try_clone_to_owned().expect("duplicate the terminal"))
        });
        if screen.is_none() {
            let stdin = match &self.input {
                Some(input) => Stdio::from(input.try_clone().expect("duplicate the standard input")),
                None if self.no_input => Stdio::null(),
                None => Stdio::piped(),
            };
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        // The terminal's far side must be open in the child alone, or its end is never seen.
        let line = format!("{command:?}");
        drop(command);
        if let Some(stdout) = child.stdout.take() {
            output.collect(Stream::Stdout, stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            output.collect(Stream::Stderr, stderr);
        }
        if let Some(screen) = &screen {
            output.collect(Stream::Stdout, screen.try_clone().expect("duplicate the terminal"));
        }
        Program::new(line, child, output, screen)
    }

    fn build(&self) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(OsString::from));
        }
        // A terminal only sends signals for control keys to the session it belongs to.
        if self.terminal.stdin {
            words.extend(["setsid", "--ctty"].map(OsString::from));
        }
        words.extend(self.through.iter().cloned());
        words.push(self.program.clone().into());
        words.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // What the person who runs the tests has set must not decide what the programs do.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WILCO_") {
                command.env_remove(name);
            }
        }
        command.env("TERM", if self.terminal == Terminal::NONE { "dumb" } else { "xterm" });
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

/// Opens a pseudo-terminal. Both ends close on exec: a program another test starts at the same moment must not hold
/// them open. (`openpty` cannot promise that.)
fn open_terminal() -> (PtyMaster, File) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("open a pseudo-terminal");
    grantpt(&master).expect("grant the pseudo-terminal");
    unlockpt(&master).expect("unlock the pseudo-terminal");
    let name = ptsname_r(&master).expect("name the pseudo-terminal");
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, OFlag::O_NOCTTY.bits());
    let slave = options.read(true).write(true).open(&name).unwrap_or_else(|error| panic!("open {name}: {error}"));
    (master, slave)
}
