//! `Supervisor`: whoever has started this server, such as systemd, and is told when it is ready, reads anew, lives, and stops.
//!
//! Apart from the service itself, which does not depend on being watched. The protocol is that of sd_notify(3): datagrams to the socket
//! that `NOTIFY_SOCKET` names. It is connected before privileges are given up: afterwards it may be out of reach.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::net::plain;

/// How long a supervisor that is busy may keep the server waiting.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The supervisor; all of it does nothing where there is none.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment tells of.
    pub(super) fn of_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let variable = |name| std::env::var(name).ok();
        match connect(&name) {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id()),
            },
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET={}: {}", name.to_string_lossy(), plain(&error));
                Self::default()
            }
        }
    }

    /// How often it wants to hear that the server is alive; twice as often as it must.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|most| most / 2)
    }

    /// Clients are served from now on; `status` is shown beside it.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// The configuration is read anew; [`Supervisor::reloaded`] says when that is over.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// The configuration has been read anew.
    pub(super) fn reloaded(&self) {
        self.tell("READY=1");
    }

    /// Messages in hand are finished, and then it ends.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// It is alive.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::warn!("the supervisor cannot be told {state:?}: {}", plain(&error));
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let addr = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&addr)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(socket)
}

/// What sd_watchdog_enabled(3) reads: the time, and whether it is this process that is meant.
fn watchdog(microseconds: Option<String>, pid: Option<String>, own_pid: u32) -> Option<Duration> {
    let is_meant = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    let most = Duration::from_micros(microseconds?.parse().ok()?);
    (is_meant && !most.is_zero()).then_some(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_for_the_process_that_is_meant() {
        let asked = |microseconds: Option<&str>, pid: Option<&str>| {
            watchdog(microseconds.map(Into::into), pid.map(Into::into), 7).map(|most| most.as_micros())
        };
        assert_eq!(asked(Some("2000000"), Some("7")), Some(2_000_000));
        assert_eq!(asked(Some("2000000"), None), Some(2_000_000));
        assert_eq!(asked(Some("2000000"), Some("8")), None);
        assert_eq!(asked(Some("0"), None), None);
        assert_eq!(asked(Some("soon"), None), None);
        assert_eq!(asked(None, None), None);
    }
}
