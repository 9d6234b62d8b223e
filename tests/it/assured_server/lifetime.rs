//! How a server that stores begins and ends: its arguments, its files, signals under load, clients that read nothing.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::Signal;

use super::talk::{connect, open, stream};
use super::{expect_numbers, start, stored, storing};
use crate::harness::{Launch, expect_error, expect_signal, expect_success, is_root, skip};

const SID: &str = "e23456789abcdef0";

#[test]
fn sigterm_under_load_acknowledges_what_is_stored_and_sends_the_clients_elsewhere() {
    let (server, port, directory) = storing(&[]);
    let mut talk = open(&port, SID, 1, 1_000_000);
    let mut writer = talk.writer();
    let sending = std::thread::spawn(move || {
        for number in 1.. {
            if writer.write_all(format!("M {number} 7\n{number:07}\n").as_bytes()).is_err() || number == 999_999 {
                return;
            }
        }
    });
    let mut told = false;
    let acknowledged = loop {
        let line = talk.hear();
        let number: u64 = match line.split(' ').collect::<Vec<_>>()[..] {
            ["A", number] => number.parse().expect("a number"),
            ["BYE", number, "drain"] => break number.parse().expect("a number"),
            _ => panic!("{line:?}"),
        };
        if number > 100 && !told {
            server.signal(Signal::SIGTERM);
            told = true;
        }
        assert!(number < 999_999, "it has never stopped");
    };
    drop(talk);
    sending.join().expect("the sender");
    let done = server.wait();
    expect_signal(&done, Signal::SIGTERM);
    expect_numbers(&directory, SID, acknowledged);
}

#[test]
fn a_second_sigterm_ends_it_at_once_and_loses_nothing() {
    let (server, port, directory) = storing(&[]);
    let mut talk = open(&port, SID, 1, 3);
    talk.say("M 1 1\na\n");
    talk.expect_acknowledged(1);
    // A plain client that goes on and on keeps a server from ending; this one has not read its last words, either.
    let mut idle = connect(&port);
    idle.say("half a li");
    server.signal(Signal::SIGTERM);
    talk.expect("BYE 1 drain");
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    let (_server, port) = start(&directory, &[]);
    let mut talk = open(&port, SID, 1, 3);
    assert!(talk.granted().starts_with("acked=1 "));
    talk.say("M 2 1\nb\n");
    talk.expect_acknowledged(2);
    expect_numbers(&directory, SID, 2);
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut last = 0;
    for _ in 0..5 {
        let (server, port) = start(&directory, &[]);
        let mut talk = open(&port, SID, last + 1, last + 2);
        let messages: String = (last + 1..=last + 500).map(|number| format!("M {number} 7\n{number:07}\n")).collect();
        talk.say(messages);
        let line = talk.expect_start("A ");
        server.signal(Signal::SIGKILL);
        last = line[2..].parse().expect("a number");
        loop {
            let line = talk.hear();
            match line.strip_prefix("A ") {
                Some(number) => last = number.parse().expect("a number"),
                None => break,
            }
        }
        expect_signal(&server.wait(), Signal::SIGKILL);
    }
    let count = stored(directory.path()).len() as u64;
    assert!(count >= last, "{count} of {last}");
    expect_numbers(&directory, SID, count);
}

#[test]
fn a_client_that_reads_nothing_is_given_up_and_others_are_served() {
    let (server, port) = {
        let reply = "x".repeat(60_000);
        let options = ["-kv", "127.0.0.1:0", "--reply", &reply, "--write-timeout", "1s"];
        let server = Launch::server(options).start();
        let port = server.port();
        (server, port)
    };
    let mut deaf = stream(&port);
    deaf.write_all(format!("WILCO/1 OPEN sid={SID} first=1 next=9 reply=1\n").as_bytes()).expect("open");
    let messages: String = (1..=1000).map(|number| format!("M {number} 1\na\n")).collect();
    deaf.write_all(messages.as_bytes()).expect("send");
    server.wait_for_stderr("the peer reads nothing");
    let mut talk = open(&port, "f23456789abcdef0", 1, 2);
    talk.say("M 1 1\na\n");
    talk.expect_acknowledged(1);
}

