//! How fast a server takes messages of assured sessions when one of them is open, and when very many are.
//!
//! `many_sessions ADDRESS SESSIONS SENDING MESSAGES`: opens so many sessions with a message each, has some of them send messages of 64 bytes, all together so many, while the others
//! are idle, and prints how many a second were acknowledged. It needs a descriptor for each session (`ulimit -n`).

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::env;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use wilco::{Assured, AssuredClient};

/// How many messages a session is given at once.
const AT_ONCE: usize = 8192;

/// How many sessions are opened at the same time: a listener's backlog has an end.
const OPENING: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [address, sessions, sending, messages] = &args[..] else {
        panic!("many_sessions ADDRESS SESSIONS SENDING MESSAGES");
    };
    let (sessions, sending, messages): (usize, usize, usize) =
        (sessions.parse().unwrap(), sending.parse().unwrap(), messages.parse().unwrap());
    let mut clients = Vec::new();
    while clients.len() < sessions {
        let mut opening = JoinSet::new();
        for _ in 0..OPENING.min(sessions - clients.len()) {
            let address = address.clone();
            opening.spawn(async move {
                let client = Assured::new([address]).open().await.unwrap();
                client.send("open").await.unwrap();
                client
            });
        }
        clients.extend(opening.join_all().await.into_iter().map(Arc::new));
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for client in clients.iter().take(sending) {
        tasks.spawn(send(Arc::clone(client), messages / sending));
    }
    let sent: usize = tasks.join_all().await.into_iter().sum();
    println!("{:.0}", sent as f64 / began.elapsed().as_secs_f64());
}

/// Sends so many messages, the next once the last are acknowledged but for two batches.
async fn send(client: Arc<AssuredClient>, count: usize) -> usize {
    let message = [b'x'; 63];
    let halves = [count / 2, count - count / 2].map(|count| {
        let client = Arc::clone(&client);
        async move {
            let mut left = count;
            while left > 0 {
                let batch = left.min(AT_ONCE);
                client
                    .send_all((0..batch).map(|_| message))
                    .await
                    .into_iter()
                    .for_each(|receipt| drop(receipt.unwrap()));
                left -= batch;
            }
        }
    });
    let [one, other] = halves;
    tokio::join!(one, other);
    count
}
