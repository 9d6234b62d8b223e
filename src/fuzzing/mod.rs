//! What must hold for any input, as functions that panic when it does not: called by the fuzz targets and by the property
//! tests alike.

pub mod datagram;
mod frames;
pub mod spool;

use crate::net::Endpoint;
use crate::wire::assured::{Detected, detect};
use crate::wire::{Decoder, Framing, MOST_AT_ONCE, Result};

pub use frames::{Decoded, client_frames, client_stream, frames, server_frames, server_stream};

/// A text is an address or is refused; what is read prints to a text that is read as the same.
pub fn address(text: &str) {
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        let printed = endpoint.to_string();
        let read = printed.parse::<Endpoint>();
        assert!(read.as_ref().is_ok_and(|read| *read == endpoint), "{text:?} printed as {printed:?} reads as {read:?}");
    }
}

/// The messages of a stream do not depend on the pieces in which it comes; `framing` chooses one of those that do not say
/// otherwise.
pub fn framing(framing: u8, stream: &[u8], pieces: &[u8]) {
    const LIMIT: usize = 64;
    let (_, framing) = Framing::ALL[usize::from(framing) % 4];
    let sizes: Vec<usize> = pieces.iter().map(|size| usize::from(*size)).chain([1]).collect();
    assert_eq!(messages(framing, LIMIT, stream, &sizes), messages(framing, LIMIT, stream, &[1]), "{framing:?}");
}

/// What a connection is does not change with what follows, once it is certain; and a line that is complete is never held.
pub fn detection(stream: &[u8]) {
    let mut certain = Detected::NeedMore;
    for end in 0..=stream.len() {
        let found = detect(&stream[..end]);
        assert!(certain == Detected::NeedMore || certain == found, "{certain:?}, then {found:?} at {end}");
        assert!(found != Detected::NeedMore || !stream[..end].contains(&b'\n'), "a line is held at {end}");
        certain = found;
    }
}

/// Feeds a stream to a decoder in pieces of the given sizes, over and over, and collects the messages as a reader does.
///
/// # Errors
/// As the decoder's.
pub fn messages(framing: Framing, limit: usize, stream: &[u8], sizes: &[usize]) -> Result<Vec<Vec<u8>>> {
    let mut decoder = Decoder::new(framing, limit);
    let (mut messages, mut buffer, mut rest) = (Vec::new(), Vec::new(), stream);
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        rest = later;
        buffer.extend_from_slice(piece);
        loop {
            let mut found = Vec::new();
            let done = decoder.decode(&buffer, &mut found);
            messages.extend(found.iter().map(|span| span.of(&buffer).to_vec()));
            buffer.drain(..done?);
            if found.len() < MOST_AT_ONCE {
                break;
            }
        }
    }
    messages.extend(decoder.finish(&buffer)?.map(|span| span.of(&buffer).to_vec()));
    Ok(messages)
}
