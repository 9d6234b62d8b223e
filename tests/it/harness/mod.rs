//! What the tests stand on: programs, terminals, hosts, C fixtures, and how their results are judged.
//!
//! Apart from the tests, so that a test reads as the sequence of events it is about. In brief:
//!
//! ```text
//! let server = Launch::server(["0"]).start();              // also client, wilco, fixture("server"), command("nc")
//! let client = Launch::client(["localhost", &server.port()]).start();
//! client.send("hello\n");  client.close_stdin();           // or client.type_line("hello") at a terminal
//! let done = client.wait();                                // status, stdout, stderr; fails after DEADLINE
//! expect_success(&done);   assert_eq!(done.stdout, "I got your message\n");
//!
//! Launch::client(["cheerios", "51717"]).terminal(Terminal::ALL).on(&hosts.desk).start()
//! ```
//!
//! Every wait ends when the thing waited for has happened; the deadline exists for failures only.
#![allow(dead_code, unused_imports, reason = "a tool box: not every tool is in use at every time")]

mod check;
mod compile;
mod host;
mod launch;
mod nats;
mod output;
mod program;
mod skip;

pub(crate) use check::{Finished, expect_error, expect_one_clear_line, expect_signal, expect_status, expect_success};
pub(crate) use compile::{compile_bare, compile_example, compile_fixture};
pub(crate) use host::{Families, Host, Hosts};
pub(crate) use launch::{Launch, Terminal};
pub(crate) use nats::{Nats, NatsConfig};
pub(crate) use output::DEADLINE;
pub(crate) use program::Program;
pub(crate) use skip::{is_root, skip};
