//! `AccessRules`: rules as they were given, and how they become [`Access`]: files are read, names looked up.
//!
//! Apart from judging, because this waits, can fail, and is done again when a server is told to reload.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Group, User};
use tokio::task::{JoinSet, spawn_blocking};

use super::rule::{Id, Who};
use super::{Access, Found, Place, Placed, Resolved, Rule};
use crate::net::{Error, Names, Result, lookup, plain};

/// The longest file of rules, in bytes: millions of rules.
pub const MAX_RULES_FILE: u64 = 64 * 1024 * 1024;

/// How many hosts are looked up at the same time.
const LOOK_UPS_AT_ONCE: usize = 16;

/// Access rules as they are given. The default has none, and lets everyone in.
///
/// A file has one rule a line, as [`Rule`] reads it; what follows `#` is a comment, and lines without a rule do not count.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    /// Whom to let in.
    pub allow: Vec<Rule>,
    /// Whom to keep out.
    pub deny: Vec<Rule>,
    /// Files of whom to let in. One without a rule lets nobody in.
    pub allow_files: Vec<PathBuf>,
    /// Files of whom to keep out.
    pub deny_files: Vec<PathBuf>,
    /// Whether hosts may be given by name.
    pub names: Names,
}

impl AccessRules {
    /// Whether there is none, so that everyone is let in.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty() && self.allow_files.is_empty() && self.deny_files.is_empty()
    }

    /// Reads the files and looks the names up: those of hosts by the system's resolver, to all their addresses; those of users and groups
    /// in its databases (nsswitch.conf(5)). Must be called in a runtime of tokio.
    ///
    /// # Errors
    /// A file cannot be read or has a line that is no rule; a name is not known, or cannot be looked up just now. Of rules that are not
    /// all understood none is taken: what was in force before should stay.
    pub async fn load(&self) -> Result<Access> {
        let has_allow = !self.allow.is_empty() || !self.allow_files.is_empty();
        let allow = gathered(&self.allow, &self.allow_files).await?;
        let deny = gathered(&self.deny, &self.deny_files).await?;
        let known = Known::of(allow.iter().chain(&deny), self.names).await?;
        blocking(move || {
            let resolved =
                |rules: Vec<Placed>| rules.into_iter().map(|rule| known.resolve(rule)).collect::<Result<_>>();
            let allow = has_allow.then(|| resolved(allow)).transpose()?;
            Ok(Access::new(allow, resolved(deny)?))
        })
        .await?
    }
}

/// The rules that were given alone and those of the files.
async fn gathered(rules: &[Rule], files: &[PathBuf]) -> Result<Vec<Placed>> {
    let mut all: Vec<Placed> = rules.iter().cloned().map(|rule| Placed { rule, place: None }).collect();
    for file in files {
        let file = file.clone();
        // Many rules take a while to be understood, too: clients are served meanwhile.
        all.append(&mut blocking(move || parse(&file, &read(&file)?)).await??);
    }
    Ok(all)
}

fn read(path: &Path) -> Result<String> {
    // As much a mistake of whoever wrote the command as a line that is no rule.
    let failed = |error| Error::usage(format!("the rules in {} cannot be read: {}", path.display(), plain(&error)));
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_RULES_FILE + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_RULES_FILE {
        return Err(failed(io::Error::other(format!("the file is longer than {} MiB", MAX_RULES_FILE >> 20))));
    }
    // What is not UTF-8 is no rule, and is told with its line.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(file: &Path, text: &str) -> Result<Vec<Placed>> {
    let file: Arc<Path> = file.into();
    let mut rules = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let rule = line.split('#').next().unwrap_or_default().trim();
        if !rule.is_empty() {
            let place = Place { file: Arc::clone(&file), line: number };
            let rule = rule.parse::<Rule>().map_err(|error| error.on(&place))?;
            rules.push(Placed { rule, place: Some(place) });
        }
    }
    Ok(rules)
}

/// Numbers by names; `None` for a name that there is not.
type Numbers = HashMap<String, Option<u32>>;

/// What the names in rules stand for.
struct Known {
    hosts: HashMap<String, Vec<IpAddr>>,
    users: Numbers,
    groups: Numbers,
}

