//! What is refused, and what is never touched.
//!
//! Apart from files that come as they should.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

#[tokio::test]
async fn what_is_refused_takes_the_rest_of_its_file_with_it_and_no_more() {
    let bench = Bench::new(SaveConfig { max_file: Some(1000), ..SaveConfig::default() });
    for (words, told) in [
        (
            vec![word("put 1001 a"), word("from 0"), data(b"a"), end(b"a")],
            "413 a has 1001 bytes, and 1000 are the most",
        ),
        (
            vec![word("put 1 a"), word("from 0"), data(b"ab"), data(b"c"), end(b"a")],
            "422 a: it is longer than the 1 bytes",
        ),
        (vec![word("put 1 a"), data(b"a"), end(b"a")], "422 a: nothing was said of where"),
        (vec![word("put 1 a"), word("from 0"), word("from 0"), end(b"a")], "422 a: its bytes come already"),
        (vec![word("put 1 a"), word("hello"), data(b"a"), end(b"a")], "400 it says nothing of a file"),
        (vec![word("put 1 ../a"), word("from 0"), data(b"a"), end(b"a")], "400 the name has a part that is . or .."),
        (vec![word("put 1 /a"), end(b"a")], "400 the name is empty, absolute"),
        (vec![word("put 1 .a.part"), end(b"a")], "422 .a.part is a name for what is not whole"),
        (vec![word("put 1 .a.PART/b"), end(b"a")], "422 .a.PART/b is a name for what is not whole"),
        (vec![word("from 0"), data(b"a"), word("hash 0"), end(b"a")], "422 no file is under way"),
        (vec![data(b"a"), data(b"a"), word("hole 1"), end(b"a")], "422 no file is under way"),
    ] {
        let mut line = bench.open(&SessionId::of_bits(getrandom()).to_string()).await;
        let said = bench.say(&mut line, &words).await;
        let refused: Vec<_> = said.iter().filter(|said| !said.starts_with("at ")).collect();
        assert!(refused[0].starts_with(told), "{said:?}");
        assert_eq!(refused[1..], ["422 the file was refused"], "{told}");
        assert!(!bench.path("a").exists());
        assert_eq!(bench.say(&mut line, &whole("next", b"n")).await, ["at 0", &saved(b"n")], "{told}");
        fs::remove_file(bench.path("next")).expect("remove");
        let _ = fs::remove_file(bench.path(".a.part"));
    }
    // A part that was refused before it came is missing.
    let line = bench.open(SID).await;
    let mut run = Run::new(1);
    [&b"put 5 a"[..], b"from 0", b"data\nabc"].iter().for_each(|word| run.push(word));
    run.push_refused(Code::TOO_LARGE, "too large".to_owned());
    run.push(&end(b"abc"));
    let (session, owner, source) = (line.session, line.owner, line.source);
    let applied = bench.store.append(Append { session, owner, source, run }).await.expect("an answer");
    let refused: Vec<_> = applied.verdicts.iter().map(|(number, _)| *number).collect();
    assert_eq!((applied.through, refused), (5, vec![1, 4, 5]));
}

#[tokio::test]
async fn what_is_not_what_was_said_is_removed() {
    let bench = Bench::new(SaveConfig::default());
    for words in [
        vec![word("put 3 a"), word("from 0"), data(b"abc"), end(b"abd")],
        vec![word("put 3 a"), word("from 0"), data(b"ab"), end(b"ab")],
        vec![word("put 3 a"), end(b"")],
    ] {
        let said = bench.say_anew(&words).await;
        assert!(said[1].starts_with("422 a: "), "{said:?}");
        assert_eq!(fs::read_dir(bench.directory.path()).expect("list").count(), 0);
    }
    assert_eq!(bench.say_anew(&whole("a", b"abc")).await[1], saved(b"abc"));
}

