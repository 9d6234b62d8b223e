//! Programs that a server runs: one for each message (`--run`), or one for each connection (`--exec`).
//!
//! Apart from the other tests of serving, because here it is the operator's program that answers, and what is left of it
//! afterwards matters as much as what it said.

mod connections;
mod ending;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use nix::sys::stat::Mode;
use nix::unistd::{getgid, getuid, mkfifo};

use crate::harness::{DEADLINE, Finished, Launch, Program, Terminal};
use crate::harness::{expect_error, expect_status, expect_success, is_root, skip};

/// A server that keeps open and runs programs.
fn server(options: &[&str]) -> (Program, String) {
    let server = Launch::server(["127.0.0.1:0", "-k", "--allow-root"].iter().chain(options)).start();
    let port = server.port();
    (server, port)
}

fn client(port: &str, options: &[&str]) -> Launch {
    Launch::client(["127.0.0.1", port].iter().chain(options)).no_input()
}

fn send(port: &str, message: &str) -> Finished {
    client(port, &["-m", message]).start().wait()
}

fn connect(port: &str) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port.parse().expect("a port"))).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("set a deadline");
    stream
}

/// Whether a process does anything any more: one that has ended may wait for its parent to look at it.
fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The processes that are, or were, started by another and that it has not let go.
fn children(parent: u32) -> Vec<String> {
    let stats = fs::read_dir("/proc").expect("list the processes").filter_map(|entry| {
        let path = entry.ok()?.path();
        fs::read_to_string(path.join("stat")).ok()
    });
    let of_parent =
        |stat: &String| stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)) == Some(&parent.to_string());
    stats.filter(of_parent).collect()
}

#[test]
fn the_exit_status_is_the_verdict() {
    let script = "read m; echo \"about $m\" >&2; case $m in
        data) exit 65;; busy) exit 75;; wrong) exit 3;; killed) kill -KILL $$;; esac";
    let (server, port) = server(&["--sh", "--run", script]);
    let table = [
        ("quiet", 0, "I got your message\n", ""),
        ("data", 5, "", "refused: about data"),
        ("busy", 4, "", "the other side says: about busy"),
        ("wrong", 4, "", "the other side says: exit status 3"),
        ("killed", 4, "", "the other side says: ended by SIGKILL"),
    ];
    for (message, status, stdout, stderr) in table {
        let done = send(&port, message);
        expect_status(&done, status);
        assert_eq!(done.stdout, stdout, "{}", done.report());
        assert!(done.stderr.contains(stderr), "{}", done.report());
    }
    // Nobody but the operator is told what a failing program has said.
    server.wait_for_stderr("about wrong");
    server.wait_for_stderr("exit status 3");
    assert_eq!(children(server.pid()), Vec::<String>::new());
}

#[test]
fn after_a_refusal_the_others_go_on_and_after_a_failure_they_do_not() {
    let (_server, port) = server(&["--sh", "--run", "read m; [ $m != no ] || exit 65; [ $m != later ] || exit 75"]);
    for (messages, status, answers) in [("a\nno\nb\n", 5, 1), ("a\nlater\nb\n", 4, 1)] {
        let mut client = Launch::client(["127.0.0.1", &port]).start();
        client.send(messages);
        let done = client.finish();
        expect_status(&done, status);
        assert!(done.stdout.lines().count() >= answers, "{}", done.report());
    }
    let mut stream = connect(&port);
    stream.write_all(b"a\nno\nb\nlater\nc\n").expect("send the messages");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("read the answers to the end");
    assert_eq!(
        answers,
        "I got your message\nwilco: refused: exit status 65\nI got your message\nwilco: not now: exit status 75\n"
    );
}

