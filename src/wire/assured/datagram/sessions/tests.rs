//! Sessions, and what comes to them from those who are believed and those who are not.
//!
//! Apart from the sessions, for length.

use super::super::{MAX_SESSIONS, MAX_SESSIONS_OF_HOST, SESSION_IDLE};
use super::*;
use crate::wire::assured::{Applied, Level, Progress};

const SID: &str = "0123456789abcdef";

/// Ten sources are a host.
impl Caller for u8 {
    type Host = Self;

    fn host(&self) -> Self {
        self / 10
    }
}

fn sessions(config: SessionsConfig, now: Instant) -> Sessions<u8> {
    Sessions::new(config, Secret::new([1; 32]), now)
}

fn outputs(sessions: &mut Sessions<u8>, now: Instant) -> Vec<Output<u8>> {
    std::iter::from_fn(|| Some(sessions.poll(now)).filter(|output| !matches!(output, Output::Wait(_)))).collect()
}

/// What is answered to a datagram from source 1; nothing else may be done.
fn answer(sessions: &mut Sessions<u8>, datagram: &str, now: Instant) -> Option<String> {
    sessions.datagram(1, b"1", datagram.as_bytes(), now).expect("a packet");
    match <[Output<u8>; 1]>::try_from(outputs(sessions, now)) {
        Ok([Output::Send { datagram, .. }]) => Some(String::from_utf8(datagram).expect("text")),
        Ok([other]) => panic!("{other:?}"),
        Err(outputs) => {
            assert!(outputs.is_empty(), "{outputs:?}");
            None
        }
    }
}

/// Opens a session from source 1, and says what the messages are to be sent with.
fn open(sessions: &mut Sessions<u8>, sid: &str, more: &str, now: Instant) -> (Opening, String) {
    let fill = ".".repeat(OPEN_LENGTH);
    let challenge = answer(sessions, &format!("WILCO/1 O {sid} 1 9 pad={fill}"), now).expect("a cookie");
    let cookie = challenge.split(' ').nth(3).expect("a cookie");
    let packet = format!("WILCO/1 O {sid} 1 9 cookie={cookie}{more} pad={fill}");
    sessions.datagram(1, b"1", packet.as_bytes(), now).expect("a packet");
    let opening = outputs(sessions, now).into_iter().find_map(|output| match output {
        Output::Open { opening, .. } => Some(opening),
        _ => None,
    });
    let opening = opening.expect("it is opened");
    sessions.handle(Input::Opened(sid.parse().expect("a session"), opening, Ok(Progress::default())), now);
    let granted = outputs(sessions, now).into_iter().find_map(|output| match output {
        Output::Send { datagram, .. } => String::from_utf8(datagram).ok(),
        _ => None,
    });
    let granted = granted.expect("it is granted");
    assert!(granted.contains(" 0 00000000 64 1200 ") && granted.ends_with(" ack=store srv=wilco"), "{granted}");
    (opening, granted.split(' ').nth(3).expect("a cookie").to_owned())
}

