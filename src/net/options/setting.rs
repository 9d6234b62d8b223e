//! `Setting`: one option and the value that it shall have, as it is written in an address: `rcvbuf=256K`, `nodelay`.
//!
//! Apart from the table, because a setting may also be of an option that is not in it, given by its numbers.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::str::FromStr;

use libc::c_int;
use nix::errno::Errno;
use socket2::{Domain, Type};

use super::super::spelling::near;
use super::super::{Error, Result, sys, trace};
use super::scope::describe;
use super::{Access, Argument, Kind, OPTIONS, SocketOption, Value, domain_and_type, find, named, possible};

/// An option and the value that it shall have.
///
/// `FromStr` reads `NAME=VALUE`, `NAME` alone for a flag that is on, and `LEVEL:NUMBER=VALUE` for any other option of
/// the kernel, its value an int or bytes such as `x0a0b`. `Display` gives the same back.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Setting {
    option: Target,
    value: Value,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Target {
    /// A name of the table; which row depends on the socket.
    Named(&'static str),
    Numbered(c_int, c_int),
}

/// The options that a hint names; the others are seldom meant.
const USUAL: [&str; 16] = [
    "bindtodevice",
    "broadcast",
    "congestion",
    "join",
    "keepalive",
    "linger",
    "mark",
    "nodelay",
    "priority",
    "rcvbuf",
    "rcvtimeo",
    "reuseaddr",
    "reuseport",
    "sndbuf",
    "sndtimeo",
    "ttl",
];

impl Setting {
    /// The option `name` of the table with this value: `Setting::new("rcvbuf", Value::Size(262_144))`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::super::ErrorKind::Usage): no such option, one that can only be read, or a value of
    /// another kind.
    pub fn new(name: &str, value: Value) -> Result<Self> {
        let option = settable(name)?;
        match option.kind.accepts(&value) {
            true => Ok(Self { option: Target::Named(option.name), value }),
            false => Err(wrong_value(option, &value.to_string())),
        }
    }

    /// Any option of the kernel by its numbers; `value` is a [`Value::Number`] that fits an int, or [`Value::Bytes`].
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::super::ErrorKind::Usage): another value.
    pub fn numbered(level: c_int, number: c_int, value: Value) -> Result<Self> {
        match NUMBERED.accepts(&value) || Kind::Bytes.accepts(&value) {
            true => Ok(Self { option: Target::Numbered(level, number), value }),
            false => Err(Error::usage(format!("`{value}` is no value for option {level}:{number}"))
                .hinting("an option by number takes an int, or bytes in hexadecimal: x0a0b")),
        }
    }

    /// The value that was asked for.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether a socket of this domain and type has the option. One that is given by its numbers always passes.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::super::ErrorKind::Usage), with the options that such a socket has as its hint.
    pub fn check(&self, domain: Domain, kind: Type) -> Result<()> {
        match self.option {
            Target::Named(name) => self.row(name, domain, kind).map(|_| ()),
            Target::Numbered(..) => Ok(()),
        }
    }

    /// Sets the option and returns its value as the kernel now has it, which may be another: it doubles `rcvbuf`.
    ///
    /// An option that cannot be read gives the value that was asked for.
    ///
    /// # Errors
    /// As [`Setting::check`], and whatever the kernel says: no privilege, an option that it does not know.
    pub fn apply(&self, fd: BorrowedFd<'_>) -> Result<Value> {
        let failed = |error| Error::system("set option", error).on(self);
        match self.option {
            Target::Named(name) => {
                let (domain, kind) = domain_and_type(fd).map_err(failed)?;
                let option = self.row(name, domain, kind)?;
                self.apply_named(fd, option).map_err(|error| match hint(option, &error) {
                    Some(hint) => failed(error).hinting(hint),
                    None => failed(error),
                })
            }
            Target::Numbered(level, number) => self.apply_numbered(fd, level, number).map_err(failed),
        }
    }

    fn row(&self, name: &str, domain: Domain, kind: Type) -> Result<&'static SocketOption> {
        let these = describe(domain, kind);
        let wrong = match find(name, domain, kind) {
            Some(option) if !option.is_settable() => format!("`{name}` can only be read on {these} sockets"),
            Some(option) => return self.check_group(domain).map(|()| option),
            None => {
                let mut scopes: Vec<_> = named(name).map(|option| option.scope.to_string()).collect();
                scopes.dedup();
                format!("`{name}` is an option of {} sockets, not of {these} ones", scopes.join(" and "))
            }
        };
        let options: Vec<_> =
            possible(domain, kind).filter(|option| option.is_settable()).map(|option| option.name).collect();
        let usual: Vec<_> = options.iter().copied().filter(|name| USUAL.contains(name)).collect();
        Err(Error::usage(wrong).hinting(match options.len() - usual.len() {
            0 => format!("{these} sockets have {}", list(usual.into_iter())),
            others => format!(
                "{these} sockets have {} and {others} others (`wilco lookup options` has all)",
                usual.join(", ")
            ),
        }))
    }

    /// A group is of one Internet domain, which its option's name does not tell.
    fn check_group(&self, domain: Domain) -> Result<()> {
        let (wanted, example) = match &self.value {
            Value::Group(group, _) if group.is_ipv6() && domain == Domain::IPV4 => ("IPv4", "239.1.2.3"),
            Value::Group(group, _) if group.is_ipv4() && domain == Domain::IPV6 => ("IPv6", "ff02::1:3"),
            _ => return Ok(()),
        };
        Err(Error::usage(format!("`{self}` names no {wanted} group, and the socket is {wanted}"))
            .hinting(format!("name one such as {example}, or use an address of the other domain")))
    }

    fn apply_named(&self, fd: BorrowedFd<'_>, option: &SocketOption) -> io::Result<Value> {
        option.write(fd, &self.value)?;
        match (option.kind, &self.value) {
            (Kind::Keepalive, Value::Time(_)) => {
                let idle = OPTIONS.iter().find(|option| option.name == "keepidle").ok_or(Errno::ENOPROTOOPT)?;
                idle.write(fd, &self.value)?;
                idle.read(fd)
            }
            _ if option.access == Access::Set => Ok(self.value.clone()),
            _ => option.read(fd),
        }
    }

    fn apply_numbered(&self, fd: BorrowedFd<'_>, level: c_int, number: c_int) -> io::Result<Value> {
        let (kind, bytes) = match &self.value {
            Value::Bytes(bytes) => (Kind::Bytes, bytes.clone()),
            value => (NUMBERED, NUMBERED.encode(super::Level::Socket, value)?),
        };
        let call = format_args!("setsockopt({}, {level}, {number}, {})", fd.as_raw_fd(), Argument(&bytes));
        trace::call(call, sys::setsockopt(fd, level, number, &bytes))?;
        let mut buffer = vec![0; kind.capacity()];
        Ok(match sys::getsockopt(fd, level, number, &mut buffer) {
            Ok(length) => kind.decode(&buffer[..length]),
            // Many can only be set.
            Err(_) => self.value.clone(),
        })
    }
}

