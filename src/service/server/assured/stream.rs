//! The frames of a session over a stream.
//!
//! Apart from plain messages on a stream, whose first bytes were seen not to be frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::link::{Carrier, drive};
use super::session::Session;
use super::{Assured, CLOSE_DISCARD};
use crate::net::Stream;
use crate::service::server::config::LEAST_RATE;
use crate::service::server::setting::Setting;
use crate::service::workspace::Inbox;
use crate::service::{Conversation, Peer};
use crate::wire::assured::{FrameDecoder, ServerFrame};

/// A buffer for what is to be sent that has grown beyond this is not kept.
const SMALL: usize = 1024;

/// Serves a session, whose first bytes are in the inbox, until it is over.
pub(in crate::service::server) async fn converse(
    setting: &Setting,
    assured: &Assured,
    stream: &mut Stream,
    peer: &Peer,
    inbox: Inbox,
) -> Conversation {
    let decoder = FrameDecoder::new(assured.config.max_body);
    let mut session = Session::new(setting, assured, &*assured.streams, assured.config.clone(), peer);
    let mut frames = Frames { stream, inbox, decoder, output: Vec::new(), sent: 0 };
    drive(&setting.terms, peer, &mut session, &mut frames).await;
    setting.terms.close(frames.stream, CLOSE_DISCARD).await;
    session.finish().await
}

/// A stream and what is on its way through it.
struct Frames<'a> {
    stream: &'a mut Stream,
    inbox: Inbox,
    decoder: FrameDecoder,
    /// What is to be sent, of which so many bytes were.
    output: Vec<u8>,
    sent: usize,
}

impl Frames<'_> {
    /// Finds the frames in what was read, as far as the session wants them. Says whether there were any.
    fn parse(&mut self, session: &mut Session<'_>) -> bool {
        let (mut done, mut found) = (0, false);
        let now = Instant::now();
        while session.wants_input() {
            match self.decoder.client_frame(&self.inbox.unread()[done..]) {
                Ok((used, frame)) => {
                    done += used;
                    let Some(frame) = frame else { break };
                    session.take(frame, now);
                }
                Err(error) => session.broken(error),
            }
            found = true;
        }
        if done > 0 {
            self.inbox.consume(done);
            self.inbox.handled();
        }
        found
    }
}

impl Carrier for Frames<'_> {
    fn poll_input(&mut self, cx: &mut Context<'_>, session: &mut Session<'_>) -> io::Result<bool> {
        if self.parse(session) {
            return Ok(true);
        }
        let Poll::Ready(read) = self.inbox.poll_read(cx, self.stream) else { return Ok(false) };
        if read? == 0 {
            session.ended();
        }
        Ok(true)
    }

    fn put(&mut self, frame: &ServerFrame<'_>) {
        frame.encode(&mut self.output);
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.waiting() > 0 {
            match ready!(Pin::new(&mut *self.stream).poll_write(cx, &self.output[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.output.clear();
        self.output.shrink_to(SMALL);
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn waiting(&self) -> usize {
        self.output.len() - self.sent
    }

    fn grace(&self) -> Duration {
        let held = u32::try_from(self.inbox.unread().len()).unwrap_or(u32::MAX);
        Duration::from_secs(1) * held / LEAST_RATE
    }
}
