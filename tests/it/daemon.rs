//! A server as a daemon: whose it is and what it may do, its socket files, its supervisor, and what SIGHUP does.
//!
//! Apart from serving: no message matters here but to show that it goes on. The kernel is asked (`/proc`), not the program.

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, Pid, User};

use crate::harness::{
    DEADLINE, Launch, Program, expect_error, expect_signal, expect_status, expect_success, is_root, skip,
};

/// A server for many, with these options, that listens.
fn server(options: &[&str]) -> (Program, String) {
    let server = Launch::server(["-k"].iter().chain(options)).start();
    let name = server.listening();
    (server, name)
}

/// A line of `/proc/PID/status` for each thread, without its name.
fn status(server: &Program, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the threads of the server");
    let line = |task: PathBuf| {
        let status = fs::read_to_string(task.join("status")).expect("the status of a thread");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.expect("a line of that name").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    tasks.map(|task| line(task.expect("a thread").path())).collect()
}

#[track_caller]
fn expect_every_thread(server: &Program, name: &str, value: &str) {
    let found = status(server, name);
    assert!(!found.is_empty() && found.iter().all(|found| found == value), "{name}: {found:?}, not {value:?}");
}

fn expect_service(name: &str) {
    let name = name.replace("[::]", "localhost");
    expect_success(&Launch::client([name.as_str(), "-m", "hello"]).no_input().start().wait());
}

/// Skips the test unless it may change its user.
fn may_change_user(test: &str) -> bool {
    if !is_root() {
        skip(test, "only root may become another user");
    }
    is_root()
}

fn user(name: &str) -> User {
    User::from_name(name).expect("look up a user").expect("a user that every system has")
}

fn group(name: &str) -> u32 {
    Group::from_name(name).expect("look up a group").expect("a group that every system has").gid.as_raw()
}

#[test]
fn a_socket_file_is_never_open_to_more_than_was_asked_for() {
    if !may_change_user("a_socket_file_is_never_open_to_more_than_was_asked_for") {
        return;
    }
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let (owner, group) = (user("nobody").uid.as_raw(), group("daemon"));
    let options = ["--socket-mode", "0666", "--socket-user", "nobody", "--socket-group", "daemon"];
    for round in 0..20 {
        let path = directory.path().join(round.to_string());
        let listens = Arc::new(AtomicBool::new(false));
        let watcher = std::thread::spawn({
            let (path, listens) = (path.clone(), listens.clone());
            move || {
                let mut seen = BTreeSet::new();
                loop {
                    let last = listens.load(Ordering::Relaxed);
                    if let Ok(file) = fs::symlink_metadata(&path) {
                        seen.insert((file.mode() & 0o7777, file.uid(), file.gid()));
                    }
                    if last {
                        return seen;
                    }
                }
            }
        });
        let address = format!("unix:{}", path.display());
        let (_server, _) = server(&[&[address.as_str()], &options[..]].concat());
        listens.store(true, Ordering::Relaxed);
        let seen = watcher.join().expect("watched");
        // stat(2) may see one of the owners changed and the other not yet: to either, it is closed until both are.
        let is_closed = |(mode, _, _): &(u32, u32, u32)| *mode == 0o600;
        let end = (0o666, owner, group);
        assert!(seen.iter().all(|state| is_closed(state) || *state == end), "{seen:?}");
        assert!(seen.contains(&end), "{seen:?}");
    }
}

#[test]
fn a_socket_file_that_was_given_away_is_replaced_and_removed_as_ours() {
    if !may_change_user("a_socket_file_that_was_given_away_is_replaced_and_removed_as_ours") {
        return;
    }
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("s");
    let address = format!("unix:{}", path.display());
    for _ in 0..2 {
        let (server, _) = server(&[&address, "--socket-user", "nobody"]);
        // It dies, and leaves its file.
        server.signal(Signal::SIGKILL);
        expect_signal(&server.wait(), Signal::SIGKILL);
        assert_eq!(fs::metadata(&path).expect("the file is left").uid(), user("nobody").uid.as_raw());
    }
    let (server, _) = server(&[&address, "--socket-user", "nobody"]);
    expect_service(&address);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    assert!(!path.exists(), "the sandbox lets it remove its own file");
}

#[test]
fn permissions_are_for_those_who_have_a_file() {
    let refused = |arguments: &[&str], words: &[&str]| {
        expect_error(&Launch::server(arguments).no_input().start().wait(), 2, words);
    };
    refused(&["0", "--socket-mode", "0600"], &["--socket-mode", "unix:PATH"]);
    refused(&["unix:@name", "--socket-group", "root"], &["abstract name has no permissions", "path"]);
    refused(&["systemd", "--socket-user", "root"], &[".socket unit"]);
    refused(&["unix:s", "--socket-user", "no such user"], &["there is no user `no such user`", "getent passwd"]);
    refused(&["unix:s", "--socket-group", "no such group"], &["there is no group", "getent group"]);
    refused(&["unix:s", "--socket-mode", "rw"], &["octal"]);
    refused(&["0", "--group", "root"], &["--user", "--socket-group"]);
    refused(&["0", "--user", "4242424"], &["4242424", "--group"]);
}

#[test]
fn it_runs_as_another_user_for_good() {
    if !may_change_user("it_runs_as_another_user_for_good") {
        return;
    }
    let (nobody, daemon) = (user("nobody"), group("daemon"));
    let four = |number: u32| [number.to_string().as_str(); 4].join(" ");
    let own_group = nobody.gid.as_raw();
    let table: [(&[&str], u32, u32); 3] = [
        (&["--user", "nobody"], nobody.uid.as_raw(), own_group),
        (&["--user", "nobody", "--group", "daemon"], nobody.uid.as_raw(), daemon),
        (&["--user", "4242424", "--group", "4242425"], 4_242_424, 4_242_425),
    ];
    for (options, uid, gid) in table {
        // From groups that it must leave; a name, so that a thread has looked it up before.
        let arguments = ["--groups", "4,24", env!("CARGO_BIN_EXE_server"), "-k", "localhost:0"];
        let server = Launch::command("setpriv", arguments.iter().chain(options)).start();
        let name = server.listening();
        expect_every_thread(&server, "Uid", &four(uid));
        expect_every_thread(&server, "Gid", &four(gid));
        expect_every_thread(&server, "Groups", &gid.to_string());
        expect_every_thread(&server, "CapPrm", "0000000000000000");
        expect_every_thread(&server, "NoNewPrivs", "1");
        expect_service(&name);
    }
}

#[test]
fn who_may_not_change_its_user_is_told() {
    if !may_change_user("who_may_not_change_its_user_is_told") {
        return;
    }
    let as_nobody = |options: &[&str]| {
        let arguments = ["--reuid", "nobody", "--regid", "daemon", "--clear-groups", env!("CARGO_BIN_EXE_server")];
        Launch::command("setpriv", arguments.iter().chain(options)).no_input().start()
    };
    let done = as_nobody(&["0", "--user", "root"]).wait();
    expect_error(&done, 2, &["may not become", "start it as root"]);
    // To stay what it is takes no privilege.
    as_nobody(&["0", "--user", "nobody", "--group", "daemon"]).listening();
    let directory = tempfile::tempdir().expect("make a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("open the directory to all");
    let path = directory.path().join("s");
    let address = format!("unix:{}", path.display());
    let done = as_nobody(&[&address, "--socket-user", "root"]).wait();
    expect_error(&done, 3, &["only root may give a file to another user"]);
    let done = as_nobody(&[&address, "--socket-group", "root"]).wait();
    expect_error(&done, 3, &["only a member of the group"]);
    assert!(!path.exists(), "what could not be made as asked does not stay");
}

#[test]
fn it_is_in_a_sandbox_unless_that_is_not_wanted() {
    let (sandboxed, name) = server(&["0", "-v"]);
    let said = sandboxed.wait_for_stderr("sandbox: ");
    assert!(said.contains("seccomp"), "{said}");
    if sandboxed.stderr().contains("without landlock: this kernel has none") {
        skip("it_is_in_a_sandbox_unless_that_is_not_wanted", "this kernel has no landlock");
    } else {
        assert!(said.contains("landlock"), "{said}");
    }
    expect_every_thread(&sandboxed, "Seccomp", "2");
    expect_every_thread(&sandboxed, "NoNewPrivs", "1");
    expect_service(&name);
    let (free, name) = server(&["0", "-v", "--no-sandbox"]);
    expect_every_thread(&free, "Seccomp", &own_status("Seccomp"));
    expect_every_thread(&free, "NoNewPrivs", &own_status("NoNewPrivs"));
    assert!(!free.stderr().contains("sandbox"), "{}", free.stderr());
    expect_service(&name);
}

fn own_status(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").expect("the status of the test");
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a line").trim().to_owned()
}

/// A supervisor's socket, and what comes to it.
struct Supervisor(UnixDatagram);

impl Supervisor {
    fn at(addr: &SocketAddr) -> Supervisor {
        let socket = UnixDatagram::bind_addr(addr).expect("bind the supervisor's socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("set a deadline");
        Supervisor(socket)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("the supervisor is told something");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

#[test]
fn a_supervisor_is_told_what_happens_in_its_order() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("notify");
    let name = format!("wilco-notify-{}", std::process::id());
    let addresses = [
        (path.display().to_string(), SocketAddr::from_pathname(&path).expect("an address")),
        (format!("@{name}"), SocketAddr::from_abstract_name(&name).expect("an address")),
    ];
    for (variable, addr) in addresses {
        let supervisor = Supervisor::at(&addr);
        let server = Launch::server(["0", "-k"]).env("NOTIFY_SOCKET", &variable).start();
        let listening = format!("listening on {}", server.listening());
        assert_eq!(supervisor.next(), format!("READY=1\nSTATUS={listening}"));
        let before = monotonic();
        server.signal(Signal::SIGHUP);
        let reloading = supervisor.next();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|time| time.parse::<u128>().ok());
        let time = time.unwrap_or_else(|| panic!("{reloading:?}"));
        assert!((before..=monotonic()).contains(&time), "{time}");
        assert_eq!(supervisor.next(), "READY=1");
        server.signal(Signal::SIGTERM);
        assert_eq!(supervisor.next(), "STOPPING=1");
        expect_signal(&server.wait(), Signal::SIGTERM);
        supervisor.0.set_nonblocking(true).expect("do not wait");
        assert!(supervisor.0.recv(&mut [0]).is_err(), "told more than that");
    }
}

fn monotonic() -> u128 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("the time");
    std::time::Duration::from(now).as_micros()
}

#[test]
fn a_supervisor_is_told_by_who_has_lost_the_right_to_look_it_up() {
    if !may_change_user("a_supervisor_is_told_by_who_has_lost_the_right_to_look_it_up") {
        return;
    }
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("notify");
    let supervisor = Supervisor::at(&SocketAddr::from_pathname(&path).expect("an address"));
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("close the directory");
    let server = Launch::server(["0", "--user", "nobody"]).env("NOTIFY_SOCKET", &path.display().to_string()).start();
    assert!(supervisor.next().starts_with("READY=1"));
    // A server for one conversation tells of its end, too.
    expect_service(&server.listening());
    assert_eq!(supervisor.next(), "STOPPING=1");
    expect_success(&server.wait());
}

#[test]
fn a_watchdog_hears_from_a_server_that_lives() {
    let name = format!("wilco-watchdog-{}", std::process::id());
    let supervisor = Supervisor::at(&SocketAddr::from_abstract_name(&name).expect("an address"));
    let launch = Launch::server(["0", "-k"]).env("NOTIFY_SOCKET", &format!("@{name}"));
    let server = launch.clone().env("WATCHDOG_USEC", "20000").start();
    assert!(supervisor.next().starts_with("READY=1"));
    for _ in 0..3 {
        assert_eq!(supervisor.next(), "WATCHDOG=1");
    }
    drop(server);
}

#[test]
fn a_supervisor_that_is_not_there_does_not_matter() {
    for variable in ["/nowhere/to/be/found", "@nobody-listens-here", "vsock:2:9"] {
        let server = Launch::server(["0", "-k"]).env("NOTIFY_SOCKET", variable).start();
        expect_service(&server.listening());
        assert!(server.stderr().contains(variable), "{}", server.stderr());
    }
}

#[test]
fn what_a_supervisor_says_is_not_for_programs_that_are_started() {
    let script = "read message; set | grep -c -e ^LISTEN -e ^NOTIFY -e ^WATCHDOG";
    let mut client = Launch::client([&format!("exec:sh -c '{script}'"), "-m", "hello"]).no_input();
    for variable in wilco::net::SUPERVISOR_VARIABLES {
        client = client.env(variable, "1");
    }
    let done = client.start().wait();
    assert_eq!(done.stdout, "0\n", "{}", done.report());
}

#[test]
fn sighup_has_a_server_for_many_reload_and_go_on() {
    let (server, name) = server(&["0"]);
    server.signal(Signal::SIGHUP);
    server.wait_for_stderr("reloaded");
    expect_service(&name);
}

#[test]
fn sighup_ends_a_server_for_one_and_its_file() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("s");
    let server = Launch::server([format!("unix:{}", path.display())]).start();
    server.listening();
    server.signal(Signal::SIGHUP);
    expect_signal(&server.wait(), Signal::SIGHUP);
    assert!(!path.exists());
}

#[test]
fn a_terminal_that_goes_takes_the_server_along_unless_nohup_forbids() {
    // `script` is the terminal; past it, the server tells on the standard error of the test.
    let at_terminal = |wrapper: &str| {
        let script = format!(
            "exec script -qec 'echo process $$ >&3; exec {wrapper} \"$SERVER\" -k 0 >/dev/null 2>&3' /dev/null 3>&2"
        );
        let terminal = Launch::command("bash", ["-c", &script]).env("SERVER", env!("CARGO_BIN_EXE_server")).start();
        let process = terminal.wait_for_stderr("process ");
        terminal.listening();
        terminal.signal(Signal::SIGKILL);
        let process = process.split_whitespace().last().and_then(|number| number.parse().ok());
        (terminal, Pid::from_raw(process.expect("the number of a process")))
    };
    let (terminal, _) = at_terminal("");
    // It ends when nobody has its output open any more.
    let done = terminal.wait();
    assert!(!done.stderr.contains("reloaded"), "{}", done.report());
    let (terminal, server) = at_terminal("nohup");
    terminal.wait_for_stderr("reloaded");
    kill(server, Signal::SIGTERM).expect("it is still there");
    terminal.wait();
}

#[test]
fn it_takes_all_descriptors_that_it_may_have() {
    let script = "ulimit -Sn 256; exec \"$0\" -k 0";
    let server = Launch::command("bash", ["-c", script, env!("CARGO_BIN_EXE_server")]).start();
    server.listening();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("the limits of the server");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit of open files");
    let [soft, hard, ..] = files.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{files:?}") };
    assert_eq!(soft, hard);
    assert_ne!(soft, "256");
}

/// The command that a unit file starts, its program replaced by the one of this build.
fn unit_command(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/systemd").join(file);
    let unit = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let mut words: Vec<String> = command.split_whitespace().map(Into::into).collect();
    assert!(words[0].ends_with("/server"), "{command}");
    words[0] = env!("CARGO_BIN_EXE_server").into();
    words
}

#[test]
fn the_units_start_a_server_on_the_socket_that_systemd_has_made() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).expect("listen in the place of systemd");
    let name = format!("wilco-unit-{}", std::process::id());
    let supervisor = Supervisor::at(&SocketAddr::from_abstract_name(&name).expect("an address"));
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=wilco exec \"$0\" \"$@\"";
    let words = ["-c".to_owned(), script.to_owned()].into_iter().chain(unit_command("wilco-server.service"));
    let server = Launch::command("bash", words).input(listener).env("NOTIFY_SOCKET", &format!("@{name}")).start();
    assert!(supervisor.next().starts_with("READY=1"));
    expect_service(&format!("unix:{}", path.display()));
    let passed = fs::read_to_string(format!("/proc/{}/fdinfo/3", server.pid())).expect("the socket that was passed");
    let flags = passed.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim).expect("its flags");
    let flags = i32::from_str_radix(flags, 8).expect("an octal number");
    assert_ne!(flags & nix::fcntl::OFlag::O_CLOEXEC.bits(), 0, "programs that it starts would get it, too");
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    assert!(path.exists(), "the file is systemd's");
}

