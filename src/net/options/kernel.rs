//! The values of options as the kernel has them: ints, structures, interface numbers.
//!
//! Apart from what users write, so that the layout of every structure is in one place.

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::net::if_::{if_indextoname, if_nametoindex};

use super::value::ANY;
use super::{Kind, Level, Value};

impl Kind {
    /// The bytes that the kernel takes for `value` at `level`.
    ///
    /// # Errors
    /// A value of another kind, a group of the other Internet domain, an interface that is not there.
    pub(super) fn encode(self, level: Level, value: &Value) -> io::Result<Vec<u8>> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
        let int = |number: i64| {
            let bytes =
                i32::try_from(number).map(i32::to_ne_bytes).or_else(|_| u32::try_from(number).map(u32::to_ne_bytes));
            bytes.map(Vec::from).map_err(|_| wrong())
        };
        let units = |count: u128| i64::try_from(count).map_err(|_| wrong()).and_then(int);
        match (self, value) {
            _ if !self.accepts(value) => Err(wrong()),
            (Self::Keepalive, Value::Time(_)) => int(1),
            (_, Value::Flag(on)) => int((*on).into()),
            (Self::Wide, Value::Number(number)) => Ok(number.to_ne_bytes().into()),
            (_, Value::Number(number)) => int(*number),
            (Self::Choice(names), Value::Choice(name)) => {
                let known = names.iter().find(|(known, _)| known == name).ok_or_else(wrong)?;
                int(known.1.into())
            }
            (Self::WideSize, Value::Size(bytes)) => Ok(bytes.to_ne_bytes().into()),
            (_, Value::Size(bytes)) => units((*bytes).into()),
            (Self::Timeval, Value::Time(time)) => {
                let parts = [libc::time_t::try_from(time.as_secs()).map_err(|_| wrong())?, time.subsec_micros().into()];
                Ok(parts.iter().flat_map(|part| part.to_ne_bytes()).collect())
            }
            (Self::Seconds, Value::Time(time)) => units(time.as_secs().into()),
            (Self::Milliseconds, Value::Time(time)) => units(time.as_millis()),
            (_, Value::Time(time)) => units(time.as_micros()),
            (_, Value::Linger(time)) => {
                let seconds = units(time.unwrap_or_default().as_secs().into())?;
                Ok([int(time.is_some().into())?, seconds].concat())
            }
            (_, Value::Text(text)) => Ok(text.as_bytes().into()),
            (_, Value::Bytes(bytes)) => Ok(bytes.clone()),
            (Self::InterfaceBigEndian, Value::Interface(name)) => Ok(interface_number(name)?.to_be_bytes().into()),
            (Self::InterfaceRequest, Value::Interface(name)) => membership(Ipv4Addr::UNSPECIFIED, name),
            (_, Value::Interface(name)) => Ok(interface_number(name)?.to_ne_bytes().into()),
            (_, Value::Group(group, interface)) => match (group, level, interface.as_deref().unwrap_or(ANY)) {
                (IpAddr::V4(group), Level::Ip, interface) => membership(*group, interface),
                (IpAddr::V6(group), Level::Ipv6, interface) => {
                    let number = interface_number(interface)?.to_ne_bytes();
                    Ok(group.octets().into_iter().chain(number).collect())
                }
                _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the group is of the other Internet domain")),
            },
            _ => Err(wrong()),
        }
    }

    /// How many bytes the kernel may have to say.
    pub(super) fn capacity(self) -> usize {
        match self {
            Self::Wide | Self::WideSize | Self::Linger => 8,
            Self::Timeval => 2 * size_of::<libc::time_t>(),
            Self::Text => 256,
            Self::Fields(names) => 4 * names.len(),
            Self::List => MAX_LIST,
            Self::Bytes => 4096,
            _ => 4,
        }
    }

    /// Reads what the kernel says. What is too short for the kind stays bytes.
    pub(super) fn decode(self, bytes: &[u8]) -> Value {
        let known =
            match self {
                Self::Flag | Self::Keepalive => int(bytes).map(|number| Value::Flag(number != 0)),
                // A mark may use all 32 bits.
                Self::Number(_, most) if most > i32::MAX.into() => unsigned(bytes).map(|it| Value::Number(it.into())),
                Self::Number(..) => int(bytes).map(|number| Value::Number(number.into())),
                Self::Wide => bytes.first_chunk().map(|bytes| Value::Number(i64::from_ne_bytes(*bytes))),
                Self::Choice(names) => int(bytes).map(|number| {
                    let known = names.iter().find(|(_, known)| *known == number);
                    known.map_or(Value::Number(number.into()), |(name, _)| Value::Choice(name))
                }),
                Self::Size => unsigned(bytes).map(|size| Value::Size(size.into())),
                Self::WideSize => bytes.first_chunk().map(|bytes| Value::Size(u64::from_ne_bytes(*bytes))),
                // A time may be negative: "the kernel's own", such as TCP_LINGER2.
                Self::Seconds => int(bytes).map(|count| time(count, Duration::from_secs)),
                Self::Milliseconds => int(bytes).map(|count| time(count, Duration::from_millis)),
                Self::Microseconds => int(bytes).map(|count| time(count, Duration::from_micros)),
                Self::Timeval => timeval(bytes).map(Value::Time),
                Self::Linger => int(bytes)
                    .zip(bytes.get(4..).and_then(unsigned))
                    .map(|(on, seconds)| Value::Linger((on != 0).then(|| Duration::from_secs(seconds.into())))),
                Self::Text => {
                    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                    Some(Value::Text(String::from_utf8_lossy(text).into_owned()))
                }
                Self::Interface => unsigned(bytes).map(|number| Value::Interface(interface_name(number))),
                Self::InterfaceBigEndian => {
                    unsigned(bytes).map(|number| Value::Interface(interface_name(u32::from_be(number))))
                }
                Self::Fields(names) => bytes.chunks(4).map(int).collect::<Option<Vec<_>>>().map(|numbers| {
                    Value::Fields(names.iter().copied().zip(numbers.into_iter().map(i64::from)).collect())
                }),
                Self::List => bytes.chunks(4).map(unsigned).collect::<Option<_>>().map(Value::List),
                Self::InterfaceRequest | Self::Group | Self::Bytes => None,
            };
        known.unwrap_or_else(|| Value::Bytes(bytes.into()))
    }
}

