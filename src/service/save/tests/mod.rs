//! What a store of files does, word by word, with a directory that is looked at.
//!
//! Apart from the files of the store, because it is what they do together.

mod refusals;
mod sessions;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;
use crate::service::store::Source;
use crate::service::{Observed, Peer};
use crate::wire::Digest;
use crate::wire::assured::{Code, Run, Verdict};

const SID: &str = "0123456789abcdef0123456789abcdef";

/// A directory, and the store that saves files in it.
struct Bench {
    directory: TempDir,
    config: SaveConfig,
    store: FileStore,
    saved: Arc<Mutex<Vec<String>>>,
}

/// A client's connection.
struct Line {
    session: SessionId,
    owner: Owner,
    next: u64,
    source: Arc<Source>,
}

struct Noted(Arc<Mutex<Vec<String>>>);

impl Observer for Noted {
    fn observe<'a>(&'a self, event: Observed<'a>) -> BoxFuture<'a, ()> {
        if let Observed::Saved { name, size, .. } = event {
            lock(&self.0).push(format!("{} {size}", String::from_utf8_lossy(name.as_bytes())));
        }
        Box::pin(std::future::ready(()))
    }
}

impl Bench {
    fn new(config: SaveConfig) -> Self {
        let (directory, saved) = (tempfile::tempdir().expect("a directory"), Arc::default());
        let store = store(directory.path(), config, &saved);
        Self { directory, config, store, saved }
    }

