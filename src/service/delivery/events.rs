//! Everything from which something may come to a delivery: its connection, its spool, its source, and time.
//!
//! Apart from what is done about it: the sender is told, and is then asked what it wants.

use super::keeping::{Answer, Done};
use super::link::{Came, Link};
use super::machine::Heard;
use super::{Delivery, Flow, News, Told, places};
use crate::net::{Addr, Connection, ErrorKind, Socket};
use crate::service::{Error, Result, Source};
use crate::wire::assured::ServerFrame;
use crate::wire::assured::sender::Input;
use std::task::{Context, Poll};

impl Delivery {
    /// Hands the next frame to the sender; false if there is none.
    pub(super) fn take_frame(&mut self, now: std::time::Instant) -> Result<bool> {
        let Some(came) = self.link.as_mut().and_then(Link::take) else { return Ok(false) };
        let has_ended = matches!(came, Came::Ended(_));
        let input = match came {
            Came::Heard(heard) => {
                if let Heard::Frame(ServerFrame::Granted(grant)) = &heard {
                    self.max_body = Some(grant.max_body);
                }
                Input::Frame(heard)
            }
            Came::Broken(reason) => Input::Broken(reason),
            Came::Ended(reason) => Input::Disconnected(reason),
            Came::Unsendable(number) => {
                let reason = "it does not fit into one packet; a stream can carry it".to_owned();
                return Err(Error::Unsendable { number, reason });
            }
        };
        self.sender.handle(input, now);
        self.is_idle = false;
        if has_ended {
            self.link = None;
        }
        Ok(true)
    }

    /// Asks everything from which something may come, so that it wakes the task if there is nothing; false if there is not.
    pub(super) fn poll_events(&mut self, cx: &mut Context<'_>, source: &mut impl Source) -> Result<bool> {
        let mut has_come = self.poll_kept(cx)?;
        has_come |= self.poll_connected(cx)?;
        if let Some(link) = &mut self.link {
            if link.poll_send(cx).is_ready() {
                // There may be room for more.
                self.is_idle = false;
                has_come = true;
            }
            // What comes while the sender waits for the spool would have nowhere to go.
            has_come |= !self.keeping.is_asking() && link.poll_receive(cx).is_ready();
        }
        has_come |= self.poll_source(cx, source);
        Ok(has_come || self.poll_time(cx))
    }

    fn tell(&mut self, input: Input<Heard<'_>>) {
        self.sender.handle(input, super::now());
        self.is_idle = false;
    }

    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if let Some(wanted) = self.sender.wants().filter(|wanted| *wanted < self.keeping.next()) {
            self.keeping.read(wanted);
        }
        let Poll::Ready(done) = self.keeping.poll(cx) else { return Ok(false) };
        match done? {
            Done::Accepted(run) => {
                self.telling.tell(News::Accepted(run.next() - 1));
                // What the sender has no room for it only has to know of: it is read back when there is.
                let is_wanted = self.sender.wants() == Some(run.first);
                self.tell(if is_wanted { Input::Accepted(run) } else { Input::Assigned(run.next()) });
            }
            Done::Read(run) if run.is_empty() => {}
            Done::Read(run) => self.tell(Input::Accepted(run)),
            Done::Full(reason) => self.telling.tell(News::Full(reason)),
            Done::Answer(Answer::Checksum(own)) => self.tell(Input::Checksum(own)),
            Done::Answer(Answer::Kept { number, code, reason }) => {
                self.is_idle = false;
                self.telling.tell(News::Refused { number, code, reason });
            }
        }
        Ok(true)
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        let Poll::Ready(ended) = self.places.poll(cx) else { return Ok(false) };
        match ended {
            Ok((address, connection)) => {
                self.reached.connected = true;
                self.at.clone_from(&address);
                self.telling.tell(connected(address, &connection));
                self.link = Some(Link::new(connection, self.sender.speech(), self.max_reply));
                self.tell(Input::Places(self.places.count()));
                self.tell(Input::Connected);
            }
            // A mistake does not get better, and a permission is not given by waiting.
            Err(error)
                if !self.reached.connected && (error.kind() == ErrorKind::Usage || places::is_denied(&error)) =>
            {
                return Err(error.into());
            }
            Err(error) => {
                let reason = error.to_string();
                self.unreached = Some(error);
                self.tell(Input::NotConnected(reason));
            }
        }
        Ok(true)
    }

    fn poll_source(&mut self, cx: &mut Context<'_>, source: &mut impl Source) -> bool {
        if self.source.0 == Flow::Open
            && self.keeping.takes_more(self.sender.wants())
            && let Poll::Ready(next) = source.poll_next(cx)
        {
            match next {
                Some(batch) if batch.spans.is_empty() => {}
                Some(batch) => {
                    if let Some(run) = self.keeping.take(batch) {
                        self.tell(Input::Accepted(run));
                    }
                }
                None => self.source.0 = Flow::Ended,
            }
            return true;
        }
        let is_over = self.source == (Flow::Ended, Told::NotYet) && !self.keeping.has_unaccepted();
        if is_over {
            self.source.1 = Told::Told;
            self.tell(Input::NoMore);
        }
        is_over
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        let is_due = self.alarm.poll(cx, self.due).is_ready();
        self.is_idle &= !is_due;
        is_due
    }
}

fn connected(address: String, connection: &Connection) -> News {
    let addr = |addr: fn(&Socket) -> std::io::Result<Addr>| {
        connection.socket().and_then(|socket| addr(socket).ok()).filter(Addr::is_named)
    };
    News::Connected { address, peer: addr(Socket::peer_addr), local: addr(Socket::local_addr) }
}
