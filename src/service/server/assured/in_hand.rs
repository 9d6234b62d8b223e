//! `InHand`: the runs of one session that its store has been given, answered in their order.
//!
//! Apart from the session, because a store that takes long is given one message at a time, and each answer is passed on at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::service::BoxFuture;
use crate::service::store::{Append, Owner, Source, Store, StoreError};
use crate::wire::assured::{Applied, Code, PutOff, Run, SessionId};

type Answer = Result<Applied, StoreError>;

/// What a store has in hand.
pub(super) struct InHand<'a> {
    store: &'a dyn Store,
    one_by_one: bool,
    runs: VecDeque<Given<'a>>,
}

/// Whose runs they are.
#[derive(Clone)]
pub(super) struct Appender {
    pub(super) session: SessionId,
    pub(super) owner: Owner,
    pub(super) source: Arc<Source>,
}

impl Appender {
    fn append(&self, run: Run) -> Append {
        let Self { session, owner, source } = self.clone();
        Append { session, owner, source, run }
    }
}

struct Given<'a> {
    asked: Asked<'a>,
    /// What is to be handed over message by message, from the second number on.
    rest: Option<(Appender, Run, u64)>,
}

enum Asked<'a> {
    NotYet,
    Waits(BoxFuture<'a, Answer>),
    Answered(Answer),
}

/// Whether a store that takes long is given the next message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    GoOn,
    /// The rest is put off: the server is about to end.
    PutOff,
    /// Nothing more is done for this connection.
    Nothing,
}

impl<'a> InHand<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Self {
        Self { store, one_by_one: store.one_by_one(), runs: VecDeque::new() }
    }

    /// Hands a run over, at once or message by message.
    pub(super) fn give(&mut self, appender: Appender, run: Run) {
        let given = match self.one_by_one {
            true => {
                let first = run.first;
                Given { asked: Asked::NotYet, rest: Some((appender, run, first)) }
            }
            false => Given { asked: Asked::Waits(self.store.append(appender.append(run))), rest: None },
        };
        self.runs.push_back(given);
    }

    /// The next answer. Of a run that is handed over message by message there are several.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>, next: Next) -> Poll<Answer> {
        if let Some(front) = self.runs.front_mut() {
            front.ask(self.store, next);
        }
        for given in &mut self.runs {
            if let Asked::Waits(waiting) = &mut given.asked
                && let Poll::Ready(answer) = waiting.as_mut().poll(cx)
            {
                given.asked = Asked::Answered(answer);
            }
        }
        let Some(front) = self.runs.front_mut() else { return Poll::Pending };
        match std::mem::replace(&mut front.asked, Asked::NotYet) {
            Asked::Answered(answer) => {
                let goes_on = matches!(&answer, Ok(Applied { put_off: None, .. }))
                    && front.rest.as_ref().is_some_and(|(_, run, next)| *next < run.next());
                if !goes_on {
                    self.runs.pop_front();
                }
                Poll::Ready(answer)
            }
            other => {
                front.asked = other;
                Poll::Pending
            }
        }
    }

    /// Waits until nothing is under way any more: what a handler has begun it is let finish, also for a client that has gone.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.runs.retain(|given| matches!(given.asked, Asked::Waits(_)));
        while self.poll_answer(cx, Next::Nothing).is_ready() {
            self.runs.retain(|given| !matches!(given.asked, Asked::NotYet));
        }
        if self.runs.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<'a> Given<'a> {
    /// Hands the next message over, unless one is under way.
    fn ask(&mut self, store: &'a dyn Store, how: Next) {
        let (Asked::NotYet, Some((appender, run, next))) = (&self.asked, &mut self.rest) else { return };
        self.asked = match how {
            Next::Nothing => return,
            Next::GoOn => {
                let one = of_one(run, *next);
                *next += 1;
                Asked::Waits(store.append(appender.append(one)))
            }
            Next::PutOff => {
                let put_off = PutOff {
                    code: Code::OVERLOADED,
                    after: Duration::ZERO,
                    reason: "the server is about to end".to_owned(),
                };
                Asked::Answered(Ok(Applied { through: *next - 1, verdicts: Vec::new(), put_off: Some(put_off) }))
            }
        };
    }
}

/// The run of one of the numbers of another.
fn of_one(run: &Run, number: u64) -> Run {
    let mut one = Run::new(number);
    match run.refused.iter().find(|(refused, ..)| *refused == number) {
        Some((_, code, reason)) => one.push_refused(*code, reason.clone()),
        None => one.push(run.message(number)),
    }
    one.origins.extend(run.origins.iter().find(|(known, ..)| *known == number).cloned());
    one
}
