//! Standard output: whole messages, escaped on a terminal, and never a thread of the runtime blocked for long.
//!
//! Apart from the handlers, because only a program knows where its output goes: to a terminal that obeys control bytes, to a
//! file, to a pipe whose reader may be slow or gone.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, OnceLock};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use tokio::sync::{Mutex, Notify};

use crate::service::{BoxFuture, Screen};
use crate::wire::is_harmless;

use super::stall::{Reading, Stall};

/// What may be written to a pipe that says it is writable, without blocking (pipe(7), `PIPE_BUF`).
pub(super) const WRITABLE: usize = 4096;

/// How much is written at a time: as much as a pipe holds.
const PART: usize = 64 * 1024;

/// The same where a write returns only when all of it is taken: a reader that is slow and steady is seen to read.
const SHARED_PART: usize = 16 * 1024;

/// Standard output as a screen for messages.
#[derive(Debug)]
pub(super) struct StandardOutput {
    /// Held while something is written, so that messages never mix.
    output: Mutex<OwnedFd>,
    /// How much is written at a time.
    part: usize,
    kind: Kind,
    stall: Arc<Stall>,
    failure: OnceLock<io::Error>,
    failed: Notify,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// A file or the null device: a write never waits for a reader.
    File,
    Pipe,
    Terminal,
}

impl StandardOutput {
    pub(super) fn open() -> io::Result<Arc<Self>> {
        let stdout = io::stdout();
        let file_type = SFlag::from_bits_truncate(fstat(&stdout)?.st_mode) & SFlag::S_IFMT;
        let kind = match file_type {
            _ if stdout.is_terminal() => Kind::Terminal,
            SFlag::S_IFREG | SFlag::S_IFCHR | SFlag::S_IFBLK => Kind::File,
            _ => Kind::Pipe,
        };
        let shared = || stdout.as_fd().try_clone_to_owned();
        let (output, part) = match kind {
            Kind::File | Kind::Terminal => (shared()?, PART),
            Kind::Pipe => match non_blocking(stdout.as_fd()) {
                Ok(own) => (own, PART),
                // A socket, or a pipe of somebody else's.
                Err(_) => (shared()?, SHARED_PART),
            },
        };
        Ok(Arc::new(Self {
            output: Mutex::new(output),
            part,
            kind,
            stall: Arc::default(),
            failure: OnceLock::new(),
            failed: Notify::new(),
        }))
    }

    /// Waits until something could not be written, and says why.
    pub(super) async fn failed(&self) -> &io::Error {
        loop {
            let failed = self.failed.notified();
            if let Some(error) = self.failure.get() {
                return error;
            }
            failed.await;
        }
    }

    /// Says on standard error when nobody reads, for as long as it is awaited. A terminal that was stopped its user has stopped.
    pub(super) async fn tell_of_stalls(&self) {
        match self.kind {
            Kind::Pipe => {
                let tell = |reading| match reading {
                    Reading::Stopped(time) => tracing::warn!(
                        "nobody has read standard output for {time:?}: until somebody does, messages wait and are not acknowledged"
                    ),
                    Reading::GoesOn => tracing::warn!("standard output is read again"),
                };
                self.stall.watch(tell).await;
            }
            Kind::File | Kind::Terminal => std::future::pending().await,
        }
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let output = self.output.lock().await;
        if self.kind == Kind::File || (bytes.len() <= WRITABLE && is_writable(output.as_fd(), PollTimeout::ZERO)) {
            return write_all(&output, bytes, self.part, || {});
        }
        let (writer, owned, stall) = (output.try_clone()?, bytes.to_vec(), self.stall.clone());
        let part = self.part;
        stall.goes_on();
        // The lock is kept until it is written, whoever else waits.
        let written = tokio::task::spawn_blocking(move || {
            let written = write_all(&writer, &owned, part, || stall.goes_on());
            stall.is_over();
            written
        })
        .await;
        drop(output);
        written.map_err(io::Error::other)?
    }
}

