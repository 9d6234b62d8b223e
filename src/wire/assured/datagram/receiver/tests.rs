//! What one session says and hands to its store, in whatever order its messages come.

use super::*;
use crate::wire::assured::datagram::Secret;

const SID: &str = "0123456789abcdef";

fn receiver(first: u64, next: u64, config: SessionsConfig) -> DatagramReceiver {
    let session: SessionId = SID.parse().expect("a session");
    let cookie = Secret::new([1; 32]).cookie(b"", &session, 0, 1);
    let open = Open { session, first, next, level: None, replies: false, token: None, name: None };
    DatagramReceiver::new(Arc::new(config), &open, Some(1), cookie)
}

fn opened(acknowledged: u64) -> DatagramReceiver {
    let mut receiver = receiver(1, 99, SessionsConfig::default());
    receiver.opened(Ok(Progress { known: true, acknowledged, checksum: Some(7), verdicts: Vec::new() }));
    said(&mut receiver);
    receiver
}

/// What it wants done, a line each: packets as they are sent, without the session.
fn said(receiver: &mut DatagramReceiver) -> Vec<String> {
    let line = |output| match output {
        ReceiverOutput::Send(packet) => {
            let mut datagram = Vec::new();
            packet.encode(&mut datagram);
            String::from_utf8(datagram).expect("text").replace("WILCO/1 ", "").replace(&format!(" {SID}"), "")
        }
        ReceiverOutput::Apply(run) => format!("apply {}..={}", run.first, run.last()),
        ReceiverOutput::Note(through) => format!("note {through}"),
        ReceiverOutput::Close => "close".to_owned(),
        ReceiverOutput::Wait => String::new(),
    };
    let mut lines = Vec::new();
    loop {
        lines.push(line(receiver.poll()));
        if lines.last().is_some_and(|line| line.is_empty() || line == "close") {
            break;
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn message(receiver: &mut DatagramReceiver, number: u64, now: Instant) {
    receiver.message(number, Ok(b"body"), None, usize::MAX, now);
}

fn applied(through: u64) -> Applied {
    Applied { through, ..Applied::default() }
}

fn refused(number: u64) -> (u64, Verdict) {
    (number, Verdict::Refused(Code::REJECTED, "no".to_owned()))
}

#[test]
fn messages_are_applied_in_order_and_acknowledged_once_they_are_durable() {
    let (now, mut receiver) = (Instant::now(), opened(0));
    for (number, said_then) in [
        (3, vec!["A 0 4"]),
        (2, vec!["A 0 c"]),
        (1, vec!["apply 1..=3"]),
        (1, vec!["A 0 c"]),
        (4, vec!["A 0 e"]),
        (5, vec!["A 0 f"]),
        // An acknowledgement could not speak of it.
        (66, vec![]),
        (65, vec!["A 0 f000000000000001"]),
    ] {
        message(&mut receiver, number, now);
        assert_eq!(said(&mut receiver), said_then as Vec<&str>, "{number}");
    }
    receiver.applied(applied(3), now);
    assert_eq!(said(&mut receiver), ["A 3 8000000000000008", "apply 4..=5"]);
    receiver.applied(applied(5), now);
    assert_eq!(said(&mut receiver), ["A 5 000000000000002"]);
    message(&mut receiver, 2, now);
    assert_eq!(said(&mut receiver), ["A 5 000000000000002"]);
}

#[test]
fn a_refusal_holds_the_acknowledgement_back_until_it_is_noted() {
    let (now, mut receiver) = (Instant::now(), opened(0));
    (1..=5).for_each(|number| message(&mut receiver, number, now));
    said(&mut receiver);
    receiver.applied(Applied { verdicts: vec![refused(2), refused(4)], ..applied(5) }, now);
    assert_eq!(said(&mut receiver), ["A 1 e", "N 2 422 no", "N 4 422 no"]);
    message(&mut receiver, 5, now);
    assert_eq!(said(&mut receiver).len(), 3);
    for (noted, said_then) in [
        (1, vec!["A 1 e", "N 2 422 no", "N 4 422 no"]),
        (2, vec!["note 2", "A 3 8", "N 4 422 no"]),
        (99, vec!["note 5", "A 5"]),
    ] {
        receiver.noted(noted);
        let said = said(&mut receiver);
        assert_eq!(said.len(), said_then.len(), "{noted}: {said:?}");
        assert_eq!(said.last().map(String::as_str), said_then.last().copied(), "{noted}");
    }
}

#[test]
fn what_was_refused_before_is_told_again_unless_the_client_is_beyond_it() {
    let mut receiver = receiver(3, 99, SessionsConfig::default());
    let verdicts = vec![refused(2), refused(4), (5, Verdict::Reply(bytes::Bytes::new()))];
    receiver.opened(Ok(Progress { known: true, acknowledged: 5, checksum: Some(7), verdicts }));
    let said = said(&mut receiver);
    assert_eq!(said[0], "note 2");
    assert!(said[1].starts_with("C ") && said[1].contains(" 3 - 64 1200 try=1"), "{}", said[1]);
    assert_eq!(said[2..], ["A 3 8", "N 4 422 no"]);
}

#[test]
fn what_was_put_off_is_dropped_until_its_time() {
    let (now, mut receiver) = (Instant::now(), opened(0));
    (1..=3).for_each(|number| message(&mut receiver, number, now));
    assert_eq!(said(&mut receiver), ["apply 1..=3"]);
    message(&mut receiver, 4, now);
    let put_off = PutOff { code: Code::DISK_FULL, after: Duration::from_secs(2), reason: "full".to_owned() };
    receiver.applied(Applied { put_off: Some(put_off), ..applied(1) }, now);
    assert_eq!(said(&mut receiver), ["A 1", "R 2 2000 507 full"]);
    message(&mut receiver, 2, now + Duration::from_secs(1));
    assert_eq!(said(&mut receiver), ["R 2 1000 507 full"]);
    message(&mut receiver, 2, now + Duration::from_secs(2));
    assert_eq!(said(&mut receiver), ["apply 2..=2"]);
}

#[test]
fn client_and_server_must_agree_on_what_there_was() {
    let known = |acknowledged| Progress { known: true, acknowledged, ..Progress::default() };
    for (first, next, level, progress, code) in [
        (5, 9, Level::Stored, known(4), None),
        (5, 9, Level::Stored, known(8), None),
        (5, 9, Level::Stored, known(3), Some(Code::SERVER_BEHIND)),
        (5, 9, Level::Stored, known(9), Some(Code::CLIENT_BEHIND)),
        (5, 9, Level::Stored, Progress::default(), Some(Code::UNKNOWN_SESSION)),
        (1, 9, Level::Stored, Progress::default(), None),
        (5, 9, Level::Shown, Progress { acknowledged: 4, ..Progress::default() }, None),
    ] {
        let mut receiver = receiver(first, next, SessionsConfig { level, ..SessionsConfig::default() });
        receiver.opened(Ok(progress));
        let said = said(&mut receiver);
        match code {
            None => assert!(said[0].starts_with('C'), "{said:?}"),
            Some(code) => {
                assert!(said[0].starts_with(&format!("E 1 {code} never")) && said[1] == "close", "{said:?}")
            }
        }
    }
}

#[test]
fn what_waits_is_limited_but_one_message_may() {
    let now = Instant::now();
    let size = DatagramReceiver::OVERHEAD + 4;
    let mut receiver = receiver(1, 99, SessionsConfig { held_bytes: 2 * size, ..SessionsConfig::default() });
    receiver.opened(Ok(Progress::default()));
    for number in [5, 6, 7, 8] {
        message(&mut receiver, number, now);
    }
    assert_eq!(receiver.held_bytes(), 2 * size);
    let mut receiver = opened(0);
    receiver.message(2, Ok(b"body"), None, 0, now);
    assert_eq!(receiver.held_bytes(), 0);
    receiver.message(1, Ok(b"body"), None, 0, now);
    assert_eq!((receiver.held_bytes(), said(&mut receiver)), (size, vec!["apply 1..=1".to_owned()]));
    // The store may take its time, and others would have the room again and again.
    assert_eq!(receiver.held_bytes(), size);
    receiver.applied(Applied { through: 1, verdicts: Vec::new(), put_off: None }, now);
    assert_eq!(receiver.held_bytes(), 0);
}

#[test]
fn a_message_that_is_too_large_has_a_number_and_is_refused() {
    let (now, mut receiver) = (Instant::now(), opened(0));
    receiver.message(2, Err(70_000), None, usize::MAX, now);
    receiver.message(3, Ok(&[0; 1201]), None, usize::MAX, now);
    message(&mut receiver, 1, now);
    let ReceiverOutput::Send(_) = receiver.poll() else { panic!("what is held is said") };
    let ReceiverOutput::Apply(run) = receiver.poll() else { panic!("it is applied") };
    assert_eq!(run.refused.iter().map(|(number, code, _)| (*number, code.0)).collect::<Vec<_>>(), [(2, 413), (3, 413)]);
    receiver.applied(Applied { through: 3, verdicts: Vec::new(), put_off: None }, now);
    assert_eq!(receiver.held_bytes(), 0, "what is kept of them is gone");
}
