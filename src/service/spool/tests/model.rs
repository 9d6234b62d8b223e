//! A spool against a model of it: whatever happens, what was accepted and is not final is there, in order, once.
//!
//! Apart from the examples, since here nobody has chosen what happens.

use std::fs;

use proptest::prelude::*;

use super::*;

/// What happens to a spool.
#[derive(Clone, Debug)]
enum Event {
    Accept(Vec<u16>),
    Settle(u8),
    Refuse(u8),
    Reopen,
    /// The process is killed, with so many bytes of the next write on disk.
    Kill(Vec<u8>),
    Renew,
    Read(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => prop::collection::vec(0_u16..200, 1..6).prop_map(Event::Accept),
        3 => any::<u8>().prop_map(Event::Settle),
        1 => any::<u8>().prop_map(Event::Refuse),
        1 => Just(Event::Reopen),
        2 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Event::Kill),
        1 => Just(Event::Renew),
        2 => any::<u8>().prop_map(Event::Read),
    ];
    prop::collection::vec(event, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_accepted_and_is_not_final_is_there_in_order_and_once(events in events()) {
        runtime().block_on(against_a_model(events));
    }
}

async fn against_a_model(events: Vec<Event>) {
    let mut directory = temporary();
    let mut spool = open(directory.path());
    let mut session = spool.session();
    // All messages of the session, the last number that is final, how many were ever accepted.
    let (mut messages, mut settled, mut count) = (Vec::<Vec<u8>>::new(), 0, 0_u32);
    for event in events {
        match event {
            Event::Accept(sizes) => {
                let new: Vec<Vec<u8>> = sizes
                    .iter()
                    .map(|size| {
                        count += 1;
                        let mut body = count.to_string().into_bytes();
                        body.resize(body.len().max(usize::from(*size)), b'.');
                        body
                    })
                    .collect();
                let run = spool.accept(batch(&new)).await.expect("accepted");
                assert_eq!((run.first, run.len()), (messages.len() as u64 + 1, new.len()));
                messages.extend(new);
            }
            Event::Settle(part) => {
                let waiting = messages.len() as u64 - settled;
                settled += waiting * u64::from(part) / 255;
                let checksum = messages.get((settled as usize).wrapping_sub(1)).map(|message| checksum(message));
                spool.settle(settled, checksum);
            }
            Event::Refuse(part) => {
                let number = settled + 1 + u64::from(part) % 4;
                if number <= messages.len() as u64 {
                    spool.dead_letter(number, Code::REJECTED, "no", None).await.expect("kept");
                }
            }
            Event::Reopen => {
                spool.close().await.expect("closed");
                spool = open(directory.path());
                assert_eq!(spool.start().first, settled + 1);
            }
            Event::Kill(partial) => {
                // What was asked for before is done then: it would be changed while it is copied.
                spool.accept(batch::<&str>(&[])).await.expect("accepted");
                let copy = crashed(directory.path());
                if segments(copy.path()) > 0 {
                    let segment = last_segment(copy.path());
                    let bytes = [fs::read(&segment).expect("read"), partial].concat();
                    fs::write(&segment, bytes).expect("written");
                }
                drop(spool);
                (directory, spool) = (copy, open(directory.path()));
                drop(spool);
                spool = open(directory.path());
                // What became final just before may be forgotten.
                assert!(spool.start().first <= settled + 1);
            }
            Event::Renew => {
                let first = spool.start().first;
                spool.renew(Unsettled::Resend).await.expect("renewed");
                (messages, settled) = (messages.split_off(first as usize - 1), 0);
                session = spool.session();
            }
            Event::Read(part) => {
                let from = (settled + 1 + u64::from(part) % 8).min(messages.len() as u64 + 1);
                let run = spool.read(from, 4, 300).await.expect("read");
                for (number, body) in run.messages() {
                    assert_eq!(body, messages[number as usize - 1]);
                }
                assert_eq!(run.is_empty(), from > messages.len() as u64);
            }
        }
        assert_eq!(spool.session(), session);
        assert_eq!(spool.start().next, messages.len() as u64 + 1);
        let first = spool.start().first;
        let expected: Vec<_> = (1..).zip(messages.iter().cloned()).skip(first as usize - 1).collect();
        assert_eq!(waiting(&spool).await.expect("read"), expected);
        let seen = Inspection::of(directory.path()).expect("a look");
        let seen: Vec<_> = seen.messages().map(|message| message.expect("a message")).collect();
        assert!(seen.len() >= expected.len(), "what is final may still be seen, for a moment");
        let seen: Vec<_> = seen.into_iter().map(|waiting| (waiting.number, waiting.body)).collect();
        assert_eq!(seen[seen.len() - expected.len()..], expected);
    }
}
