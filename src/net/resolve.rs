//! From what a user wrote to what the kernel takes: an [`Endpoint`] becomes one or more [`Addr`]esses.
//!
//! Apart, because listening and connecting ask the same look-ups and want different answers: no host is every address
//! of this machine to a server, and this machine to a client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::Type;

use super::endpoint::{Endpoint, Family, Port, SCHEMES, Target};
use super::spelling::near;
use super::{Addr, Error, ErrorKind, Result, lookup, srv};

/// What the addresses are wanted for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To connect or send to.
    Connect,
    /// To be reached at.
    Listen,
}

/// Whether names may be looked up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Names {
    /// Host names and service names are looked up.
    #[default]
    LookUp,
    /// Only numbers are taken.
    Numeric,
}

/// The addresses that an endpoint stands for, in the order in which they should be tried.
///
/// `family` narrows an endpoint that takes either version of IP.
///
/// # Errors
/// The host or the service is not known, has no address of the wanted family, or is a name where only numbers are taken.
/// For an endpoint that is no socket address (`fd:`, `exec:`, ...) it is a mistake to ask.
pub async fn resolve(endpoint: &Endpoint, purpose: Purpose, family: Family, names: Names) -> Result<Vec<Addr>> {
    match &endpoint.target {
        Target::Srv { .. } => {
            let hosts = srv::hosts(endpoint, purpose, family, names).await?;
            Ok(hosts.into_iter().flat_map(|(_, addrs)| addrs).collect())
        }
        Target::Unix { name, .. } => Ok(vec![Addr::Unix(name.clone())]),
        Target::Vsock { cid: Addr::CID_ANY, .. } if purpose == Purpose::Connect => {
            Err(Error::usage("`any` is no machine to connect to")
                .on(endpoint.name())
                .hinting("write the number of the machine: 2 is the host, 1 this machine"))
        }
        // Port 0 takes a free one, as in the Internet domain; vsock(7) has another number for that.
        Target::Vsock { cid, port: 0, .. } if purpose == Purpose::Listen => {
            Ok(vec![Addr::Vsock { cid: *cid, port: libc::VMADDR_PORT_ANY }])
        }
        Target::Vsock { cid, port, .. } => Ok(vec![Addr::Vsock { cid: *cid, port: *port }]),
        Target::Inet { .. } => resolve_host(endpoint, purpose, family, names).await,
        Target::Fd(_) | Target::Systemd(_) | Target::Stdio | Target::Exec(_) | Target::File(_) => {
            Err(Error::usage(format!("`{}` has no address to look up", endpoint.name())))
        }
    }
}

/// The hosts that an endpoint leads to, in the order in which they should be tried, each with its addresses: one host, or those of a service
/// ([`Target::Srv`]), which are endpoints of their own.
///
/// # Errors
/// As those of [`resolve`]. A host of a service that cannot be looked up is left out if there is another.
pub async fn resolve_hosts(
    endpoint: &Endpoint,
    purpose: Purpose,
    family: Family,
    names: Names,
) -> Result<Vec<(Endpoint, Vec<Addr>)>> {
    match endpoint.target {
        Target::Srv { .. } => srv::hosts(endpoint, purpose, family, names).await,
        _ => Ok(vec![(endpoint.clone(), resolve(endpoint, purpose, family, names).await?)]),
    }
}

/// The addresses of an endpoint of the Internet domain.
pub(super) async fn resolve_host(
    endpoint: &Endpoint,
    purpose: Purpose,
    family: Family,
    names: Names,
) -> Result<Vec<Addr>> {
    let Target::Inet { family: written, host, .. } = &endpoint.target else { return Ok(Vec::new()) };
    let family = narrowed(*written, family).map_err(|error| error.on(endpoint.name()))?;
    let port = usable_port(endpoint, purpose, names)?;
    let addrs = match host {
        None => local(purpose, family, port),
        Some(host) => hosts(host, port, names).await.map_err(|error| error.on(endpoint.name()))?,
    };
    of_family(addrs, family, host.as_deref()).map_err(|error| error.on(endpoint.name()))
}

/// Finds what is wrong with an endpoint without asking anybody for the address of a name: an unknown service, port 0 to
/// connect to, a name where only numbers are taken, the wrong version of IP.
///
/// # Errors
/// [`ErrorKind::Usage`]: what [`resolve()`] would say.
pub async fn check(endpoint: &Endpoint, purpose: Purpose, family: Family, names: Names) -> Result<()> {
    let named = |error: Error| error.on(endpoint.name());
    if let Target::Srv { .. } = endpoint.target {
        return match (purpose, names) {
            (Purpose::Listen, _) => {
                Err(Error::usage("SRV records tell clients where a server is; none listens on them")
                    .hinting(
                        "listen on a port, and have a record lead to it: _wilco._tcp.example.com. SRV 0 0 51717 HOST.",
                    )
                    .on(endpoint.name()))
            }
            (Purpose::Connect, Names::Numeric) => Err(Error::usage("it is a name, and names are not looked up")
                .on(endpoint.name())
                .hinting("give addresses in digits, or leave -n out")),
            (Purpose::Connect, Names::LookUp) => Ok(()),
        };
    }
    let Target::Inet { family: written, host, .. } = &endpoint.target else { return Ok(()) };
    narrowed(*written, family).map_err(named)?;
    usable_port(endpoint, purpose, names)?;
    match host {
        Some(host) if names == Names::Numeric => hosts(host, 0, names).await.map(drop).map_err(named),
        Some(host) => lookup::literal(host, 0).map(drop).map_err(named),
        None => Ok(()),
    }
}

