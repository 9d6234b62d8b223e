//! What must hold for the frames of assured delivery, whatever comes.
//!
//! Apart from the other subjects, for there are two sides of it, streams and packets.

use crate::wire::assured::receiver::Allowance;
use crate::wire::assured::{ClientFrame, FrameDecoder, FrameError, ServerFrame};

/// The longest body in these properties.
const MAX_BODY: u64 = 64;

/// What a stream gives: the frames up to its end or the first that is none, each as it is shown and encoded again, and the error.
pub type Decoded = (Vec<(String, Vec<u8>)>, Option<FrameError>);

/// The frames of a stream, a client's or a server's, do not depend on the pieces in which it comes; messages that are found together are those that are found one by one; what is encoded of one is decoded to the same; and a packet
/// is what the same bytes are as a stream.
pub fn frames(is_client: bool, stream: &[u8], pieces: &[u8]) {
    let decode = if is_client { client_frames } else { server_frames };
    let sizes: Vec<usize> = pieces.iter().map(|size| usize::from(*size)).chain([1]).collect();
    let whole = decode(MAX_BODY, stream, &[stream.len().max(1)]);
    for sizes in [&sizes[..], &[1]] {
        assert_eq!(decode(MAX_BODY, stream, sizes), whole, "in pieces of {sizes:?}");
    }
    let together = if is_client { messages_together } else { replies_together };
    for sizes in [&sizes[..], &[1], &[stream.len().max(1)]] {
        assert_eq!(together(stream, sizes), whole, "together, in pieces of {sizes:?}");
    }
    for (shown, encoded) in &whole.0 {
        // What stands for a body that was passed over is not encoded.
        if !encoded.is_empty() {
            let again = decode(MAX_BODY, encoded, &sizes);
            assert_eq!(again, (vec![(shown.clone(), encoded.clone())], None));
            assert_eq!(packet(is_client, encoded).as_ref(), Ok(shown));
            assert_eq!(packet(is_client, &encoded[..encoded.len() - 1]).as_ref(), Ok(shown));
        }
    }
    if let (Ok(shown), false) = (packet(is_client, stream), is_client && is_cut(stream)) {
        let line = [stream, b"\n"].concat();
        let frames: Vec<_> =
            [stream, &line].map(|stream| decode(MAX_BODY, stream, &[7]).0).into_iter().flatten().collect();
        assert!(frames.iter().any(|(frame, _)| *frame == shown), "{shown} is a packet, and no frame of a stream");
    }
}

fn packet(is_client: bool, packet: &[u8]) -> Result<String, FrameError> {
    match is_client {
        true => ClientFrame::of_packet(packet, MAX_BODY).map(|frame| format!("{frame:?}")),
        false => ServerFrame::of_packet(packet, MAX_BODY).map(|frame| format!("{frame:?}")),
    }
}

/// Whether a client's packet has only the beginning of a body that would be allowed: a stream waits for the rest of it.
fn is_cut(packet: &[u8]) -> bool {
    let frame = ClientFrame::of_packet(packet, MAX_BODY);
    matches!(frame, Ok(ClientFrame::TooLarge { length, .. }) if length <= MAX_BODY)
}

/// Feeds a client's stream to a decoder in pieces of the given sizes, over and over, as a reader does.
pub fn client_frames(max_body: u64, stream: &[u8], sizes: &[usize]) -> Decoded {
    let mut frames = Vec::new();
    let error = client_stream(max_body, stream, sizes, |frame| {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        frames.push((format!("{frame:?}"), encoded));
    });
    (frames, error.err())
}

/// Feeds a server's stream to a decoder in pieces of the given sizes, over and over, as a reader does.
pub fn server_frames(max_body: u64, stream: &[u8], sizes: &[usize]) -> Decoded {
    let mut frames = Vec::new();
    let error = server_stream(max_body, stream, sizes, |frame| {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        frames.push((format!("{frame:?}"), encoded));
    });
    (frames, error.err())
}

