//! `wilco bench`, each part for a moment, against this server and the bare one, and what it says of servers that fail it.
//!
//! Apart from the benchmarks, which measure: here nothing is said of any time, only that everything was counted.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Finished, Launch, Program, compile_bare, expect_error, expect_success};

fn bench(arguments: &[&str]) -> Finished {
    let brief = ["--duration", "50ms"];
    Launch::wilco(["bench"].iter().chain(arguments).chain(&brief).copied()).no_input().start().wait()
}

fn parts(arguments: &[&str]) -> Vec<Value> {
    let done = bench(&[arguments, &["--json"]].concat());
    expect_success(&done);
    done.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

fn number(part: &Value, name: &str) -> f64 {
    part[name].as_f64().unwrap_or_else(|| panic!("no number {name} in {part}"))
}

fn bare(arguments: &[&str]) -> Program {
    Launch::command(compile_bare(), arguments.iter().copied()).start()
}

/// Fails unless what a part says of itself fits together.
fn expect_sense(part: &Value) {
    let name = part["part"].as_str().expect("a name");
    assert!(number(part, "elapsed_s") > 0.0, "{part}");
    match name {
        "round-trip" | "connections" => assert!(number(part, "answered") > 0.0, "{part}"),
        "pipelined" => {
            assert!(number(part, "answered") > 0.0, "{part}");
            assert_eq!(number(part, "sent") - number(part, "answered"), number(part, "lost"), "{part}");
        }
        "connect" | "idle" => assert!(number(part, "connections") > 0.0, "{part}"),
        "bulk" => assert!(number(part, "sent_bytes") > 0.0, "{part}"),
        other => panic!("a part that nobody knows: {other}"),
    }
    if ["round-trip", "connections", "connect"].contains(&name) {
        let times = ["p50_us", "p90_us", "p99_us", "p99_9_us", "max_us"].map(|time| number(part, time));
        assert!(times[0] > 0.0 && times.is_sorted(), "{part}");
    }
}

fn names(parts: &[Value]) -> Vec<&str> {
    parts.iter().map(|part| part["part"].as_str().expect("a name")).collect()
}

#[test]
fn every_part_against_the_server() {
    let server = Launch::server(["-k", "--reply", "ok", "127.0.0.1:0"]).start();
    let (address, pid) = (server.listening(), server.pid().to_string());
    let parts = parts(&[&address, "--pid", &pid, "-c", "5"]);
    // What a server has freed for others would not be seen any more.
    assert_eq!(names(&parts), ["idle", "round-trip", "connections", "pipelined", "connect", "connect", "bulk"]);
    parts.iter().for_each(expect_sense);
    assert_eq!(number(&parts[0], "connections"), 5.0);
    assert!(number(&parts[0], "memory_before_bytes") > 0.0, "{}", parts[0]);
    assert_eq!(number(&parts[3], "lost"), 0.0, "a stream loses nothing: {}", parts[3]);
    assert_eq!([number(&parts[4], "clients"), number(&parts[5], "clients")], [1.0, 8.0]);
    let bulk = &parts[6];
    // The server answers each line of 32 KiB with two letters and a newline.
    assert_eq!(number(bulk, "sent_bytes") / 32768.0, number(bulk, "received_bytes") / 3.0, "{bulk}");
}

#[test]
fn what_was_displayed_is_what_was_counted() {
    let server = Launch::server(["-k", "127.0.0.1:0"]).start();
    let address = server.listening();
    let found = parts(&[&address, "--only", "pipelined", "-s", "2000", "-d", "20ms"]);
    let sent = number(&found[0], "sent") as usize;
    server.signal(nix::sys::signal::Signal::SIGTERM);
    // One more: the first exchange, which is not measured.
    assert_eq!(server.wait().stdout.lines().count(), sent + 1);
}

#[test]
fn every_part_against_the_bare_server() {
    let server = bare(&["-a", "I got your message"]);
    let parts = parts(&["127.0.0.1", &server.port(), "-c", "5", "-s", "100"]);
    assert_eq!(names(&parts), ["round-trip", "connections", "pipelined", "connect", "connect", "bulk"]);
    parts.iter().for_each(expect_sense);
    assert!(parts.iter().all(|part| number(part, "size_bytes") == 100.0));
    assert_eq!(number(&parts[5], "sent_bytes") / 32768.0, number(&parts[5], "received_bytes") / 19.0, "{}", parts[5]);
}

#[test]
fn what_an_echo_sends_back_is_counted() {
    let server = bare(&["-e"]);
    let parts = parts(&["127.0.0.1", &server.port(), "--only", "bulk,pipelined"]);
    assert_eq!(names(&parts), ["pipelined", "bulk"], "in the order of the manual");
    parts.iter().for_each(expect_sense);
    assert_eq!(parts[1]["sent_bytes"], parts[1]["received_bytes"], "{}", parts[1]);
}

#[test]
fn a_server_that_only_reads_can_be_measured_in_bulk() {
    let server = bare(&["-s"]);
    let parts = parts(&["127.0.0.1", &server.port(), "--only", "bulk"]);
    expect_sense(&parts[0]);
    assert_eq!(number(&parts[0], "received_bytes"), 0.0);
}

#[test]
fn sockets_of_every_kind() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let stream = ["round-trip", "connections", "pipelined", "connect", "connect", "bulk"];
    let table: [(String, &[&str]); 4] = [
        (format!("unix:{}", path("stream")), &stream),
        (format!("unix-seqpacket:{}", path("packets")), &stream[..5]),
        (format!("unix-dgram:{}", path("datagrams")), &stream[..3]),
        ("udp:127.0.0.1:0".to_owned(), &stream[..3]),
    ];
    for (address, expected) in table {
        let server = Launch::server(["-k", "--reply", "ok", &address]).start();
        let parts = parts(&[&server.listening(), "-c", "3"]);
        assert_eq!(names(&parts), expected, "{address}");
        parts.iter().for_each(expect_sense);
    }
}

