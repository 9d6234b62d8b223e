//! `messages prune`: what is old is deleted, unless somebody is still to have it.
//!
//! Apart from the looking: here is who else has to do with a store, by what is beside it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::app::archives;
use crate::app::args::PruneArgs;
use crate::app::{Exit, report, screen};
use crate::net::Error;
use crate::service::replay::Replay;
use crate::service::store::StoreAddress;
use crate::service::store::jetstream;
use crate::service::store::sqlite::{self, PruneError};
use crate::service::work::State;

/// Somebody who is through with a store up to a place.
struct Reader {
    path: PathBuf,
    place: i64,
}

pub(super) fn run(args: &PruneArgs) -> anyhow::Result<Exit> {
    let before = args.before.moment(SystemTime::now());
    let path = match &args.store {
        StoreAddress::File(path) => path,
        StoreAddress::JetStream(address) => {
            let pruned = jetstream::prune(address, archives::connection(), before)?;
            return said(pruned.messages, pruned.bytes);
        }
    };
    let slowest = match args.force {
        true => None,
        false => readers(&archives::followed(path))?.into_iter().min_by_key(|reader| reader.place),
    };
    let through = slowest.as_ref().map_or(i64::MAX, |reader| reader.place);
    let pruned = sqlite::prune(path, before, through).map_err(|error| match error {
        PruneError::Open(error) => archives::described(error),
        PruneError::Archive(error) => error.into(),
    })?;
    let exit = said(pruned.messages, pruned.bytes)?;
    if let (Some(Reader { path, place }), 1..) = (slowest, pruned.held_back) {
        let stay = if pruned.held_back == 1 { "stays" } else { "stay" };
        report::notice(&format!(
            "{} {stay}: {} is through up to {place} (--force deletes them, too; if it is used no more, remove it)",
            messages(pruned.held_back),
            path.display()
        ));
    }
    Ok(exit)
}

fn said(count: u64, bytes: u64) -> anyhow::Result<Exit> {
    screen::print(&format!("{} deleted, {bytes} bytes freed\n", messages(count)))?;
    Ok(Exit::Done)
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

/// Who is to have what is in a store, as far as it is beside it.
fn readers(store: &Path) -> Result<Vec<Reader>, Error> {
    let directory = store.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = store.file_name().unwrap_or_default();
    let mut readers = Vec::new();
    // What cannot be listed is told by who opens the store.
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        let path = store.with_file_name(entry.file_name());
        let kind = kind(name, &entry.file_name());
        let place = match kind {
            Some(Kind::Spool) => Replay::taken_into(&path).map_err(|error| error.to_string()),
            Some(Kind::Work) => {
                State::look(&path).and_then(|state| state.through()).map(Some).map_err(|error| error.to_string())
            }
            None => continue,
        };
        let unknown = |why| {
            Error::usage(format!("{}: it cannot be seen how far it is: {why}", path.display()))
                .hinting("--force deletes all the same")
        };
        readers.extend(place.map_err(unknown)?.map(|place| Reader { path, place }));
    }
    Ok(readers)
}

enum Kind {
    /// Of a server that forwards.
    Spool,
    /// Of `wilco work`.
    Work,
}

fn kind(store: &OsStr, name: &OsStr) -> Option<Kind> {
    let rest = name.as_bytes().strip_prefix(store.as_bytes())?;
    if rest.starts_with(b"-work-") {
        return rest.ends_with(b".db").then_some(Kind::Work);
    }
    if let Some(rest) = rest.strip_prefix(b"-forward") {
        let is_number = rest.strip_prefix(b"-").is_some_and(|number| number.iter().all(u8::is_ascii_digit));
        return (rest.is_empty() || is_number).then_some(Kind::Spool);
    }
    None
}
