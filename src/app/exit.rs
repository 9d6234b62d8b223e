//! The exit statuses, and the one place where they are decided.
//!
//! Apart, so that the manual can be held against one table: what a script may conclude from a status is the product's promise.

use std::process::{ExitCode, Termination};

use nix::errno::Errno;

use crate::net::{self, ErrorKind};
use crate::service::spool::SpoolError;
use crate::service::{self, Why};

use super::report;

/// How a program ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// 0: all done; what was sent was acknowledged.
    Done,
    /// 1: failed while running.
    Failed,
    /// 2: wrong usage or configuration.
    Usage,
    /// 3: could not connect, listen or resolve.
    Unreachable,
    /// 4: sent, but not acknowledged in time, or the other side ended before.
    Unacknowledged,
    /// 5: the other side refused a message for good.
    Refused,
    /// 6: an assured session was lost: client and server do not agree on it.
    Lost,
    /// As the shell sees a signal: once work in hand was finished.
    Signal(i32),
}

impl Exit {
    /// Every status with its number and what it means, for the manual.
    pub const ALL: [(Self, u8, &'static str); 7] = [
        (Self::Done, 0, "all done: what was sent was acknowledged"),
        (Self::Failed, 1, "failed while running"),
        (Self::Usage, 2, "wrong usage or configuration"),
        (Self::Unreachable, 3, "could not connect, listen or resolve"),
        (Self::Unacknowledged, 4, "sent but not acknowledged in time, or the other side ended before"),
        (Self::Refused, 5, "the other side refused a message for good"),
        (Self::Lost, 6, "session lost or forked (assured): what the server has is not what was sent to it"),
    ];

    /// Its number, as a shell shows it.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            _ => Self::ALL.iter().find(|(exit, ..)| *exit == self).map_or(1, |(_, number, _)| *number),
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        if let Self::Signal(signal) = self {
            // Ends the process as the signal would have; returns only if the signal cannot do that.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        ExitCode::from(self.number())
    }
}

/// The status for the end of a command; an error is reported on the way.
pub(super) fn of(result: anyhow::Result<Exit>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(error) => {
            let exit = status(&error);
            report::error(&error, exit);
            exit
        }
    }
}

fn status(error: &anyhow::Error) -> Exit {
    match (report::net_error(error), error.downcast_ref::<service::Error>()) {
        (Some(error), _) => of_net(error),
        (_, Some(error)) => of_service(error),
        _ => Exit::Failed,
    }
}

fn of_net(error: &net::Error) -> Exit {
    match error.kind() {
        ErrorKind::Usage => Exit::Usage,
        ErrorKind::Lookup | ErrorKind::System | ErrorKind::Timeout => Exit::Unreachable,
    }
}

fn of_service(error: &service::Error) -> Exit {
    match error {
        service::Error::Net(error) => of_net(error),
        // A datagram that is refused tells only now that nobody was there.
        service::Error::Unacknowledged { acknowledged: 0, why: Why::Lost(error), .. }
            if error.raw_os_error() == Some(Errno::ECONNREFUSED as i32) =>
        {
            Exit::Unreachable
        }
        service::Error::Undelivered { why: Why::Lost(error), .. }
            if error.raw_os_error() == Some(Errno::ECONNREFUSED as i32) =>
        {
            Exit::Unreachable
        }
        service::Error::Unacknowledged { .. } | service::Error::Undelivered { .. } => Exit::Unacknowledged,
        service::Error::GaveUp(how) => how.unreached.as_ref().map_or(Exit::Unacknowledged, of_net),
        service::Error::FilesUnfinished(how) => how.unreached.as_ref().map_or(Exit::Unacknowledged, of_net),
        service::Error::Refused { .. }
        | service::Error::DeadLetter { .. }
        | service::Error::SessionRefused { .. }
        | service::Error::NotSpoken(_)
        | service::Error::NoFiles(_) => Exit::Refused,
        service::Error::LostSession(_) => Exit::Lost,
        service::Error::Ended(error) => of_service(error),
        service::Error::Spool(
            SpoolError::InUse { .. }
            | SpoolError::Exposed { .. }
            | SpoolError::Foreign { .. }
            | SpoolError::Newer { .. }
            | SpoolError::NoParent { .. },
        ) => Exit::Usage,
        service::Error::Spool(_) => Exit::Failed,
        service::Error::Unsendable { .. } | service::Error::Local(_) => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn each_failure_has_its_status() {
        let system = |errno: Errno| io::Error::from_raw_os_error(errno as i32);
        let unacknowledged = |acknowledged, why| service::Error::Unacknowledged { sent: 2, acknowledged, why };
        let table: [(anyhow::Error, Exit); 8] = [
            (net::Error::usage("99999 is no port").into(), Exit::Usage),
            (net::Error::lookup("look up", "no such host").into(), Exit::Unreachable),
            (
                service::Error::from(net::Error::system("connect", system(Errno::ECONNREFUSED))).into(),
                Exit::Unreachable,
            ),
            (unacknowledged(1, Why::Closed).into(), Exit::Unacknowledged),
            (unacknowledged(0, Why::Lost(system(Errno::ECONNREFUSED))).into(), Exit::Unreachable),
            (unacknowledged(1, Why::Lost(system(Errno::ECONNREFUSED))).into(), Exit::Unacknowledged),
            (service::Error::Refused { number: 1, reason: "no".into() }.into(), Exit::Refused),
            (service::Error::Local(io::Error::other("disk")).into(), Exit::Failed),
        ];
        for (error, exit) in table {
            assert_eq!(status(&error), exit, "{error}");
        }
    }
}