fn narrowed(written: Family, wanted: Family) -> Result<Family> {
    match (written, wanted) {
        (Family::Any, family) | (family, Family::Any) => Ok(family),
        (written, wanted) if written == wanted => Ok(written),
        _ => Err(Error::usage("the address is for one version of IP and the option for the other")
            .hinting("leave out -4 or -6, or the digit in the scheme")),
    }
}

/// The port of an endpoint of the Internet domain.
fn usable_port(endpoint: &Endpoint, purpose: Purpose, names: Names) -> Result<u16> {
    let Target::Inet { socket_type, host, port, .. } = &endpoint.target else { return Ok(0) };
    let port = match (port_number(port, *socket_type, names), port, host) {
        (Err(error), Port::Service(word), None) if error.kind() == ErrorKind::Usage => {
            return Err(Error::usage(format!("`{word}` is no port and no service that is known"))
                .hinting(format!("a host needs a port beside it, as in {word} 51717")));
        }
        (Err(error), Port::Service(_), Some(host)) if error.kind() == ErrorKind::Usage => {
            let hint = error.hint().unwrap_or_default().to_owned();
            return Err(Error::usage(error.to_string()).on(endpoint.name()).hinting(
                match near(host, SCHEMES.iter().map(|scheme| scheme.name)).first() {
                    Some(scheme) => format!("did you mean the scheme {scheme}: instead of a host `{host}`?"),
                    None => hint,
                },
            ));
        }
        (port, ..) => port.map_err(|error| error.on(endpoint.name()))?,
    };
    if port == 0 && purpose == Purpose::Connect {
        return Err(Error::usage("port 0 is not one to connect to")
            .on(endpoint.name())
            .hinting("port 0 lets a server take a free port; a client needs the port that it took"));
    }
    Ok(port)
}

fn port_number(port: &Port, socket_type: Type, names: Names) -> Result<u16> {
    match (port, names) {
        (Port::Number(number), _) => Ok(*number),
        (Port::Service(name), Names::Numeric) => {
            Err(Error::usage(format!("`{name}` is a name, and names are not looked up"))
                .hinting("give the port as a number, or leave -n out"))
        }
        (Port::Service(name), Names::LookUp) => {
            let protocol = if socket_type == Type::DGRAM { "udp" } else { "tcp" };
            let found = lookup::service(name, Some(protocol))?;
            found
                .first()
                .map(|service| service.port)
                .ok_or_else(|| Error::lookup("look up", "no such service").on(name))
        }
    }
}

fn local(purpose: Purpose, family: Family, port: u16) -> Vec<Addr> {
    let (v6, v4) = match purpose {
        Purpose::Listen => (IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        Purpose::Connect => (Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()),
    };
    match family {
        Family::V4 => vec![SocketAddr::new(v4, port).into()],
        Family::V6 => vec![SocketAddr::new(v6, port).into()],
        Family::Any => vec![SocketAddr::new(v6, port).into(), SocketAddr::new(v4, port).into()],
    }
}

async fn hosts(host: &str, port: u16, names: Names) -> Result<Vec<Addr>> {
    if let Some(addr) = lookup::literal(host, port)? {
        return Ok(vec![addr.into()]);
    }
    let host = match names {
        Names::LookUp => lookup::host(host).await?,
        Names::Numeric => lookup::numeric_host(host).await?,
    };
    Ok(host.addresses.iter().map(|ip| SocketAddr::new(*ip, port).into()).collect())
}

fn of_family(addrs: Vec<Addr>, family: Family, host: Option<&str>) -> Result<Vec<Addr>> {
    let fits = |addr: &Addr| match (family, addr) {
        (Family::V4, Addr::Inet(addr)) => addr.is_ipv4(),
        (Family::V6, Addr::Inet(addr)) => addr.is_ipv6(),
        _ => true,
    };
    let (fitting, others): (Vec<_>, Vec<_>) = addrs.into_iter().partition(fits);
    if fitting.is_empty() {
        let (wanted, other) = if family == Family::V4 { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        let host = host.unwrap_or("this machine");
        return Err(Error::lookup(
            "look up",
            format!("{host} has no {wanted} address, only {} of {other}", others.len()),
        )
        .absent()
        .hinting(format!("use the {other} address, or leave the choice open")));
    }
    Ok(fitting)
}
