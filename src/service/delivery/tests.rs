//! Deliveries to a server in memory, under a clock that jumps: connections that are cut at every byte, and every word of a server.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::round::{Hosts, Place, Ways};
use super::*;
use crate::net::{Addr, Stream};
use crate::service::spool::SpoolConfig;
use crate::service::{Batch, BoxFuture, Error};
use crate::wire::assured::{Again, ClientFrame, Code, FrameDecoder, Grant, Level, Run, Sender, ServerFrame, checksum};

/// What a server does with one connection.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// All that it should.
    Serve,
    /// The connection is cut after so many bytes were read, and so many were written.
    Cut { read: usize, written: usize },
    /// It says this and closes.
    Say(&'static str),
    /// It says nothing, ever.
    Silent,
    /// Nobody is there.
    Refuse,
    /// It serves, but says this when the session is open.
    Then(&'static str),
    /// It says this when it has the first message, which it drops, and serves after that.
    Instead(&'static str),
}

/// A server that stores messages, however often its connections are cut.
#[derive(Debug, Default)]
struct Fake {
    /// How it treats one connection after the other; when these are used up it serves.
    manners: VecDeque<Manner>,
    stored: Vec<String>,
    /// Which of the places each connection was made to.
    dialled: Vec<usize>,
    level: Option<Level>,
}

type Shared = Arc<Mutex<Fake>>;

fn with<T>(fake: &Shared, look: impl FnOnce(&mut Fake) -> T) -> T {
    look(&mut fake.lock().unwrap_or_else(PoisonError::into_inner))
}

fn fake(manners: &[Manner]) -> Shared {
    Arc::new(Mutex::new(Fake { manners: manners.iter().copied().collect(), ..Fake::default() }))
}

fn places(fake: &Shared) -> Places {
    Places::reached(vec!["one".to_owned(), "two".to_owned()], Arc::new(Two(Arc::clone(fake))))
}

/// Two names, each with one address, of the same server.
struct Two(Shared);

impl Ways for Two {
    fn given(&self) -> usize {
        2
    }

    fn look_up(&self, given: usize) -> BoxFuture<'static, net::Result<Hosts>> {
        let found = || {
            let endpoint: Endpoint = format!("tcp:192.0.2.{given}:1").parse()?;
            let addr = Addr::Inet(std::net::SocketAddr::from(([192, 0, 2, given as u8], 1)));
            Ok(vec![(endpoint, vec![addr])])
        };
        let found = found();
        Box::pin(async { found })
    }

    fn connect(&self, place: &Place, _: Duration) -> BoxFuture<'static, net::Result<net::Connection>> {
        let (fake, given) = (Arc::clone(&self.0), place.given);
        Box::pin(async move {
            let manner = with(&fake, |fake| {
                fake.dialled.push(given);
                fake.manners.pop_front().unwrap_or(Manner::Serve)
            });
            if let Manner::Refuse = manner {
                return Err(net::Error::timeout("connect", "nobody is there").on("fake"));
            }
            let (near, far) = Stream::pair(64 * 1024);
            tokio::spawn(serve(fake, far, manner));
            Ok(near.into())
        })
    }
}

/// Serves one connection; `None` once it is cut.
async fn serve(fake: Shared, mut stream: Stream, manner: Manner) -> Option<()> {
    let (mut to_read, mut to_write) = match manner {
        Manner::Cut { read, written } => (read, written),
        _ => (usize::MAX, usize::MAX),
    };
    match manner {
        Manner::Say(words) => {
            stream.write_all(words.as_bytes()).await.ok()?;
            return stream.finish(1000).await.ok();
        }
        Manner::Silent => std::future::pending().await,
        _ => {}
    }
    let (mut decoder, mut buffer, mut drops) = (FrameDecoder::new(1000), Vec::new(), manner);
    loop {
        let mut piece = [0; 100];
        let most = to_read.min(piece.len());
        if most == 0 {
            return None;
        }
        let read = stream.read(&mut piece[..most]).await.ok().filter(|read| *read > 0)?;
        to_read -= read;
        buffer.extend_from_slice(&piece[..read]);
        let mut out = Vec::new();
        loop {
            let (done, frame) = decoder.client_frame(&buffer).expect("a frame");
            let goes_on =
                frame.as_ref().is_some_and(|frame| with(&fake, |fake| answer(fake, frame, &mut drops, &mut out)));
            buffer.drain(..done);
            if !goes_on {
                break;
            }
        }
        out.truncate(to_write);
        to_write -= out.len();
        stream.write_all(&out).await.ok()?;
        if to_write == 0 {
            return None;
        }
    }
}

