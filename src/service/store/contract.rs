//! What every store must do, as tests.
//!
//! Apart from the stores, so that none can do otherwise. A store has a [`Fixture`] and calls `contract::tests!`.

use std::sync::Arc;

use super::{Append, Chain, Kept, Opened, Opening, Owner, Plain, Source, Store, StoreError};
use crate::net::Addr;
use crate::service::{Batch, Peer};
use crate::wire::assured::{Applied, Code, Run, SessionId, Verdict, checksum};

/// A store under test.
pub(super) trait Fixture {
    /// With nothing in it.
    fn new() -> Self;

    /// The store, opened anew: as after a restart, where it lasts.
    fn store(&mut self) -> Arc<dyn Store>;

    /// What was stored, in its order, as somebody else sees it.
    fn kept(&self) -> Vec<Kept>;

    /// Lets there be no room from now on, or room again. Says whether it can do that.
    fn full(&mut self, full: bool) -> bool;

    /// Whether a session is known after a restart of which nothing was stored, and what was noted of one since its last message.
    fn keeps_openings(&self) -> bool {
        true
    }
}

/// The tests, for the store of a fixture.
macro_rules! tests {
    ($fixture:ty) => {
        $crate::service::store::contract::tests! { $fixture:
            a_session_goes_on_where_it_was
            what_is_stored_is_whole
            a_session_that_is_not_known_begins_at_its_beginning
            a_run_that_is_final_is_not_applied_again
            what_is_behind_a_gap_is_put_off
            the_last_who_opens_is_the_owner
            what_is_queued_is_applied_before_a_session_is_opened
            what_was_refused_is_kept_until_it_is_noted
            a_session_belongs_to_its_first_principal
            plain_messages_are_kept
            without_room_all_is_put_off_and_nothing_lost
            sessions_do_not_disturb_each_other
            what_is_dropped_is_done_or_not
        }
    };
    ($fixture:ty: $($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                $crate::service::store::contract::$test(<$fixture as $crate::service::store::contract::Fixture>::new()).await;
            }
        )*
    };
}

pub(super) use tests;

const SID: &str = "0123456789abcdef0123456789abcdef";

pub(super) fn source(name: Option<&str>) -> Arc<Source> {
    let addr = Addr::Inet("127.0.0.1:5000".parse().expect("an address"));
    Arc::new(Source { peer: Peer { addr, local: None, credentials: None }, name: name.map(str::to_owned) })
}

fn sid(text: &str) -> SessionId {
    text.parse().expect("a session")
}

pub(super) fn opening(session: &str, first: u64) -> Opening {
    Opening { session: sid(session), first, principal: None, replies: false, source: source(None) }
}

pub(super) fn append(session: &str, owner: Owner, first: u64, bodies: &[&str]) -> Append {
    let mut run = Run::new(first);
    bodies.iter().for_each(|body| run.push(body.as_bytes()));
    Append { session: sid(session), owner, source: source(None), run }
}

pub(super) fn plain(bodies: &[&str]) -> Plain {
    let mut run = Run::new(1);
    bodies.iter().for_each(|body| run.push(body.as_bytes()));
    let messages = Batch { bytes: run.bytes, spans: run.spans, ..Batch::default() };
    Plain { source: source(None), first: 1, messages, chain: Chain::default() }
}

async fn open(store: &Arc<dyn Store>, session: &str) -> Opened {
    store.open(opening(session, 1)).await.expect("open a session")
}

fn through(number: u64) -> Result<Applied, StoreError> {
    Ok(Applied { through: number, ..Applied::default() })
}

/// Numbers and bodies of what was stored for a session.
fn bodies(fixture: &impl Fixture, session: &str) -> Vec<(u64, String)> {
    let kept = fixture.kept().into_iter().filter(|kept| kept.session == Some(sid(session)));
    kept.map(|kept| (kept.number, String::from_utf8(kept.body).expect("text"))).collect()
}

fn numbered(bodies: &[&str]) -> Vec<(u64, String)> {
    (1..).zip(bodies).map(|(number, body)| (number, (*body).to_owned())).collect()
}

