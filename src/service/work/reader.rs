//! `Reader`: what is read of a store for work, on a thread of its own: whoever reads a store may block.
//!
//! Apart from the archive, which knows nothing of what was read before.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{End, WorkError};
use crate::service::store::{Archive, Continuity, Selection, Stored};

/// How long it is waited at once for something to be stored: so late a message that was put off is read again.
const LOOK: Duration = Duration::from_millis(100);

/// How long it is waited before a store that could not be read is read again: at first, and at the most; it doubles.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Reads a store.
#[derive(Debug)]
pub(super) struct Reader {
    asked: mpsc::Sender<Asked>,
    came: UnboundedReceiver<Result<Came, WorkError>>,
}

/// What has come of a question; there is one answer to each, after what there is to be told meanwhile.
#[derive(Debug)]
pub(super) enum Came {
    /// The next messages; none if there were none for some time.
    More(Vec<Stored>),
    /// The message at a place, if it is there.
    One(i64, Option<Box<Stored>>),
    /// Messages were deleted from behind this place on that were never read. It is told once.
    Gone(i64),
    /// The store cannot be read now, and is read again and again. It is told once, until it can be.
    Away(String),
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    More,
    One(i64),
}

impl Reader {
    /// Reads what is meant, from behind a place on. Where it ends once all is done nothing is waited for: neither messages nor a store that is away.
    pub(super) fn new(archive: Box<dyn Archive>, selection: Selection, after: i64, end: End) -> std::io::Result<Self> {
        let (asked, questions) = mpsc::channel();
        let (answers, came) = unbounded_channel();
        let reading = Reading { archive, selection, after, end, has_told_gone: after == 0, answers };
        thread::Builder::new().name("archive".to_owned()).spawn(move || reading.answer(&questions))?;
        Ok(Self { asked, came })
    }

    /// Asks for more.
    pub(super) fn ask_more(&self) {
        let _ = self.asked.send(Asked::More);
    }

    /// Asks for the message at a place.
    pub(super) fn ask_one(&self, place: i64) {
        let _ = self.asked.send(Asked::One(place));
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// The store is gone, or was set back; or it cannot be read, and that is not waited for.
    pub(super) async fn came(&mut self) -> Result<Came, WorkError> {
        match self.came.recv().await {
            Some(came) => came,
            // It has told why, or has nothing to answer.
            None => std::future::pending().await,
        }
    }
}

/// What the thread knows.
struct Reading {
    archive: Box<dyn Archive>,
    selection: Selection,
    after: i64,
    end: End,
    /// What was deleted before there was any work is nobody's.
    has_told_gone: bool,
    answers: UnboundedSender<Result<Came, WorkError>>,
}

impl Reading {
    fn answer(mut self, questions: &mpsc::Receiver<Asked>) {
        while let Ok(asked) = questions.recv() {
            if self.ask(asked).is_break() {
                return;
            }
        }
    }

    /// Answers one question, however often that takes.
    fn ask(&mut self, asked: Asked) -> ControlFlow<()> {
        let (mut pause, mut is_away) = (PAUSES.0, false);
        loop {
            let answer = match asked {
                Asked::More => self.more(),
                Asked::One(place) => self.one(place),
            };
            let answer = match answer {
                Err(WorkError::Archive(error)) if self.end == End::Stopped && !error.is_gone() => {
                    let is_told = std::mem::replace(&mut is_away, true);
                    if !is_told && self.answers.send(Ok(Came::Away(error.to_string()))).is_err() {
                        return ControlFlow::Break(());
                    }
                    thread::sleep(pause);
                    pause = (pause * 2).min(PAUSES.1);
                    if self.answers.is_closed() {
                        return ControlFlow::Break(());
                    }
                    continue;
                }
                answer => answer,
            };
            let has_failed = answer.is_err();
            return match self.answers.send(answer).is_err() || has_failed {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
        }
    }

    fn more(&mut self) -> Result<Came, WorkError> {
        let through = self.archive.last()?;
        let page = self.archive.next(self.after, through, &self.selection)?;
        if !self.has_told_gone && through > self.after && self.archive.span()?.gone > self.after {
            self.has_told_gone = true;
            let _ = self.answers.send(Ok(Came::Gone(self.after)));
        }
        match page.last() {
            Some(last) => self.after = last.id,
            None => {
                if through < self.after
                    && let Continuity::Broken(why) = Continuity::of(&*self.archive, self.after, None)?
                {
                    return Err(WorkError::SetBack { store: self.archive.name(), why });
                }
                // What is not meant is not looked at again.
                self.after = self.after.max(through);
                if self.end == End::Stopped {
                    self.archive.wait(LOOK)?;
                }
            }
        }
        Ok(Came::More(page))
    }

    fn one(&self, place: i64) -> Result<Came, WorkError> {
        let mut found = self.archive.next(place - 1, place, &Selection::default())?;
        Ok(Came::One(place, found.pop().map(Box::new)))
    }
}
