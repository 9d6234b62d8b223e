//! The frames of streams: tables of what is one and what is none, and properties of all of them.
//!
//! Apart from the decoder for their length.

use std::io::Write;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Again, Code, Grant, Level, MAX_NUMBER, Open, SessionId};
use super::*;
use crate::fuzzing::{self, client_frames, client_stream, server_frames, server_stream};

/// The reason why a client's or a server's stream is no frame. It is the same in any pieces.
fn complaint(is_client: bool, stream: &[u8]) -> FrameError {
    let decode = if is_client { client_frames } else { server_frames };
    let (frames, error) = decode(64, stream, &[1]);
    assert_eq!(decode(64, stream, &[stream.len()]), (frames.clone(), error.clone()));
    error.unwrap_or_else(|| panic!("{:?} is {frames:?}", String::from_utf8_lossy(stream)))
}

const SESSION: &str = "0123456789abcdef";

#[test]
fn what_a_client_may_not_say() {
    let open = format!("WILCO/1 OPEN sid={SESSION} first=1 next=1");
    let rows = [
        ("\n", "no such frame"),
        ("\r\n", "no such frame"),
        ("hello\n", "no such frame"),
        ("m 1 1\na\n", "no such frame"),
        ("A 1\n", "no such frame"),
        (" M 1 1\na\n", "no such frame"),
        ("WILCO/1\n", "no such frame"),
        ("WILCO/1 OK\n", "no such frame"),
        ("WILCO/1  OPEN\n", "no such frame"),
        ("WILCO/x OPEN\n", "no such frame"),
        ("M\n", "a number is missing"),
        ("M 0 1\na\n", "numbered from 1"),
        ("M 01 1\na\n", "a number is missing"),
        ("M 1\n", "the length"),
        ("M 1 \n", "the length"),
        ("M  1 1\na\n", "a number is missing"),
        ("M\t1 1\na\n", "control character"),
        ("M 1 1\t\na\n", "control character"),
        ("M 1 1 \na\n", "a space too many"),
        ("M 1 1 x\na\n", "a field too many"),
        ("M 1 01\na\n", "the length"),
        ("M 1 -1\na\n", "the length"),
        ("M -1 1\na\n", "a number is missing"),
        ("M +1 1\na\n", "a number is missing"),
        ("M 9223372036854775808 1\na\n", "a number is missing"),
        ("M 99999999999999999999 1\na\n", "a number is missing"),
        ("M 1 9223372036854775808\n", "the length"),
        ("M 1 18446744073709551617\n", "the length"),
        ("M 1 1\nab\n", "no newline follows"),
        ("M 1 1\na\r\r", "no newline follows"),
        ("M 1 0\na", "no newline follows"),
        ("M 1\0 1\na\n", "control character"),
        ("M 1 1\r\r\na\n", "control character"),
        ("M 1 1 oid=\na\n", "oid= has no such value"),
        ("M 1 1 oid=0123456789abcdef\na\n", "oid= has no such value"),
        ("M 1 1 oid=0123456789abcdef:0\na\n", "oid= has no such value"),
        ("M 1 1 oid=0123456789abcdef:1 oid=0123456789abcdef:1\na\n", "oid= is there twice"),
        ("K\n", "a number is missing"),
        ("K 1 2\n", "a field too many"),
        ("PING\n", "a token is missing"),
        ("PING \n", "a token is missing"),
        ("PONG a b\n", "a field too many"),
        ("BYE 1\n", "a field too many"),
        ("WILCO/1 OPEN\n", "sid= is missing"),
        ("WILCO/1 OPEN sid=short first=1 next=1\n", "sid= has no such value"),
        ("WILCO/1 OPEN sid=0123456789abcdef next=1\n", "first= is missing"),
        ("WILCO/1 OPEN sid=0123456789abcdef first=0 next=1\n", "numbered from 1"),
        ("WILCO/1 OPEN sid=0123456789abcdef first=2 next=1\n", "next= is below first="),
        ("WILCO/1 OPEN sid=0123456789abcdef first=1 next=9223372036854775808\n", "next= has no such value"),
        ("{open} ack=disk\n", "ack= has no such value"),
        ("{open} reply=yes\n", "reply= has no such value"),
        ("{open} name=%\n", "name= has no such value"),
        ("{open} token=%ff\n", "token= has no such value"),
        ("{open} first=1\n", "first= is there twice"),
        ("{open} token=a token=b\n", "token= is there twice"),
    ];
    for (stream, words) in rows {
        let error = complaint(true, stream.replace("{open}", &open).as_bytes());
        assert!(error.code == Code::BAD_FRAME && error.reason.contains(words), "{stream:?}: {error}");
    }
    assert!(complaint(true, b"K 1\xff\n").reason.contains("UTF-8"));
}

