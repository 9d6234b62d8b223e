//! Any bytes as a datagram of assured delivery: they are a packet or are refused, and what is read is written as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wilco::fuzzing::datagram::packet(bytes));
