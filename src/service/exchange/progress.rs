//! `Progress`: how many messages were sent and how many of them answered, and how long the next answer is waited for.
//!
//! Apart from the two ways of moving bytes, which count alike.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::service::alarm::Alarm;
use crate::service::error::Why;
use crate::service::{Acknowledgements, ClientConfig, Error, Messages, Result};
use crate::wire::Span;
use crate::wire::plain::Verdict;

/// The counts of an exchange.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Messages sent.
    pub sent: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Messages refused for good.
    pub refused: u64,
}

#[derive(Debug)]
pub(super) struct Progress {
    summary: Summary,
    first_refusal: Option<(u64, String)>,
    unsendable: Option<(u64, &'static str)>,
    /// The other side's words for why it cannot go on.
    not_now: Option<String>,
    awaited: Acknowledgements,
    timeout: Duration,
    last: Instant,
    alarm: Alarm,
}

impl Progress {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            summary: Summary::default(),
            first_refusal: None,
            unsendable: None,
            not_now: None,
            awaited: config.acknowledgements,
            timeout: config.timeout,
            last: Instant::now(),
            alarm: Alarm::default(),
        }
    }

    pub(super) fn summary(&self) -> Summary {
        self.summary
    }

    /// Messages that have not been answered yet.
    pub(super) fn outstanding(&self) -> u64 {
        match self.awaited {
            Acknowledgements::Awaited => self.summary.sent - self.answered(),
            Acknowledgements::NotExpected => 0,
        }
    }

    /// Notes messages that are on their way.
    pub(super) fn sent(&mut self, messages: u64) {
        self.summary.sent += messages;
        self.moved();
    }

    /// Notes that something happened, so that the waiting begins anew.
    pub(super) fn moved(&mut self) {
        self.last = Instant::now();
    }

    /// Counts answers, and takes out the refusals. What comes while nothing is outstanding, such as a greeting, is no
    /// acknowledgement.
    pub(super) fn answered_by(&mut self, answers: Messages<'_>, shown: &mut Vec<Span>, spans: &[Span]) {
        if answers.is_empty() {
            return;
        }
        self.moved();
        for (answer, span) in answers.iter().zip(spans) {
            let counts = self.outstanding() > 0;
            match Verdict::of(answer) {
                Verdict::Refused(reason) => {
                    let number = self.answered() + 1;
                    tracing::debug!("message {number} was refused: {reason}");
                    self.summary.refused += u64::from(counts);
                    self.first_refusal.get_or_insert((number, reason));
                }
                // The connection ends after it, and what ended it is known.
                Verdict::NotNow(reason) => self.not_now = Some(reason),
                Verdict::Acknowledged => {
                    self.summary.acknowledged += u64::from(counts);
                    shown.push(*span);
                }
            }
        }
    }

    /// Whether everything went well since this was last asked, now that nothing is outstanding.
    pub(super) fn verdict(&mut self) -> Result<()> {
        match (self.take_refusal(), self.unsendable.take()) {
            (Some((number, reason)), _) => Err(Error::Refused { number, reason }),
            (_, Some((number, reason))) => Err(Error::Unsendable { number, reason: reason.to_owned() }),
            _ => Ok(()),
        }
    }

    /// The first refusal since this was last asked: which message, and why.
    pub(super) fn take_refusal(&mut self) -> Option<(u64, String)> {
        self.first_refusal.take()
    }

    /// The error for what is outstanding. A refusal says more than that no answers followed it.
    pub(super) fn unacknowledged(&mut self, why: Why) -> Error {
        // The other side's own words say more than how the connection ended.
        let why = self.not_now.take().map_or(why, Why::NotNow);
        self.verdict().err().unwrap_or(Error::Unacknowledged {
            sent: self.summary.sent,
            acknowledged: self.summary.acknowledged,
            why,
        })
    }

    /// The error for a lost connection.
    pub(super) fn lost(&mut self, error: io::Error) -> Error {
        self.unacknowledged(Why::Lost(error))
    }

    /// Whether the other side has said that it cannot go on now: there is nothing to wait for then.
    pub(super) fn is_put_off(&self) -> bool {
        self.not_now.is_some()
    }

    /// Notes a message of one's own that cannot be sent; what was sent before it is still waited for.
    pub(super) fn cannot_send(&mut self, number: u64, reason: &'static str) {
        self.unsendable.get_or_insert((number, reason));
    }

    /// Whether there is no point in sending more.
    pub(super) fn is_stuck(&self) -> bool {
        self.unsendable.is_some()
    }

    /// Wakes when an answer is overdue: `timeout` after the last progress, if anything is outstanding, or `waits` says that the
    /// other side is waited for. `quiet`, where given, is an earlier time to wake at.
    pub(super) fn poll_overdue(&mut self, cx: &mut Context<'_>, waits: bool, quiet: Option<Instant>) -> Poll<Overdue> {
        loop {
            // A time beyond what the clock can say is never.
            let overdue = if waits || self.outstanding() > 0 { self.last.checked_add(self.timeout) } else { None };
            let Some(due) = [overdue, quiet].into_iter().flatten().min() else { return Poll::Pending };
            let now = Instant::now();
            if quiet.is_some_and(|quiet| quiet <= now) {
                return Poll::Ready(Overdue::Quiet);
            }
            if overdue.is_some_and(|overdue| overdue <= now) {
                return Poll::Ready(Overdue::Answer);
            }
            ready!(self.alarm.poll(cx, Some(due)));
        }
    }

    /// The error for an answer that is overdue.
    pub(super) fn overdue(&mut self) -> Error {
        self.unacknowledged(match self.awaited {
            Acknowledgements::Awaited => Why::Timeout(self.timeout),
            Acknowledgements::NotExpected => Why::NoEnd(self.timeout),
        })
    }

    /// Messages that were acknowledged or refused.
    pub(super) fn answered(&self) -> u64 {
        self.summary.acknowledged + self.summary.refused
    }
}

/// What has come due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overdue {
    /// The silence after the beginning of an answer.
    Quiet,
    /// An acknowledgement.
    Answer,
}
