//! What is shown beside messages, and in other forms: events as JSON, the log as JSON, dumps of the traffic.
//!
//! Apart from the exchange, because programs and people at work on a problem read this, and lean on its names.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Finished, Launch, Program, Terminal, expect_signal, expect_status, expect_success};

fn objects(lines: &str) -> Vec<Value> {
    let parsed = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    lines.lines().map(parsed).collect()
}

/// The fields of an event: all that there may be, and those that must.
type Fields = (BTreeSet<String>, BTreeSet<String>);

/// The fields of each event of a program, as the documentation has them. An event may have several kinds.
fn documented(program: &str) -> BTreeMap<String, Vec<Fields>> {
    let mut events = BTreeMap::<_, Vec<_>>::new();
    for row in include_str!("../../docs/json.md").lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [of, event, _, fields] = cells[..] else { continue };
        if of == program || of == "both" {
            let (mut all, mut needed) = (BTreeSet::from(["event".to_owned()]), BTreeSet::from(["event".to_owned()]));
            for field in fields.split(", ") {
                let alternatives = field.split(" or ").map(|name| name.trim_matches(['(', ')']).to_owned());
                all.extend(alternatives);
                if !field.contains(" or ") && !field.starts_with('(') {
                    needed.insert(field.to_owned());
                }
            }
            events.entry(event.trim_matches('`').to_owned()).or_default().push((all, needed));
        }
    }
    events
}

/// Fails unless each line is an event that is documented, with the fields that are; gives the names in order.
#[track_caller]
fn expect_documented(program: &str, lines: &str) -> Vec<String> {
    let documented = documented(program);
    let mut names = Vec::new();
    for object in objects(lines) {
        let name = object["event"].as_str().expect("an event has a name").to_owned();
        let kinds = documented.get(&name).unwrap_or_else(|| panic!("{name} is not documented for {program}"));
        let fields: BTreeSet<String> = object.as_object().expect("an object").keys().cloned().collect();
        let fits = kinds.iter().any(|(all, needed)| fields.is_subset(all) && needed.is_subset(&fields));
        assert!(fits, "{object} is not as documented: {kinds:?}");
        names.push(name);
    }
    names
}

fn stopped(server: Program) -> Finished {
    server.signal(Signal::SIGTERM);
    let done = server.wait();
    expect_signal(&done, Signal::SIGTERM);
    done
}

fn client(arguments: &[&str]) -> Finished {
    Launch::client(arguments).no_input().start().wait()
}

#[test]
fn events_of_an_exchange() {
    let server = Launch::server(["--json", "-k", "--max-message", "100", "127.0.0.1:0"]).start();
    let port = server.port();
    let done = client(&["--json", "127.0.0.1", &port, "-m", "one", "-m", "caf\u{e9} \u{1b}[2J \u{202e}"]);
    expect_success(&done);
    assert_eq!(expect_documented("client", &done.stdout), ["connected", "answer", "answer", "done"]);
    let told = objects(&done.stdout);
    assert_eq!((&told[2]["number"], &told[2]["text"]), (&2.into(), &"I got your message".into()));
    assert_eq!((&told[3]["sent"], &told[3]["acknowledged"], &told[3]["refused"]), (&2.into(), &2.into(), &0.into()));
    let done = client(&["--json", "127.0.0.1", &port, "-m", &"x".repeat(101)]);
    expect_status(&done, 5);
    assert_eq!(expect_documented("client", &done.stdout), ["connected", "refused", "done", "error"]);
    assert_eq!(objects(&done.stdout)[3]["status"], 5);
    server.wait_for_count("\"event\":\"ended\"", 2);
    let done = stopped(server);
    let names: BTreeSet<String> = expect_documented("server", &done.stdout).into_iter().collect();
    let expected = ["acknowledged", "connected", "ended", "listening", "message", "refused"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(expected));
    let told = objects(&done.stdout);
    let message = told.iter().find(|event| event["event"] == "message" && event["number"] == 2).expect("the second");
    assert_eq!(message["text"], "caf\u{e9} \u{1b}[2J \u{202e}");
    assert!(told[0]["address"].as_str().is_some_and(|address| address == format!("tcp:127.0.0.1:{port}")));
    let handled: u64 = told
        .iter()
        .filter(|event| event["event"] == "acknowledged")
        .filter_map(|event| event["messages"].as_u64())
        .sum();
    assert_eq!(handled, 2);
    assert!(!done.stdout.contains(['\u{1b}', '\u{202e}']), "{}", done.report());
}

