//! What holds of a sender and of a receiver, whatever the other side says and whenever.
//!
//! Apart from the simulation, whose both sides keep to the protocol: here one of them says anything at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::receiver::{self, Receiver};
use super::sender::{self, Sender};
use super::{
    Again, Applied, ClientFrame, Code, Grant, Level, MAX_NUMBER, Open, Progress, PutOff, ReceiverConfig, Run,
    SenderConfig, ServerFrame, SessionId, Start, Verdict,
};

/// Numbers about those that are used, and the ends of all that there are.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..40_u64, 1 => Just(MAX_NUMBER), 1 => Just(MAX_NUMBER - 1)]
}

fn pauses() -> impl Strategy<Value = Duration> {
    prop_oneof![4 => (0..90_000_u64).prop_map(Duration::from_millis), 1 => Just(Duration::from_millis(MAX_NUMBER))]
}

fn server_frame() -> impl Strategy<Value = ServerFrame<'static>> {
    let windows = || (prop_oneof![0..5_u32, Just(u32::MAX)], prop_oneof![0..60_u64, Just(u64::MAX)]);
    let grant = (numbers(), any::<Option<u32>>(), windows(), pauses(), proptest::option::of(numbers()));
    prop_oneof![
        6 => numbers().prop_map(ServerFrame::Acknowledged),
        4 => grant.prop_map(|(acknowledged, checksum, (window, window_bytes), idle, last)| {
            let last = last.map(|number| (number, 1));
            let (max_body, level, server) = (9, Level::Stored, "any".into());
            ServerFrame::Granted(Grant { acknowledged, checksum, last, window, window_bytes, max_body, idle, level, server })
        }),
        2 => numbers().prop_map(|number| ServerFrame::Refused { number, code: Code::REJECTED, reason: "".into() }),
        2 => numbers().prop_map(|number| ServerFrame::Reply { number, body: vec![1].into() }),
        2 => (numbers(), pauses()).prop_map(|(number, after)| {
            ServerFrame::PutOff { number, after, code: Code::RATE, reason: "".into() }
        }),
        2 => windows().prop_map(|(messages, bytes)| ServerFrame::Window { messages, bytes }),
        1 => Just(ServerFrame::Ping("x".into())),
        1 => Just(ServerFrame::Pong("x".into())),
        1 => (numbers(), any::<bool>()).prop_map(|(acknowledged, drain)| ServerFrame::Bye { acknowledged, drain }),
        1 => pauses().prop_map(|after| {
            ServerFrame::Error { code: Code::OVERLOADED, again: Again::After(after), reason: "".into() }
        }),
        1 => Just(ServerFrame::Error { code: Code::TAKEN_OVER, again: Again::Never, reason: "".into() }),
    ]
}

