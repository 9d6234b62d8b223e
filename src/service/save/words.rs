//! `Words`: the messages of a session, done one after the other.
//!
//! Apart from the session, which has an owner and numbers: here is what they mean for the file that comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::directory::Made;
use super::hashing::{Hashing, WORTH_A_THREAD};
use super::incoming::{Incoming, Saved};
use super::place::Overwrite;
use super::settling::{Ended, MOST_TOGETHER, settle};
use super::shared::Shared;
use super::trouble::{Shown, Trouble};
use crate::service::Observed;
use crate::service::store::Source;
use crate::wire::assured::{Applied, Code, PutOff, Run, Verdict};
use crate::wire::{Attributes, Digest, FileAnswer, FileName, FileWord, Span};

/// How long a file is waited for that another session has.
const PATIENCE: Duration = Duration::from_millis(300);

/// How many bytes of holes and digests a run may ask for, before what has become of it so far is told and the rest put off: words of a few bytes take seconds, and
/// whoever waits for them has to hear something meanwhile.
pub const MOST_AT_ONCE: u64 = 256 * 1024 * 1024;

/// How long a reason may be that is kept until its client has noted it: a name in it may be long.
pub const LONGEST_REASON: usize = 256;

/// What a `data` message has before its bytes.
const DATA: usize = b"data\n".len();

/// The file of a session, and what is done with it.
#[derive(Debug)]
pub(super) struct Words {
    shared: Arc<Shared>,
    file: Current,
    hashing: Option<Hashing>,
    /// Which directories it has made.
    made: Made,
    /// How many bytes of holes and digests were asked for in this run.
    hashed: u64,
}

#[derive(Debug, Default)]
enum Current {
    #[default]
    None,
    Comes(Box<Incoming>),
    /// It was refused: what was under way of it is of no use.
    Refused,
}

/// Who has sent it, and where what is shown of it is awaited.
pub(super) struct Sender<'a> {
    pub(super) source: &'a Source,
    pub(super) runtime: &'a Handle,
}

/// What became of a run so far.
struct Done {
    applied: Applied,
    /// The numbers of the bytes that are not written yet, and where they lie.
    waiting: Vec<Span>,
    /// What is whole, and not on disk yet.
    ended: Vec<Ended>,
}

