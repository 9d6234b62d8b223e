//! `Trouble`: what an answer of JetStream's means for what was to be stored.
//!
//! Apart, because everything hangs on it: what is not known to be stored must be looked up before anything else is said.

use super::super::{BUSY_PAUSE, FULL_PAUSE, StoreError};
use crate::wire::assured::{Code, PutOff};

/// Why something was not stored, or is not known to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// There is no room in the stream: nothing of it is there, and later there may be.
    Full(String),
    /// It is not there for another reason, which may pass.
    Busy(String),
    /// It may be there, or may yet come there.
    Unknown(String),
    /// Something else is there, behind what it was to follow.
    Behind,
    /// The stream is gone.
    Gone(String),
}

impl Trouble {
    /// What JetStream means that has refused to store something.
    pub(super) fn of_refusal(code: u64, text: &str) -> Self {
        match code {
            // 10071: wrong last sequence; 10164 is the same without a number.
            10071 | 10164 => Self::Behind,
            // Others of the same subject or identity are still on their way through a cluster.
            10158 | 10163 => Self::Unknown(text.to_owned()),
            // Resources of the account, the server, the storage, the stream; and 10077: it could not be stored, where the text says why.
            10002 | 10023 | 10028 | 10047 | 10122 => Self::Full(text.to_owned()),
            10077 if ["exceeded", "no space", "insufficient", "quota"].iter().any(|word| text.contains(word)) => {
                Self::Full(text.to_owned())
            }
            10059 => Self::Gone("the stream was deleted".to_owned()),
            _ => Self::Busy(format!("NATS refuses: {text} ({code})")),
        }
    }

    /// What is said to whoever waits for what cannot be put off.
    pub(super) fn error(&self) -> StoreError {
        match self {
            Self::Full(why) => StoreError::Full(format!("the stream is full: {why}")),
            Self::Busy(why) | Self::Unknown(why) => StoreError::Busy(why.clone()),
            Self::Behind => StoreError::TakenOver,
            Self::Gone(why) => StoreError::Failed(why.clone()),
        }
    }

    /// How messages are put off; none where there is no later.
    pub(super) fn put_off(&self) -> Option<PutOff> {
        match self {
            Self::Full(why) => {
                Some(PutOff { code: Code::DISK_FULL, after: FULL_PAUSE, reason: format!("the stream is full: {why}") })
            }
            Self::Busy(why) | Self::Unknown(why) => {
                Some(PutOff { code: Code::OVERLOADED, after: BUSY_PAUSE, reason: why.clone() })
            }
            Self::Behind | Self::Gone(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_not_there_is_full_or_busy() {
        for (code, text, expected) in [
            (10071, "wrong last sequence: 7", "behind"),
            (10164, "wrong last sequence", "behind"),
            (10163, "not ready", "unknown"),
            (10077, "maximum bytes exceeded", "full"),
            (10077, "maximum messages exceeded", "full"),
            (10077, "write /data/1.blk: no space left on device", "full"),
            (10077, "input/output error", "busy"),
            (10047, "insufficient storage resources available", "full"),
            (10023, "insufficient resources", "full"),
            (10008, "JetStream system temporarily unavailable", "busy"),
            (10054, "message size exceeds maximum allowed", "busy"),
            (10059, "stream not found", "gone"),
        ] {
            let found = match Trouble::of_refusal(code, text) {
                Trouble::Full(_) => "full",
                Trouble::Busy(_) => "busy",
                Trouble::Unknown(_) => "unknown",
                Trouble::Behind => "behind",
                Trouble::Gone(_) => "gone",
            };
            assert_eq!(found, expected, "{code} {text}");
        }
    }
}
