//! Clients that go on at another server: of several addresses, of a name with several, of a service in the DNS; and servers that are restarted meanwhile.
//!
//! Apart from one client and its server, since here servers have a store between them, and names lead to several of them.

mod name_server;
mod rolling;

use nix::sys::signal::Signal;

use crate::harness::{Host, Launch, Program, expect_error, expect_signal, expect_status, expect_success};
use name_server::NameServer;

/// The servers: what each is called, which is the name of its host, too, and its address. `trio` is a name of all three.
const SERVERS: [(&str, &str); 3] = [("a", "127.0.1.1"), ("b", "127.0.1.2"), ("c", "127.0.1.3")];

/// A host with the names and addresses of three servers.
struct Trio {
    host: Host,
}

impl Trio {
    fn new(test: &str) -> Option<Trio> {
        let names: String =
            SERVERS.iter().map(|(name, address)| format!("{address} {name}\n{address} trio\n")).collect();
        Some(Trio { host: Host::alone(test, &names, name_server::ADDRESS)? })
    }

    /// A server of a store at an address of this host.
    fn server(&self, address: &str, name: &str, store: &str) -> Program {
        let server = Launch::server([address, "--store", store, "--name", name]).on(&self.host).start();
        server.listening();
        server
    }
}

fn end(server: Program) {
    server.signal(Signal::SIGTERM);
    expect_signal(&server.wait(), Signal::SIGTERM);
}

#[test]
fn a_server_that_ends_sends_its_clients_on_at_once_and_nobody_is_alarmed() {
    let Some(trio) = Trio::new("a_server_that_ends_sends_its_clients_on_at_once_and_nobody_is_alarmed") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let transports = [
        ["tcp:a:51717".to_owned(), "tcp:b:51717".to_owned()],
        ["a", "b"].map(|name| format!("unix:{}", path(name))),
        ["a", "b"].map(|name| format!("unix-seqpacket:{}", path(name))),
        ["a", "b"].map(|name| format!("unix-dgram:{}", path(name))),
        ["udp:a:51717".to_owned(), "udp:b:51717".to_owned()],
        // One name for both.
        ["tcp:trio:51717".to_owned(), "tcp:trio:51717".to_owned()],
        ["udp:trio:51717".to_owned(), "udp:trio:51717".to_owned()],
    ];
    for (number, given) in transports.iter().enumerate() {
        let store = path(&format!("{number}.db"));
        let listening: Vec<String> = match given[0].contains("trio") {
            true => SERVERS[..2].iter().map(|(name, _)| given[0].replace("trio", name)).collect(),
            false => given.to_vec(),
        };
        let a = trio.server(&listening[0], "a", &store);
        let b = trio.server(&listening[1], "b", &store);
        let mut client = Launch::client(["--assured", "--json", &given[0], &given[1]]).on(&trio.host).start();
        client.send("one\n");
        client.wait_for_stdout("\"last\":1");
        // It has nothing to send, and moves.
        end(a);
        let opened = client.wait_for_stdout("\"by\":\"b\"");
        assert!(opened.contains("opened"), "{opened}");
        client.send("two\n");
        client.close_stdin();
        let done = client.wait();
        expect_success(&done);
        assert_eq!(done.stderr, "", "{given:?}");
        let lost = done.stdout.lines().find(|line| line.contains("\"lost\"")).expect("it was told");
        assert!(lost.contains("\"again_ms\":0") && lost.contains("about to end"), "{lost}");
        assert!(done.stdout.contains("\"reconnects\":1"), "{}", done.stdout);
        end(b);
        let stored = Launch::wilco(["messages", &store, "--json"]).no_input().start().wait();
        assert_eq!(stored.stdout.lines().count(), 2, "{given:?}: {}", stored.stdout);
    }
}

