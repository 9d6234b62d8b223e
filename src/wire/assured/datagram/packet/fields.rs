//! The fields of a packet's header line: how they are told apart and read.
//!
//! Apart from what they mean, so that the strict rules (one space, no leading zeros) stand in one place.

use std::borrow::Cow;
use std::str::FromStr;

use super::Malformed;
use crate::wire::assured::{Code, MAX_HEADER, MAX_NUMBER};

/// The header line of a packet, without its end, and what follows; none where there is no end.
pub(super) fn split(packet: &[u8]) -> Result<(&str, Option<&[u8]>), Malformed> {
    let end = memchr::memchr(b'\n', packet);
    let (line, body) = match end {
        Some(at) => (&packet[..at], Some(&packet[at + 1..])),
        None => (packet, None),
    };
    let line = match end {
        Some(_) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    };
    if line.len() > MAX_HEADER {
        return Err(Malformed("its header is too long"));
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed("its header is not UTF-8"))?;
    Ok((line, body))
}

/// What is left of a header line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(Option<&'a str>);

impl<'a> Fields<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self(Some(line))
    }

    /// The next field, which must be there.
    pub(super) fn next(&mut self) -> Result<&'a str, Malformed> {
        self.optional()?.ok_or(Malformed("a field is missing"))
    }

    /// The next field, if there is one. Nothing between two spaces is no field.
    pub(super) fn optional(&mut self) -> Result<Option<&'a str>, Malformed> {
        let Some(rest) = self.0 else { return Ok(None) };
        let (field, rest) = rest.split_once(' ').map_or((rest, None), |(field, rest)| (field, Some(rest)));
        self.0 = rest;
        if field.is_empty() { Err(Malformed("a space is too much")) } else { Ok(Some(field)) }
    }

    /// The next field, as what it is to be.
    pub(super) fn parse<T: FromStr>(&mut self, wrong: &'static str) -> Result<T, Malformed> {
        self.next()?.parse().map_err(|_| Malformed(wrong))
    }

    /// The next field, as a number that is not below `least`.
    pub(super) fn number(&mut self, least: u64) -> Result<u64, Malformed> {
        number(self.next()?).filter(|number| *number >= least).ok_or(Malformed("a number is none"))
    }

    /// The next field, as three digits.
    pub(super) fn code(&mut self) -> Result<Code, Malformed> {
        let digits = self.next()?;
        let code = (digits.len() == 3).then(|| number(digits)).flatten().and_then(|code| u16::try_from(code).ok());
        code.filter(|code| *code >= 100).map(Code).ok_or(Malformed("a code has three digits"))
    }

    /// All that is left, for people.
    pub(super) fn rest(&mut self) -> Cow<'a, str> {
        Cow::Borrowed(self.0.take().unwrap_or_default())
    }

    /// What is left as names with values; what has no `=` is none.
    pub(super) fn values(mut self) -> impl Iterator<Item = Result<(&'a str, &'a str), Malformed>> {
        std::iter::from_fn(move || self.optional().transpose())
            .map(|field| field?.split_once('=').ok_or(Malformed("a field is not known")))
    }

    /// Nothing but names with values may be left, which mean nothing here.
    pub(super) fn nothing_more(self) -> Result<(), Malformed> {
        self.values().try_for_each(|value| value.map(|_| ()))
    }
}

/// A decimal number without leading zeros.
pub(super) fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().ok()).flatten().filter(|number| *number <= MAX_NUMBER)
}

/// What a value stands for.
pub(super) fn unescape(value: &str) -> Result<Cow<'_, str>, Malformed> {
    const WRONG: Malformed = Malformed("a value has a `%` that is none");
    if !value.contains('%') {
        return Ok(Cow::Borrowed(value));
    }
    let (mut bytes, mut rest) = (Vec::new(), value.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(byte);
        if byte == b'%' {
            let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
            let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(WRONG) };
            bytes.pop();
            bytes.push(u8::try_from(high * 16 + low).map_err(|_| WRONG)?);
            rest = &after[2..];
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| WRONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_leading_zeros_and_63_bits() {
        let most = MAX_NUMBER.to_string();
        for (digits, read) in [
            ("0", Some(0)),
            ("7", Some(7)),
            (&most, Some(MAX_NUMBER)),
            ("9223372036854775808", None),
            ("99999999999999999999999", None),
            ("00", None),
            ("07", None),
            ("+7", None),
            ("-7", None),
            ("", None),
            ("7 ", None),
            ("0x7", None),
            ("٧", None),
        ] {
            assert_eq!(number(digits), read, "{digits:?}");
        }
    }

    #[test]
    fn fields_are_parted_by_one_space() {
        let all = |line| {
            let mut fields = Fields::new(line);
            std::iter::from_fn(move || fields.optional().transpose()).collect::<Result<Vec<_>, _>>().ok()
        };
        assert_eq!(all("a b c"), Some(vec!["a", "b", "c"]));
        for bad in ["", " a", "a  b", "a "] {
            assert_eq!(all(bad), None, "{bad:?}");
        }
    }
}
