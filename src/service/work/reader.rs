//! `Reader`: what is read of a store for work, on a thread of its own: whoever reads a store may block.
//!
//! Apart from the archive, which knows nothing of what was read before.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::service::store::{Archive, ArchiveError, Selection, Stored};

/// How long it is waited at once for something to be stored: so late a message that was put off is read again.
const LOOK: Duration = Duration::from_millis(100);

/// Reads a store.
#[derive(Debug)]
pub(super) struct Reader {
    asked: mpsc::Sender<Asked>,
    came: UnboundedReceiver<Result<Came, ArchiveError>>,
}

/// What has come of a question; there is one answer to each.
#[derive(Debug)]
pub(super) enum Came {
    /// The next messages; none if there were none for some time.
    More(Vec<Stored>),
    /// The message at a place, if it is there.
    One(i64, Option<Box<Stored>>),
}

#[derive(Debug)]
enum Asked {
    More(Duration),
    One(i64),
}

impl Reader {
    /// Reads what is meant, from behind a place on.
    pub(super) fn new(archive: Box<dyn Archive>, selection: Selection, after: i64) -> std::io::Result<Self> {
        let (asked, questions) = mpsc::channel();
        let (answers, came) = unbounded_channel();
        thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || read(&*archive, &selection, after, &questions, &answers))?;
        Ok(Self { asked, came })
    }

    /// Asks for more, and has it waited for, if that is wanted.
    pub(super) fn ask_more(&self, waits: bool) {
        let _ = self.asked.send(Asked::More(if waits { LOOK } else { Duration::ZERO }));
    }

    /// Asks for the message at a place.
    pub(super) fn ask_one(&self, place: i64) {
        let _ = self.asked.send(Asked::One(place));
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn came(&mut self) -> Result<Came, ArchiveError> {
        match self.came.recv().await {
            Some(came) => came,
            // It has told why, or has nothing to answer.
            None => std::future::pending().await,
        }
    }
}

fn read(
    archive: &dyn Archive,
    selection: &Selection,
    mut after: i64,
    questions: &mpsc::Receiver<Asked>,
    answers: &UnboundedSender<Result<Came, ArchiveError>>,
) {
    let mut more = |wait: Duration| {
        let through = archive.last()?;
        let page = archive.next(after, through, selection)?;
        match page.last() {
            Some(last) => after = last.id,
            None => {
                // What is not meant is not looked at again.
                after = after.max(through);
                if !wait.is_zero() {
                    archive.wait(wait)?;
                }
            }
        }
        Ok(Came::More(page))
    };
    let one = |place: i64| {
        let mut found = archive.next(place - 1, place, &Selection::default())?;
        Ok(Came::One(place, found.pop().map(Box::new)))
    };
    while let Ok(asked) = questions.recv() {
        let answer = match asked {
            Asked::More(wait) => more(wait),
            Asked::One(place) => one(place),
        };
        let has_failed = answer.is_err();
        if answers.send(answer).is_err() || has_failed {
            return;
        }
    }
}
