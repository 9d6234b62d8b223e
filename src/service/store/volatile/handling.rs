//! `Handling`: a run of messages on its way through the handler.
//!
//! Apart from the sessions: nothing is remembered here, outcomes become verdicts.

use crate::service::store::Source;
use crate::service::{Handler, Messages, Outcome, Outcomes};
use crate::wire::assured::{Code, Run, SessionId, Verdict};
use crate::wire::{Framing, Span};

/// Where messages go, and whose they are.
pub(super) struct Handling<'a> {
    pub(super) handler: &'a dyn Handler,
    pub(super) framing: Option<Framing>,
    pub(super) session: &'a SessionId,
    pub(super) source: &'a Source,
    /// How often the first was put off.
    pub(super) tried: u32,
}

impl Handling<'_> {
    /// Gives the handler what is not refused anyway, piece by piece, until one is put off.
    pub(super) async fn handle(&self, run: &Run) -> Handled {
        let mut handled = Handled { through: run.first - 1, verdicts: Vec::new(), put_off: None };
        let mut outcomes = Outcomes::default();
        let mut refused = run.refused.iter().peekable();
        while handled.through < run.last() && handled.put_off.is_none() {
            let next = handled.through + 1;
            if let Some((number, code, reason)) = refused.next_if(|(number, ..)| *number == next) {
                handled.verdicts.push((*number, Verdict::Refused(*code, reason.clone())));
                handled.through = next;
                continue;
            }
            let end = refused.peek().map_or(run.next(), |(number, ..)| *number);
            let spans = spans(run, next, end);
            let tried = if next == run.first { self.tried } else { 0 };
            let messages =
                Messages::separate(&run.bytes, spans, self.framing).from_number(next).of_session(self.session, tried);
            outcomes.clear();
            self.handler.handle(messages, &self.source.peer, &mut outcomes).await;
            outcomes.complete(spans.len());
            handled.take(&mut outcomes);
        }
        handled
    }
}

/// How far the handler is with a run.
pub(super) struct Handled {
    pub(super) through: u64,
    pub(super) verdicts: Vec<(u64, Verdict)>,
    /// Why the next was put off.
    pub(super) put_off: Option<String>,
}

impl Handled {
    fn take(&mut self, outcomes: &mut Outcomes) {
        while let Some((outcome, times)) = outcomes.take_next() {
            let numbers = self.through + 1..=self.through + times as u64;
            match outcome {
                Outcome::Done => {}
                Outcome::Reply(reply) => {
                    self.verdicts.extend(numbers.map(|number| (number, Verdict::Reply(reply.clone()))));
                }
                Outcome::Refuse(reason) => {
                    let refused = Verdict::Refused(Code::REJECTED, reason);
                    self.verdicts.extend(numbers.map(|number| (number, refused.clone())));
                }
                Outcome::Retry(reason) => {
                    self.put_off = Some(reason);
                    return;
                }
            }
            self.through += times as u64;
        }
    }
}

/// Where the messages lie of the numbers from `first` to the one before `end`.
fn spans(run: &Run, first: u64, end: u64) -> &[Span] {
    let at = |number: u64| usize::try_from(number - run.first).unwrap_or(usize::MAX);
    run.spans.get(at(first)..at(end)).unwrap_or_default()
}
