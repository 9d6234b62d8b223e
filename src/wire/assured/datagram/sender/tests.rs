//! The sender over datagrams against a server that is a list of words.
//!
//! Apart from the sender, for length.

use super::*;
use crate::wire::assured::{ACKNOWLEDGE_TIMEOUT, OPEN_TIMEOUT, Run, checksum};

const SID: &str = "0123456789abcdef";
const COOKIE: &str = "00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100";

struct Test {
    sender: DatagramSender,
    now: Instant,
}

impl Test {
    fn new(first: u64, next: u64, patience: Option<Duration>) -> Self {
        let session = SID.parse().expect("a session");
        let config =
            SenderConfig { session, replies: false, level: None, name: Some("me".to_owned()), patience, seed: 1 };
        let start = Start { first, next, checksum: (first > 1).then_some(7) };
        let now = Instant::now();
        Self { sender: DatagramSender::new(DatagramConfig::new(config), start, now), now }
    }

    /// One that holds these messages, and whose session is open.
    fn open(bodies: &[&[u8]]) -> Self {
        let mut test = Self::new(1, 1, None);
        test.accept(1, bodies);
        assert_eq!(test.said(), ["connect"]);
        test.tell(Input::Connected);
        test.said();
        test.hear(&format!("C SID {COOKIE} 0 00000000 64 1200 try=TRY"));
        test
    }

    fn accept(&mut self, first: u64, bodies: &[&[u8]]) {
        let mut run = Run::new(first);
        bodies.iter().for_each(|body| run.push(body));
        self.tell(Input::Accepted(run));
    }

    fn tell(&mut self, input: Input<ServerPacket<'_>>) {
        self.sender.handle(input, self.now);
    }

    /// The server says this; `SID` and `TRY` are those of the sender.
    fn hear(&mut self, text: &str) {
        let text = format!("WILCO/1 {text}").replace("SID", SID).replace("TRY", &self.sender.attempt.to_string());
        self.tell(Input::Frame(ServerPacket::parse(text.as_bytes()).expect("a packet")));
    }

    /// What it wants done, a line each: packets as they are sent, without the session and the fill.
    fn said(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            lines.push(match self.sender.poll(self.now) {
                Output::Wait(_) => return lines,
                Output::Send(packet) => {
                    let mut datagram = Vec::new();
                    packet.encode(&mut datagram);
                    let text = String::from_utf8_lossy(&datagram).into_owned();
                    let (before, after) = text.split_once(" try=").unwrap_or((&text, ""));
                    let text = format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()));
                    let text = text.split(" pad=").next().unwrap_or_default().replace("WILCO/1 ", "");
                    text.replace(&format!(" {SID}"), "").replace(COOKIE, "-").replace('\n', "|")
                }
                Output::Connect { .. } => "connect".to_owned(),
                Output::Disconnect => "disconnect".to_owned(),
                Output::Checksum(number) => format!("checksum of {number}"),
                Output::Opened { .. } => "opened".to_owned(),
                Output::Refused { number, code, body, .. } => {
                    format!("refused {number} {code} {}", body.map_or(0, <[u8]>::len))
                }
                Output::Replies(_) => "reply".to_owned(),
                Output::Final { through, .. } => format!("final {through}"),
                Output::Lost { .. } => "lost".to_owned(),
                Output::PutOff { code, .. } => format!("put off {code}"),
                Output::Stop(reason) => format!("stop {reason:?}"),
                Output::Done => "done".to_owned(),
            });
            if lines.last().is_some_and(|line| line == "done" || line.starts_with("stop")) {
                return lines;
            }
        }
    }

    /// Waits until there is something to be done, and says how long that was.
    fn wait(&mut self) -> Duration {
        let Output::Wait(Some(until)) = self.sender.poll(self.now) else { panic!("it does not wait") };
        let before = std::mem::replace(&mut self.now, until);
        until - before
    }
}

#[test]
fn a_server_that_grants_less_than_is_required_is_left() {
    for (level, is_left) in [("show", true), ("store", false)] {
        let mut test = Test::new(1, 2, None);
        test.sender.config.sender.level = Some(Level::Handled);
        test.said();
        test.tell(Input::Connected);
        let opening = test.said().join(" ");
        assert!(opening.contains(" ack=run"), "{opening}");
        test.hear(&format!("C SID {COOKIE} 0 00000000 64 1200 try=TRY ack={level} srv=alpha"));
        let said = test.said().join("\n");
        assert_eq!(said.contains("Refused(406"), is_left, "{said}");
    }
}

