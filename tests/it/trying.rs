//! `wilco try`: what a newcomer runs first.
//!
//! Apart from the exchange, because here both sides and their marks are on one terminal.

use crate::harness::{Launch, Terminal, expect_success};

#[test]
fn at_a_terminal_a_person_types_the_message() {
    let mut trying = Launch::wilco(["try"]).terminal(Terminal::ALL).start();
    trying.wait_for_screen("client | Please enter the message: ");
    trying.type_line("hello");
    trying.wait_for_screen("client localhost 51717");
    let done = trying.wait();
    expect_success(&done);
    for line in ["server | listening on tcp:", "server | hello", "client | I got your message", "server 51717"] {
        assert!(done.stdout.contains(line), "{line}: {}", done.report());
    }
}

#[test]
fn the_message_can_be_piped_in() {
    let mut trying = Launch::wilco(["try"]).start();
    trying.send("one\ntwo\n");
    let done = trying.finish();
    expect_success(&done);
    for line in
        ["server | one\n", "server | two\n", "client | I got your message\n", "one exchange between two processes"]
    {
        assert!(done.stdout.contains(line), "{line}: {}", done.report());
    }
}

#[test]
fn without_a_message_it_ends_all_the_same() {
    let done = Launch::wilco(["try"]).no_input().start().wait();
    expect_success(&done);
    assert!(done.stdout.contains("There was no message"), "{}", done.report());
}

#[test]
fn the_calls_of_both_sides_can_be_watched() {
    let mut trying = Launch::wilco(["try", "--trace"]).start();
    trying.send("hello\n");
    let done = trying.finish();
    expect_success(&done);
    for call in ["server | listen(", "server | accept(", "client | connect(", "client | send("] {
        assert!(done.stdout.contains(call), "{call}: {}", done.report());
    }
}
