//! Who is let in: rules by address and user, limits in all and of each peer; and the word for those who are not.
//!
//! Apart from the rules and counts themselves, which are tested beside the code: here real clients knock at a real server.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::harness::{Finished, Launch, Program, expect_signal, expect_success, is_root, skip};

const REFUSED: Option<i32> = Some(5);
const NOT_NOW: Option<i32> = Some(4);

fn server(options: &[&str]) -> Program {
    Launch::server(["-k"].iter().chain(options)).start()
}

fn knock(address: &str) -> Finished {
    Launch::client([address, "-m", "hello", "--timeout", "5s"]).start().wait()
}

fn let_in(address: &str) {
    let done = knock(address);
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n");
}

#[test]
fn rules_for_addresses() {
    for (rules, in_by_v4, in_by_v6) in [
        (&["--allow", "127.0.0.0/8"][..], true, false),
        (&["--allow", "::1"], false, true),
        (&["--allow", "127.0.0.1-9,::1"], true, true),
        (&["--deny", "127.0.0.1"], false, true),
        (&["--allow", "any", "--deny", "::/0"], true, false),
    ] {
        let server = server(&[&["0"], rules].concat());
        let port = server.port();
        for (host, is_in) in [("127.0.0.1", in_by_v4), ("[::1]", in_by_v6)] {
            let address = format!("tcp:{host}:{port}");
            if is_in {
                let_in(&address);
                continue;
            }
            let done = knock(&address);
            assert_eq!(done.status.code(), REFUSED, "{rules:?} {address}: {}", done.stderr);
            assert!(done.stderr.contains("not allowed"), "{}", done.stderr);
            server.wait_for_stderr("not let in: ");
        }
    }
}

#[test]
fn a_name_stands_for_its_addresses() {
    let server = server(&["127.0.0.1:0", "--allow", "localhost"]);
    let_in(&format!("127.0.0.1:{}", server.port()));
    let done = Launch::server(["0", "--allow", "no-such-host.invalid"]).start().wait();
    assert_eq!(done.status.code(), Some(3), "{}", done.stderr);
    assert!(done.stderr.contains("no-such-host.invalid"), "{}", done.stderr);
}

#[test]
fn a_client_that_says_nothing_is_told_too() {
    let server = server(&["127.0.0.1:0", "--deny", "any"]);
    let port = server.port().parse().expect("a port");
    let mut told = String::new();
    TcpStream::connect(("127.0.0.1", port)).expect("connect").read_to_string(&mut told).expect("a word");
    assert_eq!(told, "wilco: refused: not allowed\n");
}

#[test]
fn one_that_is_refused_is_no_conversation() {
    let directory = tempfile::tempdir().expect("a directory");
    let unix = format!("unix:{}", directory.path().join("s").display());
    let server = Launch::server(["127.0.0.1:0", &unix, "--deny", "127.0.0.1"]).start();
    let port = server.port();
    assert_eq!(knock(&format!("127.0.0.1:{port}")).status.code(), REFUSED);
    server.wait_for_stderr("127.0.0.1 is denied by 127.0.0.1");
    let_in(&unix);
    let done = server.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "hello\n");
}

#[test]
fn rules_of_files_and_what_is_wrong_in_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rules");
    let path = file.to_str().expect("a path");
    fs::write(&file, "# those of the house\n127.0.0.1\n\n").expect("written");
    let server = server(&["127.0.0.1:0", "--deny-file", path]);
    assert_eq!(knock(&format!("127.0.0.1:{}", server.port())).status.code(), REFUSED);
    let told = server.wait_for_stderr("not let in");
    assert!(told.contains("rules:2"), "{told}");
    let missing = directory.path().join("missing");
    let done = Launch::server(["0", "--deny-file", missing.to_str().expect("a path")]).start().wait();
    assert_eq!(done.status.code(), Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("missing cannot be read: no such file"), "{}", done.stderr);
    fs::write(&file, "127.0.0.1\n10.0.0.1/8\n").expect("written");
    let done = Launch::server(["0", "--allow-file", path]).start().wait();
    assert_eq!(done.status.code(), Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("rules:2") && done.stderr.contains("10.0.0.0/8"), "{}", done.stderr);
}

#[test]
fn files_are_read_anew_when_asked_and_mistakes_in_them_change_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rules");
    fs::write(&file, "127.0.0.1\n").expect("written");
    let server = server(&["127.0.0.1:0", "--deny-file", file.to_str().expect("a path")]);
    let address = format!("127.0.0.1:{}", server.port());
    assert_eq!(knock(&address).status.code(), REFUSED);
    fs::write(&file, "no rule at all, this\n").expect("written");
    server.signal(Signal::SIGHUP);
    server.wait_for_stderr("nothing was reloaded");
    assert_eq!(knock(&address).status.code(), REFUSED);
    fs::write(&file, "10.0.0.1\n").expect("written");
    server.signal(Signal::SIGHUP);
    // It takes effect once the file has been read.
    while knock(&address).status.code() == REFUSED {}
    let_in(&address);
}

