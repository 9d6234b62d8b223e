//! `drive`: a session over whatever carries its frames.
//!
//! Apart from the carriers, which know how frames come and go: here it is decided what is done next. A store that is busy keeps nothing from being
//! read, and a client that reads nothing fills no memory.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::session::{Room, Session, Words};
use crate::net::plain;
use crate::service::alarm::Alarm;
use crate::service::{Peer, Terms};
use crate::wire::assured::{Run, ServerFrame};

/// While so many bytes wait to be taken by a client, nothing more is done for it.
const MOST_WAITING: usize = 64 * 1024;

/// A connection of any kind, or what stands for one.
pub(super) trait Carrier {
    /// Gives the session what has come, as far as it wants that, and says whether there was anything, the end included.
    ///
    /// # Errors
    /// The connection is lost.
    fn poll_input(&mut self, cx: &mut Context<'_>, session: &mut Session<'_>) -> io::Result<bool>;

    /// Puts a frame behind those that are to be sent.
    fn put(&mut self, frame: &ServerFrame<'_>);

    /// Puts replies, each with the number of its message, behind the frames that are to be sent.
    fn put_replies(&mut self, replies: &Run) {
        for (number, body) in replies.messages() {
            self.put(&ServerFrame::Reply { number, body: body.into() });
        }
    }

    /// Sends what is taken now. It is ready once nothing is left.
    ///
    /// # Errors
    /// The connection is lost.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// How many bytes are still to be sent.
    fn waiting(&self) -> usize;

    /// How much longer than silence may take what is under way, if it comes at the least rate.
    fn grace(&self) -> Duration {
        Duration::ZERO
    }
}

/// Has a session until all is said, or the connection is lost.
pub(super) async fn drive(terms: &Terms, peer: &Peer, session: &mut Session<'_>, carrier: &mut impl Carrier) {
    let mut link =
        Link { terms, carrier, write_due: None, closing: false, silence: Alarm::default(), stalled: Alarm::default() };
    let mut stopped = pin!(terms.stop.wait());
    loop {
        let step = poll_fn(|cx| link.poll(cx, session, stopped.as_mut())).await;
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
}

/// What a link has come to.
enum Step {
    /// There is something to be told.
    News,
    /// All is said.
    Close,
}

struct Link<'a, C> {
    terms: &'a Terms,
    carrier: &'a mut C,
    /// When the client must have taken some of what waits.
    write_due: Option<Instant>,
    /// Whether it is over once all is sent.
    closing: bool,
    silence: Alarm,
    stalled: Alarm,
}

impl<C: Carrier> Link<'_, C> {
    /// Takes what comes, does what can be done, and sends, until there is something to be told or all is said.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        session: &mut Session<'_>,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<io::Result<Step>> {
        loop {
            let has_room = self.poll_output(cx)?;
            if has_room && !self.closing {
                let before = self.carrier.waiting();
                let grace = self.carrier.grace();
                let mut send = |words: &Words| {
                    match words {
                        Words::Frame(frame) => self.carrier.put(frame),
                        Words::Replies(run) => self.carrier.put_replies(run),
                    }
                    if self.carrier.waiting() <= MOST_WAITING { Room::Some } else { Room::None }
                };
                self.closing = session.poll(cx, grace, &mut send).is_ready();
                if self.carrier.waiting() > before {
                    continue;
                }
            }
            if session.has_news() {
                return Poll::Ready(Ok(Step::News));
            }
            if self.closing && self.carrier.waiting() == 0 {
                return Poll::Ready(Ok(Step::Close));
            }
            if self.closing || !has_room {
                return Poll::Pending;
            }
            if session.wants_input() && self.carrier.poll_input(cx, session)? {
                continue;
            }
            if !session.is_draining() && stopped.as_mut().poll(cx).is_ready() {
                continue;
            }
            ready!(self.silence.poll(cx, session.due()));
        }
    }

    /// Sends what is taken. Says whether there is room for more.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let before = self.carrier.waiting();
        if before == 0 {
            return Ok(true);
        }
        match self.carrier.poll_output(cx) {
            Poll::Ready(sent) => {
                self.write_due = None;
                sent.map(|()| true)
            }
            Poll::Pending => {
                if self.carrier.waiting() < before {
                    self.write_due = None;
                }
                let timeout = self.terms.write_timeout;
                self.write_due = self.write_due.or_else(|| Instant::now().checked_add(timeout?));
                match self.stalled.poll(cx, self.write_due) {
                    Poll::Ready(()) => Err(Terms::reads_nothing()),
                    Poll::Pending => Ok(self.carrier.waiting() <= MOST_WAITING),
                }
            }
        }
    }
}