fn answer(fake: &mut Fake, frame: &ClientFrame<'_>, manner: &mut Manner, out: &mut Vec<u8>) -> bool {
    let acknowledged = fake.stored.len() as u64;
    match frame {
        ClientFrame::Open(open) => {
            assert!(open.first <= acknowledged + 1 && acknowledged < open.next, "{open:?}: {:?}", fake.stored);
            let last = fake.stored.last().map_or(0, |last| checksum(last.as_bytes()));
            let level = fake.level.unwrap_or(Level::Stored);
            let grant = Grant {
                acknowledged,
                checksum: Some(last),
                last: None,
                window: 4,
                window_bytes: 1000,
                max_body: 1000,
                idle: Duration::from_secs(60),
                level,
                server: "alpha".into(),
            };
            ServerFrame::Granted(grant).encode(out);
            if let Manner::Then(words) = *manner {
                out.extend_from_slice(words.as_bytes());
            }
        }
        ClientFrame::Message { number, body, .. } => {
            if let Manner::Instead(words) = *manner {
                if *number == 1 {
                    out.extend_from_slice(words.as_bytes());
                    *manner = Manner::Serve;
                }
                return true;
            }
            if *number == acknowledged + 1 {
                fake.stored.push(String::from_utf8_lossy(body).into_owned());
            }
            let (number, is_last) = (*number, fake.stored.len() as u64 == *number);
            match body {
                [b'b', b'a', b'd', ..] => {
                    let reason = "it is bad".into();
                    ServerFrame::Refused { number, code: Code::REJECTED, reason }.encode(out);
                }
                [b'a', b's', b'k', ..] => {
                    ServerFrame::Reply { number, body: body.to_ascii_uppercase().into() }.encode(out);
                }
                _ => {}
            }
            if is_last {
                ServerFrame::Acknowledged(number).encode(out);
            }
        }
        ClientFrame::Bye => ServerFrame::Bye { acknowledged, drain: false }.encode(out),
        ClientFrame::Ping(token) => ServerFrame::Pong(token.clone()).encode(out),
        ClientFrame::Noted(_) | ClientFrame::Pong(_) => {}
        ClientFrame::TooLarge { .. } => panic!("{frame:?}"),
    }
    true
}

fn delivery(fake: &Shared, config: DeliveryConfig) -> Delivery {
    Delivery::of(places(fake), config, Keeping::in_memory(SessionId::of_bits(7))).expect("a delivery")
}

fn batch(messages: &[&str]) -> Option<Batch> {
    let mut batch = Batch::default();
    messages.iter().for_each(|message| batch.push(message.as_bytes()));
    Some(batch)
}

/// All that is told, but for connections that come and go where `terse` is said.
async fn told(delivery: &mut Delivery, mut source: impl Source) -> (Vec<News>, Result<()>) {
    let mut told = Vec::new();
    loop {
        match delivery.step(&mut source).await {
            Ok(News::Done) => return (told, Ok(())),
            Ok(news) => told.push(news),
            Err(error) => return (told, Err(error)),
        }
    }
}

/// What is told when these are sent, without connections.
async fn sent(fake: &Shared, messages: &[&str]) -> (Vec<News>, Result<()>) {
    let config = DeliveryConfig { patience: Some(Duration::from_secs(600)), ..DeliveryConfig::default() };
    let (mut news, ended) = told(&mut delivery(fake, config), batch(messages)).await;
    news.retain(|news| !matches!(news, News::Connected { .. } | News::Opened { .. }));
    (news, ended)
}

