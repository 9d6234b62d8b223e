//! The thread that computes the digest of what is sent: everything passes through it on its way from the file to the connection.
//!
//! Apart from reading, so that both go on at once; what is handed over is not copied.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender};

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::service::Batch;
use crate::wire::{Digest, FileWord};

/// Zeros whose digest is computed where a file has a hole.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What is to be done, in this order.
#[derive(Debug)]
pub(super) enum Work {
    /// A file begins.
    Begin,
    /// This is to go out, and such a part of it belongs to the file.
    Send(Parcel, Part),
    /// So does this, and then the file ends: its digest goes out, too.
    End(Parcel, Part),
    /// This belongs to the file, and the receiver has it.
    Check(Vec<u8>),
    /// The digest of all so far is wanted.
    Digest(SyncSender<Digest>),
    /// What comes may have been for nothing: this is where to go back to.
    Keep,
    /// Back there.
    Back,
    /// Nothing more comes of a file, for this reason.
    Failed(usize, String),
}

/// Which bytes of messages are those of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Part {
    None,
    /// Those here.
    Bytes(Range<usize>),
    /// So many zeros, which are in none.
    Zeros(u64),
}

/// Messages about a file, or a part of it.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) item: usize,
    pub(super) batch: Batch,
    /// That of the first message, if it is a file or directory that begins with it.
    pub(super) begins: Option<Attempted>,
    /// Where the bytes begin that come, if the message for that is here.
    pub(super) from: Option<u64>,
    /// How many of the file's bytes it has.
    pub(super) bytes: u64,
    /// The digest of the file, if it ends here.
    pub(super) digest: Option<Digest>,
}

/// What is attempted, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Attempted {
    pub(super) way: Way,
    /// The size of the file.
    pub(super) size: u64,
}

/// How something is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// A directory, which is one message.
    Directory,
    /// All of a file, without asking how much is there.
    Straight,
    /// Nothing of a file: it is taken for granted that the receiver has it, which its digest shows.
    Assumed,
    /// From where the receiver has no more of it.
    Asked,
}

/// What comes out.
#[derive(Debug)]
pub(super) enum Digested {
    Parcel(Parcel),
    Failed(usize, String),
}

/// Does all the work there is, until nobody gives or takes any more.
pub(super) fn run(work: &Receiver<Work>, out: &mpsc::Sender<Digested>) {
    let (mut digest, mut kept) = (Sha256::new(), Sha256::new());
    while let Ok(work) = work.recv() {
        let done = match work {
            Work::Begin => {
                (digest, kept) = (Sha256::new(), Sha256::new());
                continue;
            }
            Work::Check(bytes) => {
                digest.update(&bytes);
                continue;
            }
            Work::Digest(wanted) => {
                // Whoever has asked may have gone.
                let _ = wanted.send(Digest(digest.clone().finalize().into()));
                continue;
            }
            Work::Keep => {
                kept = digest.clone();
                continue;
            }
            Work::Back => {
                digest = kept.clone();
                continue;
            }
            Work::Send(parcel, part) => {
                add(&mut digest, &parcel, part);
                Digested::Parcel(parcel)
            }
            Work::End(mut parcel, part) => {
                add(&mut digest, &parcel, part);
                let whole = Digest(digest.finalize_reset().into());
                let mut word = Vec::new();
                FileWord::End(whole).encode(&mut word);
                parcel.batch.push(&word);
                parcel.digest = Some(whole);
                Digested::Parcel(parcel)
            }
            Work::Failed(item, reason) => Digested::Failed(item, reason),
        };
        if out.blocking_send(done).is_err() {
            return;
        }
    }
}

fn add(digest: &mut Sha256, parcel: &Parcel, part: Part) {
    match part {
        Part::None => {}
        Part::Bytes(range) => digest.update(&parcel.batch.bytes[range]),
        Part::Zeros(mut count) => {
            while count > 0 {
                let some = count.min(ZEROS.len() as u64);
                digest.update(&ZEROS[..some as usize]);
                count -= some;
            }
        }
    }
}
