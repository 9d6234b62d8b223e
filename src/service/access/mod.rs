//! `Access`: whom a server lets in, by address, user, group or machine.
//!
//! Apart from the [limits](super::limits), which are the same for all: here it matters who somebody is. Rules are
//! [written](Rule), [loaded](AccessRules) with their names looked up, and then judge each peer without waiting for anything.

mod gate;
mod load;
mod ranges;
mod rule;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use crate::net::{Addr, Credentials, Domain, Socket};

pub use gate::Gate;
pub use load::{AccessRules, MAX_RULES_FILE};
pub use rule::Rule;

use ranges::{Range, Ranges};
use rule::Addresses;

/// Whom a server lets in: rules that were loaded. The default lets everyone in.
///
/// Three sentences say it all:
///
/// 1. Who matches a deny rule is not let in, whatever the allow rules say.
/// 2. If there is an allow rule, or a file of them (be it empty), only who matches one is let in, by whatever socket.
/// 3. Who cannot be told is taken for the worse: a Unix client whose user is not known matches every deny rule for a user or a
///    group, and no such allow rule.
///
/// | rules | 10.0.0.1 by TCP or UDP | 192.0.2.1 | uid 1000 at a Unix socket | unknown user there | vsock |
/// | --- | --- | --- | --- | --- | --- |
/// | none | in | in | in | in | in |
/// | allow `10.0.0.0/8` | in | out | out | out | out |
/// | allow `10.0.0.0/8`, `unix` | in | out | in | in | out |
/// | allow `10.0.0.0/8`, `uid:1000` | in | out | in | out | out |
/// | deny `10.0.0.0/8` | out | in | in | in | in |
/// | deny `uid:0` | in | in | in | out | in |
/// | allow `any`, deny `192.0.2.1` | in | out | in | in | in |
///
/// The second sentence holds for all kinds of sockets at once, because `10.0.0.0/8` says who is
/// wanted; that every user of the machine is, too, where the server also listens on a Unix socket, it does not say. Such a socket
/// is of no use then, which [`Access::is_closed_to`] tells when the server starts, and the [refusal](Denial) in the log.
///
/// IPv4 peers of a socket for both versions of IP (`::ffff:10.0.0.1`) are judged by the rules for IPv4. The zone of an IPv6
/// address and ports do not count. The source of a datagram of UDP can be forged by whoever is on the way.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `None` lets in whoever is not denied.
    allow: Option<RuleSet>,
    deny: RuleSet,
}

/// Who wants to be let in. [`Access::subject`] makes it of a connection.
///
/// The kernel tells the credentials of connections only (`SO_PEERCRED`). A Unix socket for datagrams from anyone would have to ask
/// for them with each datagram (`SO_PASSCRED` and `SCM_CREDENTIALS`, unix(7)); where that is not done they are `None`, and
/// rules for users and groups keep all senders out.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The address of the peer.
    pub addr: &'a Addr,
    /// The peer's user and group, at Unix sockets; `None` if they are not known.
    pub credentials: Option<Credentials>,
    /// The peer's supplementary groups, at Unix sockets; `None` if they are not known. They count only beside credentials.
    pub groups: Option<Vec<u32>>,
}

/// Why somebody is not let in. `Display` is for the log: `10.0.0.9 is denied by 10.0.0.0/24 (deny.txt:3)`.
#[derive(Clone, Debug)]
pub struct Denial<'a> {
    subject: &'a Subject<'a>,
    why: Why<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Why<'a> {
    Denied(&'a Placed),
    /// The deny rules are for users or groups, and this one's are not known.
    Unknown,
    NotAllowed,
    /// No allow rule is for sockets of this kind.
    NoneForKind,
}