#[test]
fn events_of_every_kind_of_socket() {
    for (number, scheme) in ["udp", "unix", "unix-dgram", "unix-seqpacket"].iter().enumerate() {
        let address = match number {
            0 => "udp:127.0.0.1:0".to_owned(),
            _ => format!("{scheme}:@wilco-json-{}-{number}", std::process::id()),
        };
        let server = Launch::server(["--json", "-k", &address, "--reply", "ok"]).start();
        let mut sending = Launch::client(["--json", &server.listening()]).start();
        sending.send(b"\xff\xfe");
        let done = sending.finish();
        expect_success(&done);
        assert_eq!(expect_documented("client", &done.stdout), ["connected", "answer", "done"]);
        server.wait_for_stdout("\"event\":\"message\"");
        let done = stopped(server);
        let names = expect_documented("server", &done.stdout);
        for name in ["listening", "message"] {
            assert!(names.iter().any(|found| found == name), "{}", done.report());
        }
        let told = objects(&done.stdout);
        let message = told.iter().find(|event| event["event"] == "message").expect("a message");
        assert_eq!(message["base64"], "//4=", "{}", done.report());
    }
}

#[test]
fn a_failure_is_an_event_and_a_line() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen on a free port");
    let port = listener.local_addr().expect("the port").port().to_string();
    drop(listener);
    let done = client(&["--json", "--log-format", "json", "127.0.0.1", &port, "-m", "x"]);
    expect_status(&done, 3);
    assert_eq!(expect_documented("client", &done.stdout), ["error"]);
    for (object, level) in [(&objects(&done.stdout)[0], None), (&objects(&done.stderr)[0], Some("error"))] {
        assert_eq!(object["errno"], "ECONNREFUSED");
        assert_eq!(object["operation"], "connect");
        assert_eq!(object["address"], format!("127.0.0.1:{port}"));
        assert_eq!(object["level"].as_str(), level);
        assert!(object["hint"].as_str().is_some_and(|hint| hint.contains("nothing listens")), "{object}");
    }
}

#[test]
fn the_log_as_json() {
    let server = Launch::server(["-k", "-vv", "--trace", "--log-format", "json", "127.0.0.1:0"]).start();
    let line = server.wait_for_stderr("listening on");
    let told = objects(&line);
    assert_eq!((&told[0]["level"], &told[0]["message"]), (&"info".into(), &told[0]["message"]));
    let port = told[0]["message"].as_str().and_then(|text| text.rsplit(':').next()).expect("a port").to_owned();
    expect_success(&client(&["127.0.0.1", &port, "-m", "hello"]));
    server.wait_for_stderr("1 message");
    let done = stopped(server);
    let levels: BTreeSet<String> =
        objects(&done.stderr).iter().map(|line| line["level"].as_str().expect("a level").to_owned()).collect();
    assert!(levels.contains("trace") && levels.contains("info"), "{}", done.report());
    for line in objects(&done.stderr) {
        let time = line["time"].as_str().expect("a time");
        assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }
    assert_eq!(done.stdout, "hello\n", "messages are what they are");
}

#[test]
fn the_traffic_in_hexadecimal() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let dump = directory.path().join("dump");
    let name = dump.to_str().expect("a path in UTF-8");
    let server = Launch::server(["--hex", "-k", "127.0.0.1:0", "udp:127.0.0.1:0", "--dump", name]).start();
    let address = server.listening();
    for _ in 0..2 {
        let done = client(&["--hex", &address, "-m", "red \u{1b}[31m alert, and more"]);
        expect_success(&done);
        assert_eq!(done.stdout, "I got your message\n");
        let expected = [
            format!(" {address} length=26 from=0 to=25"),
            "00000000  72 65 64 20 1b 5b 33 31  6d 20 61 6c 65 72 74 2c  |red .[31m alert,|".to_owned(),
            "00000010  20 61 6e 64 20 6d 6f 72  65 0a                    | and more.|".to_owned(),
            format!(" {address} length=19 from=0 to=18"),
        ];
        for text in expected {
            assert!(done.stderr.contains(&text), "{text:?} is not in {}", done.report());
        }
        assert!(done.stderr.starts_with("> ") && done.stderr.contains("\n< "), "{}", done.report());
    }
    server.wait_for_stderr("< ");
    let udp = server.wait_for_stderr("listening on udp:");
    let udp = udp.strip_prefix("listening on ").expect("an address");
    expect_success(&client(&[udp, "-m", "hello"]));
    let done = stopped(server);
    let dumped = std::fs::read_to_string(&dump).expect("read the dump");
    for direction in ["< ", "> "] {
        let lines =
            |scheme: &str| dumped.lines().filter(|line| line.starts_with(direction) && line.contains(scheme)).count();
        assert_eq!((lines(" tcp:127.0.0.1:"), lines(" udp:127.0.0.1:")), (2, 1), "{dumped}");
    }
    let shown: String = done.stderr.lines().filter(|line| !line.starts_with("listening")).collect();
    assert_eq!(shown, dumped.lines().collect::<String>(), "the file has what is shown");
    assert_eq!(dump.metadata().expect("the dump").permissions().mode() & 0o777, 0o600);
    // It is added to, and one that cannot be made is a mistake.
    expect_status(&client(&["--dump", name, "127.0.0.1:1", "-m", "x"]), 3);
    assert_eq!(std::fs::read_to_string(&dump).expect("read the dump"), dumped);
    expect_status(&client(&["--dump", &format!("{name}/x"), &address]), 2);
}

