//! What must hold for any bytes that a spool may find in its files.
//!
//! Apart from the other inputs, since nobody sends these: a disk has changed them.

use crate::service::spool::record::{PREFIX, Record, size};

/// Bytes are a record whose checksum is right, which is written as it was read; or they are none.
pub fn record(bytes: &[u8]) {
    let Some(record) = Record::decode(bytes) else { return };
    let read = &bytes[..record.size()];
    assert!(read.len() >= PREFIX && size(bytes) == Some(read.len()));
    assert_eq!(crc32c::crc32c(&read[4..]).to_le_bytes(), read[..4], "a record with a wrong checksum");
    let mut written = Vec::new();
    record.encode(&mut written);
    assert_eq!(written, read);
}
