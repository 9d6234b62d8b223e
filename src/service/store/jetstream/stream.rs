//! `Stream`: what JetStream says of a stream, how one is made, and whether one that is there keeps what was acknowledged.
//!
//! Apart from reading and writing: with one setting of somebody else's a stream would lose messages without a word, and nothing else would notice.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::JetStreamAddress;
use super::connection::{AskError, Connection};
use crate::net::Error;

/// How long JetStream must know the identity of a record, by which of two that follow the same one only one is kept: far longer than any that was sent is under way.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// A stream, as JetStream says.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Stream {
    /// How it is set.
    pub config: StreamConfig,
    /// What is in it.
    pub state: StreamState,
}

/// How a stream is set: <https://docs.nats.io/nats-concepts/jetstream/streams>. What a server does not know of is not there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamConfig {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub subjects: Vec<String>,
    /// When messages go: `limits` for none but those that are too many.
    pub retention: String,
    /// `file` or `memory`.
    pub storage: String,
    /// What goes when it is full: `new` or `old`.
    pub discard: String,
    /// How old messages become, in nanoseconds; 0 for ever.
    pub max_age: i64,
    /// How many there are at the most; -1 for no limit.
    pub max_msgs: i64,
    /// How many bytes it has at the most; -1 for no limit.
    pub max_bytes: i64,
    /// How many of a subject there are at the most; -1 for no limit.
    pub max_msgs_per_subject: i64,
    /// How large a message is at the most; -1 for no limit but the server's.
    pub max_msg_size: i64,
    /// How long it knows the identities of messages, in nanoseconds.
    pub duplicate_window: i64,
    /// On how many servers it is kept.
    pub num_replicas: usize,
    /// Whether nothing is acknowledged.
    pub no_ack: bool,
    /// Whether no single message can be deleted.
    pub deny_delete: bool,
    /// Whether messages cannot be deleted together.
    pub deny_purge: bool,
    /// Whether nothing can be added.
    pub sealed: bool,
    /// What it is a copy of.
    pub mirror: Option<Value>,
    /// What is copied into it.
    pub sources: Option<Vec<Value>>,
    /// Under which subjects messages are stored instead of their own.
    pub subject_transform: Option<Value>,
    /// How it is written: `async` is acknowledged before that.
    pub persist_mode: String,
}

/// What is in a stream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamState {
    /// How many messages of JetStream's.
    pub messages: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// The place of the first that is there; the next one's if there is none.
    pub first_seq: u64,
    /// The place of the last that there ever was.
    pub last_seq: u64,
}

/// Something that keeps a stream from being a store.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Violation {
    /// What is so, and how it must be.
    what: String,
    /// The option of `nats stream edit` that mends it; none can if there is none.
    mend: Option<String>,
}

impl Stream {
    /// Asks for a stream; none if it is not there.
    ///
    /// # Errors
    /// There is no answer, or another.
    pub async fn find(connection: &Connection, name: &str) -> Result<Option<Self>, AskError> {
        match connection.ask(&format!("STREAM.INFO.{name}"), &Value::Null).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.is(AskError::NO_STREAM) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A stream that messages can be kept in: it is made where it is not there, and checked where it is. Messages of so many bytes must fit.
    ///
    /// # Errors
    /// It cannot be made, or has a setting with which messages would be lost: what it is, and what mends it.
    pub async fn prepare(connection: &Connection, address: &JetStreamAddress, longest: usize) -> Result<Self, Error> {
        let name = &address.stream;
        let described = |error: AskError| error.described("open the stream of", connection);
        let found = Self::find(connection, name).await.map_err(described)?;
        let is_there = found.is_some();
        let stream = match found {
            Some(stream) => stream,
            None => match connection.ask(&format!("STREAM.CREATE.{name}"), &settings(address)).await {
                Ok(stream) => {
                    tracing::warn!("{connection}: there was no such stream, and it was made");
                    stream
                }
                // Another server was faster.
                Err(error) if error.is(AskError::NAME_TAKEN) => {
                    let found = Self::find(connection, name).await.map_err(described)?;
                    found.ok_or_else(|| described(error))?
                }
                Err(error) => return Err(error.described("make the stream of", connection)),
            },
        };
        stream.config.check(name, connection, longest)?;
        for differs in stream.config.differences(address) {
            tracing::warn!("{connection}: {differs}");
        }
        match (stream.config.num_replicas, is_there) {
            (2.., _) => {}
            // Whoever has it made may yet choose.
            (_, false) => tracing::warn!("{connection}: {ONE_SERVER}"),
            (_, true) => tracing::info!("{connection}: {ONE_SERVER}"),
        }
        Ok(stream)
    }
}

/// What is said of a stream that has no replicas.
const ONE_SERVER: &str = "the stream is on one server (replicas 1): what that has acknowledged and not yet written to its disk is lost if it loses power";

/// What a stream takes: everything under its name.
fn subjects(name: &str) -> String {
    format!("{name}.>")
}

/// How a stream is made.
fn settings(address: &JetStreamAddress) -> Value {
    json!({
        "name": address.stream,
        "description": "messages of wilco servers",
        "subjects": [subjects(&address.stream)],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": 0,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "max_bytes": address.max_bytes.unwrap_or(-1),
        "duplicate_window": u64::try_from(DUPLICATE_WINDOW.as_nanos()).unwrap_or(u64::MAX),
        "num_replicas": address.replicas.unwrap_or(1),
        "no_ack": false,
    })
}

impl StreamConfig {
    /// Fails unless what is acknowledged stays, and messages of so many bytes are taken.
    fn check(&self, name: &str, connection: &Connection, longest: usize) -> Result<(), Error> {
        let violations = self.violations(name, longest);
        if violations.is_empty() {
            return Ok(());
        }
        let what: Vec<_> = violations.iter().map(|violation| violation.what.as_str()).collect();
        let mend: Option<Vec<_>> = violations.iter().map(|violation| violation.mend.as_deref()).collect();
        let hint = match mend {
            Some(options) => format!("nats stream edit {name} {}", options.join(" ")),
            None => "that cannot be changed: choose another name, and the stream is made as it has to be".to_owned(),
        };
        let what = what.join("; ");
        Err(Error::usage(format!("the store {connection}: this stream would not keep what is acknowledged: {what}"))
            .hinting(hint))
    }

