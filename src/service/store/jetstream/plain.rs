//! Plain messages in the stream: those of a chain one record behind the other, those of different chains at the same time.
//!
//! Apart from sessions: nobody sends these again, so that it is enough not to leave a gap.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Plain, StoreError};
use super::draft::{Draft, Heading};
use super::known::Answer;
use super::lane::Lane;
use super::record::PLAIN;
use super::session::Shared;
use super::trouble::Trouble;

/// Messages that are to be kept, and who waits for it.
pub(super) type Request = (Plain, Answer<()>);

/// The messages of a chain.
pub(super) type Queue = Lane<Request, ()>;

/// Stores all that waits.
pub(super) async fn work(shared: &Shared, lane: &Queue, records: &AtomicU64) {
    let (mut working, mut pending) = (lane.begin(), VecDeque::new());
    while working.take(&mut pending) {
        // How many messages of the first are stored.
        let mut done = 0;
        while let Some((first, _)) = pending.front() {
            let stored = match first.chain.is_broken() {
                true => Err(StoreError::Busy("messages before these were put off".to_owned())),
                false => store(shared, &pending, done, records).await.map_err(|trouble| trouble.error()),
            };
            match stored {
                Ok(count) => done = answer(&mut pending, done + count),
                Err(error) => {
                    done = 0;
                    for (plain, answer) in pending.drain(..) {
                        plain.chain.break_off();
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }
}

/// Stores one record of what waits. Gives how many messages it has.
async fn store(
    shared: &Shared,
    pending: &VecDeque<Request>,
    done: usize,
    records: &AtomicU64,
) -> Result<usize, Trouble> {
    let Some((front, _)) = pending.front() else { return Ok(0) };
    let expected = pending.iter().map(|(plain, _)| plain.messages.bytes.len() + plain.messages.spans.len()).sum();
    let mut draft = Draft::new(front.first + done as u64, shared.room(), expected);
    let mut skip = done;
    'all: for (plain, _) in pending {
        let follows = plain.first + skip as u64 == draft.next();
        if !follows || !(Arc::ptr_eq(&plain.source, &front.source) || plain.source == front.source) {
            break;
        }
        for body in plain.messages.iter().skip(std::mem::take(&mut skip)) {
            if !draft.push(Some(body), None) {
                break 'all;
            }
        }
    }
    let count = draft.len();
    if count == 0 {
        return Ok(0);
    }
    let id = format!("{}:{}", shared.by, records.fetch_add(1, Ordering::Relaxed));
    let heading = Heading { by: &shared.by, source: &front.source, principal: None, refused: "" };
    let (headers, payload) = draft.plain(id, heading);
    shared.link.publish(shared.link.subject(PLAIN), headers, payload).await?;
    Ok(count)
}

/// Answers all of which so many messages are stored. Gives how many are of the one that is first then.
fn answer(pending: &mut VecDeque<Request>, mut done: usize) -> usize {
    while let Some((plain, _)) = pending.front() {
        let count = plain.messages.spans.len();
        if count > done {
            break;
        }
        done -= count;
        if let Some((_, answer)) = pending.pop_front() {
            let _ = answer.send(Ok(()));
        }
    }
    done
}