const UNITS: [&str; 7] = [
    "wilco-server.service",
    "wilco-server.socket",
    "wilco-store.service",
    "wilco-store.socket",
    "wilco-drain.service",
    "wilco-drain.timer",
    "wilco-work.service",
];

#[test]
fn systemd_finds_nothing_to_complain_of_in_the_units() {
    let systemd = Command::new("systemd-analyze").arg("--version").output();
    if !systemd.is_ok_and(|output| output.status.success()) {
        return skip("systemd_finds_nothing_to_complain_of_in_the_units", "there is no systemd-analyze here");
    }
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let mut arguments = vec![std::ffi::OsString::from("verify"), "--man=no".into()];
    for file in UNITS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/systemd").join(file);
        let unit = fs::read_to_string(path).expect("read a unit");
        let copy = directory.path().join(file);
        // It wants to see the programs, too.
        let unit = unit.replace("/usr/local/bin/server", env!("CARGO_BIN_EXE_server"));
        let unit = unit.replace("/usr/local/bin/client", env!("CARGO_BIN_EXE_client"));
        let unit = unit.replace("/usr/local/bin/wilco", env!("CARGO_BIN_EXE_wilco"));
        fs::write(&copy, unit).expect("write a unit");
        arguments.push(copy.into());
    }
    let done = Launch::command("systemd-analyze", arguments).no_input().start().wait();
    expect_status(&done, 0);
    let about_ours: Vec<_> = done.stderr.lines().filter(|line| line.contains("wilco-")).collect();
    assert_eq!(about_ours, [""; 0]);
}
