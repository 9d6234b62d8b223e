//! How a delivery ends that has not delivered everything, with all that a user has to know then.
//!
//! Apart from the delivery: what is said here decides whether somebody sends a message twice.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Delivery;
use crate::net;
use crate::service::Error;
use crate::wire::assured::{Code, SessionId, StopReason};

/// How much was delivered when it was given up: nothing had become final for some time.
#[derive(Debug)]
pub struct GaveUp {
    /// How long nothing had become final.
    pub patience: Duration,
    /// Why there never was a connection; none if there was one.
    pub unreached: Option<net::Error>,
    /// What had gone wrong last, if anything had.
    pub trouble: Option<String>,
    /// How much was delivered.
    pub counts: Counts,
}

/// A session that client and server do not agree about, so that it cannot go on.
#[derive(Clone, Debug)]
pub struct LostSession {
    /// The session.
    pub session: SessionId,
    /// Why, for programs: 409 and 410 and 412 as in `docs/protocol.md`, 423 if another client goes on with it.
    pub code: Code,
    /// Why, for people.
    pub reason: String,
    /// Where the session was open last, and where it is not now, if these are two servers.
    pub moved: Option<Moved>,
    /// How much was delivered.
    pub counts: Counts,
}

/// A session that was opened at one server and is asked for at another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moved {
    /// The server that had it, as it calls itself.
    pub server: String,
    /// The address of that.
    pub from: String,
    /// The address of the other.
    pub to: String,
}

/// How much of what a delivery had accepted it has delivered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Messages accepted, those that were in the spool before included.
    pub accepted: u64,
    /// How many of them were acknowledged.
    pub acknowledged: u64,
    /// How many were refused for good.
    pub refused: u64,
    /// The last number that is final.
    pub settled: u64,
    /// The spool that the others wait in; without one nothing more is known of them than that they were not acknowledged.
    pub spool: Option<PathBuf>,
}

impl Counts {
    /// How many messages are not final.
    pub fn waiting(&self) -> u64 {
        self.accepted - self.acknowledged - self.refused
    }
}

impl Delivery {
    /// How much is delivered.
    pub fn counts(&self) -> Counts {
        let refused = self.sender.tally().refused;
        Counts {
            accepted: self.keeping.next() - self.first,
            acknowledged: (self.reached.settled + 1 - self.first).saturating_sub(refused),
            refused,
            settled: self.reached.settled,
            spool: self.keeping.directory().map(ToOwned::to_owned),
        }
    }

    /// Whether the last connection is to another server than that at which the session was open.
    fn moved(&self) -> Option<Moved> {
        let (server, from) = self.opened.clone()?;
        let to = self.at.clone();
        (from != to).then_some(Moved { server, from, to })
    }

    /// The error for why it has stopped.
    pub(super) fn failure(&mut self, reason: StopReason) -> Error {
        let counts = self.counts();
        match reason {
            StopReason::Patience(patience, trouble) => {
                let late = || self.places.late(patience);
                let unreached = (!self.reached.connected).then(|| self.unreached.take().unwrap_or_else(late));
                Error::GaveUp(Box::new(GaveUp { patience, unreached, trouble, counts }))
            }
            StopReason::Refused(code, reason) => Error::SessionRefused { code, reason },
            StopReason::Lost(code, reason) => {
                let (session, moved) = (self.keeping.session(), self.moved());
                Error::LostSession(Box::new(LostSession { session, code, reason, moved, counts }))
            }
            StopReason::NotSpoken(reason) => Error::NotSpoken(reason),
        }
    }
}

/// `3 of 10 messages were acknowledged, up to number 3; 7 wait in the spool outbox`.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, acknowledged, refused, settled, spool } = self;
        match (acknowledged, accepted) {
            (_, 0) => f.write_str("there were no messages")?,
            (0, 1) => f.write_str("the message was not acknowledged")?,
            (0, all) => write!(f, "none of {all} messages was acknowledged")?,
            (some, all) => write!(f, "{some} of {all} messages were acknowledged, up to number {settled}")?,
        }
        if *refused > 0 {
            write!(f, ", {refused} refused")?;
        }
        match (self.waiting(), spool) {
            (0, _) => Ok(()),
            (1, Some(spool)) => write!(f, "; 1 waits in the spool {}", spool.display()),
            (waiting, Some(spool)) => write!(f, "; {waiting} wait in the spool {}", spool.display()),
            (waiting, None) if waiting < *accepted => write!(f, "; {waiting} may or may not have arrived"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { patience, unreached, trouble, counts } = self;
        match (unreached, trouble) {
            (Some(error), _) => {
                write!(f, "{error}")?;
                match (counts.waiting(), &counts.spool) {
                    (0, _) => Ok(()),
                    (1, Some(spool)) => write!(f, "; a message waits in the spool {}", spool.display()),
                    (waiting, Some(spool)) => write!(f, "; {waiting} messages wait in the spool {}", spool.display()),
                    _ => f.write_str("; nothing was sent"),
                }
            }
            (None, trouble) => {
                write!(f, "{counts}: given up after {patience:?} without an acknowledgement")?;
                trouble.as_ref().map_or(Ok(()), |trouble| write!(f, " ({trouble})"))
            }
        }
    }
}

impl fmt::Display for LostSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, reason, moved, counts, .. } = self;
        let what = match *code {
            Code::TAKEN_OVER => "another client goes on with the session",
            Code::UNKNOWN_SESSION => "the server does not know the session",
            Code::SERVER_BEHIND => "the server has lost what it had acknowledged",
            _ => "the session was copied or set back",
        };
        write!(f, "{what}: {reason} ({code}); ")?;
        if let Some(Moved { server, from, to }) = moved.as_ref().filter(|_| *code != Code::TAKEN_OVER) {
            write!(f, "{to} says so, and it was open at {server} ({from}) before: do both have one store? ")?;
        }
        counts.fmt(f)
    }
}
