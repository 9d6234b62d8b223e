//! `client --file`: what is on the receiver's disk is what was on the sender's, whatever ends meanwhile, and what is there is not sent again.
//!
//! Apart from the server's side of it, which its own tests have speak with a client that is written there: here both are the real ones.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::faults::proxy::{Cut, How, Proxy, Towards};
use crate::harness::{Finished, Launch, Program, Terminal, expect_error, expect_signal, expect_status, expect_success};

/// How long something large may take: never reached by a test that passes.
const LONG: Duration = Duration::from_secs(120);

const MIB: usize = 1024 * 1024;

/// Two directories, one to send from and one to save in.
struct Places {
    directory: TempDir,
    from: PathBuf,
    to: PathBuf,
}

impl Places {
    fn new() -> Places {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        for path in [&from, &to] {
            fs::create_dir(path).expect("a directory");
        }
        Places { directory, from, to }
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.directory.path().join("socket").display())
    }

    /// A server that saves, at this address.
    fn server(&self, address: &str) -> Program {
        let server = Launch::server([OsStr::new("--save"), self.to.as_os_str(), OsStr::new(address)]).start();
        server.listening();
        server
    }

    /// A client that sends this, from where it is.
    fn client(&self, arguments: &[&str]) -> Program {
        Launch::client(arguments).directory(&self.from).no_input().start()
    }

    fn send(&self, arguments: &[&str]) -> Finished {
        self.client(arguments).wait_within(LONG)
    }

    fn file(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> PathBuf {
        let path = self.from.join(name.as_ref());
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn assert_same(&self, name: impl AsRef<OsStr>) {
        let read = |directory: &Path| fs::read(directory.join(name.as_ref())).expect("a file");
        assert!(read(&self.from) == read(&self.to), "{:?} is another", name.as_ref());
    }

    /// Waits until the server has so many bytes of a file that is under way.
    fn wait_for_part(&self, name: &str, length: u64) -> u64 {
        let (part, since) = (self.to.join(format!(".{name}.part")), Instant::now());
        loop {
            match fs::metadata(&part).map_or(0, |metadata| metadata.len()) {
                there if there >= length => return there,
                _ => sleep(Duration::from_millis(1)),
            }
            assert!(since.elapsed() < LONG, "{name} does not come");
        }
    }
}

/// Bytes that are nowhere the same.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()
    };
    (0..length.div_ceil(4)).flat_map(|_| next().into_iter().take(4)).take(length).collect()
}