#[test]
fn datagrams_of_the_bare_server() {
    let server = bare(&["-u"]);
    let parts = parts(&[&server.listening()]);
    assert_eq!(names(&parts), ["round-trip", "connections", "pipelined"]);
    parts.iter().for_each(expect_sense);
}

#[test]
fn at_a_rate_every_message_that_was_due_is_sent() {
    let server = bare(&[]);
    let address = format!("127.0.0.1:{}", server.port());
    for rate in ["2K/s", "2000000/s"] {
        let parts = parts(&[&address, "--only", "round-trip", "--rate", rate]);
        expect_sense(&parts[0]);
        // 50 ms of them, however late they were sent.
        let due = number(&parts[0], "target_rate_per_s") * 0.05;
        assert!((number(&parts[0], "answered") - due).abs() <= 1.0, "{}", parts[0]);
    }
}

#[test]
fn a_server_that_stalls_stops_no_messages_at_a_rate() {
    // It answers nothing until all 50 have come: whoever waits for an answer before the next message waits for ever.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port().to_string();
    std::thread::spawn(move || {
        // The first has connected only to see whether somebody is there.
        let mut connection = listener.accept().and_then(|_| listener.accept()).expect("a connection").0;
        connection.read_exact(&mut [0; 64]).expect("the first message");
        connection.write_all(b"ok\n").expect("answer");
        connection.read_exact(&mut [0; 50 * 64]).expect("the others");
        connection.write_all(&b"ok\n".repeat(50)).expect("answer");
        let _ = connection.read(&mut [0]);
    });
    let found = &parts(&["127.0.0.1", &port, "--only", "round-trip", "--rate", "1K/s"])[0];
    assert_eq!(number(found, "answered"), 50.0, "{found}");
    // The first was due 49 ms before the last, and the middle one 24: that is certain, however fast or slow the machine is.
    assert!(number(found, "max_us") >= 48_900.0 && number(found, "p50_us") >= 23_900.0, "{found}");
}

#[test]
fn people_get_a_table_and_a_picture() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let picture = directory.path().join("times.svg").display().to_string();
    let servers = [bare(&[]), bare(&["-a", "another"])];
    let [one, two] = [&servers[0], &servers[1]].map(|server| format!("tcp:127.0.0.1:{}", server.port()));
    let done = bench(&[&one, &two, "--only", "round-trip,connections", "--plot", &picture]);
    expect_success(&done);
    assert_eq!(done.stderr, "", "progress is for terminals");
    for words in ["p99.9", "round trip", "64 connections", &one, &two] {
        assert!(done.stdout.contains(words), "{words}: {}", done.report());
    }
    let svg = std::fs::read_to_string(&picture).expect("the picture");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert_eq!(svg.matches("<path class=\"curve").count(), 8, "four curves, each with its sign in the legend");
}

#[test]
fn mistakes_are_told_before_anything_is_measured() {
    let server = bare(&["-u"]);
    let address = server.listening();
    expect_error(&bench(&["--only", "speed", "51717"]), 2, &["speed", "round-trip"]);
    expect_error(&bench(&["--only", "bulk", &address]), 2, &["bulk", "udp:", "pipelined"]);
    expect_error(&bench(&["--pid", "999999999", &address]), 2, &["999999999", "process"]);
    expect_error(&bench(&["--only", "pipelined", "--rate", "5/s", &address]), 2, &["--rate", "round-trip"]);
    expect_error(&bench(&["--only", "pipelined", "--plot", "x.svg", &address]), 2, &["--plot", "round-trip"]);
    expect_error(&bench(&["exec:cat"]), 2, &["exec:cat", "tcp:"]);
    expect_error(&bench(&[]), 2, &["HOST PORT"]);
}

