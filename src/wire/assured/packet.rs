//! Frames in packets: one with its body in each.
//!
//! Apart from streams: nothing is left for the next packet, and its end is also that of the body.

use memchr::memchr;

use super::decoder::{end_of_line, in_memory, longest_line, of_line, too_long, without_return};
use super::header::{Body, Frame, Header, Length};
use super::{ClientFrame, FrameError, MAX_HEADER, ServerFrame};

impl<'a> ClientFrame<'a> {
    /// The frame that a packet is. The end of its last line may be left out.
    ///
    /// A body of more than `max_body` bytes is [`ClientFrame::TooLarge`]. That the packet was cut on its way into memory is what only the caller knows.
    ///
    /// # Errors
    /// It is no frame, or more than one.
    pub fn of_packet(packet: &'a [u8], max_body: u64) -> Result<Self, FrameError> {
        frame(packet, max_body)
    }
}

impl<'a> ServerFrame<'a> {
    /// The frame that a packet is. The end of its last line may be left out.
    ///
    /// # Errors
    /// It is no frame, or more than one, or a reply of more than `max_body` bytes.
    pub fn of_packet(packet: &'a [u8], max_body: u64) -> Result<Self, FrameError> {
        frame(packet, max_body)
    }
}

fn frame<'a, F: Frame<'a>>(packet: &'a [u8], max_body: u64) -> Result<F, FrameError> {
    let (line, rest) = first_line(packet);
    if line.len() > MAX_HEADER {
        return Err(too_long(line));
    }
    let Body { number, length, origin } = match of_line(line)? {
        Header::Whole(frame) => return rest.is_none_or(<[u8]>::is_empty).then_some(frame).ok_or_else(too_much),
        Header::Body(body) => body,
    };
    let body = match length {
        Length::Bytes(length) if length > max_body => return F::too_large(number, length),
        Length::Bytes(length) => {
            let (body, end) = rest.and_then(|rest| rest.split_at_checked(in_memory(length))).ok_or_else(too_little)?;
            let used = if end.is_empty() { Some(0) } else { end_of_line(end)? };
            return match used == Some(end.len()) {
                true => Ok(F::with_body(number, origin, body)),
                false => Err(too_much()),
            };
        }
        Length::Line => first_line(rest.ok_or_else(too_little)?),
    };
    match body {
        (line, _) if line.len() as u64 > longest_line(max_body) => F::too_large(number, longest_line(max_body) + 1),
        (line, None | Some([])) => Ok(F::with_body(number, origin, line)),
        _ => Err(too_much()),
    }
}

/// The first line without its end, and what follows that, if it is there.
fn first_line(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'\n', bytes) {
        Some(at) => (without_return(&bytes[..at]), Some(&bytes[at + 1..])),
        None => (without_return(bytes), None),
    }
}

fn too_little() -> FrameError {
    FrameError::bad("a body is shorter than its header says")
}

fn too_much() -> FrameError {
    FrameError::bad("something follows the frame in its packet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_one_frame() {
        let message = |number, body| ClientFrame::Message { number, origin: None, body };
        let rows: [(&[u8], ClientFrame<'_>); 14] = [
            (b"K 5", ClientFrame::Noted(5)),
            (b"K 5\n", ClientFrame::Noted(5)),
            (b"K 5\r\n", ClientFrame::Noted(5)),
            (b"M 1 2\nab", message(1, b"ab")),
            (b"M 1 2\nab\n", message(1, b"ab")),
            (b"M 1 2\r\nab\r\n", message(1, b"ab")),
            (b"M 1 0\n", message(1, b"")),
            (b"M 1 0\n\n", message(1, b"")),
            (b"M 1 -\nab", message(1, b"ab")),
            (b"M 1 -\nab\r\n", message(1, b"ab")),
            (b"M 1 -\nab\r", message(1, b"ab")),
            (b"M 1 -\n", message(1, b"")),
            (b"M 1 9\nab", ClientFrame::TooLarge { number: 1, length: 9 }),
            (b"M 1 -\n123456789", ClientFrame::TooLarge { number: 1, length: 9 }),
        ];
        for (packet, frame) in rows {
            assert_eq!(ClientFrame::of_packet(packet, 8), Ok(frame), "{:?}", String::from_utf8_lossy(packet));
        }
        let reply = ServerFrame::Reply { number: 1, body: b"a\n"[..].into() };
        assert_eq!(ServerFrame::of_packet(b"D 1 2\na\n", 8), Ok(reply));
    }

    #[test]
    fn what_is_less_or_more_than_a_frame_is_none() {
        for packet in [
            &b""[..],
            b"\n",
            b"M 1 0",
            b"M 1 -",
            b"M 1 3\nab",
            b"M 1 2\nabc",
            b"M 1 2\nab\nc",
            b"M 1 2\nab\n\n",
            b"M 1 2\nab\r",
            b"M 1 -\nab\nc",
            b"M 1 0\n\nK 1\n",
            b"K 5\n\n",
            b"K 5\nK 6\n",
            b"K 5\0",
        ] {
            let error = ClientFrame::of_packet(packet, 8).expect_err("no frame");
            assert_eq!(error.code, super::super::Code::BAD_FRAME, "{:?}", String::from_utf8_lossy(packet));
        }
        assert!(ClientFrame::of_packet(&b"K".repeat(MAX_HEADER + 1), 8).is_err_and(|e| e.reason.contains("1024")));
        assert!(ServerFrame::of_packet(b"D 1 9\n123456789", 8).is_err_and(|e| e.code == super::super::Code::TOO_LARGE));
    }
}
