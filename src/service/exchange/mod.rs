//! `Exchange`: many messages out and their answers in, over one connection, without waiting for each.
//!
//! Apart from [`Client`](super::Client), which sends one message at a time, so that a program can pipe millions: what is ready
//! leaves in one write, answers are counted as they come, and nothing is kept but the counts.

mod packets;
mod progress;
mod stream;

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

pub use progress::Summary;

use super::{Batch, ClientConfig, Messages, Result};
use crate::net::Connection;

use packets::OverPackets;
use stream::OverStream;

/// An exchange that is under way.
///
/// ```no_run
/// # use wilco::{Batch, ClientConfig, Connection, Exchange, Step};
/// # async fn example(connection: Connection) -> wilco::Result<()> {
/// let mut exchange = Exchange::new(connection, ClientConfig::default());
/// let mut messages = Some(Batch::of("hello"));
/// while exchange.step(&mut messages).await? == Step::Answers {
///     for answer in exchange.answers().iter() {
///         println!("{}", answer.escape_ascii());
///     }
/// }
/// exchange.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct Exchange {
    over: Over,
}

#[derive(Debug)]
enum Over {
    Stream(Box<OverStream>),
    Packets(Box<OverPackets>),
}

/// What a step of an exchange has brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Answers have come: [`Exchange::answers`] has them until the next step. They are none if all were refusals.
    Answers,
    /// All messages of the source were sent and answered, or the other side has ended with none outstanding.
    Done,
}

/// Where the messages come from.
pub trait Source {
    /// The next messages; `None` when there are no more. May be asked again after that.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>>;
}

impl Exchange {
    /// An exchange over a connection.
    pub fn new(connection: Connection, config: ClientConfig) -> Self {
        let over = match connection {
            Connection::Stream(stream) => Over::Stream(Box::new(OverStream::new(stream, config))),
            Connection::Packets(packets) => Over::Packets(Box::new(OverPackets::new(packets, config))),
        };
        Self { over }
    }

    /// Sends and receives until answers have come or all is done. Nothing is lost if it is dropped before, and asked again.
    ///
    /// After an error the counts stand; what was not acknowledged by then is not known to have arrived.
    ///
    /// # Errors
    /// Messages were sent and not acknowledged, one was refused (said when all are answered), or one cannot be sent.
    pub async fn step(&mut self, source: &mut impl Source) -> Result<Step> {
        match &mut self.over {
            Over::Stream(stream) => stream.step(source).await,
            Over::Packets(packets) => packets.step(source).await,
        }
    }

    /// The answers that the last step has brought.
    pub fn answers(&self) -> Messages<'_> {
        match &self.over {
            Over::Stream(stream) => stream.answers(),
            Over::Packets(packets) => packets.answers(),
        }
    }

    /// What has been sent and acknowledged so far.
    pub fn summary(&self) -> Summary {
        match &self.over {
            Over::Stream(stream) => stream.progress.summary(),
            Over::Packets(packets) => packets.progress.summary(),
        }
    }

    /// The first refusal that has come since this was last asked: the number of the message, and the reason. One that
    /// is taken is not reported at the end.
    pub fn take_refusal(&mut self) -> Option<(u64, String)> {
        match &mut self.over {
            Over::Stream(stream) => stream.progress.take_refusal(),
            Over::Packets(packets) => packets.progress.take_refusal(),
        }
    }

    /// Tells the other side that no more will come.
    ///
    /// # Errors
    /// The connection was lost before.
    pub async fn shutdown(&mut self) -> Result<()> {
        match &mut self.over {
            Over::Stream(stream) => stream.shutdown().await,
            Over::Packets(_) => Ok(()),
        }
    }

    /// Ends the connection in order.
    ///
    /// # Errors
    /// The connection was lost before.
    pub async fn close(mut self) -> Result<()> {
        self.shutdown().await
    }
}

/// How long the end of the input may take after the other side has ended: whether there was more to send decides whether all
/// went well.
const END_OF_INPUT: Duration = Duration::from_secs(1);

/// Whether a source has nothing more, now that nothing more can be sent.
async fn ended_in_time(source: &mut impl Source) -> bool {
    let ended = poll_fn(|cx| {
        loop {
            match source.poll_next(cx) {
                Poll::Ready(Some(batch)) if batch.spans.is_empty() => {}
                next => return next.map(|next| next.is_none()),
            }
        }
    });
    timeout(END_OF_INPUT, ended).await.unwrap_or(false)
}

/// One batch, then no more.
impl Source for Option<Batch> {
    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        Poll::Ready(self.take())
    }
}

/// What another task or thread sends.
impl Source for mpsc::Receiver<Batch> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        self.poll_recv(cx)
    }
}
