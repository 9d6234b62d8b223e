//! `Hashing`: the thread that computes the digest of what is written to a file at the same time.
//!
//! Apart from the writing, beside which it runs: the digest goes to and fro, so that nothing of it is anywhere else than where the file is. No more than one piece is in its
//! hands, and that is acknowledged after both: what waits is in the client's window.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest, Sha256};

use crate::wire::Span;
use crate::wire::assured::Run;

/// How many of the digests that were asked for are remembered: a client goes on at the last that is also its own. Of more, the oldest goes.
pub const MAX_DIGESTS: usize = 1024;

/// From so many bytes on it is worth another thread.
pub(super) const WORTH_A_THREAD: usize = 64 * 1024;

/// Enough for a digest.
const STACK: usize = 128 * 1024;

/// A thread that computes digests.
#[derive(Debug)]
pub(super) struct Hashing {
    pieces: SyncSender<Piece>,
    digests: Receiver<Sha256>,
}

/// What a digest goes on with.
struct Piece {
    digest: Sha256,
    run: Arc<Run>,
    spans: Vec<Span>,
}

impl Hashing {
    /// Starts the thread. It ends with this value.
    ///
    /// # Errors
    /// There are too many threads.
    pub(super) fn start() -> io::Result<Self> {
        let (pieces, given) = sync_channel::<Piece>(1);
        let (done, digests) = sync_channel(1);
        std::thread::Builder::new().name("digest".to_owned()).stack_size(STACK).spawn(move || {
            while let Ok(Piece { mut digest, run, spans }) = given.recv() {
                update(&mut digest, &run, &spans);
                drop(run);
                if done.send(digest).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { pieces, digests })
    }

    /// Has a digest go on with these bytes, until it is [taken](Self::take) back. Says whether it is done.
    pub(super) fn give(&self, digest: &Sha256, run: &Arc<Run>, spans: &[Span]) -> bool {
        let piece = Piece { digest: digest.clone(), run: run.clone(), spans: spans.to_vec() };
        self.pieces.send(piece).is_ok()
    }

    /// Waits for the digest.
    pub(super) fn take(&self) -> Option<Sha256> {
        self.digests.recv().ok()
    }
}

/// The digests that were asked for.
#[derive(Debug, Default)]
pub(super) struct Known(VecDeque<(u64, Sha256)>);

impl Known {
    /// Remembers that of all up to an offset, which is no smaller than the one before.
    pub(super) fn add(&mut self, offset: u64, digest: &Sha256) {
        if self.0.back().is_some_and(|(last, _)| *last == offset) {
            return;
        }
        if self.0.len() >= MAX_DIGESTS {
            self.0.pop_front();
        }
        self.0.push_back((offset, digest.clone()));
    }

    /// That of all up to an offset.
    pub(super) fn at(&self, offset: u64) -> Option<Sha256> {
        self.0.iter().rev().find(|(known, _)| *known == offset).map(|(_, digest)| digest.clone())
    }
}

/// Goes on with these bytes.
pub(super) fn update(digest: &mut Sha256, run: &Run, spans: &[Span]) {
    spans.iter().for_each(|span| digest.update(span.of(&run.bytes)));
}

/// Goes on with so many zeros.
pub(super) fn update_zeros(digest: &mut Sha256, mut length: u64) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    while length > 0 {
        let piece = usize::try_from(length).map_or(ZEROS.len(), |length| length.min(ZEROS.len()));
        digest.update(&ZEROS[..piece]);
        length -= piece as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_digests_the_last_are_remembered_once_each() {
        let (mut known, digest) = (Known::default(), Sha256::new());
        (1..=MAX_DIGESTS as u64 + 1).for_each(|offset| (0..3).for_each(|_| known.add(offset, &digest)));
        assert!(known.at(1).is_none() && known.at(2).is_some() && known.at(MAX_DIGESTS as u64 + 1).is_some());
    }
}
