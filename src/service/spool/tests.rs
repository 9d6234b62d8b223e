//! What a spool promises, over all its parts: by examples; `damage.rs` changes every byte, `model.rs` has it against a model.
//!
//! Apart from the parts, whose files have tests of their own where they promise something alone.

mod damage;
mod model;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::wire::assured::checksum;

/// Settings with which a few messages make several segments.
fn small() -> SpoolConfig {
    SpoolConfig { segment_bytes: 300, ..SpoolConfig::default() }
}

fn batch<T: AsRef<[u8]>>(messages: &[T]) -> Batch {
    let mut run = Run::new(1);
    messages.iter().for_each(|message| run.push(message.as_ref()));
    Batch { bytes: run.bytes, spans: run.spans, ..Batch::default() }
}

/// A directory in memory where there is such a place: nothing here depends on what a disk does, and thousands of syncs take their time.
pub(super) fn temporary() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("make a temporary directory")
}

fn open(path: &Path) -> Spool {
    Spool::open(path, small()).expect("open the spool")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

/// All that is not final, read in small pieces.
async fn waiting(spool: &Spool) -> Result<Vec<(u64, Vec<u8>)>, SpoolError> {
    let (start, mut all) = (spool.start(), Vec::new());
    let mut next = start.first;
    while next < start.next {
        let run = spool.read(next, 3, 200).await?;
        assert!(run.first == next && !run.is_empty(), "nothing is read from {next} on");
        all.extend(run.messages().map(|(number, body)| (number, body.to_vec())));
        next = run.next();
    }
    Ok(all)
}

/// What the disk has while the spool is open: what a process leaves that is killed now.
fn crashed(path: &Path) -> TempDir {
    let copy = temporary();
    copy_directory(path, copy.path());
    copy
}

fn copy_directory(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("read a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).expect("make a directory");
            copy_directory(&entry.path(), &target);
        } else {
            // A file that the spool has just deleted is one that a crash has taken, too.
            let _ = fs::copy(entry.path(), target);
        }
    }
}

/// The files of a spool, its session's included.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).expect("read a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn last_segment(path: &Path) -> PathBuf {
    files(path).into_iter().rfind(|file| file.extension().is_some_and(|end| end == "seg")).expect("a segment")
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart_until_it_is_final() {
    let directory = temporary();
    let path = directory.path().join("spool");
    let spool = open(&path);
    let session = spool.session();
    assert_eq!(spool.start(), Start { first: 1, next: 1, checksum: None });
    let run = spool.accept(batch(&["one", "two"])).await.expect("accepted");
    assert_eq!((run.first, run.message(2)), (1, &b"two"[..]));
    assert_eq!(spool.accept(batch(&["three"])).await.expect("accepted").first, 3);
    spool.settle(1, Some(checksum(b"one")));
    spool.close().await.expect("closed");

    let spool = open(&path);
    assert_eq!(spool.session(), session);
    assert_eq!(spool.start(), Start { first: 2, next: 4, checksum: Some(checksum(b"one")) });
    assert_eq!(waiting(&spool).await.expect("read"), [(2, b"two".to_vec()), (3, b"three".to_vec())]);
    assert_eq!(spool.checksum(1).await.expect("known"), Some(checksum(b"one")));
    assert_eq!(spool.checksum(3).await.expect("known"), Some(checksum(b"three")));
    assert_eq!(spool.checksum(4).await.expect("nothing"), None);
    assert!(spool.read(1, 1, 1).await.is_err(), "it is final");
    assert!(spool.read(4, 1, 1).await.expect("nothing yet").is_empty());
    spool.settle(99, None);
    spool.close().await.expect("closed");

    let spool = open(&path);
    assert_eq!(spool.start(), Start { first: 4, next: 4, checksum: None });
    assert!(!files(&path).iter().any(|file| file.extension().is_some()), "{:?}", files(&path));
    assert_eq!(spool.accept(batch(&["four"])).await.expect("accepted").first, 4);
}

