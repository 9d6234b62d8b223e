//! The directory of a server that saves files, opened in the steps in which a process becomes one, and the names of those that were saved.
//!
//! Apart from the store itself, which knows nothing of accounts, sandboxes and standard output.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::args::SaveArgs;
use crate::app::screen::StandardOutput;
use crate::net::Error;
use crate::service::save::{Overwrite, SaveConfig, SaveDirectory};
use crate::service::{BoxFuture, Observed, Observer, Screen};
use crate::wire::is_harmless;

/// Opens the directory, while that is allowed.
///
/// # Errors
/// It is not there, or is none.
pub(super) fn open(path: &Path) -> Result<SaveDirectory, Error> {
    SaveDirectory::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::usage(format!("there is no directory {}", path.display()))
            .hinting(format!("`mkdir -p {}` makes it", path.display())),
        io::ErrorKind::NotADirectory => Error::usage(format!("{} is no directory", path.display()))
            .hinting("files are saved beneath a directory: name one, or make it with mkdir -p"),
        _ => Error::system("open the directory", error).on(path.display()),
    })
}

/// Whether what this process has become may make files there.
///
/// # Errors
/// It may not.
pub(super) fn check(directory: &SaveDirectory, path: &Path) -> Result<(), Error> {
    directory.check().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::usage(format!("no files can be made in {}: permission denied", path.display())).hinting(
                "the user that the server runs as has to own the directory, or may have to write to it: chown, chmod",
            )
        }
        _ => Error::system("write to the directory", error).on(path.display()),
    })
}

/// Where files are written, wherever this process goes.
pub(super) fn written(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What the arguments say.
pub(super) fn config(args: &SaveArgs) -> SaveConfig {
    SaveConfig {
        overwrite: if args.overwrite { Overwrite::Replace } else { Overwrite::Never },
        max_file: args.max_file.map(|most| most as u64),
        keep_parts: match args.keep_parts {
            None => SaveConfig::default().keep_parts,
            Some(time) => Some(time).filter(|time| !time.is_zero()),
        },
    }
}

/// Shows the name of each file that was saved, a line each.
pub(super) struct Names(pub(super) Arc<StandardOutput>);

impl Observer for Names {
    fn observe<'a>(&'a self, event: Observed<'a>) -> BoxFuture<'a, ()> {
        let Observed::Saved { name, .. } = event else { return Box::pin(std::future::ready(())) };
        Box::pin(async move {
            // The screen remembers that it has failed, and the server ends for it.
            let _ = self.0.show(&line(name.as_bytes())).await;
        })
    }
}

/// A name as a line of its own: what a terminal would obey, a backslash and what is no UTF-8 are shown as the numbers of their bytes, so that no line can be taken for two, or for that of
/// another name.
fn line(name: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(name.len() + 1);
    let escape = |line: &mut Vec<u8>, bytes: &[u8]| {
        bytes.iter().for_each(|byte| line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()));
    };
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            match is_harmless(letter) && letter != '\\' {
                true => line.extend_from_slice(bytes),
                false => escape(&mut line, bytes),
            }
        }
        escape(&mut line, chunk.invalid());
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_whatever_is_in_it() {
        assert_eq!(line(b"d/caf\xc3\xa9 \xff"), b"d/caf\xc3\xa9 \\xff\n");
        assert_eq!(line("a\u{9b}b\u{202e}c\\x0a".as_bytes()), b"a\\xc2\\x9bb\\xe2\\x80\\xaec\\x5cx0a\n");
        assert_eq!(line(b"one\ntwo\x1b[31m"), b"one\\x0atwo\\x1b[31m\n");
    }
}
