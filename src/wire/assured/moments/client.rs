//! A sender at single moments.
//!
//! Apart from the receiver, of which it knows nothing: what a server says is made up here.

use std::time::{Duration, Instant};

use super::seconds;
use crate::wire::assured::sender::{self, Sender};
use crate::wire::assured::{
    ACKNOWLEDGE_TIMEOUT, Again, BACK_OFF, ClientFrame, Code, Grant, IDLE_TIMEOUT, LONGEST_PAUSE, Level, MAX_NUMBER,
    OPEN_TIMEOUT, PING_AFTER, Run, SenderConfig, ServerFrame, SessionId, Start, TAKE_OVERS, checksum,
};

/// A sender, and the time it has.
struct Client {
    sender: Sender,
    now: Instant,
}

impl Client {
    fn new(start: Start, patience: Option<Duration>) -> Self {
        let session = SessionId::of_bits(7);
        let config = SenderConfig { session, replies: true, level: None, name: None, patience, seed: 3 };
        let now = Instant::now();
        Self { sender: Sender::new(config, start, now), now }
    }

    /// One whose session is open.
    fn open(messages: u64) -> Self {
        let mut client = Self::new(Start { first: 1, next: 1, checksum: None }, None);
        client.says();
        client.connect(grant(0));
        client.accept(messages);
        client
    }

    fn connect(&mut self, grant: Grant<'_>) {
        self.sender.handle(sender::Input::Connected, self.now);
        assert!(self.says().contains("Open("));
        self.hear(ServerFrame::Granted(grant));
    }

    fn accept(&mut self, messages: u64) {
        let mut run = Run::new(self.sender.wants().expect("room"));
        (0..messages).for_each(|_| run.push(b"body"));
        self.sender.handle(sender::Input::Accepted(run), self.now);
    }

    fn hear(&mut self, frame: ServerFrame<'_>) {
        self.sender.handle(sender::Input::Frame(frame), self.now);
    }

    /// All that it wants until it waits, a line each.
    fn says(&mut self) -> String {
        let mut said = String::new();
        for _ in 0..100 {
            match self.sender.poll(self.now) {
                sender::Output::Wait(due) => {
                    assert!(due.is_none_or(|due| due > self.now), "waits for what is past");
                    return said;
                }
                sender::Output::Send(ClientFrame::Message { number, .. }) => said += &format!("M {number}\n"),
                other => said += &format!("{other:?}\n"),
            }
        }
        panic!("it does not wait: {said}")
    }

    fn later(&mut self, time: Duration) -> String {
        self.now += time;
        self.says()
    }

    /// What it says until it wants a connection, which comes in time.
    fn reconnects(&mut self) -> String {
        let mut said = String::new();
        while !said.contains("Connect {") {
            self.now += Duration::from_millis(50);
            said += &self.says();
        }
        said
    }
}

fn grant(acknowledged: u64) -> Grant<'static> {
    Grant {
        acknowledged,
        checksum: None,
        last: None,
        window: 3,
        window_bytes: 1000,
        max_body: 100,
        idle: IDLE_TIMEOUT,
        level: Level::Stored,
        server: "alpha".into(),
    }
}

fn error(code: Code, again: Again) -> ServerFrame<'static> {
    ServerFrame::Error { code, again, reason: "reason".into() }
}

#[test]
fn nothing_is_final_that_was_never_sent() {
    let mut client = Client::open(9);
    assert!(client.says().ends_with("M 3\n"));
    client.hear(ServerFrame::Acknowledged(4));
    assert!(client.says().contains("it acknowledges message 4, which was not sent"));
    // What was sent over another connection may be final without being sent again.
    client.reconnects();
    client.connect(grant(0));
    client.hear(ServerFrame::Acknowledged(3));
    assert!(client.says().contains("Final { through: 3"));
    // And so may be what another process has sent, as long as nobody knows that it has not.
    let mut client = Client::new(Start { first: 1, next: 5, checksum: None }, None);
    client.says();
    client.connect(grant(0));
    client.hear(ServerFrame::Acknowledged(4));
    assert!(client.says().contains("Final { through: 4"));
}

