//! `--forward`: the servers that what is stored goes on to, in the steps in which a process becomes a server, and what is told of them.
//!
//! Apart from the delivery, which knows nothing of accounts, sandboxes and the words of arguments.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::app::archives;
use crate::app::args::{Common, ForwardArgs};
use crate::app::privileges::Account;
use crate::app::report::{self, Failure};
use crate::net::{Connector, Endpoint, Error};
use crate::service::delivery::DeliveryConfig;
use crate::service::forward::{Forward, Forwarding, Told, Trouble};
use crate::service::replay::ReplayError;
use crate::service::store::StoreAddress;
use crate::service::{self};
use crate::wire::assured::Code;

/// What separates the addresses of one server.
const OR: char = ',';

/// A server that what is stored goes on to.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    name: String,
    servers: Vec<Endpoint>,
    /// Its spool, wherever this process goes.
    pub(super) spool: PathBuf,
}

/// The servers that the arguments name.
///
/// # Errors
/// An address is none, or it is not known where a spool is to be.
pub(super) fn hops(args: &ForwardArgs, store: Option<&StoreAddress>) -> Result<Vec<Hop>, Error> {
    let Some(store) = store.filter(|_| !args.forward.is_empty()) else { return Ok(Vec::new()) };
    let (count, spools) = (args.forward.len(), args.forward_spool.len());
    let file = match store {
        StoreAddress::File(path) => Some(path.as_path()),
        StoreAddress::JetStream(_) => None,
    };
    if spools == 0 && file.is_none() {
        return Err(Error::usage(format!("beside the store {store} there is no place for a spool"))
            .hinting("name a directory with --forward-spool; of the servers at one stream one alone is to forward"));
    }
    if spools != 0 && spools != count {
        return Err(Error::usage(format!("there are {count} servers to forward to, and {spools} spools"))
            .hinting("give --forward-spool as often as --forward, in the same order, or not at all"));
    }
    let hop = |(place, name): (usize, &String)| {
        let servers = name.split(OR).map(str::parse).collect::<Result<_, _>>()?;
        let spool =
            args.forward_spool.get(place).cloned().unwrap_or_else(|| beside(file.unwrap_or(Path::new("")), place));
        let spool = std::path::absolute(&spool).unwrap_or(spool);
        Ok(Hop { name: name.clone(), servers, spool })
    };
    args.forward.iter().enumerate().map(hop).collect()
}

/// The spool beside a store, for the first server, the second and so on.
pub(in crate::app) fn beside(store: &Path, place: usize) -> PathBuf {
    let mut name = OsString::from(archives::followed(store));
    name.push("-forward");
    if place > 0 {
        name.push(format!("-{}", place + 1));
    }
    name.into()
}

/// Makes the directory of its spool, for who uses it.
///
/// # Errors
/// It cannot be made.
pub(super) fn prepare(hop: &Hop, account: Option<&Account>) -> Result<(), Error> {
    let failed = |error: io::Error| Error::system("make the directory", error).on(hop.spool.display());
    match DirBuilder::new().mode(0o700).create(&hop.spool) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = hop.spool.parent().unwrap_or(Path::new("/")).display().to_string();
            return Err(Error::usage(format!(
                "make the spool {}: there is no directory {parent}",
                hop.spool.display()
            ))
            .hinting(format!("`mkdir -p {parent}` makes it")));
        }
        made => made.map_err(failed)?,
    }
    if let Some(account) = account {
        File::open(&hop.spool).and_then(|directory| account.give(&directory)).map_err(failed)?;
    }
    // What it holds must not be lost with it: all would be sent again.
    let parent = hop.spool.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Begins to send on.
///
/// # Errors
/// There can be no more threads.
pub(super) fn start_all(
    hops: Vec<Hop>,
    store: Option<&StoreAddress>,
    args: &ForwardArgs,
    common: &Common,
) -> anyhow::Result<Vec<Forwarding>> {
    let Some(store) = store else { return Ok(Vec::new()) };
    let store = match store {
        StoreAddress::File(path) => StoreAddress::File(std::path::absolute(path)?),
        StoreAddress::JetStream(_) => store.clone(),
    };
    hops.into_iter().map(|hop| start(hop, store.clone(), args, common)).collect()
}

fn start(hop: Hop, store: StoreAddress, args: &ForwardArgs, common: &Common) -> anyhow::Result<Forwarding> {
    let connector = Connector { family: common.family(), names: common.names(), ..Connector::default() };
    let config = DeliveryConfig { connector, level: Some(args.forward_require), ..DeliveryConfig::default() };
    let archive = move || archives::open(&store).map_err(|error| Failure::of(&error).message);
    let forward =
        Forward { archive: Box::new(archive), servers: hop.servers.clone(), config, spool: hop.spool.clone() };
    let says_notices = common.verbosity().says_notices();
    Ok(forward.start(move |told| tell(&hop, told, says_notices))?)
}