/// Hands on the frames of a client's stream that comes in pieces of the given sizes.
///
/// # Errors
/// As the decoder's.
pub fn client_stream(
    max_body: u64,
    stream: &[u8],
    sizes: &[usize],
    mut each: impl FnMut(ClientFrame<'_>),
) -> Result<(), FrameError> {
    let mut decoder = FrameDecoder::new(max_body);
    feed(stream, sizes, |buffer| {
        let (done, frame) = decoder.client_frame(buffer)?;
        let found = frame.map(&mut each).is_some();
        Ok((done, found, decoder.needs()))
    })
}

/// Hands on the frames of a server's stream that comes in pieces of the given sizes.
///
/// # Errors
/// As the decoder's.
pub fn server_stream(
    max_body: u64,
    stream: &[u8],
    sizes: &[usize],
    mut each: impl FnMut(ServerFrame<'_>),
) -> Result<(), FrameError> {
    let mut decoder = FrameDecoder::new(max_body);
    feed(stream, sizes, |buffer| {
        let (done, frame) = decoder.server_frame(buffer)?;
        let found = frame.map(&mut each).is_some();
        Ok((done, found, decoder.needs()))
    })
}

/// The same as [`client_frames`], with messages that follow each other found together as far as some are allowed.
fn messages_together(stream: &[u8], sizes: &[usize]) -> Decoded {
    let mut frames = Vec::new();
    let mut each = |frame: ClientFrame<'_>| {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        frames.push((format!("{frame:?}"), encoded));
        match frame {
            ClientFrame::Message { number, .. } => number + 1,
            _ => 0,
        }
    };
    let mut decoder = FrameDecoder::new(MAX_BODY);
    let (mut next, mut calls) = (1, 0);
    let error = feed(stream, sizes, |buffer| {
        calls += 1;
        let allowed = Allowance { messages: calls % 5, bytes: calls % 7 * 20 };
        let (done, run) = decoder.messages(next, allowed, buffer);
        assert!(run.len() as u64 <= allowed.messages && run.is_empty() == (done == 0));
        if !run.is_empty() {
            for (number, body) in run.messages() {
                next = each(ClientFrame::Message { number, origin: None, body });
            }
            return Ok((done, true, decoder.needs()));
        }
        let (done, frame) = decoder.client_frame(buffer)?;
        let found = frame.is_some();
        next = frame.map_or(next, &mut each).max(1);
        Ok((done, found, decoder.needs()))
    });
    (frames, error.err())
}

/// The same as [`server_frames`], with replies that follow each other found together.
fn replies_together(stream: &[u8], sizes: &[usize]) -> Decoded {
    let mut frames = Vec::new();
    let mut each = |frame: ServerFrame<'_>| {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        frames.push((format!("{frame:?}"), encoded));
    };
    let mut decoder = FrameDecoder::new(MAX_BODY);
    let error = feed(stream, sizes, |buffer| {
        let (done, run) = decoder.replies(buffer);
        assert_eq!(run.is_empty(), done == 0);
        if !run.is_empty() {
            run.messages().for_each(|(number, body)| each(ServerFrame::Reply { number, body: body.into() }));
            return Ok((done, true, decoder.needs()));
        }
        let (done, frame) = decoder.server_frame(buffer)?;
        let found = frame.map(&mut each).is_some();
        Ok((done, found, decoder.needs()))
    });
    (frames, error.err())
}

/// Keeps a buffer as a reader does. `decode` says how many bytes are done with, whether there was a frame, and how many it needs.
fn feed(
    stream: &[u8],
    sizes: &[usize],
    mut decode: impl FnMut(&[u8]) -> Result<(usize, bool, usize), FrameError>,
) -> Result<(), FrameError> {
    let (mut buffer, mut rest) = (Vec::new(), stream);
    let mut sizes = sizes.iter().copied().cycle();
    let mut needs = 1;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        rest = later;
        buffer.extend_from_slice(piece);
        loop {
            let (done, found, more) = decode(&buffer)?;
            // What it said that it needs is never more than what it really takes.
            assert!(buffer.len() >= needs || (done == 0 && !found), "{} bytes were enough, not {needs}", buffer.len());
            buffer.drain(..done);
            if !found {
                assert!(more > buffer.len(), "{} bytes are not enough, and it needs {more}", buffer.len());
                needs = more;
                break;
            }
            needs = 1;
        }
    }
    Ok(())
}