#[test]
fn a_command_that_cannot_be_run_is_an_error_of_usage() {
    let error = |options: &[&str], words: &[&str]| {
        let done = Launch::server(["127.0.0.1:0"].iter().chain(options)).no_input().start().wait();
        expect_error(&done, 2, words);
    };
    error(&["--allow-root", "--run", "no-such-program"], &["no-such-program", "PATH", "--sh"]);
    error(&["--allow-root", "--exec", "/no/such/program"], &["/no/such/program"]);
    error(&["--allow-root", "--run", "/etc/passwd"], &["/etc/passwd", "chmod"]);
    error(&["--allow-root", "--run", "cat 'x"], &["quotation mark"]);
    error(&["udp:127.0.0.1:0", "--allow-root", "--exec", "cat"], &["udp:", "--run"]);
    error(&["--exec", "cat", "--run", "cat"], &["--exec", "--run"]);
    error(&["--exec", "cat", "--framing", "nul"], &["--framing"]);
    error(&["--run", "cat", "--reply", "x"], &["--reply"]);
    if is_root() {
        error(&["--run", "cat"], &["root", "--user NAME", "--allow-root"]);
        error(&["--exec", "cat"], &["root", "--allow-root"]);
    }
}

#[test]
fn a_program_that_has_gone_fails_its_clients_and_not_the_server() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let program = directory.path().join("program");
    for option in ["--run", "--exec"] {
        fs::copy("/bin/cat", &program).expect("make a program");
        let (server, port) = server(&[option, program.to_str().expect("a path")]);
        fs::remove_file(&program).expect("remove the program");
        for _ in 0..2 {
            expect_status(&send(&port, "hello"), 4);
        }
        server.wait_for_stderr("no such file");
        fs::copy("/bin/cat", &program).expect("make it again");
        assert_eq!(send(&port, "hello").stdout, "hello\n", "{option}");
    }
}

#[test]
fn a_pipe_without_a_shell_is_noticed() {
    let (server, port) = server(&["--run", "echo a | tr a b"]);
    server.wait_for_stderr("--sh");
    assert_eq!(send(&port, "hello").stdout, "a | tr a b\n");
}

#[test]
fn what_it_prints_is_the_answer() {
    // The output, the framing, and what the client prints.
    let table: [(&str, &str, &str); 7] = [
        ("printf 'one\\n'", "line", "one\n"),
        ("printf one", "line", "one\n"),
        ("printf '\\n'", "line", "\n"),
        ("printf 'one\\ntwo\\n'", "line", "one two\n"),
        ("printf 'one\\ntwo\\n'", "nul", "one\ntwo\n\0"),
        ("printf 'one\\ntwo\\n'", "length", "one\ntwo\n\n"),
        ("cat", "line", "hello\n"),
    ];
    for (command, framing, shown) in table {
        let (_server, port) = server(&["--run", command, "--framing", framing]);
        let done = client(&port, &["-m", "hello", "--framing", framing]).start().wait();
        expect_success(&done);
        assert_eq!(done.stdout, shown, "{command} with {framing}");
    }
}

#[test]
fn an_answer_of_several_lines_does_not_count_as_several() {
    let (server, port) = server(&["--sh", "--run", "cat; echo more"]);
    let done = client(&port, &["-m", "a", "-m", "b"]).start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "a more\nb more\n");
    server.wait_for_stderr("--framing nul");
}

#[test]
fn a_message_is_its_input() {
    for (framing, length) in [("line", "6"), ("nul", "5"), ("length", "5"), ("whole", "5")] {
        let (_server, port) = server(&["--sh", "--run", "echo $(wc -c) $MSG_LEN", "--framing", framing]);
        let done = client(&port, &["-m", "hello", "--framing", framing]).start().wait();
        expect_success(&done);
        assert_eq!(done.stdout.trim_end_matches(['\n', '\0']), format!("{length} 5"), "with {framing}");
    }
    // What reads line by line finds a line, the last of the input too.
    let (_server, port) = server(&["--sh", "--run", "while read line; do echo got $line; done"]);
    assert_eq!(send(&port, "hello").stdout, "got hello\n");
}

#[test]
fn a_program_that_wants_no_input_is_no_failure() {
    let (_server, port) = server(&["--run", "true", "--framing", "whole"]);
    let mut client = Launch::client(["127.0.0.1", &port, "--framing", "whole"]).start();
    client.send(vec![b'x'; 1024 * 1024]);
    let done = client.finish();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n");
}

