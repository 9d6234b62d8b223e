//! `wilco probe`: what it says of each address, what it ends with, and that it leaves what it finds as it was.
//!
//! Apart from reaching, where a client wants the connection: here it is closed again, and nothing is sent.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Families, Finished, Hosts, Launch, expect_error, expect_signal, expect_status, expect_success};

fn probe(arguments: &[&str]) -> Finished {
    Launch::wilco([&["probe"], arguments].concat()).no_input().start().wait()
}

fn own_name(test: &str) -> String {
    format!("@wilco-probe-{test}-{}", std::process::id())
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on a free port");
    let port = listener.local_addr().expect("the port of a listener").port().to_string();
    (listener, port)
}

/// A port that nobody listens on, and that nobody is given while the socket is kept.
fn closed_port() -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&address.into()).expect("bind to a free port");
    let bound = socket.local_addr().expect("an address").as_socket().expect("an address with a port");
    (socket, bound.port().to_string())
}

#[track_caller]
fn expect_lines(done: &Finished, status: i32, beginnings: &[&str]) {
    expect_status(done, status);
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(lines.len(), beginnings.len(), "{}", done.report());
    for (line, beginning) in lines.iter().zip(beginnings) {
        assert!(line.starts_with(beginning), "{beginning:?} is not how {line:?} begins: {}", done.report());
    }
}

#[test]
fn each_address_has_its_line_in_the_order_given() {
    let ((_one, open), (_other, closed)) = (listener(), closed_port());
    let (is_open, is_closed) =
        (format!("tcp:127.0.0.1:{open} open"), format!("tcp:127.0.0.1:{closed} closed: connection refused"));
    let done = probe(&["127.0.0.1", &open]);
    expect_lines(&done, 0, &[&is_open]);
    assert!(done.stdout.ends_with(" ms\n") && done.stderr.is_empty(), "{}", done.report());
    expect_lines(&probe(&["127.0.0.1", &closed]), 3, &[&is_closed]);
    expect_lines(&probe(&["-vz", "127.0.0.1", &open]), 0, &[&is_open]);
    expect_lines(&probe(&["127.0.0.1", &closed, &open, &closed]), 3, &[&is_closed, &is_open, &is_closed]);
    let address = format!("127.0.0.1:{open}");
    expect_lines(&probe(&[&address, &format!("tcp://{address}"), &address]), 0, &[is_open.as_str(); 3]);
    // Only what failed.
    expect_lines(&probe(&["-q", "127.0.0.1", &closed, &open]), 3, &[&is_closed]);
    expect_lines(&probe(&["-q", "127.0.0.1", &open]), 0, &[]);
}

#[test]
fn one_that_answers_can_be_enough() {
    let ((_one, open), (_other, closed)) = (listener(), closed_port());
    let (is_open, is_closed) = (format!("tcp:127.0.0.1:{open} open"), format!("tcp:127.0.0.1:{closed} closed"));
    expect_lines(&probe(&["--any", "127.0.0.1", &closed, &open]), 0, &[&is_open]);
    expect_lines(&probe(&["--any", "--wait", "127.0.0.1", &closed, &open]), 0, &[&is_open]);
    expect_lines(&probe(&["--any", "127.0.0.1", &closed, &closed]), 3, &[&is_closed, &is_closed]);
}

#[test]
fn of_a_range_those_that_are_open_are_shown() {
    let Some(hosts) = Hosts::new("of_a_range_those_that_are_open_are_shown", Families::Both) else { return };
    let server = Launch::server(["-k", "51717", "51720"]).on(&hosts.cheerios).start();
    server.wait_for_stderr(":51720");
    let probe =
        |arguments: &[&str]| Launch::wilco([&["probe"], arguments].concat()).on(&hosts.desk).no_input().start().wait();
    let done = probe(&["cheerios", "51000-51999"]);
    expect_lines(&done, 3, &["tcp:cheerios:51717 open at ", "tcp:cheerios:51720 open at "]);
    assert_eq!(done.stderr, "2 of 1000 answer\n");
    expect_lines(&probe(&["--any", "cheerios", "51000-51717"]), 0, &["tcp:cheerios:51717 open at "]);
    let done = probe(&["-v", "cheerios:51717-51720"]);
    let state = |port, state| format!("tcp:cheerios:{port} {state}");
    let all = [state(51717, "open"), state(51718, "closed"), state(51719, "closed"), state(51720, "open")];
    expect_lines(&done, 3, &all.each_ref().map(String::as_str));
    expect_lines(&probe(&["cheerios", "51717-51717", "51720"]), 0, &["tcp:cheerios:51717", "tcp:cheerios:51720"]);
    // What is not known of the host is said once.
    let done = probe(&["no-such-host", "1-1000"]);
    expect_lines(&done, 3, &["tcp:no-such-host:1-1000 unknown: no such host"]);
    assert_eq!(done.stderr, "0 of 1000 answer, 1000 cannot be told: no such host\n");
}