impl FromStr for Setting {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        if let Some((level, number)) = name.split_once(':') {
            return numbered(text, level, number, value);
        }
        let option = settable(name)?;
        let value = match (value, option.kind) {
            (None, Kind::Flag | Kind::Keepalive) => Value::Flag(true),
            (None, kind) => {
                return Err(
                    Error::usage(format!("`{name}` needs a value")).hinting(format!("it takes {}", kind.syntax()))
                );
            }
            (Some(value), kind) => kind.parse(value).map_err(|_| wrong_value(option, value))?,
        };
        Ok(Self { option: Target::Named(option.name), value })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.option, &self.value) {
            (Target::Named(name), Value::Flag(true)) => f.write_str(name),
            (Target::Named(name), value) => write!(f, "{name}={value}"),
            (Target::Numbered(level, number), value) => write!(f, "{level}:{number}={value}"),
        }
    }
}

/// What an option that is given by its numbers takes besides bytes.
const NUMBERED: Kind = Kind::Number(i32::MIN as i64, i32::MAX as i64);

/// The first row of that name that can be set; those of other scopes take the same values.
fn settable(name: &str) -> Result<&'static SocketOption> {
    if let Some(option) = named(name).find(|option| option.is_settable()) {
        return Ok(option);
    }
    let names = || OPTIONS.iter().filter(|option| option.is_settable()).map(|option| option.name);
    if let Some(option) = named(name).next() {
        let hint = format!("the options that can be set are {}", list(names()));
        return Err(Error::usage(format!("the option `{}` can only be read", option.name)).hinting(hint));
    }
    let near = near(name, OPTIONS.iter().map(|option| option.name));
    Err(Error::usage(format!("there is no socket option `{name}`")).hinting(match near.first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "there are {} and {} others (`wilco lookup options` has all), or LEVEL:NUMBER=VALUE for any other",
            USUAL.join(", "),
            OPTIONS.len() - USUAL.len()
        ),
    }))
}

