//! The prompt: asking a person for a message, once or until the end of input.
//!
//! Apart from reading records, because a person is asked anew only when the last message was answered.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as answers;
use std::thread;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use tokio::sync::mpsc;

use crate::service::Batch;

/// The words of the sockets tutorial.
pub(super) const PROMPT: &str = "Please enter the message: ";

/// Whether the cursor stands behind a prompt.
static OPEN: AtomicBool = AtomicBool::new(false);

/// Leaves the prompt, if there is one: what is written next begins a line of its own.
pub(super) fn leave() -> bool {
    OPEN.swap(false, Ordering::Relaxed)
}

/// How many lines of history are kept.
const HISTORY: usize = 1000;

/// The prompt of an interactive client. It has the terminal in a mode of its own while it asks, which is taken back when this is
/// dropped: the exchange may end while a person is typing.
pub(super) struct Prompt {
    /// Is told of each answer; then the next message is asked for.
    pub(super) answered: answers::Sender<()>,
    terminal: Option<Termios>,
}

impl Drop for Prompt {
    fn drop(&mut self) {
        if let Some(before) = &self.terminal
            && tcgetattr(io::stdin()).is_ok_and(|now| now != *before)
        {
            // If that fails the terminal is gone.
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
            let _ = writeln!(io::stderr());
        }
    }
}

/// Asks for one message on the terminal. The receiver ends without one if there is none.
pub(super) fn ask_once() -> mpsc::Receiver<Batch> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        show_prompt();
        let mut line = Vec::new();
        let read = io::stdin().lock().read_until(b'\n', &mut line);
        leave();
        if read.is_ok_and(|read| read == 0) {
            // Ctrl-D leaves the cursor behind the prompt.
            let _ = writeln!(io::stderr());
            return;
        }
        let _ = sender.blocking_send(Batch::of(line.strip_suffix(b"\n").unwrap_or(&line)));
    });
    receiver
}

/// When the next message is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// When the last one was answered.
    Answered,
    /// At once, where no answers are expected.
    AtOnce,
}

/// Asks for messages until the end of input, with line editing and a history that is kept between runs.
pub(super) fn ask_on(next: Next) -> rustyline::Result<(mpsc::Receiver<Batch>, Prompt)> {
    let terminal = tcgetattr(io::stdin()).ok();
    let config = Config::builder().max_history_size(HISTORY)?.auto_add_history(true).build();
    let mut editor: Editor<(), FileHistory> = Editor::with_config(config)?;
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    let (sender, messages) = mpsc::channel(1);
    let (answered, wait) = answers::channel();
    thread::spawn(move || {
        loop {
            match editor.readline(PROMPT) {
                Ok(line) => {
                    let is_over = sender.blocking_send(Batch::of(line)).is_err();
                    if is_over || (next == Next::Answered && wait.recv().is_err()) {
                        break;
                    }
                }
                Err(ReadlineError::Interrupted) => {
                    // Ctrl-C came as a key: it ends the program as it does elsewhere.
                    let _ = signal_hook::low_level::raise(libc::SIGINT);
                    break;
                }
                Err(_end_of_input) => break,
            }
        }
        if let Some(path) = &history {
            let saved = path.parent().map_or(Ok(()), std::fs::create_dir_all).map(|()| editor.save_history(path));
            if let Err(error) = saved {
                tracing::debug!("history: {error}");
            }
        }
    });
    Ok((messages, Prompt { answered, terminal }))
}

fn show_prompt() {
    OPEN.store(true, Ordering::Relaxed);
    // On standard output, as the tutorial's client has it, unless that goes elsewhere: it is for messages only.
    let shown = match io::stdout().is_terminal() {
        true => write!(io::stdout(), "{PROMPT}").and_then(|()| io::stdout().flush()),
        false => write!(io::stderr(), "{PROMPT}"),
    };
    if let Err(error) = shown {
        tracing::debug!("prompt: {error}");
    }
}

/// `$XDG_STATE_HOME/wilco/history`, or the same under `~/.local/state` (XDG Base Directory Specification).
fn history_file() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("wilco").join("history"))
}