#[test]
fn what_store_cannot_be_combined_with_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path").to_owned();
    let file = path("x.db");
    for options in [
        &["--reply", "x"][..],
        &["--run", "true"],
        &["--exec", "cat"],
        &["--service", "echo"],
        &["--chat"],
        &["--framing", "read"],
        &["--name", ""],
        &["--name", "two\nlines"],
    ] {
        let server = Launch::server(["127.0.0.1:0", "--store", file.as_str()].iter().chain(options)).start();
        let named = options[0].trim_start_matches("--");
        expect_error(&server.wait(), 2, &[named]);
        assert!(!std::path::Path::new(&file).exists(), "{options:?}: nothing is done before a mistake is found");
    }
    std::fs::write(path("text"), "this is no database, and it is long enough to be seen as none".repeat(20))
        .expect("a file");
    for (file, says) in [
        (path("nowhere/x.db"), "mkdir"),
        (path("text"), "no store"),
        (path(""), "no store"),
        ("http://localhost/messages".to_owned(), "a stream of NATS"),
    ] {
        expect_error(&Launch::server(["127.0.0.1:0", "--store", &file]).start().wait(), 2, &[says]);
    }
    assert!(std::fs::read_to_string(path("text")).expect("a file").starts_with("this is no database"));
}

#[test]
fn a_server_that_stores_is_for_many_and_tells_of_it_as_json() {
    let (server, port, directory) = storing(&["--json"]);
    for _ in 0..2 {
        let client = Launch::client(["127.0.0.1", &port, "-m", "hello"]).no_input().start();
        expect_success(&client.wait());
    }
    let mut talk = open(&port, SID, 1, 3);
    talk.say("M 1 1\na\n");
    talk.expect_acknowledged(1);
    let mut newer = open(&port, SID, 1, 3);
    let taken = server.wait_for_stdout("\"taken-over\"");
    assert!(taken.contains(&format!("\"session\":\"{SID}\"")), "{taken}");
    newer.say("BYE\n");
    newer.expect("BYE 1");
    let opened = server.wait_for_stdout("\"event\":\"opened\"");
    assert!(opened.ends_with(&format!("\"session\":\"{SID}\",\"acknowledged\":0}}")), "{opened}");
    let event = server.wait_for_stdout("\"through\":1");
    assert!(event.contains("\"event\":\"stored\"") && event.contains("\"messages\":1"), "{event}");
    assert_eq!(server.screen().matches("\"event\":\"stored\"").count(), 3, "{}", server.screen());
    assert!(!server.screen().contains("hello"), "{}", server.screen());
    assert_eq!(stored(directory.path()).len(), 3);
}

#[test]
fn the_files_belong_to_the_account_and_can_be_used_again() {
    if !is_root() {
        return skip("the_files_belong_to_the_account_and_can_be_used_again", "only root may become another user");
    }
    let (server, port, directory) = storing(&["--user", "nobody"]);
    let mut talk = open(&port, SID, 1, 3);
    talk.say("M 1 1\na\n");
    talk.expect_acknowledged(1);
    let nobody = nix::unistd::User::from_name("nobody").expect("look up").expect("a user").uid.as_raw();
    for name in ["messages.db", "messages.db-wal", "messages.db-shm"] {
        let file = std::fs::metadata(directory.path().join(name)).expect("a file");
        assert_eq!((file.uid(), file.mode() & 0o777), (nobody, 0o600), "{name}");
    }
    server.signal(Signal::SIGTERM);
    talk.expect("BYE 1 drain");
    expect_signal(&server.wait(), Signal::SIGTERM);
    let (_server, port) = start(&directory, &["--user", "nobody"]);
    let mut talk = open(&port, SID, 1, 3);
    talk.say("M 2 1\nb\n");
    talk.expect_acknowledged(2);
    expect_numbers(&directory, SID, 2);
}