impl Access {
    /// Whether a peer is let in.
    ///
    /// # Errors
    /// The peer is not, for the reason that it gives.
    pub fn judge<'a>(&'a self, subject: &'a Subject<'a>) -> Result<(), Denial<'a>> {
        let denied = |why| Err(Denial { subject, why });
        if let Some(rule) = self.deny.find(subject) {
            return denied(Why::Denied(rule));
        }
        if self.deny.cannot_tell(subject) {
            return denied(Why::Unknown);
        }
        match &self.allow {
            Some(allow) if !allow.has_any_for(subject.addr.domain()) => denied(Why::NoneForKind),
            Some(allow) if allow.find(subject).is_none() => denied(Why::NotAllowed),
            _ => Ok(()),
        }
    }

    /// Whom a connection is from, with what these rules need to know. Asks the kernel only for Unix sockets, and for the
    /// supplementary groups only if there are rules for groups.
    pub fn subject<'a>(&self, socket: &Socket, peer: &'a Addr) -> Subject<'a> {
        let mut subject = Subject::from(peer);
        if matches!(peer, Addr::Unix(_)) {
            // What the kernel does not tell is not known: the rules say what that means.
            subject.credentials = socket.peer_credentials().unwrap_or_default();
            if self.has_groups() {
                subject.groups = socket.peer_groups().ok();
            }
        }
        subject
    }

    /// Whether nobody at all is let in by sockets of a domain, because there are allow rules and none is for them: then listening there
    /// is a mistake.
    pub fn is_closed_to(&self, domain: Domain) -> bool {
        self.allow.as_ref().is_some_and(|allow| !allow.has_any_for(domain))
    }

    fn new(allow: Option<Vec<Resolved>>, deny: Vec<Resolved>) -> Self {
        Self { allow: allow.map(RuleSet::new), deny: RuleSet::new(deny) }
    }

    fn has_groups(&self) -> bool {
        !self.deny.groups.is_empty() || self.allow.as_ref().is_some_and(|allow| !allow.groups.is_empty())
    }
}

impl<'a> From<&'a Addr> for Subject<'a> {
    /// A peer of whom nothing but the address is known.
    fn from(addr: &'a Addr) -> Self {
        Self { addr, credentials: None, groups: None }
    }
}

impl Denial<'_> {
    /// What the peer is told. It gives nothing away.
    pub fn word(&self) -> &'static str {
        "not allowed"
    }
}

impl fmt::Display for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subject, kinds) = (self.subject, kind(self.subject.addr));
        match self.why {
            Why::Denied(rule) => write!(f, "{subject} is denied by {rule}"),
            Why::Unknown => {
                write!(f, "{subject} is denied: there are deny rules for users or groups, and theirs are not known")
            }
            Why::NotAllowed => write!(f, "{subject} matches no allow rule"),
            Why::NoneForKind => write!(f, "{subject} matches no allow rule: none is for {kinds}"),
        }
    }
}

/// Who it is, as a log has it.
impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.addr, self.credentials) {
            (Addr::Inet(addr), _) => write!(f, "{}", addr.ip().to_canonical()),
            (Addr::Vsock { cid, .. }, _) => write!(f, "cid {cid}"),
            (Addr::Unix(_), Some(credentials)) => write!(f, "uid {}", credentials.uid),
            (Addr::Unix(_), None) => f.write_str("a Unix client of an unknown user"),
        }
    }
}

/// Sockets as a user calls them, with the rules that are for them.
fn kind(addr: &Addr) -> &'static str {
    match addr {
        Addr::Inet(_) => "Internet sockets (an address, a network)",
        Addr::Unix(_) => "Unix sockets (uid:USER, gid:GROUP, unix)",
        Addr::Vsock { .. } => "vsock (cid:NUMBER, vsock)",
    }
}

/// A rule and where it was written.
#[derive(Clone, Debug)]
struct Placed {
    rule: Rule,
    place: Option<Place>,
}

/// A line of a file.
#[derive(Clone, Debug)]
struct Place {
    file: Arc<Path>,
    line: usize,
}

/// A rule with what its name stands for.
#[derive(Debug)]
struct Resolved {
    rule: Placed,
    found: Found,
}