fn events(done: &Finished) -> Vec<Value> {
    done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn resumed_at(done: &Finished) -> u64 {
    let of = |event: &Value| event["event"].as_str().filter(|name| *name == "saved").and(event["resumed_at"].as_u64());
    events(done).iter().find_map(of).unwrap_or_else(|| panic!("nothing is saved: {}", done.report()))
}

#[test]
fn a_tree_arrives_as_it_is_with_the_digests_of_sha256sum() {
    let places = Places::new();
    let odd = OsStr::from_bytes(b"tree/not \xff utf-8");
    for name in ["tree/b c", "tree/back\\slash", "tree/new\nline", "tree/%41", "tree/sub/deep/\u{e9}"] {
        places.file(name, name.as_bytes());
    }
    places.file(odd, b"odd");
    places.file("tree/empty", b"");
    places.file("tree/large", &bytes(3 * MIB + 7));
    let sparse = File::create(places.from.join("tree/sparse")).expect("a file");
    sparse.set_len(64 * MIB as u64).expect("a length");
    sparse.write_all_at(b"here", 20 * MIB as u64).expect("some bytes");
    symlink("empty", places.from.join("tree/link")).expect("a link");
    let (tree, old) = (places.from.join("tree"), SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 7));
    for (name, mode) in [("b c", 0o600), ("sub/deep", 0o710), ("sub", 0o711)] {
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).expect("permissions");
        File::open(tree.join(name)).and_then(|file| file.set_modified(old)).expect("a time");
    }
    let server = places.server("127.0.0.1:0");
    let done = places.send(&["--file", "tree", "--preserve", "127.0.0.1", &server.port()]);
    expect_success(&done);
    assert_eq!(done.stderr.trim(), "tree/link is a symbolic link, which is not sent");
    let script = "find tree -type f -print0 | xargs -0 sha256sum | LC_ALL=C sort";
    let sums = Command::new("sh").args(["-c", script]).current_dir(&places.to).output().expect("sha256sum").stdout;
    let mut told: Vec<&str> = done.stdout.lines().collect();
    told.sort_unstable();
    assert_eq!(told, String::from_utf8_lossy(&sums).lines().collect::<Vec<_>>());
    let list = "find tree ! -type l -printf '%P %m %s %T@\\n' | grep -v '^ ' | LC_ALL=C sort";
    let listed =
        |directory: &Path| Command::new("sh").args(["-c", list]).current_dir(directory).output().expect("find");
    assert_eq!(
        String::from_utf8_lossy(&listed(&places.from).stdout),
        String::from_utf8_lossy(&listed(&places.to).stdout)
    );
    assert!(fs::metadata(places.to.join("tree/sparse")).expect("a file").blocks() * 512 < MIB as u64);
    // Another time nothing is to be done, and what differs is not touched.
    places.file("tree/b c", b"tree/b d");
    let done = places.send(&["--file", "tree", "--json", "127.0.0.1", &server.port()]);
    expect_status(&done, 5);
    assert!(done.stderr.contains("tree/b c was refused"), "{}", done.report());
    assert_eq!(fs::read(places.to.join("tree/b c")).expect("a file"), b"tree/b c");
    let last = events(&done).pop().expect("an event");
    assert_eq!((&last["saved"], &last["refused"]), (&8.into(), &1.into()), "{}", done.report());
}

#[test]
fn a_thousand_small_files_arrive_and_a_file_may_have_another_name() {
    let places = Places::new();
    for number in 0..1000 {
        places.file(format!("many/{}/{number}", number % 7), number.to_string().repeat(number).as_bytes());
    }
    let server = places.server(&places.socket());
    for _ in 0..2 {
        let done = places.send(&["--file", "many", &places.socket()]);
        expect_success(&done);
        assert_eq!(done.stdout.lines().count(), 1000);
    }
    for number in 0..1000 {
        places.assert_same(format!("many/{}/{number}", number % 7));
    }
    let done = places.send(&["--file", "many/1/8", "--as", "a/b", &places.socket()]);
    expect_success(&done);
    assert_eq!(fs::read(places.to.join("a/b")).expect("a file"), b"88888888");
    let done = places.send(&["-q", "--file", ".", "--as", "all", &places.socket()]);
    expect_success(&done);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
    assert_eq!(fs::read(places.to.join("all/many/1/8")).expect("a file"), b"88888888");
    drop(server);
}

#[test]
fn packets_carry_files_too() {
    let places = Places::new();
    places.file("large", &bytes(2 * MIB + 1));
    for scheme in ["unix-seqpacket", "unix-dgram"] {
        let address = format!("{scheme}:{}", places.directory.path().join(scheme).display());
        let server = places.server(&address);
        expect_success(&places.send(&["--file", "large", "--as", scheme, &address]));
        assert!(fs::read(places.to.join(scheme)).expect("a file") == bytes(2 * MIB + 1));
        drop(server);
    }
}

