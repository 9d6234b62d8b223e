//! The exchange, ours with ours: one message, one acknowledgement, the end; then several, typed, given or piped.
//!
//! Apart from everything made of it, because this page of `command-line.md` is held to the letter.

use nix::sys::signal::Signal;

use crate::harness::{Launch, Program, Terminal, expect_signal, expect_success};

fn server() -> (Program, String) {
    let server = Launch::server(["0"]).start();
    let port = server.port();
    (server, port)
}

fn expect_shown(server: Program, shown: &str) {
    let done = server.wait();
    expect_success(&done);
    assert_eq!(done.stdout, shown);
    let noise: Vec<&str> = done.stderr.lines().filter(|line| !line.starts_with("listening on ")).collect();
    assert!(noise.is_empty(), "a server is silent but for its messages: {}", done.report());
}

#[test]
fn one_message_and_both_end() {
    let (server, port) = server();
    let done = Launch::client(["localhost", &port, "-m", "hello"]).no_input().start().wait();
    expect_success(&done);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("I got your message\n", ""));
    expect_shown(server, "hello\n");
}

#[test]
fn the_banner_tells_the_true_port() {
    let server = Launch::server(["0"]).start();
    let line = server.wait_for_stderr("listening on");
    let port = line.strip_prefix("listening on tcp:[::]:").unwrap_or_else(|| panic!("another banner: {line:?}"));
    assert_ne!(port.parse::<u16>().expect("a port at the end of the banner"), 0);
    assert_eq!(server.screen(), "", "the banner is no message");
}

#[test]
fn the_banner_keeps_the_address_that_was_asked_for() {
    for (address, start) in [
        ("tcp4:0", "tcp:0.0.0.0:"),
        ("127.0.0.1:0", "tcp:127.0.0.1:"),
        ("[::1]:0", "tcp:[::1]:"),
        ("udp:127.0.0.1:0", "udp:127.0.0.1:"),
        ("udp:0", "udp:[::]:"),
    ] {
        let listening = Launch::server([address]).start().listening();
        assert!(listening.starts_with(start) && !listening.ends_with(":0"), "{address} listens on {listening}");
    }
}

#[test]
fn a_prompt_at_a_terminal() {
    let (server, port) = server();
    let mut client = Launch::client(["localhost", &port]).terminal(Terminal::ALL).start();
    client.wait_for_screen("Please enter the message: ");
    client.type_line("hello");
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "Please enter the message: hello\nI got your message\n");
    expect_shown(server, "hello\n");
}

#[test]
fn a_prompt_is_no_answer() {
    // Typed at a terminal, answers into a pipe: what the pipe gets is the acknowledgement alone.
    let (server, port) = server();
    let mut client = Launch::client(["localhost", &port]).terminal(Terminal::STDIN).start();
    client.type_line("hello");
    let done = client.wait();
    expect_success(&done);
    assert!(done.stdout.ends_with("I got your message\n"), "{}", done.report());
    expect_shown(server, "hello\n");
}

#[test]
fn interactive_goes_on_to_the_end_of_input() {
    let (server, port) = server();
    let mut client = Launch::client(["-i", "localhost", &port]).terminal(Terminal::ALL).start();
    for (number, message) in ["one", "two", "three"].iter().enumerate() {
        // What is typed while there is no prompt goes through the terminal's own line editing, not the client's.
        client.wait_for_count("Please enter the message", number + 1);
        client.type_line(message);
        server.wait_for_stdout(message);
        client.wait_for_count("I got your message", number + 1);
    }
    client.wait_for_count("Please enter the message", 4);
    client.close_stdin();
    expect_success(&client.wait());
    expect_shown(server, "one\ntwo\nthree\n");
}

#[test]
fn a_signal_ends_a_prompt() {
    let (server, port) = server();
    for (signal, options) in [
        (Signal::SIGINT, &["-i"][..]),
        (Signal::SIGTERM, &["-i"]),
        (Signal::SIGINT, &["-i", "--assured"]),
        (Signal::SIGINT, &[]),
    ] {
        let client = Launch::client([options, &["localhost", &port]].concat()).terminal(Terminal::ALL).start();
        client.wait_for_count("Please enter the message", 1);
        client.signal(signal);
        expect_signal(&client.wait(), signal);
    }
    drop(server);
}

#[test]
fn several_messages_from_the_command_line() {
    let (server, port) = server();
    let arguments = ["localhost", &port, "-m", "one", "--message", "two", "-m", "three"];
    let done = Launch::client(arguments).no_input().start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n".repeat(3));
    expect_shown(server, "one\ntwo\nthree\n");
}

