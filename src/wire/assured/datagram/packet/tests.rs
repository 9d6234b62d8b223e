//! The bytes of every packet, and what is none.

use proptest::prelude::*;

use super::*;
use crate::fuzzing::datagram;
use crate::wire::assured::datagram::OPEN_LENGTH;

const SID: &str = "0123456789abcdef";
const COOKIE: &str = "00112233445566778899aabbccddeeff";

fn session() -> SessionId {
    SID.parse().expect("a session")
}

fn cookie() -> Cookie {
    COOKIE.parse().expect("a cookie")
}

fn text(template: &str) -> String {
    template.replace("SID", SID).replace("COOKIE", COOKIE)
}

#[test]
fn a_client_packet_has_its_bytes() {
    let (session, cookie) = (session(), cookie());
    let origin = Some((SessionId::of_bits(1), 9));
    let table = [
        (
            "WILCO/1 M SID COOKIE 7\na\nb\0",
            ClientPacket::Message { session: session.clone(), cookie, number: 7, origin: None, body: b"a\nb\0" },
        ),
        (
            "WILCO/1 M SID COOKIE 7 oid=00000000000000000000000000000001:9\n",
            ClientPacket::Message { session: session.clone(), cookie, number: 7, origin, body: b"" },
        ),
        (
            "WILCO/1 X SID COOKIE 7 70000",
            ClientPacket::TooLarge { session: session.clone(), cookie, number: 7, length: 70_000 },
        ),
        ("WILCO/1 K SID COOKIE 0", ClientPacket::Noted { session: session.clone(), cookie, through: 0 }),
        ("WILCO/1 BYE SID COOKIE", ClientPacket::Bye { session, cookie }),
    ];
    for (template, packet) in table {
        let mut out = Vec::new();
        packet.encode(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), text(template));
        assert_eq!(ClientPacket::parse(&out), Ok(packet));
    }
}

#[test]
fn an_opening_is_filled_up() {
    let open = Open {
        session: session(),
        first: 3,
        next: 9,
        level: Some(Level::Stored),
        replies: false,
        token: Some("a b".into()),
        name: Some("n".into()),
    };
    for length in [2, 50, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 300] {
        let open = Open { name: Some("n".repeat(length).into()), ..open.clone() };
        let packet = ClientPacket::Open { open, attempt: Some(5), cookie: Some(cookie()) };
        let mut out = Vec::new();
        packet.encode(&mut out);
        assert!(out.len() >= OPEN_LENGTH && (length > 60 || out.len() == OPEN_LENGTH), "{length}: {}", out.len());
        let begins = text("WILCO/1 O SID 3 9 try=5 cookie=COOKIE ack=store token=a%20b name=nn");
        assert!(out.starts_with(begins.as_bytes()));
        assert_eq!(ClientPacket::parse(&out), Ok(packet));
    }
}