const SIX: [&str; 6] = ["one", "two", "", "ask four", "five", "six"];

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_cut_at_any_byte_loses_and_doubles_nothing() {
    let never = usize::MAX;
    let cuts = (0..160).map(|at| Manner::Cut { read: at, written: never });
    let cuts = cuts.chain((0..160).map(|at| Manner::Cut { read: never, written: at }));
    for cut in cuts {
        let fake = fake(&[cut, cut]);
        let (news, ended) = sent(&fake, &SIX).await;
        ended.unwrap_or_else(|error| panic!("{cut:?}: {error}"));
        assert_eq!(with(&fake, |fake| fake.stored.clone()), SIX, "{cut:?}");
        let ranges: Vec<_> = news
            .iter()
            .filter_map(|news| if let News::Acknowledged { first, last } = news { Some((*first, *last)) } else { None })
            .collect();
        assert!(ranges.first().is_some_and(|(first, _)| *first == 1), "{ranges:?}");
        assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
        assert_eq!(ranges.last().map(|(_, last)| *last), Some(6), "{cut:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn replies_and_refusals_are_told_before_what_is_final() {
    let fake = fake(&[]);
    let (news, ended) = sent(&fake, &["ask one", "bad", "three"]).await;
    ended.expect("all is final");
    let mut replies = Run::new(1);
    replies.push(b"ASK ONE");
    let replies = News::Replies(replies);
    let refused = News::Refused { number: 2, code: Code::REJECTED, reason: "it is bad".to_owned() };
    let of =
        |wanted: &News| news.iter().position(|news| news == wanted).unwrap_or_else(|| panic!("{wanted:?}: {news:?}"));
    let last = news.len() - 1;
    assert!(of(&replies) < of(&refused) && of(&refused) < last);
    assert!(matches!(news[last], News::Acknowledged { last: 3, .. }), "{news:?}");
}

#[tokio::test(start_paused = true)]
async fn every_word_of_a_server_has_its_end() {
    use Manner::{Instead, Refuse, Say, Silent, Then};
    let table: [(Manner, &str); 20] = [
        (Say("wilco: not now: full\n"), "all"),
        (Say("wilco: not now: full"), "all"),
        (Say("wilco: refused: not allowed\n"), "the server refuses the session: not allowed (403)"),
        (Say("I got your message\n"), "does not speak the protocol of assured delivery: it says `I got your message`"),
        (Say("I got your message"), "it says `I got your message`"),
        (Say("220 mail.example \u{1b}[2J\n"), r"it says `220 mail.example \u{1b}[2J`"),
        (Say(""), "all"),
        (Silent, "all"),
        (Refuse, "all"),
        (Say("E 503 10 full\n"), "all"),
        (Say("E 403 never not yours\n"), "the server refuses the session: not yours (403)"),
        (Say("E 505 never another version\n"), "another version (505)"),
        (Say("E 410 never unknown\n"), "the server does not know the session: unknown (410); none of 6 messages"),
        (Say("E 412 never behind\n"), "the server has lost what it had acknowledged: behind (412)"),
        (Say("E 423 never other\n"), "another client goes on with the session: other (423)"),
        (Then("E 409 never ahead\n"), "the session was copied or set back: ahead (409)"),
        (Then("W 0 0\nW 2 5\n"), "all"),
        (Then("BYE 0 drain\n"), "all"),
        (Then("A 99\n"), "all"),
        (Instead("R 1 500 503 busy\n"), "all"),
    ];
    for (manner, ends) in table {
        // What is not the end is said once.
        let fake = fake(&vec![manner; if ends == "all" { 1 } else { 9 }]);
        let (_, ended) = sent(&fake, &SIX).await;
        match ended {
            Ok(()) => {
                assert_eq!(ends, "all", "{manner:?}");
                assert_eq!(with(&fake, |fake| fake.stored.clone()), SIX, "{manner:?}");
            }
            Err(error) => assert!(error.to_string().contains(ends), "{manner:?}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_to_where_it_was_and_goes_elsewhere_when_it_is_told_to() {
    for (manner, second) in [
        (Manner::Cut { read: 90, written: usize::MAX }, 0),
        (Manner::Then("BYE 0 drain\n"), 1),
        (Manner::Say("E 503 10 full\n"), 1),
        (Manner::Silent, 1),
    ] {
        let fake = fake(&[manner]);
        sent(&fake, &SIX).await.1.expect("all is final");
        assert_eq!(with(&fake, |fake| fake.dialled.clone()), [0, second], "{manner:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_given_up_when_nothing_is_acknowledged_for_long_and_says_how_far_it_came() {
    for (manners, ends) in [
        (vec![Manner::Refuse; 99], "connect fake: nobody is there; nothing was sent"),
        (
            vec![Manner::Silent; 99],
            "none of 6 messages was acknowledged: given up after 60s without an acknowledgement",
        ),
        (
            [vec![Manner::Cut { read: usize::MAX, written: 100 }], vec![Manner::Refuse; 99]].concat(),
            "3 of 6 messages were acknowledged, up to number 3; 3 may or may not have arrived: given up after 60s without an acknowledgement",
        ),
    ] {
        let fake = fake(&manners);
        let started = Instant::now();
        let config = DeliveryConfig { patience: Some(Duration::from_secs(60)), ..DeliveryConfig::default() };
        let (_, ended) = told(&mut delivery(&fake, config), batch(&SIX)).await;
        let error = ended.expect_err("nobody is there");
        assert!(error.to_string().contains(ends), "{error}");
        assert!(matches!(error, Error::GaveUp(_)));
        assert!((60..63).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_dropped_loses_nothing() {
    let fake = fake(&[Manner::Cut { read: 90, written: usize::MAX }]);
    let mut delivery = delivery(&fake, DeliveryConfig::default());
    let (mut source, mut last) = (batch(&SIX), 0);
    loop {
        // Polled a few times, and dropped.
        let step = tokio::time::timeout(Duration::from_millis(1), delivery.step(&mut source));
        match step.await {
            Err(_) => {}
            Ok(Ok(News::Done)) => break,
            Ok(Ok(News::Acknowledged { first, last: through })) => {
                assert_eq!(first, last + 1);
                last = through;
            }
            Ok(news) => drop(news.expect("no failure")),
        }
    }
    assert_eq!(last, 6);
    assert_eq!(with(&fake, |fake| fake.stored.clone()), SIX);
    assert_eq!(delivery.step(&mut source).await.expect("it stays so"), News::Done);
}

#[tokio::test]
async fn a_spool_is_gone_on_with_by_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(&[]);
    for (sent, settled) in [(vec!["one", "two"], 0), (vec!["bad three"], 0), (vec!["four"], 4), (vec![], 4)] {
        // However often it is asked meanwhile.
        let refused = if settled == 0 { 10_000 } else { 0 };
        with(&fake, |fake| fake.manners = [Manner::Refuse].repeat(refused).into());
        let spool = Spool::open(directory.path(), SpoolConfig::default()).expect("a spool");
        let keeping = Keeping::in_spool(spool, directory.path());
        // The first two give up before anybody is there.
        let patience = if settled == 0 { Duration::from_millis(1) } else { Duration::from_secs(60) };
        let config = DeliveryConfig { patience: Some(patience), ..DeliveryConfig::default() };
        let mut delivery = Delivery::of(places(&fake), config, keeping).expect("a delivery");
        let (_, ended) = told(&mut delivery, batch(&sent)).await;
        let counts = delivery.counts();
        assert_eq!((ended.is_ok(), counts.settled), (settled > 0, settled), "{ended:?}");
        if let Err(error) = ended {
            assert!(error.to_string().contains("in the spool"), "{error}");
        }
    }
    assert_eq!(with(&fake, |fake| fake.stored.clone()), ["one", "two", "bad three", "four"]);
    let letters = std::fs::read_to_string(directory.path().join("dead-letters")).expect("dead letters");
    assert!(letters.contains("\"number\":3") && letters.contains("bad three"), "{letters}");
}

#[tokio::test]
async fn a_spool_that_is_ahead_of_what_the_sender_holds_is_read_back() {
    // More than the sender holds, while nobody is there at first.
    let (directory, message) = (tempfile::tempdir().expect("a directory"), "x".repeat(700));
    let count = 3 * Sender::HOLDS as usize / 2 / message.len();
    let fake = fake(&[Manner::Refuse]);
    let spool = Spool::open(directory.path(), SpoolConfig::default()).expect("a spool");
    let keeping = Keeping::in_spool(spool, directory.path());
    let mut delivery = Delivery::of(places(&fake), DeliveryConfig::default(), keeping).expect("a delivery");
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let feeding = tokio::spawn(async move {
        for number in 0..count {
            let _ = sender.send(Batch::of(format!("{number} {message}"))).await;
        }
    });
    told(&mut delivery, receiver).await.1.expect("all is final");
    feeding.await.expect("no panic");
    let stored = with(&fake, |fake| std::mem::take(&mut fake.stored));
    assert_eq!(stored.len(), count);
    assert!(stored.iter().enumerate().all(|(number, message)| message.starts_with(&format!("{number} "))));
}

#[test]
fn whether_to_try_again_is_what_the_server_says() {
    let words = link::plain_words(b"wilco: not now: full").expect("words");
    assert!(matches!(words, ServerFrame::Error { again: Again::After(_), code: Code::OVERLOADED, .. }), "{words:?}");
    assert!(link::plain_words(b"I got your message").is_none());
}

#[tokio::test]
async fn nobody_need_be_there_for_nothing_to_deliver() {
    let directory = tempfile::tempdir().expect("a directory");
    let fake = fake(&[Manner::Say("E 410 never who is that?\n")]);
    for (sent, is_asked) in [(vec![], false), (vec!["one"], true)] {
        let spool = Spool::open(directory.path(), SpoolConfig::default()).expect("a spool");
        let keeping = Keeping::in_spool(spool, directory.path());
        let delivery = Delivery::of(places(&fake), DeliveryConfig::default(), keeping).expect("a delivery");
        let (news, ended) = told(&mut delivery.once_needed(), batch(&sent)).await;
        assert_eq!(ended.is_ok(), !is_asked, "{ended:?}");
        assert_eq!(with(&fake, |fake| !fake.dialled.is_empty()), is_asked, "{news:?}");
    }
}

#[tokio::test]
async fn a_session_that_another_server_does_not_know_is_said_to_have_moved() {
    let fake = fake(&[Manner::Then("BYE 0 drain\n"), Manner::Say("E 410 never who is that?\n")]);
    let mut delivery = delivery(&fake, DeliveryConfig::default());
    let (_, ended) = told(&mut delivery, batch(&SIX)).await;
    let Err(Error::LostSession(lost)) = ended else { panic!("{ended:?}") };
    let moved = lost.moved.as_ref().expect("another place");
    assert_ne!(moved.from, moved.to);
    assert!(lost.to_string().contains("do both have one store?"), "{lost}");
}