#[tokio::test]
async fn what_is_there_stays_unless_it_may_be_replaced() {
    let bench = Bench::new(SaveConfig::default());
    fs::write(bench.path("a"), b"abc").expect("a file");
    fs::create_dir(bench.path("d")).expect("a directory");
    let inode = fs::metadata(bench.path("a")).expect("it is there").ino();
    let refused = "422 a is there already; the server does not overwrite";
    assert_eq!(bench.say_anew(&whole("a", b"longer")).await[0], refused);
    assert_eq!(bench.say_anew(&whole("a", b"xyz")).await[1], refused);
    let said = bench.say_anew(&[word("put 3 a"), word("hash 3"), word("from 3"), end(b"xyz")]).await;
    assert_eq!(said[2], refused);
    let said = bench.say_anew(&[word("put 3 a"), word("hash 3"), word("from 3"), end(b"abc")]).await;
    assert_eq!(
        said,
        ["at 3".to_owned(), format!("hash 3 {}", sha256(b"abc")), saved(b"abc")],
        "it is what it was to be"
    );
    assert_eq!(*lock(&bench.saved), Vec::<String>::new());
    assert_eq!(bench.say_anew(&whole("d", b"x")).await[0], "422 d is there already, and is a directory");
    let others = fs::read_dir(bench.directory.path()).expect("list").count();
    assert_eq!((bench.read("a"), others), (b"abc".to_vec(), 2));

    let bench = Bench { store: store(bench.directory.path(), overwriting(), &bench.saved), ..bench };
    let said = bench.say_anew(&[word("put 3 a"), word("hash 3"), word("from 3"), end(b"abc")]).await;
    assert_eq!(said[2], saved(b"abc"));
    assert_eq!(fs::metadata(bench.path("a")).expect("it is there").ino(), inode, "it is as it was");
    let said = bench.say_anew(&[word("put 3 a"), word("hash 3"), word("from 0"), data(b"abd"), end(b"abd")]).await;
    assert_eq!((said[2].clone(), bench.read("a")), (saved(b"abd"), b"abd".to_vec()));
    assert_eq!(bench.say_anew(&whole("a", b"longer")).await[1], saved(b"longer"));
    assert_eq!(bench.read("a"), b"longer");
    symlink("a", bench.path("link")).expect("a link");
    for (name, what) in [("d", "a directory"), ("link", "a link")] {
        let said = bench.say_anew(&whole(name, b"longer")).await;
        assert_eq!(said[0], format!("422 {name} is there already, and is {what}"));
    }
}

#[tokio::test]
async fn a_file_that_came_meanwhile_is_not_replaced() {
    let bench = Bench::new(SaveConfig::default());
    let mut line = bench.open(SID).await;
    bench.say(&mut line, &[word("put 1 a"), word("from 0"), data(b"a")]).await;
    fs::write(bench.path("a"), b"another's").expect("a file");
    let said = bench.say(&mut line, &[end(b"a")]).await;
    assert_eq!(said, ["422 a is there already; the server does not overwrite"]);
    assert_eq!(bench.read("a"), b"another's");
    // With --overwrite neither is a link, or what it leads to.
    let bench = Bench::new(overwriting());
    let mut line = bench.open(SID).await;
    bench.say(&mut line, &[word("put 1 a"), word("from 0"), data(b"a")]).await;
    fs::write(bench.path("other"), b"other").expect("a file");
    symlink("other", bench.path("a")).expect("a link");
    assert_eq!(bench.say(&mut line, &[end(b"a")]).await.len(), 1);
    assert_eq!(bench.read("other"), b"other");
    assert!(bench.path("a").is_symlink());
}

#[tokio::test]
async fn nothing_leads_out_of_the_directory() {
    let bench = Bench::new(overwriting());
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("secret"), b"secret").expect("a file");
    symlink(outside.path(), bench.path("link")).expect("a link");
    symlink(outside.path().join("secret"), bench.path("file")).expect("a link");
    symlink(outside.path().join("secret"), bench.path(".part-of.part")).expect("a link");
    fs::hard_link(outside.path().join("secret"), bench.path(".hard.part")).expect("a second name");
    for name in
        ["link/new", "link/secret", "file", "part-of", "hard", "%2E%2E/new", "link/../new", "d/%2e%2e/%2e%2e/new"]
    {
        let said = bench.say_anew(&whole(name, b"evil!!")).await;
        assert!(said[0].starts_with("4") || said[0].starts_with("5"), "{name}: {said:?}");
    }
    let said = bench.say_anew(&[word("dir link/new")]).await;
    assert!(said[0].starts_with("422 link in link/new is "), "{said:?}");
    // A directory on the way becomes a link once the file is under way: it stays where it was begun.
    let mut line = bench.open(SID).await;
    bench.say(&mut line, &[word("put 4 way/file"), word("from 0"), data(b"ev")]).await;
    fs::rename(bench.path("way"), bench.path("was")).expect("rename");
    symlink(outside.path(), bench.path("way")).expect("a link");
    assert_eq!(bench.say(&mut line, &[data(b"il"), end(b"evil")]).await, [saved(b"evil")]);
    assert_eq!(bench.read("was/file"), b"evil");
    let left: Vec<_> =
        fs::read_dir(outside.path()).expect("list").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left, ["secret"]);
    assert_eq!(fs::read(outside.path().join("secret")).expect("read"), b"secret");
}

