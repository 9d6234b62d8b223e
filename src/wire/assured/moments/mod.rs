//! What a sender and a receiver do at single moments: clocks, windows, verdicts, pauses and ends.
//!
//! Apart from the properties, which hold always: here are the cases that each rule was made for, one after the other.

mod client;
mod server;

use std::time::Duration;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}
