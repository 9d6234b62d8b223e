//! The example that everything began with, on two hosts: `server 51717` on cheerios, `client cheerios 51717` at a desk.
//!
//! Apart, because it needs two hosts with a network of their own, a well-known port and a name for one of them.

use crate::harness::{Families, Host, Hosts, Launch, Program, Terminal, expect_success};

/// At the terminal of `desk`: the prompt, a line, the acknowledgement.
fn converse(mut client: Program) {
    client.wait_for_screen("Please enter the message: ");
    client.type_line("hello");
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "Please enter the message: hello\nI got your message\n");
}

fn our_server(host: &Host) -> Program {
    let server = Launch::server(["51717"]).on(host).start();
    assert_eq!(server.listening(), "tcp:[::]:51717");
    server
}

fn expect_shown(server: Program, shown: &str) {
    let done = server.wait();
    expect_success(&done);
    assert_eq!(done.stdout, shown);
}

#[test]
fn server_and_client() {
    for (name, families) in [
        ("server_and_client over both families", Families::Both),
        ("server_and_client over IPv4", Families::V4),
        ("server_and_client over IPv6", Families::V6),
    ] {
        let Some(hosts) = Hosts::new(name, families) else { return };
        let server = our_server(&hosts.cheerios);
        converse(Launch::client(["cheerios", "51717"]).terminal(Terminal::ALL).on(&hosts.desk).start());
        expect_shown(server, "hello\n");
    }
}

#[test]
fn the_family_can_be_chosen() {
    let Some(hosts) = Hosts::new("the_family_can_be_chosen", Families::Both) else { return };
    for family in ["-4", "-6"] {
        let server = our_server(&hosts.cheerios);
        let client = Launch::client([family, "cheerios", "51717"]).terminal(Terminal::ALL).on(&hosts.desk);
        converse(client.start());
        expect_shown(server, "hello\n");
    }
}

#[test]
fn a_family_without_a_server_is_passed_over() {
    // The name has both addresses, and only the second family has a server.
    let Some(hosts) = Hosts::new("a_family_without_a_server_is_passed_over", Families::Both) else { return };
    for server in ["tcp4:51717", "tcp6:51717"] {
        let server = Launch::server([server]).on(&hosts.cheerios).start();
        assert_eq!(server.port(), "51717");
        converse(Launch::client(["cheerios", "51717"]).terminal(Terminal::ALL).on(&hosts.desk).start());
        expect_shown(server, "hello\n");
    }
}

#[test]
fn the_c_client_with_our_server() {
    let Some(hosts) = Hosts::new("the_c_client_with_our_server", Families::V4) else { return };
    let server = our_server(&hosts.cheerios);
    let client = Launch::fixture("client", ["cheerios", "51717"]).terminal(Terminal::ALL).on(&hosts.desk);
    let mut client = client.start();
    client.wait_for_screen("Please enter the message: ");
    client.type_line("hello");
    let done = client.wait();
    expect_success(&done);
    assert_eq!(done.stdout, "Please enter the message: hello\nI got your message\n\n");
    expect_shown(server, "hello\n");
}

#[test]
fn our_client_with_the_c_server() {
    // The C server knows IPv4 only; where the name has both addresses the client has to find that out.
    for families in [Families::V4, Families::Both] {
        let Some(hosts) = Hosts::new("our_client_with_the_c_server", families) else { return };
        let server = Launch::fixture("server", ["51717"]).on(&hosts.cheerios).start();
        assert_eq!(server.port(), "51717");
        converse(Launch::client(["cheerios", "51717"]).terminal(Terminal::ALL).on(&hosts.desk).start());
        expect_shown(server, "Here is the message: hello\n\n");
    }
}

#[test]
fn the_c_pair() {
    let Some(hosts) = Hosts::new("the_c_pair", Families::V4) else { return };
    let server = Launch::fixture("server", ["51717"]).on(&hosts.cheerios).start();
    assert_eq!(server.port(), "51717");
    converse(Launch::fixture("client", ["cheerios", "51717"]).terminal(Terminal::ALL).on(&hosts.desk).start());
    expect_shown(server, "Here is the message: hello\n\n");
}
