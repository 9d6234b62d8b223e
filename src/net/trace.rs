//! Shows socket calls as they are made: `socket(AF_INET, SOCK_STREAM) = 3`.
//!
//! Apart, because every call of the layer goes through here and none should know who watches. Nothing is formatted
//! unless somebody does: a subscriber of `tracing` that takes the target [`TARGET`].

use std::fmt;
use std::io;

use nix::errno::Errno;
use tracing::Level;

/// The target of the events, one for each call, their message the call and its result.
pub const TARGET: &str = "wilco::socket_call";

/// Reports a call and hands its result on. A call that would have blocked is not reported: it is made again.
pub(crate) fn call<T: Shown>(call: fmt::Arguments<'_>, result: io::Result<T>) -> io::Result<T> {
    if tracing::enabled!(target: TARGET, Level::TRACE) {
        match &result {
            Ok(value) => tracing::trace!(target: TARGET, "{call} = {}", Show(value)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(errno) => tracing::trace!(target: TARGET, "{call} = -1 {errno:?} ({})", errno.desc()),
                None => tracing::trace!(target: TARGET, "{call} = -1 ({error})"),
            },
        }
    }
    result
}

/// How the result of a call is shown, as the manual pages have it: a number, 0 for nothing.
pub(crate) trait Shown {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Shown for () {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0")
    }
}

impl Shown for usize {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

struct Show<'a, T>(&'a T);

impl<T: Shown> fmt::Display for Show<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(f)
    }
}
