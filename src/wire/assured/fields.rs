//! `Fields`: the parts of a header line, which one space keeps apart.
//!
//! Apart from the frames and packets that are made of them: here is how strictly numbers, keys and values are read.

use std::borrow::Cow;
use std::time::Duration;

use super::{Code, MAX_NUMBER, SessionId};

/// What is wrong with a field; nothing in it comes from the other side.
pub(super) type Flaw = Cow<'static, str>;

/// What is left of a header line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(Option<&'a str>);

impl<'a> Fields<'a> {
    /// Those of a line without its end. An empty line has one, which is empty.
    pub(super) fn of(line: &'a str) -> Self {
        Self(Some(line))
    }

    /// The next field, if there is one. It is empty where there is a space too many.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        let line = self.0?;
        match line.split_once(' ') {
            Some((field, rest)) => {
                self.0 = Some(rest);
                Some(field)
            }
            None => self.0.take(),
        }
    }

    /// The next field, which is a number.
    pub(super) fn number(&mut self) -> Result<u64, Flaw> {
        self.next().and_then(number).ok_or(Flaw::Borrowed(NO_NUMBER))
    }

    /// The next field, which is the number of a message: these begin with 1.
    pub(super) fn message_number(&mut self) -> Result<u64, Flaw> {
        self.number().and_then(of_message)
    }

    /// The next field, which is a code of three digits.
    pub(super) fn code(&mut self) -> Result<Code, Flaw> {
        let digits = self.next().filter(|field| field.len() == 3 && field.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(Code).ok_or(Flaw::Borrowed("a code has three digits"))
    }

    /// Whether the next field is this word, which is then done with.
    pub(super) fn has_word(&mut self, word: &str) -> bool {
        let rest = self.0.and_then(|line| line.strip_prefix(word));
        match rest {
            Some("") => self.0 = None,
            Some(rest) if rest.starts_with(' ') => self.0 = Some(&rest[1..]),
            _ => return false,
        }
        true
    }

    /// All that is left, as a text for people. It may have any spaces, or be left out.
    pub(super) fn text(self) -> Cow<'a, str> {
        self.0.unwrap_or_default().into()
    }

    /// The values of these keys. What is left has to be `key=value`, each of them once; unknown ones are passed over.
    pub(super) fn keys<const N: usize>(mut self, known: [&'static str; N]) -> Result<[Option<&'a str>; N], Flaw> {
        let mut values = [None; N];
        while let Some(field) = self.next() {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) if !key.is_empty() => (key, value),
                _ if field.is_empty() => return Err("there is a space too many".into()),
                _ => return Err("there is a field too many, which is not key=value".into()),
            };
            if let Some(at) = known.iter().position(|known| *known == key)
                && values[at].replace(value).is_some()
            {
                return Err(format!("{key}= is there twice").into());
            }
        }
        Ok(values)
    }

    /// There are no more fields that mean anything.
    pub(super) fn end(self) -> Result<(), Flaw> {
        self.keys([]).map(|[]| ())
    }
}

const NO_NUMBER: &str = "a number is missing, or is not decimal, begins with 0, or is above 9223372036854775807";

/// A decimal number of at most 2^63-1, without a sign or leading zeros.
pub(super) fn number(field: &str) -> Option<u64> {
    /// So many digits never overflow 64 bits.
    const DIGITS: usize = 19;
    let digits = field.as_bytes();
    if digits.is_empty() || digits.len() > DIGITS || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut number = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    (number <= MAX_NUMBER).then_some(number)
}

/// A number as that of a message.
pub(super) fn of_message(number: u64) -> Result<u64, Flaw> {
    match number {
        0 => Err("messages are numbered from 1".into()),
        number => Ok(number),
    }
}

/// The value of a key that must be there, as `read` makes it of the text.
pub(super) fn required<'a, T>(
    key: &str,
    value: Option<&'a str>,
    read: impl FnOnce(&'a str) -> Option<T>,
) -> Result<T, Flaw> {
    match value {
        None => Err(format!("{key}= is missing").into()),
        Some(value) => read(value).ok_or_else(|| format!("{key}= has no such value").into()),
    }
}

/// The value of a key that may be left out, as `read` makes it of the text.
pub(super) fn optional<'a, T>(
    key: &str,
    value: Option<&'a str>,
    read: impl FnOnce(&'a str) -> Option<T>,
) -> Result<Option<T>, Flaw> {
    value.map(|value| required(key, Some(value), read)).transpose()
}

/// A time in milliseconds.
pub(super) fn milliseconds(field: &str) -> Option<Duration> {
    number(field).map(Duration::from_millis)
}

/// Where a message was first: a session, a colon and the number in it.
pub(super) fn origin(value: &str) -> Option<(SessionId, u64)> {
    let (session, number) = value.split_once(':')?;
    Some((session.parse().ok()?, self::number(number).filter(|number| *number > 0)?))
}

/// What a value stands for: each `%` begins an escape of two hexadecimal digits (RFC 3986, section 2.1). Together they are UTF-8.
pub(super) fn unescaped(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains('%') {
        return Some(value.into());
    }
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.as_bytes().split_at_checked(2)?;
        bytes.push(hexadecimal(digits[0])? << 4 | hexadecimal(digits[1])?);
        bytes.extend_from_slice(rest);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_and_have_one_way_to_be_written() {
        for (text, value) in [("0", 0), ("7", 7), ("10", 10), ("9223372036854775807", MAX_NUMBER)] {
            assert_eq!(number(text), Some(value));
        }
        for text in [
            "",
            "00",
            "01",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1\t",
            "0x1",
            "1e3",
            "1_0",
            "\u{661}",
            "9223372036854775808",
            "9999999999999999999",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn one_space_keeps_fields_apart() {
        let all = |line| {
            let mut fields = Fields::of(line);
            std::iter::from_fn(move || fields.next()).collect::<Vec<_>>()
        };
        assert_eq!(all("A 5"), ["A", "5"]);
        assert_eq!(all(""), [""]);
        assert_eq!(all(" A  5 "), ["", "A", "", "5", ""]);
    }

    #[test]
    fn known_keys_are_there_once_and_others_are_passed_over() {
        let keys = |line| Fields::of(line).keys(["a", "b"]);
        assert_eq!(keys("b=2 x=1 a= x=2"), Ok([Some(""), Some("2")]));
        assert_eq!(keys("A=1"), Ok([None, None]));
        for (line, flaw) in [
            ("a=1 a=1", "a= is there twice"),
            ("a=1  b=2", "there is a space too many"),
            ("a=1 ", "there is a space too many"),
            ("a", "there is a field too many, which is not key=value"),
            ("=1", "there is a field too many, which is not key=value"),
        ] {
            assert_eq!(keys(line), Err(flaw.into()), "{line:?}");
        }
    }

    #[test]
    fn escapes_are_two_digits_and_make_text() {
        for (value, text) in [("", ""), ("plain", "plain"), ("a%20b%25", "a b%"), ("%c3%AB", "\u{eb}")] {
            assert_eq!(unescaped(value).as_deref(), Some(text), "{value}");
        }
        for value in ["%", "%41%", "%4", "%zz", "%+1", "%ff", "100%\u{eb}"] {
            assert_eq!(unescaped(value), None, "{value}");
        }
    }
}
