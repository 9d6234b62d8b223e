//! Many messages in one call are what they are one by one: a decoder finds the same, and a sender and a receiver do the same with both.
//!
//! Apart from the other properties, since here two of a kind are told the same in different ways, and compared.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::receiver::{self, Receiver};
use super::sender::{self, Sender};
use super::{
    Applied, ClientFrame, Code, Grant, Level, MAX_NUMBER, Open, Progress, PutOff, ReceiverConfig, Run, SenderConfig,
    ServerFrame, SessionId, Start, Verdict,
};
use crate::fuzzing;

/// Messages with these numbers.
fn run(first: u64, sizes: &[usize]) -> Run {
    let mut run = Run::new(first);
    sizes.iter().for_each(|size| run.push(&vec![b'x'; *size]));
    run
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..20_usize, 1..12)
}

/// What befalls a sender.
#[derive(Clone, Debug)]
enum Step {
    Accept(Vec<usize>, bool),
    Acknowledged(u64),
    Replies(u64, Vec<usize>),
    PutOff(u64),
    Window(u32, u64),
    Ping,
    Reconnect,
    Later(u64),
    NoMore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (sizes(), proptest::bool::weighted(0.2)).prop_map(|(sizes, origin)| Step::Accept(sizes, origin)),
        6 => (0..9_u64).prop_map(Step::Acknowledged),
        4 => (0..60_u64, sizes()).prop_map(|(first, sizes)| Step::Replies(first, sizes)),
        1 => (0..60_u64).prop_map(Step::PutOff),
        2 => (0..20_u32, 0..200_u64).prop_map(|(messages, bytes)| Step::Window(messages, bytes)),
        1 => Just(Step::Ping),
        1 => Just(Step::Reconnect),
        3 => (0..3000_u64).prop_map(Step::Later),
        1 => Just(Step::NoMore),
    ];
    proptest::collection::vec(step, 1..50)
}

/// All that a sender wants until it waits. Together, it is asked for more after each message; then there may be no more once there are so many bytes.
fn wanted(sender: &mut Sender, now: Instant, enough: Option<u64>) -> String {
    let mut said = String::new();
    let add = |said: &mut String, frame: &ClientFrame<'_>| {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        said.push_str(&String::from_utf8_lossy(&bytes));
    };
    for _ in 0..2000 {
        match sender.poll(now) {
            sender::Output::Wait(due) => {
                write!(said, "{due:?}").expect("a text");
                return said;
            }
            sender::Output::Send(frame) => {
                let is_message = matches!(frame, ClientFrame::Message { .. });
                add(&mut said, &frame);
                if let Some(enough) = enough.filter(|_| is_message) {
                    let series = sender.series(enough);
                    assert_eq!(series.last().is_none(), series.is_empty());
                    let (mut one_by_one, mut together) = (String::new(), Vec::new());
                    series.frames().for_each(|frame| add(&mut one_by_one, &frame));
                    series.encode(&mut together);
                    assert_eq!(String::from_utf8_lossy(&together), one_by_one);
                    said += &one_by_one;
                }
            }
            sender::Output::Replies(run) => {
                run.messages().for_each(|(number, body)| writeln!(said, "D {number} {body:?}").expect("a text"));
            }
            other => writeln!(said, "{other:?}").expect("a text"),
        }
    }
    panic!("busy without end: {said}")
}

/// What comes to a receiver, and what its store says.
#[derive(Clone, Debug)]
enum Come {
    /// Messages, from so many behind what comes next on; as many as it allows, or all.
    Messages(u64, Vec<usize>, bool),
    Applied(u64, bool, Option<bool>),
    Noted(u64),
    Bye,
    Drain,
}

fn comes() -> impl Strategy<Value = Vec<Come>> {
    let come = prop_oneof![
        8 => (prop_oneof![9 => Just(3_u64), 1 => 0..6_u64], sizes(), any::<bool>())
            .prop_map(|(offset, sizes, allowed)| Come::Messages(offset, sizes, allowed)),
        6 => (0..20_u64, proptest::bool::weighted(0.2), proptest::option::of(any::<bool>()))
            .prop_map(|(more, put_off, verdicts)| Come::Applied(more, put_off, verdicts)),
        2 => (0..60_u64).prop_map(Come::Noted),
        1 => proptest::bool::weighted(0.5).prop_map(|drain| if drain { Come::Drain } else { Come::Bye }),
    ];
    proptest::collection::vec(come, 1..40)
}

/// A receiver, and the first and the last numbers of the runs that its store was given.
struct Server(Receiver, Vec<(u64, u64)>);

