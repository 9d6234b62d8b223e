//! `wilco lookup`, and what is generated from the arguments: manual pages and completions.
//!
//! Apart from the exchange: these send no message.

use crate::harness::{Finished, Launch, expect_error, expect_success};

fn wilco(arguments: &[&str]) -> Finished {
    Launch::wilco(arguments.iter().copied()).no_input().start().wait()
}

fn json(arguments: &[&str]) -> Vec<serde_json::Value> {
    let done = wilco(&[arguments, &["--json"]].concat());
    expect_success(&done);
    done.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

#[test]
fn each_look_up_answers() {
    let table: [(&[&str], &str); 7] = [
        (&["lookup", "host", "localhost"], "127.0.0.1"),
        (&["lookup", "host", "127.0.0.1"], "localhost"),
        (&["lookup", "service", "http"], "80/tcp"),
        (&["lookup", "service", "53", "--protocol", "udp"], "domain"),
        (&["lookup", "protocol", "tcp"], "6"),
        (&["lookup", "network", "loopback"], "127.0.0.0"),
        (&["lookup", "options"], "rcvbuf"),
    ];
    for (arguments, answer) in table {
        let done = wilco(arguments);
        expect_success(&done);
        assert!(done.stdout.contains(answer), "{}", done.report());
    }
}

#[test]
fn each_look_up_answers_in_json() {
    assert_eq!(json(&["lookup", "host", "localhost"])[0]["name"], "localhost");
    assert_eq!(json(&["lookup", "host", "127.0.0.1"])[0]["name"], "localhost");
    assert_eq!(json(&["lookup", "service", "http", "--protocol", "tcp"])[0]["port"], 80);
    assert_eq!(json(&["lookup", "protocol", "udp"])[0]["number"], 17);
    assert_eq!(json(&["lookup", "network", "loopback"])[0]["address"], "127.0.0.0");
    assert!(json(&["lookup", "options"]).len() >= 60);
}

#[test]
fn what_is_not_found_is_said() {
    expect_error(&wilco(&["lookup", "host", "no-such-host.invalid"]), 3, &["no-such-host.invalid", "no such host"]);
    expect_error(&wilco(&["lookup", "service", "no-such-service"]), 2, &["no-such-service"]);
    expect_error(&wilco(&["lookup", "protocol", "no-such-protocol"]), 2, &["no-such-protocol"]);
    expect_error(&wilco(&["lookup", "dns", "localhost", "NOSUCHTYPE"]), 2, &["NOSUCHTYPE", "AAAA"]);
    expect_error(&wilco(&["lookup", "socket", "localhost", "1"]), 3, &["refused"]);
    expect_error(&wilco(&["lookup"]), 2, &["host", "dns", "wilco lookup"]);
}

#[test]
fn a_datagram_socket_is_looked_at_without_sending_anything() {
    let done = wilco(&["lookup", "socket", "udp:127.0.0.1:9"]);
    expect_success(&done);
    assert!(done.stdout.contains("datagram") && done.stdout.contains("rcvbuf"), "{}", done.report());
}

#[test]
fn manual_pages_are_written() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let pages = directory.path().join("man");
    expect_success(&wilco(&["man", &pages.display().to_string()]));
    for page in ["wilco.1", "server.1", "client.1", "wilco-server.1", "wilco-lookup.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.starts_with(".ie") || text.contains(".TH"), "{page}");
    }
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).expect("a page");
    let headings = |page: &str| -> Vec<String> {
        let heading = |line: &str| line.strip_prefix(".SH ").map(|heading| heading.trim_matches('"').to_owned());
        page.lines().filter_map(heading).collect()
    };
    let client = page("client.1");
    let sections = "NAME, SYNOPSIS, DESCRIPTION, ARGUMENTS, OPTIONS, EXAMPLES, EXIT STATUS, ENVIRONMENT, SEE ALSO";
    assert_eq!(headings(&client).join(", "), sections);
    for part in ["\\fB4\\fR\nsent but not acknowledged in time", ".SS \"Common options\"", "WILCO_TIMEOUT", "server(1)"]
    {
        assert!(client.replace("\\-", "-").contains(part), "{part:?} is not in\n{client}");
    }
    let sections = "NAME, SYNOPSIS, DESCRIPTION, OPTIONS, SUBCOMMANDS, EXIT STATUS, SEE ALSO";
    assert_eq!(headings(&page("wilco.1")).join(", "), sections);
}

#[test]
fn completions_are_for_all_three_programs() {
    for shell in ["bash", "zsh", "fish"] {
        let done = wilco(&["completions", shell]);
        expect_success(&done);
        for program in ["wilco", "server", "client"] {
            assert!(done.stdout.contains(program), "{shell} {program}");
        }
    }
    expect_error(&wilco(&["completions", "no-such-shell"]), 2, &["no-such-shell", "bash"]);
}
