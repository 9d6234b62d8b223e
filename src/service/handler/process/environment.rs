//! What a program finds in its environment: little of the server's, and who has sent what.
//!
//! Apart from starting it, because this is a contract with those who write such programs: the names of UCSPI (tcpserver,
//! unixserver), those of ncat, and our own. No name ever comes from a peer, and no value has a newline or a NUL in it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::net::{Addr, UnixName};
use crate::service::Peer;
use crate::wire::assured::SessionId;

/// What programs get of the server's own environment; beside these, the `LC_` variables.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR"];

/// The variables that every program gets.
#[derive(Clone, Debug)]
pub(super) struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// Those of this process that are in the list.
    pub(super) fn inherited() -> Self {
        Self::of(std::env::vars_os())
    }

    /// Sets a variable, whatever it was before.
    pub(super) fn set(&mut self, name: &str, value: &OsStr) {
        self.remove(name);
        self.0.push((name.into(), value.to_owned()));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let passes = |name: &OsStr| INHERITED.iter().any(|known| name == *known) || name.as_bytes().starts_with(b"LC_");
        Self(variables.into_iter().filter(|(name, _)| passes(name)).collect())
    }
}

/// Which interface a peer is reached by: with the address domain, that tells the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Carrier {
    Stream,
    Packets,
}

/// Who is at the other end: `PROTO`, `TCPREMOTEIP` and so on, `NCAT_REMOTE_ADDR` and so on.
pub(super) fn of_peer(peer: &Peer, carrier: Carrier) -> Vec<(String, OsString)> {
    let (prefix, protocol) = match (&peer.addr, carrier) {
        (Addr::Inet(_), Carrier::Stream) => ("TCP", "TCP"),
        (Addr::Inet(_), Carrier::Packets) => ("UDP", "UDP"),
        (Addr::Unix(_), _) => ("UNIX", "UNIX"),
        (Addr::Vsock { .. }, _) => ("VSOCK", "VSOCK"),
    };
    let mut variables = vec![("PROTO".to_owned(), protocol.into())];
    for (side, addr) in [("REMOTE", Some(&peer.addr)), ("LOCAL", peer.local.as_ref())] {
        let (host, host_name, port) = match addr {
            Some(Addr::Inet(addr)) => (addr.ip().to_canonical().to_string(), "IP", u32::from(addr.port())),
            Some(Addr::Vsock { cid, port }) => (cid.to_string(), "CID", *port),
            Some(Addr::Unix(name)) => {
                variables.extend(path(name).map(|path| (format!("{prefix}{side}PATH"), path)));
                continue;
            }
            None => continue,
        };
        variables.push((format!("{prefix}{side}{host_name}"), (&host).into()));
        variables.push((format!("{prefix}{side}PORT"), port.to_string().into()));
        variables.push((format!("NCAT_{side}_ADDR"), host.into()));
        variables.push((format!("NCAT_{side}_PORT"), port.to_string().into()));
    }
    if prefix != "UNIX" {
        variables.push(("NCAT_PROTO".to_owned(), protocol.into()));
    }
    if let Some(credentials) = peer.credentials {
        for (name, number) in [("UID", credentials.uid), ("GID", credentials.gid), ("PID", credentials.pid)] {
            variables.push((format!("UNIXREMOTE{name}"), number.to_string().into()));
        }
    }
    variables
}

/// Which message it is: `MSG_SEQ`, its number in its connection or session, from 1; `MSG_LEN`, its bytes; `MSG_TRY`, how often it has
/// been given to a program, this time included, as far as the server knows: what is tried again without a session is a new message. One of an assured session has
/// `MSG_ID`, which stays the same when it comes again.
pub(super) fn of_message(
    session: Option<&SessionId>,
    number: u64,
    length: usize,
    tries: u32,
) -> impl Iterator<Item = (&'static str, String)> {
    let id = session.map(|session| ("MSG_ID", format!("{session}:{number}")));
    [("MSG_SEQ", number.to_string()), ("MSG_LEN", length.to_string()), ("MSG_TRY", tries.to_string())]
        .into_iter()
        .chain(id)
}