pub(super) async fn a_session_goes_on_where_it_was(mut fixture: impl Fixture) {
    let store = fixture.store();
    let opened = open(&store, SID).await;
    assert_eq!((opened.progress.known, opened.progress.acknowledged, opened.progress.checksum), (false, 0, None));
    assert_eq!(store.append(append(SID, opened.owner, 1, &["one", "two"])).await, through(2));
    assert_eq!(store.append(append(SID, opened.owner, 3, &["three"])).await, through(3));
    drop(store);

    let store = fixture.store();
    let opened = open(&store, SID).await;
    assert_eq!((opened.progress.known, opened.progress.acknowledged), (true, 3));
    assert_eq!(opened.progress.checksum, Some(checksum(b"three")));
    assert_eq!(store.append(append(SID, opened.owner, 4, &["four"])).await, through(4));
    assert_eq!(bodies(&fixture, SID), numbered(&["one", "two", "three", "four"]));
}

pub(super) async fn what_is_stored_is_whole(mut fixture: impl Fixture) {
    let store = fixture.store();
    let owner = open(&store, SID).await.owner;
    let many: Vec<String> = (0..100).map(|number| format!("message {number}")).collect();
    let odd: [&[u8]; 6] = [b"", b"a\0b", b"\xff\xfe", "caf\u{e9}".as_bytes(), &[b'x'; 100_000], b"'; DROP TABLE"];
    let mut run = Run::new(1);
    many.iter().for_each(|body| run.push(body.as_bytes()));
    odd.iter().for_each(|body| run.push(body));
    run.origins = vec![(2, sid("00000000000000aa"), 77), (106, sid("00000000000000bb"), 1)];
    let source = source(Some("pump 7"));
    let append = Append { session: sid(SID), owner, source: Arc::clone(&source), run };
    assert_eq!(store.append(append).await, through(106));

    let kept = fixture.kept();
    let expected = many.iter().map(String::as_bytes).chain(odd);
    assert!(kept.iter().map(|kept| kept.body.as_slice()).eq(expected));
    assert!(kept.iter().map(|kept| kept.number).eq(1..=106));
    assert_eq!(kept[1].origin, Some((sid("00000000000000aa"), 77)));
    assert_eq!(kept[105].origin, Some((sid("00000000000000bb"), 1)));
    assert_eq!(kept[2].origin, None);
    assert_eq!(kept[105].source, source);
}

pub(super) async fn a_session_that_is_not_known_begins_at_its_beginning(mut fixture: impl Fixture) {
    let store = fixture.store();
    for _ in 0..2 {
        let opened = store.open(opening(SID, 5)).await.expect("an answer");
        assert_eq!((opened.progress.known, opened.progress.acknowledged), (false, 0), "nothing is made up");
        assert_eq!(store.append(append(SID, opened.owner, 5, &["five"])).await, Err(StoreError::TakenOver));
    }
    assert_eq!(fixture.kept(), []);
}

pub(super) async fn a_run_that_is_final_is_not_applied_again(mut fixture: impl Fixture) {
    let store = fixture.store();
    let owner = open(&store, SID).await.owner;
    assert_eq!(store.append(append(SID, owner, 1, &["one", "two"])).await, through(2));
    for (first, again) in [(1, &["one"][..]), (1, &["one", "two"]), (2, &["two", "three"])] {
        assert_eq!(store.append(append(SID, owner, first, again)).await, Err(StoreError::TakenOver), "{first}");
    }
    assert_eq!(store.append(append(SID, owner, 3, &["three"])).await, through(3));
    assert_eq!(bodies(&fixture, SID), numbered(&["one", "two", "three"]));
}

pub(super) async fn what_is_behind_a_gap_is_put_off(mut fixture: impl Fixture) {
    let store = fixture.store();
    let owner = open(&store, SID).await.owner;
    assert_eq!(store.append(append(SID, owner, 1, &["one"])).await, through(1));
    let applied = store.append(append(SID, owner, 3, &["three"])).await.expect("an answer");
    assert_eq!((applied.through, applied.put_off.is_some()), (1, true));
    assert_eq!(store.append(append(SID, owner, 2, &["two", "three"])).await, through(3));
    assert_eq!(bodies(&fixture, SID), numbered(&["one", "two", "three"]));
}

