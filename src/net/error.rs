//! The one error of the socket layer: what was attempted, on what address, why it failed, and what to do.
//!
//! Apart from the code that fails, so that every failure reads the same:
//! `connect tcp:db:5432 (10.0.0.7:5432): connection refused`.

use std::fmt;
use std::io;

use nix::errno::Errno;

use super::Addr;

/// The result of an operation of the socket layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on an address or a socket failed.
///
/// `Display` gives one line: the operation, what it was for, the cause. [`Error::hint`] is a second sentence that
/// says what to do, where something can be said.
///
/// `Debug` gives the same with the hint, so that a `main` which returns it says something to a user.
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    subject: Option<String>,
    addr: Option<Box<Addr>>,
    cause: Cause,
    hint: Option<String>,
    is_absence: bool,
}

/// What sort of failure it was, for those who decide by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorKind {
    /// Written wrongly or impossible: an address, an option, a combination. Trying again does not help.
    Usage,
    /// A name has no address, or the look-up failed.
    Lookup,
    /// The kernel or the peer said no.
    System,
    /// The deadline passed.
    Timeout,
}

#[derive(Debug)]
enum Cause {
    System(io::Error),
    Text(String),
}

impl Error {
    /// A mistake in what was written: `what` says what is wrong with it.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, "", Cause::Text(what.into()))
    }

    /// A look-up that found nothing or could not be made.
    pub fn lookup(operation: &'static str, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Lookup, operation, Cause::Text(what.into()))
    }

    /// A deadline that passed while `operation` was under way; `what` says which.
    pub fn timeout(operation: &'static str, what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Timeout, operation, Cause::Text(what.into()))
    }

    /// A refusal by the kernel or the peer: `operation` is the call or the step, such as `bind`.
    pub fn system(operation: &'static str, error: io::Error) -> Self {
        Self::new(ErrorKind::System, operation, Cause::System(error))
    }

    /// Says that what was looked up decidedly does not exist: whoever could have told has answered.
    pub(crate) fn absent(mut self) -> Self {
        self.is_absence = true;
        self
    }

    /// Whether what was looked up decidedly does not exist, so that nothing known of it before counts any more. Any other failure may pass.
    pub fn is_absence(&self) -> bool {
        self.is_absence
    }

    /// Names what the operation was for, in the words of the user: an address as it was written.
    pub fn on(mut self, subject: impl fmt::Display) -> Self {
        self.subject.get_or_insert_with(|| subject.to_string());
        self
    }

    /// Names the kernel's address that was used.
    pub fn at(mut self, addr: &Addr) -> Self {
        self.addr.get_or_insert_with(|| Box::new(addr.clone()));
        self
    }

    /// Says what to do about it, in one sentence.
    pub fn hinting(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The call or the step that failed, such as `bind`.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// What sort of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Why it failed and nothing else, such as `connection refused`: for those who name the address themselves.
    pub fn cause(&self) -> String {
        match &self.cause {
            Cause::System(error) => plain(error),
            Cause::Text(text) => text.clone(),
        }
    }

    /// What to do about it, if anything can be said.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The kernel's address that was used.
    pub fn addr(&self) -> Option<&Addr> {
        self.addr.as_deref()
    }

    /// The error number of the system, if it came from there.
    pub fn errno(&self) -> Option<Errno> {
        match &self.cause {
            Cause::System(error) => error.raw_os_error().map(Errno::from_raw),
            Cause::Text(_) => None,
        }
    }

    /// The error's kind in the terms of the standard library.
    pub fn io_kind(&self) -> io::ErrorKind {
        match (&self.cause, self.kind) {
            (Cause::System(error), _) => error.kind(),
            (_, ErrorKind::Usage) => io::ErrorKind::InvalidInput,
            (_, ErrorKind::Lookup) => io::ErrorKind::NotFound,
            (_, ErrorKind::Timeout) => io::ErrorKind::TimedOut,
            (_, ErrorKind::System) => io::ErrorKind::Other,
        }
    }

    fn new(kind: ErrorKind, operation: &'static str, cause: Cause) -> Self {
        Self { kind, operation, subject: None, addr: None, cause, hint: None, is_absence: false }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)?;
        let mut named = !self.operation.is_empty();
        if let Some(subject) = &self.subject {
            write!(f, "{}{subject}", if named { " " } else { "" })?;
            named = true;
        }
        if let Some(addr) = &self.addr {
            match named {
                true => write!(f, " ({addr})")?,
                false => write!(f, "{addr}")?,
            }
            named = true;
        }
        if named {
            f.write_str(": ")?;
        }
        f.write_str(&self.cause())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        self.hint().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::System(error) => error.source(),
            Cause::Text(_) => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.io_kind(), error)
    }
}

/// The text of a system error as one reads it in a sentence: no capital, no number.
pub fn plain(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    };
    // "Connection refused" in the middle of a line; "I/O error" stays.
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_operation_subject_address_and_cause() {
        let refused = || io::Error::from_raw_os_error(Errno::ECONNREFUSED as i32);
        let addr = Addr::Inet("10.0.0.7:5432".parse().expect("an address"));
        let full = Error::system("connect", refused()).on("tcp:db:5432").at(&addr);
        assert_eq!(full.to_string(), "connect tcp:db:5432 (10.0.0.7:5432): connection refused");
        assert_eq!(full.errno(), Some(Errno::ECONNREFUSED));
        assert_eq!(full.cause(), "connection refused");
        assert_eq!(Error::system("read", refused()).to_string(), "read: connection refused");
        assert_eq!(Error::usage("99999 is no port").to_string(), "99999 is no port");
        assert_eq!(plain(&io::Error::from_raw_os_error(Errno::EIO as i32)), "I/O error");
    }
}