#[test]
fn what_a_server_may_not_say() {
    for (stream, words) in [
        ("I got your message\n", "no such frame"),
        ("M 1 1\na\n", "no such frame"),
        ("WILCO/1 OPEN\n", "no such frame"),
        ("A\n", "a number is missing"),
        ("A 00\n", "a number is missing"),
        ("A 1 2\n", "a field too many"),
        ("N 0 422 no\n", "numbered from 1"),
        ("N 1 42 no\n", "three digits"),
        ("N 1 +42 no\n", "three digits"),
        ("N 1\n", "three digits"),
        ("N 1 422 a\tb\n", "control character"),
        ("R 1 422\n", "three digits"),
        ("R 1 -1 503 later\n", "a number is missing"),
        ("D 1 -\na\n", "a number is missing"),
        ("D 1 1\nab", "no newline follows"),
        ("W 1\n", "a number is missing"),
        ("W 1 1 1\n", "a field too many"),
        ("BYE\n", "a number is missing"),
        ("BYE 1 drained\n", "a field too many"),
        ("E 400\n", "neither"),
        ("E 400 Never no\n", "neither"),
        ("WILCO/1 OK\n", "acked= is missing"),
        ("WILCO/1 OK acked=0 crc=0 win=1 winb=1 max=1 idle=1 ack=run srv=a\n", "crc= has no such value"),
        ("WILCO/1 OK acked=0 crc=+0000000 win=1 winb=1 max=1 idle=1 ack=run srv=a\n", "crc= has no such value"),
        ("WILCO/1 OK acked=0 crc=- win=1 winb=1 max=1 idle=1 srv=a\n", "ack= is missing"),
    ] {
        let error = complaint(false, stream.as_bytes());
        assert!(error.code == Code::BAD_FRAME && error.reason.contains(words), "{stream:?}: {error}");
    }
    let error = complaint(false, b"D 1 65\n");
    assert_eq!((error.code, &*error.reason), (Code::TOO_LARGE, "the reply to message 1 is too long: 65 bytes"));
}

#[test]
fn another_version_is_told_from_nonsense() {
    for line in ["WILCO/2 OPEN", "WILCO/10 x", "WILCO/0", "WILCO/1.1 OPEN", "WILCO/2 \0\t  "] {
        for is_client in [true, false] {
            assert_eq!(complaint(is_client, format!("{line}\n").as_bytes()).code, Code::VERSION, "{line}");
        }
    }
    assert_eq!(complaint(true, &[&b"WILCO/2 "[..], &[b'x'; MAX_HEADER]].concat()).code, Code::VERSION);
}

#[test]
fn what_is_written_otherwise_means_the_same() {
    for (is_client, stream, canonical) in [
        (true, "M 1 -\nhello\n", "M 1 5\nhello\n"),
        (true, "M 1 -\r\nhello\r\n", "M 1 5\nhello\n"),
        (true, "M 1 -\n\n", "M 1 0\n\n"),
        (true, "M 1 5\r\nhello\r\n", "M 1 5\nhello\n"),
        (true, "M 1 2 later=1 x=\n\r\n\n", "M 1 2\n\r\n\n"),
        (true, "M 1 1\n\0\n", "M 1 1\n\0\n"),
        (true, "M 9223372036854775807 0\n\n", "M 9223372036854775807 0\n\n"),
        (true, "K 5 x=y x=y\n", "K 5\n"),
        (true, "PING k=v\n", "PING k=v\n"),
        (
            true,
            "WILCO/1 OPEN next=9 name=%41%7a x=1 first=2 sid=0123456789abcdef\n",
            "WILCO/1 OPEN sid=0123456789abcdef first=2 next=9 name=Az\n",
        ),
        (false, "N 1 422 \n", "N 1 422\n"),
        (false, "N 1 422  two  spaces \n", "N 1 422  two  spaces \n"),
        (false, "BYE 4 drain x=1\r\n", "BYE 4 drain\n"),
        (false, "W 5000000000 1\n", "W 4294967295 1\n"),
        (
            false,
            "WILCO/1 OK srv=a ack=run idle=60 max=1 winb=1 win=1 crc=C0FFEE00 acked=1 new=1\n",
            "WILCO/1 OK acked=1 crc=c0ffee00 win=1 winb=1 max=1 idle=60 ack=run srv=a\n",
        ),
    ] {
        let decode = if is_client { client_frames } else { server_frames };
        for size in [1, stream.len()] {
            let (frames, error) = decode(64, stream.as_bytes(), &[size]);
            assert_eq!((frames.len(), error), (1, None), "{stream:?}");
            assert_eq!(String::from_utf8_lossy(&frames[0].1), canonical);
        }
    }
}