#[test]
fn a_host_is_there_if_one_of_its_addresses_answers() {
    let Some(hosts) = Hosts::new("a_host_is_there_if_one_of_its_addresses_answers", Families::Both) else { return };
    for (server, ip) in [("tcp4:51717", hosts.cheerios.v4), ("tcp6:51717", hosts.cheerios.v6)] {
        let server = Launch::server([server]).on(&hosts.cheerios).start();
        server.listening();
        let done = Launch::wilco(["probe", "cheerios", "51717"]).on(&hosts.desk).no_input().start().wait();
        expect_lines(&done, 0, &[&format!("tcp:cheerios:51717 open at {ip}, ")]);
    }
}

#[test]
fn silence_is_told_from_a_refusal() {
    let Some(hosts) = Hosts::new("silence_is_told_from_a_refusal", Families::V4) else { return };
    let probe = |arguments: &[&str]| {
        Launch::wilco([&["probe", "--connect-timeout", "300ms"], arguments].concat())
            .on(&hosts.desk)
            .no_input()
            .start()
            .wait()
    };
    expect_lines(&probe(&["cheerios", "1"]), 3, &["tcp:cheerios:1 closed at 192.0.2.1: connection refused"]);
    // What cheerios would answer goes nowhere, as with a firewall that drops.
    let ip = ["route", "add", "blackhole", hosts.desk.v4];
    expect_success(&Launch::command("ip", ip).on(&hosts.cheerios).no_input().start().wait());
    let done = probe(&["cheerios", "1", "2"]);
    let silent = |port| format!("tcp:cheerios:{port} filtered at 192.0.2.1: no answer within 300ms");
    expect_lines(&done, 3, &[&silent(1), &silent(2)]);
    // Only so many are asked at the same time as a process may have descriptors; more would be told.
    let limited = |descriptors: u32| {
        let script = format!("ulimit -n {descriptors}; exec \"$0\" probe --connect-timeout 300ms cheerios 1-300");
        let launch = Launch::command("sh", ["-c", &script, env!("CARGO_BIN_EXE_wilco")]);
        launch.on(&hosts.desk).no_input().start().wait()
    };
    let done = limited(200);
    expect_lines(&done, 3, &[]);
    assert_eq!(done.stderr, "0 of 300 answer\n");
    let done = limited(50);
    assert!(done.stderr.contains("cannot be told: too many open files"), "{}", done.report());
    // No network of desk's.
    let done = probe(&["198.51.100.1", "1"]);
    expect_lines(&done, 3, &["tcp:198.51.100.1:1 filtered: network is unreachable"]);
}

#[test]
fn the_sockets_of_this_machine_are_told_apart() {
    let directory = tempfile::tempdir().expect("make a temporary directory");
    let probe = |arguments: &[&str]| {
        let launch = Launch::wilco([&["probe"], arguments].concat()).directory(directory.path());
        launch.no_input().start().wait()
    };
    let (stream, packets) = (format!("unix:{}", own_name("stream")), format!("unix-seqpacket:{}", own_name("packets")));
    let servers = [&stream, &packets].map(|address| Launch::server(["-k", address]).start());
    for server in &servers {
        server.listening();
    }
    let datagrams = UnixDatagram::bind(directory.path().join("datagrams")).expect("bind");
    datagrams.set_nonblocking(true).expect("a socket that does not wait");
    let open = [&stream, &packets, "unix-dgram:datagrams"];
    expect_lines(&probe(&open), 0, &open.map(|address| format!("{address} open, ")).each_ref().map(String::as_str));
    assert_eq!(datagrams.recv(&mut [0; 16]).expect_err("nothing came").kind(), ErrorKind::WouldBlock);
    // Something is there, and written wrongly: that is the user's to mend.
    let wrong = "unix:datagrams closed: unix:datagrams is a datagram socket: use unix-dgram:datagrams";
    expect_lines(&probe(&["unix:datagrams"]), 2, &[wrong]);
    // It is left over: the file is there, and nobody behind it.
    drop(datagrams);
    let done = probe(&["unix-dgram:datagrams", "unix:nobody", "unix-seqpacket:@wilco-probe-nobody"]);
    let refused = "unix-dgram:datagrams closed: connection refused";
    let nobody = ["unix:nobody closed: no such file", "unix-seqpacket:@wilco-probe-nobody closed: connection refused"];
    expect_lines(&done, 3, &[refused, nobody[0], nobody[1]]);
}

