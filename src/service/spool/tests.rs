//! What a spool promises, over all its parts: by tables, by damage done to every byte, and against a model.
//!
//! Apart from the parts, whose files have tests of their own where they promise something alone.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::record::HEAD;
use super::*;
use crate::wire::assured::checksum;

/// Settings with which a few messages make several segments.
fn small() -> SpoolConfig {
    SpoolConfig { segment_bytes: 300, ..SpoolConfig::default() }
}

fn batch<T: AsRef<[u8]>>(messages: &[T]) -> Batch {
    let mut run = Run::new(1);
    messages.iter().for_each(|message| run.push(message.as_ref()));
    Batch { bytes: run.bytes, spans: run.spans }
}

fn temporary() -> TempDir {
    tempfile::tempdir().expect("make a temporary directory")
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
    assert_eq!(spool.accept(rejected.batch).await.expect("accepted").first, accepted + 1);
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
    assert!(error.starts_with("make the directory"), "{error}");
    fs::write(directory.path().join("file"), "").expect("written");
    assert!(matches!(Spool::open(directory.path().join("file"), small()), Err(SpoolError::Foreign { .. })));
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_was_torn() {
    let directory = temporary();
    let spool = Spool::open(directory.path(), SpoolConfig::default()).expect("open the spool");
    let runtime = runtime();
    let messages = ["first", "", "third, which is longer", "4"];
    runtime.block_on(spool.accept(batch(&messages[..2]))).expect("accepted");
    runtime.block_on(spool.accept(batch(&messages[2..]))).expect("accepted");
    let copy = crashed(directory.path());
    let segment = last_segment(copy.path());
    let whole = fs::read(&segment).expect("read");
    let mut counts = Vec::new();
    for length in HEAD..whole.len() {
        for rest in [&b""[..], b"\0", &[0; 700], b"garbage"] {
            let torn = [&whole[..length], rest].concat();
            fs::write(&segment, &torn).expect("written");
            let spool = open(copy.path());
            let start = spool.start();
            let found = runtime.block_on(waiting(&spool)).expect("read");
            let expected = (1..).zip(messages).map(|(number, message)| (number, message.as_bytes().to_vec()));
            let expected: Vec<_> = expected.take(start.next as usize - 1).collect();
            assert_eq!(found, expected, "{length}");
            counts.push(found.len());
            let run = runtime.block_on(spool.accept(batch(&["new"]))).expect("accepted");
            assert_eq!(run.first, start.next);
            drop(spool);
            fs::write(&segment, &whole).expect("written");
            // The spool was closed in order: let it have been killed.
            copy_directory(crashed(directory.path()).path(), copy.path());
        }
    }
    counts.sort_unstable();
    counts.dedup();
    assert_eq!(counts, [0, 1, 2, 3]);
}

#[test]
fn what_was_accepted_is_missed() {
    let directory = temporary();
    let runtime = runtime();
    let spool = open(directory.path());
    runtime.block_on(spool.accept(batch(&["first", "second"]))).expect("accepted");
    drop(spool);
    let segment = last_segment(directory.path());
    let whole = fs::read(&segment).expect("read");
    for length in 0..whole.len() {
        fs::write(&segment, &whole[..length]).expect("written");
        let error = Spool::open(directory.path(), small()).expect_err("damaged");
        assert!(matches!(error, SpoolError::Damaged(_)) && error.hint().is_some(), "{length}: {error}");
    }
    fs::remove_file(&segment).expect("removed");
    assert!(matches!(Spool::open(directory.path(), small()), Err(SpoolError::Damaged(_))));
}

#[test]
fn a_bit_that_is_flipped_anywhere_is_noticed() {
    let runtime = runtime();
    let directory = temporary();
    let spool = open(directory.path());
    let messages: Vec<String> = (0..9).map(|index| format!("message {index} {}", "x".repeat(60))).collect();
    for group in messages.chunks(2) {
        runtime.block_on(spool.accept(batch(group))).expect("accepted");
    }
    spool.settle(3, Some(7));
    runtime.block_on(spool.accept(batch(&["last"]))).expect("accepted");
    let killed = crashed(directory.path());
    drop(spool);
    for (path, is_killed) in [(killed.path(), true), (directory.path(), false)] {
        let whole: Vec<_> = files(path).into_iter().map(|file| (file.clone(), fs::read(file).expect("read"))).collect();
        for (file, bytes) in &whole {
            for bit in (0..bytes.len() * 8).step_by(if is_killed { 1 } else { 3 }) {
                if file.ends_with("lock") {
                    continue;
                }
                let mut wrong = bytes.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                fs::write(file, &wrong).expect("written");
                if let Ok(spool) = Spool::open(path, small())
                    && let Ok(found) = runtime.block_on(waiting(&spool))
                {
                    // What is read is right; what may be missing is the end of what nothing but itself tells of.
                    let (first, next) = (spool.start().first, spool.start().next);
                    assert!(first <= 4 && (next == 11 || is_killed && next == 10), "{file:?} {bit}: {first} {next}");
                    for (number, body) in found {
                        let expected = messages.get(number as usize - 1).map_or("last", String::as_str);
                        assert_eq!(body, expected.as_bytes(), "{file:?} {bit}");
                    }
                }
                for file in files(path) {
                    fs::remove_file(file).expect("removed");
                }
                whole.iter().for_each(|(file, bytes)| fs::write(file, bytes).expect("written"));
            }
        }
    }
}

#[test]
fn a_hole_in_the_last_write_is_torn_and_in_another_is_damage() {
    let runtime = runtime();
    let directory = temporary();
    let spool = Spool::open(directory.path(), SpoolConfig::default()).expect("open the spool");
    let messages: Vec<Vec<u8>> = (0..40).map(|index| vec![b'a' + index; 100]).collect();
    runtime.block_on(spool.accept(batch(&messages[..20]))).expect("accepted");
    runtime.block_on(spool.accept(batch(&messages[20..]))).expect("accepted");
    let holed = |offset: usize, length: usize| {
        let copy = crashed(directory.path());
        let segment = last_segment(copy.path());
        let mut bytes = fs::read(&segment).expect("read");
        bytes[offset..offset + length].fill(0);
        fs::write(&segment, bytes).expect("written");
        Spool::open(copy.path(), small()).map(|spool| spool.start().next)
    };
    assert_eq!(holed(3072, 512).expect("opened"), 24);
    // Of a write before the last, and what no file system leaves.
    assert!(matches!(holed(1024, 512), Err(SpoolError::Damaged(_))));
    assert!(matches!(holed(3072, 400), Err(SpoolError::Damaged(_))));
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
async fn a_repair_keeps_what_can_be_read() {
    let directory = temporary();
    let spool = open(directory.path());
    let session = spool.session();
    for index in 1..=9 {
        spool.accept(batch(&[format!("message {index} {}", "x".repeat(90))])).await.expect("accepted");
    }
    spool.settle(2, None);
    drop(spool);
    assert_eq!(repair(directory.path()).expect("nothing to do"), Repair::default());

    // Message 5 is in the middle of the second segment, and 9 the last of all.
    let damaged = |number: u64, message: &str| {
        for file in files(directory.path()) {
            let mut bytes = fs::read(&file).expect("read");
            if let Some(at) = bytes.windows(message.len()).position(|window| window == message.as_bytes()) {
                bytes[at] ^= 1;
                fs::write(&file, bytes).expect("written");
                return;
            }
        }
        panic!("message {number} is nowhere");
    };
    damaged(5, "message 5");
    damaged(9, "message 9");
    assert!(matches!(Spool::open(directory.path(), small()), Err(SpoolError::Damaged(_))));
    let repaired = repair(directory.path()).expect("repaired");
    assert_eq!((repaired.kept, repaired.lost), (5, vec![5..=5, 9..=9]));
    let pieces: Vec<String> = repaired
        .files
        .iter()
        .map(|file| String::from_utf8_lossy(&fs::read(file).expect("read")).into_owned())
        .collect();
    assert!(pieces.len() == 2 && pieces[0].contains("essage 5") && pieces[1].contains("essage 9"));

    let spool = open(directory.path());
    assert!(Some(spool.session()) == repaired.session && spool.session() != session);
    let run = spool.read(1, 99, 9999).await.expect("read");
    assert_eq!(run.origins.iter().map(|(_, _, there)| *there).collect::<Vec<_>>(), [3, 4, 6, 7, 8]);
    assert!(run.message(3).starts_with(b"message 6") && run.len() == 5);
}

#[tokio::test]
async fn with_a_disk_and_without_one_an_outbox_is_the_same() {
    let directory = temporary();
    for outbox in [Outbox::Spool(open(directory.path())), Outbox::Memory(Memory::new(MEMORY_BYTES).expect("memory"))] {
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
    let memory = Memory::new(100).expect("memory");
    assert!(memory.accept(batch(&[[0; 60]])).is_ok());
    assert!(matches!(memory.accept(batch(&[[0; 60]])), Err(Rejected { error: SpoolError::Full { max: 100 }, .. })));
    memory.settle(1, None);
    assert!(memory.accept(batch(&[[0; 60]])).is_ok());
}

/// What happens to a spool.
#[derive(Clone, Debug)]
enum Event {
    Accept(Vec<u16>),
    Settle(u8),
    Refuse(u8),
    Reopen,
    /// The process is killed, with so many bytes of the next write on disk.
    Kill(Vec<u8>),
    Renew,
    Read(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => prop::collection::vec(0_u16..200, 1..6).prop_map(Event::Accept),
        3 => any::<u8>().prop_map(Event::Settle),
        1 => any::<u8>().prop_map(Event::Refuse),
        1 => Just(Event::Reopen),
        2 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Event::Kill),
        1 => Just(Event::Renew),
        2 => any::<u8>().prop_map(Event::Read),
    ];
    prop::collection::vec(event, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_accepted_and_is_not_final_is_there_in_order_and_once(events in events()) {
        runtime().block_on(against_a_model(events));
    }
}

async fn against_a_model(events: Vec<Event>) {
    let mut directory = temporary();
    let mut spool = open(directory.path());
    let mut session = spool.session();
    // All messages of the session, the last number that is final, how many were ever accepted.
    let (mut messages, mut settled, mut count) = (Vec::<Vec<u8>>::new(), 0, 0_u32);
    for event in events {
        match event {
            Event::Accept(sizes) => {
                let new: Vec<Vec<u8>> = sizes
                    .iter()
                    .map(|size| {
                        count += 1;
                        let mut body = count.to_string().into_bytes();
                        body.resize(body.len().max(usize::from(*size)), b'.');
                        body
                    })
                    .collect();
                let run = spool.accept(batch(&new)).await.expect("accepted");
                assert_eq!((run.first, run.len()), (messages.len() as u64 + 1, new.len()));
                messages.extend(new);
            }
            Event::Settle(part) => {
                let waiting = messages.len() as u64 - settled;
                settled += waiting * u64::from(part) / 255;
                let checksum = messages.get((settled as usize).wrapping_sub(1)).map(|message| checksum(message));
                spool.settle(settled, checksum);
            }
            Event::Refuse(part) => {
                let number = settled + 1 + u64::from(part) % 4;
                if number <= messages.len() as u64 {
                    spool.dead_letter(number, Code::REJECTED, "no", None).await.expect("kept");
                }
            }
            Event::Reopen => {
                spool.close().await.expect("closed");
                spool = open(directory.path());
                assert_eq!(spool.start().first, settled + 1);
            }
            Event::Kill(partial) => {
                let copy = crashed(directory.path());
                if segments(copy.path()) > 0 {
                    let segment = last_segment(copy.path());
                    let bytes = [fs::read(&segment).expect("read"), partial].concat();
                    fs::write(&segment, bytes).expect("written");
                }
                drop(spool);
                (directory, spool) = (copy, open(directory.path()));
                drop(spool);
                spool = open(directory.path());
                // What became final just before may be forgotten.
                assert!(spool.start().first <= settled + 1);
            }
            Event::Renew => {
                let first = spool.start().first;
                spool.renew(Unsettled::Resend).await.expect("renewed");
                (messages, settled) = (messages.split_off(first as usize - 1), 0);
                session = spool.session();
            }
            Event::Read(part) => {
                let from = (settled + 1 + u64::from(part) % 8).min(messages.len() as u64 + 1);
                let run = spool.read(from, 4, 300).await.expect("read");
                for (number, body) in run.messages() {
                    assert_eq!(body, messages[number as usize - 1]);
                }
                assert_eq!(run.is_empty(), from > messages.len() as u64);
            }
        }
        assert_eq!(spool.session(), session);
        assert_eq!(spool.start().next, messages.len() as u64 + 1);
        let first = spool.start().first;
        let expected: Vec<_> = (1..).zip(messages.iter().cloned()).skip(first as usize - 1).collect();
        assert_eq!(waiting(&spool).await.expect("read"), expected);
        let seen = Inspection::of(directory.path()).expect("a look");
        let seen: Vec<_> = seen.messages().map(|message| message.expect("a message")).collect();
        assert!(seen.len() >= expected.len(), "what is final may still be seen, for a moment");
        let seen: Vec<_> = seen.into_iter().map(|waiting| (waiting.number, waiting.body)).collect();
        assert_eq!(seen[seen.len() - expected.len()..], expected);
    }
}