#[test]
fn a_window_is_kept_and_may_shrink_to_nothing() {
    let mut client = Client::open(9);
    assert!(client.says().ends_with("M 1\nM 2\nM 3\n"));
    client.hear(ServerFrame::Window { messages: 0, bytes: 0 });
    client.hear(ServerFrame::Acknowledged(2));
    assert!(!client.says().contains("M "));
    client.hear(ServerFrame::Window { messages: 1, bytes: 0 });
    // One is on its way still.
    assert!(!client.says().contains("M "));
    client.hear(ServerFrame::Acknowledged(3));
    assert!(client.says().ends_with("M 4\n"));
    client.hear(ServerFrame::Window { messages: u32::MAX, bytes: 12 });
    assert!(client.says().ends_with("M 5\nM 6\n"));
    client.hear(ServerFrame::Window { messages: u32::MAX, bytes: u64::MAX });
    assert!(client.says().ends_with("M 7\nM 8\nM 9\n"));
}

#[test]
fn numbers_may_come_to_their_end() {
    let mut client = Client::new(Start { first: MAX_NUMBER - 1, next: MAX_NUMBER - 1, checksum: None }, None);
    client.accept(2);
    client.says();
    client.connect(Grant { window: u32::MAX, window_bytes: u64::MAX, ..grant(MAX_NUMBER - 2) });
    assert!(client.says().ends_with(&format!("M {}\nM {MAX_NUMBER}\n", MAX_NUMBER - 1)));
    client.hear(ServerFrame::Acknowledged(MAX_NUMBER));
    client.sender.handle(sender::Input::NoMore, client.now);
    assert!(client.says().contains("Bye"));
}

#[test]
fn silence_is_asked_about_and_then_ended() {
    let mut client = Client::open(0);
    client.says();
    assert!(!client.later(PING_AFTER - seconds(1)).contains("Ping"));
    assert!(client.later(seconds(1)).contains("Ping"));
    client.hear(ServerFrame::Pong("there".into()));
    assert!(client.later(PING_AFTER).contains("Ping"));
    assert!(client.later(IDLE_TIMEOUT - PING_AFTER).contains("silent"));
    assert!(client.reconnects().contains("elsewhere: true"));
    // A server that has less patience is asked sooner.
    client.connect(Grant { idle: seconds(9), ..grant(0) });
    client.says();
    assert!(client.later(seconds(3)).contains("Ping"));
}

#[test]
fn a_server_that_answers_and_acknowledges_nothing_is_left() {
    let mut client = Client::open(1);
    client.says();
    for _ in 0..5 {
        assert!(!client.later(seconds(10)).contains("Lost"));
        client.hear(ServerFrame::Pong("there".into()));
    }
    assert!(client.later(ACKNOWLEDGE_TIMEOUT - seconds(50)).contains("nothing was acknowledged"));
    assert!(client.reconnects().contains("elsewhere: true"));
    // The opening has its own.
    client.sender.handle(sender::Input::Connected, client.now);
    client.says();
    assert!(client.later(OPEN_TIMEOUT).contains("did not open"));
}

#[test]
fn clocks_go_on_while_there_is_no_room_to_send() {
    let mut client = Client::open(9);
    client.now += ACKNOWLEDGE_TIMEOUT;
    let mut said = String::new();
    for _ in 0..9 {
        said += &format!("{:?}\n", client.sender.poll_events(client.now));
    }
    assert!(said.contains("Lost") && !said.contains("Send"), "{said}");
}

#[test]
fn one_that_was_put_off_is_sent_again_after_the_pause_and_is_not_stuck() {
    let mut client = Client::open(3);
    client.says();
    let put_off = |number, after| ServerFrame::PutOff { number, after, code: Code::RATE, reason: "later".into() };
    client.hear(put_off(1, seconds(100)));
    assert!(client.says().contains("PutOff"));
    for _ in 0..10 {
        assert!(!client.later(seconds(10)).contains("M "));
        client.hear(ServerFrame::Pong("there".into()));
    }
    assert!(client.later(seconds(25)).ends_with("M 1\nM 2\nM 3\n"));
    // Those before it are still on their way.
    client.hear(put_off(3, Duration::ZERO));
    assert!(client.says().ends_with("M 3\n"));
    // What a server says does not stop a client for good, or make it fall over.
    client.hear(put_off(2, Duration::from_millis(MAX_NUMBER)));
    client.hear(ServerFrame::Acknowledged(1));
    let begun = client.now;
    while !client.later(seconds(15)).ends_with("M 2\nM 3\n") {
        client.hear(ServerFrame::Pong("there".into()));
        assert!(client.now - begun < LONGEST_PAUSE * 5 / 4 + seconds(15));
    }
}

