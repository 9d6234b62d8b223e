//! How a stream's peer is answered: an outcome becomes bytes, and a thousand equal ones become a thousand copies at once.
//!
//! Apart from the conversation, which decides when they are sent.

use super::setting::{Setting, encode_text};
use crate::service::workspace::MOST_ANSWERS;
use crate::service::{Outcome, Outcomes, Peer};
use crate::wire::plain::{not_now, refusal};

/// The answers of one read that are still to be sent.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// How often the last one comes again, and how many bytes it has.
    left: usize,
    size: usize,
    /// Messages that were handled, and the reasons of those that were refused, since they were last told of.
    pub(super) handled: usize,
    pub(super) refused: Vec<String>,
}

/// What is to be done after the answers have been sent.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Then {
    /// There are more answers.
    More,
    /// The next messages can be handled.
    GoOn,
    /// No more messages can be taken, for this reason.
    End(String),
}

impl Answers {
    /// Puts the next answers into `output`, whose others have been sent.
    pub(super) fn fill(
        &mut self,
        setting: &Setting,
        peer: &Peer,
        outcomes: &mut Outcomes,
        output: &mut Vec<u8>,
    ) -> Then {
        match self.left {
            0 => output.clear(),
            _ => {
                keep_last(output, self.size);
                self.left -= 1;
                self.left -= repeat_last(output, self.size, self.left);
            }
        }
        while self.left == 0 && output.len() < MOST_ANSWERS {
            let Some((outcome, times)) = outcomes.take_next() else { return Then::GoOn };
            let before = output.len();
            match outcome {
                Outcome::Done => {
                    output.extend_from_slice(&setting.stream_acknowledgement);
                    self.handled += times;
                }
                Outcome::Reply(reply) => {
                    setting.framing.encode(&reply, output);
                    self.handled += times;
                }
                Outcome::Refuse(reason) => {
                    tracing::warn!("{peer}: refused: {reason}");
                    encode_text(setting.framing, refusal(&reason).as_bytes(), output);
                    if setting.observer.is_some() {
                        self.refused.extend(std::iter::repeat_n(reason, times));
                    }
                }
                Outcome::Retry(reason) => {
                    tracing::info!("{peer}: not acknowledged: {reason}");
                    encode_text(setting.framing, not_now(&reason).as_bytes(), output);
                    return Then::End(reason);
                }
            }
            self.size = output.len() - before;
            self.left = times - 1;
            self.left -= repeat_last(output, self.size, self.left);
        }
        Then::More
    }
}

/// Appends the last answer, of `size` bytes, so many times again, or as often as there is room for it; says how often.
fn repeat_last(output: &mut Vec<u8>, size: usize, times: usize) -> usize {
    let room = MOST_ANSWERS.saturating_sub(output.len());
    let Some(fits) = room.checked_div(size) else { return times };
    let times = times.min(fits);
    let start = output.len() - size;
    let end = output.len() + times * size;
    output.reserve(end - output.len());
    // Each copy doubles what there is.
    while output.len() < end {
        let next = (output.len() - start).min(end - output.len());
        output.extend_from_within(start..start + next);
    }
    times
}

/// Drops all answers but the last, of `size` bytes.
fn keep_last(output: &mut Vec<u8>, size: usize) {
    let start = output.len() - size;
    output.copy_within(start.., 0);
    output.truncate(size);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_is_repeated_as_often_as_there_is_room() {
        for times in [0, 1, 2, 7, 100] {
            let mut output = b"other\nyes\n".to_vec();
            assert_eq!(repeat_last(&mut output, 4, times), times);
            assert_eq!(output, [b"other\n".to_vec(), b"yes\n".repeat(times + 1)].concat());
        }
        let mut nothing = b"other\n".to_vec();
        assert_eq!(repeat_last(&mut nothing, 0, 5), 5);
        assert_eq!(nothing, b"other\n");
        let mut long = vec![b'x'; MOST_ANSWERS / 2 - 1];
        let size = long.len();
        assert_eq!(repeat_last(&mut long, size, 9), 1);
        assert_eq!(repeat_last(&mut long, size, 8), 0);
        keep_last(&mut long, size);
        assert_eq!(long.len(), size);
    }
}