#[test]
fn a_store_that_is_deleted_ends_the_server_and_nothing_more_is_acknowledged() {
    let accounts: &[&[&str]] = if is_root() { &[&[], &["--user", "nobody"]] } else { &[&[]] };
    for options in accounts {
        let (server, port, directory) = storing(options);
        let mut talk = open(&port, SID, 1, 3);
        talk.say("M 1 1\na\n");
        talk.expect_acknowledged(1);
        for name in ["messages.db", "messages.db-wal", "messages.db-shm"] {
            std::fs::remove_file(directory.path().join(name)).expect("delete a file");
        }
        talk.say("M 2 1\nb\n");
        expect_error(&server.wait(), 1, &["messages.db was deleted or replaced while the server used it"]);
        while let line = talk.hear()
            && !line.is_empty()
        {
            assert!(!line.starts_with("A "), "{line}");
        }
    }
}

#[test]
fn an_output_that_is_full_is_said_to_be_that() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("messages.db");
    let script = "exec \"$@\" >/dev/full";
    let words = ["-c", script, "sh", env!("CARGO_BIN_EXE_server"), "127.0.0.1:0", "--json", "--store"];
    let words = words.into_iter().chain([file.to_str().expect("a path")]);
    let server = Launch::command("sh", words).start().wait();
    expect_error(&server, 1, &["standard output: no space left on device"]);
}

#[test]
fn a_quiet_server_says_that_a_session_lost_messages() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path").to_owned();
    let (socket, file) = (format!("unix:{}", path("socket")), path("messages.db"));
    let server = Launch::server([&socket, "-q", "--store", &file]).start();
    let mut client = Launch::client(["--raw", "--wait", &socket]).start();
    client.send(format!("WILCO/1 OPEN sid={SID} first=5 next=6\n"));
    client.wait_for_stdout("410");
    server.wait_for_stderr("the session ends: 410");
}

#[test]
fn a_full_disk_is_said_and_what_is_sent_again_is_stored_once_there_is_room() {
    if !is_root() {
        return skip(
            "a_full_disk_is_said_and_what_is_sent_again_is_stored_once_there_is_room",
            "only root may mount a file system",
        );
    }
    let directory = tempfile::tempdir().expect("a directory");
    // A file system of its own, which goes with the namespace of the server.
    let script = "mount -t tmpfs -o size=400k none \"$1\" && shift && exec \"$@\"";
    let file = directory.path().join("messages.db");
    let program = env!("CARGO_BIN_EXE_server");
    let words =
        ["-m", "sh", "-c", script, "sh", directory.path().to_str().expect("a path"), program, "-v", "127.0.0.1:0"];
    let server =
        Launch::command("unshare", words.into_iter().chain(["--store", file.to_str().expect("a path")])).start();
    let port = server.port();
    // What is to be freed later: how much of what comes is stored until nothing fits is a matter of time.
    let ballast = Path::new("/proc").join(server.pid().to_string()).join("root");
    let ballast = ballast.join(directory.path().strip_prefix("/").expect("an absolute path")).join("ballast");
    std::fs::write(&ballast, vec![0; 100_000]).expect("a file on the same file system");
    let mut talk = open(&port, SID, 1, 3);
    talk.say("M 1 1\na\n");
    talk.expect_acknowledged(1);
    let large = "x".repeat(500_000);
    talk.say(format!("M 2 {}\n{large}\nM 3 1\nc\n", large.len()));
    let line = talk.expect_start("R 2 ");
    assert!(line.contains(" 507 there is no room on the disk"), "{line}");
    server.wait_for_stderr("no room on the disk");
    let mut plain = connect(&port);
    plain.say(format!("{}\n", "y".repeat(60_000)).repeat(10));
    loop {
        let line = plain.hear();
        assert!(!line.is_empty(), "it was all taken");
        if line != "I got your message" {
            assert_eq!(line, "wilco: not now: there is no room on the disk");
            break;
        }
    }
    // What there is room for is taken.
    std::fs::remove_file(&ballast).expect("room");
    talk.say("M 2 1\nb\n");
    loop {
        let line = talk.hear();
        if line == "A 2" {
            break;
        }
        assert!(line.starts_with("R 2 "), "{line}");
        std::thread::yield_now();
        talk.say("M 2 1\nb\n");
    }
    talk.say("BYE\n");
    talk.expect("BYE 2");
}