/// What befalls a sender.
#[derive(Clone, Debug)]
enum Step {
    /// A server that knows how to begin has granted so much, and has so many messages beyond those that were final.
    Granted(u32, u64),
    Frame(ServerFrame<'static>),
    Accept(u64),
    Connected,
    NotConnected,
    Disconnected,
    Broken,
    NoMore,
    Proof(Option<u32>),
    Later(Duration),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Connected),
        4 => (0..9_u32, 0..60_u64).prop_map(|(window, bytes)| Step::Granted(window, bytes)),
        9 => server_frame().prop_map(Step::Frame),
        4 => (1..9_u64).prop_map(Step::Accept),
        4 => (0..70_000_u64).prop_map(|after| Step::Later(Duration::from_millis(after))),
        1 => Just(Step::NotConnected),
        1 => Just(Step::Disconnected),
        1 => Just(Step::Broken),
        1 => Just(Step::NoMore),
        1 => any::<Option<u32>>().prop_map(Step::Proof),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What is seen of a sender from outside.
struct Watched {
    sender: Sender,
    now: Instant,
    window: (u64, u64),
    settled: u64,
    /// The sizes of what is on its way.
    sent: Vec<(u64, u64)>,
    ended: bool,
}

impl Watched {
    /// Asks until it waits, and checks what it wants.
    fn poll(&mut self) {
        for polls in 0.. {
            assert!(polls < 500, "busy without end");
            match self.sender.poll(self.now) {
                sender::Output::Wait(due) => {
                    assert!(due.is_none_or(|due| due > self.now), "waits for what is past");
                    assert!(!self.ended || due.is_none(), "waits after its end");
                    return;
                }
                _ if self.ended => panic!("wants something after its end"),
                sender::Output::Send(ClientFrame::Message { number, body, .. }) => {
                    assert!(self.sent.last().is_none_or(|(last, _)| last + 1 == number), "out of order");
                    self.sent.push((number, body.len() as u64));
                    self.sent.retain(|(number, _)| *number > self.settled);
                    let bytes: u64 = self.sent.iter().map(|(_, size)| size).sum();
                    assert!(number - self.settled <= self.window.0, "more than the window");
                    assert!(self.sent.len() == 1 || bytes <= self.window.1, "more bytes than the window");
                }
                sender::Output::Final { through, .. } => {
                    assert!(through > self.settled);
                    self.settled = through;
                    self.sent.retain(|(number, _)| *number > through);
                }
                sender::Output::PutOff { .. } | sender::Output::Connect { .. } => self.sent.clear(),
                sender::Output::Stop(_) | sender::Output::Done => self.ended = true,
                _ => {}
            }
        }
    }

