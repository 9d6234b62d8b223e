//! `Incoming`: one file that comes, from its `put` to its `end`.
//!
//! Apart from the words, which say what is to be done with it: here is how far it is, and that nothing has its name before it is whole and on disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::Flock;
use sha2::{Digest as _, Sha256};

use super::attributes::{keep_attributes, part};
use super::copying::Copying;
use super::directory::{Directory, Made};
use super::hashing::{Hashing, Known, WORTH_A_THREAD, update, update_zeros};
use super::place::{Entry, Overwrite, Place};
use super::trouble::{Shown, Trouble, failed};
use crate::net::plain;
use crate::wire::assured::{Code, Run};
use crate::wire::{Attributes, Digest, FileName, Span};

/// How long a hole may be, and how far a digest may go beyond the one before: what takes longer is not answered in time, and costs a client that says it nothing. Digests are only
/// of multiples of this, and of all that is there: whoever asked for every byte would be told the file.
pub const LONGEST_STEP: u64 = 1 << 30;

/// How much is read at a time.
const READ: usize = 256 * 1024;

/// What a client is told that goes further.
const TOO_FAR: &str = "a hole, and what is hashed at once, is 1073741824 bytes at the most";

/// A file that comes.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) name: FileName,
    pub(super) size: u64,
    attributes: Attributes,
    overwrite: Overwrite,
    place: Place,
    held: Held,
    /// What is to take the place of what is held.
    copying: Option<Copying>,
    /// How much of it was there at the beginning. If that was more than it is to have, it is that of another, and compared in whole steps.
    present: u64,
    stage: Stage,
    /// How far the digest is; while bytes come, the file, too.
    offset: u64,
    /// Up to where all was written to the disk meanwhile, so that the last sync does not take long.
    synced: u64,
    digest: Sha256,
    /// The digests that were asked for.
    known: Known,
}

#[derive(Debug)]
enum Held {
    /// What there is of it, and nobody else's.
    Part(Flock<File>),
    /// A file that has the name already.
    There(File),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Asked,
    Coming,
}

/// What was saved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Saved {
    Written,
    /// It was there before.
    AsItWas,
}

impl Incoming {
    /// Begins a file, or goes on with one.
    pub(super) fn begin(
        directory: &Directory,
        made: &mut Made,
        (size, name, attributes): (u64, FileName, Attributes),
        overwrite: Overwrite,
    ) -> Result<Self, Trouble> {
        let place = directory.place(&name, made)?;
        // What is there may have come meanwhile: then it is looked at once more.
        let held = match Self::hold(&place, size, &name, attributes, overwrite)? {
            Some(held) => held,
            None => Self::hold(&place, size, &name, attributes, overwrite)?
                .ok_or_else(|| Trouble::Busy(format!("{} has just come from another", Shown::of(&name))))?,
        };
        let length = match &held {
            Held::Part(file) => file.metadata(),
            Held::There(file) => file.metadata(),
        };
        let present = match length.map_err(|error| failed("look at", &name, &error))?.len() {
            length if length <= size => length,
            _ => size - size % LONGEST_STEP,
        };
        let (stage, digest, known) = (Stage::Asked, Sha256::new(), Known::default());
        Ok(Self {
            name,
            size,
            attributes,
            overwrite,
            place,
            held,
            copying: None,
            present,
            stage,
            offset: 0,
            synced: 0,
            digest,
            known,
        })
    }

    fn hold(
        place: &Place,
        size: u64,
        name: &FileName,
        attributes: Attributes,
        overwrite: Overwrite,
    ) -> Result<Option<Held>, Trouble> {
        let entry = || place.entry().map_err(|errno| failed("look at", name, &errno.into()));
        match entry()? {
            Entry::Other(what) => {
                return Err(Trouble::refused(format!("{} is there already, and is {what}", Shown::of(name))));
            }
            Entry::File(length) if length == size && is_free(place, overwrite) => {
                return match place.open() {
                    Ok(file) => Ok(Some(Held::There(file))),
                    Err(error) => Err(failed("read", name, &error)),
                };
            }
            Entry::File(_) if overwrite == Overwrite::Never => return Err(there_already(name)),
            Entry::File(_) | Entry::Nothing => {}
        }
        let part = match part(place, attributes) {
            Ok(part) => part.ok_or_else(|| others(name))?,
            Err(error) => return Err(failed("make the part of", name, &error)),
        };
        if overwrite == Overwrite::Never && entry()? != Entry::Nothing {
            place.remove_part(&part);
            return Ok(None);
        }
        Ok(Some(Held::Part(part)))
    }

    /// How much of it is there.
    pub(super) fn present(&self) -> u64 {
        self.present
    }

