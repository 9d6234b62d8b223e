//! What daytime, time and qotd say: pure functions of the clock and of whose turn it is.
//!
//! Apart from how it is sent, so that every byte can be tested.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The seconds from the beginning of 1900, from which RFC 868 counts, to that of 1970.
const SINCE_1900: i64 = 2_208_988_800;

/// The date and time as inetd has it, in the time zone of this machine (`TZ`, `/etc/localtime`), with a CRLF.
pub(super) fn daytime(now: SystemTime) -> String {
    daytime_in(now, TimeZone::system())
}

/// As ctime(3) writes it: the day of the month takes two places.
fn daytime_in(now: SystemTime, zone: TimeZone) -> String {
    let now = Timestamp::try_from(now).unwrap_or_default().to_zoned(zone);
    format!("{}\r\n", now.strftime("%a %b %e %H:%M:%S %Y"))
}

/// The seconds since 1900 in four bytes, big-endian. They are full in February 2036 and begin anew then.
pub(super) fn time(now: SystemTime) -> [u8; 4] {
    let seconds = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    };
    let [.., a, b, c, d] = seconds.wrapping_add(SINCE_1900).to_be_bytes();
    [a, b, c, d]
}

/// A quote, with a CRLF: fewer than 512 characters (RFC 865).
pub(super) fn quote(turn: usize) -> String {
    format!("{}\r\n", QUOTES[turn % QUOTES.len()])
}

/// Proverbs, and experience.
const QUOTES: [&str; 14] = [
    "A stitch in time saves nine.",
    "Trust, but verify.",
    "Measure twice, cut once.",
    "Haste makes waste.",
    "Many hands make light work.",
    "A chain is only as strong as its weakest link.",
    "Better late than never, but better never than twice.",
    "Well begun is half done; the other half is the error handling.",
    "Sent is not delivered, and delivered is not read.",
    "What has no time-out will be waited for.",
    "Every buffer is full sooner or later.",
    "The network is reliable until it is needed.",
    "It is easier to move a problem about than to solve it.",
    "Silence is not an acknowledgement.",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn daytime_is_as_inetd_writes_it() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a time zone");
        for (seconds, zone, text) in [
            (1_795_226_066, TimeZone::UTC, "Sat Nov 21 01:54:26 2026\r\n"),
            (1_795_226_066, berlin.clone(), "Sat Nov 21 02:54:26 2026\r\n"),
            (1_780_304_400, berlin, "Mon Jun  1 11:00:00 2026\r\n"),
            (0, TimeZone::UTC, "Thu Jan  1 00:00:00 1970\r\n"),
        ] {
            assert_eq!(daytime_in(at(seconds), zone), text);
        }
    }

    #[test]
    fn time_is_four_bytes_since_1900_and_wraps() {
        for (now, bytes) in [
            (at(0), [0x83, 0xaa, 0x7e, 0x80]),
            (at(1_795_226_066), [0xee, 0xab, 0x78, 0x52]),
            (at(2_085_978_495), [0xff, 0xff, 0xff, 0xff]),
            (at(2_085_978_496), [0, 0, 0, 0]),
            (UNIX_EPOCH - Duration::from_secs(2_208_988_799), [0, 0, 0, 1]),
        ] {
            assert_eq!(time(now), bytes, "{now:?}");
        }
    }

    #[test]
    fn a_quote_is_one_short_line_and_each_has_its_turn() {
        for turn in 0..QUOTES.len() {
            let quote = quote(turn);
            assert!(quote.len() < 512 && quote.is_ascii() && quote.ends_with("\r\n"), "{quote:?}");
            assert_eq!(quote.lines().count(), 1);
        }
        assert_ne!(quote(0), quote(1));
        assert_eq!(quote(0), quote(QUOTES.len()));
    }
}
