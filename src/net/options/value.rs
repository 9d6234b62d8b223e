//! `Value` and `Kind`: what an option is set to, as a user writes it.
//!
//! Apart from the table, so that a row says only which kind it is, and from the bytes that the kernel takes for it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::super::percent;
use super::super::{Error, Result};

/// The value of a socket option.
///
/// `Display` gives what [`Kind::parse`] reads back as the same value.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Value {
    /// `on` or `off`.
    Flag(bool),
    /// A number without a unit.
    Number(i64),
    /// One of the names that the option's kind lists.
    Choice(&'static str),
    /// A number of bytes, or of bytes a second.
    Size(u64),
    /// A length of time.
    Time(Duration),
    /// How long a close waits for unsent data; `None` is off: it does not wait, and the kernel goes on sending.
    Linger(Option<Duration>),
    /// A name, such as that of an algorithm.
    Text(String),
    /// A network interface by its name, number or IPv4 address; `any` is none in particular.
    Interface(String),
    /// A multicast or anycast group and the interface on which it is joined; `None` leaves that to the routes.
    Group(IpAddr, Option<String>),
    /// Several numbers that the kernel tells together.
    Fields(Vec<(&'static str, i64)>),
    /// A list of numbers, such as those of groups.
    List(Vec<u32>),
    /// Bytes that are not interpreted.
    Bytes(Vec<u8>),
}

/// What sort of value an option has: how it is written and how the kernel has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// An int that is 0 or 1.
    Flag,
    /// [`Kind::Flag`], or a time that also sets `TCP_KEEPIDLE`.
    Keepalive,
    /// An int (or unsigned int) within these bounds.
    Number(i64, i64),
    /// A 64-bit number.
    Wide,
    /// An int that has names, which may also be given by its number.
    Choice(&'static [(&'static str, i32)]),
    /// An unsigned int of bytes.
    Size,
    /// A 64-bit number of bytes, or of bytes a second.
    WideSize,
    /// An int of seconds.
    Seconds,
    /// An int of milliseconds.
    Milliseconds,
    /// An int of microseconds.
    Microseconds,
    /// A `struct timeval`.
    Timeval,
    /// A `struct linger`.
    Linger,
    /// Characters.
    Text,
    /// The number of a network interface as an int.
    Interface,
    /// The number of a network interface in network byte order.
    InterfaceBigEndian,
    /// A network interface as a `struct ip_mreqn`.
    InterfaceRequest,
    /// A `struct ip_mreqn` or a `struct ipv6_mreq`.
    Group,
    /// Unsigned ints with these names.
    Fields(&'static [&'static str]),
    /// Any number of unsigned ints.
    List,
    /// Bytes.
    Bytes,
}

