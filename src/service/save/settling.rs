//! `Settling`: files that have come as a whole, and are brought to the disk together.
//!
//! Apart from a single file: syncs that are asked for at the same time cost the disk little more than one, and a directory is synced once for all that got their names in it.

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::incoming::{Incoming, Saved};
use super::trouble::Trouble;
use crate::wire::Digest;

/// How many files are brought to the disk together at the most: each has a descriptor until then.
pub const MOST_TOGETHER: usize = 16;

/// How many syncs there are at once.
const SYNCS: usize = 4;

/// Enough for a sync.
const STACK: usize = 64 * 1024;

/// A file that has come as a whole.
#[derive(Debug)]
pub(super) struct Ended {
    /// Which of the verdicts is to say what became of it.
    pub(super) verdict: usize,
    pub(super) file: Box<Incoming>,
    pub(super) digest: Digest,
}

/// Has files durable, then their names. Gives what became of each.
pub(super) fn settle(ended: &[Ended]) -> Vec<Result<Saved, Trouble>> {
    let synced = sync(ended);
    let mut settled: Vec<Result<Saved, Trouble>> =
        ended.iter().zip(synced).map(|(ended, synced)| synced.and_then(|()| ended.file.give_name())).collect();
    let mut directories: Vec<(&File, Result<(), String>)> = Vec::new();
    for (ended, settled) in ended.iter().zip(&mut settled).filter(|(_, settled)| settled.is_ok()) {
        let directory = ended.file.directory();
        let known = directories.iter().find(|(known, _)| is_same(known, directory));
        let synced = match known {
            Some((_, synced)) => synced.clone(),
            None => {
                let synced = directory.sync_all().map_err(|error| crate::net::plain(&error));
                directories.push((directory, synced.clone()));
                synced
            }
        };
        if let Err(why) = synced {
            *settled = Err(ended.file.unsynced(&why));
        }
    }
    settled
}

/// Has files durable, several at once.
fn sync(ended: &[Ended]) -> Vec<Result<(), Trouble>> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        while let Some((at, ended)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, ended.get(at)?)))
        {
            done.push((at, ended.file.sync()));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let others = 1..ended.len().min(SYNCS);
        // Where there are too many threads there are fewer at once.
        let start = |_| std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, some).ok();
        let others: Vec<_> = others.filter_map(start).collect();
        let mut done = some();
        others.into_iter().for_each(|other| done.extend(other.join().unwrap_or_default()));
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, synced)| synced).collect()
}

fn is_same(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let number = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    number(one).is_some_and(|one| Some(one) == number(other))
}
