//! `detect`: what the first bytes of a connection are.
//!
//! Apart from what serves them. A server never speaks first, so that one address can serve all of these; and what is a request of HTTP must not become
//! messages, or any page in a browser could post some to servers that only the browser's machine can reach.

/// What a connection begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detected {
    /// It cannot be said yet. If the connection ends here, or nothing more comes, it is [`Plain`](Self::Plain). A line that is complete is never held so.
    NeedMore,
    /// Frames of this protocol, in whatever version: the decoder answers those it does not know.
    Assured,
    /// The first record of TLS (RFC 8446, section 5.1).
    TlsHello,
    /// A request line of HTTP/1 (RFC 9112, section 3), or the preface of HTTP/2 (RFC 9113, section 3.4).
    Http,
    /// Anything else: plain messages.
    Plain,
}

/// The longest target of a request that is waited for, in bytes. RFC 9112, section 3, has 8000 for a whole line. What is longer is a request too: a
/// page could ask for a long one on purpose, and no person writes so much without a space.
pub const MAX_TARGET: usize = 8 * 1024;

/// The longest method that is waited for, in bytes. There is none of so many; but a page whose own name leads here (DNS rebinding) may ask by a method that it has
/// made up, and no browser asks first whether it may.
const MAX_METHOD: usize = 64;

/// The methods of RFC 9110, section 9, and RFC 5789, each with its space: whatever they ask for, however long, is a request.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"OPTIONS ", b"TRACE ", b"PATCH "];

/// What a connection is whose first bytes are these. Once it is said, no more bytes change it; and it is said with the first byte that makes it certain.
pub fn detect(prefix: &[u8]) -> Detected {
    let mut all = METHODS.iter().map(|method| after(method, prefix).then(Detected::Http, request));
    let http = all.find(|found| *found != Detected::Plain).unwrap_or(Detected::Plain);
    let found = [
        http,
        other_method(prefix).then(Detected::Http, |rest| request_of(rest, Match::Not)),
        after(b"PRI * HTTP/2.0", prefix).then(Detected::Http, end_of_line),
        after(b"WILCO/", prefix).then(Detected::Assured, |rest| digit(rest).and_then(|rest| after(b" ", rest))),
        after(b"\x16\x03", prefix).then(Detected::TlsHello, Match::Whole),
    ];
    // Each begins otherwise, or is HTTP, too, so that what is certain is one.
    let certain = found.into_iter().find(|found| !matches!(found, Detected::Plain | Detected::NeedMore));
    certain.or_else(|| found.into_iter().find(|found| *found == Detected::NeedMore)).unwrap_or(Detected::Plain)
}

/// How far bytes are what was looked for.
enum Match<'a> {
    /// They begin with it, and these follow.
    Whole(&'a [u8]),
    /// They may become it.
    Part,
    /// They are not, and never will be.
    Not,
}

impl<'a> Match<'a> {
    fn and_then(self, next: impl FnOnce(&'a [u8]) -> Match<'a>) -> Match<'a> {
        match self {
            Self::Whole(rest) => next(rest),
            other => other,
        }
    }

    /// What it is if the rest is as it should be.
    fn then(self, what: Detected, rest: impl FnOnce(&'a [u8]) -> Match<'a>) -> Detected {
        match self.and_then(rest) {
            Self::Whole(_) => what,
            Self::Part => Detected::NeedMore,
            Self::Not => Detected::Plain,
        }
    }
}

/// What follows these bytes.
fn after<'a>(expected: &[u8], bytes: &'a [u8]) -> Match<'a> {
    match bytes.strip_prefix(expected) {
        Some(rest) => Match::Whole(rest),
        None if expected.starts_with(bytes) => Match::Part,
        None => Match::Not,
    }
}

fn digit(bytes: &[u8]) -> Match<'_> {
    match bytes {
        [] => Match::Part,
        [b'0'..=b'9', rest @ ..] => Match::Whole(rest),
        _ => Match::Not,
    }
}

/// The rest of a request line, after the method: a target of visible characters, a space, the version, and the end of the line.
fn request(bytes: &[u8]) -> Match<'_> {
    request_of(bytes, Match::Whole(&[]))
}

/// What follows a method that may be of no list, and its space (RFC 9110, section 5.6.2).
fn other_method(bytes: &[u8]) -> Match<'_> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    match bytes.iter().take(MAX_METHOD + 1).position(|byte| !is_token(byte)) {
        None if bytes.len() > MAX_METHOD => Match::Not,
        None => Match::Part,
        Some(end) if end > 0 && bytes[end] == b' ' => Match::Whole(&bytes[end + 1..]),
        Some(_) => Match::Not,
    }
}

/// The rest of a request line; `too_long` is what it is if its target is longer than any is waited for.
fn request_of<'a>(bytes: &'a [u8], too_long: Match<'a>) -> Match<'a> {
    let seen = &bytes[..bytes.len().min(MAX_TARGET + 1)];
    match seen.iter().position(|byte| *byte <= b' ' || *byte == 0x7f) {
        None if seen.len() > MAX_TARGET => too_long,
        None => Match::Part,
        Some(end) if end > 0 && seen[end] == b' ' => {
            after(b"HTTP/1.", &bytes[end + 1..]).and_then(digit).and_then(end_of_line)
        }
        Some(_) => Match::Not,
    }
}

