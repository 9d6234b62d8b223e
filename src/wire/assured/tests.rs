//! A sender and a receiver that talk to each other directly, with a store that is a list.

use std::sync::Arc;
use std::time::Instant;

use super::receiver::{self, Receiver, ReceiverConfig};
use super::sender::{self, Sender};
use super::{Applied, Code, Grant, Level, Open, Progress, Run, SenderConfig, ServerFrame, SessionId, Start, Verdict};

/// Both sides, and all that they have said to each other.
struct Both {
    now: Instant,
    sender: Sender,
    receiver: Receiver,
    stored: Vec<String>,
    log: Vec<String>,
}

impl Both {
    fn new(start: Start) -> Self {
        Self::of(start, None, ReceiverConfig::default())
    }

    fn requiring(level: Option<Level>, granted: Level) -> Self {
        Self::of(START, level, ReceiverConfig { level: granted, ..ReceiverConfig::default() })
    }

    fn of(start: Start, level: Option<Level>, receiver: ReceiverConfig) -> Self {
        let now = Instant::now();
        let config = SenderConfig {
            session: SessionId::of_bits(7),
            replies: true,
            level,
            name: Some("test".to_owned()),
            patience: None,
            seed: 1,
        };
        let receiver = Receiver::new(Arc::new(receiver), now);
        Self { now, sender: Sender::new(config, start, now), receiver, stored: Vec::new(), log: Vec::new() }
    }

    /// Lets them talk until both wait, or the sender has ended.
    fn talk(&mut self) -> Option<String> {
        loop {
            let before = self.log.len();
            loop {
                match self.sender.poll(self.now) {
                    sender::Output::Wait(_) => break,
                    sender::Output::Connect { .. } => self.sender.handle(sender::Input::Connected, self.now),
                    sender::Output::Send(frame) => {
                        self.log.push(format!("{frame:?}"));
                        self.receiver.handle(receiver::Input::Frame(frame), self.now);
                    }
                    sender::Output::Done => return Some("done".to_owned()),
                    sender::Output::Stop(reason) => return Some(format!("{reason:?}")),
                    other => self.log.push(format!("{other:?}")),
                }
            }
            loop {
                match self.receiver.poll(self.now) {
                    receiver::Output::Wait(_) | receiver::Output::Close => break,
                    receiver::Output::Open(_) => {
                        let progress =
                            Progress { known: true, acknowledged: self.stored.len() as u64, ..Progress::default() };
                        self.receiver.handle(receiver::Input::Opened(Ok(progress)), self.now);
                    }
                    receiver::Output::Apply(run) => {
                        let applied = self.apply(&run);
                        self.receiver.handle(receiver::Input::Applied(applied), self.now);
                    }
                    receiver::Output::Note(number) => self.log.push(format!("noted {number}")),
                    receiver::Output::Send(frame) => self.hear(frame),
                    receiver::Output::Replies(run) => {
                        for (number, body) in run.messages() {
                            self.hear(ServerFrame::Reply { number, body: body.into() });
                        }
                    }
                }
            }
            if self.log.len() == before {
                return None;
            }
        }
    }

    fn hear(&mut self, frame: ServerFrame<'_>) {
        self.log.push(format!("{frame:?}"));
        self.sender.handle(sender::Input::Frame(frame), self.now);
    }

    fn apply(&mut self, run: &Run) -> Applied {
        let mut verdicts = Vec::new();
        for (number, body) in run.messages() {
            let body = String::from_utf8_lossy(body).into_owned();
            match body.strip_prefix("ask ") {
                Some(asked) => verdicts.push((number, Verdict::Reply(asked.to_uppercase().into()))),
                None if body == "bad" => verdicts.push((number, Verdict::Refused(Code::REJECTED, "bad".to_owned()))),
                None => {}
            }
            self.stored.push(body);
        }
        Applied { through: run.last(), verdicts, put_off: None }
    }
}

fn run(first: u64, bodies: &[&str]) -> Run {
    let mut run = Run::new(first);
    bodies.iter().for_each(|body| run.push(body.as_bytes()));
    run
}

const START: Start = Start { first: 1, next: 1, checksum: None };