#[test]
fn cut_connections_cost_little() {
    let places = Places::new();
    let length = 20 * MIB;
    places.file("large", &bytes(length));
    let server = places.server("127.0.0.1:0");
    let address = format!("127.0.0.1:{}", server.port()).parse().expect("an address");
    let cut = |towards, after, how| Cut { towards, after, how };
    let cuts = [
        cut(Towards::Server, 40, How::End),
        cut(Towards::Server, 3 * MIB as u64, How::Reset),
        cut(Towards::Client, 300, How::End),
        cut(Towards::Server, 5 * MIB as u64 + 17, How::HalfEnd),
        cut(Towards::Client, 250, How::Reset),
    ];
    let proxy = Proxy::start(address, &cuts);
    let done = places.send(&["--file", "large", &proxy.address()]);
    expect_success(&done);
    places.assert_same("large");
    assert!(done.stderr.contains("connecting again"), "{}", done.report());
    assert!(proxy.hit() >= 3, "{}: {}", proxy.hit(), done.report());
    assert!(proxy.passed(Towards::Server) < 2 * length as u64, "{}", proxy.passed(Towards::Server));
}

#[test]
fn a_server_that_is_killed_and_started_anew_goes_on_where_it_was() {
    let places = Places::new();
    let length = 40 * MIB;
    places.file("large", &bytes(length));
    places.file("small", b"small");
    let mut server = places.server(&places.socket());
    let client = places.client(&["--json", "--file", "small", "--file", "large", &places.socket()]);
    let mut there = 0;
    for share in [5, 3, 2] {
        there = places.wait_for_part("large", (length / share) as u64);
        server.signal(Signal::SIGKILL);
        server.wait_for_exit();
        server = places.server(&places.socket());
    }
    let done = client.wait_within(LONG);
    expect_success(&done);
    places.assert_same("large");
    places.assert_same("small");
    let renewed = events(&done).iter().filter(|event| event["event"] == "renewed").count();
    assert_eq!(renewed, 3, "{}", done.report());
    let last = events(&done).iter().rev().find(|event| event["event"] == "saved").cloned().expect("a file");
    assert!(last["resumed_at"].as_u64() >= Some(there), "{there}: {}", done.report());
    drop(server);
}

#[test]
fn a_client_that_is_killed_or_told_to_end_has_sent_what_it_has_sent() {
    let places = Places::new();
    let length = 40 * MIB;
    places.file("large", &bytes(length));
    let server = places.server(&places.socket());
    let command = ["--json", "--file", "large", &places.socket()];
    let client = places.client(&command);
    places.wait_for_part("large", length as u64 / 5);
    client.signal(Signal::SIGKILL);
    client.wait_for_exit();
    let there = fs::metadata(places.to.join(".large.part")).expect("a part").len();
    let client = places.client(&command);
    places.wait_for_part("large", there + length as u64 / 5);
    client.signal(Signal::SIGINT);
    let done = client.wait();
    expect_signal(&done, Signal::SIGINT);
    assert!(done.stderr.contains("the same command goes on from there"), "{}", done.report());
    let there = there + length as u64 / 5;
    let done = places.send(&command);
    expect_success(&done);
    assert!(resumed_at(&done) >= there, "{there}: {}", done.report());
    places.assert_same("large");
    drop(server);
}

#[test]
fn a_part_that_is_of_another_file_is_not_gone_on_with() {
    let places = Places::new();
    places.file("large", &bytes(3 * MIB));
    fs::write(places.to.join(".large.part"), vec![7; 2 * MIB]).expect("a part");
    let server = places.server(&places.socket());
    let done = places.send(&["--json", "--file", "large", &places.socket()]);
    expect_success(&done);
    assert_eq!(resumed_at(&done), 0);
    places.assert_same("large");
    drop(server);
}

