//! `Files`: what is to be sent, found by walking directories before anything is sent.
//!
//! Apart from the sending, which takes one after the other: here is which names they have at the receiver, and what is left out.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::net::{self, plain};
use crate::wire::FileName;

/// The name by which standard input is known, which is no file.
const STANDARD_INPUT: &str = "-";

/// Files and directories that are to be sent, in the order in which that is done: a directory before what is in it, and what is in it by its name.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Them.
    pub items: Vec<FileItem>,
    /// What was left out since nothing is sent of its kind: links, sockets, pipes and devices that were met in directories.
    pub skipped: Vec<FileTrouble>,
    /// What was to be sent and cannot be read.
    pub unreadable: Vec<FileTrouble>,
}

/// A file or directory that is to be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileItem {
    /// Where it is here.
    pub path: PathBuf,
    /// Where it is to be at the receiver.
    pub name: FileName,
    /// Its length in bytes; none for a directory.
    pub size: Option<u64>,
    /// Whether it is what the user has named, and a link that leads to it is followed.
    pub is_named: bool,
}

/// Something that is the matter with a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileTrouble {
    /// Which.
    pub path: PathBuf,
    /// What.
    pub reason: String,
}

impl Files {
    /// These files, and directories with all that is in them. Each is named by the last part of its path, one alone perhaps by another name, and what is in a directory by its
    /// way from there.
    ///
    /// # Errors
    /// Two have one name, a path has none or is no file, or another name was given for several. What only cannot be read is among the files.
    pub fn find(paths: &[PathBuf], name: Option<&OsStr>) -> net::Result<Self> {
        if let (Some(_), [_, _, ..]) = (name, paths) {
            return Err(net::Error::usage("one name was given for several files")
                .hinting("put them into a directory, or send each by itself"));
        }
        let (mut files, mut named) = (Self::default(), HashMap::new());
        for path in paths {
            let name = match name {
                Some(name) => checked(path, name.as_bytes())?,
                None => name_of(path)?,
            };
            if let Some(other) = named.insert(name.clone(), path) {
                let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
                let both = format!("{} and {}", other.display(), path.display());
                return Err(net::Error::usage(format!("{both} would both be {name:?} at the server"))
                    .hinting("give the directory that has both, or send one of them with --as NAME"));
            }
            match fs::metadata(path) {
                Ok(metadata) => files.add_named(path, name, &metadata)?,
                Err(error) => files.unreadable.push(FileTrouble::new(path, plain(&error))),
            }
        }
        Ok(files)
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.items.iter().filter_map(|item| item.size).sum()
    }

    fn add_named(&mut self, path: &Path, name: FileName, metadata: &Metadata) -> net::Result<()> {
        if let Some(kind) = special(metadata.file_type()) {
            return Err(net::Error::usage(format!("{} is {kind}, and its size is not known", path.display()))
                .hinting("client --framing whole < it sends what comes out of it as one message"));
        }
        let size = metadata.is_file().then_some(metadata.len());
        self.items.push(FileItem { path: path.to_owned(), name: name.clone(), size, is_named: true });
        if metadata.is_dir() {
            self.add_all_in(path, &name);
        }
        Ok(())
    }

    /// Adds what is in a directory.
    fn add_all_in(&mut self, directory: &Path, name: &FileName) {
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unreadable.push(FileTrouble::new(directory, plain(&error))),
        };
        entries.sort_unstable_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if let Err(trouble) = self.add_entry(&entry, &path, name) {
                self.unreadable.push(FileTrouble::new(&path, trouble));
            }
        }
    }

    fn add_entry(&mut self, entry: &fs::DirEntry, path: &Path, directory: &FileName) -> Result<(), String> {
        let metadata = entry.metadata().map_err(|error| plain(&error))?;
        if let Some(kind) = special(metadata.file_type()) {
            self.skipped.push(FileTrouble::new(path, format!("{kind}, which is not sent")));
            return Ok(());
        }
        let name = [directory.as_bytes(), b"/", entry.file_name().as_bytes()].concat();
        let name = FileName::new(name)?;
        let size = metadata.is_file().then_some(metadata.len());
        self.items.push(FileItem { path: path.to_owned(), name: name.clone(), size, is_named: false });
        if metadata.is_dir() {
            self.add_all_in(path, &name);
        }
        Ok(())
    }
}

impl FileTrouble {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }
}