    /// How far its digest is.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The digest of what is there up to this offset.
    pub(super) fn hash(&mut self, offset: u64) -> Result<Digest, Trouble> {
        if self.stage != Stage::Asked || !(self.offset..=self.present).contains(&offset) {
            return Err(self.refused("what is hashed is there, and comes one after the other"));
        }
        if !offset.is_multiple_of(LONGEST_STEP) && offset != self.present {
            return Err(self.refused("what is hashed is all that is there, or a multiple of 1073741824 bytes"));
        }
        if offset - self.offset > LONGEST_STEP {
            return Err(self.refused(TOO_FAR));
        }
        let file = match &self.held {
            Held::Part(part) => part,
            Held::There(file) => file,
        };
        let mut piece = vec![0; READ];
        while self.offset < offset {
            let wanted = usize::try_from(offset - self.offset).map_or(READ, |rest| rest.min(READ));
            match file.read_at(&mut piece[..wanted], self.offset) {
                Ok(0) => return Err(self.refused("what is there has become shorter")),
                Ok(read) => {
                    self.digest.update(&piece[..read]);
                    self.offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", &self.name, &error)),
            }
        }
        self.known.add(offset, &self.digest);
        Ok(digest_of(&self.digest))
    }

    /// The bytes that come begin here.
    pub(super) fn from(&mut self, offset: u64) -> Result<(), Trouble> {
        if self.stage != Stage::Asked {
            return Err(self.refused("its bytes come already"));
        }
        let digest = match self.known.at(offset) {
            Some(digest) => digest,
            None if offset == 0 => Sha256::new(),
            None => return Err(self.refused("no digest was asked for up to there")),
        };
        if let Held::There(file) = &self.held
            && offset < self.size
        {
            let file = file.try_clone().map_err(|error| failed("read", &self.name, &error))?;
            self.replace(&file, offset, &digest)?;
        }
        if let Held::Part(part) = &self.held {
            part.set_len(offset).map_err(|error| failed("cut", &self.name, &error))?;
        }
        (self.stage, self.offset, self.synced, self.digest) = (Stage::Coming, offset, offset, digest);
        self.known = Known::default();
        Ok(())
    }

    /// Has a part replace a file, which begins with so much of it.
    fn replace(&mut self, file: &File, offset: u64, digest: &Sha256) -> Result<(), Trouble> {
        if self.overwrite == Overwrite::Never {
            return Err(there_already(&self.name));
        }
        let broken = |error: io::Error| failed("make the part of", &self.name, &error);
        let mut copying = match self.copying.take() {
            Some(copying) => copying,
            None => {
                let part = part(&self.place, self.attributes).map_err(broken)?.ok_or_else(|| others(&self.name))?;
                Copying::new(file, part).map_err(broken)?
            }
        };
        let copied = copying.step(offset);
        let is_same = digest_of(&copying.digest) == digest_of(digest);
        match copied {
            Ok(true) if is_same => self.held = Held::Part(copying.part),
            Ok(true) => return Err(self.refused("what is there has changed")),
            unfinished => {
                self.copying = Some(copying);
                return Err(unfinished.map_or_else(broken, |_| Trouble::Unfinished));
            }
        }
        Ok(())
    }

    /// The next bytes. Says how many of the spans were written; what came behind them was not.
    pub(super) fn write(
        &mut self,
        run: &Arc<Run>,
        spans: &[Span],
        hashing: Option<&Hashing>,
    ) -> (usize, Result<(), Trouble>) {
        let room = self.size - self.offset;
        let mut length = 0;
        let fitting = spans.iter().take_while(|span| {
            length += (span.end - span.start) as u64;
            length <= room
        });
        let fitting = &spans[..fitting.count()];
        let part = match (&self.held, self.stage) {
            (Held::Part(part), Stage::Coming) => part,
            (Held::There(_), Stage::Coming) if length == 0 => return (spans.len(), Ok(())),
            (Held::There(_), Stage::Coming) => return (0, Err(self.too_long())),
            (_, Stage::Asked) => return (0, Err(self.refused("nothing was said of where its bytes begin"))),
        };
        let bytes: usize = fitting.iter().map(|span| span.end - span.start).sum();
        let given = hashing.filter(|hashing| bytes >= WORTH_A_THREAD && hashing.give(&self.digest, run, fitting));
        let (mut written, mut offset, mut trouble) = (0, self.offset, None);
        for span in fitting {
            let bytes = span.of(&run.bytes);
            if let Err(error) = part.write_all_at(bytes, offset) {
                trouble = Some(failed("write", &self.name, &error));
                break;
            }
            offset += bytes.len() as u64;
            written += 1;
        }
        let digest = given.and_then(Hashing::take);
        match digest {
            Some(digest) if written == fitting.len() => self.digest = digest,
            _ => update(&mut self.digest, run, &fitting[..written]),
        }
        if trouble.is_none() && offset - self.synced >= LONGEST_STEP {
            self.synced = offset;
            if let Err(error) = part.sync_data() {
                // The last of them says so.
                (written, trouble) = (written - 1, Some(self.given_up(self.lost(&error))));
            }
        }
        self.offset = offset;
        let trouble = trouble.or_else(|| (written < spans.len()).then(|| self.too_long()));
        (written, trouble.map_or(Ok(()), Err))
    }

    /// The next bytes are so many zeros, for which there need be no room on the disk.
    pub(super) fn hole(&mut self, length: u64) -> Result<(), Trouble> {
        if length > self.size - self.offset {
            return Err(self.too_long());
        }
        if length > LONGEST_STEP {
            return Err(self.refused(TOO_FAR));
        }
        match (&self.held, self.stage) {
            (Held::Part(part), Stage::Coming) => {
                part.set_len(self.offset + length).map_err(|error| failed("write", &self.name, &error))?;
            }
            (Held::There(_), Stage::Coming) => {}
            (_, Stage::Asked) => return Err(self.refused("nothing was said of where its bytes begin")),
        }
        update_zeros(&mut self.digest, length);
        self.offset += length;
        Ok(())
    }

    /// Whether it is whole.
    pub(super) fn check(&self, digest: Digest) -> Result<(), Trouble> {
        if self.stage != Stage::Coming || self.offset != self.size {
            let reason = format!("it has {} bytes, and {} were said", self.offset, self.size);
            return Err(self.given_up(self.refused(&reason)));
        }
        let found = digest_of(&self.digest);
        match &self.held {
            _ if found == digest => Ok(()),
            Held::There(_) => Err(there_already(&self.name)),
            Held::Part(_) => {
                let reason = format!("the digest of what has come is {found}, and not {digest}");
                Err(self.given_up(self.refused(&reason)))
            }
        }
    }

    /// Has its contents durable.
    pub(super) fn sync(&self) -> Result<(), Trouble> {
        match &self.held {
            // Whether it was, is not known of one that was there.
            Held::There(file) => file.sync_all().map_err(|error| self.lost(&error)),
            Held::Part(part) => {
                // An error is told once: what was to be written may be lost, and another attempt would not say so.
                let sync = || part.sync_all().map_err(|error| self.given_up(self.lost(&error)));
                sync()?;
                // Last, so that a part of which not all is on disk can be gone on with, and is as young as it is.
                match self.attributes == Attributes::default() {
                    true => Ok(()),
                    false => {
                        keep_attributes(part, self.attributes, &self.name);
                        sync()
                    }
                }
            }
        }
    }

    /// Gives it its name, which is durable once its [directory](Self::directory) is.
    pub(super) fn give_name(&self) -> Result<Saved, Trouble> {
        match &self.held {
            Held::There(_) => Ok(Saved::AsItWas),
            Held::Part(part) => match self.rename(part) {
                Err(Errno::EEXIST) => Err(self.given_up(there_already(&self.name))),
                renamed => {
                    renamed.map(|()| Saved::Written).map_err(|errno| failed("rename", &self.name, &errno.into()))
                }
            },
        }
    }

    /// Where its name is.
    pub(super) fn directory(&self) -> &File {
        self.place.directory()
    }

    /// It is refused, since the disk has failed.
    pub(super) fn unsynced(&self, why: &str) -> Trouble {
        Trouble::Refused(Code::FAILED, format!("{} could not be brought to the disk: {why}", Shown::of(&self.name)))
    }

    /// The same; a disk that is full says so to some programs only now. Others behind the file may have their names: it cannot be put off any more.
    fn lost(&self, error: &io::Error) -> Trouble {
        match (failed("sync", &self.name, error), self.unsynced(&plain(error))) {
            (Trouble::Full(_), Trouble::Refused(_, reason)) => Trouble::Refused(Code::DISK_FULL, reason),
            (_, refused) => refused,
        }
    }

    fn rename(&self, part: &File) -> nix::Result<()> {
        if self.overwrite == Overwrite::Replace && matches!(self.place.entry()?, Entry::Other(_)) {
            return Err(Errno::EEXIST);
        }
        self.place.rename(part, self.overwrite)
    }

    /// Removes what is there, so that it begins at 0 another time.
    fn given_up(&self, trouble: Trouble) -> Trouble {
        if let Held::Part(part) = &self.held {
            self.place.remove_part(part);
        }
        trouble
    }

    fn too_long(&self) -> Trouble {
        self.refused(&format!("it is longer than the {} bytes that were said", self.size))
    }

    fn refused(&self, reason: &str) -> Trouble {
        Trouble::refused(format!("{}: {reason}", Shown::of(&self.name)))
    }
}

/// Whether what is there is looked at before what has come of another.
fn is_free(place: &Place, overwrite: Overwrite) -> bool {
    overwrite == Overwrite::Never || place.part_length().is_none_or(|length| length == 0)
}

fn others(name: &FileName) -> Trouble {
    Trouble::Busy(format!("{} comes from another just now", Shown::of(name)))
}

fn there_already(name: &FileName) -> Trouble {
    Trouble::refused(format!("{} is there already; the server does not overwrite", Shown::of(name)))
}

fn digest_of(digest: &Sha256) -> Digest {
    Digest(digest.clone().finalize().into())
}