impl Known {
    /// Looks each name up once, however many rules have it.
    async fn of(rules: impl Iterator<Item = &Placed>, names: Names) -> Result<Self> {
        let (mut hosts, mut users, mut groups) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for placed in rules {
            match placed.rule.who() {
                Who::Host(name) => hosts.push((name.clone(), placed)),
                Who::User(Id::Name(name)) => _ = users.insert(name.clone()),
                Who::Group(Id::Name(name)) => _ = groups.insert(name.clone()),
                _ => {}
            }
        }
        hosts.sort_by(|(one, _), (other, _)| one.cmp(other));
        hosts.dedup_by(|(one, _), (other, _)| one == other);
        if let (Names::Numeric, Some((_, placed))) = (names, hosts.first()) {
            return Err(Error::usage("a name, and names are not looked up")
                .on(placed)
                .hinting("write addresses or networks, or allow names (without -n)"));
        }
        let (users, groups) = if users.is_empty() && groups.is_empty() {
            Default::default()
        } else {
            blocking(move || accounts(users, groups)).await??
        };
        Ok(Self { hosts: look_up(&hosts).await?, users, groups })
    }

    fn resolve(&self, rule: Placed) -> Result<Resolved> {
        let number = |what: &str, known: &Numbers, id: &Id| match id {
            Id::Number(number) => Ok(*number),
            Id::Name(name) => known.get(name).copied().flatten().ok_or_else(|| {
                Error::lookup("look up", format!("there is no {what} {name}"))
                    .on(&rule)
                    .hinting("check the spelling, or give the number")
            }),
        };
        let found = match rule.rule.who() {
            Who::Any => Found::Any,
            Who::Unix => Found::Unix,
            Who::Vsock => Found::Vsock,
            Who::Machine(cid) => Found::Machine(*cid),
            Who::Addresses(addresses) => Found::Addresses(addresses.clone()),
            Who::Host(name) => Found::Host(self.hosts.get(name).cloned().unwrap_or_default()),
            Who::User(id) => Found::User(number("user", &self.users, id)?),
            Who::Group(id) => Found::Group(number("group", &self.groups, id)?),
        };
        Ok(Resolved { rule, found })
    }
}

/// The numbers of users and groups (getpwnam(3), getgrnam(3)).
fn accounts(users: BTreeSet<String>, groups: BTreeSet<String>) -> Result<(Numbers, Numbers)> {
    let failed = |name: &str, errno: nix::errno::Errno| Error::system("look up", errno.into()).on(name);
    let user = |name: String| {
        let found = User::from_name(&name).map_err(|errno| failed(&name, errno))?;
        Ok((name, found.map(|user| user.uid.as_raw())))
    };
    let group = |name: String| {
        let found = Group::from_name(&name).map_err(|errno| failed(&name, errno))?;
        Ok((name, found.map(|group| group.gid.as_raw())))
    };
    Ok((users.into_iter().map(user).collect::<Result<_>>()?, groups.into_iter().map(group).collect::<Result<_>>()?))
}

/// The addresses of hosts, several of them asked for at once.
async fn look_up(hosts: &[(String, &Placed)]) -> Result<HashMap<String, Vec<IpAddr>>> {
    let mut found = HashMap::new();
    let mut asking = JoinSet::new();
    let mut rest = hosts.iter().enumerate();
    loop {
        while asking.len() < LOOK_UPS_AT_ONCE
            && let Some((at, (name, _))) = rest.next()
        {
            let name = name.clone();
            asking.spawn(async move { (at, lookup::host(&name).await) });
        }
        let Some(asked) = asking.join_next().await else { return Ok(found) };
        let (at, host) = asked.map_err(|_| ended())?;
        let (name, placed) = &hosts[at];
        // The error itself names the host; where the rule is written is said before it.
        let host = host.map_err(|error| match &placed.place {
            Some(place) => renamed(error, place),
            None => error,
        })?;
        found.insert(name.clone(), host.addresses);
    }
}

/// The error, said of a line in a file.
fn renamed(error: Error, place: &Place) -> Error {
    let hint = error.hint().map(ToOwned::to_owned);
    let placed = Error::lookup("", error.to_string()).on(place);
    match hint {
        Some(hint) => placed.hinting(hint),
        None => placed,
    }
}

/// Runs what blocks, on a thread for such.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    spawn_blocking(call).await.map_err(|_| ended())
}

fn ended() -> Error {
    Error::lookup("load access rules", "the work was ended")
}