impl Server {
    fn wanted(&mut self, now: Instant) -> String {
        let mut said = String::new();
        for _ in 0..2000 {
            match self.0.poll(now) {
                receiver::Output::Wait(due) => {
                    let (wants, bytes) = (self.0.wants_input(), self.0.bytes_in_hand());
                    write!(said, "{due:?} {wants} {bytes}").expect("a text");
                    return said;
                }
                receiver::Output::Close => return said + "close",
                receiver::Output::Apply(run) => {
                    self.1.push((run.first, run.last()));
                    writeln!(said, "{run:?}").expect("a text");
                }
                receiver::Output::Replies(run) => {
                    let (mut together, mut one_by_one) = (Vec::new(), Vec::new());
                    run.encode_replies(&mut together);
                    for (number, body) in run.messages() {
                        ServerFrame::Reply { number, body: body.into() }.encode(&mut one_by_one);
                    }
                    assert_eq!(together, one_by_one);
                    said += &String::from_utf8_lossy(&together);
                }
                other => writeln!(said, "{other:?}").expect("a text"),
            }
        }
        panic!("busy without end: {said}")
    }

    /// Takes messages, as many of them as it wants.
    fn take(&mut self, run: &Run, is_together: bool, now: Instant) {
        let mut number = run.first;
        while number < run.next() && self.0.wants_input() {
            let allowed = self.0.allows();
            let mut some = Run::new(number);
            while is_together && number == self.0.next() && some.next() < run.next() && allowed.has_room_beside(&some) {
                some.push(run.message(some.next()));
            }
            if some.is_empty() {
                let frame = ClientFrame::Message { number, origin: None, body: run.message(number) };
                self.0.handle(receiver::Input::Frame(frame), now);
                number += 1;
            } else {
                number = some.next();
                self.0.handle(receiver::Input::Messages(some), now);
            }
        }
    }
}

