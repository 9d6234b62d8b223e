//! The arguments of `lookup`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::Common;

/// Ask for hosts, services, protocols, networks, DNS records, or what the kernel tells of a socket.
#[derive(Args, Debug)]
#[command(arg_required_else_help = false)]
pub(in crate::app) struct LookupArgs {
    #[command(subcommand)]
    pub(in crate::app) what: Lookup,
    /// Print JSON: one object a line
    #[arg(long, global = true)]
    pub(in crate::app) json: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::app) enum Lookup {
    /// The addresses of a host, or the name of an address
    Host {
        /// A name such as cheerios, or an IP address
        host: String,
    },
    /// The port of a service, or the service of a port (services(5))
    Service {
        /// A name such as http, or a port
        service: String,
        /// Only of this protocol: tcp, udp, ...
        #[arg(long, value_name = "NAME")]
        protocol: Option<String>,
    },
    /// The number of a protocol, or its name (protocols(5))
    Protocol {
        /// A name such as tcp, or a number
        protocol: String,
    },
    /// The address of a network, or its name (networks(5))
    Network {
        /// A name such as loopback, or an address
        network: String,
    },
    /// The DNS records of a name
    Dns {
        /// A domain name, or an IP address for its PTR record
        name: String,
        /// A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, ...; without one A and AAAA
        record_type: Option<String>,
        /// Ask this server instead of those in resolv.conf(5)
        #[arg(long, value_name = "IP[:PORT]")]
        server: Option<String>,
    },
    /// What the kernel tells of a socket that connects to an address: attributes, and every option with its default
    Socket {
        /// Where to connect, as for the client
        #[arg(required = true, value_name = "HOST PORT | ADDRESS")]
        address: Vec<OsString>,
        #[command(flatten)]
        common: Common,
    },
    /// The table of socket options that an address can have
    Options,
}
