//! The words of the plain exchange: an acknowledgement, a refusal for good, and one for now.
//!
//! Apart from framing, which carries any bytes: these are the few that both sides must agree on.

/// What a server answers when it has displayed a message, unless told otherwise: the words of the sockets tutorial.
pub const ACKNOWLEDGEMENT: &str = "I got your message";

/// What the answer to a message begins with that the server will not have, so that a client does not take it for an
/// acknowledgement.
const REFUSED: &str = "wilco: refused: ";

/// What the last answer on a connection begins with that the server ends because it cannot go on now.
const NOT_NOW: &str = "wilco: not now: ";

/// What an answer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The message was taken; the answer may be any words but those below.
    Acknowledged,
    /// It is refused for good, for this reason.
    Refused(String),
    /// It was not taken, for this reason; another time it may be.
    NotNow(String),
}

impl Verdict {
    /// What an answer says.
    pub fn of(answer: &[u8]) -> Self {
        let reason = |rest: &[u8]| String::from_utf8_lossy(rest).trim_end().to_owned();
        if let Some(rest) = answer.strip_prefix(REFUSED.as_bytes()) {
            Self::Refused(reason(rest))
        } else if let Some(rest) = answer.strip_prefix(NOT_NOW.as_bytes()) {
            Self::NotNow(reason(rest))
        } else {
            Self::Acknowledged
        }
    }
}

/// The answer that refuses a message for good.
pub fn refusal(reason: &str) -> String {
    format!("{REFUSED}{}", one_line(reason))
}

/// The answer that says that a message cannot be taken now.
pub fn not_now(reason: &str) -> String {
    format!("{NOT_NOW}{}", one_line(reason))
}

/// A reason as one line, whatever it was made from.
fn one_line(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_from_what_is_acknowledged() {
        assert_eq!(Verdict::of(refusal("too\nlong").as_bytes()), Verdict::Refused("too long".to_owned()));
        assert_eq!(Verdict::of(not_now("full").as_bytes()), Verdict::NotNow("full".to_owned()));
        for answer in [ACKNOWLEDGEMENT, "", "wilco: ", "refused: no"] {
            assert_eq!(Verdict::of(answer.as_bytes()), Verdict::Acknowledged);
        }
    }
}