/// Frames of a client, most of them messages whose numbers follow each other, in all the ways in which they are written.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let frame = (0..20_u8, proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'1'), Just(b'x')], 0..70));
    (prop_oneof![Just(1), Just(9), Just(99), Just(MAX_NUMBER - 2)], proptest::collection::vec(frame, 0..20)).prop_map(
        |(first, frames)| {
            let (mut number, mut stream) = (first, Vec::new());
            for (kind, body) in frames {
                let (length, line) = (body.len(), String::from_utf8_lossy(&body).replace('\n', ""));
                let body = String::from_utf8_lossy(&body);
                let frame = match kind {
                    0 => format!("M {number} {length}\r\n{body}\r\n"),
                    1 => format!("M {number} -\n{line}\n"),
                    2 => format!("M {number} {length} oid=0123456789abcdef:7\n{body}\n"),
                    3 => format!("M {number} 0{length}\n{body}\n"),
                    4 => format!("PING {number}\n"),
                    5 => format!("D {number} {length}\n{body}\n"),
                    6 => format!("M {number} {}\n{body}\n", length + 1),
                    7 => "M 2 0\n\n".to_owned(),
                    8 => format!("M {} {length}\n{body}\n", number + 1),
                    _ => format!("M {number} {length}\n{body}\n"),
                };
                stream.extend_from_slice(frame.as_bytes());
                number += u64::from(kind != 4 && kind != 7);
            }
            stream
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_sender_does_the_same_with_many_as_with_each(steps in steps(), enough in 0..100_u64) {
        let mut now = Instant::now();
        let session = SessionId::of_bits(7);
        let config = SenderConfig { session: session.clone(), replies: true, level: None, name: None, patience: None, seed: 1 };
        let start = Start { first: 1, next: 1, checksum: None };
        let mut both = [None, Some(enough)].map(|enough| (Sender::new(config.clone(), start, now), enough));
        let grant = |acknowledged| ServerFrame::Granted(Grant {
            acknowledged, checksum: None, last: None, window: 12, window_bytes: 90, max_body: 99,
            idle: Duration::from_secs(60), level: Level::Stored, server: "any".into(),
        });
        let mut settled = 0;
        for step in [Step::Reconnect].into_iter().chain(steps) {
            if let Step::Later(milliseconds) = step {
                now += Duration::from_millis(milliseconds);
            }
            let mut said = Vec::new();
            for (sender, enough) in &mut both {
                let mut words = String::new();
                match &step {
                    Step::Accept(sizes, has_origin) => if let Some(first) = sender.wants() {
                        let mut run = run(first, sizes);
                        if *has_origin {
                            run.origins.push((first, session.clone(), 5));
                        }
                        sender.handle(sender::Input::Accepted(run), now);
                    },
                    Step::Acknowledged(more) => {
                        sender.handle(sender::Input::Frame(ServerFrame::Acknowledged(settled + more)), now);
                    }
                    Step::Replies(first, sizes) => {
                        let run = run(*first, sizes);
                        match enough {
                            Some(_) => sender.replies(run, now),
                            None => run.messages().for_each(|(number, body)| {
                                let frame = ServerFrame::Reply { number, body: body.into() };
                                sender.handle(sender::Input::Frame(frame), now);
                            }),
                        }
                    }
                    Step::PutOff(number) => {
                        let (after, reason) = (Duration::from_secs(1), "".into());
                        let frame = ServerFrame::PutOff { number: *number, after, code: Code::RATE, reason };
                        sender.handle(sender::Input::Frame(frame), now);
                    }
                    Step::Window(messages, bytes) => {
                        let frame = ServerFrame::Window { messages: *messages, bytes: *bytes };
                        sender.handle(sender::Input::Frame(frame), now);
                    }
                    Step::Ping => sender.handle(sender::Input::Frame(ServerFrame::Ping("x".into())), now),
                    Step::Reconnect => {
                        sender.handle(sender::Input::Disconnected("cut".to_owned()), now);
                        words += &wanted(sender, now, *enough);
                        words += &wanted(sender, now + Duration::from_secs(60), *enough);
                        sender.handle(sender::Input::Connected, now);
                        words += &wanted(sender, now, *enough);
                        sender.handle(sender::Input::Frame(grant(sender.tally().settled)), now);
                    }
                    Step::Later(_) => {}
                    Step::NoMore => sender.handle(sender::Input::NoMore, now),
                }
                words += &wanted(sender, now, *enough);
                said.push((words, sender.tally()));
            }
            prop_assert_eq!(&said[0], &said[1]);
            settled = said[0].1.settled;
        }
    }

    #[test]
    fn a_receiver_does_the_same_with_many_as_with_each(comes in comes(), window in 1..30_u32) {
        let now = Instant::now();
        let config = Arc::new(ReceiverConfig { window, window_bytes: 100, ..ReceiverConfig::default() });
        let mut both = [false, true].map(|together| (Server(Receiver::new(config.clone(), now), Vec::new()), together));
        let mut open = |(server, _): &mut (Server, bool)| {
            let session = SessionId::of_bits(7);
            let open = Open { session, first: 5, next: 5, level: None, replies: true, token: None, name: None };
            server.0.handle(receiver::Input::Frame(ClientFrame::Open(open)), now);
            server.wanted(now);
            let progress = Progress { known: true, acknowledged: 4, checksum: Some(1), verdicts: Vec::new() };
            server.0.handle(receiver::Input::Opened(Ok(progress)), now);
        };
        both.iter_mut().for_each(&mut open);
        for come in comes {
            let mut said = Vec::new();
            for (server, is_together) in &mut both {
                match &come {
                    Come::Messages(offset, sizes, is_allowed) => {
                        let run = run((server.0.next() + offset).saturating_sub(3), sizes);
                        match (is_allowed, &is_together) {
                            (true, is_together) => server.take(&run, **is_together, now),
                            (false, true) => server.0.handle(receiver::Input::Messages(run), now),
                            (false, false) => run.messages().for_each(|(number, body)| {
                                let frame = ClientFrame::Message { number, origin: None, body };
                                server.0.handle(receiver::Input::Frame(frame), now);
                            }),
                        }
                    }
                    Come::Applied(more, put_off, verdicts) if !server.1.is_empty() => {
                        let (first, last) = server.1[0];
                        let through = (first - 1 + more).min(last);
                        let reason = String::new();
                        let put_off = put_off.then(|| PutOff { code: Code::RATE, after: Duration::ZERO, reason });
                        if put_off.is_some() || through == last {
                            server.1.remove(0);
                        }
                        if through < last && put_off.is_none() {
                            server.1[0].0 = through + 1;
                        }
                        let of = |number| (number, match verdicts {
                            Some(true) => Verdict::Refused(Code::REJECTED, String::new()),
                            _ => Verdict::Reply(bytes::Bytes::from_static(b"yes")),
                        });
                        let verdicts = verdicts.map_or_else(Vec::new, |_| (first..=through).map(of).collect());
                        server.0.handle(receiver::Input::Applied(Applied { through, verdicts, put_off }), now);
                    }
                    Come::Applied(..) => {}
                    Come::Noted(number) => server.0.handle(receiver::Input::Frame(ClientFrame::Noted(*number)), now),
                    Come::Bye => server.0.handle(receiver::Input::Frame(ClientFrame::Bye), now),
                    Come::Drain => server.0.handle(receiver::Input::Drain, now),
                }
                said.push(server.wanted(now));
            }
            prop_assert_eq!(&said[0], &said[1]);
        }
    }

    #[test]
    fn many_messages_found_together_are_those_that_are_found_one_by_one(
        mut stream in frames(),
        pieces in proptest::collection::vec(1u8..255, 1..10),
        broken in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
    ) {
        if let Some((at, byte)) = broken.filter(|_| !stream.is_empty()) {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        fuzzing::frames(true, &stream, &pieces);
        let replies = String::from_utf8_lossy(&stream).replace("M ", "D ");
        fuzzing::frames(false, replies.as_bytes(), &pieces);
    }
}

#[test]
fn a_message_that_is_cut_is_refused_in_a_packet_and_waited_for_on_a_stream() {
    for stream in [&b"M 2 6\n12345"[..], b"M 2 6\n", b"M 2 6", b"M 2 64\n1", b"M 2 65\n1"] {
        fuzzing::frames(true, stream, &[1]);
    }
}