/// The path of a Unix socket, or its abstract name after an `@`. A client has chosen its own.
fn path(name: &UnixName) -> Option<OsString> {
    let bytes = match name {
        UnixName::Path(path) => path.as_os_str().as_bytes().to_vec(),
        UnixName::Abstract(name) => [b"@", name.as_slice()].concat(),
        UnixName::Unnamed => return None,
    };
    Some(OsString::from_vec(
        bytes.into_iter().map(|byte| if matches!(byte, 0 | b'\n') { b'?' } else { byte }).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::attributes::Credentials;

    fn shown(peer: &Peer, carrier: Carrier) -> String {
        let variables = of_peer(peer, carrier).into_iter();
        variables.map(|(name, value)| format!("{name}={} ", value.to_string_lossy())).collect()
    }

    fn inet(addr: &str) -> Addr {
        Addr::Inet(addr.parse().expect("an address"))
    }

    #[test]
    fn little_of_the_servers_own_is_passed_on() {
        let own = ["PATH", "HOME", "LC_ALL", "NOTIFY_SOCKET", "LISTEN_FDS", "LD_PRELOAD", "TCPREMOTEIP", "WILCO_X"];
        let passed = Environment::of(own.map(|name| (name.into(), "x".into())));
        let names: Vec<_> = passed.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["PATH", "HOME", "LC_ALL"]);
    }

    #[test]
    fn a_message_of_a_session_has_an_id() {
        let shown = |session: Option<&SessionId>| {
            of_message(session, 7, 3, 2).map(|(name, value)| format!("{name}={value} ")).collect::<String>()
        };
        assert_eq!(shown(None), "MSG_SEQ=7 MSG_LEN=3 MSG_TRY=2 ");
        let session = SessionId::of_bits(1);
        assert_eq!(shown(Some(&session)), format!("MSG_SEQ=7 MSG_LEN=3 MSG_TRY=2 MSG_ID={session}:7 "));
    }

    #[test]
    fn each_domain_has_its_names() {
        let peer = Peer {
            addr: inet("[::ffff:192.0.2.7]:4000"),
            local: Some(inet("[::ffff:192.0.2.1]:80")),
            credentials: None,
        };
        assert_eq!(
            shown(&peer, Carrier::Stream),
            "PROTO=TCP TCPREMOTEIP=192.0.2.7 TCPREMOTEPORT=4000 NCAT_REMOTE_ADDR=192.0.2.7 NCAT_REMOTE_PORT=4000 \
             TCPLOCALIP=192.0.2.1 TCPLOCALPORT=80 NCAT_LOCAL_ADDR=192.0.2.1 NCAT_LOCAL_PORT=80 NCAT_PROTO=TCP "
        );
        let peer = Peer { addr: inet("[2001:db8::7]:4000"), local: None, credentials: None };
        assert_eq!(
            shown(&peer, Carrier::Packets),
            "PROTO=UDP UDPREMOTEIP=2001:db8::7 UDPREMOTEPORT=4000 NCAT_REMOTE_ADDR=2001:db8::7 NCAT_REMOTE_PORT=4000 \
             NCAT_PROTO=UDP "
        );
        let credentials = Some(Credentials { pid: 3, uid: 1, gid: 2 });
        let local = Some(Addr::Unix(UnixName::Path("/run/x".into())));
        let peer = Peer { addr: Addr::Unix(UnixName::Unnamed), local: local.clone(), credentials };
        assert_eq!(
            shown(&peer, Carrier::Stream),
            "PROTO=UNIX UNIXLOCALPATH=/run/x UNIXREMOTEUID=1 UNIXREMOTEGID=2 UNIXREMOTEPID=3 "
        );
        let peer = Peer { addr: Addr::Vsock { cid: 2, port: 7 }, local: None, credentials: None };
        assert_eq!(
            shown(&peer, Carrier::Stream),
            "PROTO=VSOCK VSOCKREMOTECID=2 VSOCKREMOTEPORT=7 NCAT_REMOTE_ADDR=2 NCAT_REMOTE_PORT=7 NCAT_PROTO=VSOCK "
        );
    }

    #[test]
    fn what_a_peer_has_named_itself_is_one_line() {
        for (name, cleaned) in [
            (UnixName::Path("/tmp/a\nPATH=/evil".into()), "/tmp/a?PATH=/evil"),
            (UnixName::Abstract(b"a\0b\n".to_vec()), "@a?b?"),
        ] {
            let peer = Peer { addr: Addr::Unix(name), local: None, credentials: None };
            assert_eq!(shown(&peer, Carrier::Packets), format!("PROTO=UNIX UNIXREMOTEPATH={cleaned} "));
        }
    }
}
