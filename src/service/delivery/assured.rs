//! `Assured`: a client that other parts of a program hand messages to, and that has a receipt for each once it is final.
//!
//! Apart from [`Delivery`], which is stepped: here a task does that, so that the connection is looked after while the program does something else.

use std::collections::VecDeque;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Delivery, DeliveryConfig, News};
use crate::net::Endpoint;
use crate::service::spool::{Spool, SpoolConfig};
use crate::service::{Batch, Error, How, Receipt, Result, Source};

/// How many calls may wait for their messages to be taken; the others wait with theirs.
const QUEUE: usize = 64;

/// How an assured client is made: where the servers are, and where messages are kept.
///
/// ```
/// # use std::sync::Arc;
/// # use wilco::service::store::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = wilco::listen("tcp4:127.0.0.1:0").await?;
/// # let server = listener.names().remove(0);
/// # let store = Arc::new(MemoryStore::default());
/// # tokio::spawn(wilco::Server::storing(store, Default::default()).serve(vec![listener], std::future::pending()));
/// # let directory = tempfile::tempdir()?;
/// # let outbox = directory.path().join("outbox");
/// let client = wilco::Assured::new([server]).spool(outbox).open().await?;
/// let receipt = client.send("hello").await?;
/// assert_eq!(receipt.by.as_deref(), Some("wilco"));
/// client.close().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Assured {
    servers: Vec<String>,
    spool: Option<(PathBuf, SpoolConfig)>,
    config: DeliveryConfig,
}

/// A client whose messages are applied exactly once and in order, over as many connections as it takes.
///
/// Any number of tasks may send at once. It connects by itself, and again. Dropping it ends it at once: what is not acknowledged waits in its spool, or
/// is not known to have arrived if it has none.
#[derive(Debug)]
pub struct AssuredClient {
    requests: Option<mpsc::Sender<Request>>,
    task: JoinHandle<()>,
    ended: Arc<OnceLock<Arc<Error>>>,
}

/// Messages that are to be sent, and who waits for what becomes of each.
#[derive(Debug)]
struct Request {
    batch: Batch,
    answers: Vec<oneshot::Sender<Result<Receipt>>>,
}

impl Assured {
    /// A client of the first of these servers that answers, and of the others when it fails. Their addresses are written as on the command line.
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { servers: servers.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Keeps messages in this directory until they are final, so that they outlive the program. By default they live in its memory.
    #[must_use]
    pub fn spool(self, directory: impl Into<PathBuf>) -> Self {
        self.spool_with(directory, SpoolConfig::default())
    }

    /// [`Assured::spool`] with settings.
    #[must_use]
    pub fn spool_with(self, directory: impl Into<PathBuf>, config: SpoolConfig) -> Self {
        Self { spool: Some((directory.into(), config)), ..self }
    }

    /// Has it go by these settings.
    #[must_use]
    pub fn config(self, config: DeliveryConfig) -> Self {
        Self { config, ..self }
    }

    /// Opens the spool and begins to send what is in there; the server need not be there yet.
    ///
    /// # Errors
    /// An address is wrong, or the spool cannot be used.
    pub async fn open(self) -> Result<AssuredClient> {
        let servers = self.servers.iter().map(|server| server.parse()).collect::<Result<Vec<Endpoint>, _>>()?;
        let delivery = match self.spool {
            None => Delivery::new(servers, self.config)?,
            Some((directory, config)) => {
                let spool = open_spool(&directory, config).await?;
                Delivery::with_spool(servers, self.config, spool, &directory)?
            }
        };
        let (requests, receiver) = mpsc::channel(QUEUE);
        let awaited = Awaited { requests: receiver, first: delivery.next_number(), answers: VecDeque::new() };
        let ended = Arc::default();
        let task = tokio::spawn(deliver(delivery, awaited, Arc::clone(&ended)));
        Ok(AssuredClient { requests: Some(requests), task, ended })
    }
}

async fn open_spool(directory: &Path, config: SpoolConfig) -> Result<Spool> {
    let directory = directory.to_owned();
    // It reads what a crash may have left.
    let opened = tokio::task::spawn_blocking(move || Spool::open(directory, config)).await;
    Ok(opened.map_err(std::io::Error::other)??)
}

impl AssuredClient {
    /// Sends a message and waits until it is final.
    ///
    /// # Errors
    /// [`Error::DeadLetter`] if the server will not have it; [`Error::Ended`] if the client has failed.
    pub async fn send(&self, message: impl AsRef<[u8]>) -> Result<Receipt> {
        let mut receipts = self.send_all([message]).await;
        receipts.pop().unwrap_or_else(|| Err(self.why_ended()))
    }

