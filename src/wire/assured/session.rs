//! `SessionId`: what tells one sender's numbers from another's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a session: 16 to 64 of the characters 0-9 and a-z. Whoever makes one takes 128 random bits. A clone costs nothing.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// How many characters there may be.
    pub const LENGTH: std::ops::RangeInclusive<usize> = 16..=64;

    /// The session of these random bits.
    pub fn of_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}").into())
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = Self::LENGTH.contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        match fits {
            true => Ok(Self(text.into())),
            false => Err("a session is named by 16 to 64 of the characters 0-9 and a-z".to_owned()),
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_so_many_plain_characters() {
        for good in ["0123456789abcdef", &"z".repeat(64), SessionId::of_bits(7).as_str()] {
            assert_eq!(good.parse::<SessionId>().map(|session| session.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "0123456789abcde", "0123456789ABCDEF", "0123456789abcde ", &"z".repeat(65), "0123456789abcdé"]
        {
            assert!(bad.parse::<SessionId>().is_err(), "{bad:?}");
        }
    }
}
