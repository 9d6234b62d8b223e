//! The buffer of a thread, for handlers that are done with what they read before they wait again.
//!
//! Apart from the connections, none of which keeps one: an idle connection costs no buffer.

use std::cell::RefCell;

use crate::service::READ_SIZE;

/// How large it is, in bytes. A packet of a connection must not be longer, or its end would be lost: Linux lets a sender have
/// 208 KiB by default (socket(7), `wmem_default`).
pub(super) const BUFFER: usize = 4 * READ_SIZE;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// Lends the buffer.
pub(super) fn with_input<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    INPUT.with_borrow_mut(|input| work(input))
}