    fn restart(&mut self) {
        self.store = store(self.directory.path(), self.config, &self.saved);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    async fn open(&self, session: &str) -> Line {
        let peer = Peer { addr: crate::net::Addr::Inet(([127, 0, 0, 1], 1).into()), local: None, credentials: None };
        let source = Arc::new(Source { peer, name: None });
        let session: SessionId = session.parse().expect("a session");
        let opening =
            Opening { session: session.clone(), first: 1, principal: None, replies: true, source: source.clone() };
        let Opened { progress, owner } = self.store.open(opening).await.expect("open");
        Line { session, owner, next: progress.acknowledged + 1, source }
    }

    async fn apply(&self, line: &Line, words: &[Vec<u8>]) -> Applied {
        let mut run = Run::new(line.next);
        words.iter().for_each(|word| run.push(word));
        let (session, owner, source) = (line.session.clone(), line.owner, line.source.clone());
        self.store.append(Append { session, owner, source, run }).await.expect("an answer")
    }

    /// Says words, and gives what is answered: replies, and the words of refusals.
    async fn say(&self, line: &mut Line, words: &[Vec<u8>]) -> Vec<String> {
        let applied = self.apply(line, words).await;
        line.next = applied.through + 1;
        let told = applied.verdicts.into_iter().map(|(_, verdict)| match verdict {
            Verdict::Reply(reply) => String::from_utf8(reply.to_vec()).expect("text"),
            Verdict::Refused(code, reason) => format!("{code} {reason}"),
        });
        told.chain(applied.put_off.map(|put_off| format!("R {} {}", put_off.code, put_off.reason))).collect()
    }

    /// The same in a session of its own.
    async fn say_anew(&self, words: &[Vec<u8>]) -> Vec<String> {
        let mut line = self.open(&SessionId::of_bits(getrandom()).to_string()).await;
        self.say(&mut line, words).await
    }
}

fn getrandom() -> u128 {
    let mut bits = [0; 16];
    ::getrandom::fill(&mut bits).expect("random bits");
    u128::from_ne_bytes(bits)
}

fn store(directory: &Path, config: SaveConfig, saved: &Arc<Mutex<Vec<String>>>) -> FileStore {
    let directory = SaveDirectory::open(directory).expect("the directory");
    FileStore::new(directory, config, Some(Arc::new(Noted(saved.clone()))))
}

fn word(text: impl Into<String>) -> Vec<u8> {
    text.into().into_bytes()
}

fn data(bytes: &[u8]) -> Vec<u8> {
    [b"data\n", bytes].concat()
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn end(bytes: &[u8]) -> Vec<u8> {
    word(format!("end {}", sha256(bytes)))
}

fn saved(bytes: &[u8]) -> String {
    format!("saved {} {}", bytes.len(), sha256(bytes))
}

/// A whole file in words.
fn whole(name: &str, bytes: &[u8]) -> Vec<Vec<u8>> {
    vec![word(format!("put {} {name}", bytes.len())), word("from 0"), data(bytes), end(bytes)]
}

fn overwriting() -> SaveConfig {
    SaveConfig { overwrite: Overwrite::Replace, ..SaveConfig::default() }
}

#[tokio::test]
async fn a_file_has_its_name_once_it_is_whole() {
    let bench = Bench::new(SaveConfig::default());
    let mut line = bench.open(SID).await;
    let at =
        bench.say(&mut line, &[word("put 6 d/e/file"), word("from 0"), data(b"abc"), data(b""), data(b"def")]).await;
    assert_eq!(at, ["at 0"]);
    assert!(!bench.path("d/e/file").exists());
    assert_eq!(bench.read("d/e/.file.part"), b"abcdef");
    assert_eq!(bench.say(&mut line, &[end(b"abcdef")]).await, [saved(b"abcdef")]);
    assert_eq!(bench.read("d/e/file"), b"abcdef");
    assert!(!bench.path("d/e/.file.part").exists());
    // Another in the same session, and one of nothing.
    assert_eq!(bench.say(&mut line, &whole("second", b"2")).await, ["at 0", &saved(b"2")]);
    assert_eq!(bench.say(&mut line, &[word("put 0 none"), word("from 0"), end(b"")]).await, ["at 0", &saved(b"")]);
    assert_eq!(*lock(&bench.saved), ["d/e/file 6", "second 1", "none 0"]);
}

#[tokio::test]
async fn what_was_cut_off_goes_on_where_it_was_after_every_word() {
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let parts: Vec<&[u8]> = bytes.chunks(90_000).collect();
    for cut in 0..parts.len() + 3 {
        let mut bench = Bench::new(SaveConfig::default());
        let mut words = vec![word(format!("put {} file", bytes.len())), word("from 0")];
        words.extend(parts.iter().map(|part| data(part)));
        words.push(end(&bytes));
        words.truncate(cut);
        bench.say_anew(&words).await;
        bench.restart();
        let mut line = bench.open(SID).await;
        let said = bench.say(&mut line, &[word(format!("put {} file", bytes.len()))]).await;
        let at: usize = said[0].strip_prefix("at ").expect("at").parse().expect("a number");
        assert_eq!(at, (cut.saturating_sub(2) * 90_000).min(bytes.len()), "after {cut} words");
        let hashed = bench.say(&mut line, &[word("hash 0"), word(format!("hash {at}"))]).await;
        assert_eq!(hashed[1], format!("hash {at} {}", sha256(&bytes[..at])));
        let rest = [word(format!("from {at}")), data(&bytes[at..]), end(&bytes)];
        let rest = if at == bytes.len() { [rest[0].clone(), data(b""), rest[2].clone()] } else { rest };
        assert_eq!(bench.say(&mut line, &rest).await, [saved(&bytes)], "after {cut} words");
        assert!(bench.read("file") == bytes);
    }
}

#[tokio::test]
async fn the_digest_of_what_is_there_is_remembered_where_it_was_asked_for() {
    let bench = Bench::new(SaveConfig::default());
    fs::write(bench.path(".file.part"), b"abc").expect("a part");
    let mut line = bench.open(SID).await;
    let asked = [word("put 6 file"), word("hash 0"), word("hash 3"), word("hash 3")];
    let hash = |bytes: &[u8]| format!("hash {} {}", bytes.len(), sha256(bytes));
    assert_eq!(bench.say(&mut line, &asked).await, ["at 3".to_owned(), hash(b""), hash(b"abc"), hash(b"abc")]);
    let rest = [word("from 3"), data(b"def"), end(b"abcdef")];
    assert_eq!(bench.say(&mut line, &rest).await, [saved(b"abcdef")]);
    assert_eq!(bench.read("file"), b"abcdef");
    // Where nothing was asked, nothing goes on; back is not the way, and nobody is told a file byte by byte.
    for wrong in
        [vec![word("from 2")], vec![word("hash 3"), word("hash 0")], vec![word("hash 4")], vec![word("hash 2")]]
    {
        fs::write(bench.path(".again.part"), b"abc").expect("a part");
        let said = bench.say_anew(&[vec![word("put 9 again")], wrong].concat()).await;
        assert!(said.last().is_some_and(|last| last.starts_with("422 again: ")), "{said:?}");
    }
    // What is longer is another's.
    let said = bench.say_anew(&[word("put 2 again"), word("hash 2")]).await;
    assert!(said[0] == "at 0" && said[1].starts_with("422 again: "), "{said:?}");
    fs::write(bench.path("whole"), b"abc").expect("a file");
    let said = bench.say_anew(&[word("put 3 whole"), word("hash 1")]).await;
    assert!(said[0] == "at 3" && said[1].starts_with("422 whole: "), "{said:?}");
}

#[tokio::test]
async fn of_much_that_is_asked_for_the_rest_waits() {
    let bench = Bench::new(SaveConfig::default());
    let mut line = bench.open(SID).await;
    let most = MOST_AT_ONCE;
    let words = [format!("put {} file", 3 * most), "from 0".to_owned(), format!("hole {most}"), "hole 1".to_owned()];
    let said = bench.say(&mut line, &words.map(word)).await;
    assert_eq!(said, ["at 0", "R 503 so much was asked for that the rest waits"]);
    assert_eq!(line.next, 4);
    // It comes again, behind which there is more.
    let words = ["hole 1".to_owned(), format!("hole {}", most - 1), "hole 1".to_owned()].map(word);
    let applied = bench.apply(&line, &words).await;
    assert_eq!((applied.through, applied.put_off.map(|put_off| put_off.after)), (5, Some(Duration::ZERO)));
    line.next = 6;
    assert_eq!(bench.say(&mut line, &[word(format!("put {} file", 2 * most))]).await, [format!("at {}", 2 * most)]);
}

#[tokio::test]
async fn a_hole_takes_no_room_and_is_part_of_the_digest() {
    let bench = Bench::new(SaveConfig::default());
    let mut bytes = b"abc".to_vec();
    bytes.resize(3 + 10_000_000, 0);
    bytes.extend_from_slice(b"def");
    bytes.resize(bytes.len() + 5_000_000, 0);
    let words = [
        word(format!("put {} file", bytes.len())),
        word("from 0"),
        data(b"abc"),
        word("hole 10000000"),
        data(b"def"),
        word("hole 5000000"),
        end(&bytes),
    ];
    assert_eq!(bench.say_anew(&words).await, ["at 0".to_owned(), saved(&bytes)]);
    assert!(bench.read("file") == bytes);
    let metadata = fs::metadata(bench.path("file")).expect("it is there");
    assert!(metadata.blocks() * 512 < 1_000_000, "{} blocks", metadata.blocks());
    // What is behind it of an older part does not show through.
    fs::write(bench.path(".other.part"), b"secret").expect("a part");
    let words = [word("put 6 other"), word("from 0"), word("hole 6"), end(&[0; 6])];
    assert_eq!(bench.say_anew(&words).await, ["at 6".to_owned(), saved(&[0; 6])]);
    for (name, words) in [
        ("long", vec![word("put 5 long"), word("from 0"), word("hole 6")]),
        ("step", vec![word(format!("put {} step", LONGEST_STEP * 2)), word("from 0"), word("hole 1073741825")]),
    ] {
        let said = bench.say_anew(&words).await;
        assert!(said[1].starts_with(&format!("422 {name}: ")), "{said:?}");
    }
}

#[tokio::test]
async fn permissions_and_time_are_kept_where_that_is_asked_for() {
    let bench = Bench::new(SaveConfig::default());
    let with = [word("put 1 a mode=0741 mtime=1000000000.500000000"), word("from 0"), data(b"a"), end(b"a")];
    assert_eq!(bench.say_anew(&with).await[1], saved(b"a"));
    let metadata = fs::metadata(bench.path("a")).expect("it is there");
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o741);
    let time = metadata.modified().expect("a time").duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    assert_eq!(time, Duration::new(1_000_000_000, 500_000_000));
    let mut line = bench.open(SID).await;
    bench.say(&mut line, &[word("put 1 b mode=0400"), word("from 0")]).await;
    let mode = |name| fs::metadata(bench.path(name)).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode(".b.part"), 0o600, "nobody else reads what nobody else is to");
    bench.say(&mut line, &[data(b"b"), end(b"b"), word("dir d/e mode=0700"), word("dir d"), word("dir d/e")]).await;
    assert_eq!((mode("b"), mode("d/e")), (0o400, 0o700));
    // One that was begun for everybody, and one that had its permissions already.
    for mode in [0o644, 0o444] {
        fs::write(bench.path(".c.part"), b"").expect("a part");
        fs::set_permissions(bench.path(".c.part"), fs::Permissions::from_mode(mode)).expect("permissions");
        assert_eq!(bench.say(&mut line, &[word("put 1 c mode=0600")]).await, ["at 0"]);
        assert_eq!(fs::metadata(bench.path(".c.part")).expect("it is there").permissions().mode() & 0o777, 0o600);
    }
    let made = fs::metadata(bench.path("d")).expect("it is there");
    assert!(made.is_dir());
    let refused = bench.say(&mut line, &[word("dir b"), word("dir b/c")]).await;
    assert_eq!(refused, ["422 b in b is no directory", "422 b in b/c is no directory"]);
}

