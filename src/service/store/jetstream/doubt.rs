//! `Doubt`: that a stream has less than was acknowledged, which is not believed at once.
//!
//! Apart from the sessions: a server of NATS that does not know yet that it leads nobody any more answers from what it has itself, and what is believed of it
//! ends a session for good.

use std::time::{Duration, Instant};

/// After how many times its patience a doubt is another, if nothing was read meanwhile.
const GAP: u32 = 20;

/// What was read of a session that is less than it should be.
#[derive(Debug)]
pub(super) struct Doubt {
    /// The last record then.
    sequence: u64,
    since: Instant,
    /// When it was read last.
    read: Instant,
}

impl Doubt {
    /// Notes what was read. Says whether it has been the same for so long that it is believed.
    pub(super) fn is_over(doubt: &mut Option<Self>, sequence: u64, patience: Duration) -> bool {
        Self::is_over_at(doubt, sequence, patience, Instant::now())
    }

    fn is_over_at(doubt: &mut Option<Self>, sequence: u64, patience: Duration, now: Instant) -> bool {
        let before = doubt.take().filter(|doubt| doubt.sequence == sequence && now - doubt.read <= patience * GAP);
        let since = before.map_or(now, |doubt| doubt.since);
        *doubt = Some(Self { sequence, since, read: now });
        now - since >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_for_long_is_believed() {
        let (start, patience) = (Instant::now(), Duration::from_secs(15));
        let mut doubt = None;
        for (seconds, sequence, is_over) in [
            (0, 7, false),
            (14, 7, false),
            (15, 7, true),
            (16, 8, false),
            (30, 8, false),
            (31, 8, true),
            (330, 8, true),
            (631, 8, false),
            (646, 8, true),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(Doubt::is_over_at(&mut doubt, sequence, patience, now), is_over, "{seconds} s");
        }
        assert!(Doubt::is_over_at(&mut None, 1, Duration::ZERO, start));
    }
}