#[test]
fn a_server_packet_has_its_bytes() {
    let (session, cookie) = (session(), cookie());
    let reason: Cow<'_, str> = "no room".into();
    let table = [
        (
            "WILCO/1 C SID COOKIE - - 64 1200 try=5",
            ServerPacket::Challenge { session: session.clone(), cookie, attempt: Some(5), window: 64, max_body: 1200 },
        ),
        (
            "WILCO/1 C SID COOKIE 7 0000beef 64 1200 try=5 ack=run srv=a%20b",
            ServerPacket::Granted {
                session: session.clone(),
                cookie,
                attempt: Some(5),
                acknowledged: 7,
                checksum: Some(0xbeef),
                window: 64,
                max_body: 1200,
                level: Some(Level::Handled),
                server: Some("a b".into()),
            },
        ),
        (
            "WILCO/1 C SID COOKIE 7 - 64 1200",
            ServerPacket::Granted {
                session: session.clone(),
                cookie,
                attempt: None,
                acknowledged: 7,
                checksum: None,
                window: 64,
                max_body: 1200,
                level: None,
                server: None,
            },
        ),
        ("WILCO/1 A SID 7", ServerPacket::Acknowledged { session: session.clone(), through: 7, held: Held(0) }),
        (
            "WILCO/1 A SID 7 a",
            ServerPacket::Acknowledged { session: session.clone(), through: 7, held: Held(0xa000_0000_0000_0000) },
        ),
        (
            "WILCO/1 A SID 0 0000000000000001",
            ServerPacket::Acknowledged { session: session.clone(), through: 0, held: Held(1) },
        ),
        (
            "WILCO/1 N SID 7 413 no room",
            ServerPacket::Refused {
                session: session.clone(),
                number: 7,
                code: Code::TOO_LARGE,
                reason: reason.clone(),
            },
        ),
        (
            "WILCO/1 R SID 7 1500 507 no room",
            ServerPacket::PutOff {
                session: session.clone(),
                number: 7,
                after: Duration::from_millis(1500),
                code: Code::DISK_FULL,
                reason: reason.clone(),
            },
        ),
        (
            "WILCO/1 E SID 5 410 never",
            ServerPacket::Error {
                session: session.clone(),
                attempt: Some(5),
                code: Code::UNKNOWN_SESSION,
                again: Again::Never,
                reason: "".into(),
            },
        ),
        (
            "WILCO/1 E SID - 503 0 no room",
            ServerPacket::Error {
                session,
                attempt: None,
                code: Code::OVERLOADED,
                again: Again::After(Duration::ZERO),
                reason,
            },
        ),
    ];
    for (template, packet) in table {
        let mut out = Vec::new();
        packet.encode(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), text(template));
        assert_eq!(ServerPacket::parse(&out), Ok(packet));
    }
}

#[test]
fn what_is_not_said_strictly_so_is_no_packet() {
    for template in [
        "",
        "WILCO/1",
        "WILCO/1 ",
        "WILCO/2 BYE SID COOKIE",
        "wilco/1 BYE SID COOKIE",
        "WILCO/1  BYE SID COOKIE",
        "WILCO/1 BYE SID COOKIE ",
        "WILCO/1 BYE  SID COOKIE",
        "WILCO/1 BYE SID",
        "WILCO/1 BYE SIDx_ COOKIE",
        "WILCO/1 BYE SID COOKIE\nbody",
        "WILCO/1 BYE SID COOKIE more",
        "WILCO/1 BYE SID COOKIE\0",
        "WILCO/1 BYE SID COOKIEff",
        "WILCO/1 BYE short COOKIE",
        "WILCO/1 HELLO SID COOKIE",
        "WILCO/1 M SID COOKIE 7",
        "WILCO/1 M SID COOKIE 0\n",
        "WILCO/1 M SID COOKIE 07\n",
        "WILCO/1 M SID COOKIE -1\n",
        "WILCO/1 M SID COOKIE 9223372036854775808\n",
        "WILCO/1 M SID COOKIE 7 oid=SID\n",
        "WILCO/1 M SID COOKIE 7 oid=SID:0\n",
        "WILCO/1 M SID COOKIE 7 \n",
        "WILCO/1 M SID COOKIE 7 8\n",
        "WILCO/1 O SID 0 1",
        "WILCO/1 O SID 2 1",
        "WILCO/1 O SID 1 1 try=x",
        "WILCO/1 O SID 1 1 cookie=x",
        "WILCO/1 O SID 1 1 ack=x",
        "WILCO/1 O SID 1 1 name=%",
        "WILCO/1 O SID 1",
        "WILCO/1 X SID COOKIE 7",
        "WILCO/1 K SID COOKIE x",
        "WILCO/1 A SID 7",
    ] {
        assert!(ClientPacket::parse(text(template).as_bytes()).is_err(), "{template:?}");
    }
    for template in [
        "WILCO/1 A SID",
        "WILCO/1 A SID 07",
        "WILCO/1 A SID 7 g",
        "WILCO/1 A SID 7 A",
        "WILCO/1 A SID 7 00000000000000001",
        "WILCO/1 C SID COOKIE 7 beef 64 1200",
        "WILCO/1 C SID COOKIE 7 0000BEEF 64 1200",
        "WILCO/1 C SID COOKIE 7 - 64",
        "WILCO/1 C SID COOKIE 7 - 4294967296 1",
        "WILCO/1 N SID 7 41 x",
        "WILCO/1 N SID 7 4130 x",
        "WILCO/1 N SID 0 413 x",
        "WILCO/1 E SID - 410 Never x",
        "WILCO/1 E SID - 410 01 x",
        "WILCO/1 E SID 410 never x",
        "WILCO/1 R SID 7 x 507",
        "WILCO/1 BYE SID COOKIE",
    ] {
        assert!(ServerPacket::parse(text(template).as_bytes()).is_err(), "{template:?}");
    }
    let long = format!("WILCO/1 O {SID} 1 1 pad={}", "x".repeat(1024));
    assert!(ClientPacket::parse(long.as_bytes()).is_err());
    assert!(ClientPacket::parse(b"WILCO/1 O 0123456789abcdef 1 1 name=\xff").is_err());
}