/// The last part of a path; of one that has none, such as `.`, that of what it stands for.
fn name_of(path: &Path) -> net::Result<FileName> {
    if path.as_os_str() == STANDARD_INPUT {
        return Err(net::Error::usage("standard input has no size that could be sent before it")
            .hinting("client --framing whole < FILE sends it as one message"));
    }
    if let Some(name) = path.file_name() {
        return checked(path, name.as_bytes());
    }
    let whole =
        fs::canonicalize(path).map_err(|error| net::Error::usage(format!("{}: {}", path.display(), plain(&error))))?;
    match whole.file_name() {
        Some(name) => checked(path, name.as_bytes()),
        None => {
            Err(net::Error::usage(format!("{} has no name of its own", path.display()))
                .hinting("--as NAME gives it one"))
        }
    }
}

fn checked(path: &Path, name: &[u8]) -> net::Result<FileName> {
    FileName::new(name).map_err(|flaw| {
        let name = String::from_utf8_lossy(name).into_owned();
        net::Error::usage(format!("{} cannot be sent as {name:?}: {flaw}", path.display()))
    })
}

/// What something is that is neither a file nor a directory.
fn special(kind: FileType) -> Option<&'static str> {
    match kind {
        _ if kind.is_file() || kind.is_dir() => None,
        _ if kind.is_symlink() => Some("a symbolic link"),
        _ if kind.is_socket() => Some("a socket"),
        _ if kind.is_fifo() => Some("a named pipe"),
        _ => Some("a device"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn found(files: &Files) -> Vec<String> {
        let name = |item: &FileItem| String::from_utf8_lossy(item.name.as_bytes()).into_owned();
        files
            .items
            .iter()
            .map(|item| name(item) + &item.size.map_or_else(|| "/".to_owned(), |size| format!(" {size}")))
            .collect()
    }

    #[test]
    fn a_directory_comes_before_what_is_in_it_and_what_is_no_file_is_left_out() -> Result<(), Box<dyn std::error::Error>>
    {
        let directory = tempfile::tempdir()?;
        let photos = directory.path().join("photos");
        fs::create_dir_all(photos.join("b"))?;
        fs::write(photos.join("c"), "123")?;
        fs::write(photos.join("a \n"), "")?;
        fs::write(photos.join("b").join(OsStr::from_bytes(b"\xff")), "1")?;
        symlink("c", photos.join("link"))?;
        let _socket = UnixListener::bind(photos.join("socket"))?;
        let files = Files::find(std::slice::from_ref(&photos), None)?;
        assert_eq!(found(&files), ["photos/", "photos/a \n 0", "photos/b/", "photos/b/\u{fffd} 1", "photos/c 3"]);
        assert_eq!(files.bytes(), 4);
        let skipped: Vec<_> = files.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        assert_eq!(skipped, ["a symbolic link, which is not sent", "a socket, which is not sent"]);
        // What the user has named is followed, and may be called otherwise.
        assert_eq!(found(&Files::find(&[photos.join("link")], None)?), ["link 3"]);
        assert_eq!(found(&Files::find(&[photos.join("c")], Some(OsStr::new("x/d")))?), ["x/d 3"]);
        assert_eq!(found(&Files::find(&[photos.join("b/..")], None)?)[0], "photos/");
        assert_eq!(found(&Files::find(&[photos.join("b/.")], None)?)[0], "b/");
        Ok(())
    }

    #[test]
    fn what_cannot_be_sent_is_said_before_anything_is() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        for name in ["one", "two"] {
            fs::create_dir(directory.path().join(name))?;
            fs::write(directory.path().join(name).join("same"), "")?;
        }
        let path = |name: &str| directory.path().join(name);
        let dot = OsStr::new("..");
        for (paths, name, words) in [
            (vec![path("one/same"), path("two/same")], None, "would both be \"same\""),
            (vec![path("one"), path("two")], Some(OsStr::new("x")), "one name was given for several"),
            (vec![path("one")], Some(dot), "a part that is"),
            (vec!["-".into()], None, "standard input"),
            (vec!["/".into()], None, "no name of its own"),
            (vec!["/dev/null".into()], None, "a device"),
        ] {
            let error = Files::find(&paths, name).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        // What is not there keeps nothing else from being sent.
        let files = Files::find(&[path("three"), path("one/same")], None)?;
        assert_eq!(found(&files), ["same 0"]);
        assert_eq!(files.unreadable.len(), 1);
        Ok(())
    }
}
