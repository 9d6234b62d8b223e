//! Whole transfers, from files to a receiver that is written here, without connections.
//!
//! Apart from the modules, each of which tests its own: here are the threads and the session together, and ends at every message.

use std::collections::HashMap;
use std::fs;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::wire::assured::Code;
use crate::wire::{Digest, FileAnswer, FileName, FileWord};

type Outcomes = HashMap<String, Outcome>;

/// What a receiver has and does, as `docs/protocol.md` has it.
#[derive(Default)]
struct Receiver {
    parts: HashMap<FileName, Vec<u8>>,
    saved: HashMap<FileName, Vec<u8>>,
    directories: Vec<(FileName, bool)>,
    /// What is under way, how long it is to be, and whether something has gone wrong with it.
    present: Option<(FileName, u64)>,
    /// How many bytes came.
    received: usize,
    holes: usize,
}

/// A reply, or why it is refused.
type Said = Result<Option<FileAnswer>, &'static str>;

impl Receiver {
    fn hear(&mut self, body: &[u8]) -> Said {
        let said = self.obey(&FileWord::decode(body)?);
        if said.is_err() {
            self.present = None;
        }
        said
    }

    fn obey(&mut self, word: &FileWord<'_>) -> Said {
        if let FileWord::Directory { name, attributes } = word {
            self.directories.push((name.clone(), attributes.mode.is_some()));
            return Ok(None);
        }
        if let FileWord::Put { size, name, .. } = word {
            if name.as_bytes() == b"forbidden" {
                return Err("not allowed");
            }
            let there = self.saved.get(name).or_else(|| self.parts.get(name)).map_or(0, Vec::len);
            self.present = Some((name.clone(), *size));
            return Ok(Some(FileAnswer::At(there as u64)));
        }
        let (name, size) = self.present.clone().ok_or("no file is under way")?;
        let saved = self.saved.get(&name);
        let part = self.parts.entry(name.clone()).or_default();
        match word {
            FileWord::Hash(offset) => {
                let bytes = saved.unwrap_or(part).get(..*offset as usize).ok_or("it is beyond what is there")?;
                return Ok(Some(FileAnswer::Hash(*offset, digest(bytes))));
            }
            FileWord::From(offset) => match saved {
                Some(saved) if saved.len() as u64 != *offset || size != *offset => return Err("it exists already"),
                Some(_) => {}
                None => part.truncate(*offset as usize),
            },
            FileWord::Data(bytes) => {
                self.received += bytes.len();
                part.extend_from_slice(bytes);
            }
            FileWord::Hole(length) => {
                self.holes += 1;
                part.resize(part.len() + *length as usize, 0);
            }
            FileWord::End(theirs) => {
                let ours = digest(saved.unwrap_or(part));
                if ours != *theirs {
                    return Err("the digest is another");
                }
                let whole = self.parts.remove(&name).unwrap_or_default();
                self.saved.entry(name).or_insert(whole);
                self.present = None;
                return Ok(Some(FileAnswer::Saved(size, ours)));
            }
            FileWord::Put { .. } | FileWord::Directory { .. } => {}
        }
        Ok(None)
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Sends what is waiting to the receiver until it ends after so many messages, or is through.
async fn send(files: &Arc<Files>, receiver: &mut Receiver, waiting: Vec<usize>, most: u64) -> (Vec<usize>, Outcomes) {
    let mut session = Session::new(waiting);
    session.start(files, 1000, Keeps::ModeAndTime);
    let (mut number, mut outcomes) = (0, Outcomes::new());
    receiver.present = None;
    'sending: while let Some(batch) = poll_fn(|cx| session.poll_next(cx)).await {
        for message in batch.iter() {
            if number == most {
                break 'sending;
            }
            number += 1;
            match receiver.hear(message) {
                Ok(Some(answer)) => session.transfers.replied(number, answer.to_string().as_bytes()),
                Ok(None) => {}
                Err(reason) => session.transfers.refused(number, Code::REJECTED, reason.to_owned()),
            }
            session.transfers.acknowledged(number);
        }
        session.pass_orders();
    }
    while let Some(outcome) = session.transfers.outcome() {
        let (Outcome::Resumed { item, .. }
        | Outcome::Saved { item, .. }
        | Outcome::Made { item }
        | Outcome::Failed { item, .. }) = &outcome;
        outcomes.insert(String::from_utf8_lossy(files.items[*item].name.as_bytes()).into_owned(), outcome);
    }
    (session.transfers.waiting().collect(), outcomes)
}

async fn send_all(files: &Arc<Files>, receiver: &mut Receiver) -> Outcomes {
    let (waiting, outcomes) = send(files, receiver, (0..files.items.len()).collect(), u64::MAX).await;
    assert_eq!(waiting, [] as [usize; 0]);
    outcomes
}

fn large(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| ((at * at) >> 7) as u8).collect()
}