#[test]
fn of_udp_nothing_is_pretended() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket.set_nonblocking(true).expect("a socket that does not wait");
    let address = format!("udp:{}", socket.local_addr().expect("an address"));
    for arguments in [&[address.as_str()][..], &["--wait", &address], &["--any", &address]] {
        let done = probe(arguments);
        expect_lines(&done, 3, &[&format!("{address} unknown: ")]);
        assert!(done.stderr.contains(&format!("client {address} -m TEXT")), "{}", done.report());
    }
    assert_eq!(socket.recv(&mut [0; 16]).expect_err("nothing came").kind(), ErrorKind::WouldBlock);
}

#[test]
fn nothing_is_sent_and_the_end_comes_in_order() {
    let (listener, port) = listener();
    let server = thread::spawn(move || {
        ["", "220 cheerios at your service\r\n"].map(|greeting| {
            let (mut stream, _) = listener.accept().expect("accept the probe");
            stream.write_all(greeting.as_bytes()).expect("greet");
            let mut came = Vec::new();
            // A reset would be an error here.
            stream.read_to_end(&mut came).expect("read to the end");
            came
        })
    });
    for _ in 0..2 {
        expect_success(&probe(&["127.0.0.1", &port]));
    }
    assert_eq!(server.join().expect("the server did its part"), [const { Vec::<u8>::new() }; 2]);
}

#[test]
fn a_server_goes_on_waiting_for_its_conversation() {
    for address in ["127.0.0.1:0", &format!("unix-seqpacket:{}", own_name("conversation"))] {
        let server = Launch::server([address]).start();
        let address = server.listening();
        expect_success(&probe(&[&address]));
        expect_success(&probe(&["--wait=20s", &address]));
        expect_success(&Launch::client([&address, "-m", "hello"]).no_input().start().wait());
        let done = server.wait();
        assert_eq!((done.status.code(), done.stdout.as_str()), (Some(0), "hello\n"), "{}", done.report());
    }
}

#[test]
fn it_waits_until_all_are_there() {
    for wait in ["--wait", "--wait=20s"] {
        let ((_listener, port), late) = (listener(), format!("unix:{}", own_name("late")));
        let open = format!("127.0.0.1:{port}");
        let probe = Launch::wilco(["probe", "-v", wait, &late, &open]).no_input().start();
        // It has asked, and nobody was there.
        probe.wait_for_stderr("waiting: ");
        let server = Launch::server([&late]).start();
        expect_lines(&probe.wait(), 0, &[&format!("{late} open"), &format!("tcp:{open} open")]);
        drop(server);
    }
    let (_socket, closed) = closed_port();
    expect_lines(&probe(&["--wait=200ms", "127.0.0.1", &closed]), 3, &[&format!("tcp:127.0.0.1:{closed} closed: ")]);
}

#[test]
fn it_waits_for_a_name() {
    let Some(hosts) = Hosts::new("it_waits_for_a_name", Families::V4) else { return };
    let server = Launch::server(["-k", "51717"]).on(&hosts.cheerios).start();
    server.listening();
    let probe = Launch::wilco(["probe", "-v", "--wait", "muesli", "51717"]).on(&hosts.desk).no_input().start();
    probe.wait_for_stderr("no such host");
    let name = format!("echo {} muesli >> /etc/hosts", hosts.cheerios.v4);
    expect_success(&Launch::command("sh", ["-c", &name]).on(&hosts.desk).no_input().start().wait());
    expect_lines(&probe.wait(), 0, &[&format!("tcp:muesli:51717 open at {}, ", hosts.cheerios.v4)]);
}

