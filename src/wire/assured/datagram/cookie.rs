//! `Secret` and `Cookie`: how a server knows a source that can receive, without keeping anything for it.
//!
//! Apart, because all that protects others from forged addresses is here. The secret and the time are arguments.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::wire::assured::SessionId;

/// How long a cookie is made; it is accepted for as long again.
pub const COOKIE_SLOT: Duration = Duration::from_secs(600);

/// What a server gives to a source, and believes only that source: 128 bits, 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Cookie([u8; Cookie::LENGTH]);

impl Cookie {
    /// Its length in bytes.
    pub const LENGTH: usize = 16;
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cookie {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 2 * Self::LENGTH
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(|| "a cookie has 32 hexadecimal digits".to_owned())
    }
}

/// What a server makes its cookies with: random bytes that nobody else knows. With new ones all cookies are void, and clients open their sessions again.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl Secret {
    /// The secret of these random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
        // The rest is zero: so a key is filled up to the block of its hash (RFC 2104).
        key[..bytes.len()].copy_from_slice(&bytes);
        Self(Hmac::new(&key))
    }

    /// HMAC-SHA256 (RFC 2104) over source, session, slot of [`COOKIE_SLOT`] and number of the opening, cut to 128 bits. The opening 0 is none: such a cookie proves the source only.
    pub fn cookie(&self, source: &[u8], session: &SessionId, slot: u64, opening: u64) -> Cookie {
        let code = self.code(source, session, slot, opening).finalize().into_bytes();
        let mut cookie = [0; Cookie::LENGTH];
        cookie.copy_from_slice(&code[..Cookie::LENGTH]);
        Cookie(cookie)
    }

    /// Whether a cookie was made for this, in this slot or the one before. How long it takes does not depend on the cookie.
    pub fn proves(&self, cookie: Cookie, source: &[u8], session: &SessionId, slot: u64, opening: u64) -> bool {
        let made_in = |slot| self.code(source, session, slot, opening).verify_truncated_left(&cookie.0).is_ok();
        made_in(slot) || slot.checked_sub(1).is_some_and(made_in)
    }

    fn code(&self, source: &[u8], session: &SessionId, slot: u64, opening: u64) -> Hmac<Sha256> {
        let mut code = self.0.clone();
        // With their lengths, so that the end of one is never taken for the beginning of the next.
        for part in [source, session.as_str().as_bytes()] {
            code.update(&(part.len() as u64).to_be_bytes());
            code.update(part);
        }
        code.update(&slot.to_be_bytes());
        code.update(&opening.to_be_bytes());
        code
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: u128) -> SessionId {
        SessionId::of_bits(number)
    }

    #[test]
    fn a_cookie_is_good_for_its_source_session_opening_and_time_only() {
        let (secret, other) = (Secret::new([7; 32]), Secret::new([8; 32]));
        let cookie = secret.cookie(b"source", &session(1), 5, 3);
        for (good, source, number, slot, opening) in [
            (true, &b"source"[..], 1, 5, 3),
            (true, b"source", 1, 6, 3),
            (false, b"source", 1, 7, 3),
            (false, b"source", 1, 4, 3),
            (false, b"source", 1, 5, 4),
            (false, b"source", 1, 5, 0),
            (false, b"source", 2, 5, 3),
            (false, b"sourcf", 1, 5, 3),
            (false, b"", 1, 5, 3),
        ] {
            assert_eq!(
                secret.proves(cookie, source, &session(number), slot, opening),
                good,
                "{number} {slot} {opening}"
            );
        }
        assert!(!other.proves(cookie, b"source", &session(1), 5, 3));
        assert!(secret.proves(secret.cookie(b"s", &session(1), 0, 0), b"s", &session(1), 0, 0));
    }

    #[test]
    fn a_cookie_is_the_one_of_the_rfc() {
        // Computed by Python's hmac, from the fields as docs/protocol.md gives them.
        let cookie = Secret::new([1; 32]).cookie(&[127, 0, 0, 1, 0x1f, 0x90], &session(2), 3, 4);
        assert_eq!(cookie.to_string(), "15a19ac5890616db2fc3241512d5afe0");
    }

    #[test]
    fn a_cookie_is_written_in_32_digits() {
        let text = "00ff0123456789abcdef0123456789ab";
        assert_eq!(text.parse::<Cookie>().map(|cookie| cookie.to_string()), Ok(text.to_owned()));
        for bad in ["", "00", "00FF0123456789abcdef0123456789ab", "+0ff0123456789abcdef0123456789ab", &text.repeat(2)] {
            assert!(bad.parse::<Cookie>().is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", Secret::new([7; 32])), "Secret");
    }
}