fn numbered(text: &str, level: &str, number: &str, value: Option<&str>) -> Result<Setting> {
    let wrong = || {
        Error::usage(format!("`{text}` is no socket option by number"))
            .hinting("LEVEL:NUMBER=VALUE, the value an int or bytes in hexadecimal: 6:1=1, 1:13=x0100000005000000")
    };
    let level = level.parse().map_err(|_| wrong())?;
    let number = number.parse().map_err(|_| wrong())?;
    let value = value.ok_or_else(wrong)?;
    let kind = if value.starts_with('x') { Kind::Bytes } else { NUMBERED };
    Setting::numbered(level, number, kind.parse(value).map_err(|_| wrong())?)
}

fn wrong_value(option: &SocketOption, value: &str) -> Error {
    Error::usage(format!("`{value}` is no value for the option `{}`", option.name))
        .hinting(format!("it takes {}", option.kind.syntax()))
}

/// What to do about an error of the kernel, where something can be said.
fn hint(option: &SocketOption, error: &io::Error) -> Option<String> {
    let SocketOption { constant, kind, .. } = option;
    Some(match error.raw_os_error().map(Errno::from_raw)? {
        Errno::EPERM | Errno::EACCES => {
            match ["CAP_NET_RAW", "CAP_NET_ADMIN"].iter().find(|it| option.doc.contains(*it)) {
                Some(capability) => format!("{constant} needs the privilege {capability} (capabilities(7))"),
                None => format!("{constant} needs a privilege, such as CAP_NET_ADMIN (capabilities(7))"),
            }
        }
        Errno::ENOPROTOOPT | Errno::EOPNOTSUPP => {
            format!("this kernel does not have {constant} on such a socket ({})", option.source)
        }
        Errno::ENODEV | Errno::ENXIO => {
            "no such network interface, or none that routes there; name one that is up".into()
        }
        Errno::ENOENT if option.name == "congestion" => {
            "/proc/sys/net/ipv4/tcp_available_congestion_control lists what there is".into()
        }
        Errno::ENOENT if option.name == "ulp" => "/proc/sys/net/ipv4/tcp_available_ulp lists what there is".into(),
        Errno::EINVAL | Errno::EDOM | Errno::ERANGE => {
            format!("it takes {}; the kernel refuses this one, or refuses it at this moment", kind.syntax())
        }
        _ => return None,
    })
}

