//! The names of all events and their fields, and the page that explains them.
//!
//! Apart from the events themselves, and part of the tests alone: nothing is printed from here, but what is printed is held against it.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::net::options::assert_written;

/// Every event: who prints it, its name, when, and its fields; those in parentheses only where there is something to say.
const EVENTS: &[(&str, &str, &str, &[&str])] = &[
    ("server", "listening", "It can be reached; one for each address.", &["address"]),
    ("server", "connected", "A client was let in.", &["peer", "(local)", "(pid)", "(uid)", "(gid)"]),
    ("server", "message", "A message has come.", &["peer", "number", "text or base64"]),
    (
        "server",
        "opened",
        "A client has opened an assured session, or goes on with one.",
        &["peer", "session", "(name)", "acknowledged"],
    ),
    (
        "server",
        "acknowledged",
        "So many messages were handled, and answered if they are to be.",
        &["peer", "messages", "(session)", "(through)"],
    ),
    (
        "server",
        "stored",
        "With `--store`, instead: so many messages are on disk.",
        &["peer", "messages", "(session)", "(through)"],
    ),
    (
        "server",
        "saved",
        "With `--save`, instead: a file is on disk under its name, complete.",
        &["peer", "path or path_base64", "size", "sha256"],
    ),
    ("server", "taken-over", "Another connection has opened the session, and this one ends.", &["peer", "session"]),
    ("server", "refused", "A message was refused for good.", &["peer", "reason"]),
    ("server", "ended", "The conversation with a client is over.", &["peer", "messages", "(trouble)"]),
    ("client", "connected", "The connection is there.", &["(address)", "(peer)", "(local)"]),
    ("client", "answer", "A message was acknowledged.", &["number", "text or base64"]),
    (
        "client",
        "refused",
        "A message was refused for good; without `--assured` the first such is told.",
        &["number", "reason", "(code)"],
    ),
    ("client", "opened", "With `--assured` and `--file`: the session is open.", &["by", "how", "(address)"]),
    ("client", "receipt", "With `--assured`: messages are final.", &["first", "last", "how", "(by)"]),
    ("client", "reply", "With `--assured`: the reply to a message, before its receipt.", &["number", "text or base64"]),
    (
        "client",
        "lost",
        "With `--assured` and `--file`: there is no connection; another will be tried.",
        &["reason", "again_ms", "(address)"],
    ),
    (
        "client",
        "put-off",
        "With `--assured` and `--file`: the server cannot take anything now.",
        &["reason", "again_ms", "(code)"],
    ),
    (
        "client",
        "resumed",
        "With `--file`: the server has so much of a file already.",
        &["path or path_base64", "resumed_at"],
    ),
    (
        "client",
        "saved",
        "With `--file`: a file is on the server's disk, whole and under its name.",
        &["path or path_base64", "size", "sha256", "resumed_at", "by"],
    ),
    (
        "client",
        "failed",
        "With `--file`: a file is not sent: it cannot be read, or with a code, the server will not have it.",
        &["path or path_base64", "reason", "(code)"],
    ),
    (
        "client",
        "renewed",
        "With `--file`: the server knows nothing of the session; it goes on in another.",
        &["reason"],
    ),
    ("client", "full", "With `--spool`: the input waits until there is room.", &["reason"]),
    ("client", "done", "It is over, well or not.", &["sent", "acknowledged", "refused", "(waiting)", "(reconnects)"]),
    ("client", "done", "With `--file`: the same.", &["saved", "bytes", "refused", "failed", "reconnects"]),
    (
        "both",
        "error",
        "The command has failed.",
        &["message", "status", "(operation)", "(address)", "(errno)", "(hint)"],
    ),
];