    /// Sends messages without waiting for each, and waits until all are final: what became of each, in their order.
    pub async fn send_all(&self, messages: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Result<Receipt>> {
        let mut batch = Batch::default();
        messages.into_iter().for_each(|message| batch.push(message.as_ref()));
        let (answers, answered): (Vec<_>, Vec<_>) = iter::repeat_with(oneshot::channel).take(batch.spans.len()).unzip();
        if let Some(requests) = &self.requests {
            // If the task has ended, the answers say so by not coming.
            let _ = requests.send(Request { batch, answers }).await;
        }
        let mut receipts = Vec::with_capacity(answered.len());
        for answer in answered {
            receipts.push(answer.await.unwrap_or_else(|_| Err(self.why_ended())));
        }
        receipts
    }

    /// Waits until all that was sent is final, also by calls that were dropped, and ends the session's connection in order.
    ///
    /// # Errors
    /// Not all is final: see [`Error`] from `GaveUp` on.
    pub async fn close(mut self) -> Result<()> {
        self.requests = None;
        let _ = (&mut self.task).await;
        match self.ended.get() {
            Some(error) => Err(Error::Ended(Arc::clone(error))),
            None => Ok(()),
        }
    }

    fn why_ended(&self) -> Error {
        let unknown = || Arc::new(std::io::Error::other("its task was stopped").into());
        Error::Ended(self.ended.get().map_or_else(unknown, Arc::clone))
    }
}

impl Drop for AssuredClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The messages that have been taken and are not final, and those that are to come.
#[derive(Debug)]
struct Awaited {
    requests: mpsc::Receiver<Request>,
    /// The number of the first answer.
    first: u64,
    answers: VecDeque<Answer>,
}

/// What a message has come to so far.
#[derive(Debug)]
struct Answer {
    /// Who waits for it; nobody where it was refused.
    to: Option<oneshot::Sender<Result<Receipt>>>,
    reply: Vec<u8>,
}

impl Source for Awaited {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        Poll::Ready(ready!(self.requests.poll_recv(cx)).map(|Request { batch, answers }| {
            self.answers.extend(answers.into_iter().map(|to| Answer { to: Some(to), reply: Vec::new() }));
            batch
        }))
    }
}

impl Awaited {
    fn at(&mut self, number: u64) -> Option<&mut Answer> {
        self.answers.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// All messages up to a number are final.
    fn settle(&mut self, last: u64, how: How, by: &str) {
        let when = SystemTime::now();
        while self.first <= last
            && let Some(Answer { to, reply }) = self.answers.pop_front()
        {
            self.first += 1;
            // Whoever has asked may have gone.
            let _ = to.map(|to| to.send(Ok(Receipt { answer: reply, how, by: Some(by.to_owned()), when })));
        }
    }
}

/// Delivers until there are no more messages, or it cannot go on.
async fn deliver(mut delivery: Delivery, mut awaited: Awaited, ended: Arc<OnceLock<Arc<Error>>>) {
    let (mut how, mut by) = (How::Shown, String::new());
    loop {
        match delivery.step(&mut awaited).await {
            Ok(News::Opened { server, level }) => (how, by) = (level.into(), server),
            Ok(News::Acknowledged { last, .. }) => awaited.settle(last, how, &by),
            Ok(News::Replies(replies)) => {
                for (number, body) in replies.messages() {
                    if let Some(answer) = awaited.at(number) {
                        answer.reply = body.to_vec();
                    }
                }
            }
            Ok(News::Refused { number, code, reason }) => {
                let spool = delivery.counts().spool;
                if let Some(to) = awaited.at(number).and_then(|answer| answer.to.take()) {
                    let _ = to.send(Err(Error::DeadLetter { number, code, reason, spool }));
                }
            }
            Ok(News::Lost { reason, again }) => tracing::info!("{reason}: again in {again:?}"),
            Ok(News::PutOff { reason, after, .. }) => tracing::info!("not now: {reason}: again in {after:?}"),
            Ok(News::Full(reason)) => tracing::warn!("{reason}"),
            Ok(News::Connected { .. } | News::Accepted(_)) => {}
            Ok(News::Done) => return,
            Err(error) => {
                // Before those who wait learn that there is no answer.
                let _ = ended.set(Arc::new(error));
                return;
            }
        }
    }
}