#[test]
fn messages_are_applied_in_order_and_all_become_final() {
    let mut both = Both::new(START);
    assert_eq!(both.talk(), None);
    assert!(both.sender.is_open());
    both.sender.handle(sender::Input::Accepted(run(1, &["one", "bad", "ask three"])), both.now);
    both.sender.handle(sender::Input::Accepted(run(4, &["four"])), both.now);
    both.sender.handle(sender::Input::NoMore, both.now);
    assert_eq!(both.talk().as_deref(), Some("done"));
    assert_eq!(both.stored, ["one", "bad", "ask three", "four"]);
    let tally = both.sender.tally();
    assert_eq!((tally.accepted, tally.settled, tally.refused), (4, 4, 1));
    let log = both.log.join("\n");
    for said in [
        "Refused { number: 2, code: 422, reason: \"bad\", body: Some(",
        "Replies(Run { first: 3",
        "noted 4",
        "Final { through: 4",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[test]
fn a_session_that_the_server_does_not_have_as_the_client_does_is_not_gone_on_with() {
    for (start, stored, code) in [
        (Start { first: 5, next: 9, checksum: None }, 3, "Lost(412"),
        (Start { first: 1, next: 3, checksum: None }, 3, "Lost(409"),
        (Start { first: 4, next: 4, checksum: None }, 3, "None"),
    ] {
        let mut both = Both::new(start);
        both.stored = vec![String::new(); stored];
        let ended = format!("{:?}", both.talk());
        assert!(ended.contains(code), "{start:?}: {ended}");
    }
}

#[test]
fn an_acknowledgement_stands_for_what_is_required_at_least() {
    for (required, granted, is_met) in [
        (None, Level::Shown, true),
        (Some(Level::Shown), Level::Handled, true),
        (Some(Level::Handled), Level::Handled, true),
        (Some(Level::Handled), Level::Shown, false),
        (Some(Level::Stored), Level::Stored, true),
        (Some(Level::Stored), Level::Handled, false),
        (Some(Level::Saved), Level::Stored, false),
        (Some(Level::Saved), Level::Saved, true),
        (Some(Level::Stored), Level::Saved, false),
        (None, Level::Saved, false),
    ] {
        let mut both = Both::requiring(required, granted);
        both.sender.handle(sender::Input::Accepted(run(1, &["one"])), both.now);
        both.sender.handle(sender::Input::NoMore, both.now);
        let ended = both.talk().expect("it ends");
        assert_eq!(ended == "done", is_met, "{required:?} of {granted:?}: {ended}");
        assert!(is_met || (ended.contains("Refused(406") && both.stored.is_empty()), "{ended}");
    }
}

#[test]
fn a_server_that_grants_less_than_is_required_is_left() {
    let mut both = Both::requiring(Some(Level::Stored), Level::Stored);
    assert!(matches!(both.sender.poll(both.now), sender::Output::Connect { .. }));
    both.sender.handle(sender::Input::Connected, both.now);
    assert!(matches!(both.sender.poll(both.now), sender::Output::Send(super::ClientFrame::Open(Open { .. }))));
    // One that knows nothing of `ack=`.
    let grant = Grant {
        acknowledged: 0,
        checksum: Some(0),
        last: None,
        window: 9,
        window_bytes: 9,
        max_body: 9,
        idle: super::IDLE_TIMEOUT,
        level: Level::Shown,
        server: "alpha".into(),
    };
    both.sender.handle(sender::Input::Frame(ServerFrame::Granted(grant)), both.now);
    assert!(matches!(both.sender.poll(both.now), sender::Output::Disconnect));
    let stop = format!("{:?}", both.sender.poll(both.now));
    assert!(stop.contains("Refused(406"), "{stop}");
}

#[test]
fn a_message_that_is_not_the_clients_own_is_found_by_its_checksum() {
    for (checksum, is_own) in [(Some(super::checksum(b"three")), true), (Some(1), false), (None, true)] {
        let mut both = Both::new(Start { first: 1, next: 5, checksum: None });
        both.sender.handle(sender::Input::Accepted(run(1, &["one", "two", "three", "four"])), both.now);
        assert!(matches!(both.sender.poll(both.now), sender::Output::Connect { .. }));
        both.sender.handle(sender::Input::Connected, both.now);
        assert!(matches!(both.sender.poll(both.now), sender::Output::Send(super::ClientFrame::Open(Open { .. }))));
        let grant = Grant {
            acknowledged: 3,
            checksum,
            last: None,
            window: 9,
            window_bytes: 9,
            max_body: 9,
            idle: super::IDLE_TIMEOUT,
            level: Level::Stored,
            server: "alpha".into(),
        };
        both.sender.handle(sender::Input::Frame(ServerFrame::Granted(grant)), both.now);
        assert!(matches!(both.sender.poll(both.now), sender::Output::Opened { .. }));
        match both.sender.poll(both.now) {
            sender::Output::Final { through, .. } => assert!(is_own && through == 3),
            sender::Output::Disconnect => assert!(!is_own),
            other => panic!("{other:?}"),
        }
    }
}
