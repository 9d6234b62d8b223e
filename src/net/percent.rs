//! Percent-encoding (RFC 3986, section 2.1) for the names of Unix sockets and the values of options.
//!
//! Apart, so that any name can be written in an address: `%3F` is a `?`, `%00` a NUL. A `%` that is not followed by two
//! hexadecimal digits stands for itself, so that ordinary names need no care.

use std::fmt;

/// Shows bytes so that [`decode`] gives them back: text as it is; control bytes, `%`, `?`, `&` and what is not UTF-8
/// as `%XX`.
pub(super) struct Encoded<'a>(pub(super) &'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '%' | '?' | '&' => write!(f, "%{:02X}", u32::from(letter))?,
                    // Control characters of both sets, and what changes the direction of text on a terminal.
                    c if c.is_control()
                        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
                    {
                        let mut utf8 = [0; 4];
                        for byte in c.encode_utf8(&mut utf8).bytes() {
                            write!(f, "%{byte:02X}")?;
                        }
                    }
                    c => write!(f, "{c}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

/// The bytes that `text` stands for.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).and_then(|digits| Some(hex(digits[0])? << 4 | hex(digits[1])?));
        match (bytes[at], escape) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes() {
        for (bytes, text) in [
            (b"plain name".as_slice(), "plain name"),
            (b"a?b&c%d", "a%3Fb%26c%25d"),
            (b"\0\n\xff", "%00%0A%FF"),
            ("\u{202e}\u{e9}".as_bytes(), "%E2%80%AE\u{e9}"),
        ] {
            assert_eq!(Encoded(bytes).to_string(), text);
            assert_eq!(decode(text), bytes);
        }
    }

    #[test]
    fn a_lone_percent_sign_is_itself() {
        assert_eq!(decode("100% of %zz %4"), b"100% of %zz %4");
    }
}
