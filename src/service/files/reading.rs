//! The thread that reads files and makes the words of them that are sent.
//!
//! Apart from the session, which is over and begun anew while files stay: this thread knows the order of what is said of one file, and waits for the answers that it needs.

use std::collections::VecDeque;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

use super::digesting::{Attempted, Parcel, Part, Way, Work};
use super::extents::{Extent, Extents};
use super::resume::{Ask, Resume};
use super::tree::{FileItem, Files};
use super::{Keeps, LARGEST_HOLE, SMALL};
use crate::net::plain;
use crate::service::Batch;
use crate::wire::{Attributes, FileAnswer, FileWord};

/// What a thread that reads is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    /// What the receiver has answered, of this file.
    Answer(usize, FileAnswer),
    /// It wants nothing more of this file.
    Stop(usize),
    /// This file is to be sent again, in this way: in the other it was refused.
    Again(usize, Way),
    /// That was all; of directories there may be something to say.
    Finish,
}

/// What is read, and where it goes.
pub(super) struct Reader {
    pub(super) files: Arc<Files>,
    /// Which of them are to be sent.
    pub(super) items: Vec<usize>,
    /// How many bytes of a file go together.
    pub(super) part: usize,
    pub(super) keeps: Keeps,
    pub(super) orders: Receiver<Order>,
    pub(super) work: SyncSender<Work>,
    /// How the next small file is sent: as the last would have been right.
    pub(super) guess: Way,
    /// The files that are to be sent again, and how.
    pub(super) again: VecDeque<(usize, Way)>,
    /// An answer that came before it was waited for.
    pub(super) early: Option<(usize, FileAnswer)>,
}

/// Nobody wants any of it any more.
#[derive(Debug)]
pub(super) struct Over;

/// Why a file is not sent.
enum Halt {
    Over,
    /// The receiver does not want it.
    Unwanted,
    /// This is the matter with it.
    Failed(String),
}

impl From<Over> for Halt {
    fn from(Over: Over) -> Self {
        Self::Over
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Failed(plain(&error))
    }
}

impl Reader {
    /// Reads until it is told that all is over.
    pub(super) fn run(mut self) {
        // Whoever would want to know is gone.
        let _ = self.read_all();
    }

    fn read_all(&mut self) -> Result<(), Over> {
        for item in std::mem::take(&mut self.items) {
            self.send(item, None)?;
        }
        loop {
            if let Some((item, way)) = self.again.pop_front() {
                self.send(item, Some(way))?;
                continue;
            }
            match self.orders.recv().map_err(|_| Over)? {
                Order::Again(item, way) => self.try_again(item, way),
                Order::Finish => return self.finish(),
                Order::Answer(..) | Order::Stop(_) => {}
            }
        }
    }

    /// What is in a directory changes its time: that is said last.
    fn finish(&mut self) -> Result<(), Over> {
        if self.keeps == Keeps::Nothing {
            return Ok(());
        }
        let files = Arc::clone(&self.files);
        for (at, item) in files.items.iter().enumerate().rev().filter(|(_, item)| item.size.is_none()) {
            let attributes = std::fs::metadata(&item.path).map(|metadata| attributes(&metadata));
            self.say_directory(at, item, attributes.unwrap_or_default())?;
        }
        Ok(())
    }

    fn send(&mut self, at: usize, way: Option<Way>) -> Result<(), Over> {
        let files = Arc::clone(&self.files);
        let item = &files.items[at];
        if item.size.is_none() {
            return self.say_directory(at, item, Attributes::default());
        }
        match self.send_file(at, item, way) {
            Ok(()) | Err(Halt::Unwanted) => Ok(()),
            Err(Halt::Over) => Err(Over),
            Err(Halt::Failed(reason)) => self.give(Work::Failed(at, reason)),
        }
    }

    fn say_directory(&mut self, at: usize, item: &FileItem, attributes: Attributes) -> Result<(), Over> {
        let attempted = Attempted { way: Way::Directory, size: 0 };
        let word = FileWord::Directory { name: item.name.clone(), attributes };
        let parcel = Parcel { item: at, batch: batch(&[word]), begins: Some(attempted), ..Parcel::default() };
        self.give(Work::Send(parcel, Part::None))
    }

