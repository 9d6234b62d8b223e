//! `Outbox`: where a client's messages are until they are final, on disk or in memory.
//!
//! Apart from both, so that what sends is the same with a spool and without one.

use super::error::SpoolError;
use super::{Memory, Rejected, Spool, Unsettled};
use crate::service::Batch;
use crate::wire::assured::{Code, Run, SessionId, Start};

/// Where a client's messages are until they are final.
#[derive(Debug)]
pub enum Outbox {
    /// On disk: they outlive the client.
    Spool(Spool),
    /// In memory: they live as long as the client.
    Memory(Memory),
}

impl Outbox {
    /// The session.
    pub fn session(&self) -> SessionId {
        match self {
            Self::Spool(spool) => spool.session(),
            Self::Memory(memory) => memory.session(),
        }
    }

    /// Where the session goes on.
    pub fn start(&self) -> Start {
        match self {
            Self::Spool(spool) => spool.start(),
            Self::Memory(memory) => memory.start(),
        }
    }

    /// Accepts messages; see [`Spool::accept`].
    ///
    /// # Errors
    /// There is no room for them, or the spool has failed. Nothing of them is accepted then.
    pub async fn accept(&self, batch: Batch) -> Result<Run, Rejected> {
        match self {
            Self::Spool(spool) => spool.accept(batch).await,
            Self::Memory(memory) => memory.accept(batch),
        }
    }

    /// Reads messages from a number on; see [`Spool::read`].
    ///
    /// # Errors
    /// The number is final already; or what was kept cannot be read.
    pub async fn read(&self, from: u64, max_messages: usize, max_bytes: usize) -> Result<Run, SpoolError> {
        match self {
            Self::Spool(spool) => spool.read(from, max_messages, max_bytes).await,
            Self::Memory(memory) => Ok(memory.read(from, max_messages, max_bytes)),
        }
    }

    /// The checksum of a message, if it is known; see [`Spool::checksum`].
    ///
    /// # Errors
    /// What was kept cannot be read.
    pub async fn checksum(&self, number: u64) -> Result<Option<u32>, SpoolError> {
        match self {
            Self::Spool(spool) => spool.checksum(number).await,
            Self::Memory(memory) => Ok(memory.checksum(number)),
        }
    }

    /// Notes that all messages up to a number are final; see [`Spool::settle`].
    pub fn settle(&self, through: u64, checksum: Option<u32>) {
        match self {
            Self::Spool(spool) => spool.settle(through, checksum),
            Self::Memory(memory) => memory.settle(through, checksum),
        }
    }

    /// Keeps a message that was refused for good among the dead letters; see [`Spool::dead_letter`]. In memory there are none: whoever is told
    /// that it was refused is all there is.
    ///
    /// # Errors
    /// It cannot be read or written. The message is not to be settled then.
    pub async fn dead_letter(
        &self,
        number: u64,
        code: Code,
        reason: &str,
        body: Option<&[u8]>,
    ) -> Result<(), SpoolError> {
        match self {
            Self::Spool(spool) => spool.dead_letter(number, code, reason, body).await,
            Self::Memory(_) => Ok(()),
        }
    }

    /// Begins a new session; see [`Spool::renew`].
    ///
    /// # Errors
    /// It cannot be read or written. The old session goes on then.
    pub async fn renew(&self, unsettled: Unsettled) -> Result<SessionId, SpoolError> {
        match self {
            Self::Spool(spool) => spool.renew(unsettled).await,
            Self::Memory(memory) => memory.renew(&unsettled),
        }
    }

    /// Closes it; see [`Spool::close`]. What is not final in memory is gone.
    ///
    /// # Errors
    /// It could not be made durable how much is final.
    pub async fn close(self) -> Result<(), SpoolError> {
        match self {
            Self::Spool(spool) => spool.close().await,
            Self::Memory(_) => Ok(()),
        }
    }
}
