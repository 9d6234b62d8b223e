//! What becomes of messages and sessions in a store that keeps nothing for good, and how much it remembers.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::net::Addr;
use crate::service::store::Source;
use crate::service::{Outcome, Peer};
use crate::wire::assured::{Code, Progress, Run, Verdict, checksum};

fn source() -> Arc<Source> {
    let addr = Addr::Inet(([127, 0, 0, 1], 1).into());
    Arc::new(Source { peer: Peer { addr, local: None, credentials: None }, name: None })
}

fn opening(session: u128, first: u64) -> Opening {
    Opening { session: SessionId::of_bits(session), first, principal: None, replies: true, source: source() }
}

fn append(owner: Owner, first: u64, bodies: &[&str]) -> Append {
    let mut run = Run::new(first);
    bodies.iter().for_each(|body| run.push(body.as_bytes()));
    Append { session: SessionId::of_bits(1), owner, source: source(), run }
}

/// Answers with the message itself, and puts off what is "later" the first time.
fn store() -> Volatile {
    let put_off = AtomicBool::new(false);
    Volatile::new(Arc::new(move |message: &[u8], _: &Peer| match message {
        b"later" if !put_off.swap(true, Ordering::Relaxed) => Outcome::Retry("busy".to_owned()),
        b"bad" => Outcome::Refuse("no".to_owned()),
        b"ok" => Outcome::Done,
        _ => Outcome::Reply(message.to_vec().into()),
    }))
}

async fn open(store: &Volatile, first: u64) -> (Owner, Progress) {
    let Opened { progress, owner } = store.open(opening(1, first)).await.expect("a session");
    (owner, progress)
}

#[tokio::test]
async fn outcomes_become_verdicts_and_what_is_behind_one_that_was_put_off_is_too() {
    let store = store();
    let (owner, progress) = open(&store, 1).await;
    assert_eq!((progress.known, progress.acknowledged), (true, 0));
    let mut first = append(owner, 1, &["ok", "bad"]);
    first.run.push_refused(Code::TOO_LARGE, "large".to_owned());
    ["x", "later", "ok"].iter().for_each(|body| first.run.push(body.as_bytes()));
    let Applied { through, verdicts, put_off } = store.append(first).await.expect("applied");
    assert_eq!((through, put_off.map(|put_off| put_off.reason).as_deref()), (4, Some("busy")));
    let no = |code, reason: &str| Verdict::Refused(code, reason.to_owned());
    let expected = [(2, no(Code::REJECTED, "no")), (3, no(Code::TOO_LARGE, "large")), (4, Verdict::Reply("x".into()))];
    assert_eq!(verdicts, expected);
    let behind = store.append(append(owner, 7, &["ok"])).await.expect("an answer");
    assert_eq!((behind.through, behind.put_off.is_some()), (4, true));
    let again = store.append(append(owner, 5, &["later", "ok"])).await.expect("applied");
    assert_eq!((again.through, again.put_off), (6, None));
    // What was not noted is told to whoever opens the session again.
    store.note(&SessionId::of_bits(1), owner, 2);
    let (_, progress) = open(&store, 3).await;
    assert_eq!(progress.verdicts.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!((progress.acknowledged, progress.checksum), (6, Some(checksum(b"ok"))));
}

#[tokio::test]
async fn the_last_who_opens_is_the_owner() {
    let store = store();
    let (older, _) = open(&store, 1).await;
    let (newer, _) = open(&store, 1).await;
    assert_eq!(store.append(append(older, 1, &["ok"])).await, Err(StoreError::TakenOver));
    assert_eq!(store.append(append(newer, 1, &["ok"])).await.expect("applied").through, 1);
    store.note(&SessionId::of_bits(1), older, 9);
    let mut owned = opening(2, 1);
    owned.principal = Some("uid:1".to_owned());
    store.open(owned.clone()).await.expect("a session");
    assert_eq!(store.open(opening(2, 1)).await.map(|_| ()), Err(StoreError::Foreign));
    store.open(owned).await.expect("the same");
}

#[tokio::test]
async fn a_session_begins_where_its_client_is() {
    let store = store();
    assert_eq!(open(&store, 70).await.1.acknowledged, 69);
    // It may have gone on elsewhere.
    let (owner, progress) = open(&store, 80).await;
    assert_eq!((progress.acknowledged, progress.checksum), (79, None));
    assert_eq!(store.append(append(owner, 80, &["ok"])).await.expect("applied").through, 80);
    assert_eq!(open(&store, 70).await.1.acknowledged, 80);
}

#[tokio::test]
async fn a_refusal_is_not_forgotten_for_replies() {
    let store = store();
    let (owner, _) = open(&store, 1).await;
    let large = "x".repeat(MAX_REPLIES / 2);
    store.append(append(owner, 1, &["bad", &large, &large, "bad", &large])).await.expect("applied");
    let (_, progress) = open(&store, 1).await;
    let remembered: Vec<_> = progress.verdicts.iter().map(|(number, _)| *number).collect();
    assert_eq!(remembered, [1, 4, 5]);
}

#[tokio::test]
async fn replies_are_kept_for_those_who_want_them_and_not_too_many_for_all_together() {
    let store = store();
    let body = "x".repeat(MAX_REPLIES / 2);
    let answered = async |session: u128, replies: bool| {
        let wanted = Opening { replies, ..opening(session, 1) };
        let owner = store.open(wanted).await.expect("a session").owner;
        let append = Append { session: SessionId::of_bits(session), ..append(owner, 1, &["bad", &body]) };
        store.append(append).await.expect("applied").verdicts.len()
    };
    let remembered = async |session: u128| {
        let progress = store.open(opening(session, 2)).await.expect("a session").progress;
        progress.verdicts.iter().map(|(number, _)| *number).collect::<Vec<_>>()
    };
    assert_eq!((answered(1, false).await, remembered(1).await), (2, vec![1]));
    let most = (MAX_ALL_REPLIES / body.len()) as u128;
    for session in 2..=most + 10 {
        answered(session, true).await;
        assert!(store.kept.load(Ordering::Relaxed) <= MAX_ALL_REPLIES);
    }
    // Refusals stay.
    assert_eq!((remembered(2).await, remembered(most + 10).await), (vec![1], vec![1, 2]));
    lock(&store.sessions).known.clear();
    assert_eq!(store.kept.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_remembered_has_limits() {
    let store = store();
    let (owner, _) = open(&store, 1).await;
    let large = "x".repeat(MAX_REPLIES / 2 - 200);
    let applied = store.append(append(owner, 1, &[&large, &large, &large])).await.expect("applied");
    assert_eq!(applied.verdicts.len(), 3);
    assert_eq!(open(&store, 1).await.1.verdicts.len(), 2);
    for session in 2..=MAX_SESSIONS as u128 + 1 {
        store.open(opening(session, 1)).await.expect("a session");
    }
    assert!(lock(&store.sessions).known.len() <= MAX_SESSIONS);
    // The owner of one that was forgotten goes on all the same.
    let (owner, _) = open(&store, 4).await;
    lock(&store.sessions).known.clear();
    assert_eq!(store.append(append(owner, 4, &["ok"])).await.expect("applied").through, 4);
}