/// A directory with some of everything.
fn tree(directory: &Path) -> Arc<Files> {
    let sent = directory.join("d");
    fs::create_dir_all(sent.join("sub")).expect("directories");
    for (name, bytes) in [("a", large(10)), ("empty", vec![]), ("large", large(70_000)), ("sub/b", large(7000))] {
        fs::write(sent.join(name), bytes).expect("a file");
    }
    let sparse = fs::File::create(sent.join("sparse")).expect("a file");
    sparse.set_len(600_000).expect("a length");
    sparse.write_all_at(b"here", 300_000).expect("some bytes");
    Arc::new(Files::find(&[sent], None).expect("files"))
}

fn assert_saved(files: &Files, receiver: &Receiver) {
    for item in files.items.iter().filter(|item| item.size.is_some()) {
        let ours = fs::read(&item.path).expect("a file");
        assert!(receiver.saved.get(&item.name) == Some(&ours), "{item:?}");
    }
}

#[tokio::test]
async fn everything_arrives_and_what_is_there_is_not_sent_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = tree(directory.path());
    let mut receiver = Receiver::default();
    let outcomes = send_all(&files, &mut receiver).await;
    assert_eq!(outcomes.len(), files.items.len());
    assert!(
        outcomes.values().all(|of| matches!(of, Outcome::Saved { from: 0, .. } | Outcome::Made { .. })),
        "{outcomes:?}"
    );
    assert_saved(&files, &receiver);
    assert!(receiver.holes >= 2 && receiver.received < 200_000, "{} {}", receiver.holes, receiver.received);
    // Of directories the attributes are said at the end, of inner ones first.
    let said: Vec<_> =
        receiver.directories.iter().map(|(name, last)| (String::from_utf8_lossy(name.as_bytes()), *last)).collect();
    assert_eq!(
        said,
        [("d", false), ("d/sub", false), ("d/sub", true), ("d", true)].map(|(name, last)| (name.into(), last))
    );
    let before = receiver.received;
    let outcomes = send_all(&files, &mut receiver).await;
    for (name, of) in &outcomes {
        let is_whole = |size, from| size == from;
        assert!(
            matches!(of, Outcome::Made { .. })
                || matches!(of, Outcome::Saved { size, from, .. } if is_whole(size, from)),
            "{name}: {of:?}"
        );
    }
    // Small ones are sent before it is known.
    assert!(receiver.received - before < 8000, "{}", receiver.received - before);
}

#[tokio::test]
async fn an_end_after_any_message_costs_no_byte_twice_of_what_the_receiver_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = tree(directory.path());
    for most in (0..100).chain([150]) {
        let mut receiver = Receiver::default();
        let all = (0..files.items.len()).collect();
        let (waiting, _) = send(&files, &mut receiver, all, most).await;
        let (waiting, outcomes) = send(&files, &mut receiver, waiting, u64::MAX).await;
        assert_eq!(waiting, [] as [usize; 0], "{most}");
        assert!(!outcomes.values().any(|of| matches!(of, Outcome::Failed { .. })), "{most}: {outcomes:?}");
        assert_saved(&files, &receiver);
        // A small one at the most.
        assert!(receiver.received < 160_000, "{most}: {}", receiver.received);
    }
}

