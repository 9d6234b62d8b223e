//! Standard input as messages: each of its records is one.
//!
//! Apart from the client, because reading a terminal, a pipe or a file blocks: it has a thread of its own, and a short queue
//! so that it never reads far ahead of what can be sent.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::mpsc;

use crate::service::{Batch, READ_SIZE};
use crate::wire::{self, Decoder, Framing, MOST_AT_ONCE};

/// The longest record of standard input: it is held in memory until it is sent.
pub(super) const MAX_RECORD: usize = 64 * 1024 * 1024;

/// How many batches may wait to be sent.
const QUEUE: usize = 4;

/// Where a failure to read is kept until all that was read has been sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<io::Error>>>);

impl Trouble {
    pub(super) fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, error: io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Reads standard input from now on; its records come from the receiver.
pub(super) fn read(framing: Framing) -> (mpsc::Receiver<Batch>, Trouble) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let trouble = Trouble::default();
    let put = trouble.clone();
    thread::spawn(move || {
        if let Err(error) = read_records(&mut io::stdin().lock(), framing, |batch| sender.blocking_send(batch).is_ok())
        {
            put.put(error);
        }
    });
    (receiver, trouble)
}

/// Reads to the end; `take` gives false when no more is wanted.
fn read_records(input: &mut impl Read, framing: Framing, mut take: impl FnMut(Batch) -> bool) -> io::Result<()> {
    let mut decoder = Decoder::new(framing, MAX_RECORD);
    let mut bytes: Vec<u8> = Vec::new();
    let too_long = |error: wire::Error| {
        let in_this_framing =
            if framing == Framing::Length { "; each message has its length before it in this framing" } else { "" };
        io::Error::new(io::ErrorKind::InvalidData, format!("standard input: {error}{in_this_framing}"))
    };
    loop {
        let filled = bytes.len();
        bytes.resize(filled + READ_SIZE, 0);
        let read = loop {
            match input.read(&mut bytes[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        bytes.truncate(filled + read);
        if read == 0 {
            if let Some(last) = decoder.finish(&bytes).map_err(too_long)? {
                take(Batch { bytes, spans: vec![last], ..Batch::default() });
            }
            return Ok(());
        }
        loop {
            let mut spans = Vec::new();
            let decoded = decoder.decode(&bytes, &mut spans);
            // While no record is complete, the buffer grows; else its end goes into the next.
            if !spans.is_empty() {
                let most = spans.len() == MOST_AT_ONCE;
                let left = decoded.as_ref().map_or(Vec::new(), |done| bytes[*done..].to_vec());
                let bytes = std::mem::replace(&mut bytes, left);
                if !take(Batch { bytes, spans, ..Batch::default() }) {
                    return Ok(());
                }
                if decoded.is_ok() && most {
                    continue;
                }
            }
            decoded.map_err(too_long)?;
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(framing: Framing, input: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let taken = read_records(&mut &*input, framing, |batch| {
            records.extend(batch.iter().map(<[u8]>::to_vec));
            true
        });
        taken.expect("records");
        records
    }

    #[test]
    fn each_record_is_a_message() {
        assert_eq!(records(Framing::Line, b"one\ntwo"), [b"one", b"two"]);
        assert_eq!(records(Framing::Line, b""), [] as [&[u8]; 0]);
        assert_eq!(records(Framing::Nul, b"a\nb\0"), [b"a\nb"]);
        assert_eq!(records(Framing::Whole, b"a\nb\n"), [b"a\nb\n"]);
        let long = vec![b'x'; 3 * READ_SIZE];
        assert_eq!(records(Framing::Line, &long), [long]);
        assert_eq!(records(Framing::Line, &[b'\n'; READ_SIZE]).len(), READ_SIZE);
    }
}
