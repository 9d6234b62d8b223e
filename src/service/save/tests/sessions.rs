//! Several sessions, one that goes on elsewhere, and what is left of those that do not.
//!
//! Apart from what is said in one.

use std::os::unix::fs::symlink;

use super::*;

#[tokio::test]
async fn of_two_who_send_a_file_one_waits_as_long_as_the_other_is_there() {
    let bench = Bench::new(SaveConfig::default());
    let mut first = bench.open(SID).await;
    bench.say(&mut first, &[word("put 6 a"), word("from 0"), data(b"abc")]).await;
    let mut second = bench.open("ffffffffffffffff").await;
    assert_eq!(bench.say(&mut second, &whole("a", b"abcdef")).await, ["R 503 a comes from another just now"]);
    assert_eq!(bench.read(".a.part"), b"abc");
    // Its connection is gone, and somebody wants to go on.
    let session = first.session.clone();
    drop(first);
    assert_eq!(bench.say(&mut second, &[word("put 6 a"), word("hash 3"), word("from 3")]).await[0], "at 3");
    let opening =
        Opening { session: session.clone(), first: 2, principal: None, replies: true, source: second.source.clone() };
    let forgotten = bench.store.open(opening).await.expect("an answer");
    assert_eq!((forgotten.progress.known, forgotten.progress.acknowledged), (false, 0));
    assert_eq!(bench.say(&mut second, &[data(b"def"), end(b"abcdef")]).await, [saved(b"abcdef")]);
}

#[tokio::test]
async fn a_session_goes_on_in_another_connection() {
    let bench = Bench::new(SaveConfig::default());
    let mut first = bench.open(SID).await;
    bench.say(&mut first, &[word("put 6 a"), word("from 0"), data(b"abc")]).await;
    let mut second = bench.open(SID).await;
    assert_eq!(second.next, 4);
    let stale = Append {
        session: first.session.clone(),
        owner: first.owner,
        source: first.source.clone(),
        run: {
            let mut run = Run::new(4);
            run.push(&data(b"xyz"));
            run
        },
    };
    assert_eq!(bench.store.append(stale).await, Err(StoreError::TakenOver));
    assert_eq!(bench.say(&mut second, &[data(b"def"), end(b"abcdef")]).await, [saved(b"abcdef")]);
    let opened = bench.store.open(Opening {
        session: SID.parse().expect("a session"),
        first: 5,
        principal: None,
        replies: true,
        source: second.source.clone(),
    });
    let progress = opened.await.expect("open").progress;
    assert_eq!((progress.acknowledged, progress.known), (5, true));
    assert_eq!(progress.verdicts.last().map(|(number, _)| *number), Some(5), "what was not noted is said again");
    bench.store.note(&second.session, second.owner, 5);
}

#[tokio::test]
async fn a_session_without_a_connection_is_forgotten_after_a_while() {
    let bench = Bench::new(SaveConfig::default());
    let mut line = bench.open(SID).await;
    bench.say(&mut line, &[word("put 6 a"), word("from 0")]).await;
    assert!(!bench.store.0.release(), "it has one");
    drop(line.source);
    bench.store.0.sweep();
    assert!(bench.store.0.known(&line.session).is_some(), "it may come again");
    assert!(bench.store.0.release());
    assert!(bench.store.0.known(&line.session).is_none());
    assert!(bench.path(".a.part").exists());
}

#[tokio::test]
async fn messages_are_not_taken_and_files_not_from_those_who_hear_nothing() {
    let bench = Bench::new(SaveConfig::default());
    let line = bench.open(SID).await;
    let plain = Plain {
        source: line.source.clone(),
        first: 1,
        messages: crate::service::Batch::of("hello"),
        chain: crate::service::store::Chain::default(),
    };
    assert_eq!(bench.store.keep(plain).await, Err(StoreError::Unwanted(FILES_ONLY)));
    let opening = Opening { session: line.session, first: 1, principal: None, replies: false, source: line.source };
    assert_eq!(bench.store.open(opening).await.map(|_| ()), Err(StoreError::Unwanted(REPLIES_WANTED)));
}

