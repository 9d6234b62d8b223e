//! `Standard`: the simple services that every Internet host once had, RFC 862 to 868. One file for each that takes more than
//! a line.
//!
//! Apart from the handlers for messages: these answer bytes as they come, or without being asked.

mod answers;
mod carrier;
mod chargen;
mod datagram;
mod echo;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use super::{BoxFuture, ConnectionHandler, Handler, Terms};
use crate::net::{Connection, plain};
use crate::service::{Conversation, Messages, Outcome, Outcomes, Peer};
use carrier::{End, close, write_all};

/// One of the simple services.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StandardService {
    /// Returns every byte (RFC 862).
    Echo,
    /// Takes every byte and never answers (RFC 863).
    Discard,
    /// The local date and time for people (RFC 867).
    Daytime,
    /// The seconds since 1900, four bytes (RFC 868).
    Time,
    /// Lines of all printable characters, without end (RFC 864).
    Chargen,
    /// A quote (RFC 865).
    Qotd,
}

impl StandardService {
    /// All services, by their names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("echo", Self::Echo),
        ("discard", Self::Discard),
        ("daytime", Self::Daytime),
        ("time", Self::Time),
        ("chargen", Self::Chargen),
        ("qotd", Self::Qotd),
    ];
}

impl fmt::Display for StandardService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, service)| service == self).map_or("", |(name, _)| name))
    }
}

impl FromStr for StandardService {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, service)| *service);
        found.ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name).join(", ");
            format!("no service `{name}`: there are {names}")
        })
    }
}

/// The handler that provides a simple service, over connections ([`ConnectionHandler`]) and datagrams ([`Handler`]).
///
/// Over datagrams it says nothing where it has no answer: the server's acknowledgement has to be none.
#[derive(Debug)]
pub struct Standard {
    service: StandardService,
    clock: fn() -> SystemTime,
    /// Whose turn it is, of the quotes and of the lines that go into datagrams.
    turn: AtomicUsize,
    /// Whether it was told why a datagram was not answered.
    told: AtomicBool,
}

impl Standard {
    /// A simple service by the clock of the system.
    pub fn new(service: StandardService) -> Self {
        Self::with_clock(service, SystemTime::now)
    }

    /// A simple service by another clock.
    pub fn with_clock(service: StandardService, clock: fn() -> SystemTime) -> Self {
        Self { service, clock, turn: AtomicUsize::new(0), told: AtomicBool::new(false) }
    }

    /// What a service says that does not depend on what it is told, whole.
    fn answer(&self) -> Vec<u8> {
        match self.service {
            StandardService::Echo | StandardService::Discard => Vec::new(),
            StandardService::Daytime => answers::daytime((self.clock)()).into_bytes(),
            StandardService::Time => answers::time((self.clock)()).to_vec(),
            StandardService::Chargen => chargen::line(self.next_turn()).to_vec(),
            StandardService::Qotd => answers::quote(self.next_turn()).into_bytes(),
        }
    }

    fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    async fn serve(&self, connection: &mut Connection, terms: &Terms, had: &mut Conversation) -> std::io::Result<End> {
        match self.service {
            StandardService::Echo => echo::converse(connection, terms, echo::Back::All, had).await,
            StandardService::Discard => echo::converse(connection, terms, echo::Back::Nothing, had).await,
            StandardService::Chargen => {
                had.had_message = true;
                chargen::converse(connection, terms).await
            }
            StandardService::Daytime | StandardService::Time | StandardService::Qotd => {
                had.had_message = true;
                write_all(connection, terms, &self.answer()).await?;
                had.messages = 1;
                Ok(End::Ours)
            }
        }
    }
}

impl ConnectionHandler for Standard {
    fn converse<'a>(
        &'a self,
        mut connection: Connection,
        peer: &'a Peer,
        terms: &'a Terms,
    ) -> BoxFuture<'a, Conversation> {
        Box::pin(async move {
            let mut had = Conversation::default();
            match self.serve(&mut connection, terms, &mut had).await {
                Ok(end) => close(connection, terms, end).await,
                Err(error) => {
                    let trouble = plain(&error);
                    // That a client goes when it has had enough is how these services end.
                    if carrier::is_gone(&error) {
                        tracing::debug!("{peer}: {trouble}");
                    } else {
                        tracing::warn!("{peer}: {trouble}");
                    }
                    had.trouble = Some(trouble);
                }
            }
            had
        })
    }
}

impl Handler for Standard {
    fn handle<'a>(&'a self, messages: Messages<'a>, peer: &'a Peer, outcomes: &'a mut Outcomes) -> BoxFuture<'a, ()> {
        outcomes.extend(messages.iter().map(|message| match datagram::answer(self, message, peer) {
            Some(answer) => Outcome::Reply(answer),
            None => Outcome::Done,
        }));
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_goes_by_its_name() {
        for (name, service) in StandardService::ALL {
            assert_eq!((name.parse(), service.to_string().as_str()), (Ok(service), name));
        }
        let error = "finger".parse::<StandardService>().expect_err("no such service");
        assert_eq!(error, "no service `finger`: there are echo, discard, daytime, time, chargen, qotd");
    }
}