/// Every field, and what it is.
const FIELDS: &[(&str, &str)] = &[
    ("event", "The name of the event; the first field of each."),
    ("acknowledged", "How many messages were acknowledged; of a session, the last number that was."),
    (
        "address",
        "Of a server, what it listens on as a client would write it; of a failure, the kernel's address; of `connected`, what was written on the command line; of `opened` and `lost`, where the session is or was: the kernel's address where there is one.",
    ),
    ("again_ms", "After how many milliseconds it is tried again; 0 is at once."),
    ("base64", "The bytes of a message or an answer that is not UTF-8, without its delimiter."),
    ("by", "What the server calls itself."),
    ("bytes", "How many bytes the files have that are saved."),
    ("code", "Why, as a number of three digits; `docs/protocol.md` has them."),
    ("errno", "The name of the system's error, such as `ECONNREFUSED`."),
    ("failed", "How many files and directories could not be read, or changed while they were sent."),
    ("first", "The number of the first message."),
    ("gid", "The group of a client on a Unix socket."),
    ("hint", "What to do about it."),
    ("how", "What an acknowledgement stands for: `stored` on disk, `handled` by a program, `shown`."),
    ("last", "The number of the last message."),
    ("local", "The address of this end."),
    ("message", "What has failed, as a sentence."),
    ("messages", "How many messages."),
    ("name", "What the client calls itself."),
    (
        "number",
        "Which message: of the server's, of all clients together; of an answer, which of the answers; of a refusal, which was sent. 1 is the first. With `--assured`, the number in the session.",
    ),
    ("operation", "The call or step that failed, such as `connect`."),
    ("path", "Where a file is, or was to be, beneath the directory of `--save`."),
    ("path_base64", "The same where it is not UTF-8."),
    ("peer", "The address of the other end; `(unnamed)` for a Unix client without a name."),
    ("pid", "The process of a client on a Unix socket."),
    ("reason", "The words of the refusal, or what has happened."),
    ("reconnects", "How often the session was opened over another connection."),
    ("refused", "How many messages were refused for good."),
    ("resumed_at", "How many of a file's first bytes were not sent, since the server had them."),
    ("saved", "How many files are saved."),
    ("sent", "How many messages were sent."),
    ("session", "The name of an assured session."),
    ("sha256", "The digest of a file."),
    ("size", "The length of a file in bytes."),
    ("status", "The exit status that follows."),
    ("text", "A message or an answer that is UTF-8, without its delimiter."),
    ("through", "The last of these messages, by its number in the session."),
    ("trouble", "Why the conversation ended, if not by the client's wish."),
    ("uid", "The user of a client on a Unix socket."),
    ("waiting", "How many messages are not final: those in a spool go on another time."),
];

#[test]
fn the_json_page_is_up_to_date() {
    let mut page = String::from(
        "\
# Events as JSON

This page is written from the program's own table.

With `--json`, `server` and `client` print each event and result as a JSON object a line on standard output,
instead of messages and answers. What is said on standard error stays as it is; `--log-format json` makes that JSON, too: objects with
`time` (RFC 3339, UTC), `level` (`error`, `warn`, `info`, `debug`, `trace`), `message` and, of the failure that ends a command, `operation`,
`address`, `errno` and `hint`. Names stay; new fields and events may be added. Control and bidirectional characters are escaped, so that no line
can do anything to a terminal. `wilco messages replay` has the events of an assured client.

| program | event | when | fields |
| --- | --- | --- | --- |
",
    );
    for (program, event, when, fields) in EVENTS {
        let _ = writeln!(page, "| {program} | `{event}` | {when} | {} |", fields.join(", "));
    }
    page.push_str(
        "\nFields in parentheses are there if there is something to say. Datagrams have no connections: a server tells of their messages, and of no
beginning and end.\n\n| field | what it is |\n| --- | --- |\n",
    );
    for (field, doc) in FIELDS {
        let _ = writeln!(page, "| `{field}` | {doc} |");
    }
    assert_written("docs/json.md", &page);
}

#[test]
fn every_field_is_explained() {
    let named = EVENTS.iter().flat_map(|(.., fields)| fields.iter()).flat_map(|field| field.split(" or "));
    let named: BTreeSet<_> = named.map(|field| field.trim_matches(['(', ')'])).chain(["event"]).collect();
    assert_eq!(named, FIELDS.iter().map(|(field, _)| *field).collect());
}