/// Names in order, each once.
fn list(names: impl Iterator<Item = &'static str>) -> String {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> (String, String) {
        let error = text.parse::<Setting>().expect_err(text);
        (error.to_string(), error.hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn reads_what_users_write() {
        for (text, shown) in [
            ("nodelay", "nodelay"),
            ("nodelay=1", "nodelay"),
            ("TCP_NODELAY=off", "nodelay=off"),
            ("bind_address_no_port", "bind-address-no-port"),
            ("hop-limit=3", "ttl=3"),
            ("keepalive=30s", "keepalive=30s"),
            ("rcvbuf=256k", "rcvbuf=256K"),
            ("SO_RCVBUF=1000", "rcvbuf=1000"),
            ("join=239.1.2.3%lo", "join=239.1.2.3@lo"),
            ("bindtodevice=", "bindtodevice="),
            ("6:1=1", "6:1=1"),
            ("1:13=x0100000005000000", "1:13=x0100000005000000"),
        ] {
            let setting: Setting = text.parse().expect(text);
            assert_eq!(setting.to_string(), shown);
            assert_eq!(shown.parse::<Setting>().expect(shown), setting);
        }
    }

    #[test]
    fn says_what_is_possible() {
        assert_eq!(error("nodlay"), ("there is no socket option `nodlay`".into(), "did you mean `nodelay`?".into()));
        assert!(error("frobnicate").1.starts_with("there are bindtodevice, "));
        assert_eq!(error("acceptconn").0, "the option `acceptconn` can only be read");
        let (text, hint) = error("rcvbuf=1T");
        assert_eq!(text, "`1T` is no value for the option `rcvbuf`");
        assert_eq!(hint, "it takes a size in bytes below 4G: 65536, 256K, 1M, 1G");
        assert_eq!(error("rcvbuf").0, "`rcvbuf` needs a value");
        assert_eq!(error("6:x=1").0, "`6:x=1` is no socket option by number");
        assert_eq!(error("6:1").0, "`6:1` is no socket option by number");
    }

    #[test]
    fn an_option_of_other_sockets_is_refused() {
        let check = |text: &str, domain, kind| text.parse::<Setting>().expect(text).check(domain, kind);
        let refused = check("nodelay", Domain::UNIX, Type::STREAM).expect_err("an option of TCP");
        assert_eq!(refused.to_string(), "`nodelay` is an option of TCP sockets, not of Unix stream ones");
        assert!(
            refused
                .hint()
                .is_some_and(|hint| hint.contains("rcvbuf") && hint.contains("others") && !hint.contains("nodelay"))
        );
        assert!(check("cork", Domain::IPV6, Type::DGRAM).is_ok());
        assert!(check("cork", Domain::UNIX, Type::DGRAM).is_err());
        assert!(check("mtu=1400", Domain::IPV6, Type::DGRAM).is_ok());
        assert!(check("mtu=1400", Domain::IPV4, Type::DGRAM).is_err());
        assert!(check("join=239.1.2.3", Domain::IPV4, Type::DGRAM).is_ok());
        assert!(check("join=239.1.2.3", Domain::IPV6, Type::DGRAM).is_err());
        assert!(check("6:1=1", Domain::UNIX, Type::STREAM).is_ok());
    }

    fn any_value(kind: Kind) -> BoxedStrategy<Value> {
        let seconds = || (1..1_000_000u64).prop_map(std::time::Duration::from_secs);
        let name = "[ -~é]{1,15}";
        match kind {
            Kind::Flag => any::<bool>().prop_map(Value::Flag).boxed(),
            Kind::Keepalive => {
                prop_oneof![any::<bool>().prop_map(Value::Flag), seconds().prop_map(Value::Time)].boxed()
            }
            Kind::Number(least, most) => (least..=most).prop_map(Value::Number).boxed(),
            Kind::Wide => any::<i64>().prop_map(Value::Number).boxed(),
            Kind::Choice(names) => prop::sample::select(names).prop_map(|(name, _)| Value::Choice(name)).boxed(),
            Kind::Size => any::<u32>().prop_map(|size| Value::Size(size.into())).boxed(),
            Kind::WideSize => any::<u64>().prop_map(Value::Size).boxed(),
            Kind::Seconds | Kind::Milliseconds => seconds().prop_map(Value::Time).boxed(),
            Kind::Microseconds | Kind::Timeval => any::<i32>()
                .prop_map(|us| Value::Time(std::time::Duration::from_micros(us.unsigned_abs().into()) / 2))
                .boxed(),
            Kind::Linger => prop::option::of(seconds()).prop_map(Value::Linger).boxed(),
            Kind::Text => ".*".prop_map(Value::Text).boxed(),
            Kind::Interface | Kind::InterfaceBigEndian | Kind::InterfaceRequest => {
                name.prop_map(Value::Interface).boxed()
            }
            Kind::Group => (any::<std::net::IpAddr>(), prop::option::of(name))
                .prop_map(|(group, interface)| Value::Group(group, interface))
                .boxed(),
            Kind::Fields(_) | Kind::List | Kind::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        }
    }

    fn any_setting() -> impl Strategy<Value = Setting> {
        let settable: Vec<_> = OPTIONS.iter().filter(|option| option.is_settable()).collect();
        let named = prop::sample::select(settable).prop_flat_map(|option| {
            any_value(option.kind).prop_filter_map("a value of the kind", |value| Setting::new(option.name, value).ok())
        });
        let value = prop_oneof![any_value(NUMBERED), any_value(Kind::Bytes)];
        let numbered = (any::<c_int>(), any::<c_int>(), value)
            .prop_filter_map("a value", |(level, number, value)| Setting::numbered(level, number, value).ok());
        prop_oneof![4 => named, 1 => numbered]
    }

    proptest! {
        #[test]
        fn shows_what_it_reads(setting in any_setting()) {
            let text = setting.to_string();
            prop_assert!(!text.contains('&') && !text.contains('?'));
            prop_assert_eq!(text.parse::<Setting>()?, setting);
        }

        #[test]
        fn never_panics(text in "([a-z0-9-]{0,12}|mtu|join|linger|1:2)(=.{0,20})?") {
            let _ = text.parse::<Setting>();
        }
    }
}