    fn send_file(&mut self, at: usize, item: &FileItem, way: Option<Way>) -> Result<(), Halt> {
        let mut file = open(item)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Halt::Failed("it is no file any more".to_owned()));
        }
        let size = metadata.len();
        let attributes = if self.keeps == Keeps::Nothing { Attributes::default() } else { attributes(&metadata) };
        let put = FileWord::Put { size, name: item.name.clone(), attributes };
        self.give(Work::Begin)?;
        if size > SMALL.min(self.part as u64) {
            return self.send_asked(at, &put, &mut file, &metadata);
        }
        if way.is_none() {
            // Nothing else would notice what was said of the files before.
            self.go_on(at)?;
        }
        match way.unwrap_or(self.guess) {
            Way::Assumed => self.send_assumed(at, &put, &mut file, &metadata),
            _ => self.send_straight(at, &put, &mut file, &metadata),
        }
    }

    /// Sends a small file in one go.
    fn send_straight(
        &mut self,
        at: usize,
        put: &FileWord<'_>,
        file: &mut File,
        metadata: &Metadata,
    ) -> Result<(), Halt> {
        let size = metadata.len();
        let mut batch = batch(&[put.clone(), FileWord::From(0)]);
        let start = batch.bytes.len();
        let mut part = Part::None;
        if size > 0 {
            FileWord::Data(&[]).encode(&mut batch.bytes);
            let from = batch.bytes.len();
            read(file, size as usize, &mut batch.bytes)?;
            batch.spans.push(crate::wire::Span { start, end: batch.bytes.len() });
            part = Part::Bytes(from..batch.bytes.len());
        }
        unless_changed(file, metadata)?;
        let begins = Some(Attempted { way: Way::Straight, size });
        let parcel = Parcel { item: at, batch, begins, from: Some(0), bytes: size, digest: None };
        Ok(self.give(Work::End(parcel, part))?)
    }

    /// Sends nothing of a small file but its digest.
    fn send_assumed(
        &mut self,
        at: usize,
        put: &FileWord<'_>,
        file: &mut File,
        metadata: &Metadata,
    ) -> Result<(), Halt> {
        let size = metadata.len();
        let mut bytes = Vec::new();
        read(file, size as usize, &mut bytes)?;
        unless_changed(file, metadata)?;
        self.give(Work::Check(bytes))?;
        let begins = Some(Attempted { way: Way::Assumed, size });
        let batch = batch(&[put.clone(), FileWord::Hash(size), FileWord::From(size)]);
        let parcel = Parcel { item: at, batch, begins, from: Some(size), ..Parcel::default() };
        Ok(self.give(Work::End(parcel, Part::None))?)
    }

    /// Sends what the receiver has not of a file.
    fn send_asked(&mut self, at: usize, put: &FileWord<'_>, file: &mut File, metadata: &Metadata) -> Result<(), Halt> {
        // It is advice.
        let _ = posix_fadvise(&*file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
        let size = metadata.len();
        let begins = Some(Attempted { way: Way::Asked, size });
        self.say(Parcel { item: at, begins, ..Parcel::default() }, put)?;
        let FileAnswer::At(there) = self.answer(at)? else { return Err(confused()) };
        let mut resume = Resume::new(size, there);
        let mut checked = 0;
        let from = loop {
            match resume.ask() {
                Ask::From(offset) => break offset,
                Ask::Hash(offset) => {
                    self.say(Parcel { item: at, ..Parcel::default() }, &FileWord::Hash(offset))?;
                    self.check(at, file, offset - checked)?;
                    let (wanted, digest) = sync_channel(1);
                    self.give(Work::Digest(wanted))?;
                    let ours = digest.recv().map_err(|_| Over)?;
                    let theirs = match self.answer(at)? {
                        FileAnswer::Hash(of, digest) if of == offset => digest,
                        _ => return Err(confused()),
                    };
                    checked = offset;
                    let is_equal = resume.compare(ours, theirs);
                    self.give(if is_equal { Work::Keep } else { Work::Back })?;
                }
            }
        };
        self.say(Parcel { item: at, from: Some(from), ..Parcel::default() }, &FileWord::From(from))?;
        self.send_rest(at, file, from, metadata)?;
        unless_changed(file, metadata)?;
        Ok(self.give(Work::End(Parcel { item: at, ..Parcel::default() }, Part::None))?)
    }

    fn send_rest(&mut self, at: usize, file: &mut File, from: u64, metadata: &Metadata) -> Result<(), Halt> {
        let mut extents = Extents::of(file, metadata, from);
        while let Some(extent) = extents.next(file)? {
            match extent {
                Extent::Hole(mut length) => {
                    while length > 0 {
                        self.go_on(at)?;
                        let some = length.min(LARGEST_HOLE);
                        let batch = batch(&[FileWord::Hole(some)]);
                        let parcel = Parcel { item: at, batch, bytes: some, ..Parcel::default() };
                        self.give(Work::Send(parcel, Part::Zeros(some)))?;
                        length -= some;
                    }
                }
                Extent::Data(range) => {
                    file.seek(SeekFrom::Start(range.start))?;
                    let mut length = range.end - range.start;
                    while length > 0 {
                        self.go_on(at)?;
                        let some = length.min(self.part as u64);
                        self.send_part(at, file, some as usize)?;
                        length -= some;
                    }
                }
            }
        }
        Ok(())
    }

    fn send_part(&mut self, at: usize, file: &mut File, length: usize) -> Result<(), Halt> {
        let mut bytes = Vec::with_capacity(length + 16);
        FileWord::Data(&[]).encode(&mut bytes);
        let start = bytes.len();
        read(file, length, &mut bytes)?;
        let part = Part::Bytes(start..bytes.len());
        let parcel = Parcel { item: at, batch: Batch::of(bytes), bytes: length as u64, ..Parcel::default() };
        Ok(self.give(Work::Send(parcel, part))?)
    }

    /// Has the digest computed of so many of the next bytes.
    fn check(&mut self, at: usize, file: &mut File, mut length: u64) -> Result<(), Halt> {
        while length > 0 {
            self.go_on(at)?;
            let some = length.min(self.part as u64);
            let mut bytes = Vec::with_capacity(some as usize);
            read(file, some as usize, &mut bytes)?;
            self.give(Work::Check(bytes))?;
            length -= some;
        }
        Ok(())
    }

    fn say(&mut self, parcel: Parcel, word: &FileWord<'_>) -> Result<(), Over> {
        self.give(Work::Send(Parcel { batch: batch(std::slice::from_ref(word)), ..parcel }, Part::None))
    }

    fn give(&mut self, work: Work) -> Result<(), Over> {
        self.work.send(work).map_err(|_| Over)
    }

    /// Whether more of a file is wanted.
    fn go_on(&mut self, at: usize) -> Result<(), Halt> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Stop(of)) if of == at => return Err(Halt::Unwanted),
                Ok(Order::Again(item, way)) => self.try_again(item, way),
                Ok(Order::Answer(of, answer)) => self.early = Some((of, answer)),
                Ok(Order::Stop(_) | Order::Finish) => {}
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Halt::Over),
            }
        }
    }

    fn try_again(&mut self, item: usize, way: Way) {
        self.guess = way;
        self.again.push_back((item, way));
    }

    /// Waits for an answer.
    fn answer(&mut self, at: usize) -> Result<FileAnswer, Halt> {
        if let Some((_, answer)) = self.early.take().filter(|(of, _)| *of == at) {
            return Ok(answer);
        }
        loop {
            match self.orders.recv().map_err(|_| Over)? {
                Order::Answer(of, answer) if of == at => return Ok(answer),
                Order::Stop(of) if of == at => return Err(Halt::Unwanted),
                Order::Again(item, way) => self.try_again(item, way),
                _ => {}
            }
        }
    }
}

