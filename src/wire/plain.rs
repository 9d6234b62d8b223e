//! The words of the plain exchange: an acknowledgement, and a refusal.
//!
//! Apart from framing, which carries any bytes: these are the few that both sides must agree on.

/// What a server answers when it has displayed a message, unless told otherwise: the words of the sockets tutorial.
pub const ACKNOWLEDGEMENT: &str = "I got your message";

/// What the answer to a message begins with that the server will not have, so that a client does not take it for an
/// acknowledgement.
pub const REFUSAL_PREFIX: &str = "wilco: refused: ";

/// The answer that refuses a message for a reason.
pub fn refusal(reason: &str) -> String {
    // One line, whatever the reason was made from.
    let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{REFUSAL_PREFIX}{reason}")
}

/// The reason, if an answer is a refusal.
pub fn refused(answer: &[u8]) -> Option<String> {
    let reason = answer.strip_prefix(REFUSAL_PREFIX.as_bytes())?;
    Some(String::from_utf8_lossy(reason).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_an_acknowledgement() {
        assert_eq!(refused(refusal("too\nlong").as_bytes()).as_deref(), Some("too long"));
        assert_eq!(refused(ACKNOWLEDGEMENT.as_bytes()), None);
    }
}