/// Starts a server with little in its environment, and gives what `env` prints for a message.
fn environment_at(address: &str, options: &[&str]) -> (String, BTreeMap<String, String>) {
    let path = std::env::var("PATH").expect("a PATH");
    let own = [format!("PATH={path}"), "HOME=/h".into(), "LC_ALL=C".into(), "TZ=UTC".into()];
    let others = ["SECRET=1", "NOTIFY_SOCKET=/x", "LISTEN_PID=1", "LISTEN_FDS=1", "WILCO_X=1", "MSG_X=1", "LD_X=1"];
    let words = ["-i"].into_iter().map(str::to_owned).chain(own).chain(others.map(str::to_owned));
    let program = [env!("CARGO_BIN_EXE_server"), address, "--allow-root", "--framing", "nul"].map(str::to_owned);
    let options = options.iter().map(ToString::to_string);
    let server = Launch::command("env", words.chain(program).chain(options)).start();
    let listening = server.listening();
    let done = Launch::client([listening.as_str(), "-m", "one", "-m", "hello", "--framing", "nul"]).no_input();
    let done = done.start().wait();
    expect_success(&done);
    let last =
        done.stdout.split_terminator('\0').nth(1).unwrap_or_else(|| panic!("no second answer: {}", done.report()));
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut variables: BTreeMap<_, _> = last.lines().filter_map(pair).collect();
    assert_eq!(variables.remove("PATH").as_deref(), Some(path.as_str()));
    for (name, value) in
        [("HOME", "/h"), ("LC_ALL", "C"), ("TZ", "UTC"), ("MSG_SEQ", "2"), ("MSG_LEN", "5"), ("MSG_TRY", "1")]
    {
        assert_eq!(variables.remove(name).as_deref(), Some(value), "{name}");
    }
    (listening, variables)
}

fn shown(variables: &BTreeMap<String, String>) -> Vec<String> {
    variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn a_program_learns_who_has_sent_what_and_no_more() {
    // Over a socket for both versions of IP: an IPv4 client is seen as one.
    let (listening, mut variables) = environment_at("0", &["-k", "--run", "env"]);
    let port = listening.rsplit(':').next().expect("a port");
    let remote = variables.remove("TCPREMOTEPORT").expect("the client's port");
    assert_eq!(variables.remove("NCAT_REMOTE_PORT").as_ref(), Some(&remote));
    let local = |name| format!("{name}={port}");
    let host = variables.get("TCPREMOTEIP").expect("the client's address").clone();
    assert!(["127.0.0.1", "::1"].contains(&host.as_str()), "{host}");
    assert_eq!(
        shown(&variables),
        [
            format!("NCAT_LOCAL_ADDR={host}"),
            local("NCAT_LOCAL_PORT"),
            "NCAT_PROTO=TCP".to_owned(),
            format!("NCAT_REMOTE_ADDR={host}"),
            "PROTO=TCP".to_owned(),
            format!("TCPLOCALIP={host}"),
            local("TCPLOCALPORT"),
            format!("TCPREMOTEIP={host}"),
        ]
    );
}

#[test]
fn a_program_learns_the_user_of_a_unix_client() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    for scheme in ["unix", "unix-seqpacket"] {
        let path = directory.path().join(scheme);
        let address = format!("{scheme}:{}", path.display());
        let server = Launch::server([&address, "-k", "--allow-root", "--sh", "--run", "env | tr '\\n' ' '"]).start();
        server.listening();
        let done = Launch::client([address.as_str(), "-m", "hello"]).no_input().start().wait();
        expect_success(&done);
        for part in [
            "PROTO=UNIX ".to_owned(),
            format!("UNIXLOCALPATH={} ", path.display()),
            format!("UNIXREMOTEUID={} ", getuid()),
            format!("UNIXREMOTEGID={} ", getgid()),
            "UNIXREMOTEPID=".to_owned(),
        ] {
            assert!(done.stdout.contains(&part), "{part:?} is not in {}", done.report());
        }
        assert!(!done.stdout.contains("UNIXREMOTEPATH"), "{}", done.report());
    }
}

#[test]
fn no_descriptor_is_left_open_in_it() {
    // The server is given one that it knows nothing of.
    let script = "exec 9</dev/null; exec \"$0\" 127.0.0.1:0 -k --allow-root --run 'ls /proc/self/fd'";
    let server = Launch::command("bash", ["-c", script, env!("CARGO_BIN_EXE_server")]).start();
    let port = server.port();
    let _idle = connect(&port);
    // The last is that of the list itself.
    assert_eq!(send(&port, "hello").stdout, "0 1 2 3\n");
}

