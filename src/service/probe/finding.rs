//! `Finding`: what a probe has found out about one address, and what that says about it.
//!
//! Apart from the asking, because here is the judgement: which errors mean that nobody is there, and which tell nothing.

use std::fmt;
use std::time::Duration;

use nix::errno::Errno;
use serde::Serialize;

use super::Place;
use crate::net::{Addr, Endpoint, Error, ErrorKind, Target, Type};

/// What was found out about one address.
#[derive(Debug)]
pub struct Finding {
    /// What was asked about: one address, which may be one of a range; a whole range only if nothing is known of its host.
    pub place: Place,
    /// Whether it is part of a range.
    pub of_range: bool,
    /// Whether something is there.
    pub state: State,
    /// The address that answered or says most, where the name was found.
    pub addr: Option<Addr>,
    /// How long the answer took, or the lack of one; look-ups are not counted. None if there was no address to ask.
    pub time: Option<Duration>,
    /// Why nothing answers.
    pub error: Option<Error>,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Something takes connections there, or packets.
    Open,
    /// Nothing does: the machine says so.
    Closed,
    /// No answer, or no way there: something on the way drops it, or no machine is there.
    Filtered,
    /// It cannot be told.
    Unknown,
}

impl State {
    /// What an error of connecting says.
    fn of(error: &Error) -> Self {
        match (error.kind(), error.errno()) {
            (ErrorKind::Timeout, _) => Self::Filtered,
            // A socket of another type is at that name.
            (ErrorKind::Usage, _) => Self::Closed,
            (_, Some(Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ENOENT | Errno::ENOTDIR | Errno::ENOTSOCK)) => {
                Self::Closed
            }
            (_, Some(Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN)) => Self::Filtered,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Filtered => "filtered",
            Self::Unknown => "unknown",
        })
    }
}

impl Finding {
    /// Whether something is there.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Why it is not open, in a few words; nothing if it is.
    pub fn reason(&self) -> Option<String> {
        match (&self.error, self.state) {
            (Some(error), _) => Some(error.cause()),
            (None, State::Unknown) => Some("UDP has no connections, and nothing was sent".to_owned()),
            (None, _) => None,
        }
    }

    /// Whether it is UDP's way that nothing can be told.
    pub fn is_untold(&self) -> bool {
        self.state == State::Unknown && self.error.is_none()
    }

    /// What a successful connect(2) says: of UDP nothing, it never leaves the machine.
    pub(super) fn connected(place: Place, of_range: bool, addr: Option<Addr>, time: Duration) -> Self {
        let state = if is_udp(place.endpoint()) { State::Unknown } else { State::Open };
        Self { place, of_range, state, addr, time: Some(time), error: None }
    }

    pub(super) fn failed(place: Place, of_range: bool, error: Error, time: Duration) -> Self {
        let (state, addr) = (State::of(&error), error.addr().cloned());
        Self { place, of_range, state, addr, time: Some(time), error: Some(error) }
    }

    /// The name was not found, so that nothing is known of any port.
    pub(super) fn not_looked_up(place: Place, error: Error) -> Self {
        let of_range = place.is_range();
        Self { place, of_range, state: State::Unknown, addr: None, time: None, error: Some(error) }
    }

    /// Whether asking again would tell nothing else.
    pub(super) fn is_final(&self) -> bool {
        self.is_open() || self.is_untold() || self.error.as_ref().is_some_and(|e| e.kind() == ErrorKind::Usage)
    }
}

fn is_udp(endpoint: &Endpoint) -> bool {
    matches!(
        endpoint.target,
        Target::Inet { socket_type: Type::DGRAM, .. } | Target::Srv { socket_type: Type::DGRAM, .. }
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_says_what_is_known() {
        let system = |errno: Errno| Error::system("connect", io::Error::from_raw_os_error(errno as i32));
        for (error, state) in [
            (system(Errno::ECONNREFUSED), State::Closed),
            (system(Errno::ENOENT), State::Closed),
            (Error::usage("unix:x is a datagram socket"), State::Closed),
            (Error::timeout("connect", "no answer within 5s"), State::Filtered),
            (system(Errno::EHOSTUNREACH), State::Filtered),
            (system(Errno::ENETUNREACH), State::Filtered),
            // What this machine lacks, or forbids, says nothing about the other.
            (system(Errno::EACCES), State::Unknown),
            (system(Errno::EMFILE), State::Unknown),
            (system(Errno::EADDRNOTAVAIL), State::Unknown),
        ] {
            assert_eq!(State::of(&error), state, "{error}");
        }
    }
}