impl Words {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, file: Current::None, hashing: None, made: Made::default(), hashed: 0 }
    }

    /// Lets go of the file: what there is of it stays.
    pub(super) fn close(&mut self) {
        self.file = Current::None;
        self.rest();
    }

    /// Gives up what is needed only while something comes.
    pub(super) fn rest(&mut self) {
        self.hashing = None;
    }

    /// Does what a run says, until something is put off.
    pub(super) fn apply(&mut self, run: &Arc<Run>, sender: &Sender<'_>) -> Applied {
        let applied = Applied { through: run.first - 1, ..Applied::default() };
        let mut done = Done { applied, waiting: Vec::new(), ended: Vec::new() };
        self.hashed = 0;
        let put_off = self.try_apply(run, sender, &mut done).err();
        self.settle(sender, &mut done);
        done.applied.put_off = put_off;
        done.applied
    }

    fn try_apply(&mut self, run: &Arc<Run>, sender: &Sender<'_>, done: &mut Done) -> Result<(), PutOff> {
        let mut refused = run.refused.iter().peekable();
        for (number, span) in (run.first..).zip(&run.spans) {
            if self.hashed >= MOST_AT_ONCE {
                return self.fail(Trouble::Unfinished, done);
            }
            if let Some((_, code, reason)) = refused.next_if(|(refused, ..)| *refused == number) {
                self.write(run, done)?;
                // Something of the file is missing.
                done.refuse(*code, reason.clone());
                self.file = Current::Refused;
                continue;
            }
            match FileWord::decode(span.of(&run.bytes)) {
                Ok(FileWord::Data(_)) => done.waiting.push(Span { start: span.start + DATA, end: span.end }),
                word => {
                    self.write(run, done)?;
                    let answered = match word {
                        Ok(FileWord::End(digest)) => self.end(digest, sender, done),
                        Ok(word) => {
                            if is_of_what_ended(&word, done) {
                                self.settle(sender, done);
                            }
                            self.word(word, sender).map(|answer| done.answer(answer))
                        }
                        Err(flaw) => Err(Trouble::Refused(Code::BAD_FRAME, flaw.to_owned())),
                    };
                    if let Err(trouble) = answered {
                        self.fail(trouble, done)?;
                    }
                }
            }
        }
        self.write(run, done)
    }

    /// Writes what waits.
    fn write(&mut self, run: &Arc<Run>, done: &mut Done) -> Result<(), PutOff> {
        let spans = std::mem::take(&mut done.waiting);
        if spans.is_empty() {
            return Ok(());
        }
        let (written, result) = match &mut self.file {
            Current::Comes(incoming) => {
                let bytes: usize = spans.iter().map(|span| span.end - span.start).sum();
                if self.hashing.is_none() && bytes >= WORTH_A_THREAD {
                    // Where there are too many threads it is done here.
                    self.hashing = Hashing::start().ok();
                }
                incoming.write(run, &spans, self.hashing.as_ref())
            }
            Current::Refused => (spans.len(), Ok(())),
            Current::None => (0, Err(nothing())),
        };
        done.applied.through += written as u64;
        let Err(trouble) = result else { return Ok(()) };
        self.fail(trouble, done)?;
        // What is behind the one that was refused.
        done.applied.through += (spans.len() - written - 1) as u64;
        Ok(())
    }

    /// The next message is refused, and the file with it; or it is put off.
    fn fail(&mut self, trouble: Trouble, done: &mut Done) -> Result<(), PutOff> {
        if let (Trouble::Full(why), Some(put_off)) = (&trouble, trouble.put_off()) {
            self.shared.full.tell(|_| {
                tracing::error!("no room on the disk: {why}; files are not acknowledged until there is some");
            });
            return Err(put_off);
        }
        match (trouble.put_off(), trouble) {
            (Some(put_off), _) => Err(put_off),
            (None, Trouble::Refused(code, reason)) => {
                self.file = Current::Refused;
                done.refuse(code, reason);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    fn word(&mut self, word: FileWord<'_>, sender: &Sender<'_>) -> Result<Option<FileAnswer>, Trouble> {
        match word {
            FileWord::Put { size, name, attributes } => self.put(size, name, attributes, sender).map(Some),
            FileWord::Directory { name, attributes } => self.directory(&name, attributes).map(|()| None),
            _ if matches!(self.file, Current::Refused) => Ok(None),
            FileWord::Hash(offset) => {
                let before = self.incoming()?.offset();
                let digest = self.incoming()?.hash(offset)?;
                self.hashed += offset - before;
                Ok(Some(FileAnswer::Hash(offset, digest)))
            }
            FileWord::From(offset) => self.incoming()?.from(offset).map(|()| None),
            FileWord::Hole(length) => {
                self.incoming()?.hole(length)?;
                self.hashed += length;
                Ok(None)
            }
            // They are taken elsewhere.
            FileWord::Data(_) | FileWord::End(_) => Ok(None),
        }
    }

    fn incoming(&mut self) -> Result<&mut Incoming, Trouble> {
        match &mut self.file {
            Current::Comes(incoming) => Ok(incoming),
            Current::None | Current::Refused => Err(nothing()),
        }
    }

    fn put(
        &mut self,
        size: u64,
        name: FileName,
        attributes: Attributes,
        sender: &Sender<'_>,
    ) -> Result<FileAnswer, Trouble> {
        // What there is of the one before stays, for another time.
        self.file = Current::None;
        let config = &self.shared.config;
        if let Some(most) = config.max_file.filter(|most| size > *most) {
            let reason = format!("{} has {size} bytes, and {most} are the most", Shown::of(&name));
            return Err(Trouble::Refused(Code::TOO_LARGE, reason));
        }
        let (made, shared) = (&mut self.made, &self.shared);
        let mut begin =
            || Incoming::begin(&shared.directory, made, (size, name.clone(), attributes), shared.config.overwrite);
        let since = Instant::now();
        let incoming = loop {
            match begin() {
                // Somebody may have it whose connection is gone, or is about to go: its client comes again.
                Err(Trouble::Busy(_)) if since.elapsed() < PATIENCE => {
                    if !self.shared.release() {
                        std::thread::sleep(PATIENCE / 10);
                    }
                }
                begun => break begun?,
            }
        };
        let at = incoming.present();
        match at {
            0 => tracing::info!("{}: {} begins, {size} bytes", sender.source, Shown::of(&name)),
            at if at == size => tracing::info!("{}: {} is there, {size} bytes", sender.source, Shown::of(&name)),
            at => tracing::info!("{}: {} goes on, {at} of {size} bytes are there", sender.source, Shown::of(&name)),
        }
        self.file = Current::Comes(Box::new(incoming));
        Ok(FileAnswer::At(at))
    }

    fn directory(&mut self, name: &FileName, attributes: Attributes) -> Result<(), Trouble> {
        self.file = Current::None;
        let parts: Vec<&[u8]> = name.parts().collect();
        let directory = self.shared.directory.enter_or_make(&parts, name, &mut self.made)?;
        // Another's is as it is.
        if self.made.has(&directory) || self.shared.config.overwrite == Overwrite::Replace {
            super::attributes::keep_attributes(&directory, attributes, name);
        }
        Ok(())
    }

    /// The file is whole: it is brought to the disk with those that come right behind it.
    fn end(&mut self, digest: Digest, sender: &Sender<'_>, done: &mut Done) -> Result<(), Trouble> {
        match std::mem::take(&mut self.file) {
            Current::Comes(file) => {
                file.check(digest)?;
                done.ended.push(Ended { verdict: done.applied.verdicts.len(), file, digest });
                // What it is to say is not known yet.
                done.refuse(Code::FAILED, String::new());
                if done.ended.len() >= MOST_TOGETHER {
                    self.settle(sender, done);
                }
                Ok(())
            }
            Current::None => Err(nothing()),
            Current::Refused => Err(Trouble::refused("the file was refused")),
        }
    }

    /// Brings to the disk what is whole, and says what became of it.
    fn settle(&self, sender: &Sender<'_>, done: &mut Done) {
        let ended = std::mem::take(&mut done.ended);
        if ended.is_empty() {
            return;
        }
        for (ended, settled) in ended.iter().zip(settle(&ended)) {
            let Ended { verdict, file, digest } = ended;
            done.applied.verdicts[*verdict].1 = match settled {
                Ok(saved) => {
                    self.tell(saved, file, *digest, sender);
                    Verdict::Reply(FileAnswer::Saved(file.size, *digest).to_string().into())
                }
                Err(Trouble::Refused(code, reason)) => refusal(code, reason),
                // Others behind it have their names: it cannot be put off any more. What has come of it stays.
                Err(Trouble::Full(reason)) => refusal(Code::DISK_FULL, reason),
                Err(Trouble::Busy(reason)) => refusal(Code::FAILED, reason),
                // Nothing that is whole is done in steps.
                Err(Trouble::Unfinished) => refusal(Code::FAILED, String::new()),
            };
        }
    }

    fn tell(&self, saved: Saved, file: &Incoming, digest: Digest, sender: &Sender<'_>) {
        let (name, size, peer) = (&file.name, file.size, &sender.source.peer);
        match saved {
            Saved::AsItWas => tracing::info!("{}: {} was there, {size} bytes", sender.source, Shown::of(name)),
            Saved::Written => {
                tracing::info!("{}: {} is saved, {size} bytes", sender.source, Shown::of(name));
                if let Some(observer) = &self.shared.observer {
                    sender.runtime.block_on(observer.observe(Observed::Saved { peer, name, size, digest }));
                }
            }
        }
    }
}

impl Done {
    fn answer(&mut self, answer: Option<FileAnswer>) {
        self.applied.through += 1;
        if let Some(answer) = answer {
            let reply = Verdict::Reply(answer.to_string().into());
            self.applied.verdicts.push((self.applied.through, reply));
        }
    }

    fn refuse(&mut self, code: Code, reason: String) {
        self.applied.through += 1;
        self.applied.verdicts.push((self.applied.through, refusal(code, reason)));
    }
}

/// Whether a word is about what has to have its name before: the time of a directory changes with what is in it.
fn is_of_what_ended(word: &FileWord<'_>, done: &Done) -> bool {
    match word {
        FileWord::Directory { .. } => true,
        FileWord::Put { name, .. } => done.ended.iter().any(|ended| ended.file.name == *name),
        _ => false,
    }
}

fn refusal(code: Code, mut reason: String) -> Verdict {
    if reason.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON - 3).rev().find(|end| reason.is_char_boundary(*end));
        reason.truncate(end.unwrap_or(0));
        reason.push_str("...");
    }
    reason.shrink_to_fit();
    Verdict::Refused(code, reason)
}

fn nothing() -> Trouble {
    Trouble::refused("no file is under way")
}
