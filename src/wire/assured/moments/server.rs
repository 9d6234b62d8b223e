//! A receiver at single moments.
//!
//! Apart from the sender, of which it knows nothing: what a client says and a store answers is made up here.

use std::sync::Arc;
use std::time::Instant;

use super::seconds;
use crate::wire::assured::receiver::{self, Receiver};
use crate::wire::assured::{
    Applied, ClientFrame, Code, IDLE_TIMEOUT, MAX_NUMBER, Open, Progress, PutOff, ReceiverConfig, SessionId, Verdict,
};

/// A receiver whose session is open, and the time it has.
struct Server {
    receiver: Receiver,
    now: Instant,
}

impl Server {
    fn open(first: u64, progress: Progress) -> (Self, String) {
        let now = Instant::now();
        let config = ReceiverConfig { window: 4, ..ReceiverConfig::default() };
        let mut server = Self { receiver: Receiver::new(Arc::new(config), now), now };
        let session = SessionId::of_bits(7);
        let open = Open { session, first, next: 20, level: None, replies: true, token: None, name: None };
        server.hear(ClientFrame::Open(open));
        assert!(server.says().starts_with("Open("));
        server.receiver.handle(receiver::Input::Opened(Ok(progress)), now);
        let said = server.says();
        (server, said)
    }

    fn hear(&mut self, frame: ClientFrame<'_>) {
        self.receiver.handle(receiver::Input::Frame(frame), self.now);
    }

    fn message(&mut self, number: u64) -> String {
        self.hear(ClientFrame::Message { number, origin: None, body: b"body" });
        self.says()
    }

    fn applied(&mut self, through: u64, put_off: bool) -> String {
        let put_off = put_off.then(|| PutOff { code: Code::RATE, after: seconds(1), reason: "later".to_owned() });
        self.receiver.handle(receiver::Input::Applied(Applied { through, verdicts: vec![], put_off }), self.now);
        self.says()
    }

    /// All that it wants until it waits, a line each.
    fn says(&mut self) -> String {
        let mut said = String::new();
        for _ in 0..100 {
            match self.receiver.poll(self.now) {
                receiver::Output::Wait(due) => {
                    assert!(due.is_none_or(|due| due > self.now), "waits for what is past");
                    return said;
                }
                receiver::Output::Close => return said + "Close\n",
                receiver::Output::Apply(run) => said += &format!("apply {}..={}\n", run.first, run.last()),
                other => said += &format!("{other:?}\n"),
            }
        }
        panic!("it does not wait: {said}")
    }
}

fn known(acknowledged: u64) -> Progress {
    Progress { known: true, acknowledged, ..Progress::default() }
}

#[test]
fn what_is_behind_one_that_was_put_off_waits_until_that_comes_again() {
    let (mut server, _) = Server::open(1, known(0));
    assert_eq!(server.message(1), "apply 1..=1\n");
    assert_eq!(server.message(2), "apply 2..=2\n");
    assert_eq!((server.message(3), server.message(4)), (String::new(), String::new()));
    let said = server.applied(0, true);
    assert!(said.contains("PutOff { number: 1") && !said.contains("apply"), "{said}");
    // What was on its way is dropped, and what comes again waits for the answer of the run behind.
    assert_eq!((server.message(5), server.message(1)), (String::new(), String::new()));
    assert_eq!(server.applied(0, true), "apply 1..=1\n");
    assert_eq!(server.message(2), "apply 2..=2\n");
    assert!(server.applied(1, false).contains("Acknowledged(1)"));
    // Once it has come again, a gap is an error.
    assert!(server.message(9).contains("message 3 comes next, and 9 came"));
}

#[test]
fn a_run_of_which_nothing_is_left_was_not_put_off() {
    let (mut server, _) = Server::open(1, known(0));
    server.message(1);
    let said = server.applied(1, true);
    assert!(said.contains("Acknowledged(1)") && !said.contains("PutOff"), "{said}");
    // Nor is more final than was asked for.
    server.message(2);
    assert!(server.applied(MAX_NUMBER, false).contains("Acknowledged(2)"));
}