#[test]
fn what_is_not_known_is_passed_over_and_lines_may_end() {
    let plain = text("WILCO/1 K SID COOKIE 7");
    let packet = ClientPacket::parse(plain.as_bytes()).expect("a packet");
    for end in ["\n", "\r\n", " new=1", " new=1 x=y\n"] {
        assert_eq!(ClientPacket::parse(format!("{plain}{end}").as_bytes()).as_ref(), Ok(&packet), "{end:?}");
    }
    let message = text("WILCO/1 M SID COOKIE 7 new=1\r\n\r\n");
    assert!(matches!(ClientPacket::parse(message.as_bytes()), Ok(ClientPacket::Message { body: b"\r\n", .. })));
    let plain = text("WILCO/1 A SID 7");
    let packet = ServerPacket::parse(plain.as_bytes()).expect("a packet");
    for end in ["\n", " new=1", " 0", " 00 new=1"] {
        assert_eq!(ServerPacket::parse(format!("{plain}{end}").as_bytes()).as_ref(), Ok(&packet), "{end:?}");
    }
}

#[test]
fn an_answer_is_cut_to_what_it_may_have() {
    let reason = "é".repeat(500);
    let error = ServerPacket::Error {
        session: session(),
        attempt: None,
        code: Code::OVERLOADED,
        again: Again::Never,
        reason: reason.into(),
    };
    let granted = ServerPacket::parse(
        b"WILCO/1 C 0123456789abcdef 00112233445566778899aabbccddeeff 7 - 64 1200 ack=store srv=abc",
    );
    for packet in [error, granted.expect("a packet")] {
        for limit in 0..300 {
            let mut out = Vec::new();
            let fits = packet.encode_within(limit, &mut out);
            assert!(out.len() <= limit && fits != out.is_empty(), "{limit}");
            assert!(!fits || ServerPacket::parse(&out).is_ok(), "{limit}");
        }
    }
}

#[test]
fn held_numbers_are_those_after_the_next() {
    let mut held = Held::default();
    for number in [0, 10, 11, 12, 14, 75, 76, u64::MAX] {
        held.insert(10, number);
    }
    assert_eq!(held.0, 1 << 63 | 1 << 61 | 1);
    let contained = |number: &u64| held.contains(10, *number);
    assert_eq!((0..200).filter(contained).collect::<Vec<_>>(), [12, 14, 75]);
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        datagram::packet(&bytes);
    }

    #[test]
    fn nearly_packets_are_packets_or_none(
        fields in proptest::collection::vec(prop_oneof![
            4 => Just("O"), 4 => Just("M"), 2 => Just("X"), 2 => Just("K"), 2 => Just("C"), 2 => Just("A"), 2 => Just("N"),
            2 => Just("R"), 2 => Just("E"), 2 => Just("BYE"), 9 => Just(SID), 9 => Just(COOKIE), 6 => Just("7"), 6 => Just("413"),
            3 => Just("-"), 3 => Just("never"), 3 => Just("try=5"), 3 => Just("cookie=00112233445566778899aabbccddeeff"),
            3 => Just("srv=a%20b"), 3 => Just("oid=0123456789abcdef:5"), 2 => Just("ack=store"), 2 => Just("\n"), 1 => Just("\u{202e}"),
            1 => Just(""), 1 => Just("9223372036854775807"), 1 => Just("18446744073709551616")
        ], 0..9),
    ) {
        datagram::packet(format!("WILCO/1 {}", fields.join(" ")).as_bytes());
    }
}
