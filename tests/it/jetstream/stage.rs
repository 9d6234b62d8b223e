//! A stream with records in it, as the format of records says they are: whoever publishes like that is read.
//!
//! Apart from the tests, which say what is read; and from the servers, so that the format is written down a second time.

use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use serde_json::Value;

use crate::harness::{Finished, Launch, Nats, expect_success};

pub(super) const SID: &str = "0123456789abcdef0123456789abcdef";
pub(super) const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// A NATS server with the stream `LOG`.
pub(super) struct Stage {
    pub(super) nats: Nats,
    pub(super) context: jetstream::Context,
}

impl Stage {
    pub(super) async fn new() -> Stage {
        let nats = Nats::start();
        let context = jetstream::new(nats.client().await);
        let config = stream::Config {
            name: "LOG".to_owned(),
            subjects: vec!["LOG.>".to_owned()],
            discard: stream::DiscardPolicy::New,
            ..stream::Config::default()
        };
        context.create_stream(config).await.expect("make a stream");
        Stage { nats, context }
    }

    pub(super) fn address(&self) -> String {
        self.nats.address("LOG")
    }

    /// Publishes to the stream, and gives the place there.
    pub(super) async fn publish(&self, subject: &str, fields: &[(&str, &str)], payload: &[u8]) -> u64 {
        let mut headers = HeaderMap::new();
        fields.iter().for_each(|(name, value)| headers.insert(*name, *value));
        let sent = self.context.publish_with_headers(subject.to_owned(), headers, payload.to_vec().into()).await;
        sent.expect("publish").await.expect("an acknowledgement").sequence
    }

    /// Stores messages of a session, or plain ones, from this number on in one record.
    pub(super) async fn store(&self, token: &str, first: usize, bodies: &[&[u8]]) -> u64 {
        let numbers = format!("{first}-{}", first + bodies.len() - 1);
        let lengths: Vec<_> = bodies.iter().map(|body| body.len().to_string()).collect();
        let mut fields =
            vec![("Wilco", "1"), ("Wilco-Numbers", &numbers), ("Wilco-By", "test"), ("Wilco-Peer", "10.0.0.7:5000")];
        let lengths = lengths.join(" ");
        let payload = match bodies {
            [lone] => lone.to_vec(),
            _ => {
                fields.push(("Wilco-Lengths", &lengths));
                bodies.iter().flat_map(|body| [*body, b"\n"].concat()).collect()
            }
        };
        if token != "plain" {
            fields.push(("Wilco-Name", "pump 7"));
        }
        self.publish(&format!("LOG.{token}"), &fields, &payload).await
    }

    /// Stores this many messages of a session, which are their numbers, in records of so many.
    pub(super) async fn count(&self, token: &str, first: usize, last: usize, each: usize) {
        let mut next = first;
        while next <= last {
            let until = last.min(next + each - 1);
            let bodies: Vec<_> = (next..=until).map(|number| number.to_string().into_bytes()).collect();
            let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
            self.store(token, next, &bodies).await;
            next = until + 1;
        }
    }

    /// Returns once what is stored next has another time than what is stored: times have milliseconds.
    pub(super) fn later(&self) {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_millis()).ok();
        let begun = now();
        while now() == begun {
            std::thread::yield_now();
        }
    }

    pub(super) fn launch(&self, before: &[&str], after: &[&str]) -> Launch {
        let address = self.address();
        let arguments = [&["messages"], before, &[&address], after].concat();
        Launch::wilco(arguments).env("TZ", "UTC").no_input()
    }

    pub(super) fn show(&self, arguments: &[&str]) -> Finished {
        self.launch(&[], arguments).start().wait()
    }

    #[track_caller]
    pub(super) fn expect_lines(&self, arguments: &[&str], lines: &[&str]) {
        let done = self.show(arguments);
        expect_success(&done);
        assert_eq!(done.stdout.lines().collect::<Vec<_>>(), lines, "{arguments:?}");
    }

    pub(super) fn listing(&self, arguments: &[&str]) -> Vec<Value> {
        let done = self.show(&[&["--json"], arguments].concat());
        expect_success(&done);
        done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}
