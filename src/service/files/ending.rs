//! How a delivery of files ends that has not delivered all of them.
//!
//! Apart from the delivery: here is what a user has to know to go on another time.

use std::fmt;
use std::time::Duration;

use super::FileDelivery;
use crate::net;
use crate::service::Error;
use crate::service::delivery::GaveUp;
use crate::wire::assured::Code;

/// How far files were when their delivery was given up: nothing had been acknowledged for some time.
#[derive(Debug)]
pub struct UnfinishedFiles {
    /// How long nothing had been acknowledged.
    pub patience: Duration,
    /// Why there never was a connection; none if there was one.
    pub unreached: Option<net::Error>,
    /// What had gone wrong last, if anything had.
    pub trouble: Option<String>,
    /// How far it had come.
    pub reached: String,
}

impl FileDelivery {
    /// How far it is, in words: `1 of 3 files saved; big.iso: 1000 of 2000 bytes are there`.
    pub fn reached(&self) -> String {
        let files = self.files.items.iter().filter(|item| item.size.is_some()).count();
        let mut reached = format!("{} of {files} file{} saved", self.tally.saved, if files == 1 { "" } else { "s" });
        for present in self.session.transfers.under_way().filter(|present| present.bytes > 0) {
            let (name, bytes, size) = (self.files.items[present.item].path.display(), present.bytes, present.size);
            reached += &format!("; of {name} {bytes} of {size} bytes are there");
        }
        reached
    }

    /// The same failure in terms of files.
    pub(super) fn explained(&mut self, error: Error) -> Error {
        match error {
            Error::GaveUp(how) => {
                let GaveUp { patience, unreached, trouble, .. } = *how;
                // It may be the second session that found nobody.
                let unreached = unreached.filter(|_| self.tally.saved == 0 && self.reconnects == 0);
                let reached = self.reached();
                Error::FilesUnfinished(Box::new(UnfinishedFiles { patience, unreached, trouble, reached }))
            }
            Error::SessionRefused { code: Code::NOT_ACCEPTABLE, reason } | Error::NotSpoken(reason) => {
                Error::NoFiles(reason)
            }
            error => error,
        }
    }
}

impl fmt::Display for UnfinishedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { patience, unreached, trouble, reached } = self;
        if let Some(error) = unreached {
            return write!(f, "{error}; nothing was sent");
        }
        write!(f, "{reached}: given up after {patience:?} without an acknowledgement")?;
        match trouble {
            Some(trouble) => write!(f, ": {trouble}"),
            None => Ok(()),
        }
    }
}