/// Opens a file, and nothing else: what has become a named pipe since would be waited for, and what has become a link may lead anywhere.
fn open(item: &FileItem) -> io::Result<File> {
    let follow = if item.is_named { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | follow).bits()).open(&item.path)
}

/// Appends so many bytes of a file.
fn read(file: &mut File, length: usize, bytes: &mut Vec<u8>) -> Result<(), Halt> {
    bytes.reserve_exact(length);
    match file.take(length as u64).read_to_end(bytes)? {
        read if read == length => Ok(()),
        _ => Err(changed()),
    }
}

/// Whether a file that was read to its end is still what it was, and that was its end: those of `/proc` say that they have no bytes, and have some.
fn unless_changed(file: &File, before: &Metadata) -> Result<(), Halt> {
    let now = file.metadata()?;
    let of = |metadata: &Metadata| {
        let (modified, changed) =
            ((metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()));
        (metadata.len(), modified, changed)
    };
    if of(&now) != of(before) {
        return Err(changed());
    }
    match file.read_at(&mut [0], before.len())? {
        0 => Ok(()),
        _ => Err(Halt::Failed("it has more bytes than it says".to_owned())),
    }
}

fn changed() -> Halt {
    Halt::Failed("it changed while it was sent".to_owned())
}

fn confused() -> Halt {
    Halt::Failed("the server answers what it was not asked".to_owned())
}

fn attributes(metadata: &Metadata) -> Attributes {
    // A time before 1970 has no words.
    let seconds = u64::try_from(metadata.mtime()).ok();
    let modified = seconds.map(|seconds| Duration::new(seconds, metadata.mtime_nsec() as u32));
    Attributes { mode: Some(metadata.mode() & 0o777), modified }
}

fn batch(words: &[FileWord<'_>]) -> Batch {
    let (mut batch, mut body) = (Batch::default(), Vec::new());
    for word in words {
        body.clear();
        word.encode(&mut body);
        batch.push(&body);
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_it_says_or_was_changed_and_set_back_is_not_whole() -> io::Result<()> {
        let status = File::open("/proc/self/status")?;
        let halt = unless_changed(&status, &status.metadata()?);
        assert!(matches!(halt, Err(Halt::Failed(reason)) if reason == "it has more bytes than it says"));

        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(&file, b"abc")?;
        let before = file.as_file().metadata()?;
        assert!(unless_changed(file.as_file(), &before).is_ok());
        // Its clock goes in steps.
        while unless_changed(file.as_file(), &before).is_ok() {
            std::fs::write(&file, b"xyz")?;
            file.as_file().set_modified(before.modified()?)?;
        }
        Ok(())
    }
}