#[test]
fn packets_are_seen_both_ways_whatever_is_done_with_them() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    for (number, service) in [&["--service", "echo", "-k"][..], &["--chat"], &["-k"]].into_iter().enumerate() {
        let address = format!("unix-seqpacket:{}", directory.path().join(number.to_string()).display());
        let server = Launch::server([&["--hex", &address], service].concat()).start();
        let mut client = Launch::client(["--raw", &server.listening()]).start();
        client.send("hello");
        let shown = server.wait_for_stderr("< ");
        assert!(shown.contains("#1 length=5 from=0 to=4"), "{service:?}: {shown}");
        server.wait_for_stderr("> ");
        client.finish();
    }
}

#[test]
fn raw_bytes_are_seen_too_and_are_no_events() {
    let mut raw = Launch::client(["--raw", "--hex", "exec:cat"]).start();
    raw.send("hello");
    let done = raw.finish();
    expect_success(&done);
    assert!(
        done.stderr.contains(" exec:cat length=5 from=0 to=4") && done.stderr.contains("|hello|"),
        "{}",
        done.report()
    );
    expect_status(&client(&["--raw", "--json", "exec:cat"]), 2);
}

#[test]
fn a_terminal_is_shown_nothing_that_it_obeys() {
    let server = Launch::server(["--json", "--hex", "127.0.0.1:0"]).terminal(Terminal::ALL).start();
    let done = client(&[&server.listening(), "-m", "\u{1b}[31m\u{9b}2J\u{202e}\u{7f}"]);
    expect_success(&done);
    let shown = server.wait().stdout;
    assert!(shown.contains("\\u001b[31m\\u009b2J\\u202e\\u007f"), "{shown:?}");
    assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{7f}']), "{shown:?}");
}

#[test]
fn verbose_says_where_it_is_connected_and_tries() {
    let server = Launch::server(["-k", "127.0.0.1:0"]).start();
    let done = client(&["-vv", "127.0.0.1", &server.port(), "-m", "hello"]);
    expect_success(&done);
    for words in ["trying 127.0.0.1:", "connected to 127.0.0.1:", "1 of 1 messages acknowledged"] {
        assert!(done.stderr.contains(words), "{words:?} is not in {}", done.report());
    }
}

#[test]
fn a_server_whose_reader_has_gone_ends_quietly() {
    for options in [&["-k"] as &[&str], &["-k", "--json"]] {
        let script = r#"exec 3>&1; { "$0" "$@" 127.0.0.1:0 2>&3; echo "status $?" >&3; } | head -n 1 >&3"#;
        let words = ["-c", script, env!("CARGO_BIN_EXE_server")];
        let server = Launch::command("bash", words.iter().chain(options)).no_input().start();
        server.wait_for_screen("listening on");
        let port = server.screen().split("127.0.0.1:").nth(1).expect("a port").to_owned();
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        // The second or third finds that nobody reads any more.
        for _ in 0..3 {
            let _ = client(&["127.0.0.1", &port, "-m", "hello"]);
        }
        let done = server.wait();
        assert!(done.stdout.contains("status 1"), "{}", done.report());
        assert!(!done.stdout.to_lowercase().contains("pipe"), "{}", done.report());
    }
}

#[test]
fn a_client_whose_reader_has_gone_ends_quietly() {
    let server = Launch::server(["-k", "127.0.0.1:0"]).start();
    let script = r#"seq 50000 | "$0" --json 127.0.0.1 "$1" | head -n 1; echo "${PIPESTATUS[1]}""#;
    let words = ["-c", script, env!("CARGO_BIN_EXE_client"), &server.port()];
    let done = Launch::command("bash", words).no_input().start().wait();
    assert!(
        done.stdout.starts_with("{\"event\":\"connected\"") && done.stdout.ends_with("}\n0\n"),
        "{}",
        done.report()
    );
    assert_eq!(done.stderr, "");
}