impl Kind {
    /// Reads what a user wrote. Text is percent-decoded.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::super::ErrorKind::Usage), with what can be written as its hint.
    pub fn parse(self, text: &str) -> Result<Value> {
        let parsed = match self {
            Self::Flag => flag(text).map(Value::Flag),
            Self::Keepalive => flag(text).map(Value::Flag).or_else(|| duration(text).map(Value::Time)),
            Self::Number(..) | Self::Wide => number(text).map(Value::Number),
            Self::Choice(names) => names
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(text))
                .map(|(name, _)| Value::Choice(name))
                .or_else(|| number(text).map(Value::Number)),
            Self::WideSize if text.eq_ignore_ascii_case(UNLIMITED) => Some(Value::Size(u64::MAX)),
            Self::Size | Self::WideSize => bytes(text).map(Value::Size),
            Self::Seconds | Self::Milliseconds | Self::Microseconds | Self::Timeval => duration(text).map(Value::Time),
            Self::Linger if text.eq_ignore_ascii_case("off") => Some(Value::Linger(None)),
            Self::Linger => duration(text).map(|time| Value::Linger(Some(time))),
            Self::Text => String::from_utf8(percent::decode(text)).ok().map(Value::Text),
            Self::Interface | Self::InterfaceBigEndian | Self::InterfaceRequest => {
                interface(text).map(Value::Interface)
            }
            Self::Group => group(text),
            Self::Bytes => text.strip_prefix('x').and_then(hexadecimal).map(Value::Bytes),
            Self::Fields(_) | Self::List => None,
        };
        parsed
            .filter(|value| self.accepts(value))
            .ok_or_else(|| Error::usage(format!("`{text}` is not {}", self.syntax())))
    }

    /// What can be written, as it reads after "takes": `a size in bytes: 65536, 256K, 1M, 1G`.
    pub fn syntax(self) -> String {
        match self {
            Self::Flag => "`on` or `off`".into(),
            Self::Keepalive => "`on`, `off` or a time in whole seconds: 30s, 2m, 1h".into(),
            Self::Number(least, most) => format!("a number from {least} to {most}"),
            Self::Wide => "a number".into(),
            Self::Choice(names) => {
                let names: Vec<_> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
                format!("one of {} or a number", names.join(", "))
            }
            Self::Size => "a size in bytes below 4G: 65536, 256K, 1M, 1G".into(),
            Self::WideSize => "a size in bytes, 65536, 256K, 1M, 1G, or `unlimited`".into(),
            Self::Seconds => "a time in whole seconds: 30, 30s, 2m, 1h".into(),
            Self::Milliseconds => "a time in whole milliseconds: 1500ms, 30s, 2m, 1h".into(),
            Self::Microseconds => "a time in microseconds: 50us, 10ms, 1s".into(),
            Self::Timeval => "a time: 500us, 1500ms, 30s, 2m, 1h".into(),
            Self::Linger => "`off` or a time in whole seconds: 0, 30s, 2m".into(),
            Self::Text => "text".into(),
            Self::Interface | Self::InterfaceBigEndian => "a network interface: eth0, its number, or `any`".into(),
            Self::InterfaceRequest => "a network interface: eth0, its number, its IPv4 address, or `any`".into(),
            Self::Group => "a group, with an interface or without: 239.1.2.3, 239.1.2.3@eth0, ff02::1:3@eth0".into(),
            Self::Fields(names) => format!("numbers: {}", names.join(", ")),
            Self::List => "a list of numbers".into(),
            Self::Bytes => "bytes in hexadecimal: x0a0b".into(),
        }
    }

    /// Whether an option of this kind can be set to `value`.
    pub fn accepts(self, value: &Value) -> bool {
        let fits = |time: &Duration, unit: u32| {
            time.subsec_nanos().is_multiple_of(unit) && i32::try_from(time.as_nanos() / u128::from(unit)).is_ok()
        };
        match (self, value) {
            (Self::Flag | Self::Keepalive, Value::Flag(_)) => true,
            (Self::Number(least, most), Value::Number(number)) => (least..=most).contains(number),
            (Self::Wide, Value::Number(_)) | (Self::WideSize, Value::Size(_)) => true,
            (Self::Choice(_), Value::Number(number)) => i32::try_from(*number).is_ok(),
            (Self::Choice(names), Value::Choice(name)) => names.iter().any(|(known, _)| known == name),
            (Self::Size, Value::Size(bytes)) => u32::try_from(*bytes).is_ok(),
            (Self::Keepalive, Value::Time(time)) => !time.is_zero() && fits(time, NANOS_OF_SECOND),
            (Self::Seconds, Value::Time(time)) => fits(time, NANOS_OF_SECOND),
            (Self::Milliseconds, Value::Time(time)) => fits(time, NANOS_OF_MILLISECOND),
            (Self::Microseconds, Value::Time(time)) => fits(time, NANOS_OF_MICROSECOND),
            (Self::Timeval, Value::Time(time)) => {
                time.subsec_nanos().is_multiple_of(NANOS_OF_MICROSECOND) && i32::try_from(time.as_secs()).is_ok()
            }
            (Self::Linger, Value::Linger(time)) => time.is_none_or(|time| fits(&time, NANOS_OF_SECOND)),
            (Self::Text, Value::Text(_)) | (Self::Bytes, Value::Bytes(_)) => true,
            (Self::Interface | Self::InterfaceBigEndian | Self::InterfaceRequest, Value::Interface(name)) => {
                !name.is_empty()
            }
            (Self::Group, Value::Group(_, interface)) => interface.as_ref().is_none_or(|name| !name.is_empty()),
            _ => false,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(on) => f.write_str(if *on { "on" } else { "off" }),
            Self::Number(number) => write!(f, "{number}"),
            Self::Choice(name) => f.write_str(name),
            Self::Size(u64::MAX) => f.write_str(UNLIMITED),
            Self::Size(bytes) => {
                let unit = SIZE_UNITS.iter().rev().find(|(_, unit)| *bytes > 0 && bytes % unit == 0);
                match unit {
                    Some((letter, unit)) => write!(f, "{}{letter}", bytes / unit),
                    None => write!(f, "{bytes}"),
                }
            }
            Self::Time(time) | Self::Linger(Some(time)) => {
                let nanos = time.as_nanos();
                let unit = TIME_UNITS.iter().rev().find(|(_, unit)| nanos > 0 && nanos % u128::from(*unit) == 0);
                let (name, unit) = unit.copied().unwrap_or(("s", NANOS_OF_SECOND.into()));
                write!(f, "{}{name}", nanos / u128::from(unit))
            }
            Self::Linger(None) => f.write_str("off"),
            Self::Text(text) | Self::Interface(text) => write!(f, "{}", percent::Encoded(text.as_bytes())),
            Self::Group(group, None) => write!(f, "{group}"),
            Self::Group(group, Some(name)) => write!(f, "{group}@{}", percent::Encoded(name.as_bytes())),
            Self::Fields(fields) => separated(f, fields, |f, (name, number)| write!(f, "{name}={number}")),
            Self::List(numbers) => separated(f, numbers, |f, number| write!(f, "{number}")),
            Self::Bytes(bytes) => {
                f.write_str("x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Flags and numbers as such, sizes as a number of bytes, fields as an object; the rest as its text.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(on) => serializer.serialize_bool(*on),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Size(bytes) => serializer.serialize_u64(*bytes),
            Self::Fields(fields) => serializer.collect_map(fields.iter().map(|(name, number)| (name, number))),
            Self::List(numbers) => serializer.collect_seq(numbers),
            _ => serializer.collect_str(self),
        }
    }
}

/// Reads a size: a number of bytes, with `K`, `M` or `G` (1024 each) or without.
///
/// # Errors
/// [`ErrorKind::Usage`](super::super::ErrorKind::Usage): anything else.
pub fn parse_size(text: &str) -> Result<u64> {
    bytes(text).ok_or_else(|| Error::usage(format!("`{text}` is not a size in bytes: 65536, 256K, 1M, 1G")))
}

/// Reads a time: a number with `us`, `ms`, `s`, `m` or `h`; without, it is in seconds.
///
/// # Errors
/// [`ErrorKind::Usage`](super::super::ErrorKind::Usage): anything else.
pub fn parse_time(text: &str) -> Result<Duration> {
    duration(text).ok_or_else(|| Error::usage(format!("`{text}` is not {}", Kind::Timeval.syntax())))
}

const SIZE_UNITS: [(&str, u64); 3] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];

