//! Disks that fail, fill up, and are slow, under a store and under a spool.
//!
//! Apart from processes that are killed: here the calls return, with an error or late, and what the process makes of that is the question.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use super::pipeline::{LONE, LONG, Server, body, check_store};
use super::points::{Choice, Injection, Point, counting, has_strace, points, tell};
use super::{Pipeline, killed};
use crate::harness::{Finished, Launch, Program, expect_signal, expect_status, is_root, skip};

/// How many messages a run has.
const MESSAGES: u64 = 24;

const SYNCS: [&str; 2] = ["fsync", "fdatasync"];
const WRITES: [&str; 4] = ["fsync", "fdatasync", "pwrite64", "ftruncate"];

/// A program that was told of an error of the disk has ended with status 1, and says it.
#[track_caller]
fn expect_failure(done: &Finished) {
    expect_status(done, 1);
    assert!(done.stderr.to_lowercase().contains("i/o error"), "{}", done.report());
}

/// The points of a server after its start: what fails there fails under way.
fn under_way(call: &str, first: u64, points: &[Point]) -> Vec<Point> {
    points.iter().filter(|point| point.call == call && point.when >= first).cloned().collect()
}

/// The store's thread makes the most calls: what is done before it is started is passed over.
const START: u64 = 6;

#[test]
fn a_server_whose_sync_fails_acknowledges_nothing_more_and_ends() {
    const TEST: &str = "a_server_whose_sync_fails_acknowledges_nothing_more_and_ends";
    if !has_strace(TEST) {
        return;
    }
    let all = under_way("fdatasync", START, &killed::server_points(true));
    let chosen = Choice::of(TEST).some(6, &all);
    let mut hit = 0;
    for point in &chosen {
        tell(&format!("EIO from {point}"));
        let pipeline = Pipeline::new();
        pipeline.make_store();
        let (launch, when, file) = (pipeline.server(), point.when, pipeline.path("calls"));
        let server = Server::start(move |round| match round {
            // All later ones fail, too, so that one that is tried again is seen.
            0 => {
                let inject = Injection::of(&format!("fdatasync:error=EIO:when={when}+"));
                inject.telling(launch.clone(), &["fdatasync", "sendto"], &file)
            }
            _ => launch.clone(),
        });
        pipeline.deliver(MESSAGES, |_| pipeline.client());
        let ended = server.stop();
        if ended.len() == 1 {
            // More messages had come together than when the calls were counted.
            continue;
        }
        hit += 1;
        expect_failure(&ended[0]);
        assert!(ended[0].stderr.contains("could not be brought to the disk"), "{}", ended[0].report());
        pipeline.check(MESSAGES);
        let calls = fs::read_to_string(pipeline.path("calls")).expect("calls");
        let (_, after) = calls.split_once("EIO").unwrap_or_else(|| panic!("no sync failed: {calls}"));
        assert!(!after.contains("sync("), "another sync after the one that failed: {after}");
        assert!(!after.contains("\"A "), "acknowledged after a sync had failed: {after}");
    }
    tell(&format!("{TEST}: {hit} failures, at {} of {} syncs", chosen.len(), all.len()));
    assert!(hit * 2 > chosen.len(), "only {hit} have failed");
}

#[test]
fn a_server_whose_write_fails_ends_and_the_next_goes_on() {
    const TEST: &str = "a_server_whose_write_fails_ends_and_the_next_goes_on";
    if !has_strace(TEST) {
        return;
    }
    let all = under_way("pwrite64", START, &killed::server_points(true));
    let chosen = Choice::of(TEST).some(6, &all);
    for point in &chosen {
        tell(&format!("EIO from {point}"));
        let pipeline = Pipeline::new();
        pipeline.make_store();
        let (launch, inject) = (pipeline.server(), Injection::of(&format!("pwrite64:error=EIO:when={}", point.when)));
        let server =
            Server::start(move |round| if round == 0 { inject.around(launch.clone()) } else { launch.clone() });
        pipeline.deliver(MESSAGES, |_| pipeline.client());
        let ended = server.stop();
        let (last, failed) = ended.split_last().expect("one");
        expect_signal(last, Signal::SIGTERM);
        failed.iter().for_each(expect_failure);
        pipeline.check(MESSAGES);
    }
    tell(&format!("{TEST}: at {} of {} writes", chosen.len(), all.len()));
}

