//! Text in the header of a message of NATS: anything can be written, and a person can read what is ordinary.
//!
//! Apart from the header's fields: what a header cannot have is a matter of NATS, whatever the field means.

use std::fmt::Write;

/// What parts the entries of a field that has several.
pub(super) const SEPARATOR: char = '|';

/// Text as it is in a header. Control characters, [`SEPARATOR`], `%` and blanks at either end are `%XX`.
pub(super) fn encoded(text: &str) -> String {
    let inner = text.trim_start().len();
    let (begin, end) = (text.len() - inner, text.trim_end().len());
    let mut encoded = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        let outside = at < begin || at >= end;
        if !outside && !letter.is_control() && letter != '%' && letter != SEPARATOR {
            encoded.push(letter);
            continue;
        }
        for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The text that was meant. None for what nobody has encoded.
pub(super) fn decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, more)) = rest.split_first() {
        rest = more;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_text_comes_back_and_fits_into_a_line() {
        for (text, expected) in [
            ("pump 7", "pump 7"),
            ("", ""),
            (" a\tb ", "%20a%09b%20"),
            ("a\r\nWilco: 2", "a%0D%0AWilco: 2"),
            ("100%|50%", "100%25%7C50%25"),
            ("  ", "%20%20"),
            ("caf\u{e9}\u{85}", "caf\u{e9}%C2%85"),
        ] {
            assert_eq!(encoded(text), expected);
            assert_eq!(decoded(expected).as_deref(), Some(text));
        }
        for nonsense in ["%", "%2", "a%zz", "%FF", "%+1"] {
            assert_eq!(decoded(nonsense), None, "{nonsense}");
        }
    }
}