#[test]
fn the_user_sees_where_the_client_is() {
    let Some(trio) = Trio::new("the_user_sees_where_the_client_is") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let store = directory.path().join("store.db").display().to_string();
    let servers = SERVERS.map(|(name, address)| trio.server(&format!("tcp:{address}:51717"), name, &store));
    let mut client = Launch::client(["-v", "--assured", "trio", "51717"]).on(&trio.host).start();
    client.send("one\n");
    client.wait_for_stderr("a opens the session");
    let [a, b, c] = servers;
    end(a);
    let moved = client.wait_for_stderr("moved to b");
    assert!(moved.contains("127.0.1.2:51717"), "{moved}");
    end(b);
    client.wait_for_stderr("moved to c");
    client.send("two\n");
    let done = client.finish();
    expect_success(&done);
    assert!(done.stderr.contains("2 sent, 2 stored by a, b and c, 2 reconnects"), "{}", done.stderr);
    end(c);
}

#[test]
fn a_service_of_the_dns_is_found_by_every_client() {
    let Some(trio) = Trio::new("a_service_of_the_dns_is_found_by_every_client") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let name_server = NameServer::start(&trio.host, directory.path());
    let on = |launch: Launch| launch.on(&trio.host);
    name_server.set("_wilco._tcp.service", &[(20, 0, 51718, "b"), (10, 5, 51717, "a")]);
    name_server.set("_wilco._udp.service", &[(1, 1, 51719, "c")]);
    name_server.set("_other._tcp.service", &[(1, 1, 51718, "nobody"), (2, 1, 51718, "b")]);
    name_server.set("_wilco._tcp.closed", &[(0, 0, 0, ".")]);
    name_server.set("_wilco._tcp.other", &[]);
    let store = directory.path().join("store.db").display().to_string();
    let a = trio.server("tcp:127.0.1.1:51717", "a", &store);
    let b = trio.server("tcp:127.0.1.2:51718", "b", &store);
    let c = trio.server("udp:127.0.1.3:51719", "c", &store);
    let client = |arguments: &[&str]| on(Launch::client(arguments.to_vec())).no_input().start().wait();
    // The lowest priority first; where nobody is there, the next.
    for (service, peer) in [
        ("srv:service", "127.0.1.1:51717"),
        ("srv:_wilco._tcp.service", "127.0.1.1:51717"),
        ("srv:_wilco._udp.service", "127.0.1.3:51719"),
        ("srv:_other._tcp.service", "127.0.1.2:51718"),
    ] {
        for assured in [false, true] {
            let option = if assured { "--assured" } else { "--json" };
            let done = client(&[option, "--json", service, "-m", "hello"]);
            expect_success(&done);
            assert!(done.stdout.contains(&format!("\"peer\":\"{peer}\"")), "{service}: {}", done.stdout);
        }
        let probe = on(Launch::wilco(["probe", service])).no_input().start().wait();
        // Of UDP nothing can be known.
        expect_status(&probe, if service.contains("_udp") { 3 } else { 0 });
        assert!(probe.stdout.contains(peer.split(':').next().expect("an address")), "{}", probe.stdout);
    }
    let mut raw = on(Launch::client(["--raw", "srv:service"])).start();
    raw.send("by hand\n");
    raw.wait_for_screen("I got your message");
    expect_success(&raw.finish());
    let again = on(Launch::wilco(["messages", "replay", &store, "srv:_other._tcp.service"])).no_input().start().wait();
    expect_success(&again);
    // A server that ends: its clients go on at the next of the service.
    let mut kept = on(Launch::client(["--assured", "--json", "srv:service"])).start();
    kept.send("one\n");
    kept.wait_for_stdout("\"by\":\"a\"");
    end(a);
    kept.wait_for_stdout("\"by\":\"b\"");
    // The records are asked for anew: the next place is one that was not known before.
    name_server.set("_wilco._tcp.service", &[(1, 1, 51720, "c")]);
    let late = trio.server("tcp:127.0.1.3:51720", "late", &store);
    end(b);
    kept.wait_for_stdout("\"by\":\"late\"");
    expect_success(&kept.finish());
    end(late);
    end(c);
    for (service, status, says) in [
        ("srv:closed", 3, "the service is decidedly not available there"),
        ("srv:other", 3, "there is no SRV record of that name"),
        ("srv:unknown", 3, "there is no SRV record of that name"),
    ] {
        let done = client(&[service, "-m", "hello"]);
        expect_status(&done, status);
        assert!(done.stderr.contains(says), "{service}: {}", done.stderr);
    }
    let server = on(Launch::server(["srv:service"])).start().wait();
    expect_error(&server, 2, &["SRV records tell clients where a server is"]);
}