    fn take(&mut self, step: Step) {
        let input = match step {
            Step::Later(time) => {
                self.now += time;
                return;
            }
            Step::Granted(window, window_bytes) => {
                let (max_body, idle, level) = (9, Duration::from_secs(60), Level::Stored);
                let (acknowledged, checksum, last) = (self.settled, None, None);
                let server = "any".into();
                sender::Input::Frame(ServerFrame::Granted(Grant {
                    acknowledged,
                    checksum,
                    last,
                    window,
                    window_bytes,
                    max_body,
                    idle,
                    level,
                    server,
                }))
            }
            Step::Frame(frame) => sender::Input::Frame(frame),
            Step::Accept(messages) => {
                let Some(first) = self.sender.wants() else { return };
                let mut run = Run::new(first);
                (0..messages).for_each(|at| run.push(&vec![b'x'; at as usize * 3]));
                sender::Input::Accepted(run)
            }
            Step::Connected => sender::Input::Connected,
            Step::NotConnected => sender::Input::NotConnected("none".to_owned()),
            Step::Disconnected => sender::Input::Disconnected("cut".to_owned()),
            Step::Broken => sender::Input::Broken("garbage".to_owned()),
            Step::NoMore => sender::Input::NoMore,
            Step::Proof(own) => sender::Input::Checksum(own),
        };
        let was_open = self.sender.is_open();
        match &input {
            sender::Input::Frame(ServerFrame::Granted(grant)) if !was_open => {
                self.window = (grant.window.into(), grant.window_bytes);
            }
            sender::Input::Frame(ServerFrame::Window { messages, bytes }) if was_open => {
                self.window = ((*messages).into(), *bytes);
            }
            _ => {}
        }
        self.sender.handle(input, self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_sender_withstands_any_server(steps in steps(), patience in proptest::option::of(1..200_u64)) {
        let now = Instant::now();
        let config = SenderConfig { patience: patience.map(Duration::from_secs), ..config() };
        let sender = Sender::new(config, Start { first: 1, next: 1, checksum: None }, now);
        let mut watched = Watched { sender, now, window: (0, 0), settled: 0, sent: Vec::new(), ended: false };
        watched.poll();
        for step in steps {
            watched.take(step);
            watched.poll();
        }
    }

    #[test]
    fn a_receiver_withstands_any_client(
        steps in proptest::collection::vec((0..12_u8, numbers(), 0..70_u64), 1..60),
        acknowledged in 0..5_u64,
        window in 1..9_u32,
    ) {
        let mut now = Instant::now();
        let config = ReceiverConfig { window, window_bytes: 40, ..ReceiverConfig::default() };
        let mut receiver = Receiver::new(Arc::new(config), now);
        // What the store has, and what it is to answer.
        let (mut stored, mut asked, mut opening, mut closed) = (acknowledged, Vec::<Run>::new(), false, false);
        let mut next = acknowledged + 1;
        for (kind, number, size) in steps {
            let body = vec![b'x'; size as usize];
            let frame = match kind {
                0 => Some(ClientFrame::Open(open(number.min(acknowledged + 1), number.max(acknowledged + 1)))),
                1..=4 => {
                    let number = next;
                    next += 1;
                    Some(ClientFrame::Message { number, origin: None, body: &body })
                }
                5 => Some(ClientFrame::Message { number, origin: None, body: &body }),
                6 => Some(ClientFrame::TooLarge { number, length: size }),
                7 => Some(ClientFrame::Noted(number)),
                8 => Some(ClientFrame::Ping("x".into())),
                9 if size == 0 => Some(ClientFrame::Bye),
                9 => { now += Duration::from_secs(size); None }
                10 if opening => {
                    opening = false;
                    let progress = Progress { known: true, acknowledged, checksum: Some(1), verdicts: vec![] };
                    receiver.handle(receiver::Input::Opened(Ok(progress)), now);
                    None
                }
                _ if !asked.is_empty() => {
                    let run = asked.remove(0);
                    let follows = run.first == stored + 1;
                    let through = if follows { run.last().min(run.first - 1 + size % 4) } else { stored };
                    let put_off = (through < run.last()).then(|| PutOff {
                        code: Code::RATE,
                        after: Duration::from_secs(1),
                        reason: String::new(),
                    });
                    next = if put_off.is_some() { through + 1 } else { next };
                    stored = stored.max(through);
                    let verdicts = run.refused.iter().filter(|(number, ..)| *number <= through && follows);
                    let verdicts = verdicts.map(|(number, code, why)| (*number, Verdict::Refused(*code, why.clone())));
                    let verdicts = verdicts.collect();
                    receiver.handle(receiver::Input::Applied(Applied { through, verdicts, put_off }), now);
                    None
                }
                _ => None,
            };
            if let Some(frame) = frame.filter(|_| receiver.wants_input()) {
                receiver.handle(receiver::Input::Frame(frame), now);
            }
            for polls in 0.. {
                prop_assert!(polls < 500, "busy without end");
                match receiver.poll(now) {
                    receiver::Output::Wait(due) => {
                        prop_assert!(due.is_none_or(|due| due > now), "waits for what is past");
                        break;
                    }
                    receiver::Output::Close => { closed = true; break }
                    receiver::Output::Apply(run) => {
                        prop_assert!(!closed && !run.is_empty());
                        let follows = asked.last().map_or(stored + 1, Run::next);
                        prop_assert!(run.first == follows, "{} after {follows}", run.first);
                        asked.push(run);
                    }
                    receiver::Output::Open(_) => opening = true,
                    receiver::Output::Note(number) => prop_assert!(number <= stored),
                    receiver::Output::Send(ServerFrame::Acknowledged(number) | ServerFrame::Bye { acknowledged: number, .. }) => {
                        prop_assert!(number <= stored, "{number} acknowledged of {stored}");
                    }
                    receiver::Output::Send(_) | receiver::Output::Replies(_) => {}
                }
            }
            prop_assert!(receiver.bytes_in_hand() <= 40 + 70);
            if closed { break }
        }
    }
}

fn config() -> SenderConfig {
    SenderConfig { session: SessionId::of_bits(7), replies: true, level: None, name: None, patience: None, seed: 1 }
}

fn open(first: u64, next: u64) -> Open<'static> {
    Open { session: SessionId::of_bits(7), first, next, level: None, replies: true, token: None, name: None }
}