#[test]
fn every_piped_line_is_a_message() {
    let (server, port) = server();
    let mut client = Launch::client(["localhost", &port]).start();
    // The last one ends with the input, not with a newline; an empty line is a message too.
    client.send("one\n\nthree\nlast");
    let done = client.finish();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n".repeat(4));
    expect_shown(server, "one\n\nthree\nlast\n");
}

#[test]
fn piped_lines_are_sent_without_waiting_for_each() {
    let (server, port) = server();
    let mut client = Launch::client(["localhost", &port]).start();
    let lines: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    client.send(&lines);
    let done = client.finish();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n".repeat(20_000));
    expect_shown(server, &lines);
}

#[test]
fn no_input_is_no_message() {
    let (server, port) = server();
    let done = Launch::client(["localhost", &port]).no_input().start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "");
    // A connection without a message, such as that of a port scanner, is no conversation: the server waits for one.
    let done = Launch::client(["localhost", &port, "-m", "hello"]).no_input().start().wait();
    expect_success(&done);
    expect_shown(server, "hello\n");
}

#[test]
fn the_ways_to_write_an_address() {
    for written in [
        vec!["localhost".to_owned(), "PORT".into()],
        vec!["PORT".into()],
        vec!["localhost:PORT".into()],
        vec!["127.0.0.1:PORT".into()],
        vec!["[::1]:PORT".into()],
        vec!["::1".into(), "PORT".into()],
        vec!["tcp:localhost:PORT".into()],
        vec!["tcp://localhost:PORT".into()],
        vec!["tcp4:localhost:PORT".into()],
        vec!["tcp6:[::1]:PORT".into()],
        vec!["tcp:localhost:PORT?nodelay&keepalive=30s&rcvbuf=256K".into()],
    ] {
        let (server, port) = server();
        let address = written.iter().map(|word| word.replace("PORT", &port));
        let done = Launch::client(address.chain(["-m".into(), "hello".into()])).no_input().start().wait();
        expect_success(&done);
        assert_eq!(done.stdout, "I got your message\n", "{}", done.report());
        expect_shown(server, "hello\n");
    }
}

#[test]
fn every_domain_and_type() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    for scheme in ["unix", "unix-dgram", "unix-seqpacket"] {
        let path = directory.path().join(scheme);
        let abstract_name = format!("@wilco-{}-{scheme}", std::process::id());
        for name in [path.to_str().expect("a path in UTF-8"), &abstract_name] {
            let address = format!("{scheme}:{name}");
            let server = Launch::server([&address]).start();
            assert_eq!(server.listening(), address);
            let done = Launch::client([address.as_str(), "-m", "hello"]).no_input().start().wait();
            expect_success(&done);
            assert_eq!(done.stdout, "I got your message\n", "{}", done.report());
            expect_shown(server, "hello\n");
        }
        assert!(!path.exists(), "a server takes its name out of the file system: {}", path.display());
    }
    let server = Launch::server(["udp:0"]).start();
    let address = format!("udp:localhost:{}", server.port());
    let done = Launch::client([address.as_str(), "-m", "hello"]).no_input().start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n");
    expect_shown(server, "hello\n");
}

#[test]
fn wilco_server_and_wilco_client_are_the_same_programs() {
    let server = Launch::wilco(["server", "0"]).start();
    let done = Launch::wilco(["client", "localhost", &server.port(), "-m", "hello"]).no_input().start().wait();
    expect_success(&done);
    assert_eq!(done.stdout, "I got your message\n");
    expect_shown(server, "hello\n");
}

#[test]
fn a_message_cannot_command_the_terminal() {
    let server = Launch::server(["0"]).terminal(Terminal::STDOUT).start();
    let done =
        Launch::client(["localhost", &server.port(), "-m", "red \u{1b}[31m alert\u{7}"]).no_input().start().wait();
    expect_success(&done);
    let shown = server.wait().stdout;
    assert!(shown.contains("red ") && shown.contains(" alert") && shown.contains("[31m"), "{shown:?}");
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown:?}");
}

#[test]
fn into_a_pipe_a_message_is_written_as_it_came() {
    let (server, port) = server();
    let done = Launch::client(["localhost", &port, "-m", "red \u{1b}[31m alert"]).no_input().start().wait();
    expect_success(&done);
    expect_shown(server, "red \u{1b}[31m alert\n");
}
