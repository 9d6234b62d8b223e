//! How a client that is not let in is told so: early, cheaply, and with a word.
//!
//! Apart from accepting, because there are two ways: one that costs a task until the client has read it, and one that costs
//! nothing at all, for when there is nothing to spare.

use std::io::Read;
use std::net::Shutdown;

use libc::MSG_NOSIGNAL;
use socket2::Type;

use super::setting::{Setting, encode_text};
use crate::net::{Connection, Incoming};

/// How many bytes are read of a client before it is left: unread ones would become a reset, which can overtake the word.
const DISCARD: usize = 16 * 1024;

/// Tells a client why it is not served, and waits for a short time until it has read it.
pub(super) async fn say(setting: &Setting, incoming: Incoming, words: &str) {
    at_once(setting, &incoming, words);
    if let Connection::Stream(mut stream) = Connection::from(incoming) {
        setting.terms.close(&mut stream, DISCARD).await;
    }
}

/// Tells a client why it is not served if it can be done without waiting, and never mind if it cannot.
pub(super) fn at_once(setting: &Setting, incoming: &Incoming, words: &str) {
    let mut told = Vec::new();
    match incoming.socket.socket_type() {
        Type::STREAM => encode_text(setting.framing, words.as_bytes(), &mut told),
        _ => told.extend_from_slice(format!("{words}\n").as_bytes()),
    }
    let mut socket = incoming.socket.raw();
    // A client that has gone needs no word.
    let _ = socket.send_with_flags(&told, MSG_NOSIGNAL);
    let _ = incoming.socket.shutdown(Shutdown::Write);
    let _ = socket.read(&mut [0; DISCARD]);
}