    /// What the address says of a stream that is to be made, where the one that is there is another.
    fn differences(&self, address: &JetStreamAddress) -> Vec<String> {
        let name = &address.stream;
        let differs = |setting: &str, is: &str, wanted: &str| {
            format!("the stream has {setting} {is}, not {wanted}: nats stream edit {name} --{setting}={wanted}")
        };
        let replicas = address.replicas.filter(|wanted| *wanted != self.num_replicas);
        let replicas = replicas.map(|wanted| differs("replicas", &self.num_replicas.to_string(), &wanted.to_string()));
        let is = if self.max_bytes > 0 { self.max_bytes.to_string() } else { "-1 (no limit)".to_owned() };
        let bytes = address.max_bytes.filter(|wanted| *wanted != self.max_bytes);
        let bytes = bytes.map(|wanted| differs("max-bytes", &is, &wanted.to_string()));
        replicas.into_iter().chain(bytes).collect()
    }

    fn violations(&self, name: &str, longest: usize) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut unless = |holds: bool, what: String, mend: Option<&str>| {
            if !holds {
                violations.push(Violation { what, mend: mend.map(str::to_owned) });
            }
        };
        let needed = |setting: &str, is: &str, must: &str| format!("its {setting} is {is}, and has to be {must}");
        unless(self.mirror.is_none(), "it is a mirror of another".to_owned(), None);
        unless(!self.sealed, "it is sealed: nothing can be added".to_owned(), None);
        unless(self.retention == "limits", needed("retention", &self.retention, "limits"), None);
        unless(self.storage == "file", needed("storage", &self.storage, "file"), None);
        unless(self.persist_mode != "async", needed("persist_mode", &self.persist_mode, "default"), None);
        unless(self.discard == "new", needed("discard", &self.discard, "new"), Some("--discard=new"));
        let age = format!("{:?}", Duration::from_nanos(self.max_age.unsigned_abs()));
        unless(self.max_age == 0, needed("max_age", &age, "0 (for ever)"), Some("--max-age=0s"));
        unless(
            self.max_msgs_per_subject <= 0,
            needed("max_msgs_per_subject", &self.max_msgs_per_subject.to_string(), "-1 (no limit)"),
            Some("--max-msgs-per-subject=-1"),
        );
        let window = Duration::from_nanos(self.duplicate_window.unsigned_abs());
        unless(
            window >= DUPLICATE_WINDOW || self.mirror.is_some(),
            needed("duplicate_window", &format!("{window:?}"), &format!("at least {DUPLICATE_WINDOW:?}")),
            Some("--dupe-window=2m"),
        );
        unless(!self.no_ack, needed("no_ack", "true", "false"), Some("--ack"));
        let room = u64::try_from(self.max_msg_size).ok().filter(|size| *size > 0);
        unless(
            room.is_none_or(|room| room >= longest as u64),
            needed("max_msg_size", &self.max_msg_size.to_string(), &format!("at least {longest}, or -1 (no limit)")),
            Some("--max-msg-size=-1"),
        );
        let wanted = subjects(name);
        let takes = |subject: &String| [&*wanted, ">", &format!("{name}.*")].contains(&subject.as_str());
        let more: String = self.subjects.iter().map(|subject| format!("--subjects='{subject}' ")).collect();
        unless(
            self.mirror.is_some() || self.subjects.iter().any(takes),
            format!("its subjects are {}, and {wanted} has to be among them", self.subjects.join(", ")),
            Some(&format!("{more}--subjects='{wanted}'")),
        );
        unless(
            self.subject_transform.is_none(),
            "it stores messages under other subjects (subject_transform)".to_owned(),
            Some("--no-transform"),
        );
        unless(
            self.sources.as_ref().is_none_or(Vec::is_empty),
            "it is fed from other streams (sources)".to_owned(),
            None,
        );
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> StreamConfig {
        let address: JetStreamAddress = "nats://h/X?replicas=3&max-bytes=1K".parse().expect("an address");
        serde_json::from_value(settings(&address)).expect("settings")
    }

