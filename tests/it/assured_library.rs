//! Assured delivery as a program uses it: receipts, refusals, a client that is dropped and goes on, a server that comes later.
//!
//! Apart from the programs, which show only some of it.

use std::sync::Arc;
use std::time::Duration;

use wilco::service::store::MemoryStore;
use wilco::{Assured, DeliveryConfig, Error, How, ListenConfig, Outcome, Peer, Server, ServerConfig};

async fn serve(server: Server) -> (String, tokio::task::JoinHandle<()>) {
    let listener =
        ListenConfig::default().listen(&"tcp4:127.0.0.1:0".parse().expect("an address")).await.expect("listen");
    let name = listener.names().remove(0);
    let serving = tokio::spawn(async move {
        server.serve(vec![listener], std::future::pending()).await.expect("served");
    });
    (name, serving)
}

fn upper(message: &[u8], _: &Peer) -> Outcome {
    match message {
        [b'b', b'a', b'd', ..] => Outcome::Refuse("it is bad".to_owned()),
        _ => Outcome::Reply(message.to_ascii_uppercase().into()),
    }
}

#[tokio::test]
async fn each_message_has_its_receipt_whoever_sends_it() {
    let (address, serving) = serve(Server::new(upper, ServerConfig::default())).await;
    let client = Arc::new(Assured::new([address]).open().await.expect("a client"));
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                let receipts = client.send_all([format!("{task} a"), "bad".to_owned(), format!("{task} c")]).await;
                let [first, second, third] = receipts.try_into().expect("three");
                assert_eq!(first.expect("a receipt").answer, format!("{task} A").into_bytes());
                let refused = second.expect_err("refused");
                assert!(matches!(&refused, Error::DeadLetter { reason, .. } if reason == "it is bad"), "{refused}");
                assert_eq!(third.expect("a receipt").answer, format!("{task} C").into_bytes());
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    Arc::into_inner(client).expect("the last one").close().await.expect("all is final");
    serving.abort();
}

#[tokio::test]
async fn a_server_may_come_later_and_what_was_dropped_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let spool = directory.path().join("outbox");
    {
        let nobody = Assured::new(["unix:@wilco-assured-library-nobody"]).spool(&spool).open().await.expect("a client");
        let sending = nobody.send_all(["one", "two"]);
        tokio::time::timeout(Duration::from_millis(300), sending).await.expect_err("nobody is there");
    }
    let store = MemoryStore::as_if_lasting();
    let (address, serving) = serve(Server::storing(Arc::new(store.clone()), ServerConfig::default())).await;
    let client = loop {
        // The one before lets its spool go when its task has ended.
        match Assured::new([address.as_str()]).spool(&spool).open().await {
            Ok(client) => break client,
            Err(error) => assert!(error.to_string().contains("in use"), "{error}"),
        }
        tokio::task::yield_now().await;
    };
    let receipt = client.send("three").await.expect("a receipt");
    assert_eq!((receipt.how, receipt.by.as_deref(), &receipt.answer[..]), (How::Stored, Some("wilco"), &b""[..]));
    client.close().await.expect("all is final");
    let bodies: Vec<_> =
        store.kept().into_iter().map(|kept| String::from_utf8_lossy(&kept.body).into_owned()).collect();
    assert_eq!(bodies, ["one", "two", "three"]);
    serving.abort();
}

#[tokio::test]
async fn a_client_that_has_failed_says_why_to_all() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = format!("tcp:{}", listener.local_addr().expect("an address"));
    let config = DeliveryConfig { patience: Some(Duration::from_millis(300)), ..DeliveryConfig::default() };
    let client = Assured::new([address]).config(config).open().await.expect("a client");
    for receipt in client.send_all(["one", "two"]).await {
        let error = receipt.expect_err("nobody answers");
        assert!(error.to_string().contains("none of 2 messages was acknowledged"), "{error}");
        assert!(matches!(&error, Error::Ended(why) if matches!(**why, Error::GaveUp(_))));
    }
    assert!(matches!(client.send("three").await, Err(Error::Ended(_))));
    client.close().await.expect_err("not all is final");
}