#[tokio::test]
async fn what_is_queued_together_is_numbered_in_its_order() {
    let directory = temporary();
    let spool = open(directory.path());
    let accepted: Vec<_> = (0..50).map(|index: u32| spool.accept(batch(&[index.to_string()]))).collect();
    for (index, accepted) in accepted.into_iter().enumerate() {
        let run = accepted.await.expect("accepted");
        assert_eq!((run.first, run.message(run.first)), (index as u64 + 1, index.to_string().as_bytes()));
    }
    let both = tokio::join!(spool.accept(batch(&["a"])), spool.accept(batch(&["b", "c"])));
    assert_eq!((both.0.expect("accepted").first, both.1.expect("accepted").first), (51, 52));
    assert_eq!(waiting(&spool).await.expect("read").len(), 53);
}

#[tokio::test]
async fn segments_are_deleted_as_they_become_final() {
    let directory = temporary();
    let spool = open(directory.path());
    for _ in 0..40 {
        spool.accept(batch(&[[b'x'; 100]])).await.expect("accepted");
    }
    assert!(segments(directory.path()) >= 10);
    spool.settle(30, None);
    // What is accepted after it is done after it.
    spool.accept(batch(&["last"])).await.expect("accepted");
    assert!(segments(directory.path()) <= 6, "{:?}", files(directory.path()));
    assert_eq!(waiting(&spool).await.expect("read").len(), 11);
}

fn segments(path: &Path) -> usize {
    files(path).iter().filter(|file| file.extension().is_some_and(|end| end == "seg")).count()
}

#[tokio::test]
async fn a_full_spool_says_so_and_has_room_again() {
    let directory = temporary();
    let spool = Spool::open(directory.path(), SpoolConfig { max_bytes: Some(4000), ..SpoolConfig::default() });
    let spool = spool.expect("open the spool");
    let mut accepted = 0;
    let rejected = loop {
        match spool.accept(batch(&[[b'x'; 100]])).await {
            Ok(run) => accepted = run.last(),
            Err(rejected) => break rejected,
        }
    };
    assert!(matches!(rejected.error, SpoolError::Full { max: 4000 }) && rejected.batch.bytes == [b'x'; 100]);
    assert!(accepted > 20 && Inspection::of(directory.path()).expect("a look").bytes <= 4000);
    spool.settle(accepted / 2, None);
    assert_eq!(spool.accept(*rejected.batch).await.expect("accepted").first, accepted + 1);
    spool.settle(accepted + 1, None);
    assert!(spool.accept(batch(&[[b'x'; 3900]])).await.is_ok(), "all that was there is final");
    assert!(matches!(spool.accept(batch(&[[b'x'; 4000]])).await, Err(Rejected { error: SpoolError::Full { .. }, .. })));
}

#[tokio::test]
async fn a_message_that_is_too_long_is_not_accepted() {
    let directory = temporary();
    let spool = open(directory.path());
    let rejected = spool.accept(Batch::of(vec![0; MAX_BODY + 1])).await.expect_err("too long");
    assert!(matches!(rejected.error, SpoolError::TooLarge { length } if length == MAX_BODY + 1));
    assert_eq!(spool.accept(batch(&[""])).await.expect("accepted").first, 1);
}

#[test]
fn a_spool_is_used_by_one_at_a_time() {
    let directory = temporary();
    let spool = open(directory.path());
    let error = Spool::open(directory.path(), small()).expect_err("in use");
    let pid = std::process::id();
    assert!(error.to_string().ends_with(&format!("is in use by process {pid}")), "{error}");
    assert_eq!(Inspection::of(directory.path()).expect("a look").user, Some(pid));
    drop(spool);
    assert_eq!(Inspection::of(directory.path()).expect("a look").user, None);
    drop(open(directory.path()));
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let table: [(&str, &str, &str); 4] = [
        ("letter.txt", "Dear", "is no spool: it holds `letter.txt`"),
        ("session", "something else\n", "is no spool: its file `session`"),
        ("session", "wilco-spool 2\nfuture\n", "has format 2"),
        ("session", "wilco-spool 1\nsession 0123456789abcdef\ncrc 00000000\n", "damaged"),
    ];
    for (name, content, said) in table {
        let directory = temporary();
        fs::write(directory.path().join(name), content).expect("written");
        let error = Spool::open(directory.path(), small()).expect_err("not a spool").to_string();
        assert!(error.contains(said), "{error}");
        let left: Vec<_> = files(directory.path());
        assert!(left.len() <= 2 && fs::read(directory.path().join(name)).expect("read") == content.as_bytes());
    }
    let directory = temporary();
    let error = Spool::open(directory.path().join("a/b"), small()).expect_err("no parent").to_string();
    assert!(error.starts_with("make the directory") && error.contains("no such file"), "{error}");
    fs::write(directory.path().join("file"), "").expect("written");
    assert!(matches!(Spool::open(directory.path().join("file"), small()), Err(SpoolError::Foreign { .. })));
}