/// Whom a rule is about, in numbers.
#[derive(Debug)]
enum Found {
    Any,
    Unix,
    Vsock,
    Machine(u32),
    Addresses(Addresses),
    Host(Vec<IpAddr>),
    User(u32),
    Group(u32),
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rule)?;
        self.place.as_ref().map_or(Ok(()), |place| write!(f, " ({place})"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Rules that say the same, in tables.
#[derive(Clone, Debug, Default)]
struct RuleSet {
    rules: Vec<Placed>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    users: Ranges<u32>,
    groups: Ranges<u32>,
    machines: Ranges<u32>,
    /// The first rule that is about all Unix sockets.
    unix: Option<u32>,
}

impl RuleSet {
    fn new(resolved: Vec<Resolved>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let (mut users, mut groups, mut machines) = (Vec::new(), Vec::new(), Vec::new());
        let mut unix = None;
        let mut rules = Vec::with_capacity(resolved.len());
        for (rule, Resolved { rule: placed, found }) in (0u32..).zip(resolved) {
            let mut add = |addresses| match addresses {
                Addresses::V4(range) => v4.push(Range { first: *range.start(), last: *range.end(), rule }),
                Addresses::V6(range) => v6.push(Range { first: *range.start(), last: *range.end(), rule }),
            };
            let one = |number: u32| Range { first: number, last: number, rule };
            let every_number = Range { first: 0, last: u32::MAX, rule };
            match found {
                Found::Any => {
                    add(Addresses::V4(0..=u32::MAX));
                    add(Addresses::V6(0..=u128::MAX));
                    machines.push(every_number);
                    unix = unix.or(Some(rule));
                }
                Found::Unix => unix = unix.or(Some(rule)),
                Found::Vsock => machines.push(every_number),
                Found::Machine(cid) => machines.push(one(cid)),
                Found::Addresses(addresses) => add(addresses),
                Found::Host(found) => found.into_iter().for_each(|addr| add(addr.into())),
                Found::User(uid) => users.push(one(uid)),
                Found::Group(gid) => groups.push(one(gid)),
            }
            rules.push(placed);
        }
        let (v4, v6) = (Ranges::new(v4), Ranges::new(v6));
        let (users, groups, machines) = (Ranges::new(users), Ranges::new(groups), Ranges::new(machines));
        Self { rules, v4, v6, users, groups, machines, unix }
    }

    /// A rule that the peer matches.
    fn find(&self, subject: &Subject<'_>) -> Option<&Placed> {
        let rule = match subject.addr {
            Addr::Inet(addr) => self.find_address(addr),
            Addr::Vsock { cid, .. } => self.machines.find(*cid),
            Addr::Unix(_) => self.unix.or_else(|| self.find_user(subject)),
        };
        self.rules.get(rule? as usize)
    }

    fn find_address(&self, addr: &SocketAddr) -> Option<u32> {
        match addr.ip().to_canonical() {
            IpAddr::V4(addr) => self.v4.find(addr.to_bits()),
            IpAddr::V6(addr) => self.v6.find(addr.to_bits()),
        }
    }

    fn find_user(&self, subject: &Subject<'_>) -> Option<u32> {
        let credentials = subject.credentials?;
        let mut groups = std::iter::once(&credentials.gid).chain(subject.groups.iter().flatten());
        self.users.find(credentials.uid).or_else(|| groups.find_map(|gid| self.groups.find(*gid)))
    }

    /// Whether the peer might match a rule if more were known of him.
    fn cannot_tell(&self, subject: &Subject<'_>) -> bool {
        matches!(subject.addr, Addr::Unix(_))
            && (!self.users.is_empty() && subject.credentials.is_none()
                || !self.groups.is_empty() && (subject.credentials.is_none() || subject.groups.is_none()))
    }

    fn has_any_for(&self, domain: Domain) -> bool {
        match domain {
            Domain::UNIX => self.unix.is_some() || !self.users.is_empty() || !self.groups.is_empty(),
            Domain::VSOCK => !self.machines.is_empty(),
            // A socket of IPv6 often takes IPv4, too.
            Domain::IPV4 | Domain::IPV6 => !self.v4.is_empty() || !self.v6.is_empty(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