#[test]
fn a_session_is_opened_with_a_cookie_and_messages_follow() {
    let mut test = Test::new(1, 1, None);
    test.accept(1, &[b"one", b"two", b"three", b"four", b"five"]);
    assert_eq!(test.said(), ["connect"]);
    test.tell(Input::Connected);
    assert_eq!(test.said(), ["O 1 6"]);
    test.hear(&format!("C SID {COOKIE} - - 64 1200 try=TRY"));
    // Only now there is a name: before, nobody would look at it.
    assert_eq!(test.said(), ["O 1 6 cookie=- name=me"]);
    test.hear(&format!("C SID {COOKIE} 0 00000000 64 1200 try=TRY ack=store srv=s"));
    assert_eq!(test.said(), ["opened", "M - 1|one", "M - 2|two", "M - 3|three", "M - 4|four"]);
    test.tell(Input::NoMore);
    test.hear("A SID 3");
    assert_eq!(test.said(), ["final 3", "M - 5|five"]);
    test.hear("A SID 5");
    assert_eq!(test.said(), ["final 5", "BYE -", "done"]);
    assert_eq!(test.sender.tally(), Tally { accepted: 5, settled: 5, refused: 0, reconnects: 0 });
}

#[test]
fn what_is_not_answered_is_sent_again_later_and_later_and_what_is_held_is_not() {
    let mut test = Test::open(&[b"1", b"2", b"3"]);
    test.said();
    test.hear("A SID 0 c");
    let first = test.wait();
    assert!(first >= super::super::MIN_TIMEOUT && first <= FIRST_TIMEOUT * 3 / 2, "{first:?}");
    assert_eq!(test.said(), ["M - 1|1"]);
    let second = test.wait();
    assert_eq!(second, first * 2);
    // Nothing was heard for two timeouts: the server may have forgotten the session.
    assert_eq!(test.said(), ["O 1 4"]);
    let third = test.wait();
    assert!(third >= FIRST_TIMEOUT && third <= FIRST_TIMEOUT * 3 / 2, "{third:?}");
    assert_eq!(test.said(), ["O 1 4"]);
    assert_eq!(test.wait(), third * 2);
    test.hear(&format!("C SID {COOKIE} 0 00000000 64 1200 try=TRY"));
    // What a server held before is not known to be held now. The window is 2 after a loss.
    assert_eq!(test.said(), ["M - 1|1", "M - 2|2"]);
    test.hear("A SID 1");
    assert_eq!(test.said(), ["final 1", "M - 3|3"]);
}

#[test]
fn what_was_held_is_sent_again_if_nothing_more_is_heard() {
    let mut test = Test::open(&[b"1", b"2", b"3", b"4"]);
    test.said();
    test.hear("A SID 0 e");
    test.hear("A SID 1 c");
    assert_eq!(test.said(), ["final 1"]);
    // All that is on the way is held, and now the server is killed.
    let first = test.wait();
    assert!(first <= FIRST_TIMEOUT * 3 / 2, "{first:?}");
    assert_eq!(test.said(), ["M - 2|2"]);
    test.wait();
    assert_eq!(test.said(), ["O 2 5"]);
    test.hear(&format!("C SID {COOKIE} 1 {:08x} 64 1200 try=TRY", checksum(b"1")));
    test.said();
    let again = test.wait();
    assert!(again >= FIRST_TIMEOUT && again <= FIRST_TIMEOUT * 3 / 2, "as at first: {again:?}");
}

#[test]
fn a_server_that_does_not_know_the_session_any_more_is_told_it_again() {
    let mut test = Test::open(&[b"1"]);
    test.said();
    test.hear(&format!("C SID {OTHER} - - 64 1200"));
    assert!(test.said().is_empty(), "that was of an opening before");
    test.now += Duration::from_secs(2);
    test.hear(&format!("C SID {OTHER} - - 64 1200"));
    assert_eq!(test.said(), [format!("O 1 2 cookie={OTHER} name=me")]);
    test.hear(&format!("C SID {OTHER} 1 {:08x} 64 1200 try=TRY", checksum(b"1")));
    assert_eq!(test.said(), ["final 1"]);
}

#[test]
fn a_message_that_is_too_large_is_never_sent_and_refused_in_its_turn() {
    let mut test = Test::open(&[b"1", &[0; 1201], b"3"]);
    assert_eq!(test.said(), ["opened", "M - 1|1", "X - 2 1201", "M - 3|3"]);
    test.hear("N SID 2 413 too large");
    assert!(test.said().is_empty(), "1 is not final yet");
    test.hear("A SID 1 8");
    assert_eq!(test.said(), ["final 1", "refused 2 413 1201", "final 2", "K - 2"]);
    test.hear("N SID 2 413 too large");
    assert_eq!(test.said(), ["K - 2"]);
    test.tell(Input::NoMore);
    test.hear("A SID 3");
    assert_eq!(test.said(), ["final 3", "BYE -", "done"]);
    assert_eq!(test.sender.tally(), Tally { accepted: 3, settled: 3, refused: 1, reconnects: 0 });
}

