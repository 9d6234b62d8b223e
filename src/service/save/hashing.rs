//! `Hashing`: the thread that computes the digest of what is written to a file at the same time.
//!
//! Apart from the writing, beside which it runs: the digest goes to and fro, so that nothing of it is anywhere else than where the file is. No more than one piece is in its
//! hands, and that is acknowledged after both: what waits is in the client's window.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest, Sha256};

use crate::wire::Span;
use crate::wire::assured::Run;

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
