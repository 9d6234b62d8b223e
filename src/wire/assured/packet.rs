//! Frames in packets: one with its body in each.
//!
//! Apart from streams: nothing is left for the next packet, and its end is also that of the body.

use memchr::memchr;

use super::decoder::{end_of_line, in_memory, longest_line, of_line, too_long, without_return};
use super::header::{Body, Frame, Header, Length};
use super::{ClientFrame, Code, FrameError, MAX_HEADER, ServerFrame};

impl<'a> ClientFrame<'a> {
    /// The frame that a packet is. The end of its last line may be left out.
    ///
    /// A body of more than `max_body` bytes is [`ClientFrame::TooLarge`], as is one that is not wholly there. That the packet was cut on its way into
    /// memory is what only the caller knows, who then wants [`of_cut_packet`](Self::of_cut_packet).
    ///
    /// # Errors
    /// It is no frame, or more than one.
    pub fn of_packet(packet: &'a [u8], max_body: u64) -> Result<Self, FrameError> {
        frame(packet, max_body)
    }

    /// The message that a packet of so many bytes has begun of which only the beginning came: it is [`ClientFrame::TooLarge`].
    ///
    /// # Errors
    /// No message begins there.
    pub fn of_cut_packet(beginning: &'a [u8], sent: usize) -> Result<Self, FrameError> {
        let (line, rest) = first_line(beginning);
        if line.len() > MAX_HEADER {
            return Err(too_long(line));
        }
        match (of_line::<Self>(line)?, rest) {
            (Header::Body(Body { number, length, .. }), Some(rest)) => {
                let length = match length {
                    Length::Bytes(length) => length,
                    Length::Line => (sent - beginning.len() + rest.len()) as u64,
                };
                Ok(Self::TooLarge { number, length })
            }
            _ => {
                let reason = format!("the packet has {sent} bytes, and {} are the most", beginning.len());
                Err(FrameError { code: Code::TOO_LARGE, reason: reason.into() })
            }
        }
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
            let whole = rest.and_then(|rest| rest.split_at_checked(in_memory(length)));
            let (body, end) = match whole {
                Some(whole) => whole,
                None if length == 0 => return Err(too_little()),
                // The other side has no packets that are long enough for it.
                None => return F::too_large(number, length),
            };
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
        let rows: [(&[u8], ClientFrame<'_>); 17] = [
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
            (b"M 1 3\nab", ClientFrame::TooLarge { number: 1, length: 3 }),
            (b"M 1 3\n", ClientFrame::TooLarge { number: 1, length: 3 }),
            (b"M 1 3", ClientFrame::TooLarge { number: 1, length: 3 }),
            (b"M 1 -\n123456789", ClientFrame::TooLarge { number: 1, length: 9 }),
        ];
        for (packet, frame) in rows {
            assert_eq!(ClientFrame::of_packet(packet, 8), Ok(frame), "{:?}", String::from_utf8_lossy(packet));
        }
        let reply = ServerFrame::Reply { number: 1, body: b"a\n"[..].into() };
        assert_eq!(ServerFrame::of_packet(b"D 1 2\na\n", 8), Ok(reply));
    }

    #[test]
    fn of_a_packet_that_was_cut_the_message_is_known() {
        for (beginning, length) in
            [(&b"M 7 20\nab"[..], 20), (b"M 7 20\n", 20), (b"M 7 20\r\nab", 20), (b"M 7 -\nab", 24)]
        {
            let frame = ClientFrame::of_cut_packet(beginning, beginning.len() + 22);
            assert_eq!(
                frame,
                Ok(ClientFrame::TooLarge { number: 7, length }),
                "{:?}",
                String::from_utf8_lossy(beginning)
            );
        }
        for beginning in [&b"M 7 2"[..], b"PING x", b"PING x\n"] {
            let error = ClientFrame::of_cut_packet(beginning, 100).expect_err("no message");
            assert_eq!(error.code, Code::TOO_LARGE, "{:?}", String::from_utf8_lossy(beginning));
        }
        assert!(ClientFrame::of_cut_packet(b"hello\nab", 100).is_err_and(|error| error.code == Code::BAD_FRAME));
    }

    #[test]
    fn what_is_less_or_more_than_a_frame_is_none() {
        for packet in [
            &b""[..],
            b"\n",
            b"M 1 0",
            b"M 1 -",
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