#[test]
fn what_is_put_off_is_sent_again_after_its_time() {
    let mut test = Test::open(&[b"1", b"2", b"3"]);
    test.said();
    test.hear("A SID 1");
    test.hear("R SID 2 100000 507 no room");
    test.hear("R SID 2 100000 507 no room");
    assert_eq!(test.said(), ["final 1", "put off 507"]);
    let waited = test.wait();
    assert!(waited >= Duration::from_secs(100) && waited <= Duration::from_secs(125), "{waited:?}");
    assert_eq!(test.said(), ["M - 2|2", "M - 3|3"]);
}

#[test]
fn what_cannot_be_so_ends_the_session() {
    for (words, code) in [
        (format!("C SID {COOKIE} 9 - 64 1200 try=TRY"), Code::CLIENT_BEHIND),
        (format!("C SID {COOKIE} 3 - 64 1200 try=TRY"), Code::SERVER_BEHIND),
        (format!("C SID {COOKIE} 4 00000008 64 1200 try=TRY"), Code::CLIENT_BEHIND),
        (format!("C SID {COOKIE} 5 00000008 64 1200 try=TRY"), Code::CLIENT_BEHIND),
        ("E SID TRY 410 never unknown".to_owned(), Code::UNKNOWN_SESSION),
    ] {
        let mut test = Test::new(5, 9, None);
        test.accept(5, &[b"5"]);
        test.said();
        test.tell(Input::Connected);
        test.said();
        // What another attempt is told, or another session, is not meant.
        test.hear(&words.replace("TRY", "1"));
        test.hear(&words.replace("SID", "00000000000000000"));
        assert!(test.said().is_empty(), "{words}");
        test.hear(&words);
        let said = test.said();
        let last = said.last().cloned().unwrap_or_default();
        assert!(last.starts_with(&format!("stop Lost({code}")), "{words}: {said:?}");
        assert_eq!(said.iter().filter(|line| *line == "disconnect").count(), 1);
    }
}

#[test]
fn the_spool_is_asked_for_the_checksum_of_a_message_that_is_not_held() {
    for (own, word) in [(Some(8), "stop Lost(409"), (Some(9), "final 7"), (None, "final 7")] {
        let mut test = Test::new(5, 9, None);
        test.said();
        test.tell(Input::Connected);
        test.said();
        test.hear(&format!("C SID {COOKIE} 7 00000009 64 1200 try=TRY"));
        assert_eq!(test.said(), ["opened", "checksum of 7"]);
        test.tell(Input::Checksum(own));
        let said = test.said();
        assert!(said.iter().any(|line| line.starts_with(word)), "{own:?}: {said:?}");
        if own != Some(8) {
            assert_eq!(test.sender.wants(), Some(8));
        }
    }
}

#[test]
fn a_server_that_does_not_answer_is_left_for_another() {
    let mut test = Test::new(1, 2, None);
    test.said();
    test.tell(Input::Connected);
    let (began, mut said) = (test.now, test.said());
    while said.iter().all(|line| line.starts_with('O')) {
        test.wait();
        said = test.said();
    }
    assert_eq!(test.now - began, OPEN_TIMEOUT);
    assert_eq!(said, ["disconnect", "lost"]);
    test.wait();
    assert!(matches!(test.sender.poll(test.now), Output::Connect { elsewhere: true }));

    let mut test = Test::open(&[b"1"]);
    let began = test.now;
    test.said();
    // It answers, and nothing becomes final.
    while test.now < began + ACKNOWLEDGE_TIMEOUT {
        test.wait();
        test.hear("A SID 0");
        said = test.said();
    }
    assert_eq!(said, ["disconnect", "lost"]);
}

#[test]
fn patience_ends_and_what_is_not_spoken_is_said() {
    let patience = Duration::from_secs(7);
    let mut test = Test::new(1, 2, Some(patience));
    test.said();
    test.tell(Input::NotConnected("no route".to_owned()));
    test.now += patience;
    let reason = StopReason::Patience(patience, Some("no route".to_owned()));
    assert_eq!(test.said().last(), Some(&format!("stop {reason:?}")));

    let mut test = Test::new(1, 2, None);
    test.said();
    test.tell(Input::Connected);
    test.said();
    test.tell(Input::Broken("hello".to_owned()));
    test.now += OPEN_TIMEOUT;
    assert_eq!(test.said(), ["disconnect".to_owned(), format!("stop {:?}", StopReason::NotSpoken("hello".to_owned()))]);
}

#[test]
fn acknowledgements_that_come_late_or_say_too_much_are_passed_over() {
    let mut test = Test::open(&[b"1", b"2", b"3"]);
    test.said();
    for (words, said) in
        [("A SID 2", &["final 2"][..]), ("A SID 1 8", &[]), ("A SID 9", &[]), ("A SID 3", &["final 3"])]
    {
        test.hear(words);
        assert_eq!(test.said(), said, "{words}");
    }
}
