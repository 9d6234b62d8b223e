//! `Fields`: the parts of a packet's header line, each as what it is to be.
//!
//! Apart from those of a frame, of which they are made, since nobody is told what is wrong with a packet: it is one of a few words for a log.

use std::borrow::Cow;
use std::str::FromStr;

use super::Malformed;
use crate::wire::assured::fields::{self, number};
use crate::wire::assured::{Code, MAX_HEADER};

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
pub(super) struct Fields<'a>(fields::Fields<'a>);

impl<'a> Fields<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self(fields::Fields::of(line))
    }

    /// The next field, which must be there.
    pub(super) fn next(&mut self) -> Result<&'a str, Malformed> {
        self.optional()?.ok_or(Malformed("a field is missing"))
    }

    /// The next field, if there is one. Nothing between two spaces is no field.
    pub(super) fn optional(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.0.next() {
            Some("") => Err(Malformed("a space is too much")),
            field => Ok(field),
        }
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
        let code = self.0.code().ok();
        code.filter(|code| code.0 >= 100).ok_or(Malformed("a code has three digits"))
    }

    /// All that is left, for people.
    pub(super) fn rest(self) -> Cow<'a, str> {
        self.0.text()
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

/// What a value stands for.
pub(super) fn unescape(value: &str) -> Result<Cow<'_, str>, Malformed> {
    fields::unescaped(value).ok_or(Malformed("a value has a `%` that is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