#[test]
fn an_address_at_which_nobody_is_let_in_is_a_mistake() {
    let done = Launch::server(["unix:@wilco-nobody", "--allow", "10.0.0.0/8"]).start().wait();
    assert_eq!(done.status.code(), Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("allow unix, uid:USER or gid:GROUP too"), "{}", done.stderr);
}

#[test]
fn rules_for_users() {
    if !is_root() {
        skip("rules_for_users", "being another user needs root");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    // A user without a name: numbers will do.
    const STRANGER: u32 = 54_321;
    // An abstract name, since a socket file would keep the stranger out by itself.
    let name = format!("unix:@wilco-users-{}", std::process::id());
    let server = server(&[&name, "--allow", "uid:0"]);
    server.listening();
    let_in(&name);
    let client = directory.path().join("client");
    fs::copy(env!("CARGO_BIN_EXE_client"), &client).expect("copied");
    open_to_all(&client);
    open_to_all(directory.path());
    let done = Command::new(&client).args([&name, "-m", "hello"]).uid(STRANGER).output().expect("run");
    assert_eq!(done.status.code(), REFUSED, "{}", String::from_utf8_lossy(&done.stderr));
    server.wait_for_stderr(&format!("uid {STRANGER} matches no allow rule"));
}

fn open_to_all(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
}

#[test]
fn connections_in_all_and_of_each_peer_are_limited() {
    for (limit, word) in [
        (["--max-connections", "2"], "too many connections"),
        (["--max-per-peer", "2"], "too many connections from this address"),
    ] {
        let server = server(&[&["127.0.0.1:0"], &limit[..]].concat());
        let port = server.port();
        let address = format!("127.0.0.1:{port}");
        let connect = || TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("connect");
        let (first, _second) = (connect(), connect());
        let mut told = String::new();
        connect().read_to_string(&mut told).expect("a word");
        assert_eq!(told, format!("wilco: not now: {word}\n"));
        let done = knock(&address);
        assert_eq!(done.status.code(), NOT_NOW, "{}", done.stderr);
        drop(first);
        // Its place is free once the server has seen that it has gone.
        while knock(&address).status.code() == NOT_NOW {}
        let_in(&address);
    }
}

#[test]
fn who_comes_too_fast_is_told_so() {
    let server = server(&["127.0.0.1:0", "--rate", "1/h"]);
    let address = format!("127.0.0.1:{}", server.port());
    let_in(&address);
    let done = knock(&address);
    assert_eq!(done.status.code(), NOT_NOW, "{}", done.stderr);
    assert!(done.stderr.contains("too fast"), "{}", done.stderr);
    server.wait_for_stderr("too fast: 127.0.0.1; the limit for each peer is 1/h");
}

#[test]
fn datagrams_pass_the_same_door() {
    let denying = server(&["udp:127.0.0.1:0", "--deny", "127.0.0.1"]);
    let name = denying.listening();
    // A word is never longer than what was sent in the name of an address that may be forged.
    let long = "hello ".repeat(10);
    let done = Launch::client([&name, "-m", &long]).start().wait();
    assert_eq!(done.status.code(), REFUSED, "{}", done.stderr);
    let done = Launch::client([&name, "-m", "hi", "--timeout", "300ms"]).start().wait();
    assert_eq!(done.status.code(), NOT_NOW, "{}", done.stderr);
    assert!(done.stderr.contains("no acknowledgement within"), "{}", done.stderr);
    let slow = server(&["udp:127.0.0.1:0", "--rate", "1/h"]);
    let name = slow.listening();
    let_in(&name);
    let done = Launch::client([&name, "-m", &long]).start().wait();
    assert_eq!(done.status.code(), NOT_NOW, "{}", done.stderr);
    assert!(done.stderr.contains("too fast"), "{}", done.stderr);
}

#[test]
fn a_reload_that_takes_long_holds_up_neither_another_nor_the_end() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let rules = directory.path().join("rules");
    let write_rules = || fs::write(&rules, "any\n").expect("write the rules");
    write_rules();
    let server = Launch::server(["0", "-k", "--allow-file", &rules.display().to_string()]).start();
    server.listening();
    let hold_up = || {
        fs::remove_file(&rules).expect("remove the rules");
        nix::unistd::mkfifo(&rules, Mode::S_IRUSR | Mode::S_IWUSR).expect("make a pipe");
        server.signal(Signal::SIGHUP);
        // This waits until the server has opened it, which then waits for its end.
        fs::File::options().write(true).open(&rules).expect("open the pipe")
    };
    let first = hold_up();
    fs::remove_file(&rules).expect("remove the pipe");
    write_rules();
    server.signal(Signal::SIGHUP);
    server.wait_for_stderr("reloaded");
    let second = hold_up();
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    drop((first, second));
}