#[test]
fn a_client_whose_spool_fails_ends_and_the_next_goes_on() {
    const TEST: &str = "a_client_whose_spool_fails_ends_and_the_next_goes_on";
    if !has_strace(TEST) {
        return;
    }
    let counted = Pipeline::new();
    let (launch, trace) = (counted.server(), counted.path("calls"));
    let server = Server::start(move |_| launch.clone());
    counted.deliver(MESSAGES, |_| counting(counted.client(), &WRITES, &trace));
    server.stop();
    let all = points(&trace);
    let mut chosen = Choice::of(TEST).some(16, &all);
    // The first that come together, with more behind them: nothing of those may be accepted before these.
    chosen.push(Point { call: "pwrite64".to_owned(), when: 2 * LONE + 1 });
    let mut failures = 0;
    for point in &chosen {
        tell(&format!("EIO from {point}"));
        let pipeline = Pipeline::new();
        let launch = pipeline.server();
        let server = Server::start(move |_| launch.clone());
        let inject = Injection::of(&format!("{}:error=EIO:when={}", point.call, point.when));
        failures += pipeline.deliver_after(MESSAGES, expect_failure, |round| match round {
            0 => inject.around(pipeline.client()),
            _ => pipeline.client(),
        });
        assert_eq!(server.killed(), 0);
        pipeline.check(MESSAGES);
    }
    tell(&format!("{TEST}: {failures} failures, at {} of {} calls", chosen.len(), all.len()));
    assert!(failures as usize * 2 > chosen.len(), "only {failures} have failed");
}

#[test]
fn a_disk_that_was_full_for_some_calls_loses_nothing() {
    const TEST: &str = "a_disk_that_was_full_for_some_calls_loses_nothing";
    if !has_strace(TEST) {
        return;
    }
    let choice = Choice::of(TEST);
    let whens: Vec<u64> = (10..100).step_by(3).collect();
    for when in choice.some(1, &whens) {
        tell(&format!("ENOSPC from write {when}"));
        let pipeline = Pipeline::new();
        pipeline.make_store();
        let inject = Injection::of(&format!("pwrite64:error=ENOSPC:when={when}..{}", when + 1));
        let (launch, around) = (pipeline.server(), inject.clone());
        let server = Server::start(move |_| around.around(launch.clone()));
        // The client's has the same. It ends where it cannot note what is final, and the next goes on.
        let expect = |done: &Finished| {
            expect_status(done, 1);
            assert!(done.stderr.contains("there is no room for the spool"), "{}", done.report());
        };
        pipeline.deliver_after(MESSAGES, expect, |round| match round {
            0 => inject.around(pipeline.client()),
            _ => pipeline.client(),
        });
        assert_eq!(server.killed(), 0);
        pipeline.check(MESSAGES);
    }
}

/// Starts a program with a file system of 6 MiB of its own in this directory, of which all but `room` is taken.
pub(crate) fn on_a_full_disk(launch: Launch, directory: &Path, room: u32) -> Launch {
    let script = format!(
        "mount -t tmpfs -o size=6m none {0} && head -c {1} /dev/zero >{0}/filler && exec \"$@\"",
        directory.display(),
        (6 << 20) - room
    );
    launch.through(["unshare", "-m", "sh", "-c", &script, "sh"])
}

/// Makes room on it.
fn make_room(program: &Program, directory: &Path) {
    fs::remove_file(format!("/proc/{}/root{}/filler", program.pid(), directory.display())).expect("make room");
}

#[test]
fn a_spool_on_a_full_disk_waits_and_goes_on() {
    const TEST: &str = "a_spool_on_a_full_disk_waits_and_goes_on";
    if !is_root() {
        return skip(TEST, "only root may mount a file system");
    }
    let pipeline = Pipeline::new();
    let server = pipeline.server().start();
    server.listening();
    let disk = pipeline.path("disk");
    fs::create_dir(&disk).expect("a directory");
    let spool = disk.join("spool");
    let client = Launch::client(["-v", "--json", "--spool", spool.to_str().expect("a path"), &pipeline.address()]);
    let mut client = on_a_full_disk(client, &disk, 60_000).start();
    let through = 400;
    // More than there is room for while nothing is acknowledged: the server is asleep.
    server.signal(Signal::SIGSTOP);
    let lines: String = (1..=through).map(|number| body(number) + "\n").collect();
    client.send(lines);
    client.close_stdin();
    client.wait_for_stderr("no room for the spool");
    make_room(&client, &disk);
    server.signal(Signal::SIGCONT);
    expect_status(&client.wait_within(LONG), 0);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    check_store(pipeline.store(), through);
}

