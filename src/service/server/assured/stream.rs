//! The frames of a session over a stream.
//!
//! Apart from plain messages on a stream, whose first bytes were seen not to be frames: all is done in one place, reading, writing and
//! what the session wants, so that a store that is busy does not keep the next messages from being read.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::session::Session;
use super::{Assured, CLOSE_DISCARD};
use crate::net::{Stream, plain};
use crate::service::alarm::Alarm;
use crate::service::server::config::LEAST_RATE;
use crate::service::server::setting::Setting;
use crate::service::workspace::Inbox;
use crate::service::{Conversation, Peer, Terms};
use crate::wire::assured::FrameDecoder;

/// While so many bytes wait to be taken by a client, nothing more is done for it.
const MOST_WAITING: usize = 64 * 1024;

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
    let mut session = Session::new(setting, assured, &*assured.streams, peer);
    let mut link = Link {
        terms: &setting.terms,
        inbox,
        decoder: FrameDecoder::new(assured.config.max_body),
        output: Vec::new(),
        written: 0,
        write_due: None,
        closing: false,
        silence: Alarm::default(),
        stalled: Alarm::default(),
    };
    let mut stopped = pin!(setting.terms.stop.wait());
    loop {
        let step = poll_fn(|cx| link.poll(cx, stream, &mut session, stopped.as_mut())).await;
        session.tell().await;
        match step {
            Ok(Step::News) => {}
            Ok(Step::Close) => break,
            Err(error) => {
                let trouble = plain(&error);
                tracing::warn!("{peer}: {trouble}");
                session.had.trouble = Some(trouble);
                break;
            }
        }
    }
    setting.terms.close(stream, CLOSE_DISCARD).await;
    session.finish().await;
    std::mem::take(&mut session.had)
}

/// What a link has come to.
enum Step {
    /// There is something to be told.
    News,
    /// All is said.
    Close,
}

/// A stream and what is on its way through it.
struct Link<'a> {
    terms: &'a Terms,
    inbox: Inbox,
    decoder: FrameDecoder,
    /// What is to be sent, of which so many bytes were.
    output: Vec<u8>,
    written: usize,
    /// When the client must have taken some of it.
    write_due: Option<Instant>,
    /// Whether the connection is closed once all is sent.
    closing: bool,
    silence: Alarm,
    stalled: Alarm,
}

impl Link<'_> {
    /// Reads, does what can be done, and writes, until there is something to be told or all is said.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        session: &mut Session<'_>,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<io::Result<Step>> {
        loop {
            let has_room = self.poll_write(cx, stream)?;
            if has_room && !self.closing {
                self.closing = session.poll(cx, self.grace(), &mut |frame| frame.encode(&mut self.output)).is_ready();
                if self.written < self.output.len() {
                    continue;
                }
            }
            if session.has_news() {
                return Poll::Ready(Ok(Step::News));
            }
            if self.closing {
                return if self.output.is_empty() { Poll::Ready(Ok(Step::Close)) } else { Poll::Pending };
            }
            if !has_room {
                return Poll::Pending;
            }
            if self.parse(session) || self.poll_read(cx, stream, session)? {
                continue;
            }
            if !session.is_draining() && stopped.as_mut().poll(cx).is_ready() {
                continue;
            }
            ready!(self.silence.poll(cx, session.due()));
        }
    }

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

    /// Reads once, if the session wants that. Says whether anything came, the end included.
    fn poll_read(&mut self, cx: &mut Context<'_>, stream: &mut Stream, session: &mut Session<'_>) -> io::Result<bool> {
        if !session.wants_input() {
            return Ok(false);
        }
        let Poll::Ready(read) = self.inbox.poll_read(cx, stream) else { return Ok(false) };
        if read? == 0 {
            session.ended();
        }
        Ok(true)
    }

    /// Writes what the client takes. Says whether there is room for more.
    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> io::Result<bool> {
        while self.written < self.output.len() {
            match Pin::new(&mut *stream).poll_write(cx, &self.output[self.written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => {
                    self.written += written?;
                    self.write_due = None;
                }
                Poll::Pending => {
                    let timeout = self.terms.write_timeout;
                    self.write_due = self.write_due.or_else(|| Instant::now().checked_add(timeout?));
                    if self.stalled.poll(cx, self.write_due).is_ready() {
                        return Err(Terms::reads_nothing());
                    }
                    return Ok(self.output.len() - self.written <= MOST_WAITING);
                }
            }
        }
        self.output.clear();
        self.output.shrink_to(SMALL);
        self.written = 0;
        Ok(true)
    }

    /// How much longer than silence may take what is under way, if it comes at the least rate.
    fn grace(&self) -> Duration {
        let held = u32::try_from(self.inbox.unread().len()).unwrap_or(u32::MAX);
        Duration::from_secs(1) * held / LEAST_RATE
    }
}