#[test]
fn patience_ends_when_nothing_becomes_final() {
    let start = Start { first: 1, next: 1, checksum: None };
    // Never connected, with nothing and with something to send.
    for messages in [0, 2] {
        let mut client = Client::new(start, Some(seconds(5)));
        client.accept(messages);
        client.says();
        client.sender.handle(sender::Input::NotConnected("refused".to_owned()), client.now);
        let said = client.later(seconds(5));
        assert!(said.contains("Stop(Patience(5s, Some(\"refused\")))"), "{said}");
        assert_eq!(client.says(), "");
    }
    // With nothing to wait for there is no hurry, and waiting begins with what there is to wait for.
    let mut client = Client::new(start, Some(seconds(5)));
    client.says();
    client.connect(grant(0));
    assert!(!client.later(seconds(6)).contains("Stop"));
    client.accept(2);
    assert!(!client.later(seconds(4)).contains("Stop"));
    client.hear(ServerFrame::Acknowledged(1));
    assert!(!client.later(seconds(4)).contains("Stop"));
    assert!(client.later(seconds(1)).contains("Stop"));
}

#[test]
fn verdicts_are_told_once_and_noted_when_they_are_final() {
    let mut client = Client::open(3);
    client.says();
    let refused = || ServerFrame::Refused { number: 2, code: Code::REJECTED, reason: "bad".into() };
    client.hear(refused());
    assert!(!client.says().contains("Noted"));
    client.sender.handle(sender::Input::Disconnected("cut".to_owned()), client.now);
    client.reconnects();
    client.connect(Grant { last: Some((3, checksum(b"body"))), ..grant(1) });
    client.hear(refused());
    client.hear(ServerFrame::Acknowledged(3));
    let said = client.says();
    assert!(said.contains("Final { through: 3") && said.contains("Noted(3)") && !said.contains("Refused"), "{said}");
}

#[test]
fn verdicts_on_what_was_never_sent_are_nonsense() {
    // Of five that were accepted the window lets three go.
    let open = || {
        let mut client = Client::open(5);
        assert!(client.says().ends_with("M 3\n"));
        client
    };
    for (number, is_one) in [(0, false), (3, true), (4, false), (5, false), (6, false), (MAX_NUMBER, false)] {
        let mut refused = open();
        refused.hear(ServerFrame::Refused { number, code: Code::REJECTED, reason: "bad".into() });
        let mut replied = open();
        replied.hear(ServerFrame::Reply { number, body: b"reply".into() });
        let mut replied_together = open();
        let mut run = Run::new(number);
        run.push(b"reply");
        replied_together.sender.replies(run, replied_together.now);
        for (mut client, verdict) in [(refused, "Refused"), (replied, "Replies"), (replied_together, "Replies")] {
            let said = client.says();
            assert_eq!(said.contains(verdict), is_one, "{number}: {said}");
            let says = format!("it speaks of message {number}, which was not sent");
            assert_eq!(said.contains(&says), !is_one, "{number}: {said}");
        }
    }
    // Of a run what was sent counts.
    let mut client = open();
    let mut run = Run::new(3);
    (0..2).for_each(|_| run.push(b"reply"));
    client.sender.replies(run, client.now);
    let said = client.says();
    assert!(said.contains("Replies") && said.contains("it speaks of message 4, which was not sent"), "{said}");
    // What another process may have sent is no nonsense.
    let mut client = Client::new(Start { first: 1, next: 5, checksum: None }, None);
    client.says();
    client.connect(grant(0));
    client.hear(ServerFrame::Refused { number: 4, code: Code::REJECTED, reason: "bad".into() });
    assert!(client.says().contains("Refused"));
}

#[test]
fn the_last_message_of_the_server_is_compared_even_behind_verdicts() {
    for (last, ends) in [((3, checksum(b"body")), false), ((3, 1), true), ((4, 1), true)] {
        let mut client = Client::new(Start { first: 1, next: 1, checksum: None }, None);
        client.accept(3);
        client.says();
        client.connect(Grant { last: Some(last), ..grant(1) });
        assert_eq!(client.says().contains("Stop(Lost(409"), ends, "{last:?}");
    }
    // The spool is asked for what is not held, and nothing else is heard before it has answered.
    for (own, ends) in [(Some(5), false), (None, false), (Some(6), true)] {
        let mut client = Client::new(Start { first: 1, next: 4, checksum: None }, None);
        client.says();
        client.connect(Grant { checksum: Some(5), ..grant(3) });
        assert!(client.says().contains("Checksum(3)") && !client.sender.wants_input());
        client.sender.handle(sender::Input::Checksum(own), client.now);
        assert_eq!(client.says().contains("Stop(Lost(409"), ends, "{own:?}");
        assert!(client.sender.wants_input());
    }
}