#[test]
fn a_store_on_a_full_disk_puts_off_and_a_client_goes_on_by_itself() {
    const TEST: &str = "a_store_on_a_full_disk_puts_off_and_a_client_goes_on_by_itself";
    if !is_root() {
        return skip(TEST, "only root may mount a file system");
    }
    let pipeline = Pipeline::new();
    let disk = pipeline.path("disk");
    fs::create_dir(&disk).expect("a directory");
    let store = disk.join("store.db");
    let server = Launch::server(["-v", &pipeline.address(), "--store", store.to_str().expect("a path")]);
    let server = on_a_full_disk(server, &disk, 700_000).start();
    server.listening();
    let mut client = pipeline.client().start();
    let through = 2000;
    let lines: String = (1..=through).map(|number| body(number) + "\n").collect();
    client.send(lines);
    client.close_stdin();
    server.wait_for_stderr("no room on the disk");
    make_room(&server, &disk);
    expect_status(&client.wait_within(LONG), 0);
    // The file system goes with the server, which must not change it while it is copied.
    server.signal(Signal::SIGSTOP);
    for end in ["", "-wal"] {
        let file = format!("/proc/{}/root{}{end}", server.pid(), store.display());
        fs::copy(file, pipeline.path(&format!("copy.db{end}"))).expect("copied");
    }
    check_store(&pipeline.path("copy.db"), through);
}

#[test]
fn files_that_may_not_grow_put_off_and_go_on() {
    let pipeline = Pipeline::new();
    let limit = |program: &Program, bytes: &str| {
        let words = [format!("--pid={}", program.pid()), format!("--fsize={bytes}:")];
        let done = Command::new("prlimit").args(words).output().expect("run prlimit");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let server = Launch::server(["-v", &pipeline.address(), "--store", pipeline.store().to_str().expect("a path")]);
    let server = server.start();
    server.listening();
    limit(&server, "600000");
    // More than a store or a spool writes at once, so that each is full under way.
    let through = 8000;
    let lines: String = (1..=through).map(|number| body(number) + "\n").collect();
    fs::write(pipeline.path("input"), lines).expect("written");
    let input = File::open(pipeline.path("input")).expect("the input");
    let spool = pipeline.spool().to_str().expect("a path");
    let client = Launch::client(["-v", "--json", "--spool", spool, &pipeline.address()]).input(input);
    let client = client.through(["prlimit", "--fsize=1500000:"]).start();
    server.wait_for_stderr("no room on the disk");
    client.wait_for_stderr("no room for the spool");
    limit(&server, "unlimited");
    limit(&client, "unlimited");
    let done = client.wait_within(LONG);
    expect_status(&done, 0);
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
    pipeline.check(through);
}

#[test]
fn while_a_disk_is_slow_a_ping_is_answered_before_what_waits_for_it() {
    const TEST: &str = "while_a_disk_is_slow_a_ping_is_answered_before_what_waits_for_it";
    if !has_strace(TEST) {
        return;
    }
    let pipeline = Pipeline::new();
    pipeline.make_store();
    let inject = Injection::of(&format!("{}:delay_enter=300ms", SYNCS.join(",")));
    let server = inject.around(pipeline.server()).start();
    server.listening();
    let mut writer = UnixStream::connect(pipeline.path("socket")).expect("connect");
    let mut lines = BufReader::new(writer.try_clone().expect("a second handle")).lines();
    let mut hear = || lines.next().expect("a line").expect("read a line");
    writer.write_all(b"WILCO/1 OPEN sid=a23456789abcdef0 first=1 next=1\n").expect("open");
    assert!(hear().starts_with("WILCO/1 OK acked=0"));
    for number in 1..=3 {
        writer.write_all(format!("M {number} 1\na\nPING p{number}\n").as_bytes()).expect("send");
        assert_eq!(hear(), format!("PONG p{number}"));
        assert_eq!(hear(), format!("A {number}"));
    }
    // Whoever sends as much as he may has it all stored, with few syncs.
    drop((writer, lines));
    pipeline.deliver(MESSAGES, |_| pipeline.client());
}