#[test]
fn a_header_has_a_limit() {
    let fits = format!("K 1 x={}", "y".repeat(MAX_HEADER - 6));
    for end in ["\n", "\r\n"] {
        let stream = [&fits, end].concat();
        assert_eq!(client_frames(64, stream.as_bytes(), &[100]).0.len(), 1);
        let error = complaint(true, format!("{fits}y{end}").as_bytes());
        assert_eq!(error.reason, "a header has more than 1024 bytes");
    }
    // Found as soon as it is certain, and nobody looks at the rest.
    let mut decoder = FrameDecoder::new(64);
    assert_eq!(decoder.client_frame(&[b'x'; MAX_HEADER + 1]), Ok((0, None)));
    assert!(decoder.client_frame(&[b'x'; MAX_HEADER + 2]).is_err());
    assert!(FrameDecoder::new(64).client_frame(&[b'x'; 1 << 20]).is_err());
}

#[test]
fn a_body_that_is_too_long_is_passed_over_in_no_memory() {
    let too_large = |number, length| format!("{:?}", ClientFrame::TooLarge { number, length });
    let shown = |stream: &[u8], size| {
        let (frames, error) = client_frames(64, stream, &[size]);
        (frames.into_iter().map(|(shown, _)| shown).collect::<Vec<_>>(), error)
    };
    let bye = format!("{:?}", ClientFrame::Bye);
    for body in [[b'\n'; 65], [b'x'; 65]] {
        let stream = [&b"M 3 65\r\n"[..], &body, b"\r\nBYE\n"].concat();
        for size in [1, 7, 100] {
            assert_eq!(shown(&stream, size), (vec![too_large(3, 65), bye.clone()], None));
        }
        let stream = [&b"M 3 65\n"[..], &body, b"BYE\n"].concat();
        assert!(shown(&stream, 9).1.is_some_and(|error| error.reason.contains("no newline follows")));
    }
    for (length, is_long) in [(64, false), (65, true), (66, true), (1000, true)] {
        let stream = [&b"M 3 -\n"[..], &vec![b'x'; length], b"\r\nBYE\n"].concat();
        for size in [1, 7, 2000] {
            let (frames, error) = shown(&stream, size);
            assert_eq!((frames[0] == too_large(3, 65), &frames[1], error), (is_long, &bye, None), "{length}");
        }
    }
    // A line has a limit of its own, whatever a body may have.
    let stream = [&b"M 3 -\n"[..], &vec![b'x'; MAX_LINE + 1], b"\n"].concat();
    let (frames, _) = client_frames(u64::MAX, &stream, &[5000]);
    assert_eq!(frames[0].0, too_large(3, MAX_LINE as u64 + 1));

    // At once, and the longest there can be takes no room.
    let mut decoder = FrameDecoder::new(64);
    let header = b"M 3 9223372036854775807\n";
    let frame = ClientFrame::TooLarge { number: 3, length: MAX_NUMBER };
    assert_eq!(decoder.client_frame(header), Ok((header.len(), Some(frame))));
    assert_eq!(decoder.client_frame(&[0; 1000]), Ok((1000, None)));
    assert_eq!(decoder.needs(), 1);
}

#[test]
fn it_says_how_much_it_needs() {
    let mut decoder = FrameDecoder::new(1 << 40);
    for (buffer, done, needs) in
        [(&b""[..], 0, 1), (b"M 1", 0, 4), (b"M 1 1000000000\nab", 15, 1_000_000_001), (b"abc", 0, 1_000_000_001)]
    {
        assert_eq!(decoder.client_frame(buffer), Ok((done, None)));
        assert_eq!(decoder.needs(), needs);
    }
    let mut decoder = FrameDecoder::new(64);
    assert_eq!(decoder.client_frame(b"M 1 2\nab\r"), Ok((6, None)));
    assert_eq!(decoder.needs(), 4);
}