#[tokio::test]
async fn a_directory_is_as_it_is_unless_it_was_made_here() {
    let bench = Bench::new(SaveConfig::default());
    let mode = |name| fs::metadata(bench.path(name)).expect("it is there").permissions().mode() & 0o7777;
    fs::create_dir(bench.path("there")).expect("a directory");
    fs::set_permissions(bench.path("there"), fs::Permissions::from_mode(0o2750)).expect("permissions");
    let modified = || fs::metadata(bench.path("there")).and_then(|there| there.modified()).expect("a time");
    let before = modified();
    let words = [word("dir there mode=0777 mtime=1.000000000"), word("dir made"), word("put 1 way/a")];
    let mut line = bench.open(SID).await;
    bench.say(&mut line, &words).await;
    assert_eq!((mode("there"), modified()), (0o2750, before));
    // Nobody is locked out, and what is in it has its group.
    fs::set_permissions(bench.path("made"), fs::Permissions::from_mode(0o2755)).expect("permissions");
    bench.say(&mut line, &[word("dir made mode=0000"), word("dir way mode=0555")]).await;
    assert_eq!((mode("made"), mode("way")), (0o2700, 0o755));
    bench.say_anew(&[word("dir made mode=0777")]).await;
    assert_eq!(mode("made"), 0o2700, "it is another session's");
    let said = bench.say_anew(&[word("dir .a.part"), word("dir d/.a.part/e")]).await;
    assert!(said.len() == 2 && said.iter().all(|said| said.ends_with(" is a name for what is not whole")), "{said:?}");
    assert!(!bench.path(".a.part").exists() && !bench.path("d").exists());
    let bench = Bench { store: store(bench.directory.path(), overwriting(), &bench.saved), ..bench };
    bench.say_anew(&[word("dir there mode=0050")]).await;
    assert_eq!(fs::metadata(bench.path("there")).expect("it is there").permissions().mode() & 0o7777, 0o2750);
    bench.say_anew(&[word("dir there mode=0077")]).await;
    assert_eq!(fs::metadata(bench.path("there")).expect("it is there").permissions().mode() & 0o7777, 0o2777);
}

#[tokio::test]
async fn the_beginning_of_what_is_replaced_is_copied_in_steps() {
    let bench = Bench::new(overwriting());
    let size = LONGEST_STEP + 1;
    fs::File::create(bench.path("a")).and_then(|file| file.set_len(size)).expect("a file");
    let mut line = bench.open(SID).await;
    // What is hashed takes its time, too.
    let said = bench.say(&mut line, &[word(format!("put {size} a")), word(format!("hash {LONGEST_STEP}"))]).await;
    let mut steps = 0;
    while bench.say(&mut line, &[word(format!("from {LONGEST_STEP}"))]).await
        == ["R 503 so much was asked for that the rest waits"]
    {
        steps += 1;
    }
    assert_eq!(steps, LONGEST_STEP / MOST_AT_ONCE - 1);
    assert_eq!(fs::metadata(bench.path(".a.part")).expect("it is there").len(), LONGEST_STEP);
    assert!(said[1].starts_with("hash "), "{said:?}");
    let said = bench.say(&mut line, &[data(b"x"), end(b"")]).await;
    assert!(said[0].starts_with("422 a: the digest "), "{said:?}");
    assert_eq!(fs::metadata(bench.path("a")).expect("it is there").len(), size);
}
