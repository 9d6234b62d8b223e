//! Rules that a test may break, to see that the simulation notices.
//!
//! Apart, so that outside of tests nothing is left of it: there a rule is never broken.

/// A rule that can be broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    /// A server acknowledges only what is durable.
    AcknowledgeAfterCommit,
    /// A server applies messages in the order of their numbers only.
    ApplyInOrder,
    /// A server listens to a source only once it is proved.
    ProveSource,
    /// A cookie for messages is good for one opening only.
    CookieOfOpening,
    /// What a session has had is known by the session and not by the address.
    DuplicatesBySession,
    /// A refusal is not covered by an acknowledgement before the client has noted it.
    HoldBackForRefusals,
    /// What is taken out of order has a limit.
    HoldWithinLimits,
    /// A client drops messages only once they are acknowledged, not when the server holds them.
    HeldIsNotFinal,
    /// A client drops messages only once they are acknowledged, not when they are sent.
    SentIsNotFinal,
    /// A client compares the checksum of the last message that the server says it has.
    CompareChecksums,
    /// A client believes an opening only if it was answered to the attempt that it made.
    AnswerToAttempt,
    /// A client sends again what is lost.
    Retransmit,
}

#[cfg(test)]
thread_local! {
    /// The rule that is broken on this thread.
    pub(super) static BROKEN: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Whether a test has this rule broken.
#[cfg(test)]
pub(super) fn is_broken(rule: Rule) -> bool {
    BROKEN.get() == Some(rule)
}

/// Whether a test has this rule broken.
#[cfg(not(test))]
pub(super) const fn is_broken(_: Rule) -> bool {
    false
}
