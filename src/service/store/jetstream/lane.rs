//! `Lane`: what is asked for of one session, or of one chain of plain messages, in the order of the calls, one at a time; and what is remembered between.
//!
//! Apart from what is done, because whoever asks may go away at any time, and what was begun goes on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Requests in their order, and what is known between them. Whoever puts the first into it has it worked off.
#[derive(Debug)]
pub(super) struct Lane<R, S> {
    inside: Mutex<Inside<R, S>>,
}

#[derive(Debug)]
pub(super) struct Inside<R, S> {
    waiting: VecDeque<R>,
    /// None while somebody works.
    state: Option<S>,
}

/// Whether there is somebody who works a lane off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Worker {
    There,
    Wanted,
}

impl<R, S: Default> Lane<R, S> {
    pub(super) fn new() -> Self {
        Self { inside: Mutex::new(Inside { waiting: VecDeque::new(), state: Some(S::default()) }) }
    }

    /// Puts a request behind the others. If that wants a worker, the caller has to see to it.
    pub(super) fn put(&self, request: R) -> Worker {
        let mut inside = self.lock();
        inside.waiting.push_back(request);
        if inside.state.is_some() && inside.waiting.len() == 1 { Worker::Wanted } else { Worker::There }
    }

    /// Begins to work.
    pub(super) fn begin(&self) -> Working<'_, R, S> {
        let state = self.lock().state.take().unwrap_or_default();
        Working { lane: self, state }
    }

    /// Whether nothing waits and nobody works.
    pub(super) fn is_idle(&self) -> bool {
        let inside = self.lock();
        inside.waiting.is_empty() && inside.state.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Inside<R, S>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody works a lane off.
pub(super) struct Working<'a, R, S: Default> {
    lane: &'a Lane<R, S>,
    pub(super) state: S,
}

impl<R, S: Default> Working<'_, R, S> {
    /// Takes what waits. If that is nothing, the work is over.
    pub(super) fn take(&mut self, taken: &mut VecDeque<R>) -> bool {
        let mut inside = self.lane.lock();
        taken.append(&mut inside.waiting);
        if !taken.is_empty() {
            return true;
        }
        inside.state = Some(std::mem::take(&mut self.state));
        false
    }

    /// Takes what waits, and goes on in any case.
    pub(super) fn take_more(&mut self, taken: &mut VecDeque<R>) {
        taken.append(&mut self.lane.lock().waiting);
    }
}

impl<R, S: Default> Drop for Working<'_, R, S> {
    /// Of work that was broken off nothing is remembered, and whoever waits has no answer.
    fn drop(&mut self) {
        let mut inside = self.lane.lock();
        if inside.state.is_none() {
            inside.state = Some(S::default());
            let left = std::mem::take(&mut inside.waiting);
            drop(inside);
            drop(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(working: &mut Working<'_, u8, u32>) -> Vec<u8> {
        let mut taken = VecDeque::new();
        working.take(&mut taken);
        taken.into()
    }

    #[test]
    fn one_works_at_a_time_and_remembers() {
        let lane = Lane::new();
        assert_eq!([lane.put(1_u8), lane.put(2)], [Worker::Wanted, Worker::There]);
        let mut working = lane.begin();
        assert_eq!(taken(&mut working), [1, 2]);
        working.state = 7;
        assert_eq!(lane.put(3), Worker::There, "somebody works");
        assert!(!lane.is_idle());
        assert_eq!(taken(&mut working), [3]);
        assert!(taken(&mut working).is_empty());
        drop(working);
        assert!(lane.is_idle());
        assert_eq!(lane.put(4), Worker::Wanted);
        let mut working = lane.begin();
        assert_eq!((working.state, taken(&mut working)), (7, vec![4]));
        assert_eq!(lane.put(5), Worker::There);
        drop(working);
        assert!(lane.is_idle(), "whoever breaks off leaves nothing");
        assert_eq!(lane.put(6), Worker::Wanted);
        assert_eq!(lane.begin().state, 0);
    }
}
