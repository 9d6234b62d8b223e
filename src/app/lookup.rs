//! `lookup`: asks for hosts, services, protocols, networks and DNS records, or what the kernel tells of a socket.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::net::lookup::{self, Aligned, Host, Lines};
use crate::net::{Connector, Endpoint, Error, Socket, options};

use super::args::{self, Common, Lookup, LookupArgs};
use super::report::Verbosity;
use super::runtime::block_on;
use super::{Exit, report, screen};

/// The port of DNS servers.
const DNS_PORT: u16 = 53;

pub(super) fn run(args: LookupArgs) -> anyhow::Result<Exit> {
    let verbosity = match &args.what {
        Lookup::Socket { common, .. } => common.verbosity(),
        _ => Verbosity::default(),
    };
    report::start(verbosity, false);
    block_on(async {
        let text = match args.what {
            Lookup::Host { host } => host_or_name(&host, args.json).await?,
            Lookup::Service { service, protocol } => {
                shown(&lookup::service(&service, protocol.as_deref())?, args.json)?
            }
            Lookup::Protocol { protocol } => shown(&lookup::protocol(&protocol)?, args.json)?,
            Lookup::Network { network } => shown(&lookup::network(&network)?, args.json)?,
            Lookup::Dns { name, record_type, server } => {
                let server = server.as_deref().map(dns_server).transpose()?;
                shown(&lookup::records(&name, record_type.as_deref(), server).await?, args.json)?
            }
            Lookup::Socket { address, common } => {
                socket(&args::client_endpoints(&address)?, &common, args.json).await?
            }
            Lookup::Options => option_table(args.json),
        };
        screen::print(&text)?;
        Ok(Exit::Done)
    })
}

async fn host_or_name(host: &str, json: bool) -> anyhow::Result<String> {
    if let Some(addr) = lookup::literal(host, 0)? {
        let name = lookup::reverse(addr.ip()).await?;
        let name = name.ok_or_else(|| Error::lookup("look up", "no host has this address").on(host))?;
        return Ok(match json {
            true => format!("{}\n", json!({ "address": addr.ip(), "name": name })),
            false => format!("{name}\n"),
        });
    }
    let found: Host = lookup::host(host).await?;
    shown(&[found], json)
}

fn shown<T: Lines + Serialize>(found: &[T], json: bool) -> anyhow::Result<String> {
    if !json {
        return Ok(format!("{}\n", Aligned(found)));
    }
    let mut lines = String::new();
    for one in found {
        writeln!(lines, "{}", serde_json::to_string(one)?)?;
    }
    Ok(lines)
}

fn dns_server(text: &str) -> Result<SocketAddr, Error> {
    let ip = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let server = text.parse().ok().or_else(|| ip.ok().map(|ip| SocketAddr::new(ip, DNS_PORT)));
    server.ok_or_else(|| {
        Error::usage(format!("`{text}` is no address of a DNS server"))
            .hinting("write IP or IP:PORT, such as 192.0.2.1:53")
    })
}

/// Connects, and shows the attributes and every option beside its value on a socket that nobody has touched.
async fn socket(endpoints: &[Endpoint], common: &Common, json: bool) -> anyhow::Result<String> {
    let connector = Connector { family: common.family(), names: common.names(), ..Connector::default() };
    let endpoint = endpoints.first().ok_or_else(|| Error::usage("there is no address"))?;
    let connection = connector.connect(endpoint).await?;
    let socket = connection.socket().ok_or_else(|| Error::usage("this connection is no socket"))?;
    let attributes = socket.attributes()?;
    let untouched = Socket::create(socket.domain(), socket.socket_type())?;
    let defaults: HashMap<_, _> = options::all(untouched.as_fd())?
        .into_iter()
        .filter_map(|(option, value)| Some((option.name, value.ok()?.to_string())))
        .collect();
    let values = options::all(socket.as_fd())?;
    let readable = || values.iter().filter_map(|(option, value)| Some((*option, value.as_ref().ok()?)));
    if json {
        let options: serde_json::Map<_, _> = readable()
            .map(|(option, value)| {
                let default = defaults.get(option.name);
                (option.name.to_owned(), json!({ "value": value, "default": default, "constant": option.constant }))
            })
            .collect();
        return Ok(format!("{}\n", json!({ "attributes": attributes, "options": Json::Object(options) })));
    }
    let mut rows = vec![Row::of("attribute", "value", "unit")];
    rows.extend(
        attributes.iter().map(|(attribute, reading)| Row::of(attribute.name, &reading.to_string(), attribute.unit)),
    );
    let mut text = format!("{}\n\n", Aligned(&rows));
    let mut rows = vec![Row::of("option", "value", "default")];
    rows.extend(readable().map(|(option, value)| {
        Row::of(option.name, &value.to_string(), defaults.get(option.name).map_or("", String::as_str))
    }));
    writeln!(text, "{}", Aligned(&rows))?;
    Ok(text)
}

fn option_table(json: bool) -> String {
    if json {
        let line = |option: &options::SocketOption| {
            let settable = option.is_settable();
            format!(
                "{}\n",
                json!({ "name": option.name, "constant": option.constant, "sockets": option.scope.to_string(),
                    "takes": option.kind.syntax(), "settable": settable, "doc": option.doc })
            )
        };
        return options::OPTIONS.iter().map(line).collect();
    }
    let rows: Vec<_> = options::OPTIONS
        .iter()
        .map(|option| Row(vec![option.name.into(), option.scope.to_string(), option.doc.into()]))
        .collect();
    format!("{}\n", Aligned(&rows))
}

/// A line of a table.
struct Row(Vec<String>);

impl Row {
    fn of(one: &str, two: &str, three: &str) -> Self {
        Self(vec![one.to_owned(), two.to_owned(), three.to_owned()])
    }
}

impl Lines for Row {
    fn lines(&self) -> Vec<Vec<String>> {
        vec![self.0.clone()]
    }
}
