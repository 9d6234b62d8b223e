//! Whether client and server speak of the same session.
//!
//! Apart from the senders over streams and datagrams, since both must come to the same: what a server says is compared with what its client knows (rules C3, S5).

use super::{Code, Level, StopReason};

/// What a client knows of its session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The last number that is final.
    pub(super) settled: u64,
    /// The number after the last that was assigned.
    pub(super) next: u64,
    /// The least that an acknowledgement is to stand for.
    pub(super) level: Option<Level>,
}

impl Known {
    /// What stands against a server that has all to `acknowledged`, and grants this level, where it says which.
    pub(super) fn objection(self, acknowledged: u64, granted: Option<Level>) -> Option<StopReason> {
        let Self { settled, next, level } = self;
        if acknowledged < settled {
            let reason =
                format!("the server has {acknowledged} messages of the session, and had acknowledged {settled}");
            return Some(StopReason::Lost(Code::SERVER_BEHIND, reason));
        }
        if acknowledged >= next {
            let last = next - 1;
            let reason = format!("the server has {acknowledged} messages of the session, and {last} were sent");
            return Some(StopReason::Lost(Code::CLIENT_BEHIND, reason));
        }
        let objection = granted?.objection(level)?;
        Some(StopReason::Refused(Code::NOT_ACCEPTABLE, objection.to_owned()))
    }
}

/// The message of this number is another at the server than at the client (rule C3).
pub(super) fn forked(number: u64) -> StopReason {
    let reason = format!("message {number} is not the one that the server has");
    StopReason::Lost(Code::CLIENT_BEHIND, reason)
}

/// The server will never go on with the session.
pub(super) fn given_up(code: Code, reason: String) -> StopReason {
    match code {
        Code::CLIENT_BEHIND | Code::UNKNOWN_SESSION | Code::SERVER_BEHIND | Code::TAKEN_OVER => {
            StopReason::Lost(code, reason)
        }
        _ => StopReason::Refused(code, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_what_was_acknowledged_and_nothing_that_was_not_sent() {
        let known = Known { settled: 5, next: 9, level: Some(Level::Handled) };
        let (lost, refused) = (true, false);
        for (acknowledged, granted, objection) in [
            (4, Some(Level::Stored), Some((lost, Code::SERVER_BEHIND))),
            (5, Some(Level::Stored), None),
            (8, Some(Level::Handled), None),
            (8, None, None),
            (8, Some(Level::Shown), Some((refused, Code::NOT_ACCEPTABLE))),
            (9, Some(Level::Stored), Some((lost, Code::CLIENT_BEHIND))),
        ] {
            let found = known.objection(acknowledged, granted).map(|reason| match reason {
                StopReason::Lost(code, _) => (lost, code),
                StopReason::Refused(code, _) => (refused, code),
                other => panic!("{other:?}"),
            });
            assert_eq!(found, objection, "{acknowledged}, {granted:?}");
        }
        let anything = Known { level: None, ..known };
        assert_eq!(anything.objection(5, Some(Level::Shown)), None);
    }

    #[test]
    fn only_what_client_and_server_differ_in_is_a_loss() {
        for (code, is_lost) in [
            (Code::CLIENT_BEHIND, true),
            (Code::UNKNOWN_SESSION, true),
            (Code::SERVER_BEHIND, true),
            (Code::TAKEN_OVER, true),
            (Code::FORBIDDEN, false),
            (Code::VERSION, false),
        ] {
            assert_eq!(matches!(given_up(code, String::new()), StopReason::Lost(..)), is_lost, "{code}");
        }
    }
}