fn end_of_line(bytes: &[u8]) -> Match<'_> {
    match bytes {
        [] | [b'\r'] => Match::Part,
        [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => Match::Whole(rest),
        _ => Match::Not,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Detected::{Assured, Http, NeedMore, Plain, TlsHello};
    use super::*;
    use crate::fuzzing;

    #[test]
    fn the_first_bytes_say_what_it_is() {
        let table: [(&[u8], Detected); 53] = [
            (b"", NeedMore),
            (b"W", NeedMore),
            (b"WILCO/1", NeedMore),
            (b"WILCO/1 ", Assured),
            (b"WILCO/2 whatever", Assured),
            (b"WILCO/10", Plain),
            (b"WILCO/x", Plain),
            (b"WILCO/1\n", Plain),
            (b"WILCO\n", Plain),
            (b"wilco/1 OPEN", Plain),
            (b"\x16", NeedMore),
            (b"\x16\x03", TlsHello),
            (b"\x16\x03\x01\x02\0", TlsHello),
            (b"\x16\x02", Plain),
            (b"\x16\n", Plain),
            (b"hello\n", Plain),
            (b"h", NeedMore),
            (b"hello, world\n", Plain),
            (b"hello world HTTP/1\n", Plain),
            (b"PROPFIND / HTTP/1.1\r\n", Http),
            (b"made-up!~ /x HTTP/1.1\r\n", Http),
            (b"a/b / HTTP/1.1\r\n", Plain),
            (b" / HTTP/1.1\r\n", Plain),
            (b"hello\0", Plain),
            (b"\n", Plain),
            (b"\0\0\0\x05hello", Plain),
            (b"G", NeedMore),
            (b"P", NeedMore),
            (b"GET", NeedMore),
            (b"GET\n", Plain),
            (b"GETS", NeedMore),
            (b"get / HTTP/1.1\r\n", Http),
            (b"GET ", NeedMore),
            (b"GET  ", Plain),
            (b"GET \n", Plain),
            (b"GET well", NeedMore),
            (b"GET well\n", Plain),
            (b"GET well ", NeedMore),
            (b"GET well s", Plain),
            (b"GET / HTTP/", NeedMore),
            (b"GET / HTTP/2", Plain),
            (b"GET / HTTP/1.1", NeedMore),
            (b"GET / HTTP/1.1\r", NeedMore),
            (b"GET / HTTP/1.1\r\n", Http),
            (b"GET / HTTP/1.0\nHost: x", Http),
            (b"GET / HTTP/1.1 is old", Plain),
            (b"GET / HTTP/1.11", Plain),
            (b"GET /\0 HTTP/1.1\r\n", Plain),
            (b"POST http://[::1]:51717/%0a HTTP/1.1\r\nhello\n", Http),
            (b"OPTIONS * HTTP/1.1\r\n", Http),
            (b"PRI * HTTP/2.0\r", NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Http),
            (b"PRI * HTTP/1.1\r\n", Http),
        ];
        for (bytes, detected) in table {
            assert_eq!(detect(bytes), detected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn every_method_makes_a_request() {
        for method in METHODS {
            assert_eq!(detect(&[method, b"/ HTTP/1.1\r\n"].concat()), Http);
        }
    }

    #[test]
    fn a_request_is_not_too_long_to_be_one() {
        let target = |length| [b"POST /", "a".repeat(length - 1).as_bytes()].concat();
        assert_eq!(detect(&target(MAX_TARGET)), NeedMore);
        assert_eq!(detect(&[&target(MAX_TARGET)[..], b" HTTP/1.1\r\n"].concat()), Http);
        assert_eq!(detect(&[&target(MAX_TARGET)[..], b"\n"].concat()), Plain);
        assert_eq!(detect(&target(MAX_TARGET + 1)), Http);
        // A person writes a line of a short word and a long one.
        let made_up = |length| [b"X /", "a".repeat(length - 1).as_bytes()].concat();
        assert_eq!(detect(&made_up(MAX_TARGET)), NeedMore);
        assert_eq!(detect(&made_up(MAX_TARGET + 1)), Plain);
        assert_eq!(detect("m".repeat(MAX_METHOD).as_bytes()), NeedMore);
        assert_eq!(detect("m".repeat(MAX_METHOD + 1).as_bytes()), Plain);
    }

    proptest! {
        #[test]
        fn more_bytes_do_not_change_what_it_is(parts in proptest::collection::vec(prop_oneof![
            "(WILCO/|1 |OPEN|GET |POST |PRI |\\* |/x |HTTP/1.1|HTTP/2.0|\r\n|\n| )",
            ".{0,3}",
        ], 0..8)) {
            fuzzing::detection(parts.concat().as_bytes());
        }

        #[test]
        fn nor_do_any_bytes_at_all(bytes in proptest::collection::vec(prop_oneof![Just(0x16), Just(3), any::<u8>()], 0..8)) {
            fuzzing::detection(&bytes);
        }
    }
}