#[tokio::test]
async fn old_parts_are_removed_unless_they_are_somebodys() {
    let bench = Bench::new(SaveConfig::default());
    let (old, hour) = (SystemTime::now() - Duration::from_secs(1000), Duration::from_secs(3600));
    fs::create_dir(bench.path("d")).expect("a directory");
    for name in [".old.part", "d/.old.part", "d/.held.part", "kept", ".kept", "kept.part"] {
        let file = fs::File::create(bench.path(name)).expect("a file");
        file.set_modified(old).expect("a time");
    }
    let young = fs::File::create(bench.path(".young.part")).expect("a file");
    young.set_modified(SystemTime::now() + hour).expect("a time");
    let mut line = bench.open(SID).await;
    bench.say(&mut line, &[word("put 1 d/held")]).await;
    symlink(bench.path("d"), bench.path("link")).expect("a link");
    // They were made just now, whatever time they have been given.
    assert_eq!(bench.store.0.directory.remove_parts(Duration::from_secs(500)), 0);
    fs::set_permissions(bench.path(".old.part"), fs::Permissions::from_mode(0o400)).expect("permissions");
    assert_eq!(bench.store.0.directory.remove_parts(Duration::ZERO), 2);
    for name in ["d/.held.part", "kept", ".kept", "kept.part", ".young.part"] {
        assert!(bench.path(name).exists(), "{name}");
    }
    assert!(!bench.path(".old.part").exists() && !bench.path("d/.old.part").exists());
}

#[tokio::test]
async fn a_part_that_is_not_there_any_more_is_not_taken_for_another() {
    let bench = Bench::new(SaveConfig::default());
    for (ends, said) in [(b"abc", "500 rename a: "), (b"xyz", "422 a: the digest ")] {
        let (mut first, mut second) = (bench.open(SID).await, bench.open("ffffffffffffffff").await);
        bench.say(&mut first, &[word("put 3 a"), word("from 0"), data(b"abc")]).await;
        fs::remove_file(bench.path(".a.part")).expect("remove");
        bench.say(&mut second, &[word("put 6 a"), word("from 0"), data(b"def")]).await;
        let refused = bench.say(&mut first, &[end(ends)]).await;
        assert!(refused[0].starts_with(said), "{refused:?}");
        assert!(!bench.path("a").exists());
        assert_eq!(bench.read(".a.part"), b"def", "it is the other's");
        bench.say(&mut second, &[word("dir d")]).await;
        fs::remove_file(bench.path(".a.part")).expect("remove");
    }
}

#[tokio::test]
async fn what_nobody_notes_takes_little_memory() {
    let bench = Bench::new(SaveConfig::default());
    let told = || bench.store.0.told.load(std::sync::atomic::Ordering::Relaxed);
    let mut line = bench.open(SID).await;
    let long = format!("put 1 {}.part", ".%01".repeat(60));
    let said = bench.say(&mut line, &vec![word(&long); 100]).await;
    assert!(said[99].ends_with("...") && said[99].len() == "422 ".len() + LONGEST_REASON, "{}", said[99]);
    assert!((100 * LONGEST_REASON..100 * (LONGEST_REASON + 100)).contains(&told()), "{}", told());
    bench.store.note(&line.session, line.owner, 99);
    assert!(told() < 2 * LONGEST_REASON);
    // Where all have too much together, whoever has much of it waits; the rest goes with its connection.
    bench.say(&mut line, &vec![word(&long); 2 * FAIR_TOLD / LONGEST_REASON]).await;
    bench.store.0.told.fetch_add(MOST_TOLD, std::sync::atomic::Ordering::Relaxed);
    let waits = "R 503 too much was answered that nobody has noted";
    assert_eq!(bench.say(&mut line, &[word("dir d")]).await, [waits]);
    let none: [&str; 0] = [];
    assert_eq!(bench.say_anew(&[word("dir d")]).await, none);
    bench.store.note(&line.session, line.owner, line.next);
    assert_eq!(bench.say(&mut line, &[word("dir d")]).await, none);
    bench.say(&mut line, &[word(&long)]).await;
    drop(line);
    bench.store.0.release();
    assert_eq!(told(), MOST_TOLD);
}
