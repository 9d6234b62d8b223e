//! `UnderWay`: the messages of a connection that its handler has taken over, and whose outcome is not known yet.
//!
//! Apart from the conversation, which goes on reading meanwhile: a store syncs all at once that came during the sync before.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::service::{BoxFuture, Outcome, Outcomes};
use crate::wire::Span;

/// How many bytes of one connection may be under way before nothing more is read of it.
pub(super) const MAX_UNDER_WAY: usize = 256 * 1024;

/// How many bytes of all connections of a server; then each has no more than its last read.
pub(super) const MAX_ALL_UNDER_WAY: usize = 64 * 1024 * 1024;

/// What a message counts beside its bytes: what is kept to know where it lies.
const OVERHEAD: usize = size_of::<Span>();

/// What those of one read count beside that: what waits for their outcome.
const OVERHEAD_OF_READ: usize = 1024;

/// How many bytes of all connections are under way.
#[derive(Debug, Default)]
pub(super) struct AllUnderWay(AtomicUsize);

/// In the order in which they came.
pub(super) struct UnderWay<'h> {
    all: &'h AllUnderWay,
    taken: VecDeque<Taken<'h>>,
    size: usize,
}

/// Messages that have one outcome.
struct Taken<'h> {
    count: usize,
    size: usize,
    outcome: BoxFuture<'h, Outcome>,
}

impl<'h> UnderWay<'h> {
    pub(super) fn new(all: &'h AllUnderWay) -> Self {
        Self { all, taken: VecDeque::new(), size: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Whether nothing more is to be read. An outcome that becomes known ends that.
    pub(super) fn is_full(&self) -> bool {
        self.size >= MAX_UNDER_WAY || (!self.is_empty() && self.all.0.load(Ordering::Relaxed) >= MAX_ALL_UNDER_WAY)
    }

    /// Adds so many messages with so many bytes.
    pub(super) fn push(&mut self, count: usize, bytes: usize, outcome: BoxFuture<'h, Outcome>) {
        let size = bytes + count * OVERHEAD + OVERHEAD_OF_READ;
        self.size += size;
        self.all.0.fetch_add(size, Ordering::Relaxed);
        self.taken.push_back(Taken { count, size, outcome });
    }

    /// The outcomes that are known by now, up to the first that is not. There is at least one.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcomes> {
        let mut outcomes = Outcomes::default();
        while let Some(first) = self.taken.front_mut()
            && let Poll::Ready(outcome) = first.outcome.as_mut().poll(cx)
        {
            outcomes.repeat(outcome, first.count);
            self.size -= first.size;
            self.all.0.fetch_sub(first.size, Ordering::Relaxed);
            self.taken.pop_front();
        }
        if outcomes.is_empty() { Poll::Pending } else { Poll::Ready(outcomes) }
    }

    /// Waits until nothing is under way any more.
    pub(super) async fn done(&mut self) {
        while !self.is_empty() {
            poll_fn(|cx| self.poll(cx)).await;
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    fn polled(under_way: &mut UnderWay<'_>) -> Option<Vec<usize>> {
        match under_way.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(mut outcomes) => {
                Some(std::iter::from_fn(|| outcomes.take_next()).map(|(_, times)| times).collect())
            }
            Poll::Pending => None,
        }
    }

    #[test]
    fn outcomes_come_in_the_order_of_the_messages() {
        let all = AllUnderWay::default();
        let mut under_way = UnderWay::new(&all);
        let mut senders = VecDeque::new();
        for count in 1..=3 {
            let (sender, receiver) = oneshot::channel();
            senders.push_back(sender);
            let outcome = async { receiver.await.unwrap_or(Outcome::Done) };
            under_way.push(count, MAX_UNDER_WAY / 3, Box::pin(outcome));
        }
        assert!(under_way.is_full());
        assert_eq!(polled(&mut under_way), None);
        drop(senders.remove(1));
        assert_eq!(polled(&mut under_way), None, "the second waits for the first");
        drop(senders.pop_front());
        assert_eq!(polled(&mut under_way), Some(vec![1, 2]));
        assert!(!under_way.is_full() && !under_way.is_empty());
        drop(senders);
        assert_eq!(polled(&mut under_way), Some(vec![3]));
        assert!(under_way.is_empty());
        assert_eq!(under_way.size, 0);
    }

    #[test]
    fn where_all_have_much_under_way_each_has_one_read() {
        let all = AllUnderWay::default();
        let never = || Box::pin(std::future::pending());
        let mut others: Vec<_> = (0..MAX_ALL_UNDER_WAY / MAX_UNDER_WAY).map(|_| UnderWay::new(&all)).collect();
        for other in &mut others {
            other.push(1, MAX_UNDER_WAY - OVERHEAD - OVERHEAD_OF_READ, never());
        }
        let mut last = UnderWay::new(&all);
        assert!(!last.is_full(), "each may always read");
        last.push(1, 1, never());
        assert!(last.is_full());
        others.pop();
        assert!(!last.is_full(), "one has ended");
        drop((others, last));
        assert_eq!(all.0.into_inner(), 0);
    }

    #[test]
    fn short_reads_count_for_what_waits_for_them() {
        let all = AllUnderWay::default();
        let mut under_way = UnderWay::new(&all);
        let reads = (0..).take_while(|_| {
            under_way.push(1, 1, Box::pin(std::future::pending()));
            !under_way.is_full()
        });
        assert!(reads.count() < MAX_UNDER_WAY / OVERHEAD_OF_READ);
    }
}