#[test]
fn who_requires_more_than_there_is_is_refused() {
    let now = Instant::now();
    for (required, granted, is_met) in
        [("store", Level::Shown, false), ("store", Level::Handled, false), ("run", Level::Handled, true)]
    {
        let mut sessions = sessions(SessionsConfig { level: granted, ..SessionsConfig::default() }, now);
        let fill = ".".repeat(OPEN_LENGTH);
        let challenge = answer(&mut sessions, &format!("WILCO/1 O {SID} 1 9 pad={fill}"), now).expect("a cookie");
        let cookie = challenge.split(' ').nth(3).expect("a cookie");
        let packet = format!("WILCO/1 O {SID} 1 9 try=3 cookie={cookie} ack={required} pad={fill}");
        sessions.datagram(1, b"1", packet.as_bytes(), now).expect("a packet");
        match outputs(&mut sessions, now).remove(0) {
            Output::Open { .. } => assert!(is_met, "{required} of {granted:?}"),
            Output::Send { datagram, .. } => {
                let refusal = format!("WILCO/1 E {SID} 3 406 never the server does not keep messages");
                assert_eq!(String::from_utf8_lossy(&datagram).trim_end(), refusal);
                assert!(!is_met && sessions.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_opening_costs_nothing_and_is_not_answered_by_more() {
    let now = Instant::now();
    let mut sessions = sessions(SessionsConfig::default(), now);
    for sid in [SID, &"z".repeat(64)] {
        for (length, answered) in [(0, false), (OPEN_LENGTH - 1, false), (OPEN_LENGTH, true), (1000, true)] {
            let mut packet =
                format!("WILCO/1 O {sid} 9223372036854775807 9223372036854775807 try=9223372036854775807 pad=");
            packet.extend(std::iter::repeat_n('.', length.saturating_sub(packet.len())));
            let answer = answer(&mut sessions, &packet, now);
            assert_eq!(answer.is_some(), answered, "{length}");
            assert!(answer.is_none_or(|answer| answer.len() <= packet.len()));
        }
    }
    assert_eq!((sessions.len(), sessions.held_bytes()), (0, 0));
}

#[test]
fn a_message_that_is_not_believed_is_answered_by_no_more_than_it_has() {
    let now = Instant::now();
    let mut sessions = sessions(SessionsConfig::default(), now);
    for body in 0..100 {
        let packet = format!("WILCO/1 M {SID} 00112233445566778899aabbccddeeff 1\n{}", "x".repeat(body));
        let answer = answer(&mut sessions, &packet, now);
        assert!(answer.as_ref().is_none_or(|answer| answer.len() <= packet.len()), "{packet}: {answer:?}");
        assert_eq!(answer.is_some(), body >= 9, "{body}");
    }
    let bye = format!("WILCO/1 BYE {SID} 00112233445566778899aabbccddeeff x={}", "x".repeat(200));
    assert_eq!(answer(&mut sessions, &bye, now), None);
}

#[test]
fn a_message_needs_the_cookie_the_source_and_the_time() {
    let now = Instant::now();
    let mut sessions = sessions(SessionsConfig { idle: 9 * COOKIE_SLOT, ..SessionsConfig::default() }, now);
    let (opening, cookie) = open(&mut sessions, SID, "", now);
    let packet = format!("WILCO/1 M {SID} {cookie} 1\n");
    for (from, source, later, taken) in [
        (2, b"2", Duration::ZERO, false),
        (1, b"1", 2 * COOKIE_SLOT, false),
        (1, b"1", 2 * COOKIE_SLOT - Duration::from_secs(1), true),
    ] {
        sessions.datagram(from, source, packet.as_bytes(), now + later).expect("a packet");
        let outputs = outputs(&mut sessions, now + later);
        assert_eq!(outputs.iter().any(|output| matches!(output, Output::Apply { .. })), taken, "{from} {later:?}");
    }
    // Of what an opening before was told nothing counts.
    let session: SessionId = SID.parse().expect("a session");
    let applied = Applied { through: 1, ..Applied::default() };
    sessions.handle(Input::Applied(session.clone(), Opening(opening.0 + 1), applied.clone()), now);
    assert!(outputs(&mut sessions, now).is_empty());
    sessions.handle(Input::Applied(session, opening, applied), now);
    assert!(
        matches!(&outputs(&mut sessions, now)[..], [Output::Send { datagram, .. }] if datagram.ends_with(b"A 0123456789abcdef 1"))
    );
}

/// Asks for a session from a source that is proved; the opening, if the store is asked.
fn ask(sessions: &mut Sessions<u8>, from: u8, sid: &str, more: &str, now: Instant) -> Result<Opening, String> {
    let source = from.to_string();
    let cookie = Secret::new([1; 32]).cookie(source.as_bytes(), &sid.parse().expect("a session"), 0, 0);
    let packet = format!("WILCO/1 O {sid} 1 9 cookie={cookie}{more} pad={}", ".".repeat(OPEN_LENGTH));
    sessions.datagram(from, source.as_bytes(), packet.as_bytes(), now).expect("a packet");
    let mut answer = String::new();
    for output in outputs(sessions, now) {
        match output {
            Output::Open { opening, .. } => return Ok(opening),
            Output::Send { datagram, .. } => answer = String::from_utf8(datagram).expect("text"),
            _ => {}
        }
    }
    Err(answer)
}

/// Has a session of a source opened.
fn granted(sessions: &mut Sessions<u8>, from: u8, sid: &str, now: Instant) {
    let opening = ask(sessions, from, sid, "", now).expect("the store is asked");
    sessions.handle(Input::Opened(sid.parse().expect("a session"), opening, Ok(Progress::default())), now);
    outputs(sessions, now);
}

#[test]
fn sessions_in_memory_are_limited_and_the_idlest_makes_room() {
    let now = Instant::now();
    let mut sessions = sessions(SessionsConfig { sessions: 2, ..SessionsConfig::default() }, now);
    let sid = |number: u64| format!("{number:016}");
    let is_open =
        |sessions: &Sessions<u8>, number| sessions.sessions.contains_key(&sid(number).parse().expect("a session"));
    (1..=4).for_each(|number| granted(&mut sessions, 1, &sid(number), now + Duration::from_secs(number)));
    assert_eq!((1..=4).map(|number| is_open(&sessions, number)).collect::<Vec<_>>(), [false, false, true, true]);
    // One for which the store is asked makes no room.
    ask(&mut sessions, 1, &sid(5), "", now).expect("the store is asked");
    ask(&mut sessions, 1, &sid(6), "", now).expect("the store is asked");
    let refused = ask(&mut sessions, 1, &sid(7), " try=5", now);
    assert_eq!(refused, Err(format!("WILCO/1 E {} 5 421 5000 there are too many sessions", sid(7))));
    assert_eq!(sessions.len(), 2);
}

#[test]
fn sessions_go_when_they_are_silent() {
    let now = Instant::now();
    let mut sessions = sessions(SessionsConfig::default(), now);
    granted(&mut sessions, 1, SID, now);
    assert!(matches!(&outputs(&mut sessions, now + SESSION_IDLE)[..], [Output::Close { .. }]) && sessions.is_empty());
}

#[test]
fn a_host_has_not_all_the_room_there_is() {
    let now = Instant::now();
    let most = SessionsConfig::default();
    assert_eq!((most.sessions, most.sessions_of_host), (MAX_SESSIONS, MAX_SESSIONS_OF_HOST));
    let mut sessions = sessions(SessionsConfig { sessions_of_host: 3, ..most }, now);
    granted(&mut sessions, 11, SID, now);
    for number in 0..20 {
        granted(&mut sessions, number % 10, &format!("{number:016}"), now + Duration::from_secs(1));
    }
    // Those that were there before are the others', however idle they are.
    assert_eq!(sessions.len(), 4);
    assert!(sessions.sessions.contains_key(&SID.parse().expect("a session")));
    // While the store is asked for those of one host, another's is opened.
    for number in 20..23 {
        ask(&mut sessions, 1, &format!("{number:016}"), "", now).expect("the store is asked");
    }
    assert!(ask(&mut sessions, 1, &"3".repeat(16), "", now).is_err());
    assert!(ask(&mut sessions, 12, &"4".repeat(16), "", now).is_ok());
}

#[test]
fn who_is_not_let_in_takes_nothing_from_whom_the_session_belongs_to() {
    let now = Instant::now();
    for (limit, more) in [(MAX_SESSIONS, ""), (MAX_SESSIONS, " try=7"), (1, "")] {
        let mut sessions = sessions(SessionsConfig { sessions: limit, ..SessionsConfig::default() }, now);
        let (owner, cookie) = open(&mut sessions, SID, "", now);
        let session: SessionId = SID.parse().expect("a session");
        if let Ok(opening) = ask(&mut sessions, 2, SID, more, now) {
            let denied = Denied { code: Code::FORBIDDEN, again: Again::Never, reason: "not yours".to_owned() };
            sessions.handle(Input::Opened(session.clone(), opening, Err(denied)), now);
            match &outputs(&mut sessions, now)[..] {
                [Output::Send { to: 2, datagram }, Output::Close { opening: closed, .. }] => {
                    let said = String::from_utf8_lossy(datagram);
                    assert!(said.contains(" 403 never not yours") && *closed == opening, "{said}");
                }
                others => panic!("{others:?}"),
            }
        }
        sessions.datagram(1, b"1", format!("WILCO/1 M {SID} {cookie} 1\n").as_bytes(), now).expect("a packet");
        let outputs = outputs(&mut sessions, now);
        assert!(matches!(&outputs[..], [Output::Apply { opening, .. }] if *opening == owner), "{outputs:?}");
    }
}

#[test]
fn an_opening_that_comes_twice_is_granted_twice_and_asked_about_once() {
    let now = Instant::now();
    let mut sessions = sessions(SessionsConfig::default(), now);
    let (_, cookie) = open(&mut sessions, SID, " try=5", now);
    let source = Secret::new([1; 32]).cookie(b"1", &SID.parse().expect("a session"), 0, 0);
    let again = format!("WILCO/1 O {SID} 1 12 cookie={source} try=5 pad={}", ".".repeat(OPEN_LENGTH));
    let granted = answer(&mut sessions, &again, now).expect("an answer");
    assert!(granted.contains(&cookie), "{granted}");
}

#[test]
fn one_who_goes_or_is_taken_over_leaves_nothing() {
    let now = Instant::now();
    let mut sessions = sessions(SessionsConfig::default(), now);
    let (_, cookie) = open(&mut sessions, SID, "", now);
    sessions.datagram(1, b"1", format!("WILCO/1 BYE {SID} {cookie}").as_bytes(), now).expect("a packet");
    assert!(matches!(&outputs(&mut sessions, now)[..], [Output::Close { .. }]) && sessions.is_empty());
    let (opening, cookie) = open(&mut sessions, SID, "", now);
    sessions.handle(Input::TakenOver(SID.parse().expect("a session"), opening), now);
    assert!(matches!(&outputs(&mut sessions, now)[..], [Output::Close { .. }]) && sessions.is_empty());
    let next = answer(&mut sessions, &format!("WILCO/1 M {SID} {cookie} 1\n{}", "x".repeat(50)), now);
    assert!(next.is_some_and(|next| next.contains(" - - ")));
}

#[test]
fn a_server_that_is_about_to_end_takes_nothing_more() {
    let now = Instant::now();
    let mut sessions = sessions(SessionsConfig::default(), now);
    let (_, cookie) = open(&mut sessions, SID, "", now);
    sessions.handle(Input::Drain, now);
    // Whoever has nothing to send is told, too, and once.
    let [Output::Send { datagram, .. }] = &outputs(&mut sessions, now)[..] else { panic!("nothing is said") };
    assert_eq!(String::from_utf8_lossy(datagram), format!("WILCO/1 E {SID} - 503 0 the server is about to end"));
    let refused = answer(&mut sessions, &format!("WILCO/1 M {SID} {cookie} 1\n"), now);
    assert_eq!(refused, Some(format!("WILCO/1 E {SID} - 503 0 the server is about to end")));
    assert!(sessions.is_quiet());
}

#[test]
fn each_opening_is_asked_about_once_and_the_last_that_is_let_in_counts() {
    let now = Instant::now();
    let mut sessions = sessions(SessionsConfig { opening: 2, ..SessionsConfig::default() }, now);
    let sid: SessionId = SID.parse().expect("a session");
    let first = ask(&mut sessions, 1, SID, " try=1", now).expect("the store is asked");
    let second = ask(&mut sessions, 1, SID, " try=2", now).expect("the store is asked");
    assert_eq!(ask(&mut sessions, 1, SID, " try=2", now), Err(String::new()));
    assert!(ask(&mut sessions, 1, SID, " try=3", now).is_err_and(|refused| refused.contains(" 421 5000 ")));
    assert!(!sessions.is_quiet());
    sessions.handle(Input::Opened(sid.clone(), first, Ok(Progress::default())), now);
    let left = outputs(&mut sessions, now);
    assert!(matches!(&left[..], [Output::Close { opening, .. }] if *opening == first), "{left:?}");
    sessions.handle(Input::Opened(sid, second, Ok(Progress::default())), now);
    assert!(matches!(&outputs(&mut sessions, now)[..], [Output::Send { .. }]));
    assert_eq!((sessions.len(), sessions.is_quiet()), (1, true));
    assert!(ask(&mut sessions, 1, SID, " try=4", now).is_ok());
}