#[tokio::test]
async fn a_name_of_any_bytes_is_taken_and_a_long_one_too() {
    let bench = Bench::new(SaveConfig::default());
    let long = "x".repeat(255);
    for (name, file) in [("caf%C3%A9%20%0A", "caf\u{e9} \n"), (long.as_str(), long.as_str())] {
        assert_eq!(bench.say_anew(&whole(name, b"abc")).await[1], saved(b"abc"), "{name}");
        assert_eq!(bench.read(file), b"abc");
    }
    assert_eq!(fs::read_dir(bench.directory.path()).expect("list").count(), 2);
}

#[tokio::test]
async fn files_that_come_together_are_settled_together_and_answered_in_their_order() {
    let bench = Bench::new(SaveConfig::default());
    let count = MOST_TOGETHER * 2 + 3;
    let mut words: Vec<Vec<u8>> =
        (0..count).flat_map(|number| whole(&format!("d{}/f{number}", number % 3), b"abc")).collect();
    words.splice(8..12, [word("put 1 wrong"), word("from 0"), data(b"x"), end(b"y")]);
    // Twice the same, and the time of a directory last.
    words.extend(whole("d0/f0", b"abc"));
    words.extend(whole("again", b"abc"));
    words.extend([word("put 3 again"), word("hash 3"), word("from 3"), end(b"abc")]);
    words.push(word("dir d1 mtime=1000000000.000000000"));
    let said = bench.say_anew(&words).await;
    let mut expected: Vec<String> = (0..count).flat_map(|_| ["at 0".to_owned(), saved(b"abc")]).collect();
    expected[5] = format!("422 wrong: the digest of what has come is {}, and not {}", sha256(b"x"), sha256(b"y"));
    let refused = ["422 d0/f0 is there already; the server does not overwrite", "422 the file was refused"];
    expected.push("at 3".to_owned());
    expected.extend(refused.map(str::to_owned));
    expected.extend(["at 0".to_owned(), saved(b"abc"), "at 3".to_owned()]);
    expected.extend([format!("hash 3 {}", sha256(b"abc")), saved(b"abc")]);
    assert_eq!(said, expected);
    assert_eq!(lock(&bench.saved).len(), count);
    for number in (0..count).filter(|number| *number != 2) {
        assert_eq!(bench.read(&format!("d{}/f{number}", number % 3)), b"abc");
    }
    let modified = fs::metadata(bench.path("d1")).and_then(|metadata| metadata.modified()).expect("a time");
    assert_eq!(modified, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
}