#[test]
fn a_thousand_messages_in_order() {
    let (server, port) = server(&["--run", "cat"]);
    let lines: String = (0..1000).map(|number| format!("message {number}\n")).collect();
    let mut client = Launch::client(["127.0.0.1", &port]).start();
    client.send(&lines);
    let done = client.finish();
    expect_success(&done);
    assert_eq!(done.stdout, lines);
    assert_eq!(children(server.pid()), Vec::<String>::new(), "no process is left over");
}

#[test]
fn a_client_need_not_wait_for_the_last_of_its_messages() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    mkfifo(&directory.path().join("gate"), Mode::S_IRWXU).expect("make a pipe with a name");
    let script = format!("cd {}; read m; [ $m = one ] || read gate <gate; echo $m", directory.path().display());
    let (_server, port) = server(&["--sh", "--run", &script]);
    let mut stream = connect(&port);
    stream.write_all(b"one\ntwo\n").expect("send both messages");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("the answer to the first");
    assert_eq!(&answer, b"one\n");
    fs::write(directory.path().join("gate"), "\n").expect("let the second go on");
    stream.read_exact(&mut answer).expect("the answer to the second");
    assert_eq!(&answer, b"two\n");
}

#[test]
fn several_clients_are_served_at_once() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    mkfifo(&directory.path().join("meet"), Mode::S_IRWXU).expect("make a pipe with a name");
    // Either goes on when the other is there.
    let script = "cd $0; read m; if [ $m = a ]; then echo hello >meet; else cat meet; fi";
    let command = format!("sh -c '{script}' {}", directory.path().display());
    let (_server, port) = server(&["--run", &command]);
    let first = client(&port, &["-m", "a"]).start();
    let second = client(&port, &["-m", "b"]).start();
    expect_success(&first.wait());
    assert_eq!(second.wait().stdout, "hello\n");
}

#[test]
fn no_more_programs_run_at_once_than_may() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let script = format!("mkdir {0}/lock || exit 65; cat; rmdir {0}/lock", directory.path().display());
    let (_server, port) = server(&["--sh", "--run", &script, "--max-processes", "1"]);
    let clients: Vec<_> = (0..10).map(|number| client(&port, &["-m", &number.to_string()]).start()).collect();
    for (number, client) in clients.into_iter().enumerate() {
        assert_eq!(client.wait().stdout, format!("{number}\n"));
    }
}

#[test]
fn each_datagram_is_answered_by_a_program() {
    let server =
        Launch::server(["udp:127.0.0.1:0", "-k", "--allow-root", "--run", "sh -c 'cat; echo \" $PROTO $MSG_SEQ\"'"])
            .start();
    let address = server.listening();
    let clients: Vec<_> = ["one", "two"]
        .map(|message| (message, Launch::client([address.as_str(), "-m", message]).no_input().start()))
        .into();
    for (message, client) in clients {
        let done = client.wait();
        expect_success(&done);
        assert_eq!(done.stdout, format!("{message} UDP 1\n"));
    }
}

#[test]
fn a_terminal_gets_nothing_that_it_obeys_from_a_program() {
    let server = Launch::server(["127.0.0.1:0", "-k", "--allow-root", "--run", "sh -c 'cat >&2; exit 65'"]);
    let server = server.terminal(Terminal::ALL).start();
    let port = server.port();
    let done = send(&port, "\u{1b}[2Jcleared");
    expect_status(&done, 5);
    server.wait_for_screen("\\x1b[2Jcleared");
    assert!(!server.screen().contains('\u{1b}'), "{:?}", server.screen());
}

#[test]
fn a_program_that_the_other_user_may_not_run_is_a_mistake_at_the_start() {
    if !is_root() {
        skip("a_program_that_the_other_user_may_not_run_is_a_mistake_at_the_start", "being another user needs root");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("root's alone");
    let program = directory.path().join("cat");
    fs::copy("/bin/cat", &program).expect("copied");
    let run = program.to_str().expect("UTF-8");
    let done = Launch::server(["127.0.0.1:0", "--run", run, "--user", "nobody"]).start().wait();
    assert_eq!(done.status.code(), Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("may not be executed by the user"), "{}", done.stderr);
}