#[test]
fn a_body_that_trickles_in_is_not_looked_through_again() {
    // A byte at a time, each time with all that is there: looked through each time, this would be 10^12 bytes.
    let stream = [&b"D 1 1048576\n"[..], &vec![b'x'; 1 << 20], b"\n"].concat();
    let mut decoder = FrameDecoder::new(1 << 20);
    let (mut start, mut frames) = (0, 0);
    for end in 1..=stream.len() {
        let (done, frame) = decoder.server_frame(&stream[start..end]).expect("a frame");
        start += done;
        frames += usize::from(frame.is_some());
    }
    assert_eq!((start, frames), (stream.len(), 1));
    let line = [&b"M 1 -\n"[..], &vec![b'x'; MAX_LINE], b"\n"].concat();
    let mut decoder = FrameDecoder::new(1 << 20);
    assert_eq!(decoder.client_frame(&line[..1000]), Ok((6, None)));
    assert_eq!(decoder.searched, 994);
}

#[test]
fn the_transcripts_of_the_documentation_are_what_is_said() {
    let page = include_str!("../../../../docs/protocol.md");
    let blocks: Vec<_> = page.split("```wilco\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        assert!(block.lines().all(|line| line.starts_with("C: ") || line.starts_with("S: ")));
        for (side, decode) in [("C: ", client_frames as fn(_, &_, &_) -> _), ("S: ", server_frames)] {
            let lines = block.lines().filter_map(|line| line.strip_prefix(side));
            let stream: String = lines.flat_map(|line| [line, "\n"]).collect();
            let (frames, error) = decode(1 << 20, stream.as_bytes(), &[3]);
            assert_eq!(error, None);
            let encoded: Vec<u8> = frames.into_iter().flat_map(|(_, encoded)| encoded).collect();
            assert_eq!(String::from_utf8_lossy(&encoded), stream);
        }
    }
    assert!(page.contains(&format!("crc={:08x}", super::super::checksum(b"two\nlines"))));
}

fn session() -> impl Strategy<Value = SessionId> {
    "[0-9a-z]{16,64}".prop_map(|name| name.parse().expect("a session"))
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..=9u64, 0..=MAX_NUMBER, Just(MAX_NUMBER)]
}

fn message_number() -> impl Strategy<Value = u64> {
    prop_oneof![1..=9u64, 1..=MAX_NUMBER, Just(MAX_NUMBER)]
}

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![Just(Level::Shown), Just(Level::Handled), Just(Level::Stored)]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..64)
}

fn milliseconds() -> impl Strategy<Value = Duration> {
    any_number().prop_map(Duration::from_millis)
}

/// Any characters, those that need an escape among them.
fn value() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just(' '), Just('%'), Just('\n'), any::<char>()], 0..30)
        .prop_map(String::from_iter)
}

const TEXT: &str = "([ -~]|[^\\p{Cc}]){0,60}";
const TOKEN: &str = "[!-~]{1,40}";