fn tell(hop: &Hop, told: Told, says_notices: bool) {
    let Hop { name, spool, .. } = hop;
    match told {
        Told::Reached { server, waiting } if says_notices => {
            report::notice(&format!("forwarding to {server} at {name}{}", waiting_for(waiting, "; ")));
        }
        Told::Reached { server, .. } => tracing::info!("forwarding to {server} at {name}"),
        Told::Lost { reason, waiting } => {
            tracing::warn!("forwarding to {name}: {reason}{}; it is tried again and again", waiting_for(waiting, "; "));
        }
        Told::Refused { number, code, reason } => {
            let spool = spool.display();
            tracing::warn!(
                "forwarding to {name}: message {number} was refused for good: {reason} ({code}); `wilco spool {spool} --dead` shows it"
            );
        }
        Told::Halted(trouble) => {
            let hint = hint(&trouble, hop).map(|hint| format!("; {hint}")).unwrap_or_default();
            tracing::warn!("forwarding to {name}: {trouble}{hint}; it is tried again every minute");
        }
        Told::Ended(trouble) => {
            let hint = hint(&trouble, hop).map(|hint| format!("; {hint}")).unwrap_or_default();
            tracing::error!("forwarding to {name} has ended: {trouble}{hint}; messages wait in the store");
        }
    }
}

fn waiting_for(messages: Option<u64>, before: &str) -> String {
    match messages {
        None | Some(0) => String::new(),
        Some(1) => format!("{before}1 message waits"),
        Some(messages) => format!("{before}{messages} messages wait"),
    }
}

/// What to do about it, in the words of this command's arguments.
fn hint(trouble: &Trouble, hop: &Hop) -> Option<String> {
    match trouble {
        Trouble::Delivery(service::Error::SessionRefused { code: Code::NOT_ACCEPTABLE, .. }) => {
            Some("a server with --store keeps them; --forward-require says the least that is wanted".to_owned())
        }
        Trouble::Delivery(service::Error::LostSession(lost)) => Some(match lost.code {
            Code::TAKEN_OVER => {
                "is there a copy of the spool that another server uses? One of the two must go".to_owned()
            }
            _ => format!(
                "what waits in the spool is sent by `client --spool {} --lost-session=resend {} < /dev/null`; then, with another --forward-spool, it begins again with the \
                 oldest message in the store, and that server may get again what it had",
                hop.spool.display(),
                hop.name.replace(OR, " ")
            ),
        }),
        Trouble::Delivery(service::Error::NotSpoken(_)) => Some("it has to be a server with --store".to_owned()),
        Trouble::Delivery(service::Error::Spool(error)) | Trouble::Replay(ReplayError::Spool(error)) => error.hint(),
        Trouble::Replay(ReplayError::Usage(_)) => {
            Some("name a directory of its own with --forward-spool: that begins with the oldest message".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::assured::Level;

    fn arguments(forward: &[&str], spools: &[&str]) -> ForwardArgs {
        ForwardArgs {
            forward: forward.iter().map(ToString::to_string).collect(),
            forward_spool: spools.iter().map(PathBuf::from).collect(),
            forward_require: Level::Stored,
        }
    }

    #[test]
    fn each_server_has_a_spool_of_its_own() {
        let hops = |forward, spools, store: &str| {
            hops(&arguments(forward, spools), Some(&StoreAddress::of(store.as_ref()).expect("a store")))
                .map(|hops| hops.into_iter().map(|hop| (hop.servers.len(), hop.spool)).collect::<Vec<_>>())
        };
        let expected = [(1, "/x.db-forward".into()), (2, "/x.db-forward-2".into())];
        assert_eq!(hops(&["a:1", "b:1,c:1"], &[], "/x.db").expect("hops"), expected);
        let expected = [(1, "/one".into()), (1, "/two".into())];
        assert_eq!(hops(&["a:1", "unix:b"], &["/one", "/two"], "/x.db").expect("hops"), expected);
        assert!(hops(&[], &[], "/x.db").expect("none").is_empty());
        for (forward, spools, store, words) in [
            (&["a:1", "b:1"][..], &["/one"][..], "/x.db", "as often"),
            (&["a:1"], &[], "nats://a:1/B", "--forward-spool"),
            (&["a:1x"], &[], "/x.db", ""),
        ] {
            let error = hops(forward, spools, store).expect_err("a mistake");
            assert!(error.hint().unwrap_or_default().contains(words), "{error:?}");
        }
    }
}
