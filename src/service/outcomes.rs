//! `Outcomes`: what became of the messages of one read, in their order.
//!
//! Apart from [`Outcome`], because thousands of messages mostly come to the same: equal ones in a row are one entry, and their answers
//! are put together in one go.

use super::Outcome;

/// The outcomes that a handler gives, one for each message.
///
/// ```
/// use wilco::{Outcome, Outcomes};
///
/// let mut outcomes = Outcomes::default();
/// outcomes.push(Outcome::Done);
/// outcomes.repeat(Outcome::Reply("yes".into()), 3);
/// assert_eq!(outcomes.len(), 4);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    runs: Vec<(Outcome, usize)>,
    len: usize,
    /// How many of the runs were taken out.
    taken: usize,
}

impl Outcomes {
    /// Adds the outcome of the next message.
    pub fn push(&mut self, outcome: Outcome) {
        self.len += 1;
        match (self.runs.last_mut(), &outcome) {
            (Some((Outcome::Done, times)), Outcome::Done) => *times += 1,
            _ => self.runs.push((outcome, 1)),
        }
    }

    /// Adds the same outcome for so many messages.
    pub fn repeat(&mut self, outcome: Outcome, times: usize) {
        if times > 0 {
            self.len += times;
            self.runs.push((outcome, times));
        }
    }

    /// How many messages they are of.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets them, and keeps the room that they took.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        (self.len, self.taken) = (0, 0);
    }

    /// Takes the next: an outcome, and how often it comes in a row.
    pub(super) fn take_next(&mut self) -> Option<(Outcome, usize)> {
        let (outcome, times) = self.runs.get_mut(self.taken)?;
        self.taken += 1;
        self.len -= *times;
        Some((std::mem::replace(outcome, Outcome::Done), *times))
    }

    /// Makes them as many as the messages: what a handler has said nothing of was not done.
    pub(super) fn complete(&mut self, messages: usize) {
        // After one that was put off the others need not be handled.
        let ends_early = matches!(self.runs.last(), Some((Outcome::Retry(_), _))) && self.len < messages;
        if self.len == messages || ends_early {
            return;
        }
        while self.len > messages {
            let Some((_, times)) = self.runs.last_mut() else { break };
            let over = (self.len - messages).min(*times);
            *times -= over;
            self.len -= over;
            if *times == 0 {
                self.runs.pop();
            }
        }
        self.repeat(Outcome::Retry("the handler gave no outcome".to_owned()), messages - self.len);
    }
}

impl Extend<Outcome> for Outcomes {
    fn extend<I: IntoIterator<Item = Outcome>>(&mut self, outcomes: I) {
        outcomes.into_iter().for_each(|outcome| self.push(outcome));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(outcomes: &mut Outcomes) -> String {
        let name = |outcome| match outcome {
            Outcome::Done => "done",
            Outcome::Reply(_) => "reply",
            Outcome::Refuse(_) => "refuse",
            Outcome::Retry(_) => "retry",
        };
        std::iter::from_fn(|| outcomes.take_next())
            .map(|(outcome, times)| format!("{}*{times} ", name(outcome)))
            .collect()
    }

    #[test]
    fn equal_ones_in_a_row_are_one() {
        let mut outcomes = Outcomes::default();
        outcomes.extend([Outcome::Done, Outcome::Done, Outcome::Refuse("no".into()), Outcome::Done]);
        outcomes.repeat(Outcome::Reply("x".into()), 2);
        outcomes.repeat(Outcome::Done, 0);
        assert_eq!(outcomes.len(), 6);
        assert_eq!(shown(&mut outcomes), "done*2 refuse*1 done*1 reply*2 ");
        assert!(outcomes.is_empty());
    }

    #[test]
    fn are_as_many_as_the_messages() {
        for (given, messages, shows) in [
            (vec![Outcome::Done], 1, "done*1 "),
            (vec![Outcome::Done], 3, "done*1 retry*2 "),
            (vec![], 2, "retry*2 "),
            (vec![Outcome::Done, Outcome::Done, Outcome::Refuse("no".into())], 1, "done*1 "),
            (vec![Outcome::Done, Outcome::Retry("later".into())], 5, "done*1 retry*1 "),
        ] {
            let mut outcomes = Outcomes::default();
            outcomes.extend(given);
            outcomes.complete(messages);
            assert_eq!(shown(&mut outcomes), shows);
        }
    }
}