    #[test]
    fn what_is_made_is_safe() {
        let made = made();
        assert_eq!(made.violations("X", 1024), []);
        assert_eq!((made.num_replicas, made.max_bytes, made.subjects), (3, 1024, vec!["X.>".to_owned()]));
    }

    #[test]
    fn what_the_address_says_in_vain_is_told() {
        let address: JetStreamAddress = "nats://h/X?replicas=3&max-bytes=1K".parse().expect("an address");
        let mut config = made();
        assert_eq!(config.differences(&address), Vec::<String>::new());
        (config.num_replicas, config.max_bytes) = (1, -1);
        assert_eq!(
            config.differences(&address),
            [
                "the stream has replicas 1, not 3: nats stream edit X --replicas=3",
                "the stream has max-bytes -1 (no limit), not 1024: nats stream edit X --max-bytes=1024"
            ]
        );
        assert_eq!(config.differences(&"nats://h/X".parse().expect("an address")), Vec::<String>::new());
    }

    /// Changes a stream that is safe.
    type Change = fn(&mut StreamConfig);

    #[test]
    fn a_stream_that_loses_messages_is_none() {
        let table: [(Change, &str, Option<&str>); 17] = [
            (|it| it.retention = "workqueue".into(), "retention is workqueue, and has to be limits", None),
            (|it| it.retention = "interest".into(), "retention is interest, and has to be limits", None),
            (|it| it.storage = "memory".into(), "storage is memory, and has to be file", None),
            (|it| it.discard = "old".into(), "discard is old, and has to be new", Some("--discard=new")),
            (|it| it.max_age = 3_600_000_000_000, "max_age is 3600s, and has to be 0", Some("--max-age=0s")),
            (|it| it.max_msgs_per_subject = 1, "max_msgs_per_subject is 1", Some("--max-msgs-per-subject=-1")),
            (
                |it| it.duplicate_window = 1_000_000_000,
                "duplicate_window is 1s, and has to be at least 120s",
                Some("--dupe-window=2m"),
            ),
            (|it| it.no_ack = true, "no_ack is true", Some("--ack")),
            (|it| it.sealed = true, "sealed", None),
            (|it| it.mirror = Some(json!({"name": "Y"})), "a mirror", None),
            (|it| it.sources = Some(vec![json!({"name": "Y"})]), "fed from other streams", None),
            (|it| it.subject_transform = Some(json!({"src": ">"})), "subject_transform", Some("--no-transform")),
            (|it| it.persist_mode = "async".into(), "persist_mode is async", None),
            (
                |it| it.max_msg_size = 1023,
                "max_msg_size is 1023, and has to be at least 1024",
                Some("--max-msg-size=-1"),
            ),
            (
                |it| it.subjects = vec!["X".into()],
                "subjects are X, and X.> has",
                Some("--subjects='X' --subjects='X.>'"),
            ),
            (
                |it| it.subjects = vec!["X.*.a".into()],
                "has to be among them",
                Some("--subjects='X.*.a' --subjects='X.>'"),
            ),
            (|it| it.subjects = vec![], "has to be among them", Some("--subjects='X.>'")),
        ];
        for (change, what, mend) in table {
            let mut config = made();
            change(&mut config);
            let violations = config.violations("X", 1024);
            assert_eq!(violations.len(), 1, "{violations:?}");
            assert!(violations[0].what.contains(what), "{violations:?}: {what}");
            assert_eq!(violations[0].mend.as_deref(), mend);
        }
    }

    #[test]
    fn limits_that_refuse_are_safe() {
        let table: [Change; 6] = [
            |it| it.max_msgs = 10,
            |it| it.max_msgs_per_subject = 0,
            |it| it.max_msg_size = 1024,
            |it| it.subjects = vec!["Y".into(), "X.*".into()],
            |it| it.num_replicas = 1,
            |it| it.sources = Some(vec![]),
        ];
        for change in table {
            let mut config = made();
            change(&mut config);
            assert_eq!(config.violations("X", 1024), []);
        }
    }
}