#[test]
fn nobody_there_is_status_3() {
    let free = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address").port();
    expect_error(&bench(&["127.0.0.1", &free.to_string()]), 3, &["refused"]);
    expect_error(&bench(&[&format!("udp:127.0.0.1:{free}")]), 3, &["refused"]);
    expect_error(&bench(&["unix:/no/such/socket"]), 3, &["/no/such/socket"]);
}

#[test]
fn a_server_that_answers_nothing_is_status_4() {
    let server = bare(&["-s"]);
    for part in ["round-trip", "connections", "pipelined", "connect", "idle"] {
        let done = bench(&["127.0.0.1", &server.port(), "--only", part, "--timeout", "100ms"]);
        assert_eq!(done.status.code(), Some(4), "{}", done.report());
        assert!(done.stderr.contains("100ms") && done.stderr.contains(part), "{}", done.report());
    }
}

/// A server that lets clients connect, and does with the message of the one that sends something what is said.
fn server_in_thread(answer: impl Fn(&mut std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            if connection.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                answer(&mut connection);
            }
        }
    });
    port
}

#[test]
fn a_server_that_goes_half_way_is_status_4() {
    // After the first answer it is gone.
    let port = server_in_thread(|connection| connection.write_all(b"ok\n").expect("answer"));
    let done = bench(&["127.0.0.1", &port, "--only", "round-trip"]);
    assert_eq!(done.status.code(), Some(4), "{}", done.report());
    assert!(done.stderr.contains("round-trip with tcp:127.0.0.1"), "{}", done.report());
}

#[test]
fn a_server_of_no_lines_is_told() {
    let port = server_in_thread(|connection| connection.write_all(b"I got your message").expect("answer"));
    let done = bench(&["127.0.0.1", &port, "--only", "round-trip"]);
    assert_eq!(done.status.code(), Some(4), "{}", done.report());
    assert!(done.stderr.contains("18 bytes") && done.stderr.contains("no end of a line"), "{}", done.report());
}

#[test]
fn messages_that_the_server_refuses_are_status_5() {
    let server = Launch::server(["-k", "--max-message", "10", "127.0.0.1:0"]).start();
    let done = bench(&[&server.listening(), "--only", "pipelined"]);
    assert_eq!(done.status.code(), Some(5), "{}", done.report());
}

/// Runs a script of those that measure, and gives the page and what it said.
fn measure(script: &str, options: &[&str], directory: &Path) -> (String, String) {
    let done = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(script))
        .args(["--quick", "--rounds", "1", "--out", "."])
        .args(options)
        .args(["--wilco", env!("CARGO_BIN_EXE_wilco")])
        .env("CARGO_TARGET_DIR", directory)
        .current_dir(directory)
        .output()
        .expect("run the script");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}");
    (std::fs::read_to_string(directory.join("benchmarks.md")).expect("the page"), said)
}

/// What a script has written into the page.
fn tables<'a>(page: &'a str, script: &str) -> &'a str {
    let (_, from) = page.split_once(&format!("written by benches/{script} -->")).expect("its tables");
    from.split_once("<!-- end -->").expect("their end").0
}

#[test]
fn the_comparison_of_stores_runs() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let (page, said) = measure("durable", &["--duration", "50ms"], directory.path());
    let is_store = |line: &&str| line.contains("store |") && line.matches("(").count() >= 1;
    let rows: Vec<&str> = tables(&page, "durable").lines().filter(is_store).collect();
    assert_eq!(rows.len(), 4, "{page}\n{said}");
    let (_, before) = page.split_once("written by benches/compare").expect("the other table");
    assert!(before.contains("| bare "), "{page}");
}

#[test]
fn the_measuring_of_many_sessions_runs() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let sender = Path::new(env!("CARGO_BIN_EXE_wilco")).with_file_name("examples").join("many_sessions");
    let (page, said) = measure("scale", &["--sender", sender.to_str().expect("a path")], directory.path());
    let page = tables(&page, "scale");
    assert_eq!(page.matches("| all of 100 |").count(), 1, "{page}\n{said}");
    assert_eq!(page.matches("| 1000 sessions known |").count(), 1, "{page}\n{said}");
    assert!(!page.contains("| - |"), "everything was measured: {page}\n{said}");
}

#[test]
fn the_measuring_of_files_runs() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let bare = Path::new(env!("CARGO_BIN_EXE_wilco")).with_file_name("examples").join("bare_files");
    let (page, said) = measure("files", &["--bare", bare.to_str().expect("a path")], directory.path());
    let page = tables(&page, "files");
    for row in ["| bare | ", "| client --file | "] {
        assert!(page.lines().any(|line| line.starts_with(row) && line.matches("MB/s").count() == 2), "{page}\n{said}");
    }
}

#[test]
fn the_comparison_runs() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let (page, said) = measure("compare", &["--duration", "50ms"], directory.path());
    for words in ["| bare ", "wilco server", "ncat", "socat"] {
        assert!(page.contains(words), "{words}: {page}\n{said}");
    }
    let svg = std::fs::read_to_string(directory.path().join("benchmarks.svg")).expect("the picture");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
}