pub(super) async fn the_last_who_opens_is_the_owner(mut fixture: impl Fixture) {
    let store = fixture.store();
    let first = open(&store, SID).await.owner;
    assert_eq!(store.append(append(SID, first, 1, &["one"])).await, through(1));
    let opened = open(&store, SID).await;
    assert!(opened.owner > first);
    assert_eq!(store.append(append(SID, first, 2, &["stale"])).await, Err(StoreError::TakenOver));
    assert_eq!(store.append(append(SID, opened.owner, 2, &["two"])).await, through(2));
    assert_eq!(store.append(append(SID, first, 3, &["stale"])).await, Err(StoreError::TakenOver));
    assert_eq!(bodies(&fixture, SID), numbered(&["one", "two"]));
}

pub(super) async fn what_is_queued_is_applied_before_a_session_is_opened(mut fixture: impl Fixture) {
    let store = fixture.store();
    let first = open(&store, SID).await.owner;
    // The order is that of the calls, whoever waits for which first.
    let before = store.append(append(SID, first, 1, &["one", "two"]));
    let opening = store.open(opening(SID, 1));
    let after = store.append(append(SID, first, 3, &["stale"]));
    let opened = opening.await.expect("open");
    assert_eq!(opened.progress.acknowledged, 2, "what the old owner had queued is seen");
    assert_eq!(after.await, Err(StoreError::TakenOver));
    assert_eq!(before.await, through(2));
    assert_eq!(store.append(append(SID, opened.owner, 3, &["three"])).await, through(3));
    assert_eq!(bodies(&fixture, SID), numbered(&["one", "two", "three"]));
}

pub(super) async fn what_was_refused_is_kept_until_it_is_noted(mut fixture: impl Fixture) {
    let store = fixture.store();
    let owner = open(&store, SID).await.owner;
    let mut run = Run::new(1);
    run.push(b"one");
    run.push_refused(Code::TOO_LARGE, "too large".to_owned());
    run.push(b"three");
    run.push_refused(Code::REJECTED, "no".to_owned());
    let verdicts = [
        (2, Verdict::Refused(Code::TOO_LARGE, "too large".to_owned())),
        (4, Verdict::Refused(Code::REJECTED, "no".to_owned())),
    ];
    let applied = store.append(Append { session: sid(SID), owner, source: source(None), run }).await;
    assert_eq!(applied, Ok(Applied { through: 4, verdicts: verdicts.to_vec(), put_off: None }));
    let numbers: Vec<u64> = fixture.kept().iter().map(|kept| kept.number).collect();
    assert_eq!(numbers, [1, 3]);
    drop(store);

    let store = fixture.store();
    let opened = open(&store, SID).await;
    assert_eq!((opened.progress.acknowledged, opened.progress.checksum), (4, None));
    assert_eq!(opened.progress.verdicts, verdicts);
    store.note(&sid(SID), owner, 4);
    store.note(&sid(SID), opened.owner, 3);
    let opened = open(&store, SID).await;
    assert_eq!(opened.progress.verdicts, verdicts[1..], "only the owner's word counts");
    store.note(&sid(SID), opened.owner, 4);
    if !fixture.keeps_openings() {
        assert_eq!(store.append(append(SID, opened.owner, 5, &["five"])).await, through(5));
    }
    drop(store);
    assert_eq!(open(&fixture.store(), SID).await.progress.verdicts, []);
}

