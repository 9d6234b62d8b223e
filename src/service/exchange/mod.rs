//! `Exchange`: many messages out and their answers in, over one connection, without waiting for each.
//!
//! Apart from [`Client`](super::Client), which sends one message at a time, so that a program can pipe millions: what is ready
//! leaves in one write, answers are counted as they come, and nothing is kept but the counts.

mod packets;
mod progress;
mod stream;

use std::task::{Context, Poll};

use tokio::sync::mpsc;

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
    /// Answers have come: [`Exchange::answers`] has them until the next step.
    Answers,
    /// All messages of the source were sent and answered, or the other side has ended with none outstanding.
    Done,
}

/// Where the messages come from.
pub trait Source {
    /// The next messages; `None` when there are no more.
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

    /// Sends and receives until answers have come or all is done.
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

    /// Ends the connection in order.
    ///
    /// # Errors
    /// The connection was lost before.
    pub async fn close(self) -> Result<()> {
        match self.over {
            Over::Stream(stream) => stream.close().await,
            Over::Packets(_) => Ok(()),
        }
    }
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