#[test]
fn a_signal_ends_the_waiting() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let probe = Launch::wilco(["probe", "-v", "--wait", &format!("unix:{}", own_name("never"))]).no_input().start();
        probe.wait_for_stderr("waiting: ");
        probe.signal(signal);
        expect_signal(&probe.wait(), signal);
    }
}

#[test]
fn in_json_each_finding_is_an_object() {
    let ((_one, open), (_other, closed)) = (listener(), closed_port());
    let done = probe(&["--json", "localhost", &open, &closed, "udp:127.0.0.1:53", "unix:@wilco-probe-nobody"]);
    expect_status(&done, 3);
    let lines: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let [open_line, closed_line, udp, unix] = &lines[..] else { panic!("four lines: {}", done.report()) };
    assert_eq!(open_line["address"], format!("tcp:localhost:{open}"));
    assert_eq!((&open_line["state"], &open_line["ip"]), (&"open".into(), &"127.0.0.1".into()));
    assert_eq!(open_line["port"].to_string(), open);
    assert!(open_line["milliseconds"].is_f64() && open_line["errno"].is_null() && open_line["error"].is_null());
    let said = |line: &Value| ["state", "errno", "error"].map(|name| line[name].as_str().unwrap_or("null").to_owned());
    assert_eq!(said(closed_line), ["closed", "ECONNREFUSED", "connection refused"]);
    assert_eq!((&udp["state"], &udp["service"]), (&"unknown".into(), &"domain".into()));
    assert!(udp["errno"].is_null() && udp["error"].as_str().is_some_and(|error| error.contains("UDP")));
    assert_eq!(said(unix), ["closed", "ECONNREFUSED", "connection refused"]);
    assert!(unix["ip"].is_null() && unix["port"].is_null());
}

#[test]
fn a_name_of_a_service_is_a_port() {
    let Some(hosts) = Hosts::new("a_name_of_a_service_is_a_port", Families::V4) else { return };
    let server = Launch::server(["-k", "http"]).on(&hosts.cheerios).start();
    server.listening();
    let probe =
        |arguments: &[&str]| Launch::wilco([&["probe"], arguments].concat()).on(&hosts.desk).no_input().start().wait();
    let ip = hosts.cheerios.v4;
    let by_name = format!("tcp:cheerios:http open at {ip} (port 80), ");
    expect_lines(&probe(&["cheerios", "http"]), 0, &[&by_name]);
    expect_lines(&probe(&["cheerios", "80"]), 0, &[&format!("tcp:cheerios:80 open at {ip} (http), ")]);
    expect_lines(&probe(&["-n", ip, "80"]), 0, &[&format!("tcp:{ip}:80 open, ")]);
}

#[test]
fn a_mistake_is_found_before_anything_is_asked() {
    let (listener, port) = listener();
    listener.set_nonblocking(true).expect("a listener that does not wait");
    for (arguments, words) in [
        (&["90-80"][..], ["90-80", "write 80-90"]),
        (&["0"], ["port 0", "needs the port"]),
        (&["0-80"], ["port 0", "write 1-80"]),
        (&["70000"], ["70000", "65535"]),
        (&["1-70000"], ["1-70000", "65535"]),
        (&["22,80"], ["22,80", "one by one"]),
        (&["htpp"], ["htpp", "did you mean http"]),
        (&["exec:true"], ["exec:true", "tcp:"]),
        (&["-4", "tcp6:localhost:1"], ["-4", "leave out"]),
        (&["-n", "localhost:1"], ["localhost", "without -n"]),
    ] {
        expect_error(&probe(&[&["127.0.0.1", &port], arguments].concat()), 2, &words);
    }
    assert_eq!(listener.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);
    expect_error(&probe(&["localhost"]), 2, &["a host needs a port beside it"]);
    expect_error(&probe(&["22", "localhost"]), 2, &["the host comes first: localhost 22"]);
    expect_error(&probe(&["--wait", "30s", "localhost", "22"]), 2, &["write --wait=30s"]);
    expect_error(&probe(&[]), 2, &["required", "usage: wilco probe"]);
}