const NANOS_OF_SECOND: u32 = 1_000_000_000;
const NANOS_OF_MILLISECOND: u32 = 1_000_000;
const NANOS_OF_MICROSECOND: u32 = 1_000;

/// Nanoseconds are there to be shown only: nothing takes them.
const TIME_UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", NANOS_OF_MICROSECOND as u64),
    ("ms", NANOS_OF_MILLISECOND as u64),
    ("s", NANOS_OF_SECOND as u64),
    ("m", 60 * NANOS_OF_SECOND as u64),
    ("h", 3600 * NANOS_OF_SECOND as u64),
];

/// The most that a 64-bit size can be, which the kernel takes for no limit.
const UNLIMITED: &str = "unlimited";

/// The interface that is none in particular.
pub(super) const ANY: &str = "any";

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Some(true),
        "0" | "off" | "no" | "false" => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok().map(i64::from),
        None => text.parse().ok(),
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text)?;
    let factor = match unit {
        "" => 1,
        unit => SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    digits.checked_mul(factor)
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = split_unit(text)?;
    let unit = if unit.is_empty() { "s" } else { unit };
    let nanos = TIME_UNITS.iter().find(|(name, _)| *name == unit)?.1;
    // Days of nanoseconds overflow 64 bits only after centuries, and the kernel's fields are shorter.
    digits.checked_mul(nanos).map(Duration::from_nanos)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    Some((digits.parse().ok()?, unit))
}