#[test]
fn each_mistake_is_said_and_has_its_status() {
    let places = Places::new();
    for name in ["one/same", "two/same", "there"] {
        places.file(name, b"1");
    }
    nix::unistd::mkfifo(&places.from.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let nobody = "unix:@wilco-files-nobody";
    for (arguments, words) in [
        (vec!["--file", "-", nobody], vec!["standard input", "--framing whole"]),
        (vec!["--file", "pipe", nobody], vec!["named pipe"]),
        (vec!["--file", "/dev/null", nobody], vec!["device"]),
        (vec!["--file", "one/same", "--file", "two/same", nobody], vec!["would both be"]),
        (vec!["--file", "there", "udp:127.0.0.1:9"], vec!["datagrams have no answers"]),
        (vec!["--file", "/", nobody], vec!["--as"]),
        (vec!["--file", "there", "--as", "../there", nobody], vec!["a part that is . or .."]),
        (vec!["--file", "there", "-m", "hello", nobody], vec!["cannot be used with"]),
        (vec!["--file", "there", "--wait", nobody], vec!["--timeout"]),
        (vec!["--as", "there", nobody], vec!["--file"]),
    ] {
        expect_error(&places.send(&arguments), 2, &words);
    }
    let done = places.send(&["--file", "there", "--timeout", "300ms", nobody]);
    expect_error(&done, 3, &["refused", "nothing was sent"]);
    // One that is not there keeps no other from being sent.
    let server = places.server(&places.socket());
    let done = places.send(&["--file", "missing", "--file", "there", &places.socket()]);
    expect_status(&done, 1);
    assert!(done.stderr.contains("missing: no such file"), "{}", done.report());
    places.assert_same("there");
    let done = places.send(&["--file", "missing", nobody]);
    expect_status(&done, 1);
    drop(server);
}

#[test]
fn other_servers_save_nothing_and_it_is_said_which_would() {
    let places = Places::new();
    places.file("there", b"1");
    let store = places.directory.path().join("store.db").display().to_string();
    for arguments in [vec![], vec!["--store", &store], vec!["--reply", "hello"]] {
        let arguments = [&arguments[..], &["127.0.0.1:0"]].concat();
        let server = Launch::server(&arguments).start();
        let done = places.send(&["--file", "there", "127.0.0.1", &server.port()]);
        expect_error(&done, 5, &["saves no files", "--save DIR"]);
    }
}

#[test]
fn a_person_sees_how_far_it_is() {
    let places = Places::new();
    places.file("large", &bytes(60 * MIB));
    let server = places.server(&places.socket());
    let address = places.socket();
    let client = Launch::client(["--file", "large", &address]).directory(&places.from).terminal(Terminal::ALL).start();
    // What is over at once shows nothing of its course.
    places.wait_for_part("large", 20 * MIB as u64);
    server.signal(Signal::SIGSTOP);
    sleep(Duration::from_millis(600));
    server.signal(Signal::SIGCONT);
    let done = client.wait_within(LONG);
    expect_success(&done);
    for word in ["large [#", "60.0 MiB", "/s", "1 file, 60.0 MiB, saved by"] {
        assert!(done.stdout.contains(word) || done.stderr.contains(word), "{word}: {}", done.report());
    }
    drop(server);
}

#[test]
fn another_server_is_offered_what_the_first_has_saved() {
    let (first, mut second) = (Places::new(), Places::new());
    first.file("tree/a", b"small");
    first.file("tree/z", &bytes(64 * MIB));
    fs::create_dir(first.from.join("tree/empty")).expect("a directory");
    let servers = [first.server(&first.socket()), second.server(&second.socket())];
    let client = first.client(&["--file", "tree", &first.socket(), &second.socket()]);
    let part = first.to.join("tree/.z.part");
    let since = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) < MIB as u64 {
        assert!(since.elapsed() < LONG, "it does not come");
        sleep(Duration::from_millis(1));
    }
    servers[0].signal(Signal::SIGKILL);
    let done = client.wait_within(LONG);
    expect_success(&done);
    second.from.clone_from(&first.from);
    for name in ["tree/a", "tree/z"] {
        second.assert_same(name);
        assert_eq!(done.stdout.matches(name).count(), 1, "{}", done.report());
    }
    assert!(second.to.join("tree/empty").is_dir());
    assert!(done.stderr.contains("is another server than"), "{}", done.report());
}
