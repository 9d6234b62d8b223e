//! How a stream's peer is answered: an outcome becomes bytes, and a thousand equal ones become a thousand copies at once.
//!
//! Apart from the conversation, which decides when they are sent.

use super::setting::{Setting, encode_text};
use crate::service::workspace::MOST_ANSWERS;
use crate::service::{Outcome, Peer};
use crate::wire::plain::{not_now, refusal};

/// What an outcome means for the conversation.
#[derive(Debug)]
pub(super) enum Answered {
    /// The message counts as handled.
    Handled,
    /// It was refused, for this reason.
    Refused(String),
    /// No more messages can be taken, for this reason.
    PutOff(String),
}

/// Appends the answer for an outcome.
pub(super) fn encode(setting: &Setting, peer: &Peer, outcome: Outcome, output: &mut Vec<u8>) -> Answered {
    match outcome {
        Outcome::Done => output.extend_from_slice(&setting.stream_acknowledgement),
        Outcome::Reply(reply) => setting.framing.encode(&reply, output),
        Outcome::Refuse(reason) => {
            tracing::warn!("{peer}: refused: {reason}");
            encode_text(setting.framing, refusal(&reason).as_bytes(), output);
            return Answered::Refused(reason);
        }
        Outcome::Retry(reason) => {
            tracing::info!("{peer}: not acknowledged: {reason}");
            encode_text(setting.framing, not_now(&reason).as_bytes(), output);
            return Answered::PutOff(reason);
        }
    }
    Answered::Handled
}

/// Appends the last answer, of `size` bytes, so many times again, or as often as there is room for it; says how often.
pub(super) fn repeat_last(output: &mut Vec<u8>, size: usize, times: usize) -> usize {
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
pub(super) fn keep_last(output: &mut Vec<u8>, size: usize) {
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
