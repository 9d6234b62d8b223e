//! `Client`: sends a message over any connection and knows that it was acknowledged.
//!
//! Apart from the exchange that moves the bytes: this is what a program holds, one message at a time.

use std::time::{Duration, SystemTime};

use super::exchange::{Exchange, Step};
use super::{Batch, Result};
use crate::net::{Connection, Connector, Endpoint};
use crate::wire::Framing;
use crate::wire::assured::Level;

/// How long an acknowledgement is waited for, unless said otherwise.
pub const ACKNOWLEDGEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a plain server must be silent for an answer without a newline to be over.
pub const QUIET: Duration = Duration::from_millis(200);

/// How many datagrams may be on their way unacknowledged: more would be dropped by a receiver's full buffer.
pub const DATAGRAM_WINDOW: u64 = 32;

/// Settings of a client. The default sends lines and waits ten seconds for each acknowledgement.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// How messages, and the answers, are told apart in streams.
    pub framing: Framing,
    /// Whether each message is to be acknowledged.
    pub acknowledgements: Acknowledgements,
    /// How long to wait with nothing acknowledged. Default [`ACKNOWLEDGEMENT_TIMEOUT`].
    pub timeout: Duration,
    /// The silence that ends an answer without a delimiter. Default [`QUIET`].
    pub quiet: Duration,
    /// The longest answer in bytes; 0 is no limit. `None` is the framing's default.
    pub max_answer: Option<usize>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            framing: Framing::Line,
            acknowledgements: Acknowledgements::Awaited,
            timeout: ACKNOWLEDGEMENT_TIMEOUT,
            quiet: QUIET,
            max_answer: None,
        }
    }
}

/// Whether a client waits for acknowledgements.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Acknowledgements {
    /// Each message must be answered.
    #[default]
    Awaited,
    /// The server is known to answer nothing: what is sent counts when the other side has ended the connection in order after
    /// it. That it was read is not known.
    NotExpected,
}

/// What is known of a message that was sent: its acknowledgement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// The answer, without its delimiter: `I got your message`, or a handler's reply.
    pub answer: Vec<u8>,
    /// What the acknowledgement stands for.
    pub how: How,
    /// Who has given it, as a server of assured delivery calls itself.
    pub by: Option<String>,
    /// When it came.
    pub when: SystemTime,
}

/// What an acknowledgement stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// The other application has answered: it has taken the message.
    Answered,
    /// The server has displayed it.
    Shown,
    /// A handler has done what it does.
    Handled,
    /// It is on the server's disk, exactly once.
    Stored,
    /// It is of a file, which is on the server's disk once its last message is acknowledged.
    Saved,
}

impl From<Level> for How {
    fn from(level: Level) -> Self {
        match level {
            Level::Shown => Self::Shown,
            Level::Handled => Self::Handled,
            Level::Stored => Self::Stored,
            Level::Saved => Self::Saved,
        }
    }
}

/// A connection that messages are sent over, one after the other.
///
/// ```no_run
/// # async fn example() -> wilco::Result<()> {
/// let mut client = wilco::Client::connect("tcp:cheerios:51717").await?;
/// let receipt = client.send("hello").await?;
/// assert_eq!(receipt.answer, b"I got your message");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Client {
    exchange: Exchange,
}

impl Client {
    /// Connects to an address as it is written on the command line, with the default settings.
    ///
    /// # Errors
    /// The address is wrong, or nobody is there.
    pub async fn connect(address: &str) -> Result<Self> {
        let endpoint: Endpoint = address.parse()?;
        let connection = Connector::default().connect(&endpoint).await?;
        Ok(Self::new(connection, ClientConfig::default()))
    }

    /// A client over a connection that is there already.
    pub fn new(connection: impl Into<Connection>, config: ClientConfig) -> Self {
        Self { exchange: Exchange::new(connection.into(), config) }
    }

    /// Sends a message and waits for its acknowledgement.
    ///
    /// # Errors
    /// [`Error::Unacknowledged`](super::Error::Unacknowledged) if none came: the message may or may not have arrived. [`Error::Refused`](super::Error::Refused) if the other side
    /// will not have it.
    pub async fn send(&mut self, message: impl AsRef<[u8]>) -> Result<Receipt> {
        let mut message = Some(Batch::of(message.as_ref()));
        let mut answer = Vec::new();
        // What comes beside the answer, such as a greeting before it, is not the receipt's: the last one is.
        while self.exchange.step(&mut message).await? == Step::Answers {
            if let Some(last) = self.exchange.answers().iter().last() {
                answer = last.to_vec();
            }
        }
        Ok(Receipt { answer, how: How::Answered, by: None, when: SystemTime::now() })
    }

    /// Ends the connection in order: the other side sees the end of the stream, not a reset.
    ///
    /// # Errors
    /// The connection was lost before.
    pub async fn close(self) -> Result<()> {
        self.exchange.close().await
    }
}