proptest! {
    #[test]
    fn what_a_client_says_is_what_comes(
        open in (session(), message_number(), any_number(), proptest::option::of(level()), any::<bool>(),
            proptest::option::of(value()), proptest::option::of(value())),
        messages in proptest::collection::vec((message_number(), proptest::option::of((session(), message_number())), body()), 0..4),
        noted in any_number(),
        tokens in (TOKEN, TOKEN),
        pieces in proptest::collection::vec(1usize..200, 1..10),
    ) {
        let (session, first, more, level, replies, token, name) = open;
        let next = first.saturating_add(more).min(MAX_NUMBER);
        let open = Open { session, first, next, level, replies, token: token.map(Into::into), name: name.map(Into::into) };
        let mut frames = vec![ClientFrame::Open(open)];
        for (number, origin, body) in &messages {
            frames.push(ClientFrame::Message { number: *number, origin: origin.clone(), body });
        }
        frames.extend([ClientFrame::Noted(noted), ClientFrame::Ping(tokens.0.into()), ClientFrame::Pong(tokens.1.into()), ClientFrame::Bye]);
        let mut stream = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut stream));
        let mut left = frames.iter();
        client_stream(64, &stream, &pieces, |frame| assert_eq!(Some(&frame), left.next())).expect("frames");
        prop_assert_eq!(left.next(), None);
        for frame in &frames {
            let mut packet = Vec::new();
            frame.encode(&mut packet);
            prop_assert_eq!(ClientFrame::of_packet(&packet, 64), Ok(frame.clone()));
        }
    }

    #[test]
    fn what_a_server_says_is_what_comes(
        grant in (any_number(), proptest::option::of(any::<u32>()), any::<u32>(), any_number(), any_number(), any_number(), level(), value()),
        numbers in (message_number(), any_number(), message_number(), any_number()),
        codes in (0u16..1000, 0u16..1000, 0u16..1000),
        texts in (TEXT, TEXT, TEXT),
        after in (milliseconds(), proptest::option::of(milliseconds())),
        body in body(),
        window in (any::<u32>(), any_number()),
        tokens in (TOKEN, TOKEN),
        drain in any::<bool>(),
        last in proptest::option::of(any::<u32>()),
        pieces in proptest::collection::vec(1usize..200, 1..10),
    ) {
        let (acknowledged, checksum, messages, window_bytes, max_body, idle, level, server) = grant;
        let last = last.map(|last| (numbers.0, last));
        let frames = [
            ServerFrame::Granted(Grant { acknowledged, checksum, last, window: messages, window_bytes, max_body,
                idle: Duration::from_secs(idle), level, server: server.into() }),
            ServerFrame::Acknowledged(numbers.1),
            ServerFrame::Refused { number: numbers.0, code: Code(codes.0), reason: texts.0.into() },
            ServerFrame::PutOff { number: numbers.2, after: after.0, code: Code(codes.1), reason: texts.1.into() },
            ServerFrame::Reply { number: numbers.0, body: body.into() },
            ServerFrame::Window { messages: window.0, bytes: window.1 },
            ServerFrame::Ping(tokens.0.into()),
            ServerFrame::Pong(tokens.1.into()),
            ServerFrame::Bye { acknowledged: numbers.3, drain },
            ServerFrame::Error { code: Code(codes.2), again: after.1.map_or(Again::Never, Again::After), reason: texts.2.into() },
        ];
        let mut stream = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut stream));
        let mut left = frames.iter();
        server_stream(64, &stream, &pieces, |frame| assert_eq!(Some(&frame), left.next())).expect("frames");
        prop_assert_eq!(left.next(), None);
        for frame in &frames {
            let mut packet = Vec::new();
            frame.encode(&mut packet);
            prop_assert_eq!(ServerFrame::of_packet(&packet, 64), Ok(frame.clone()));
        }
    }

    #[test]
    fn frames_do_not_depend_on_how_the_bytes_are_split(
        is_client: bool,
        parts in proptest::collection::vec(prop_oneof![
            "(M|K|PING|PONG|BYE|A|N|R|D|W|E|WILCO/1 OPEN|WILCO/1 OK|WILCO/2)",
            "( 1| 0| -| 70| 5| 422| never| x=%41| drain| oid=0123456789abcdef:1| sid=0123456789abcdef| first=1| next=2)",
            "(\r\n|\n|\n|\n)",
            "(M 1 5\nhello\n|M 2 -\n|D 1 2\nab\r\n|M 3 66\n)",
            "[a-z]{0,70}",
            ".{0,3}",
        ], 0..12),
        pieces in proptest::collection::vec(1u8..20, 1..10),
    ) {
        fuzzing::frames(is_client, parts.concat().as_bytes(), &pieces);
    }

    #[test]
    fn any_bytes_at_all_are_a_frame_or_an_error(
        is_client: bool,
        stream in proptest::collection::vec(any::<u8>(), 0..100),
        pieces in proptest::collection::vec(1u8..20, 1..10),
    ) {
        fuzzing::frames(is_client, &stream, &pieces);
    }
}

/// `cargo test --release --lib frames_a_second -- --ignored --nocapture`
#[test]
#[ignore = "measures, and says nothing unless optimised"]
fn frames_a_second() {
    const ROUNDS: usize = 10_000;
    let (mut stream, mut count) = (Vec::new(), 0u64);
    while stream.len() < 64 * 1024 - 100 {
        count += 1;
        ClientFrame::Message { number: 1_000_000 + count, origin: None, body: &[b'x'; 64] }.encode(&mut stream);
    }
    let begin = Instant::now();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let mut decoder = FrameDecoder::new(1 << 20);
        let mut done = 0;
        while let (used, Some(frame)) = decoder.client_frame(&stream[done..]).expect("a frame") {
            done += used;
            if let ClientFrame::Message { number, body, .. } = frame {
                bytes += body.len() as u64 + (number & 1);
            }
        }
        assert_eq!(done, stream.len());
    }
    let decoded = (count as f64) * (ROUNDS as f64) / begin.elapsed().as_secs_f64() / 1e6;
    let begin = Instant::now();
    let mut out = Vec::new();
    for _ in 0..ROUNDS {
        out.clear();
        for number in 0..count {
            ClientFrame::Message { number: 1_000_000 + number, origin: None, body: &[b'x'; 64] }.encode(&mut out);
        }
    }
    let encoded = (count as f64) * (ROUNDS as f64) / begin.elapsed().as_secs_f64() / 1e6;
    assert!(bytes > 0 && out.len() > 1000);
    let words = format!("decoded {decoded:.1}, encoded {encoded:.1} million frames of 64 bytes a second\n");
    std::io::stderr().write_all(words.as_bytes()).expect("written");
}
