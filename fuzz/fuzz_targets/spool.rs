//! Any bytes as a record of a spool: it is one whose checksum is right, or none.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wilco::fuzzing::spool::record(bytes));