#[test]
fn an_end_after_the_last_word_is_a_good_end() {
    for word in [
        ServerFrame::Bye { acknowledged: 1, drain: true },
        error(Code::OVERLOADED, Again::Never),
        error(Code::TAKEN_OVER, Again::Never),
        error(Code::TIMEOUT, Again::After(seconds(1))),
    ] {
        let mut client = Client::open(1);
        client.says();
        client.hear(ServerFrame::Acknowledged(1));
        client.sender.handle(sender::Input::NoMore, client.now);
        assert!(client.says().ends_with("Send(Bye)\n"));
        client.hear(word.clone());
        assert!(client.says().ends_with("Disconnect\nDone\n"), "{word:?}");
    }
}

#[test]
fn a_session_that_is_taken_over_again_and_again_is_at_work_elsewhere() {
    let mut client = Client::open(1);
    for _ in 0..TAKE_OVERS {
        client.says();
        client.hear(error(Code::TAKEN_OVER, Again::Never));
        client.reconnects();
        client.connect(grant(0));
    }
    client.hear(error(Code::TAKEN_OVER, Again::Never));
    assert!(client.says().contains("Stop(Lost(423"));
}

#[test]
fn a_server_that_sends_everybody_away_does_not_keep_a_client_spinning() {
    let mut client = Client::open(1);
    client.says();
    client.hear(ServerFrame::Bye { acknowledged: 0, drain: true });
    assert!(client.says().contains("Connect { elsewhere: true }"));
    let begun = client.now;
    for _ in 0..12 {
        client.connect(grant(0));
        client.says();
        client.hear(ServerFrame::Bye { acknowledged: 0, drain: true });
        client.reconnects();
    }
    assert!(client.now - begun > BACK_OFF.1, "{:?}", client.now - begun);
}

#[test]
fn where_one_server_is_of_no_use_the_others_are_tried_at_once_and_each_once() {
    let overloaded =
        || ServerFrame::Error { code: Code::OVERLOADED, again: Again::After(seconds(9)), reason: "full".into() };
    let drain = || ServerFrame::Bye { acknowledged: 0, drain: true };
    let mut client = Client::open(9);
    client.says();
    client.sender.handle(sender::Input::Places(3), client.now);
    for round in 0..3 {
        for left in [drain(), overloaded()] {
            client.hear(left);
            let said = client.says();
            assert!(said.contains("again: 0ns") && said.contains("Connect { elsewhere: true }"), "{round}: {said}");
            client.sender.handle(sender::Input::Connected, client.now);
            client.says();
        }
        // All have sent it away.
        client.hear(overloaded());
        let said = client.says();
        assert!(!said.contains("again: 0ns") && !said.contains("Connect"), "{round}: {said}");
        assert!(client.reconnects().contains("elsewhere: true"));
        client.connect(grant(0));
        client.says();
    }
    // Whoever has settled something was of use, and may be so again.
    for number in 1..5 {
        client.hear(ServerFrame::Acknowledged(number));
        client.hear(ServerFrame::Bye { acknowledged: number, drain: true });
        let said = client.says();
        assert!(said.contains("again: 0ns"), "{said}");
        client.connect(grant(number));
        client.says();
    }
    // What is silent is left at once, too, and nobody there is a reason to wait.
    client.hear(ServerFrame::Acknowledged(5));
    client.says();
    assert!(client.later(ACKNOWLEDGE_TIMEOUT).contains("again: 0ns"));
    client.sender.handle(sender::Input::NotConnected("nobody".to_owned()), client.now);
    assert!(!client.says().contains("again: 0ns"));
}

#[test]
fn what_was_assigned_and_is_not_held_is_wanted_and_keeps_the_session_going() {
    let mut client = Client::open(2);
    client.sender.handle(sender::Input::Assigned(5), client.now);
    client.sender.handle(sender::Input::NoMore, client.now);
    client.says();
    client.hear(ServerFrame::Acknowledged(2));
    let said = client.says();
    assert!(said.contains("through: 2") && !said.contains("Bye"), "{said}");
    assert_eq!((client.sender.wants(), client.sender.tally().accepted), (Some(3), 4));
    client.accept(2);
    client.says();
    client.hear(ServerFrame::Acknowledged(4));
    assert!(client.says().contains("Bye"));
}
