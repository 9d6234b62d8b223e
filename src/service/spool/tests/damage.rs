//! What a spool makes of files that are cut, changed, or written in part.
//!
//! Apart from what it promises on a disk that keeps what it was given.

use std::fs;

use super::*;
use crate::service::spool::record::HEAD;

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
    let config = SpoolConfig { segment_bytes: 100, ..SpoolConfig::default() };
    let spool = Spool::open(directory.path(), config).expect("open the spool");
    let messages = ["one", "two", "three", "four", "last"];
    for group in [&messages[..2], &messages[2..4]] {
        runtime.block_on(spool.accept(batch(group))).expect("accepted");
    }
    spool.settle(1, Some(7));
    runtime.block_on(spool.accept(batch(&messages[4..]))).expect("accepted");
    let killed = crashed(directory.path());
    drop(spool);
    for (path, is_killed) in [(killed.path(), true), (directory.path(), false)] {
        let whole: Vec<_> = files(path).into_iter().map(|file| (file.clone(), fs::read(file).expect("read"))).collect();
        for (file, bytes) in whole.iter().filter(|(file, _)| !file.ends_with("lock")) {
            // Every bit of what holds messages, and some of every byte elsewhere: of the progress there is a test of its own.
            let is_segment = file.extension().is_some();
            for bit in (0..bytes.len() * 8).step_by(if is_segment && is_killed { 1 } else { 9 }) {
                let mut wrong = bytes.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                fs::write(file, &wrong).expect("written");
                if let Ok(spool) = Spool::open(path, small())
                    && let Ok(found) = runtime.block_on(waiting(&spool))
                {
                    // What is read is right; what may be missing is the end of what nothing but itself tells of.
                    let (first, next) = (spool.start().first, spool.start().next);
                    assert!(first <= 2 && (next == 6 || is_killed && next == 5), "{file:?} {bit}: {first} {next}");
                    let expected = (1..).zip(messages).skip(first as usize - 1).take((next - first) as usize);
                    let expected: Vec<_> = expected.map(|(number, body)| (number, body.as_bytes().to_vec())).collect();
                    assert_eq!(found, expected, "{file:?} {bit}");
                }
                files(path).iter().for_each(|file| fs::remove_file(file).expect("removed"));
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
