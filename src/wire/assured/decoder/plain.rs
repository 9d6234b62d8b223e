//! The frames that nearly all are: a letter, a number and a length, and then a body that has come whole.
//!
//! Apart from the decoder, which can do without: what is written in any other way, not there yet or wrong is none here and is left to it.

use super::in_memory;
use crate::wire::assured::MAX_NUMBER;

/// The number and the body of such a frame at the front of the buffer, and what is behind it.
#[inline]
pub(super) fn plain(letter: u8, max_body: u64, buffer: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let [first, b' ', rest @ ..] = buffer else { return None };
    let (number, [b' ', rest @ ..]) = digits(rest)? else { return None };
    let (length, [b'\n', rest @ ..]) = digits(rest)? else { return None };
    if *first != letter || !(1..=MAX_NUMBER).contains(&number) || length > max_body {
        return None;
    }
    match rest.split_at_checked(in_memory(length))? {
        (body, [b'\n', rest @ ..]) => Some((number, body, rest)),
        _ => None,
    }
}

/// The number at the front, and what is behind it.
#[inline]
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    /// So many never overflow 64 bits.
    const MOST: usize = 19;
    let (mut number, mut rest) = (0_u64, text);
    while let [byte @ b'0'..=b'9', after @ ..] = rest {
        // `0` is a number, `01` is none.
        if (number == 0 && rest.len() < text.len()) || text.len() - rest.len() == MOST {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
        rest = after;
    }
    (rest.len() < text.len()).then_some((number, rest))
}