#[test]
fn verdicts_that_are_not_noted_are_said_before_what_they_are_about_is_acknowledged() {
    let verdicts = vec![(3, Verdict::Refused(Code::REJECTED, "bad".to_owned())), (5, Verdict::Reply("5".into()))];
    for (first, told) in [(1, 2), (3, 2), (4, 4), (6, 7)] {
        let progress = Progress { checksum: Some(9), verdicts: verdicts.clone(), ..known(7) };
        let (_, said) = Server::open(first, progress);
        let proof = if told == 7 { "checksum: Some(9), last: None" } else { "checksum: None, last: Some((7, 9))" };
        assert!(said.contains(&format!("acknowledged: {told}, {proof}")), "{first}: {said}");
        let order = ["Refused { number: 3", "Replies(Run { first: 5", "Acknowledged(7)"].map(|word| said.find(word));
        assert!(order.is_sorted(), "{said}");
        assert_eq!(order[0].is_some(), first <= 3, "{said}");
        // What a client knows to be final it has noted.
        assert_eq!(said.contains(&format!("Note({})", first - 1)), first > 1, "{said}");
    }
}

#[test]
fn sessions_that_do_not_fit_are_refused() {
    let unknown = |acknowledged| Progress { acknowledged, ..Progress::default() };
    for (first, progress, ends) in [
        (1, unknown(0), "Granted"),
        (5, unknown(0), "code: 410"),
        // A store that keeps nothing for good begins where the client is.
        (5, unknown(4), "Granted"),
        (5, known(3), "code: 412"),
        (5, known(4), "Granted"),
        (5, known(19), "Granted"),
        (5, known(20), "code: 409"),
        (5, known(MAX_NUMBER), "code: 409"),
    ] {
        let (_, said) = Server::open(first, progress.clone());
        assert!(said.contains(ends), "{first} {progress:?}: {said}");
    }
}

#[test]
fn a_drain_waits_for_what_the_store_has_in_hand() {
    let (mut server, _) = Server::open(1, known(0));
    (1..=3).for_each(|number| _ = server.message(number));
    server.receiver.handle(receiver::Input::Drain, server.now);
    assert_eq!((server.says(), server.message(4)), (String::new(), String::new()));
    assert!(server.applied(1, false).contains("apply 3..=3"));
    server.applied(2, false);
    let said = server.applied(3, false);
    assert!(said.contains("Acknowledged(3)") && said.contains("Bye { acknowledged: 3, drain: true }"), "{said}");
    assert!(said.ends_with("Close\n"));
}

#[test]
fn what_takes_the_store_long_is_not_the_clients_silence() {
    let (mut server, _) = Server::open(1, known(0));
    server.message(1);
    server.now += IDLE_TIMEOUT * 2;
    assert_eq!(server.says(), "");
    assert!(!server.applied(1, false).contains("Close"));
    server.now += IDLE_TIMEOUT;
    assert!(server.says().contains("code: 408"));
}

#[test]
fn a_client_that_asks_and_does_not_listen_is_not_read_from() {
    let (mut server, _) = Server::open(1, known(0));
    for asked in 0.. {
        assert!(asked < 5000);
        if !server.receiver.wants_input() {
            break;
        }
        server.hear(ClientFrame::Ping("x".into()));
    }
}

#[test]
fn who_notes_nothing_is_put_off_until_it_does() {
    let (mut server, _) = Server::open(1, known(0));
    let refused = |server: &mut Server, number| {
        server.hear(ClientFrame::TooLarge { number, length: MAX_NUMBER });
        let said = server.says();
        if said.starts_with("apply") {
            let verdicts = vec![(number, Verdict::Refused(Code::TOO_LARGE, "too large".to_owned()))];
            let applied = Applied { through: number, verdicts, put_off: None };
            server.receiver.handle(receiver::Input::Applied(applied), server.now);
            server.says();
        }
        said
    };
    // A window of four, and one more.
    (1..=5).for_each(|number| assert!(refused(&mut server, number).starts_with("apply"), "{number}"));
    for _ in 0..2 {
        let said = refused(&mut server, 6);
        assert!(said.contains("PutOff { number: 6, after: 1s, code: 503"), "{said}");
        // What was on its way behind it is dropped.
        assert_eq!((refused(&mut server, 7), server.message(8)), (String::new(), String::new()));
    }
    // What was not told cannot be noted.
    server.hear(ClientFrame::Noted(0));
    assert!(refused(&mut server, 6).contains("PutOff"));
    server.hear(ClientFrame::Noted(1));
    server.says();
    assert_eq!(refused(&mut server, 6), "apply 6..=6\n");
    assert!(server.message(7).contains("PutOff"));
    server.hear(ClientFrame::Noted(MAX_NUMBER));
    server.says();
    assert_eq!(server.message(7), "apply 7..=7\n");
    // What was told in another connection counts as well.
    let verdicts = (1..=5).map(|number| (number, Verdict::Reply("x".into()))).collect();
    let (mut server, _) = Server::open(1, Progress { verdicts, ..known(5) });
    assert!(server.message(6).contains("PutOff { number: 6"));
}