#[tokio::test]
async fn what_differs_is_sent_anew_or_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    for name in ["large", "small", "gone", "forbidden", "last"] {
        let length = if name == "small" { 10 } else { 70_000 };
        fs::write(path(name), large(length)).expect("a file");
    }
    let paths = ["forbidden", "gone", "large", "small", "last"].map(path);
    let files = Arc::new(Files::find(&paths, None).expect("files"));
    fs::remove_file(path("gone")).expect("it is there");
    let name = |name: &str| FileName::new(name).expect("a name");
    let mut receiver = Receiver::default();
    receiver.parts.insert(name("large"), vec![7; 5000]);
    receiver.saved.insert(name("small"), vec![7; 10]);
    let outcomes = send_all(&files, &mut receiver).await;
    assert!(matches!(outcomes["large"], Outcome::Saved { from: 0, .. }), "{outcomes:?}");
    assert!(matches!(outcomes["last"], Outcome::Saved { from: 0, .. }), "{outcomes:?}");
    let refused = |reason: &str| FileFailure::Refused { code: Code::REJECTED, reason: reason.to_owned() };
    let Outcome::Failed { failure, .. } = &outcomes["small"] else { panic!("{outcomes:?}") };
    assert_eq!(failure, &refused("it exists already"));
    let Outcome::Failed { failure, .. } = &outcomes["forbidden"] else { panic!("{outcomes:?}") };
    assert_eq!(failure, &refused("not allowed"));
    let Outcome::Failed { failure: FileFailure::Local(reason), .. } = &outcomes["gone"] else { panic!("{outcomes:?}") };
    assert_eq!(reason, "no such file or directory");
    assert_eq!(receiver.saved[&name("large")], large(70_000));
}

#[tokio::test]
async fn what_changes_meanwhile_is_not_saved_and_the_others_are() {
    let directory = tempfile::tempdir().expect("a directory");
    let (changing, other) = (directory.path().join("changing"), directory.path().join("other"));
    // More than waits between the threads.
    fs::write(&changing, large(400_000)).expect("a file");
    fs::write(&other, large(100)).expect("a file");
    for change in ["grows", "shrinks"] {
        let files = Arc::new(Files::find(&[changing.clone(), other.clone()], None).expect("files"));
        let mut session = Session::new(0..2);
        session.start(&files, 1000, Keeps::Nothing);
        let (mut receiver, mut number) = (Receiver::default(), 0);
        while let Some(batch) = poll_fn(|cx| session.poll_next(cx)).await {
            for message in batch.iter() {
                number += 1;
                if number == 10 {
                    let length = if change == "grows" { 500_000 } else { 100 };
                    let file = fs::OpenOptions::new().write(true).open(&changing).expect("the file");
                    file.set_len(length).expect("another length");
                }
                if let Some(answer) = receiver.hear(message).expect("it obeys") {
                    session.transfers.replied(number, answer.to_string().as_bytes());
                }
                session.transfers.acknowledged(number);
            }
            session.pass_orders();
        }
        let failure = FileFailure::Local("it changed while it was sent".to_owned());
        assert_eq!(session.transfers.outcome(), Some(Outcome::Failed { item: 0, failure }), "{change}");
        assert!(matches!(session.transfers.outcome(), Some(Outcome::Saved { item: 1, .. })), "{change}");
        assert_eq!(receiver.saved.len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_says_something_else_has_saved_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    for (length, reply, words) in [
        (10, "", "did not say"),
        (10, "saved 10 0000000000000000000000000000000000000000000000000000000000000000", "another digest"),
        (10, "I got your message", "no answer"),
        (70_000, "I got your message", "no answer"),
        (70_000, "saved 70000 0000000000000000000000000000000000000000000000000000000000000000", ""),
    ] {
        fs::write(&path, large(length)).expect("a file");
        let files = Arc::new(Files::find(std::slice::from_ref(&path), None).expect("files"));
        let mut session = Session::new(0..1);
        session.start(&files, 1000, Keeps::Nothing);
        let mut number = 0;
        let mut outcome = None;
        while outcome.is_none() {
            let next = tokio::time::timeout(Duration::from_millis(300), poll_fn(|cx| session.poll_next(cx))).await;
            let Ok(Some(batch)) = next else { break };
            for _ in batch.iter() {
                number += 1;
                if !reply.is_empty() {
                    session.transfers.replied(number, reply.as_bytes());
                }
                session.transfers.acknowledged(number);
            }
            session.pass_orders();
            outcome = session.transfers.outcome();
        }
        match outcome {
            Some(Outcome::Failed { failure: FileFailure::Refused { reason, .. }, .. }) => {
                assert!(!words.is_empty() && reason.contains(words), "{reply}: {reason}");
            }
            // It waits for what was asked, for as long as the delivery has patience.
            other => assert!(words.is_empty() && other.is_none(), "{reply}: {other:?}"),
        }
    }
}