#[test]
fn what_links_lead_to_is_not_touched() {
    let directory = temporary();
    let precious = directory.path().join("precious");
    for name in ["lock", "session.new"] {
        let spool = directory.path().join(name).with_extension("box");
        fs::create_dir(&spool).expect("a directory");
        fs::write(&precious, "precious").expect("a file");
        std::os::unix::fs::symlink(&precious, spool.join(name)).expect("a link");
        assert!(Spool::open(&spool, small()).is_err(), "{name}");
        assert_eq!(fs::read_to_string(&precious).expect("the file"), "precious", "{name}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_there_once() {
    let directory = temporary();
    let spool = open(directory.path());
    spool.accept(batch(&[&b"good"[..], b"caf\xc3\xa9\n", b"\xff\0"])).await.expect("accepted");
    let letters = || -> Vec<Letter> {
        let letters = Inspection::of(directory.path()).expect("a look").dead_letters().expect("letters");
        letters.collect::<Result<_, _>>().expect("letters")
    };
    spool.dead_letter(2, Code::REJECTED, "no \u{202e}good", None).await.expect("kept");
    spool.dead_letter(3, Code::TOO_LARGE, "too large", None).await.expect("kept");
    spool.dead_letter(2, Code::REJECTED, "again", None).await.expect("kept");
    let copy = crashed(directory.path());
    let found = letters();
    assert_eq!(found.iter().map(|letter| (letter.number, letter.code)).collect::<Vec<_>>(), [(2, 422), (3, 413)]);
    assert_eq!((found[0].body(), found[1].body()), (b"caf\xc3\xa9\n".to_vec(), b"\xff\0".to_vec()));
    let file = directory.path().join(letters::NAME);
    assert!(fs::read_to_string(&file).expect("text").contains("no \\u202egood"));
    drop(spool);

    // After a crash in the middle of the second it is told again, and is there once and whole.
    let file = copy.path().join(letters::NAME);
    let whole = fs::read(&file).expect("read");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    for length in first..=whole.len() {
        fs::write(&file, &whole[..length]).expect("written");
        let spool = open(copy.path());
        for number in [2, 3] {
            spool.dead_letter(number, Code::REJECTED, "again", None).await.expect("kept");
        }
        drop(spool);
        let letters = DeadLetters::of(copy.path()).expect("letters").collect::<Result<Vec<_>, _>>().expect("letters");
        assert_eq!(letters.iter().map(|letter| letter.number).collect::<Vec<_>>(), [2, 3], "{length}");
    }
}

#[tokio::test]
async fn a_new_session_has_what_was_left_of_the_old_one() {
    let directory = temporary();
    let spool = open(directory.path());
    let old = spool.session();
    spool.accept(batch(&["one", "two", "three"])).await.expect("accepted");
    spool.settle(1, None);
    let new = spool.renew(Unsettled::Resend).await.expect("renewed");
    assert!(new != old && spool.session() == new);
    assert_eq!(waiting(&spool).await.expect("read"), [(1, b"two".to_vec()), (2, b"three".to_vec())]);
    let run = spool.read(1, 9, 999).await.expect("read");
    assert_eq!(run.origins, [(1, old.clone(), 2), (2, old.clone(), 3)]);
    assert_eq!(spool.accept(batch(&["four"])).await.expect("accepted").first, 3);
    // An origin stays the first one.
    spool.settle(1, None);
    spool.renew(Unsettled::Resend).await.expect("renewed");
    let run = spool.read(1, 9, 999).await.expect("read");
    assert_eq!(run.origins, [(1, old, 3), (2, new, 3)]);

    spool.renew(Unsettled::Skip(Code::UNKNOWN_SESSION, "lost".to_owned())).await.expect("renewed");
    assert_eq!(spool.start(), Start { first: 1, next: 1, checksum: None });
    let letters = Inspection::of(directory.path()).expect("a look").dead_letters().expect("letters");
    let texts: Vec<_> = letters.map(|letter| letter.expect("a letter").text.expect("text")).collect();
    assert_eq!(texts, ["three", "four"]);
    assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 4, "{:?}", files(directory.path()));
}

#[tokio::test]
async fn a_crash_while_a_session_begins_leaves_the_old_or_the_new() {
    let directory = temporary();
    let spool = open(directory.path());
    spool.accept(batch(&["one", "two"])).await.expect("accepted");
    let old = crashed(directory.path());
    spool.renew(Unsettled::Resend).await.expect("renewed");
    let (old_session, new_session) = (session_of(old.path()), spool.session());
    let state = |session: &SessionId, leftover: &SessionId| {
        let text = format!("wilco-spool 1\nsession {session}\nleftover {leftover}\n");
        format!("{text}crc {:08x}\n", crc32c::crc32c(text.as_bytes()))
    };
    // Both directories are there, the new one perhaps in part; `session` says which counts.
    for (session, leftover) in [(&old_session, &new_session), (&new_session, &old_session)] {
        let both = crashed(directory.path());
        copy_directory(old.path(), both.path());
        fs::write(both.path().join("session"), state(session, leftover)).expect("written");
        let leftover = both.path().join(leftover.as_str());
        fs::remove_file(files(&leftover)[0].clone()).expect("removed");
        let spool = open(both.path());
        assert_eq!(spool.session(), *session);
        assert_eq!(waiting(&spool).await.expect("read").len(), 2);
        assert!(!leftover.exists());
    }
    // A session that could not be filled leaves the old one.
    drop(spool);
    let mut locked = Directory::lock(old.path()).expect("locked");
    let failed = locked.begin(new_session, |_| Err(SpoolError::Failed("for the test".to_owned())));
    assert!(failed.is_err());
    drop(locked);
    assert_eq!(waiting(&open(old.path())).await.expect("read").len(), 2);
}

fn session_of(path: &Path) -> SessionId {
    Inspection::of(path).expect("a look").session.expect("a session")
}

#[tokio::test]
async fn a_session_from_its_first_message_to_its_end() {
    let directory = temporary();
    let outbox = open(directory.path());
    assert_eq!(outbox.start(), Start { first: 1, next: 1, checksum: None });
    assert_eq!(outbox.accept(batch(&["one", "two"])).await.expect("accepted").first, 1);
    assert_eq!(outbox.accept(batch(&["three"])).await.expect("accepted").next(), 4);
    let run = outbox.read(2, 9, 999).await.expect("read");
    assert_eq!((run.first, run.message(2), run.message(3)), (2, &b"two"[..], &b"three"[..]));
    assert_eq!(outbox.read(1, 2, 999).await.expect("read").len(), 2);
    assert_eq!(outbox.read(1, 9, 0).await.expect("read").len(), 1);
    assert!(outbox.read(4, 9, 999).await.expect("read").is_empty());
    assert_eq!(outbox.checksum(2).await.expect("known"), Some(checksum(b"two")));
    outbox.settle(2, Some(checksum(b"two")));
    outbox.settle(1, None);
    assert_eq!(outbox.start(), Start { first: 3, next: 4, checksum: Some(checksum(b"two")) });
    assert_eq!(outbox.checksum(1).await.expect("unknown"), None);
    let session = outbox.session();
    assert_ne!(outbox.renew(Unsettled::Resend).await.expect("renewed"), session);
    assert_eq!(outbox.start(), Start { first: 1, next: 2, checksum: None });
    assert_eq!(outbox.read(1, 9, 999).await.expect("read").message(1), b"three");
    outbox.dead_letter(1, Code::REJECTED, "no", None).await.expect("kept");
    outbox.renew(Unsettled::Skip(Code::UNKNOWN_SESSION, "lost".to_owned())).await.expect("renewed");
    assert_eq!(outbox.start(), Start { first: 1, next: 1, checksum: None });
    assert_eq!(outbox.accept(batch(&["one"])).await.expect("accepted").first, 1);
    outbox.close().await.expect("closed");
}