impl Screen for Arc<StandardOutput> {
    fn show<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let written = match self.kind {
                Kind::Terminal => {
                    let mut safe = Vec::with_capacity(bytes.len());
                    escaped(bytes, &mut safe);
                    self.write(&safe).await
                }
                Kind::File | Kind::Pipe => self.write(bytes).await,
            };
            if let Err(error) = &written {
                let known = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
                let _ = self.failure.set(known);
                self.failed.notify_waiters();
            }
            written
        })
    }
}

/// Appends bytes of a peer as a terminal may show them: text, tabs and newlines as they are (a carriage return before a
/// newline is left out), everything that a terminal would obey, or that would deceive the eye, as `\x1b` or `\u{202e}`.
pub(super) fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut letters = chunk.valid().chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\n' | '\t' => out.push(letter as u8),
                '\r' if letters.peek() == Some(&'\n') => {}
                _ if letter.is_control() && letter.is_ascii() => {
                    out.extend_from_slice(format!("\\x{:02x}", u32::from(letter)).as_bytes());
                }
                _ if !is_harmless(letter) => {
                    out.extend_from_slice(letter.escape_unicode().to_string().as_bytes());
                }
                _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

/// JSON as any screen may show it: what [`escaped`] would touch is written as `\u202e`, which means the same to who parses it.
pub(super) fn safe_json(value: &serde_json::Value) -> String {
    let mut safe = String::new();
    for letter in value.to_string().chars() {
        if !is_harmless(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Whether something can be written without waiting, now or within a time.
pub(super) fn is_writable(output: BorrowedFd<'_>, within: PollTimeout) -> bool {
    let mut fds = [PollFd::new(output, PollFlags::POLLOUT)];
    poll(&mut fds, within).is_ok() && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT))
}

/// The same pipe or terminal with a description of its own (open(2)): it can be non-blocking, so that a write takes what there is room for, and nobody else, such as
/// the shell, is surprised.
pub(super) fn non_blocking(output: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(format!("/proc/self/fd/{}", output.as_raw_fd()))
        .map(OwnedFd::from)
}

fn write_all(output: &OwnedFd, mut bytes: &[u8], part: usize, goes_on: impl Fn()) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(output, &bytes[..bytes.len().min(part)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                goes_on();
            }
            Err(nix::errno::Errno::EINTR) => {}
            // It is our own, or somebody who shares it has made it non-blocking.
            Err(nix::errno::Errno::EAGAIN) => {
                let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
                poll(&mut fds, PollTimeout::NONE)?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Writes to standard output what a command that only asks has found. A reader that has gone has seen enough.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(text.len());
    match io::stdout().is_terminal() {
        true => escaped(text.as_bytes(), &mut bytes),
        false => bytes.extend_from_slice(text.as_bytes()),
    }
    match io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reader_that_takes_less_than_is_written_is_seen_to_read() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let output = non_blocking(writer.as_fd()).expect("a description of its own");
        drop(writer);
        let (goes_on, seen) = mpsc::channel();
        let writing =
            thread::spawn(move || write_all(&output, &[0; 2 * PART], PART, || goes_on.send(()).unwrap_or_default()));
        let is_seen = || seen.recv_timeout(Duration::from_secs(10)).expect("it is seen");
        // As much as the pipe holds, and then as much as was taken.
        is_seen();
        for _ in 0..4 {
            reader.read_exact(&mut [0; 2 * WRITABLE]).expect("a part");
            is_seen();
        }
        // A reader that has gone ends it.
        drop(reader);
        let error = writing.join().expect("no panic").expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_terminal_gets_nothing_that_it_obeys() {
        let table: [(&[u8], &str); 7] = [
            (b"hello\tthere\n", "hello\tthere\n"),
            (b"hello\r\n", "hello\n"),
            (b"over\rwrite", "over\\x0dwrite"),
            (b"\x1b[2J\x07\x7f\0", "\\x1b[2J\\x07\\x7f\\x00"),
            ("\u{9b}31m caf\u{e9}".as_bytes(), "\\u{9b}31m caf\u{e9}"),
            ("\u{202e}gpj.exe\u{200b}".as_bytes(), "\\u{202e}gpj.exe\\u{200b}"),
            (b"\xff\xfeok", "\\xff\\xfeok"),
        ];
        for (bytes, shown) in table {
            let mut out = Vec::new();
            escaped(bytes, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), shown);
        }
    }
}