pub(super) async fn a_session_belongs_to_its_first_principal(mut fixture: impl Fixture) {
    let other = "ffffffffffffffff";
    let by =
        |session, principal: Option<&str>| Opening { principal: principal.map(str::to_owned), ..opening(session, 1) };
    let store = fixture.store();
    let mut owner = store.open(by(SID, Some("uid:7"))).await.expect("the first").owner;
    let nobodys = store.open(by(other, None)).await.expect("nobody known").owner;
    let mut next = 1;
    if !fixture.keeps_openings() {
        assert_eq!(store.append(append(SID, owner, 1, &["one"])).await, through(1));
        assert_eq!(store.append(append(other, nobodys, 1, &["one"])).await, through(1));
        next = 2;
    }
    drop(store);
    let store = fixture.store();
    if !fixture.keeps_openings() {
        owner = store.open(by(SID, Some("uid:7"))).await.expect("the first").owner;
    }
    for principal in [Some("uid:8"), None] {
        assert_eq!(store.open(by(SID, principal)).await.map(|_| ()), Err(StoreError::Foreign), "{principal:?}");
    }
    let appended = store.append(append(SID, owner, next, &["more"])).await;
    assert_eq!(appended, through(next), "who is refused takes nothing over");
    assert!(store.open(by(SID, Some("uid:7"))).await.is_ok());
    // One that was begun by nobody known is nobody's, or whoever learns its name could lock out who began it.
    assert!(store.open(by(other, Some("uid:9"))).await.is_ok());
    assert!(store.open(by(other, None)).await.is_ok());
}

pub(super) async fn plain_messages_are_kept(mut fixture: impl Fixture) {
    let store = fixture.store();
    let many: Vec<String> = (0..50).map(|number| format!("plain {number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(store.keep(plain(&many)).await, Ok(()));
    assert_eq!(store.keep(Plain { first: 51, ..plain(&["last"]) }).await, Ok(()));
    let kept = fixture.kept();
    assert!(kept.iter().map(|kept| kept.number).eq(1..=51));
    assert!(kept.iter().all(|kept| kept.session.is_none() && kept.source == source(None)));
    assert_eq!((kept[0].body.as_slice(), kept[50].body.as_slice()), (&b"plain 0"[..], &b"last"[..]));
}

pub(super) async fn without_room_all_is_put_off_and_nothing_lost(mut fixture: impl Fixture) {
    let store = fixture.store();
    let owner = open(&store, SID).await.owner;
    assert_eq!(store.append(append(SID, owner, 1, &["one"])).await, through(1));
    if !fixture.full(true) {
        return;
    }
    let large = "x".repeat(100_000);
    let (second, third) =
        (store.append(append(SID, owner, 2, &[&large])), store.append(append(SID, owner, 3, &[&large])));
    for applied in [second.await, third.await] {
        let applied = applied.expect("an answer");
        assert_eq!(applied.through, 1, "what was put off is not final");
        assert!(applied.put_off.is_some());
    }
    let chain = Chain::default();
    assert!(matches!(store.keep(Plain { chain: chain.clone(), ..plain(&[&large]) }).await, Err(StoreError::Full(_))));
    fixture.full(false);
    assert!(store.keep(Plain { chain, ..plain(&["behind it"]) }).await.is_err(), "there would be a gap");
    assert_eq!(store.append(append(SID, owner, 2, &["two", "three"])).await, through(3));
    assert_eq!(store.keep(plain(&["plain"])).await, Ok(()));
    assert_eq!(bodies(&fixture, SID), numbered(&["one", "two", "three"]));
}

pub(super) async fn sessions_do_not_disturb_each_other(mut fixture: impl Fixture) {
    let store = fixture.store();
    let tasks: Vec<_> = (0..16)
        .map(|index| {
            let (store, session) = (Arc::clone(&store), format!("{index:032x}"));
            tokio::spawn(async move {
                let owner = open(&store, &session).await.owner;
                for first in (1..40).step_by(2) {
                    let run = [format!("{index} {first}"), format!("{index} {}", first + 1)];
                    let run = append(&session, owner, first, &[&run[0], &run[1]]);
                    assert_eq!(store.append(run).await, through(first + 1));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a session");
    }
    for index in 0..16 {
        let expected: Vec<_> = (1..=40).map(|number| (number, format!("{index} {number}"))).collect();
        assert_eq!(bodies(&fixture, &format!("{index:032x}")), expected);
    }
}

pub(super) async fn what_is_dropped_is_done_or_not(mut fixture: impl Fixture) {
    let store = fixture.store();
    let owner = open(&store, SID).await.owner;
    drop(store.append(append(SID, owner, 1, &["one", "two"])));
    let opened = open(&store, SID).await;
    let done = usize::try_from(opened.progress.acknowledged).expect("few");
    assert!([0, 2].contains(&done));
    assert_eq!(bodies(&fixture, SID), numbered(&["one", "two"][..done]));
}