/// The most bytes that are read of an option whose length is not known: 65536 supplementary groups.
const MAX_LIST: usize = 65_536 * 4;

fn interface_number(name: &str) -> io::Result<u32> {
    match name.parse() {
        Ok(number) => Ok(number),
        Err(_) if name == ANY => Ok(0),
        Err(_) => Ok(if_nametoindex(OsStr::from_bytes(name.as_bytes()))?),
    }
}

fn interface_name(number: u32) -> String {
    match if_indextoname(number) {
        _ if number == 0 => ANY.into(),
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => number.to_string(),
    }
}

/// A `struct ip_mreqn` (ip(7)): group, address of the interface, number of the interface.
fn membership(group: Ipv4Addr, interface: &str) -> io::Result<Vec<u8>> {
    let (address, number) = match interface.parse() {
        Ok(address) => (address, 0),
        Err(_) => (Ipv4Addr::UNSPECIFIED, interface_number(interface)?),
    };
    Ok([group.octets(), address.octets(), number.to_ne_bytes()].concat())
}

/// An int, or the single byte that a few Internet options are.
fn int(bytes: &[u8]) -> Option<i32> {
    match (bytes.first_chunk(), bytes) {
        (Some(bytes), _) => Some(i32::from_ne_bytes(*bytes)),
        (None, [byte]) => Some((*byte).into()),
        _ => None,
    }
}

fn unsigned(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn time(count: i32, unit: fn(u64) -> Duration) -> Value {
    u64::try_from(count).map_or(Value::Number(count.into()), |count| Value::Time(unit(count)))
}

fn timeval(bytes: &[u8]) -> Option<Duration> {
    const WORD: usize = size_of::<libc::time_t>();
    let word = |at| bytes.get(at..)?.first_chunk::<WORD>().map(|word| libc::time_t::from_ne_bytes(*word));
    let (seconds, micros) = (u64::try_from(word(0)?).ok()?, u64::try_from(word(WORD)?).ok()?);
    Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_through_the_kernels_form() -> io::Result<()> {
        for (kind, value) in [
            (Kind::Flag, Value::Flag(true)),
            (Kind::Number(0, 0xffff_ffff), Value::Number(0xffff_ffff)),
            (Kind::Number(-1, 5), Value::Number(-1)),
            (Kind::Wide, Value::Number(1 << 40)),
            (Kind::Size, Value::Size(3 << 30)),
            (Kind::WideSize, Value::Size(u64::MAX)),
            (Kind::Seconds, Value::Time(Duration::from_secs(3))),
            (Kind::Milliseconds, Value::Time(Duration::from_millis(1500))),
            (Kind::Timeval, Value::Time(Duration::from_micros(1_500_001))),
            (Kind::Linger, Value::Linger(None)),
            (Kind::Linger, Value::Linger(Some(Duration::from_secs(5)))),
            (Kind::Interface, Value::Interface("lo".into())),
            (Kind::InterfaceBigEndian, Value::Interface("lo".into())),
            (Kind::Interface, Value::Interface("any".into())),
        ] {
            assert_eq!(kind.decode(&kind.encode(Level::Socket, &value)?), value);
        }
        let group = Value::Group(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3)), Some("127.0.0.1".into()));
        let bytes = Kind::Group.encode(Level::Ip, &group)?;
        assert_eq!(bytes, [239, 1, 2, 3, 127, 0, 0, 1, 0, 0, 0, 0]);
        assert!(Kind::Group.encode(Level::Ipv6, &group).is_err());
        Ok(())
    }
}