fn interface(text: &str) -> Option<String> {
    String::from_utf8(percent::decode(text)).ok().filter(|name| !name.is_empty())
}

/// `GROUP`, `GROUP@INTERFACE`, or with the `%` of a zone, which an address has as `%25` (RFC 6874).
fn group(text: &str) -> Option<Value> {
    let (group, rest) = match text.find(['@', '%']) {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    };
    let name = |rest: &str| interface(rest.strip_prefix("%25").unwrap_or(&rest[1..]));
    Some(Value::Group(group.parse().ok()?, rest.map(|rest| name(rest).ok_or(())).transpose().ok()?))
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
        }
        _ => None,
    });
    pairs.collect()
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    show: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        f.write_str(if at > 0 { "," } else { "" })?;
        show(f, item)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_users_write() -> Result<()> {
        for (kind, text, shown) in [
            (Kind::Flag, "YES", "on"),
            (Kind::Flag, "0", "off"),
            (Kind::Keepalive, "30", "30s"),
            (Kind::Keepalive, "1", "on"),
            (Kind::Number(0, 0xffff_ffff), "0xffffffff", "4294967295"),
            (Kind::Size, "256k", "256K"),
            (Kind::Size, "1024M", "1G"),
            (Kind::Size, "1000", "1000"),
            (Kind::Size, "0", "0"),
            (Kind::Milliseconds, "1500ms", "1500ms"),
            (Kind::Timeval, "90", "90s"),
            (Kind::Timeval, "120s", "2m"),
            (Kind::Timeval, "0", "0s"),
            (Kind::Linger, "0", "0s"),
            (Kind::Linger, "off", "off"),
            (Kind::Text, "a%26b", "a%26b"),
            (Kind::Group, "239.1.2.3", "239.1.2.3"),
            (Kind::Group, "ff02::1%eth0", "ff02::1@eth0"),
            (Kind::Group, "ff02::1%25eth0", "ff02::1@eth0"),
            (Kind::Bytes, "x0A0b", "x0a0b"),
            (Kind::Choice(&[("do", 2)]), "DO", "do"),
        ] {
            let value = kind.parse(text)?;
            assert_eq!(value.to_string(), shown);
            assert_eq!(kind.parse(shown)?, value, "{shown}");
        }
        Ok(())
    }

    #[test]
    fn refuses_what_the_kernel_would_cut() {
        for (kind, text) in [
            (Kind::Flag, "2"),
            (Kind::Keepalive, "0s"),
            (Kind::Seconds, "1500ms"),
            (Kind::Timeval, "5ns"),
            (Kind::Seconds, "9999999h"),
            (Kind::Size, "4G"),
            (Kind::Size, "1T"),
            (Kind::Size, "-1"),
            (Kind::WideSize, "99999999999999G"),
            (Kind::Number(1, 255), "256"),
            (Kind::Group, "239.1.2.3@"),
            (Kind::Group, "eth0"),
            (Kind::Bytes, "x0"),
            (Kind::Bytes, "0a"),
        ] {
            assert!(kind.parse(text).is_err(), "{text}");
        }
        let error = parse_time("soon").expect_err("no time");
        assert_eq!(error.to_string(), "`soon` is not a time: 500us, 1500ms, 30s, 2m, 1h");
    }
}
